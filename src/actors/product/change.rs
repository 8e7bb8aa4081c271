//! How a product changes: what a change asks for, what answers mean to it, and how it ends. The steps,
//! and what a crash at each of them leaves, are told in [`super`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::types::{
    Content, Draft, FollowUp, FollowUpKind, NewProduct, NewVariant, Patch, Pending, ProductStatus, Refusal,
    RefusalCode, Rejection, Reply, State, StockNote, VARIANTS_MAX, Variant,
};
use super::{Event, offer};
use crate::actors::entity::{Ctx, Decision, DecisionOf, Entity};
use crate::actors::sku::types::Offer;
use crate::actors::values::{ProductId, RequestId, Sku, Slug, StockBand, Time};

/// So many slugs are tried with small numbers as suffixes. Then large numbers are tried, which no other product is
/// likely to try, so that a thousand products of one title do not wait for each other.
const SMALL_SUFFIXES: u32 = 5;

/// What a change may be asked for.
impl State {
    pub(super) fn create(&self, product: NewProduct, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        if self.content.is_some() || self.pending.as_ref().is_some_and(|pending| pending.request == ctx.request) {
            return Ok(Decision::unchanged(Reply::Accepted));
        }
        if !self.settled() {
            return Err(Rejection::ChangeInProgress);
        }
        let NewProduct { id, title, slug, description, category_ids, attributes, status, seller, variants } = product;
        judge_variants(&variants)?;
        let slug_derived = slug.is_none();
        let slug = slug.unwrap_or_else(|| Slug::from_title(&title));
        let content = Content { title, description, status, category_ids, attributes, seller };
        Ok(self.change(id, Draft { content, slug, slug_derived, variants }, ctx))
    }

    pub(super) fn update(
        &self,
        if_version: Option<u64>,
        patch: Patch,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        let (id, content, slug) = self.judge_change(if_version)?;
        let draft = Draft {
            content: Content {
                title: patch.title.unwrap_or_else(|| content.title.clone()),
                description: patch.description.unwrap_or_else(|| content.description.clone()),
                status: patch.status.unwrap_or(content.status),
                category_ids: patch.category_ids.unwrap_or_else(|| content.category_ids.clone()),
                attributes: patch.attributes.unwrap_or_else(|| content.attributes.clone()),
                seller: content.seller,
            },
            slug: patch.slug.unwrap_or_else(|| slug.clone()),
            slug_derived: false,
            variants: patch.variants.map_or_else(|| self.as_asked(), |asked| self.with_known_ids(asked)),
        };
        judge_variants(&draft.variants)?;
        Ok(self.change(id, draft, ctx))
    }

    pub(super) fn archive(&self, if_version: Option<u64>, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        self.update(if_version, Patch { status: Some(ProductStatus::Archived), ..Patch::default() }, ctx)
    }

    /// The content that a change begins from, if one may begin.
    fn judge_change(&self, if_version: Option<u64>) -> Result<(ProductId, &Content, &Slug), Rejection> {
        if !self.settled() {
            return Err(Rejection::ChangeInProgress);
        }
        let (Some(id), Some(content), Some(slug)) = (self.id, &self.content, &self.slug) else {
            return Err(Rejection::NotFound);
        };
        match if_version {
            Some(seen) if seen != self.version => Err(Rejection::Stale { current: self.version }),
            Some(_) | None => Ok((id, content, slug)),
        }
    }

    /// The change to `draft`: nothing when the product is so already, done at once when it needs no claims.
    fn change(&self, id: ProductId, draft: Draft, ctx: &Ctx) -> DecisionOf<Self> {
        let same_content = self.content.as_deref() == Some(&draft.content);
        let same_slug = self.slug.as_ref() == Some(&draft.slug);
        if same_content && same_slug && self.as_asked() == draft.variants {
            return Decision::unchanged(Reply::Accepted);
        }
        let needs_claims = !same_slug || draft.variants.iter().any(|variant| self.variant(&variant.sku).is_none());
        let mut events = vec![Event::ChangeStarted { id, request: ctx.request, draft: Box::new(draft) }];
        if !needs_claims {
            events.push(Event::ChangeApplied);
        }
        Decision::new(events, Reply::Accepted)
    }

