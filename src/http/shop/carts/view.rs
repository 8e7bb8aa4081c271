//! Carts as clients see them, with what stands in the way of buying them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::openapi::schema::{AnyOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::actors::cart::types::{self as cart, CartStatus as Status, MergeStrategy as Strategy, State};
use crate::actors::projections::stock::SkuRow;
use crate::actors::values::{CartId, Currency, LineId, Money, OrderId, ProductId, Sku, Time, Totals, UserId};
use crate::http::answer::schema;
use crate::http::shop::contact::ContactView;
use crate::{coded_enum, word_shapes};

coded_enum! {
    /// What a customer should know of a line before he completes the cart. (Never stored.)
    pub enum WarningWord {
        /// Less is available than the line asks for.
        InsufficientStock = 1 "insufficient_stock",
        /// The catalogue's price is another now; completing asks for a new confirmation.
        PriceChanged = 2 "price_changed",
        /// It is not sold (any more).
        Unavailable = 3 "unavailable",
        /// The SKU is another product's now, or another variant's: the line is not what it was; completing asks for a
        /// new confirmation.
        ItemChanged = 4 "item_changed",
    }
}

word_shapes! {
    pub CartStatus = Status;
    /// Which quantity counts for a SKU that both carts have: `replace` is the source's, `keep` the target's.
    pub MergeStrategy = Strategy;
    pub WarningCode = WarningWord;
    /// What is still missing before a cart can be completed.
    pub RequirementCode = cart::Requirement;
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Cart)]
pub struct CartView {
    #[schema(value_type = String, example = "cart_0123456789abcdefghjkmnpqrs")]
    pub id: CartId,
    /// Opens a guest's cart (`X-Cart-Token`); told on creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    #[schema(value_type = String, example = "GBP")]
    pub currency: Currency,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Box<str>>,
    pub metadata: BTreeMap<String, String>,
    pub lines: Vec<LineView>,
    #[schema(value_type = schema::Totals)]
    pub totals: Totals,
    pub contact: Option<ContactView>,
    pub warnings: Vec<WarningView>,
    pub requirements: Vec<RequirementView>,
    #[schema(value_type = CartStatus)]
    pub status: Status,
    /// The order that decides, or that it has become.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub order_id: Option<OrderId>,
    #[schema(value_type = schema::Time)]
    pub expires_at: Time,
    pub version: u64,
}

/// A cart without its lines: what `Prefer: return=minimal` gets.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CartSummary)]
pub struct CartSummary {
    #[schema(value_type = String, example = "cart_0123456789abcdefghjkmnpqrs")]
    pub id: CartId,
    /// Opens a guest's cart (`X-Cart-Token`); told on creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    pub version: u64,
    #[schema(value_type = schema::Totals)]
    pub totals: Totals,
    /// Of a cart of up to 100 lines all; of a longer one those of the lines that the write has touched.
    pub warnings: Vec<WarningView>,
    pub requirements: Vec<RequirementView>,
}

/// What a cart write answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum CartAnswer {
    Whole(Box<CartView>),
    /// With `Prefer: return=minimal`.
    Minimal(CartSummary),
}

/// `anyOf` and not `oneOf`, because a whole cart has every field of a short answer.
impl PartialSchema for CartAnswer {
    fn schema() -> RefOr<Schema> {
        let either = AnyOfBuilder::new().item(Ref::from_schema_name(CartView::name()));
        let either = either.item(Ref::from_schema_name(CartSummary::name()));
        let what = "The whole cart, or with `Prefer: return=minimal` its summary.";
        Schema::AnyOf(either.description(Some(what)).build()).into()
    }
}

impl ToSchema for CartAnswer {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((CartView::name().into_owned(), CartView::schema()));
        schemas.push((CartSummary::name().into_owned(), CartSummary::schema()));
        CartView::schemas(schemas);
        CartSummary::schemas(schemas);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Line)]
pub struct LineView {
    #[schema(value_type = String, example = "line_0123456789abcdefghjkmnpqrs")]
    pub id: LineId,
    #[schema(value_type = String, example = "TEE-M")]
    pub sku: Sku,
    #[schema(value_type = String)]
    pub product_id: ProductId,
    #[schema(value_type = String)]
    pub title: Arc<str>,
    pub quantity: u32,
    #[schema(value_type = schema::Money)]
    pub unit_price: Money,
    #[schema(value_type = schema::Money)]
    pub total: Money,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CartWarning)]
