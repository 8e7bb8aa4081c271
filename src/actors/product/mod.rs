//! A product: what a merchant describes and a customer looks at, with its variants.
//!
//! Slugs and SKUs are unique across the shop, and carts and orders know SKUs only. So a change of a
//! product is a process over several entities; what the product shows changes in one event in its middle:
//!
//! 1. `ChangeStarted`: the draft of what the product shall be is noted. It owes the claim of the slug (if
//!    it is another one) and of each SKU that is new, one after the other in SKU order: of two products
//!    that want overlapping SKUs one gets through.
//! 2. Each claim that is granted is noted. A slug that was made from the title and is taken is tried again with a
//!    suffix; any other claim that is taken ends the change (`ChangeRefused`): all that was claimed
//!    for it is owed its release, and nothing else has changed.
//! 3. `ChangeApplied`: all claims are there. From this event on the product is what the draft says; it owes each
//!    SKU whose offer changed the new offer, and release to the SKUs and the slug that are left.
//! 4. `FollowUpDone` for each of these. With the last the product is settled, and takes the next change.
//!
//! What a crash leaves: before 3 the old product, with a draft that goes on where it was (a claim whose
//! answer was lost is asked for again with the same request id, and granted again); after 3 the new
//! product, and SKUs that still sell at the old offer until they are told, which happens before the
//! caller is answered. Claims are released only when their grant was recorded, so none is ever lost: a
//! SKU or slug that is held without being in use belongs to a product that still owes its release.
//!
//! SKUs tell their stock band when it changes; a product is read without asking them. News carry a
//! number, so late ones change nothing; news that overtake the SKU's own claim wait in the draft.

mod change;
mod owed;
pub mod types;

#[cfg(test)]
mod tests;

use crate::actors::entity::{Answer, Ctx, Decision, DecisionOf, Entity, OWED_MAX, Owed};
use crate::actors::sku::types::{self as sku, Offer, StockUnit};
use crate::actors::slug::types::{self as slug, ProductSlug};
use crate::actors::values::{Money, ProductId, RequestId, Sku, Slug, StockBand, Time, VariantId};
use crate::stored_enum;
use owed::{OwedKey, follow_up};

use types::{
    Command, Content, Draft, FollowUp, FollowUpKind, Product, ProductStatus, Refusal, Rejection, Reply, State,
    VARIANTS_MAX, Variant,
};

stored_enum! {
    pub enum Event {
        (1, 1) => ChangeStarted { id: ProductId, request: RequestId, draft: Box<Draft> },
        (2, 1) => SlugClaimed,
        /// `next` is tried now.
        (3, 1) => SlugTaken { next: Slug },
        (4, 1) => SkuClaimed { sku: Sku, band: StockBand, seq: u64 },
        (5, 1) => ChangeApplied,
        (6, 1) => ChangeRefused { refusal: Refusal },
        (7, 1) => FollowUpDone { follow_up: FollowUp },
        (8, 1) => StockNoted { sku: Sku, band: StockBand, seq: u64 },
    }
}

