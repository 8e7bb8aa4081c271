//! What each fact does to the state. Total: a stored event always applies.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Event;
use super::types::{
    CancelAsked, Contention, OrderLine, OrderStatus, Payment, PaymentStage, Placement, Refund, RefundStatus, State,
    StockStep, TIMELINE_MAX, TimelineEntry, TimelineType,
};
use crate::actors::values::{Money, PaymentId, RefundId, Time};

impl State {
    pub(super) fn apply(&mut self, event: &Event, at: Time) {
        match event {
            Event::Placed { placement, limits } => {
                self.limits = *limits;
                self.placed(placement, at);
            }
            Event::NumberTaken => self.numbers_taken += 1,
            Event::Numbered { number } => self.number = Some(number.clone()),
            Event::Reserved { line } => self.move_stock(*line, StockStep::Held),
            Event::Committed { line } => self.move_stock(*line, StockStep::Committed),
            Event::NothingHeld { line } | Event::Restocked { line } => self.move_stock(*line, StockStep::Cleared),
            Event::PaymentAsked { payment, amount, deadline } => self.payment_asked(*payment, *amount, *deadline),
            Event::Authorised | Event::Captured | Event::PaymentDeclined { .. } | Event::Voided => {
                self.payment_moved(event, at);
            }
            Event::ApprovedLate => self.approved_late(at),
            Event::Confirmed { version } => {
                self.status = OrderStatus::Confirmed;
                self.confirmed = true;
                self.decided_version = Some(*version);
                self.note(at, TimelineType::Confirmed, []);
            }
            Event::Refused { refusal, in_flight, void_grace } => {
                self.turn_stock_back(*in_flight as usize);
                self.owe_void_unless_final();
                self.refusal = Some(refusal.clone());
                self.void_grace = Some(*void_grace);
            }
            Event::Rejected { version } => {
                self.status = OrderStatus::Rejected;
                self.decided_version = Some(*version);
                let code = self.refusal.as_ref().map(|why| ("code", why.code.to_string()));
                self.note(at, TimelineType::Rejected, code);
            }
            Event::CustomerTold => self.customer_told = true,
            Event::CartTold { version } => {
                self.cart_told = true;
                if self.cart_asked_again == 0 {
                    self.told_version = *version;
                }
            }
            Event::CartAskedAgain => {
                self.cart_told = false;
                self.cart_asked_again += 1;
            }
            Event::Contended { line, again_at } => self.line_contended(*line, *again_at),
            Event::AskedAgain { lines } => {
                for line in lines {
                    if let Some(step) = self.stock.get_mut(*line as usize) {
                        *step = StockStep::Waiting;
                        self.again.push(*line);
                    }
                }
            }
            Event::CancelAsked { reason } => {
                self.note(at, TimelineType::CancelRequested, reason.clone().map(|reason| ("reason", reason)));
                self.cancel = Some(CancelAsked { at, reason: reason.clone() });
            }
            Event::Cancelled { version } => {
                self.status = OrderStatus::Cancelled;
                // What the cart is told is how its completion ended: confirmed before, or not at all.
                self.decided_version.get_or_insert(*version);
                self.note(at, TimelineType::Cancelled, []);
            }
            Event::RefundAsked { refund, amount, reason, by_cancel } => {
                self.refund_asked(*refund, *amount, reason, *by_cancel, at);
            }
            Event::Refunded { refund } => self.refund_ended(*refund, RefundStatus::Succeeded, None, at),
            Event::RefundDeclined { refund, code } => {
                self.refund_ended(*refund, RefundStatus::Failed, Some(code.clone()), at);
            }
            Event::Fulfilled { items, tracking } => self.fulfilled(items.as_deref(), tracking.clone(), at),
        }
    }

    fn placed(&mut self, placement: &Arc<Placement>, at: Time) {
        let mut by_sku: Vec<u32> = (0..).take(placement.lines.len()).collect();
        by_sku.sort_by_key(|line| placement.lines.get(*line as usize).map(|line| &line.sku));
        self.by_sku = Arc::new(by_sku);
        self.stock = vec![StockStep::Waiting; placement.lines.len()];
        self.created_at = at;
        self.placement = Some(Arc::clone(placement));
        self.note(at, TimelineType::Placed, []);
    }

    fn move_stock(&mut self, line: u32, to: StockStep) {
        if let Some(step) = self.stock.get_mut(line as usize) {
            *step = to;
        }
        if self.contended.remove(&line).is_some() {
            self.again.retain(|other| *other != line);
        }
    }

    fn line_contended(&mut self, line: u32, again_at: Time) {
        let attempt = self.attempt(line) + 1;
        self.move_stock(line, StockStep::Contended);
        self.contended.insert(line, Contention { attempt, again_at });
    }

