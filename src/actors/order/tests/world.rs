//! The world around one order, for the model test: simple fakes of SKUs, provider, customer and cart
//! that keep the promises of the real ones (a request that comes again gets its first answer), and a
//! network that delays, repeats and loses messages in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fixture::ORDER;
use crate::actors::cart::types::{self as cart, Cart};
use crate::actors::customer::types::{self as customer, Customer};
use crate::actors::entity::{Answer, Caller, Ctx, Entity, Kind, OWED_MAX, Outcome, Owed, Target};
use crate::actors::order::types::{Command, Order, OrderRefusal, Placement, Reply, State};
use crate::actors::order::{Event, process};
use crate::actors::order_number::types::{self as order_number, OrderNumber};
use crate::actors::payment::types::{PaymentAnswer, PaymentRequest, PaymentStep};
use crate::actors::sku::types::{self as sku, StockUnit};
use crate::actors::values::{RefundId, RequestId, Time};
use crate::config::Config;

/// One SKU, as far as one order can see.
#[derive(Debug, Default, Clone)]
pub(super) struct Shelf {
    pub(super) on_hand: u64,
    pub(super) held: u64,
    pub(super) sold: u64,
    pub(super) returned: u64,
}

/// The provider's book.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) authorised: i64,
    pub(super) captures: u32,
    pub(super) captured: i64,
    pub(super) voided: bool,
    pub(super) refunds: BTreeMap<RefundId, i64>,
}

/// What the outside will do, drawn once.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    pub(super) declines_authorise: bool,
    pub(super) declines_capture: bool,
    /// The refunds, by order of arrival, that are declined.
    pub(super) declines_refunds: Vec<bool>,
    /// How many candidates for the number are taken.
    pub(super) numbers_taken: u32,
}

pub(super) struct World {
    pub(super) placement: Arc<Placement>,
    pub(super) state: State,
    pub(super) history: Vec<(Event, Time)>,
    pub(super) shelves: BTreeMap<String, Shelf>,
    pub(super) book: Book,
    pub(super) customer: u32,
    pub(super) cart: Vec<Option<OrderRefusal>>,
    fate: Fate,
    version: u64,
    now: Time,
    wire: Vec<Owed>,
    answers: Vec<(String, Answer)>,
    receipts: BTreeMap<String, Answer>,
    refunds_seen: usize,
    commands: u8,
}

impl World {
    pub(super) fn new(placement: Arc<Placement>, shelves: BTreeMap<String, Shelf>, fate: Fate) -> World {
        let mut world = World {
            placement: Arc::clone(&placement),
            state: State::default(),
            history: Vec::new(),
            shelves,
            book: Book::default(),
            customer: 0,
            cart: Vec::new(),
            fate,
            version: 0,
            now: Time(1_000_000),
            wire: Vec::new(),
            answers: Vec::new(),
            receipts: BTreeMap::new(),
            refunds_seen: 0,
            commands: 0,
        };
        assert_eq!(world.command(Command::Place { placement }), Ok(Reply::Placed));
        world
    }

    pub(super) fn command(&mut self, command: Command) -> Outcome<Order> {
        self.commands = self.commands.wrapping_add(1);
        let ctx = Ctx {
            now: self.now,
            request: RequestId([self.commands; 16]),
            caller: Caller::System,
            version: self.version,
            policy: Arc::new(Config::default().policy()),
        };
        let decision = self.state.decide(command, &ctx)?;
        for event in &decision.events {
            self.state.evolve(event, self.now);
            self.history.push((event.clone(), self.now));
        }
        self.version += u64::from(!decision.events.is_empty());
        self.hold_promises();
        Ok(decision.reply)
    }

    fn hold_promises(&self) {
        assert_eq!(self.state.violations(), Vec::<&str>::new());
        let owed = self.state.owed();
        let keys: BTreeSet<_> = owed.iter().map(|owed| &owed.key).collect();
        assert!(keys.len() == owed.len() && owed.len() <= OWED_MAX, "owed: {keys:?}");
    }

