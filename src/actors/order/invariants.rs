//! What must hold of an order at every moment, and how large it is.

use super::types::{
    Contention, OrderLine, OrderStatus, PaymentStage, Placement, Refund, State, StockStep, TimelineEntry,
};

/// A rough allowance for the texts of a line, a timeline entry or a refund.
const TEXT_BYTES: usize = 64;

impl State {
    /// The names of the invariants that are broken.
    pub(super) fn broken(&self) -> Vec<&'static str> {
        let Some(placement) = &self.placement else { return Vec::new() };
        let captured = self.payment.as_ref().is_some_and(|payment| payment.stage == PaymentStage::Captured);
        let came_to_nothing = match self.status {
            OrderStatus::Rejected => true,
            OrderStatus::Cancelled => !self.confirmed,
            OrderStatus::Pending | OrderStatus::Confirmed | OrderStatus::Completed => false,
        };
        let stands = matches!(self.status, OrderStatus::Confirmed | OrderStatus::Completed);
        let checks = [
            (
                placement.totals.add_up() || (self.payment.is_none() && !self.confirmed),
                "what is paid: lines + shipping + tax - discounts = total",
            ),
            (self.refundable() >= 0, "captured - refunded >= 0, pending refunds counted"),
            (self.stock.len() == placement.lines.len(), "every line has its stock step"),
            (
                !stands || self.stock.iter().all(|step| *step == StockStep::Committed),
                "a confirmed order has all its stock",
            ),
            (!self.confirmed || captured || self.costs_nothing(), "a confirmed order is paid"),
            (!captured || self.refusal.is_none(), "a refused order is never charged"),
            (!self.confirmed || self.refusal.is_none(), "an order is confirmed or refused, never both"),
            (!came_to_nothing || self.gives_back(), "an order that came to nothing gives back what it holds"),
            (self.contended_lines_are_known(), "a contended line pauses or is asked for again"),
            (
                self.refusal.is_some() || !self.stock.contains(&StockStep::Committing),
                "only an order that turned back awaits commits to undo them",
            ),
            (!self.cart_told || self.decided_version.is_some(), "the cart is told only what is decided"),
            (
                self.told_version.is_none() || self.told_version > self.decided_version,
                "the cart is told after the decision",
            ),
            (self.fits(&placement.lines), "no more is fulfilled than was ordered"),
        ];
        checks.into_iter().filter(|(holds, _)| !holds).map(|(_, name)| name).collect()
    }

    fn contended_lines_are_known(&self) -> bool {
        let waiting = self.contended.keys().filter(|line| self.step_of(**line) == Some(StockStep::Waiting)).count();
        waiting == self.again.len() && waiting + self.pausing().count() == self.contended.len()
    }

    fn fits(&self, lines: &[OrderLine]) -> bool {
        self.fulfilled.iter().zip(lines).all(|(done, line)| *done <= line.quantity.get())
    }

    /// Roughly, without counting every text: it is asked often.
    pub(super) fn heap_bytes(&self) -> usize {
        let lines = self.placement.as_ref().map_or(0, |placement| placement.lines.len());
        let placed = self
            .placement
            .as_ref()
            .map_or(0, |placement| size_of::<Placement>() + 8 * TEXT_BYTES + placement.metadata.len() * 2 * TEXT_BYTES);
        placed
            + lines * (size_of::<OrderLine>() + TEXT_BYTES + size_of::<StockStep>() + size_of::<u32>())
            + self.contended.len() * 2 * size_of::<(u32, Contention)>()
            + self.again.len() * size_of::<u32>()
            + self.fulfilled.len() * size_of::<u32>()
            + self.timeline.len() * (size_of::<TimelineEntry>() + TEXT_BYTES)
            + self.refunds.len() * (size_of::<Refund>() + TEXT_BYTES)
    }
}
