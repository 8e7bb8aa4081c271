//! How a SKU judges commands about pieces. Each decision ends with [`State::banded`]: when what is
//! available changes its band, the record says so.

use super::types::{Rejection, Reply, STOCK_MAX, State};
use super::{EXPIRED_MAX, Event};
use crate::actors::entity::{Ctx, Decision, DecisionOf};
use crate::actors::values::{OrderId, Quantity, StockBand, Time};

impl State {
    pub(super) fn set_stock(
        &self,
        on_hand: u64,
        expected: Option<u64>,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_known()?;
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

    pub(super) fn adjust(&self, delta: i64, reason: String, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_known()?;
        let on_hand = self.judge_on_hand(i128::from(self.on_hand) + i128::from(delta))?;
        let reply = Reply::StockSet { on_hand };
        Ok(self.banded(vec![Event::Adjusted { delta, reason }], reply, on_hand - self.reserved(), ctx))
    }

    pub(super) fn reserve(
        &self,
        order: OrderId,
        quantity: Quantity,
        placed_at: Time,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_known()?;
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
        let expires_at = ctx.now.plus_ms(ctx.policy.reservation_ttl_ms);
        events.push(Event::Reserved { order, quantity, expires_at, placed_at });
        Ok(self.banded(events, Reply::Reserved, available - requested, ctx))
    }

    /// Why an order cannot have what it wants; all overdue holds are counted as `available`. Looks at holds of
    /// younger orders only, and at no more than would have to go.
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
        let held = self.reservations.get(&order).ok_or(Rejection::NotReserved)?;
        let event = Event::Committed { order, quantity: held.quantity };
        Ok(self.banded(vec![event], Reply::Committed, self.available(), ctx))
    }

    pub(super) fn release_hold(&self, order: OrderId, ctx: &Ctx) -> DecisionOf<Self> {
        let Some(held) = self.reservations.get(&order) else {
            return Decision::unchanged(Reply::HoldReleased);
        };
        let available = self.available() + u64::from(held.quantity.get());
        self.banded(vec![Event::HoldReleased { order }], Reply::HoldReleased, available, ctx)
    }

    pub(super) fn restock(&self, order: OrderId, quantity: Quantity, ctx: &Ctx) -> DecisionOf<Self> {
        let available = self.available() + u64::from(quantity.get());
        self.banded(vec![Event::Restocked { order, quantity }], Reply::Restocked, available, ctx)
    }

    pub(super) fn expire(&self, ctx: &Ctx) -> DecisionOf<Self> {
        let due: Vec<_> = self.reservations.due(ctx.now).take(EXPIRED_MAX).collect();
        if due.is_empty() {
            return Decision::unchanged(Reply::Noted);
        }
        let freed: u64 = due.iter().map(|(_, hold)| u64::from(hold.quantity.get())).sum();
        let orders = due.into_iter().map(|(order, _)| order).collect();
        self.banded(vec![Event::Expired { orders }], Reply::Noted, self.available() + freed, ctx)
    }

    fn must_be_known(&self) -> Result<(), Rejection> {
        if self.offer.is_some() { Ok(()) } else { Err(Rejection::Unknown) }
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
            few if few <= u64::from(ctx.policy.low_stock_at) => StockBand::LowStock,
            _ => StockBand::InStock,
        };
        if band != self.band {
            events.push(Event::BandChanged { band });
        }
        Decision::new(events, reply)
    }
}
