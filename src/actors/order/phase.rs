//! Where an order stands: what its state means for the process.

use super::types::{OrderStatus, PaymentStage, RefundStatus, State, StockStep};
use crate::actors::values::Time;

/// How many stock steps are owed at once where their order does not matter: enough to fill a group
/// commit, few enough to leave room below `OWED_MAX`.
pub(super) const STOCK_AT_ONCE: usize = 16;

/// Where an order stands on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Getting its number and its stock.
    Reserving,
    Authorising,
    Committing,
    /// The point of no return.
    Capturing,
    /// It was refused, and gives back what it holds.
    TurningBack,
    /// Confirmed, rejected, cancelled, completed.
    Decided,
}

impl State {
    pub(super) fn phase(&self) -> Phase {
        if self.status != OrderStatus::Pending {
            return Phase::Decided;
        }
        if self.refusal.is_some() {
            return Phase::TurningBack;
        }
        let authorised = match &self.payment {
            None => self.costs_nothing() && self.ready_to_pay(),
            Some(payment) => match payment.stage {
                PaymentStage::Asked => return Phase::Authorising,
                PaymentStage::Authorised => true,
                // Each of these is followed by its decision in the same record.
                PaymentStage::Captured | PaymentStage::Declined | PaymentStage::Voiding | PaymentStage::Voided => {
                    return Phase::Capturing;
                }
            },
        };
        match authorised {
            false => Phase::Reserving,
            true if self.stock.contains(&StockStep::Held) => Phase::Committing,
            true => Phase::Capturing,
        }
    }

    /// Line indexes that stand at `step`, in SKU order.
    pub(super) fn lines_at(&self, step: StockStep) -> impl Iterator<Item = u32> + '_ {
        self.by_sku.iter().copied().filter(move |line| self.step_of(*line) == Some(step))
    }

    pub(super) fn step_of(&self, line: u32) -> Option<StockStep> {
        self.stock.get(line as usize).copied()
    }

    /// Stock steps that are owed now, on the way forward: the ones that are in flight.
    pub(super) fn stock_in_flight(&self) -> usize {
        match self.phase() {
            Phase::Reserving => self.lines_at(StockStep::Waiting).take(1).count(),
            Phase::Committing => self.lines_at(StockStep::Held).take(STOCK_AT_ONCE).count(),
            Phase::Authorising | Phase::Capturing | Phase::TurningBack | Phase::Decided => 0,
        }
    }

    pub(super) fn costs_nothing(&self) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.totals.total.amount == 0)
    }

    pub(super) fn ready_to_pay(&self) -> bool {
        self.number.is_some() && self.stock.iter().all(|step| *step != StockStep::Waiting)
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.stock.iter().all(|step| *step == StockStep::Cleared)
    }

    /// Whether what was taken is to be given back.
    pub(super) fn gives_back(&self) -> bool {
        self.refusal.is_some() || self.status == OrderStatus::Cancelled
    }

    pub(super) fn restocking(&self) -> bool {
        self.gives_back() && !self.holds_nothing()
    }

    pub(super) fn refunding(&self) -> bool {
        self.refunds.iter().any(|refund| refund.status == RefundStatus::Pending)
    }

    pub(super) fn payment_is(&self, stage: PaymentStage) -> bool {
        self.payment.as_ref().is_some_and(|payment| payment.stage == stage)
    }

    /// When an order that is being authorised gives up.
    pub(super) fn payment_deadline(&self) -> Option<Time> {
        let payment = self.payment.as_ref()?;
        (self.phase() == Phase::Authorising).then_some(payment.deadline)
    }

    /// When an order that waits for nothing but its void goes on without.
    pub(super) fn void_deadline(&self) -> Option<Time> {
        let waits = self.phase() == Phase::TurningBack && self.payment_is(PaymentStage::Voiding);
        self.void_grace.filter(|_| waits && self.number.is_some() && self.holds_nothing())
    }

    /// Minor units that cancelling still has to ask back: what it was declined is left to people.
    pub(super) fn left_to_cancel(&self) -> i64 {
        let declined = self.refunds.iter().filter(|refund| refund.by_cancel && refund.status == RefundStatus::Failed);
        self.refundable() - declined.map(|refund| refund.amount.amount).sum::<i64>()
    }
}
