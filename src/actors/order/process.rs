//! The process: what an answer means, and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Event;
use super::phase::Phase;
use super::types::Limits;
use super::types::{
    LINES_MAX, OrderRefusal, OrderStatus, PaymentStage, Placement, RefundStatus, RefusalCode, Rejection, Reply, State,
    Step, StockStep,
};
use crate::actors::entity::{Ctx, Decision, Entity};
use crate::actors::values::{Money, OrderId, OrderNumber, PaymentId, RefundId, RequestId, base32};

/// How long an order that turned back waits until its steps are undone; after that it is rejected all the same. Every
/// party that works answers in less; together with `order.decide_ms` an order is decided within a minute.
const VOID_GRACE_MS: u64 = 5_000;
/// The pause before a contended SKU is asked again: it doubles from the first to the last.
const CONTENDED_FIRST_MS: u64 = 20;
const CONTENDED_LAST_MS: u64 = 1_000;

impl State {
    pub(super) fn place(&self, placement: Arc<Placement>, ctx: &Ctx) -> Result<Decision<Event, Reply>, Rejection> {
        match &self.placement {
            Some(before) if before.request == placement.request && before.cart == placement.cart => {
                // A cart that places it once more has started the same completion anew (its key was forgotten
                // meanwhile), and waits to be told what it came to.
                let again = self.cart_told.then_some(Event::CartAskedAgain);
                return Ok(Decision::new(again.into_iter().collect(), Reply::Placed));
            }
            Some(_) => return Err(Rejection::AlreadyPlaced),
            None => {}
        }
        let sound = is_sound(&placement);
        let mut draft = Draft::of(self, ctx);
        let decide_by = ctx.now.plus_ms(ctx.policy.order.decide_ms);
        // Stock has its time also where the provider may take long.
        let for_payment = ctx.policy.payment.timeout_ms.min(ctx.policy.order.decide_ms / 2);
        let reserve_by = ctx.now.plus_ms(ctx.policy.order.decide_ms - for_payment);
        draft.push(Event::Placed { placement, limits: Some(Limits { reserve_by, decide_by }) });
        if !sound {
            // Nothing has been asked for yet, so this leaves nothing in flight.
            draft.refuse(OrderRefusal::of(RefusalCode::InvalidPlacement), 0);
        }
        Ok(draft.decided(Reply::Placed))
    }
}

/// Whether lines and totals agree, so that what is charged is what is delivered.
fn is_sound(placement: &Placement) -> bool {
    let zero = Money::zero(placement.currency);
    let goods = placement.lines.iter().try_fold(zero, |sum, line| {
        let total = line.unit_price.times(line.quantity)?;
        if total == line.total && total.amount >= 0 { sum.plus(total) } else { None }
    });
    let skus: BTreeSet<_> = placement.lines.iter().map(|line| &line.sku).collect();
    (1..=LINES_MAX).contains(&placement.lines.len())
        && skus.len() == placement.lines.len()
        && goods == Some(placement.totals.subtotal)
        && placement.totals.add_up()
        && placement.totals.total.amount >= 0
}

/// The `attempt`th candidate for an order's number: 40 bits that belong to the order.
pub(super) fn number_candidate(order: OrderId, attempt: u32) -> OrderNumber {
    let bits = RequestId::of("order_number", &[&order.0.to_be_bytes(), &attempt.to_be_bytes()]).0;
    let text = base32::encode(&bits[..5]).to_ascii_uppercase();
    let (head, tail) = text.split_at(4);
    format!("{head}-{tail}").parse().expect("eight upper-case letters or digits and a dash are an order number")
}

/// 128 bits that belong to an order and `n` for ever.
fn seed(order: OrderId) -> RequestId {
    RequestId::of("order", &[&order.0.to_be_bytes()])
}

/// A decision in the making: the facts so far, and the state after them. The copy is cheap: all that grows
/// with the lines is shared, but for a byte each.
pub(super) struct Draft<'a> {
    pub(super) state: State,
    events: Vec<Event>,
    ctx: &'a Ctx,
}

