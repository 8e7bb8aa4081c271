//! How a SKU judges claims and commands about pieces. Each decision ends with [`State::banded`]: when what is
//! available changes its band, the record says so.

use super::types::{Item, Ledger, Offer, Rejection, Reply, STOCK_MAX, State};
use super::{EXPIRED_MAX, Event};
use crate::actors::entity::{Ctx, Decision, DecisionOf};
use crate::actors::values::{OrderId, Quantity, Sku, StockBand, Time};

impl State {
    /// A product's variant wants the SKU: it starts with nothing.
    pub(super) fn claim(&self, sku: Sku, offer: Offer) -> Result<DecisionOf<Self>, Rejection> {
        let claimed = |seq| Reply::Claimed { band: self.band, seq };
        let mut events = Vec::with_capacity(2);
        match &self.offer {
            Some(held) if held.product != offer.product => return Err(Rejection::Taken { by: held.product }),
            Some(held) if held.variant == offer.variant => return Ok(Decision::unchanged(claimed(self.band_seq))),
            // Another variant of the same product.
            Some(_) => events.push(Event::Released),
            None => {}
        }
        if let Some(by) = self.ledger().and_then(|ledger| self.past.in_the_way_of(&ledger)) {
            return Err(Rejection::Taken { by: by.product });
        }
        events.push(Event::Claimed { sku, offer, fresh: true });
        Ok(Decision::new(events, Reply::Claimed { band: StockBand::OutOfStock, seq: self.seq_of_nothing() }))
    }

    /// The number of the band once there is nothing: news of what was there before are older.
    fn seq_of_nothing(&self) -> u64 {
        self.band_seq + u64::from(self.band != StockBand::OutOfStock)
    }

    fn ledger(&self) -> Option<Ledger> {
        Some(Ledger { item: self.item?, pieces: self.pieces(), reservations: self.reservations.clone() })
    }

    /// Sets the present ledger aside.
    pub(super) fn start_anew(&mut self) {
        if let Some(ledger) = self.ledger() {
            self.past.set_aside(ledger);
        }
        let (band, seq) = (StockBand::OutOfStock, self.seq_of_nothing());
        let (sku, past) = (self.sku.take(), std::mem::take(&mut self.past));
        *self = State { sku, past, band, band_seq: seq, ..State::default() };
    }

    pub(super) fn let_go(&mut self, order: &OrderId) {
        if self.reservations.remove(order).is_none() {
            self.past.let_go(order);
        }
    }

    pub(super) fn set_stock(
        &self,
        on_hand: u64,
        expected: Option<u64>,
        item: Option<Item>,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        self.must_sell(item.as_ref())?;
        if expected.is_some_and(|expected| expected != self.on_hand) {
            return Err(Rejection::StockChanged { on_hand: self.on_hand });
        }
        self.judge_on_hand(i128::from(on_hand))?;
        let reply = Reply::StockSet { on_hand };
        if on_hand == self.on_hand {
            return Ok(Decision::unchanged(reply));
        }
        Ok(self.banded(vec![Event::StockSet { on_hand }], reply, on_hand - self.reserved(), ctx))
    }

    pub(super) fn adjust(
        &self,
        delta: i64,
        reason: String,
        item: Option<Item>,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        self.must_sell(item.as_ref())?;
        let on_hand = self.judge_on_hand(i128::from(self.on_hand) + i128::from(delta))?;
        let reply = Reply::StockSet { on_hand };
        Ok(self.banded(vec![Event::Adjusted { delta, reason }], reply, on_hand - self.reserved(), ctx))
    }

    pub(super) fn reserve(
        &self,
        order: OrderId,
        quantity: Quantity,
        placed_at: Time,
        item: Item,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        // An order holds in one ledger at most.
        match self.past.hold(&order) {
            Some(held) if held.quantity == quantity => return Ok(Decision::unchanged(Reply::Reserved)),
            Some(_) => return Err(Rejection::Unknown),
            None => self.must_sell(Some(&item))?,
        }
        let held = self.reservations.get(&order).copied();
        if held.is_some_and(|held| held.quantity == quantity && held.expires_at > ctx.now) {
            return Ok(Decision::unchanged(Reply::Reserved));
        }
        let requested = u64::from(quantity.get());
        let mut available = self.available() + held.map_or(0, |held| u64::from(held.quantity.get()));
        let mut overdue = Vec::new();
        if available < requested {
            for (other, hold) in self.reservations.due(ctx.now).filter(|(other, _)| *other != order) {
                available += u64::from(hold.quantity.get());
                overdue.push(other);
                if available >= requested {
                    break;
                }
            }
        }
        if available < requested {
            return Err(self.short(order, placed_at, available, requested, ctx.now));
        }
        let mut events = Vec::with_capacity(2);
        if !overdue.is_empty() {
            events.push(Event::Expired { orders: overdue });
        }
        let expires_at = ctx.now.plus_ms(ctx.policy.reservation.ttl_ms);
        events.push(Event::Reserved { order, quantity, expires_at, placed_at });
        Ok(self.banded(events, Reply::Reserved, available - requested, ctx))
    }

