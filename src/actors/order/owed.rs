//! What the state says must still be sent, and what an answer to it means.
//!
//! Keys are `number:A`, `reserve:L` (from the second attempt on `reserve:L:A`), `commit:L`, `release:L`,
//! `restock:L`, `authorise`, `capture`, `void:A`, `refund:ID`, `customer`, `cart` (told again: `cart:A`), where A
//! counts attempts and L is a line's index. At most 1 + 64 + 1 + 8 + 1 at once.

use super::phase::{Phase, STOCK_AT_ONCE};
use super::process::number_candidate;
use super::types::{OrderLine, Payment, PaymentStage, Placement, RefundStatus, State, Step, StockStep};
use crate::actors::cart::types::{self as cart, Cart};
use crate::actors::customer::types::{self as customer, Customer};
use crate::actors::entity::{Answer, Outcome, Owed};
use crate::actors::order_number::types::{self as order_number, OrderNumber};
use crate::actors::payment::types::{GATEWAY, PaymentAnswer, PaymentRequest, PaymentStep};
use crate::actors::sku::types::{self as sku, StockUnit};

/// How many refunds are owed at once; further ones wait for their turn.
const REFUNDS_AT_ONCE: usize = 8;

impl State {
    pub(super) fn requests(&self) -> Vec<Owed> {
        let Some(placement) = self.placement.as_deref() else { return Vec::new() };
        let mut owed = Vec::new();
        if self.number.is_none() {
            let attempt = self.numbers_taken;
            let claim = order_number::Command::Claim { order: placement.order };
            let number = number_candidate(placement.order, attempt);
            owed.push(Owed::to::<OrderNumber>(format!("number:{attempt}"), &number, claim));
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
                Some(Owed::to::<StockUnit>(reserve_key(line, self.attempt(line)), &ordered.sku, reserve))
            }
            StockStep::Held | StockStep::Committing => {
                Some(ask_sku("commit", line, ordered, sku::Command::Commit { order }))
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
            StockStep::Held => Some(ask_sku("release", line, ordered, sku::Command::ReleaseHold { order })),
            StockStep::Committed => {
                Some(ask_sku("restock", line, ordered, sku::Command::Restock { order, quantity, item }))
            }
            StockStep::Cleared | StockStep::Contended => None,
        }
    }

    fn ask_provider(&self, payment: &Payment, placement: &Placement, owed: &mut Vec<Owed>) {
        let mut ask = |key: String, step: PaymentStep| {
            let request = PaymentRequest { payment: payment.id, order: placement.order, step };
            owed.push(Owed::to_gateway(key, GATEWAY, request));
        };
        let amount = payment.amount;
        match payment.stage {
            PaymentStage::Asked => {
                let token = placement.payment.token.clone();
                ask("authorise".into(), PaymentStep::Authorise { amount, method: payment.method, token });
            }
            PaymentStage::Authorised if self.phase() == Phase::Capturing => {
                ask("capture".into(), PaymentStep::Capture { amount });
            }
            PaymentStage::Voiding => ask(format!("void:{}", payment.voids), PaymentStep::Void),
            PaymentStage::Captured => {
                let pending = self.refunds.iter().filter(|refund| refund.status == RefundStatus::Pending);
                for refund in pending.take(REFUNDS_AT_ONCE) {
                    let step = PaymentStep::Refund { refund: refund.id, amount: refund.amount };
                    ask(format!("refund:{}", refund.id), step);
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
                owed.push(Owed::to::<Customer>("customer", user, customer::Command::OrderPlaced { order }));
            }
            Some(_) | None if !self.cart_told => {
                let refusal = self.refusal.clone();
                let decided = cart::Command::Decided { order, order_version, refusal };
                let key = match self.cart_asked_again {
                    0 => "cart".to_owned(),
                    again => format!("cart:{again}"),
                };
                owed.push(Owed::to::<Cart>(key, &placement.cart, decided));
            }
            Some(_) | None => {}
        }
    }
}

fn ask_sku(step: &str, line: u32, ordered: &OrderLine, command: sku::Command) -> Owed {
    Owed::to::<StockUnit>(format!("{step}:{line}"), &ordered.sku, command)
}

/// What the answer to the request `key` says. `None`: nothing that ends it; it stays owed.
pub(super) fn step(key: &str, answer: &Answer) -> Option<Step> {
    let (what, which) = key.split_once(':').unwrap_or((key, ""));
    match what {
        "number" => {
            let attempt = which.parse().ok()?;
            Some(match answer.entity::<OrderNumber>()? {
                Ok(order_number::Reply::Claimed) => Step::NumberClaimed { attempt },
                Err(order_number::Rejection::Taken) => Step::NumberTaken { attempt },
            })
        }
        "reserve" => {
            let (line, attempt) = which.split_once(':').unwrap_or((which, "0"));
            reserve_step(line.parse().ok()?, attempt.parse().ok()?, answer.entity::<StockUnit>()?)
        }
        "commit" | "release" | "restock" => stock_step(what, which.parse().ok()?, answer),
        "authorise" | "capture" | "void" | "refund" => payment_step(what, which, answer.gateway::<PaymentAnswer>()?),
        "customer" => answer.entity::<Customer>().map(|_| Step::CustomerTold),
        // Whatever the cart says to it, it has been told.
        "cart" => answer.entity::<Cart>().map(|_| Step::CartTold { again: which.parse().unwrap_or(0) }),
        _ => None,
    }
}

fn reserve_key(line: u32, attempt: u32) -> String {
    if attempt == 0 { format!("reserve:{line}") } else { format!("reserve:{line}:{attempt}") }
}

fn reserve_step(line: u32, attempt: u32, outcome: &Outcome<StockUnit>) -> Option<Step> {
    Some(match outcome {
        Ok(_) => Step::Reserved { line, attempt },
        Err(sku::Rejection::Contended) => Step::Contended { line, attempt },
        Err(why) => Step::ReserveRefused { line, attempt, available: available(why) },
    })
}

fn stock_step(what: &str, line: u32, answer: &Answer) -> Option<Step> {
    let outcome = answer.entity::<StockUnit>()?;
    match (what, outcome) {
        ("commit", Ok(_)) => Some(Step::Committed { line }),
        ("commit", Err(_)) => Some(Step::CommitRefused { line }),
        ("release", Ok(_) | Err(_)) => Some(Step::Released { line }),
        ("restock", Ok(_)) => Some(Step::Restocked { line }),
        // A SKU takes back whatever was sold; one that did not would be asked again.
        _ => None,
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

fn payment_step(what: &str, which: &str, answer: &PaymentAnswer) -> Option<Step> {
    Some(match (what, answer) {
        ("authorise", PaymentAnswer::Approved) => Step::Authorised,
        ("authorise", PaymentAnswer::Declined { code }) => Step::AuthoriseDeclined { code: code.clone() },
        ("capture", PaymentAnswer::Approved) => Step::Captured,
        ("capture", PaymentAnswer::Declined { code }) => Step::CaptureDeclined { code: code.clone() },
        ("void", PaymentAnswer::Approved) => Step::Voided { attempt: which.parse().ok()? },
        ("refund", PaymentAnswer::Approved) => Step::Refunded { refund: which.parse().ok()? },
        ("refund", PaymentAnswer::Declined { code }) => {
            Step::RefundDeclined { refund: which.parse().ok()?, code: code.clone() }
        }
        // A void that is declined is not confirmed: it stays owed.
        _ => return None,
    })
}
