//! What the state says must still be sent, and what an answer to it means.
//!
//! At most 1 number, 64 steps of stock, 1 of payment, 8 refunds and 1 notice are owed at once.

use super::phase::{Phase, STOCK_AT_ONCE};
use super::process::number_candidate;
use super::types::{OrderLine, Payment, PaymentStage, Placement, RefundStatus, State, Step, StockStep};
use crate::actors::cart::types::{self as cart, Cart};
use crate::actors::customer::types::{self as customer, Customer};
use crate::actors::entity::owed_key::Again;
use crate::actors::entity::{Answer, Outcome, Owed};
use crate::actors::order_number::types::{self as order_number, OrderNumber};
use crate::actors::payment::types::{GATEWAY, PaymentAnswer, PaymentRequest, PaymentStep};
use crate::actors::sku::types::{self as sku, StockUnit};
use crate::actors::values::RefundId;
use crate::owed_keys;

owed_keys! {
    /// `line` is a line's index in the placement.
    pub enum OwedKey {
        "number" => Number { attempt: u32 },
        "reserve" => Reserve { line: u32, attempt: Again },
        "commit" => Commit { line: u32 },
        "release" => Release { line: u32 },
        "restock" => Restock { line: u32 },
        "authorise" => Authorise,
        "capture" => Capture,
        "void" => Void { attempt: u32 },
        "refund" => Refund { refund: RefundId },
        /// That it is placed, told to the customer.
        "customer" => Customer,
        /// What it decided, told to the cart.
        "cart" => Cart { again: Again },
    }
}

/// How many refunds are owed at once; further ones wait for their turn.
const REFUNDS_AT_ONCE: usize = 8;

impl State {
    pub(super) fn owed_requests(&self) -> Vec<Owed> {
        let Some(placement) = self.placement.as_deref() else { return Vec::new() };
        let mut owed = Vec::new();
        if self.number.is_none() {
            let attempt = self.numbers_taken;
            let claim = order_number::Command::Claim { order: placement.order };
            let number = number_candidate(placement.order, attempt);
            owed.push(Owed::to::<OrderNumber>(OwedKey::Number { attempt }, &number, claim));
        }
        match self.phase() {
            Phase::Reserving => {
                let asked = self.to_reserve().take(self.reserved_at_once());
                owed.extend(asked.filter_map(|line| self.forward(StockStep::Waiting, line, placement)));
            }
            Phase::Committing => {
                let asked = self.lines_at(StockStep::Held).take(STOCK_AT_ONCE);
                owed.extend(asked.filter_map(|line| self.forward(StockStep::Held, line, placement)));
            }
            Phase::Authorising | Phase::Capturing | Phase::TurningBack | Phase::Decided => {}
        }
        if self.gives_back() {
            self.give_back(placement, &mut owed);
        }
        if let Some(payment) = &self.payment {
            self.ask_provider(payment, placement, &mut owed);
        }
        self.tell(placement, &mut owed);
        owed
    }

    /// What an order that turned back, or was cancelled, owes its SKUs: first all that is in flight.
    fn give_back(&self, placement: &Placement, owed: &mut Vec<Owed>) {
        let open = |in_flight: bool| {
            let steps = self.by_sku.iter().filter_map(|line| Some((*line, self.step_of(*line)?)));
            steps.filter(move |(_, step)| match step {
                StockStep::Waiting | StockStep::Committing => in_flight,
                StockStep::Held | StockStep::Committed => !in_flight,
                StockStep::Cleared | StockStep::Contended => false,
            })
        };
        let open = open(true).chain(open(false)).take(STOCK_AT_ONCE);
        owed.extend(open.filter_map(|(line, step)| self.backward(step, line, placement)));
    }