    /// Answers to steps in flight are still awaited, lines that were not asked for need nothing, and lines that are
    /// held will be released.
    fn turn_stock_back(&mut self, in_flight: usize) {
        let paused: Vec<u32> = self.pausing().map(|(line, _)| line).collect();
        paused.into_iter().for_each(|line| self.move_stock(line, StockStep::Cleared));
        if self.stock.contains(&StockStep::Waiting) {
            let unasked: Vec<u32> = self.to_reserve().skip(in_flight).collect();
            unasked.into_iter().for_each(|line| self.move_stock(line, StockStep::Cleared));
        } else {
            let asked: Vec<u32> = self.lines_at(StockStep::Held).take(in_flight).collect();
            asked.into_iter().for_each(|line| self.move_stock(line, StockStep::Committing));
        }
    }

    fn payment_asked(&mut self, id: PaymentId, amount: Money, deadline: Time) {
        let Some(placement) = &self.placement else { return };
        let method = placement.payment.method;
        let stage = PaymentStage::Asked;
        self.payment = Some(Payment { id, amount, method, stage, deadline, approved: false, voids: 0 });
    }

    fn payment_moved(&mut self, event: &Event, at: Time) {
        let Some(payment) = &mut self.payment else { return };
        let (stage, kind, code) = match event {
            Event::Authorised => (PaymentStage::Authorised, TimelineType::PaymentAuthorized, None),
            Event::Captured => (PaymentStage::Captured, TimelineType::PaymentCaptured, None),
            Event::Voided => (PaymentStage::Voided, TimelineType::PaymentVoided, None),
            Event::PaymentDeclined { code } => {
                (PaymentStage::Declined, TimelineType::PaymentFailed, Some(code.clone()))
            }
            _ => return,
        };
        payment.stage = stage;
        payment.approved |= stage == PaymentStage::Authorised;
        self.note(at, kind, code.map(|code| ("code", code)));
    }

    fn owe_void_unless_final(&mut self) {
        let Some(payment) = &mut self.payment else { return };
        match payment.stage {
            PaymentStage::Asked | PaymentStage::Authorised => {
                payment.stage = PaymentStage::Voiding;
                payment.voids += 1;
            }
            PaymentStage::Captured | PaymentStage::Declined | PaymentStage::Voiding | PaymentStage::Voided => {}
        }
    }

    /// The void that is owed or confirmed may have been asked before the approval: one more is owed.
    fn approved_late(&mut self, at: Time) {
        let Some(payment) = &mut self.payment else { return };
        payment.approved = true;
        payment.stage = PaymentStage::Voiding;
        payment.voids += 1;
        self.note(at, TimelineType::PaymentAuthorized, []);
    }

    fn refund_asked(&mut self, id: RefundId, amount: Money, reason: &str, by_cancel: bool, at: Time) {
        let status = RefundStatus::Pending;
        self.refunds.push(Refund { id, amount, reason: reason.to_owned(), status, at, by_cancel });
        let data = [("refund_id", id.to_string()), ("amount", amount.amount.to_string())];
        self.note(at, TimelineType::RefundRequested, data);
    }

    fn refund_ended(&mut self, id: RefundId, status: RefundStatus, code: Option<String>, at: Time) {
        if let Some(refund) = self.refunds.iter_mut().find(|refund| refund.id == id) {
            refund.status = status;
        }
        let failed = status == RefundStatus::Failed;
        let kind = if failed { TimelineType::RefundFailed } else { TimelineType::Refunded };
        self.note(at, kind, [("refund_id", id.to_string())].into_iter().chain(code.map(|code| ("code", code))));
    }

    fn fulfilled(&mut self, items: Option<&[(u32, u32)]>, tracking: Option<String>, at: Time) {
        let Some(placement) = self.placement.clone() else { return };
        self.fulfilled.resize(placement.lines.len(), 0);
        match items {
            None => {
                let ordered = placement.lines.iter().map(|line| line.quantity.get());
                self.fulfilled.iter_mut().zip(ordered).for_each(|(done, all)| *done = all);
            }
            Some(items) => {
                for (line, pieces) in items {
                    if let Some(done) = self.fulfilled.get_mut(*line as usize) {
                        *done += pieces;
                    }
                }
            }
        }
        let lines = items.map_or(placement.lines.len(), <[_]>::len);
        let tracking = tracking.map(|tracking| ("tracking", tracking));
        self.note(at, TimelineType::Fulfilled, tracking.into_iter().chain([("lines", lines.to_string())]));
        if self.everything_fulfilled(&placement.lines) {
            self.status = OrderStatus::Completed;
            self.note(at, TimelineType::Completed, []);
        }
    }

    fn everything_fulfilled(&self, lines: &[OrderLine]) -> bool {
        lines.iter().zip(&self.fulfilled).all(|(line, done)| line.quantity.get() == *done)
    }

    fn note(&mut self, at: Time, kind: TimelineType, data: impl IntoIterator<Item = (&'static str, String)>) {
        if self.timeline.len() >= TIMELINE_MAX {
            self.timeline.remove(0);
        }
        let data: BTreeMap<String, String> = data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.timeline.push(TimelineEntry { at, kind, data });
    }
}
