//! What a client does with lines and contact. Each change moves the time at which the cart is abandoned.

use super::types::{LINES_MAX, Line, Rejection, Reply, State};
use super::{Event, expiry};
use crate::actors::entity::{Ctx, Decision, DecisionOf};
use crate::actors::sku::types::Offer;
use crate::actors::values::{Contact, LineId, Quantity, Sku};

impl State {
    pub(super) fn add_line(
        &self,
        sku: Sku,
        quantity: Quantity,
        offer: Option<Offer>,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_open()?;
        let offer = self.sellable(&sku, offer)?;
        let expires_at = expiry(ctx);
        let Offer { product, title, price: unit_price, .. } = offer;
        let event = match self.lines.by_sku(&sku) {
            Some(there) => {
                let quantity = grown(there.quantity, quantity)?;
                let same = there.unit_price == unit_price && there.title == title && there.product == product;
                let id = there.id;
                if same {
                    Event::QuantitySet { line: id, quantity, expires_at }
                } else {
                    Event::LineSet { line: Line { id, sku, product, title, quantity, unit_price }, expires_at }
                }
            }
            None if self.lines.len() >= LINES_MAX => {
                return Err(Rejection::TooManyLines { limit: LINES_MAX as u32 });
            }
            None => {
                let id = LineId::derived(&ctx.request, 0);
                Event::LineSet { line: Line { id, sku, product, title, quantity, unit_price }, expires_at }
            }
        };
        Ok(Decision::new(vec![event], Reply::Changed))
    }

    pub(super) fn set_quantity(
        &self,
        line: LineId,
        quantity: Quantity,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_open()?;
        let there = self.lines.by_id(line).ok_or(Rejection::LineNotFound)?;
        if there.quantity == quantity {
            return Ok(Decision::unchanged(Reply::Changed));
        }
        let event = Event::QuantitySet { line, quantity, expires_at: expiry(ctx) };
        Ok(Decision::new(vec![event], Reply::Changed))
    }

    pub(super) fn remove_line(&self, line: LineId, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_open()?;
        self.lines.by_id(line).ok_or(Rejection::LineNotFound)?;
        Ok(Decision::new(vec![Event::LineRemoved { line, expires_at: expiry(ctx) }], Reply::Changed))
    }

    pub(super) fn set_contact(&self, contact: Box<Contact>, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_open()?;
        if self.contact.as_ref() == Some(&contact) {
            return Ok(Decision::unchanged(Reply::Changed));
        }
        Ok(Decision::new(vec![Event::ContactSet { contact, expires_at: expiry(ctx) }], Reply::Changed))
    }

    /// The offer, if it is one that this cart can take.
    fn sellable(&self, sku: &Sku, offer: Option<Offer>) -> Result<Offer, Rejection> {
        let Some(offer) = offer else {
            return Err(Rejection::UnknownSku { sku: sku.clone() });
        };
        if !offer.published {
            return Err(Rejection::Unpublished { sku: sku.clone() });
        }
        if offer.price.currency != self.currency {
            return Err(Rejection::OtherCurrency { sku: sku.clone(), currency: offer.price.currency });
        }
        Ok(offer)
    }
}

/// Two quantities of one SKU together.
pub(super) fn grown(there: Quantity, more: Quantity) -> Result<Quantity, Rejection> {
    Quantity::new(u64::from(there.get()) + u64::from(more.get()))
        .map_err(|_| Rejection::QuantityTooLarge { limit: Quantity::MAX })
}
