//! The public face of a product.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{CategoryId, Money, ProductId, RequestId, Sku, Slug, StockBand, Time, UserId, VariantId};
use crate::{coded_enum, stored_enum};

pub enum Product {}

impl Kind for Product {
    const NUMBER: u8 = 8;
    const NAME: &'static str = "product";
    type Id = ProductId;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;

    fn is_momentary(rejection: &Rejection) -> bool {
        Self::passes_soon(rejection) || matches!(rejection, Rejection::Stale { .. })
    }

    fn passes_soon(rejection: &Rejection) -> bool {
        matches!(rejection, Rejection::ChangeInProgress)
    }
}

/// The most variants of one product.
pub const VARIANTS_MAX: usize = 100;

coded_enum! {
    /// Whether a product is shown and sold. An archived one keeps its slug and SKUs and can come back.
    pub enum ProductStatus { Draft = 1 "draft", Published = 2 "published", Archived = 3 "archived" }
}

/// A variant as the merchant describes it. `id` counts for a SKU that the product has not had before:
/// one that stays keeps its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewVariant {
    pub id: VariantId,
    pub sku: Sku,
    pub options: BTreeMap<String, String>,
    pub price: Money,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewProduct {
    /// The product's own id, derived by the edge from the request id: a repeat meets the same product.
    pub id: ProductId,
    pub title: Arc<str>,
    /// `None`: derived from the title, with a suffix when that is taken.
    pub slug: Option<Slug>,
    pub description: Arc<str>,
    pub category_ids: Vec<CategoryId>,
    pub attributes: BTreeMap<String, String>,
    pub status: ProductStatus,
    pub seller: Option<UserId>,
    pub variants: Vec<NewVariant>,
}

/// What is `None` stays. The slug stays too when only the title changes: URLs outlive titles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    pub title: Option<Arc<str>>,
    pub slug: Option<Slug>,
    pub description: Option<Arc<str>>,
    pub category_ids: Option<Vec<CategoryId>>,
    pub attributes: Option<BTreeMap<String, String>>,
    pub status: Option<ProductStatus>,
    /// The whole list: a SKU that is not in it leaves the product.
    pub variants: Option<Vec<NewVariant>>,
}

stored_enum! {
    /// Create, Update and Archive start a change; its outcome is in the settled state: when
    /// [`State::refused`] answers the request, it was refused, else it is done.
    pub enum Command {
        (1, 1) => Create { product: Box<NewProduct> },
        (2, 1) => Update {
            /// [`State::version`] as the caller has seen it (not the entity's: stock news change that).
            if_version: Option<u64>,
            patch: Box<Patch>,
        },
        (3, 1) => Archive { if_version: Option<u64> },
        /// From a SKU: how much there is, in words. News with an older `seq` than known are ignored.
        (4, 1) => StockChanged { sku: Sku, band: StockBand, seq: u64 },

        /// The answers to what a change owes.
        (5, 1) => SlugAnswered { slug: Slug, taken: bool },
        (6, 1) => SkuClaimed { sku: Sku, band: StockBand, seq: u64 },
        (7, 1) => SkuTaken { sku: Sku },
        (8, 1) => FollowUpDone { change: u64, follow_up: FollowUp },
    }
}

stored_enum! {
    pub enum Reply {
        /// To Create, Update and Archive: the change is under way, or was not needed.
        (1, 1) => Accepted,
        /// To news and answers.
        (2, 1) => Noted,
    }
}

stored_enum! {
    pub enum Rejection {
        (1, 1) => NotFound,
        /// Another change is not through yet: wait until it has settled and repeat.
        (2, 1) => ChangeInProgress,
        /// The product has changed since the caller read it.
        (3, 1) => Stale { current: u64 },
        (4, 1) => TooManyVariants { limit: u32 },
        /// `variant` (from 0) has the SKU of one before it.
        (5, 1) => DuplicateSku { sku: Sku, variant: u32 },
    }
}

coded_enum! {
    /// Why a change was refused.
    pub enum RefusalCode { SlugTaken = 1 "slug_taken", SkuTaken = 2 "sku_taken" }
}

/// A change that did not come about: somebody else has its slug or one of its SKUs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose change it was.
    pub request: RequestId,
    pub code: RefusalCode,
    pub slug: Option<Slug>,
    pub sku: Option<Sku>,
    /// The place of `sku` in the list of variants that was asked for, from 0.
    pub variant: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    pub id: VariantId,
    pub sku: Sku,
    pub options: BTreeMap<String, String>,
    pub price: Money,
    /// What the SKU last said, and the number of that news.
    pub stock: StockBand,
    pub stock_seq: u64,
}

/// A product as a merchant describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    pub title: Arc<str>,
    pub description: Arc<str>,
    pub status: ProductStatus,
    pub category_ids: Vec<CategoryId>,
    pub attributes: BTreeMap<String, String>,
    pub seller: Option<UserId>,
}

/// What a change wants the product to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    pub content: Content,
    pub slug: Slug,
    /// The slug was made from the title: another one does as well.
    pub slug_derived: bool,
    pub variants: Vec<NewVariant>,
}

/// News about a SKU's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockNote {
    pub band: StockBand,
    pub seq: u64,
}

/// A change that still gathers its claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub request: RequestId,
    pub draft: Draft,
    /// The slug must be claimed, and has not been.
    pub slug_open: bool,
    /// The slug was claimed for this change.
    pub slug_claimed: bool,
    /// How many slugs were tried and taken.
    pub slugs_tried: u32,
    /// SKUs still to be claimed, in the order in which that happens.
    pub to_claim: BTreeSet<Sku>,
    /// SKUs that were claimed for this change.
    pub claimed: BTreeSet<Sku>,
    /// What these SKUs have said about their stock so far.
    pub stock: BTreeMap<Sku, StockNote>,
}

coded_enum! {
    pub enum FollowUpKind { SetOffer = 1 "set_offer", ReleaseSku = 2 "release_sku", ReleaseSlug = 3 "release_slug" }
}

/// A request that follows from a change: to the SKU or the slug that `name` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FollowUp {
    pub kind: FollowUpKind,
    pub name: Arc<str>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// The product's own id, from its creation on.
    pub id: Option<ProductId>,
    /// `None` until a creation has come about: to the edge there is no product then.
    pub content: Option<Box<Content>>,
    pub slug: Option<Slug>,
    pub variants: Vec<Variant>,
    /// What clients see as its version: grows with every change that came about, not with stock news.
    pub version: u64,
    pub created_at: Time,
    pub updated_at: Time,
    /// How many changes were started.
    pub changes: u64,
    pub pending: Option<Box<Pending>>,
    /// The follow-ups of the last change that are not answered yet.
    pub follow_ups: BTreeSet<FollowUp>,
    /// The outcome of the last change, when it was refused.
    pub last_refusal: Option<Box<Refusal>>,
}

impl State {
    /// Why this request's change was refused, if it was.
    pub fn refused(&self, request: &RequestId) -> Option<&Refusal> {
        self.last_refusal.as_deref().filter(|refusal| refusal.request == *request)
    }

    pub fn variant(&self, sku: &Sku) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.sku == *sku)
    }
}
