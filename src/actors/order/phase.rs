//! Where an order stands: what its state means for the process.

use super::types::{Limits, OrderStatus, PaymentStage, RefundStatus, State, StockStep};
use crate::actors::values::Time;

/// How many stock steps are owed at once: enough that an order of a thousand lines waits for few commits,
/// few enough to leave room below `OWED_MAX`.
pub(super) const STOCK_AT_ONCE: usize = 64;
/// The limits of orders that were placed before orders had limits: the defaults of the settings.
const RESERVE_MS_BEFORE: u64 = 25_000;
const DECIDE_MS_BEFORE: u64 = 55_000;

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
        if !authorised {
            Phase::Reserving
        } else if self.stock.contains(&StockStep::Held) {
            Phase::Committing
        } else {
            Phase::Capturing
        }
    }

    /// Line indexes that stand at `step`, in SKU order.
    pub(super) fn lines_at(&self, step: StockStep) -> impl Iterator<Item = u32> + '_ {
        self.by_sku.iter().copied().filter(move |line| self.step_of(*line) == Some(step))
    }

    pub(super) fn step_of(&self, line: u32) -> Option<StockStep> {
        self.stock.get(line as usize).copied()
    }

    /// Lines to reserve, in the order in which they are asked for: first all in SKU order, then the contended ones
    /// as they come again. The first [`State::reserved_at_once`] are in flight. Lines leave it when they are
    /// answered and come in at its end, so that one that is in flight stays so until its answer.
    pub(super) fn to_reserve(&self) -> impl Iterator<Item = u32> + '_ {
        let first = self.lines_at(StockStep::Waiting).filter(|line| !self.contended.contains_key(line));
        first.chain(self.again.iter().copied())
    }

    /// An order from before holds had ages goes on in SKU order: its holds may pass for older than they are.
    pub(super) fn reserved_at_once(&self) -> usize {
        if self.limits.is_some() { STOCK_AT_ONCE } else { 1 }
    }

    /// How often a line's SKU has said that it is contended.
    pub(super) fn attempt(&self, line: u32) -> u32 {
        self.contended.get(&line).map_or(0, |contention| contention.attempt)
    }

    /// Contended lines and when they are asked for again.
    pub(super) fn pausing(&self) -> impl Iterator<Item = (u32, Time)> + '_ {
        let pausing = self.contended.iter().filter(|(line, _)| self.step_of(**line) == Some(StockStep::Contended));
        pausing.map(|(line, contention)| (*line, contention.again_at))
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits.unwrap_or(Limits {
            reserve_by: self.created_at.plus_ms(RESERVE_MS_BEFORE),
            decide_by: self.created_at.plus_ms(DECIDE_MS_BEFORE),
        })
    }

    /// When the order stops waiting for what it waits for now; `None`: it waits as long as it takes.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.placement.as_ref()?;
        match self.phase() {
            Phase::Reserving => Some(self.limits().reserve_by),
            Phase::Authorising => self.payment.as_ref().map(|payment| payment.deadline),
            Phase::Committing => Some(self.limits().decide_by),
            Phase::TurningBack => self.void_grace,
            Phase::Capturing | Phase::Decided => None,
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        let reserving = self.phase() == Phase::Reserving;
        let pauses = self.pausing().map(|(_, again_at)| again_at).filter(|_| reserving);
        self.deadline().into_iter().chain(pauses).min()
    }

    /// Stock steps that are owed now, on the way forward: the ones that are in flight.
    pub(super) fn stock_in_flight(&self) -> usize {
        match self.phase() {
            Phase::Reserving => self.to_reserve().take(self.reserved_at_once()).count(),
            Phase::Committing => self.lines_at(StockStep::Held).take(STOCK_AT_ONCE).count(),
            Phase::Authorising | Phase::Capturing | Phase::TurningBack | Phase::Decided => 0,
        }
    }

    pub(super) fn costs_nothing(&self) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.totals.total.amount == 0)
    }

    pub(super) fn ready_to_pay(&self) -> bool {
        let unheld = |step: &StockStep| matches!(step, StockStep::Waiting | StockStep::Contended);
        self.number.is_some() && !self.stock.iter().any(unheld)
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

    /// Minor units that cancelling still has to ask back: what it was declined is left to people.
    pub(super) fn left_to_cancel(&self) -> i64 {
        let declined = self.refunds.iter().filter(|refund| refund.by_cancel && refund.status == RefundStatus::Failed);
        self.refundable() - declined.map(|refund| refund.amount.amount).sum::<i64>()
    }
}