    fn forward(&self, step: StockStep, line: u32, placement: &Placement) -> Option<Owed> {
        let ordered = placement.lines.get(line as usize)?;
        let (order, quantity, placed_at) = (placement.order, ordered.quantity, self.created_at);
        match step {
            StockStep::Waiting => {
                let reserve = sku::Command::Reserve { order, quantity, placed_at, item: ordered.item() };
                Some(Owed::to::<StockUnit>(
                    OwedKey::Reserve { line, attempt: Again(self.attempt(line)) },
                    &ordered.sku,
                    reserve,
                ))
            }
            StockStep::Held | StockStep::Committing => {
                Some(ask_sku(OwedKey::Commit { line }, ordered, sku::Command::Commit { order }))
            }
            StockStep::Committed | StockStep::Cleared | StockStep::Contended => None,
        }
    }

    fn backward(&self, step: StockStep, line: u32, placement: &Placement) -> Option<Owed> {
        let ordered = placement.lines.get(line as usize)?;
        let (order, quantity, item) = (placement.order, ordered.quantity, ordered.item());
        match step {
            // In flight: first the answer, under the key under which it was asked.
            StockStep::Waiting | StockStep::Committing => self.forward(step, line, placement),
            StockStep::Held => Some(ask_sku(OwedKey::Release { line }, ordered, sku::Command::ReleaseHold { order })),
            StockStep::Committed => {
                Some(ask_sku(OwedKey::Restock { line }, ordered, sku::Command::Restock { order, quantity, item }))
            }
            StockStep::Cleared | StockStep::Contended => None,
        }
    }

    fn ask_provider(&self, payment: &Payment, placement: &Placement, owed: &mut Vec<Owed>) {
        let mut ask = |key: OwedKey, step: PaymentStep| {
            let request = PaymentRequest { payment: payment.id, order: placement.order, step };
            owed.push(Owed::to_gateway(key, GATEWAY, request));
        };
        let amount = payment.amount;
        match payment.stage {
            PaymentStage::Asked => {
                let token = placement.payment.token.clone();
                ask(OwedKey::Authorise, PaymentStep::Authorise { amount, method: payment.method, token });
            }
            PaymentStage::Authorised if self.phase() == Phase::Capturing => {
                ask(OwedKey::Capture, PaymentStep::Capture { amount });
            }
            PaymentStage::Voiding => ask(OwedKey::Void { attempt: payment.voids }, PaymentStep::Void),
            PaymentStage::Captured => {
                let pending = self.refunds.iter().filter(|refund| refund.status == RefundStatus::Pending);
                for refund in pending.take(REFUNDS_AT_ONCE) {
                    let step = PaymentStep::Refund { refund: refund.id, amount: refund.amount };
                    ask(OwedKey::Refund { refund: refund.id }, step);
                }
            }
            PaymentStage::Authorised | PaymentStage::Declined | PaymentStage::Voided => {}
        }
    }

    /// The customer first, so that whoever is answered for the cart finds the order in the customer's list.
    fn tell(&self, placement: &Placement, owed: &mut Vec<Owed>) {
        let Some(order_version) = self.decided_version else { return };
        let order = placement.order;
        match &placement.user {
            Some(user) if self.confirmed && !self.customer_told => {
                owed.push(Owed::to::<Customer>(OwedKey::Customer, user, customer::Command::OrderPlaced { order }));
            }
            Some(_) | None if !self.cart_told => {
                let refusal = self.refusal.clone();
                let decided = cart::Command::Decided { order, order_version, refusal };
                let key = OwedKey::Cart { again: Again(self.cart_asked_again) };
                owed.push(Owed::to::<Cart>(key, &placement.cart, decided));
            }
            Some(_) | None => {}
        }
    }
}

fn ask_sku(key: OwedKey, ordered: &OrderLine, command: sku::Command) -> Owed {
    Owed::to::<StockUnit>(key, &ordered.sku, command)
}

