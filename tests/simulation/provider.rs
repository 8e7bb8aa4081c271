//! The payment provider: an outside party with a durable book of its own, which no crash of ours touches.
//! The book is the mock provider's real one; here is how unreliable the way to it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use souk::actors::entity::{Answer, Caller, Ctx, Entity};
use souk::actors::mock_charge::types::{ChargeStatus, Command, Rejection, Reply, State};
use souk::actors::order::types::{Order, OrderStatus, PaymentStage, StockStep};
use souk::actors::payment::types::{PaymentAnswer, PaymentRequest, PaymentStep};
use souk::actors::values::{OrderId, PaymentId, RequestId, Time};
use souk::config::Config;

use crate::Broken;
use crate::history::History;

/// The token whose authorisation happens, and is answered after the order has given up, if at all.
pub const TOKEN_LATE: &str = "tok_late";
pub const TOKEN_NEVER: &str = "tok_timeout";

/// A call on its way to the provider, or its answer on the way back.
pub struct Call {
    /// Which delivery waits for it.
    pub delivery: u64,
    pub request: PaymentRequest,
    /// The deed is done; this is what the provider says. `None`: a failure of its own.
    pub answer: Option<Option<PaymentAnswer>>,
}

#[derive(Default)]
pub struct Provider {
    pub book: BTreeMap<PaymentId, State>,
    pub calls: Vec<Call>,
    charges: BTreeMap<OrderId, u32>,
}

impl Provider {
    /// The provider takes a call and does what it asks, once.
    pub fn handle(&mut self, index: usize, now: Time, history: &History) -> Result<(), Broken> {
        let PaymentRequest { payment, order, step } = self.calls[index].request.clone();
        let command = match &step {
            PaymentStep::Authorise { amount, token, .. } => {
                Command::Authorise { order, amount: *amount, token: token.clone() }
            }
            PaymentStep::Capture { amount } => Command::Capture { amount: *amount },
            PaymentStep::Void => Command::Void,
            PaymentStep::Refund { refund, amount } => Command::Refund { refund: *refund, amount: *amount },
        };
        let page = self.book.entry(payment).or_default();
        let captured_before = page.captured.is_some();
        let policy = Arc::new(Config::default().policy());
        let ctx = Ctx { now, request: RequestId::default(), caller: Caller::System, version: 0, policy };
        let answer = match page.decide(command, &ctx) {
            Ok(decision) => {
                decision.events.iter().for_each(|event| page.evolve(event, now));
                (decision.reply == Reply::Approved).then_some(PaymentAnswer::Approved)
            }
            Err(Rejection::Declined { code }) => Some(PaymentAnswer::Declined { code: code.to_string() }),
        };
        if page.captured.is_some() && !captured_before {
            let charges = self.charges.entry(order).or_default();
            *charges += 1;
            judge_charge(*charges, &order, history)?;
        }
        // A void is owed until it is confirmed: one that is declined gets no answer.
        let declined_void = step == PaymentStep::Void && answer != Some(PaymentAnswer::Approved);
        self.calls[index].answer = Some(answer.filter(|_| !declined_void));
        Ok(())
    }

    /// Whether an answer must not arrive now: its script says late, or never.
    pub fn is_held_back(&self, index: usize, history: &History) -> bool {
        let PaymentRequest { order, step, .. } = &self.calls[index].request;
        let PaymentStep::Authorise { token, .. } = step else { return false };
        let waits = || {
            history.now::<Order>(order).is_some_and(|order| {
                order.status == OrderStatus::Pending && order.refusal.is_none() && order.payment.is_some()
            })
        };
        token.0 == TOKEN_NEVER || (token.0 == TOKEN_LATE && waits())
    }

    /// At the end no money hangs between the two: their books agree.
    pub fn settled_with(&self, history: &History) -> Result<(), Broken> {
        for (id, page) in &self.book {
            let order = page.order.and_then(|order| history.now::<Order>(&order));
            let detail = || format!("{id}: {page:?}");
            match page.status {
                ChargeStatus::New | ChargeStatus::Voided => {}
                ChargeStatus::Authorised => {
                    return Err(Broken { invariant: "no authorisation is left behind", detail: detail() });
                }
                ChargeStatus::Captured => {
                    let Some(order) = order else {
                        return Err(Broken { invariant: "nobody is charged without an order", detail: detail() });
                    };
                    let charged = page.captured.map_or(0, |money| money.amount);
                    let refunded: i64 = page.refunds.values().map(|money| money.amount).sum();
                    let agree = charged == order.captured() && refunded == order.refunded();
                    if !order.confirmed || !agree {
                        let detail =
                            format!("{} and the order says {} - {}", detail(), order.captured(), order.refunded());
                        return Err(Broken { invariant: "order and provider agree about the money", detail });
                    }
                }
            }
        }
        for (id, order) in history.all::<Order>() {
            let Some(payment) = &order.payment else { continue };
            let page = self.book.get(&payment.id);
            let charged = page.and_then(|page| page.captured).map_or(0, |money| money.amount);
            if payment.stage == PaymentStage::Captured && charged != order.captured() {
                let detail = format!("{id} says {}, the provider {page:?}", order.captured());
                return Err(Broken { invariant: "order and provider agree about the money", detail });
            }
        }
        Ok(())
    }
}

/// A charge needs an order that durably has everything else.
fn judge_charge(charges: u32, id: &OrderId, history: &History) -> Result<(), Broken> {
    if charges > 1 {
        return Err(Broken { invariant: "nobody is charged twice", detail: id.to_string() });
    }
    let Some(order) = history.now::<Order>(id) else {
        return Err(Broken { invariant: "nobody is charged without an order", detail: id.to_string() });
    };
    let has_its_stock = order.stock.iter().all(|step| *step == StockStep::Committed);
    if order.refusal.is_some() || !has_its_stock {
        let detail = format!("{id}: {:?} {:?}", order.refusal, order.stock);
        return Err(Broken { invariant: "only an order that has its stock is charged", detail });
    }
    Ok(())
}

/// What an approval or refusal looks like to the order.
pub fn answer(answer: PaymentAnswer) -> Answer {
    Answer(Arc::new(answer))
}