pub struct WarningView {
    #[schema(value_type = WarningCode)]
    pub code: WarningWord,
    /// The id of the line that it is about.
    #[schema(value_type = String)]
    pub target: LineId,
    /// For people.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CartRequirement)]
pub struct RequirementView {
    #[schema(value_type = RequirementCode)]
    pub code: cart::Requirement,
    /// JSON pointer into the cart.
    pub pointer: &'static str,
}

impl From<cart::Requirement> for RequirementView {
    fn from(code: cart::Requirement) -> RequirementView {
        RequirementView { code, pointer: code.pointer() }
    }
}

impl From<&cart::Line> for LineView {
    fn from(line: &cart::Line) -> LineView {
        LineView {
            id: line.id,
            sku: line.sku.clone(),
            product_id: line.product,
            title: line.title.clone(),
            quantity: line.quantity.get(),
            unit_price: line.unit_price,
            total: line.total(),
        }
    }
}

impl CartView {
    /// The cart at `version`. `skus`: what is known of each line's SKU, in the order of the lines.
    /// `None` if nobody has created it.
    pub fn of(state: &State, version: u64, skus: &[Option<SkuRow>]) -> Option<CartView> {
        let open = state.status == Status::Open;
        Some(CartView {
            id: state.id?,
            token: None,
            user_id: state.user,
            currency: state.currency,
            reference: state.reference.clone(),
            metadata: state.metadata.clone(),
            lines: state.lines.iter().map(LineView::from).collect(),
            totals: state.totals(),
            contact: state.contact.as_deref().map(ContactView::from),
            warnings: if open { warnings(&state.lines, skus) } else { Vec::new() },
            requirements: requirements(state),
            status: state.status,
            order_id: state.order(),
            expires_at: state.expires_at,
            version,
        })
    }
}

impl CartSummary {
    /// The cart at `version`, with the warnings of `lines`. `skus`: what is known of their SKUs, in their order.
    /// `None` if nobody has created it.
    pub fn of<'a>(
        state: &'a State,
        version: u64,
        lines: impl IntoIterator<Item = &'a cart::Line>,
        skus: &[Option<SkuRow>],
    ) -> Option<CartSummary> {
        let open = state.status == Status::Open;
        Some(CartSummary {
            id: state.id?,
            token: None,
            version,
            totals: state.totals(),
            warnings: if open { warnings(lines, skus) } else { Vec::new() },
            requirements: requirements(state),
        })
    }
}

fn requirements(state: &State) -> Vec<RequirementView> {
    let open = state.status == Status::Open;
    state.requirements().into_iter().filter(|_| open).map(RequirementView::from).collect()
}

fn warnings<'a>(lines: impl IntoIterator<Item = &'a cart::Line>, skus: &[Option<SkuRow>]) -> Vec<WarningView> {
    let known = lines.into_iter().zip(skus).filter_map(|(line, row)| Some((line, row.as_ref()?)));
    known.flat_map(|(line, row)| line_warnings(line, row)).collect()
}

fn line_warnings(line: &cart::Line, row: &SkuRow) -> Vec<WarningView> {
    let warning = |code, message| WarningView { code, target: line.id, message };
    let sku = &line.sku;
    let Some(price) = row.price.filter(|price| price.currency == line.unit_price.currency) else {
        return vec![warning(WarningWord::Unavailable, format!("SKU {sku} is not for sale."))];
    };
    let mut warnings = Vec::new();
    if row.item.is_some_and(|item| !line.item().is(&item)) {
        let message = format!("SKU {sku} is no longer {}: another article is sold under it.", line.title);
        warnings.push(warning(WarningWord::ItemChanged, message));
    }
    if row.available < u64::from(line.quantity.get()) {
        let message = format!("SKU {sku} has {} available, {} requested.", row.available, line.quantity.get());
        warnings.push(warning(WarningWord::InsufficientStock, message));
    }
    if price != line.unit_price {
        let (now, before) = (spelled(price), spelled(line.unit_price));
        warnings.push(warning(WarningWord::PriceChanged, format!("SKU {sku} costs {now} now, not {before}.")));
    }
    warnings
}

/// An amount for people: `19.99 GBP`. Prices are never negative.
fn spelled(money: Money) -> String {
    let places = usize::from(money.currency.exponent());
    let unit = 10_i64.saturating_pow(u32::from(money.currency.exponent()));
    match places {
        0 => format!("{} {}", money.amount, money.currency),
        _ => format!("{}.{:0places$} {}", money.amount / unit, money.amount % unit, money.currency),
    }
}