    fn as_asked(&self) -> Vec<NewVariant> {
        let ask = |Variant { id, sku, options, price, .. }: &Variant| NewVariant {
            id: *id,
            sku: sku.clone(),
            options: options.clone(),
            price: *price,
        };
        self.variants.iter().map(ask).collect()
    }

    fn with_known_ids(&self, mut asked: Vec<NewVariant>) -> Vec<NewVariant> {
        let known: BTreeMap<_, _> = self.variants.iter().map(|variant| (&variant.sku, variant.id)).collect();
        for variant in &mut asked {
            variant.id = known.get(&variant.sku).copied().unwrap_or(variant.id);
        }
        asked
    }
}

fn judge_variants(variants: &[NewVariant]) -> Result<(), Rejection> {
    if variants.len() > VARIANTS_MAX {
        return Err(Rejection::TooManyVariants { limit: VARIANTS_MAX as u32 });
    }
    let mut seen = BTreeSet::new();
    match (0..).zip(variants).find(|(_, variant)| !seen.insert(&variant.sku)) {
        Some((place, variant)) => Err(Rejection::DuplicateSku { sku: variant.sku.clone(), variant: place }),
        None => Ok(()),
    }
}

/// What answers mean. An answer that the present change does not wait for changes nothing.
impl State {
    pub(super) fn slug_answered(&self, slug: &Slug, taken: bool) -> Vec<Event> {
        let asking = |pending: &&Pending| pending.slug_open && pending.draft.slug == *slug;
        let Some(pending) = self.pending.as_deref().filter(asking) else { return Vec::new() };
        if !taken {
            let last = pending.to_claim.is_empty().then_some(Event::ChangeApplied);
            return std::iter::once(Event::SlugClaimed).chain(last).collect();
        }
        if pending.draft.slug_derived {
            return vec![Event::SlugTaken { next: next_slug(pending) }];
        }
        let (request, code, slug) = (pending.request, RefusalCode::SlugTaken, Some(slug.clone()));
        vec![Event::ChangeRefused { refusal: Refusal { request, code, slug, sku: None, variant: None } }]
    }

    pub(super) fn sku_claimed(&self, sku: Sku, band: StockBand, seq: u64) -> Vec<Event> {
        let asking = |pending: &&Pending| !pending.slug_open && pending.to_claim.contains(&sku);
        let Some(pending) = self.pending.as_deref().filter(asking) else { return Vec::new() };
        let last = (pending.to_claim.len() == 1).then_some(Event::ChangeApplied);
        std::iter::once(Event::SkuClaimed { sku, band, seq }).chain(last).collect()
    }

    pub(super) fn sku_taken(&self, sku: Sku) -> Vec<Event> {
        let asking = |pending: &&Pending| !pending.slug_open && pending.to_claim.contains(&sku);
        let Some(pending) = self.pending.as_deref().filter(asking) else { return Vec::new() };
        let place = (0..).zip(&pending.draft.variants).find(|(_, variant)| variant.sku == sku);
        let refusal = Refusal {
            request: pending.request,
            code: RefusalCode::SkuTaken,
            slug: None,
            variant: place.map(|(place, _)| place),
            sku: Some(sku),
        };
        vec![Event::ChangeRefused { refusal }]
    }

    pub(super) fn stock_news(&self, sku: Sku, band: StockBand, seq: u64) -> Vec<Event> {
        let shown = self.variant(&sku).is_some_and(|variant| variant.stock_seq < seq);
        let drafted = self.pending.as_ref().is_some_and(|pending| {
            let wanted = pending.to_claim.contains(&sku) || pending.claimed.contains(&sku);
            wanted && pending.stock.get(&sku).is_none_or(|known| known.seq < seq)
        });
        (shown || drafted).then_some(Event::StockNoted { sku, band, seq }).into_iter().collect()
    }
}

fn next_slug(pending: &Pending) -> Slug {
    let plain = Slug::from_title(&pending.draft.content.title);
    let tried = pending.slugs_tried + 1;
    if tried < SMALL_SUFFIXES {
        return plain.with_suffix(tried + 1);
    }
    let far_off = pending.request.derive_u128("slug", tried) % 1_000_000_000;
    plain.with_suffix(u32::try_from(far_off).unwrap_or(tried))
}