impl<'a> Draft<'a> {
    pub(super) fn of(state: &State, ctx: &'a Ctx) -> Draft<'a> {
        Draft { state: state.clone(), events: Vec::new(), ctx }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.state.evolve(&event, self.ctx.now);
        self.events.push(event);
    }

    /// The decision, with all that follows from what was pushed.
    pub(super) fn decided(mut self, reply: Reply) -> Decision<Event, Reply> {
        self.go_on();
        Decision::new(self.events, reply)
    }

    /// The version that the record of this decision gives the order.
    fn version(&self) -> u64 {
        self.ctx.version + 1
    }

    /// Turns back. Pushed before the fact that caused it where that fact answers a stock step, which so
    /// counts among those in flight.
    pub(super) fn turn_back(&mut self, refusal: OrderRefusal) {
        let in_flight = u32::try_from(self.state.stock_in_flight()).unwrap_or(u32::MAX);
        self.refuse(refusal, in_flight);
    }

    fn refuse(&mut self, refusal: OrderRefusal, in_flight: u32) {
        let void_grace = self.ctx.now.plus_ms(VOID_GRACE_MS);
        self.push(Event::Refused { refusal, in_flight, void_grace });
    }

    /// The wake: what is waited for has had its time, or a pause is over.
    pub(super) fn time_is_up(&mut self) {
        let is_up = self.state.deadline().is_some_and(|deadline| deadline <= self.ctx.now);
        match self.state.phase() {
            Phase::Reserving if !is_up => self.ask_again(),
            Phase::Authorising if is_up => self.turn_back(OrderRefusal::of(RefusalCode::PaymentTimeout)),
            Phase::Reserving | Phase::Committing if is_up => {
                self.turn_back(OrderRefusal::of(RefusalCode::OrderTimeout));
            }
            // What follows from the end of a grace is drawn from the state.
            Phase::Reserving
            | Phase::Authorising
            | Phase::Committing
            | Phase::Capturing
            | Phase::TurningBack
            | Phase::Decided => {}
        }
    }

    fn ask_again(&mut self) {
        let now = self.ctx.now;
        let due = self.state.pausing().filter(|(_, again_at)| *again_at <= now);
        let lines: Vec<u32> = due.map(|(line, _)| line).collect();
        self.push_if(!lines.is_empty(), Event::AskedAgain { lines });
    }

    /// Draws every consequence of the state as it is now.
    pub(super) fn go_on(&mut self) {
        if self.state.phase() == Phase::Reserving && self.state.payment.is_none() && self.state.ready_to_pay() {
            self.ask_for_payment();
        }
        if self.state.phase() == Phase::Capturing
            && (self.state.payment_is(PaymentStage::Captured) || self.state.costs_nothing())
        {
            self.push(Event::Confirmed { version: self.version() });
        }
        if self.state.status == OrderStatus::Confirmed && self.state.cancel.is_some() {
            self.push(Event::Cancelled { version: self.version() });
        }
        if self.state.phase() == Phase::TurningBack && self.has_turned_back() {
            let cancelled = self.state.refusal.as_ref().is_some_and(|why| why.code == RefusalCode::Cancelled);
            self.push(if cancelled {
                Event::Cancelled { version: self.version() }
            } else {
                Event::Rejected { version: self.version() }
            });
        }
        if self.state.status == OrderStatus::Cancelled && self.state.left_to_cancel() > 0 {
            self.refund_the_rest();
        }
    }

    fn ask_for_payment(&mut self) {
        let Some(placement) = &self.state.placement else { return };
        let amount = placement.totals.total;
        let payment = PaymentId::derived(&seed(placement.order), 0);
        let deadline = self.ctx.now.plus_ms(self.ctx.policy.payment.timeout_ms).min(self.state.limits().decide_by);
        self.push(Event::PaymentAsked { payment, amount, deadline });
    }

    fn has_turned_back(&self) -> bool {
        let state = &self.state;
        let grace_is_over = state.void_grace.is_none_or(|until| until <= self.ctx.now);
        let is_undone = state.holds_nothing() && state.number.is_some() && !state.payment_is(PaymentStage::Voiding);
        is_undone || grace_is_over
    }

    fn refund_the_rest(&mut self) {
        let Some(placement) = &self.state.placement else { return };
        let amount = Money::new(self.state.left_to_cancel(), placement.currency);
        let nth = u32::try_from(self.state.refunds.len()).unwrap_or(u32::MAX);
        let refund = RefundId::derived(&seed(placement.order), nth);
        let reason = self.state.cancel.as_ref().and_then(|cancel| cancel.reason.clone());
        let reason = reason.unwrap_or_else(|| "order cancelled".to_owned());
        self.push(Event::RefundAsked { refund, amount, reason, by_cancel: true });
    }

    /// Judges an answer by the present state.
    pub(super) fn answered(&mut self, step: Step) {
        match step {
            Step::NumberClaimed { attempt } => {
                if let (Some(placement), true) = (&self.state.placement, self.wants_number(attempt)) {
                    let number = number_candidate(placement.order, attempt);
                    self.push(Event::Numbered { number });
                }
            }
            Step::NumberTaken { attempt } => self.push_if(self.wants_number(attempt), Event::NumberTaken),
            Step::Reserved { line, attempt } => {
                self.push_if(self.awaits_reserve(line, attempt), Event::Reserved { line });
            }
            Step::ReserveRefused { line, attempt, available } if self.awaits_reserve(line, attempt) => {
                self.reserve_refused(line, available);
            }
            Step::Contended { line, attempt } if self.awaits_reserve(line, attempt) => self.contended(line, attempt),
            Step::ReserveRefused { .. } | Step::Contended { .. } => {}
            Step::Committed { line } => self.push_if(self.awaits_commit(line), Event::Committed { line }),
            Step::CommitRefused { line } => self.commit_refused(line),
            Step::Released { line } => {
                self.push_if(self.awaits_undo(line, StockStep::Held), Event::NothingHeld { line });
            }
            Step::Restocked { line } => {
                self.push_if(self.awaits_undo(line, StockStep::Committed), Event::Restocked { line });
            }
            Step::Authorised => self.authorised(),
            Step::AuthoriseDeclined { code } => self.declined(code),
            Step::Captured => self.push_if(self.awaits_capture(), Event::Captured),
            Step::CaptureDeclined { code } => self.capture_declined(code),
            Step::Voided { attempt } => self.push_if(self.awaits_void(attempt), Event::Voided),
            Step::Refunded { refund } => self.push_if(self.awaits_refund(refund), Event::Refunded { refund }),
            Step::RefundDeclined { refund, code } => {
                self.push_if(self.awaits_refund(refund), Event::RefundDeclined { refund, code });
            }
            Step::CustomerTold => {
                self.push_if(self.state.confirmed && !self.state.customer_told, Event::CustomerTold);
            }
            Step::CartTold { again } => {
                let awaited = self.state.decided_version.is_some() && !self.state.cart_told;
                let told = Event::CartTold { version: Some(self.version()) };
                self.push_if(awaited && self.state.cart_asked_again == again, told);
            }
        }
    }

    fn push_if(&mut self, awaited: bool, event: Event) {
        if awaited {
            self.push(event);
        }
    }

    fn wants_number(&self, attempt: u32) -> bool {
        self.state.number.is_none() && self.state.numbers_taken == attempt
    }

    /// Whether this question is in flight. When the order has turned back, only those in flight still wait.
    fn awaits_reserve(&self, line: u32, attempt: u32) -> bool {
        let state = &self.state;
        state.step_of(line) == Some(StockStep::Waiting)
            && state.attempt(line) == attempt
            && (state.gives_back() || state.to_reserve().take(state.reserved_at_once()).any(|asked| asked == line))
    }

    fn awaits_commit(&self, line: u32) -> bool {
        match self.state.step_of(line) {
            Some(StockStep::Held) => self.state.phase() == Phase::Committing,
            Some(StockStep::Committing) => true,
            Some(StockStep::Waiting | StockStep::Contended | StockStep::Committed | StockStep::Cleared) | None => false,
        }
    }

    fn awaits_undo(&self, line: u32, from: StockStep) -> bool {
        self.state.gives_back() && self.state.step_of(line) == Some(from)
    }

    fn awaits_capture(&self) -> bool {
        self.state.phase() == Phase::Capturing && self.state.payment_is(PaymentStage::Authorised)
    }

    fn awaits_void(&self, attempt: u32) -> bool {
        let payment = self.state.payment.as_ref();
        payment.is_some_and(|payment| payment.stage == PaymentStage::Voiding && payment.voids == attempt)
    }

    fn awaits_refund(&self, id: RefundId) -> bool {
        self.state.refunds.iter().any(|refund| refund.id == id && refund.status == RefundStatus::Pending)
    }

    fn reserve_refused(&mut self, line: u32, available: Option<u64>) {
        if self.state.phase() == Phase::Reserving {
            let code = match available {
                Some(_) => RefusalCode::InsufficientStock,
                None => RefusalCode::SkuGone,
            };
            let refusal = self.line_refusal(code, line);
            let refusal = OrderRefusal { available, ..refusal };
            self.turn_back(refusal);
        }
        self.push(Event::NothingHeld { line });
    }

    /// The pause grows with each attempt. An order that has turned back asks no more.
    fn contended(&mut self, line: u32, attempt: u32) {
        if self.state.phase() != Phase::Reserving {
            return self.push(Event::NothingHeld { line });
        }
        let pause_ms = (CONTENDED_FIRST_MS << attempt.min(16)).min(CONTENDED_LAST_MS);
        self.push(Event::Contended { line, again_at: self.ctx.now.plus_ms(pause_ms) });
    }

    fn commit_refused(&mut self, line: u32) {
        if !self.awaits_commit(line) {
            return;
        }
        if self.state.phase() == Phase::Committing {
            self.turn_back(self.line_refusal(RefusalCode::ReservationExpired, line));
        }
        self.push(Event::NothingHeld { line });
    }

    fn line_refusal(&self, code: RefusalCode, line: u32) -> OrderRefusal {
        let ordered = self.state.placement.as_ref().and_then(|placement| placement.lines.get(line as usize));
        OrderRefusal {
            sku: ordered.map(|ordered| ordered.sku.clone()),
            line: Some(line),
            requested: ordered.map(|ordered| u64::from(ordered.quantity.get())),
            ..OrderRefusal::of(code)
        }
    }

    fn authorised(&mut self) {
        let Some(payment) = &self.state.payment else { return };
        match payment.stage {
            PaymentStage::Asked => self.push(Event::Authorised),
            PaymentStage::Voiding | PaymentStage::Voided if !payment.approved => self.push(Event::ApprovedLate),
            PaymentStage::Voiding
            | PaymentStage::Voided
            | PaymentStage::Authorised
            | PaymentStage::Captured
            | PaymentStage::Declined => {}
        }
    }

    fn declined(&mut self, code: String) {
        if self.state.phase() == Phase::Authorising {
            self.push(Event::PaymentDeclined { code: code.clone() });
            let refusal = OrderRefusal::of(RefusalCode::PaymentFailed);
            self.turn_back(OrderRefusal { decline: Some(code), ..refusal });
        }
    }

    /// The promise was broken after all: everything is given back, the authorisation too.
    fn capture_declined(&mut self, code: String) {
        if self.awaits_capture() {
            let wished = self.state.cancel.is_some();
            let why = if wished { RefusalCode::Cancelled } else { RefusalCode::PaymentFailed };
            self.turn_back(OrderRefusal { decline: Some(code), ..OrderRefusal::of(why) });
        }
    }
}