impl Entity for State {
    type Kind = Product;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Create { product } => self.create(*product, ctx),
            Command::Update { if_version, patch } => self.update(if_version, *patch, ctx),
            Command::Archive { if_version } => self.archive(if_version, ctx),
            Command::StockChanged { sku, band, seq } => Ok(noted(self.stock_news(sku, band, seq))),
            Command::SlugAnswered { slug, taken } => Ok(noted(self.slug_answered(&slug, taken))),
            Command::SkuClaimed { sku, band, seq } => Ok(noted(self.sku_claimed(sku, band, seq))),
            Command::SkuTaken { sku } => Ok(noted(self.sku_taken(sku))),
            Command::FollowUpDone { change, follow_up } => {
                let done = change == self.changes && self.follow_ups.contains(&follow_up);
                Ok(noted(done.then_some(Event::FollowUpDone { follow_up }).into_iter().collect()))
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::ChangeStarted { id, request, draft } => self.start_change(*id, *request, draft),
            Event::SlugClaimed => {
                if let Some(pending) = &mut self.pending {
                    pending.slug_open = false;
                    pending.slug_claimed = true;
                }
            }
            Event::SlugTaken { next } => {
                if let Some(pending) = &mut self.pending {
                    pending.slugs_tried += 1;
                    pending.draft.slug = next.clone();
                }
            }
            Event::SkuClaimed { sku, band, seq } => {
                self.note_stock(sku, *band, *seq);
                if let Some(pending) = &mut self.pending
                    && pending.to_claim.remove(sku)
                {
                    pending.claimed.insert(sku.clone());
                }
            }
            Event::ChangeApplied => self.apply_change(at),
            Event::ChangeRefused { refusal } => self.refuse_change(refusal),
            Event::FollowUpDone { follow_up } => {
                self.follow_ups.remove(follow_up);
            }
            Event::StockNoted { sku, band, seq } => self.note_stock(sku, *band, *seq),
        }
    }

    fn owed(&self) -> Vec<Owed> {
        let Some(id) = self.id else { return Vec::new() };
        let change = self.changes;
        let Some(pending) = &self.pending else {
            return self
                .follow_ups
                .iter()
                .take(OWED_MAX)
                .filter_map(|follow_up| self.follow_up(id, follow_up))
                .collect();
        };
        if pending.slug_open {
            let slug = &pending.draft.slug;
            let claim = slug::Command::Claim { product: id };
            return vec![Owed::to::<ProductSlug>(OwedKey::ClaimSlug { change, slug: slug.clone() }, slug, claim)];
        }
        let Some(sku) = pending.to_claim.first() else { return Vec::new() };
        let Some(variant) = pending.draft.variants.iter().find(|variant| variant.sku == *sku) else {
            return Vec::new();
        };
        let offer = Offer { published: false, ..offer(id, &pending.draft.content, variant.id, variant.price) };
        let claim = sku::Command::Claim { sku: sku.clone(), offer };
        vec![Owed::to::<StockUnit>(OwedKey::ClaimSku { change, sku: sku.clone() }, sku, claim)]
    }

    fn answered(&self, key: &str, answer: &Answer) -> Option<Command> {
        let key: OwedKey = key.parse().ok()?;
        let change = key.change();
        if change != self.changes {
            return None; // of a change that is over
        }
        // A SKU or slug can refuse a follow-up only when it is not this product's any more; then
        // there is nothing left to do for it.
        let done = |kind, name: &str| Command::FollowUpDone { change, follow_up: follow_up(kind, name) };
        Some(match key {
            OwedKey::ClaimSlug { slug, .. } => {
                let taken = answer.entity::<ProductSlug>()?.is_err();
                Command::SlugAnswered { slug, taken }
            }
            OwedKey::ClaimSku { sku, .. } => match answer.entity::<StockUnit>()? {
                Ok(sku::Reply::Claimed { band, seq }) => Command::SkuClaimed { sku, band: *band, seq: *seq },
                Ok(_) | Err(_) => Command::SkuTaken { sku },
            },
            OwedKey::SetOffer { sku, .. } => done(FollowUpKind::SetOffer, sku.as_str()),
            OwedKey::ReleaseSku { sku, .. } => done(FollowUpKind::ReleaseSku, sku.as_str()),
            OwedKey::ReleaseSlug { slug, .. } => done(FollowUpKind::ReleaseSlug, slug.as_str()),
        })
    }

    fn settled(&self) -> bool {
        self.pending.is_none() && self.follow_ups.is_empty()
    }

    fn violations(&self) -> Vec<&'static str> {
        let mut skus: Vec<_> = self.variants.iter().map(|variant| &variant.sku).collect();
        skus.sort();
        skus.dedup();
        let claims = self.pending.as_ref().is_none_or(|pending| {
            pending.to_claim.is_disjoint(&pending.claimed) && !(pending.slug_open && pending.slug_claimed)
        });
        let rules = [
            (skus.len() == self.variants.len(), "each variant has a SKU of its own"),
            (self.variants.len() <= VARIANTS_MAX, "no more variants than the limit"),
            (self.content.is_some() == self.slug.is_some(), "a product has a slug, and what is none has none"),
            (self.content.is_some() == (self.version > 0), "a product has a version from its creation on"),
            (self.pending.is_none() || self.follow_ups.is_empty(), "one change at a time"),
            (claims, "what a change has claimed it does not claim again"),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, name)| name).collect()
    }

    fn size_bytes(&self) -> usize {
        let texts = |map: &std::collections::BTreeMap<String, String>| -> usize {
            map.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum()
        };
        let content = self.content.as_ref().map_or(0, |content| {
            size_of::<Content>() + content.title.len() + content.description.len() + texts(&content.attributes)
        });
        let variants: usize = self.variants.iter().map(|variant| texts(&variant.options) + 64).sum();
        let pending = self.pending.as_ref().map_or(0, |pending| {
            let draft = &pending.draft;
            let variants: usize =
                draft.variants.iter().map(|variant| size_of_val(variant) + texts(&variant.options)).sum();
            size_of_val(&**pending) + draft.content.description.len() + texts(&draft.content.attributes) + variants
        });
        let follow_ups: usize =
            self.follow_ups.iter().map(|follow_up| size_of_val(follow_up) + follow_up.name.len()).sum();
        size_of::<Self>() + self.variants.capacity() * size_of::<Variant>() + content + variants + pending + follow_ups
    }
}

impl State {
    fn follow_up(&self, id: ProductId, follow_up: &FollowUp) -> Option<Owed> {
        let FollowUp { kind, name } = follow_up;
        let change = self.changes;
        match kind {
            FollowUpKind::SetOffer => {
                let sku: Sku = name.parse().ok()?;
                let (content, variant) = (self.content.as_deref()?, self.variant(&sku)?);
                let offer = offer(id, content, variant.id, variant.price);
                Some(Owed::to::<StockUnit>(
                    OwedKey::SetOffer { change, sku: sku.clone() },
                    &sku,
                    sku::Command::SetOffer { offer },
                ))
            }
            FollowUpKind::ReleaseSku => {
                let sku: Sku = name.parse().ok()?;
                let key = OwedKey::ReleaseSku { change, sku: sku.clone() };
                Some(Owed::to::<StockUnit>(key, &sku, sku::Command::Release { product: id }))
            }
            FollowUpKind::ReleaseSlug => {
                // What a refused change has claimed never was its name.
                let command = slug::Command::Release { product: id, moved: self.last_refusal.is_none() };
                let slug: Slug = name.parse().ok()?;
                let key = OwedKey::ReleaseSlug { change, slug: slug.clone() };
                Some(Owed::to::<ProductSlug>(key, &slug, command))
            }
        }
    }
}

fn noted(events: Vec<Event>) -> Decision<Event, Reply> {
    Decision::new(events, Reply::Noted)
}

/// What a SKU sells for a product with this content.
fn offer(product: ProductId, content: &Content, variant: VariantId, price: Money) -> Offer {
    let published = content.status == ProductStatus::Published;
    Offer { product, variant, title: content.title.clone(), price, published, seller: content.seller }
}
