//! What a client does with lines and contact. Each change moves the time at which the cart is abandoned.

use std::collections::BTreeMap;

use super::types::{LINE_FAULTS_MAX, LINES_MAX, Line, LineFault, LineFaultCode, NewLine, Rejection, Reply, State};
use super::{Event, expiry};
use crate::actors::entity::{Ctx, Decision, DecisionOf};
use crate::actors::sku::types::{Item, Offer};
use crate::actors::values::{Contact, LineId, Quantity, Sku};

impl State {
    pub(super) fn add_line(&self, new: NewLine, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_open()?;
        let there = self.lines.by_sku(&new.sku);
        let line = self.with_more(there, new, (0, ctx)).map_err(|fault| self.refused(fault))?;
        if there.is_none() && self.lines.len() >= LINES_MAX {
            return Err(too_many());
        }
        let expires_at = expiry(ctx);
        let Line { id, quantity, .. } = line;
        let event = match there {
            Some(there) if line == (Line { quantity, ..there.clone() }) => {
                Event::QuantitySet { line: id, quantity, expires_at }
            }
            Some(_) | None => Event::LineSet { line, expires_at },
        };
        Ok(Decision::new(vec![event], Reply::Changed))
    }

    /// All of the list or none of it, in one event.
    pub(super) fn add_lines(&self, list: Vec<NewLine>, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_open()?;
        let mut added: Vec<Line> = Vec::with_capacity(list.len());
        let mut places: BTreeMap<Sku, usize> = BTreeMap::new();
        let (mut faults, mut count) = (Vec::new(), self.lines.len());
        for (place, new) in (0_u32..).zip(list) {
            let sku = new.sku.clone();
            let before = places.get(&sku).copied();
            let there = before.and_then(|at| added.get(at)).or_else(|| self.lines.by_sku(&sku));
            let is_new = there.is_none();
            match self.with_more(there, new, (place, ctx)) {
                Ok(line) => match before.and_then(|at| added.get_mut(at)) {
                    Some(earlier) => *earlier = line,
                    None => {
                        count += usize::from(is_new);
                        places.insert(sku, added.len());
                        added.push(line);
                    }
                },
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            faults.truncate(LINE_FAULTS_MAX);
            return Err(Rejection::LinesNotAdded { faults });
        }
        if count > LINES_MAX {
            return Err(too_many());
        }
        if added.is_empty() {
            return Ok(Decision::unchanged(Reply::Changed));
        }
        let event = Event::LinesAdded { lines: added, expires_at: expiry(ctx) };
        Ok(Decision::new(vec![event], Reply::Changed))
    }

    /// The line that `there` becomes with more pieces at the offer's price, or a new line. If the SKU names another
    /// item now, the quantities are not added up: the new item takes the line. `place`: the place in the list of new
    /// lines.
    fn with_more(&self, there: Option<&Line>, new: NewLine, (place, ctx): (u32, &Ctx)) -> Result<Line, LineFault> {
        let NewLine { sku, quantity, offer } = new;
        let fault = |code, currency| LineFault { place, sku: sku.clone(), code, currency };
        let offer = offer.ok_or_else(|| fault(LineFaultCode::UnknownSku, None))?;
        let item = Item::of(&offer);
        let Offer { product, variant, title, price: unit_price, published, .. } = offer;
        if !published {
            return Err(fault(LineFaultCode::Unpublished, None));
        }
        if unit_price.currency != self.currency {
            return Err(fault(LineFaultCode::OtherCurrency, Some(unit_price.currency)));
        }
        let (id, quantity) = match there {
            Some(gone) if !gone.item().is(&item) => (gone.id, quantity),
            Some(there) => {
                let quantity = grown(there.quantity, quantity);
                (there.id, quantity.map_err(|_| fault(LineFaultCode::QuantityTooLarge, None))?)
            }
            None => (LineId::derived(&ctx.request, place), quantity),
        };
        Ok(Line { id, sku, product, variant: Some(variant), title, quantity, unit_price })
    }

    /// The fault of a line that was asked for alone.
    fn refused(&self, fault: LineFault) -> Rejection {
        let LineFault { sku, code, currency, .. } = fault;
        match code {
            LineFaultCode::UnknownSku => Rejection::UnknownSku { sku },
            LineFaultCode::Unpublished => Rejection::Unpublished { sku },
            LineFaultCode::OtherCurrency => {
                Rejection::OtherCurrency { sku, currency: currency.unwrap_or(self.currency) }
            }
            LineFaultCode::QuantityTooLarge => Rejection::QuantityTooLarge { limit: Quantity::MAX },
        }
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
}

fn too_many() -> Rejection {
    Rejection::TooManyLines { limit: LINES_MAX as u32 }
}

/// Two quantities of one SKU together.
pub(super) fn grown(there: Quantity, more: Quantity) -> Result<Quantity, Rejection> {
    Quantity::new(u64::from(there.get()) + u64::from(more.get()))
        .map_err(|_| Rejection::QuantityTooLarge { limit: Quantity::MAX })
}