    /// Puts one of the requests that are owed on the wire (again).
    pub(super) fn send(&mut self, pick: usize) {
        let owed = self.state.owed();
        if let Some(chosen) = owed.get(pick % owed.len().max(1)) {
            self.wire.push(chosen.clone());
        }
    }

    /// One request arrives (and, when `again`, stays on the wire to arrive once more).
    pub(super) fn arrive(&mut self, pick: usize, again: bool) {
        if self.wire.is_empty() {
            return;
        }
        let pick = pick % self.wire.len();
        let owed = if again { self.wire[pick].clone() } else { self.wire.swap_remove(pick) };
        let answer = self.answer_to(&owed);
        self.answers.push((owed.key, answer));
    }

    /// One answer reaches the order (and, when `again`, will once more).
    pub(super) fn deliver(&mut self, pick: usize, again: bool) {
        if self.answers.is_empty() {
            return;
        }
        let pick = pick % self.answers.len();
        let (key, answer) = if again { self.answers[pick].clone() } else { self.answers.swap_remove(pick) };
        self.hear(&key, &answer);
    }

    /// One request is sent, arrives and is answered.
    pub(super) fn through(&mut self, pick: usize) {
        let owed = self.state.owed();
        let Some(chosen) = owed.get(pick % owed.len().max(1)) else { return };
        let answer = self.answer_to(chosen);
        self.hear(&chosen.key, &answer);
    }

    /// The order hears an answer, and hears it twice: the second time it says nothing new.
    fn hear(&mut self, key: &str, answer: &Answer) {
        let Some(command) = self.state.answered(key, answer) else { return };
        assert_eq!(self.command(command.clone()), Ok(Reply::Noted));
        let version = self.version;
        assert_eq!(self.command(command), Ok(Reply::Noted));
        assert_eq!(self.version, version, "the second same answer changes nothing");
    }

    /// A crash: messages are lost, and the state is what the journal says.
    pub(super) fn crash(&mut self) {
        self.wire.clear();
        self.answers.clear();
        let mut again = State::default();
        for (event, at) in &self.history {
            again.evolve(event, *at);
        }
        assert_eq!(again, self.state, "the journal tells the same story");
    }