/// What the answer to the request `key` says. `None`: nothing that ends it; it stays owed.
pub(super) fn step(key: &str, answer: &Answer) -> Option<Step> {
    let key: OwedKey = key.parse().ok()?;
    match key {
        OwedKey::Number { attempt } => Some(match answer.entity::<OrderNumber>()? {
            Ok(order_number::Reply::Claimed) => Step::NumberClaimed { attempt },
            Err(order_number::Rejection::Taken) => Step::NumberTaken { attempt },
        }),
        OwedKey::Reserve { line, attempt } => Some(reserve_step(line, attempt.0, answer.entity::<StockUnit>()?)),
        OwedKey::Commit { line } => Some(match answer.entity::<StockUnit>()? {
            Ok(_) => Step::Committed { line },
            Err(_) => Step::CommitRefused { line },
        }),
        OwedKey::Release { line } => answer.entity::<StockUnit>().map(|_| Step::Released { line }),
        // A SKU takes back whatever was sold; one that did not would be asked again.
        OwedKey::Restock { line } => answer.entity::<StockUnit>()?.is_ok().then_some(Step::Restocked { line }),
        OwedKey::Authorise => Some(match answer.gateway()? {
            PaymentAnswer::Approved => Step::Authorised,
            PaymentAnswer::Declined { code } => Step::AuthoriseDeclined { code: code.clone() },
        }),
        OwedKey::Capture => Some(match answer.gateway()? {
            PaymentAnswer::Approved => Step::Captured,
            PaymentAnswer::Declined { code } => Step::CaptureDeclined { code: code.clone() },
        }),
        OwedKey::Void { attempt } => match answer.gateway()? {
            PaymentAnswer::Approved => Some(Step::Voided { attempt }),
            // A void that is declined is not confirmed: it stays owed.
            PaymentAnswer::Declined { .. } => None,
        },
        OwedKey::Refund { refund } => Some(match answer.gateway()? {
            PaymentAnswer::Approved => Step::Refunded { refund },
            PaymentAnswer::Declined { code } => Step::RefundDeclined { refund, code: code.clone() },
        }),
        OwedKey::Customer => answer.entity::<Customer>().map(|_| Step::CustomerTold),
        // Whatever the cart says to it, it has been told.
        OwedKey::Cart { again } => answer.entity::<Cart>().map(|_| Step::CartTold { again: again.0 }),
    }
}

fn reserve_step(line: u32, attempt: u32, outcome: &Outcome<StockUnit>) -> Step {
    match outcome {
        Ok(_) => Step::Reserved { line, attempt },
        Err(sku::Rejection::Contended) => Step::Contended { line, attempt },
        Err(why) => Step::ReserveRefused { line, attempt, available: available(why) },
    }
}

/// What a SKU that refused has left; `None` when it is not a matter of pieces.
fn available(why: &sku::Rejection) -> Option<u64> {
    match why {
        sku::Rejection::InsufficientStock { available, .. } => Some(*available),
        sku::Rejection::Taken { .. }
        | sku::Rejection::Unknown
        | sku::Rejection::StockChanged { .. }
        | sku::Rejection::StockReserved { .. }
        | sku::Rejection::OutOfRange { .. }
        | sku::Rejection::NotReserved
        | sku::Rejection::Contended => None,
    }
}

#[test]
fn keys_keep_their_texts() {
    crate::actors::entity::owed_key::golden(&[
        (OwedKey::Number { attempt: 0 }, "number:0"),
        (OwedKey::Reserve { line: 63, attempt: Again(0) }, "reserve:63"),
        (OwedKey::Reserve { line: 63, attempt: Again(2) }, "reserve:63:2"),
        (OwedKey::Commit { line: 1 }, "commit:1"),
        (OwedKey::Release { line: 2 }, "release:2"),
        (OwedKey::Restock { line: 3 }, "restock:3"),
        (OwedKey::Authorise, "authorise"),
        (OwedKey::Capture, "capture"),
        (OwedKey::Void { attempt: 1 }, "void:1"),
        (OwedKey::Refund { refund: RefundId(7) }, "refund:ref_0000000000000000000000000w"),
        (OwedKey::Customer, "customer"),
        (OwedKey::Cart { again: Again(0) }, "cart"),
        (OwedKey::Cart { again: Again(3) }, "cart:3"),
    ]);
}