    /// Why an order cannot have the pieces it wants, where `available` counts all overdue holds as free. Looks only at
    /// the holds of younger orders, and only at as many as would make it fit.
    fn short(&self, order: OrderId, placed_at: Time, available: u64, requested: u64, now: Time) -> Rejection {
        let mut without_younger = available;
        for (_, hold) in self.reservations.younger_than((placed_at, order)).filter(|(_, hold)| hold.expires_at > now) {
            without_younger += u64::from(hold.quantity.get());
            if without_younger >= requested {
                return Rejection::Contended;
            }
        }
        Rejection::InsufficientStock { available, requested }
    }

    pub(super) fn commit(&self, order: OrderId, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        if let Some(held) = self.past.hold(&order) {
            return Ok(Decision::new(vec![Event::Committed { order, quantity: held.quantity }], Reply::Committed));
        }
        let held = self.reservations.get(&order).ok_or(Rejection::NotReserved)?;
        let event = Event::Committed { order, quantity: held.quantity };
        Ok(self.banded(vec![event], Reply::Committed, self.available(), ctx))
    }

    pub(super) fn release_hold(&self, order: OrderId, ctx: &Ctx) -> DecisionOf<Self> {
        if self.past.hold(&order).is_some() {
            return Decision::new(vec![Event::HoldReleased { order }], Reply::HoldReleased);
        }
        let Some(held) = self.reservations.get(&order) else {
            return Decision::unchanged(Reply::HoldReleased);
        };
        let available = self.available() + u64::from(held.quantity.get());
        self.banded(vec![Event::HoldReleased { order }], Reply::HoldReleased, available, ctx)
    }

    pub(super) fn restock(&self, order: OrderId, quantity: Quantity, item: Item, ctx: &Ctx) -> DecisionOf<Self> {
        if !self.was_sold_here(&item, quantity) {
            let variant = self.past.variant_of(&item, quantity);
            return Decision::new(vec![Event::RestockedPast { order, quantity, variant }], Reply::Restocked);
        }
        let available = self.available() + u64::from(quantity.get());
        self.banded(vec![Event::Restocked { order, quantity }], Reply::Restocked, available, ctx)
    }

    /// Whether returned pieces were sold from the present ledger. A line that does not know its variant may be of an
    /// earlier one: it counts as the present one only if so many pieces of that are out.
    fn was_sold_here(&self, item: &Item, quantity: Quantity) -> bool {
        let enough_out = item.variant.is_some() || self.pieces().out() >= u64::from(quantity.get());
        enough_out && self.item.is_some_and(|present| item.is(&present))
    }

    pub(super) fn expire(&self, ctx: &Ctx) -> DecisionOf<Self> {
        let due: Vec<_> = self.reservations.due(ctx.now).take(EXPIRED_MAX).collect();
        let freed: u64 = due.iter().map(|(_, hold)| u64::from(hold.quantity.get())).sum();
        let past = self.past.due(ctx.now).take(EXPIRED_MAX - due.len());
        let orders: Vec<_> = due.iter().copied().chain(past).map(|(order, _)| order).collect();
        if orders.is_empty() {
            return Decision::unchanged(Reply::Noted);
        }
        self.banded(vec![Event::Expired { orders }], Reply::Noted, self.available() + freed, ctx)
    }

    /// Errors: the SKU is not sold, or not as `item` where that is given.
    pub(super) fn must_sell(&self, item: Option<&Item>) -> Result<(), Rejection> {
        let present = self.offer.as_ref().map(Item::of).ok_or(Rejection::Unknown)?;
        if item.is_none_or(|item| item.is(&present)) { Ok(()) } else { Err(Rejection::Unknown) }
    }

    /// An on_hand that someone wants to set: not below what orders hold, and in range.
    fn judge_on_hand(&self, on_hand: i128) -> Result<u64, Rejection> {
        if on_hand < i128::from(self.reserved()) {
            return Err(Rejection::StockReserved { reserved: self.reserved() });
        }
        u64::try_from(on_hand)
            .ok()
            .filter(|on_hand| *on_hand <= STOCK_MAX)
            .ok_or(Rejection::OutOfRange { limit: STOCK_MAX })
    }

    /// The decision, with a change of band when `available` (after these events) means one.
    fn banded(&self, mut events: Vec<Event>, reply: Reply, available: u64, ctx: &Ctx) -> DecisionOf<Self> {
        let band = match available {
            0 => StockBand::OutOfStock,
            few if few <= u64::from(ctx.policy.stock.low_at) => StockBand::LowStock,
            _ => StockBand::InStock,
        };
        if band != self.band {
            events.push(Event::BandChanged { band });
        }
        Decision::new(events, reply)
    }
}