    /// Time goes by; a wake that is due comes.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        if self.state.wake_at().is_some_and(|due| due <= self.now) {
            let wake = State::wake().expect("an order has a wake");
            assert_eq!(self.command(wake), Ok(Reply::Noted));
            assert!(self.state.wake_at().is_none_or(|due| due > self.now), "a wake that was due is done with");
        }
    }

    /// The reservation at one SKU expires.
    pub(super) fn expire(&mut self, pick: usize) {
        let holding: Vec<&mut Shelf> = self.shelves.values_mut().filter(|shelf| shelf.held > 0).collect();
        let n = holding.len().max(1);
        if let Some(shelf) = holding.into_iter().nth(pick % n) {
            shelf.held = 0;
        }
    }

    /// Everything gets through from now on, until nothing is owed and nobody wants to be woken.
    pub(super) fn drain(&mut self) {
        for _ in 0..10_000 {
            while !self.wire.is_empty() {
                self.arrive(0, false);
            }
            while !self.answers.is_empty() {
                self.deliver(0, false);
            }
            let owed = self.state.owed();
            match self.state.wake_at() {
                None if owed.is_empty() => return,
                Some(due) if owed.is_empty() => self.pass(due.since_ms(self.now)),
                Some(_) | None => self.wire = owed,
            }
        }
        panic!("never at rest: owes {:?}", self.state.owed());
    }

    fn answer_to(&mut self, owed: &Owed) -> Answer {
        if let Some(before) = self.receipts.get(&owed.key) {
            return before.clone();
        }
        let answer = match &owed.to {
            Target::Gateway { body, .. } => {
                Answer(Arc::new(self.provider(body.downcast_ref::<PaymentRequest>().expect("a payment request"))))
            }
            Target::Entity(command) => match command.kind {
                StockUnit::NUMBER => {
                    let asked = command.get::<StockUnit>().expect("a command to a SKU").clone();
                    Answer::of_entity::<StockUnit>(self.shelf(&command.id, &asked))
                }
                OrderNumber::NUMBER => Answer::of_entity::<OrderNumber>(self.number(&command.id)),
                Customer::NUMBER => {
                    self.customer += 1;
                    Answer::of_entity::<Customer>(Ok(customer::Reply::Noted))
                }
                Cart::NUMBER => {
                    let Some(cart::Command::Decided { refusal, .. }) = command.get::<Cart>() else {
                        panic!("a cart is told the decision and nothing else");
                    };
                    self.cart.push(refusal.clone());
                    Answer::of_entity::<Cart>(Ok(cart::Reply::Noted))
                }
                other => panic!("an order does not talk to kind {other}"),
            },
        };
        self.receipts.insert(owed.key.clone(), answer.clone());
        answer
    }

    fn number(&self, id: &str) -> Outcome<OrderNumber> {
        let taken = (0..self.fate.numbers_taken).any(|n| process::number_candidate(ORDER, n).as_str() == id);
        if taken { Err(order_number::Rejection::Taken) } else { Ok(order_number::Reply::Claimed) }
    }

    fn shelf(&mut self, id: &str, asked: &sku::Command) -> Outcome<StockUnit> {
        let shelf = self.shelves.entry(id.to_owned()).or_default();
        match asked {
            sku::Command::Reserve { quantity, .. } => {
                let requested = u64::from(quantity.get());
                if requested > shelf.on_hand {
                    return Err(sku::Rejection::InsufficientStock { available: shelf.on_hand, requested });
                }
                shelf.held = requested;
                Ok(sku::Reply::Reserved)
            }
            sku::Command::Commit { .. } if shelf.held == 0 => Err(sku::Rejection::NotReserved),
            sku::Command::Commit { .. } => {
                shelf.on_hand -= shelf.held;
                shelf.sold += shelf.held;
                shelf.held = 0;
                Ok(sku::Reply::Committed)
            }
            sku::Command::ReleaseHold { .. } => {
                shelf.held = 0;
                Ok(sku::Reply::HoldReleased)
            }
            sku::Command::Restock { quantity, .. } => {
                shelf.on_hand += u64::from(quantity.get());
                shelf.returned += u64::from(quantity.get());
                Ok(sku::Reply::Restocked)
            }
            other => panic!("an order does not ask a SKU for {other:?}"),
        }
    }

    fn provider(&mut self, request: &PaymentRequest) -> PaymentAnswer {
        let declined = PaymentAnswer::Declined { code: "no".into() };
        let book = &mut self.book;
        match &request.step {
            PaymentStep::Authorise { .. } if book.voided || self.fate.declines_authorise => return declined,
            PaymentStep::Authorise { amount, .. } => book.authorised = amount.amount,
            PaymentStep::Capture { amount } => {
                let everything_is_sold = self.shelves.values().all(|shelf| shelf.held == 0);
                assert!(everything_is_sold, "nobody is charged before all stock is his");
                assert!(!book.voided && book.authorised == amount.amount, "what is captured was authorised");
                if self.fate.declines_capture {
                    return declined;
                }
                book.captures += 1;
                book.captured += amount.amount;
            }
            PaymentStep::Void => {
                assert_eq!(book.captured, 0, "what is charged is not voided");
                book.voided = true;
                book.authorised = 0;
            }
            PaymentStep::Refund { refund, amount } => {
                self.refunds_seen += 1;
                if self.fate.declines_refunds.get(self.refunds_seen - 1).copied().unwrap_or(false) {
                    return declined;
                }
                book.refunds.insert(*refund, amount.amount);
                assert!(book.refunds.values().sum::<i64>() <= book.captured, "never more back than was charged");
            }
        }
        PaymentAnswer::Approved
    }
}