/// What the steps of a change do to the state.
impl State {
    pub(super) fn start_change(&mut self, id: ProductId, request: RequestId, draft: &Draft) {
        let new = |variant: &&NewVariant| self.variant(&variant.sku).is_none();
        let to_claim = draft.variants.iter().filter(new).map(|variant| variant.sku.clone()).collect();
        let pending = Pending {
            request,
            draft: draft.clone(),
            slug_open: self.slug.as_ref() != Some(&draft.slug),
            slug_claimed: false,
            slugs_tried: 0,
            to_claim,
            claimed: BTreeSet::new(),
            stock: BTreeMap::new(),
        };
        self.id = Some(id);
        self.changes += 1;
        self.last_refusal = None;
        self.pending = Some(Box::new(pending));
    }

    pub(super) fn note_stock(&mut self, sku: &Sku, band: StockBand, seq: u64) {
        if let Some(variant) = self.variants.iter_mut().find(|variant| variant.sku == *sku)
            && variant.stock_seq < seq
        {
            (variant.stock, variant.stock_seq) = (band, seq);
        }
        if let Some(pending) = &mut self.pending
            && (pending.to_claim.contains(sku) || pending.claimed.contains(sku))
            && pending.stock.get(sku).is_none_or(|known| known.seq < seq)
        {
            pending.stock.insert(sku.clone(), StockNote { band, seq });
        }
    }

    pub(super) fn apply_change(&mut self, at: Time) {
        let (Some(pending), Some(id)) = (self.pending.take(), self.id) else { return };
        let Pending { draft, claimed, stock, slug_claimed, .. } = *pending;
        let told = self.offers_told(id, &draft, &claimed);
        let mut before: BTreeMap<Sku, Variant> =
            std::mem::take(&mut self.variants).into_iter().map(|variant| (variant.sku.clone(), variant)).collect();
        for NewVariant { id: variant, sku, options, price } in draft.variants {
            let known = before.remove(&sku).map(|old| StockNote { band: old.stock, seq: old.stock_seq });
            let note = known.or_else(|| stock.get(&sku).copied());
            let StockNote { band, seq } = note.unwrap_or(StockNote { band: StockBand::OutOfStock, seq: 0 });
            if told.get(&sku) != Some(&offer(id, &draft.content, variant, price)) {
                self.follow_ups.insert(sku_follow_up(FollowUpKind::SetOffer, &sku));
            }
            self.variants.push(Variant { id: variant, sku, options, price, stock: band, stock_seq: seq });
        }
        self.follow_ups.extend(before.keys().map(|sku| sku_follow_up(FollowUpKind::ReleaseSku, sku)));
        if let Some(old) = self.slug.replace(draft.slug).filter(|_| slug_claimed) {
            self.follow_ups.insert(slug_follow_up(&old));
        }
        if self.content.replace(Box::new(draft.content)).is_none() {
            self.created_at = at;
        }
        self.updated_at = at;
        self.version += 1;
    }

    pub(super) fn refuse_change(&mut self, refusal: &Refusal) {
        let Some(pending) = self.pending.take() else { return };
        self.follow_ups.extend(pending.claimed.iter().map(|sku| sku_follow_up(FollowUpKind::ReleaseSku, sku)));
        if pending.slug_claimed {
            self.follow_ups.insert(slug_follow_up(&pending.draft.slug));
        }
        self.last_refusal = Some(Box::new(refusal.clone()));
    }

    /// What each SKU of this product takes its offer to be, while `draft` is not yet applied.
    fn offers_told(&self, id: ProductId, draft: &Draft, claimed: &BTreeSet<Sku>) -> BTreeMap<Sku, Offer> {
        let now = self.content.iter().flat_map(|content| {
            let told = |variant: &Variant| (variant.sku.clone(), offer(id, content, variant.id, variant.price));
            self.variants.iter().map(told)
        });
        let claims = draft.variants.iter().filter(|variant| claimed.contains(&variant.sku)).map(|variant| {
            let told = Offer { published: false, ..offer(id, &draft.content, variant.id, variant.price) };
            (variant.sku.clone(), told)
        });
        now.chain(claims).collect()
    }
}

fn sku_follow_up(kind: FollowUpKind, sku: &Sku) -> FollowUp {
    FollowUp { kind, name: Arc::from(sku.as_str()) }
}

fn slug_follow_up(slug: &Slug) -> FollowUp {
    FollowUp { kind: FollowUpKind::ReleaseSlug, name: Arc::from(slug.as_str()) }
}
