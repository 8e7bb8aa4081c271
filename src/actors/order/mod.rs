//! An order: the money path. It is a process that either ends confirmed, paid and with its stock, or
//! holds nothing.
//!
//! ```text
//!  Place -> claim a number  \
//!           reserve stock,   > authorise -> commit all stock -> capture -> CONFIRMED -> tell customer, cart
//!           all at once     /      |               |               |
//!                 |                |               |               |
//!                 +--- refused ----+-- declined, --+- reservation -+- declined
//!                 |                   timed out        expired
//!                 v
//!       turn back: wait for what is in flight, release or restock, void -> REJECTED -> tell cart
//! ```
//!
//! **Every step is owed** ([`owed`]): the state alone says what must still be sent, under a key that is
//! the same for ever (`reserve:3`, `capture`), and an answer clears it. So a crash loses no step, and a
//! step that is sent twice is the same request. Every answer comes back as a [`types::Step`] and is
//! judged by the state ([`process`]): what is not being waited for changes nothing. All consequences are
//! drawn in one place ([`process::Draft::go_on`]), from the state after the fact.
//!
//! Decisions worth knowing:
//!
//! - *Stock is reserved and committed many SKUs at once* ([`phase::STOCK_AT_ONCE`]). Two orders may compete for the
//!   same last units in opposite order, so each names its age (when it was placed, and its id), and the SKU
//!   refuses nobody for what a younger order holds (see [`super::sku`]). A contended line is recorded, is not
//!   in flight, and is asked for again after a pause under a new key (`reserve:3:1`): each question keeps its
//!   one answer. An order that turns back asks for none of its contended lines again.
//! - *Nothing but the capture is waited for without end* ([`State::limits`]). A number, a SKU or a provider that
//!   has not answered by then is treated alike: the order turns back and owes what undoes it until that is
//!   confirmed.
//! - *A compensation is owed only after the answer to the step that it undoes.* An order that turns back
//!   keeps owing the reservation or the commits in flight ([`types::StockStep::Committing`]) and undoes
//!   each as its answer comes. The void is the exception: a provider that does not answer has not
//!   refused, so the void is owed at once and until it is confirmed; the provider's contract makes a
//!   confirmed void final, and an approval that still comes later is answered by one more void.
//! - *`rejected` means that nothing is held, as far as anybody answers.* The status stays pending while things are
//!   given back, but only for a few seconds: neither a dead provider nor a damaged SKU may keep the cart shut.
//!   After that the order is rejected, and goes on owing the void, the release, the restock.
//! - *Steps in flight stay owed until they are answered*, also when the order turns back: they come first among
//!   what is given back. One that was dropped and asked for again later could meet a SKU that has forgotten
//!   its answer, and take a commit that was done for one that was refused.
//! - *A capture in flight is the point of no return.* All stock is committed by then and the provider has
//!   promised the money. A capture that is not answered can be neither undone nor given up, so it is
//!   asked until it is answered.
//! - *Cancelling a pending order* is what a customer expects to work who sees "pending" and has changed
//!   his mind. Before the capture the order turns back and ends cancelled, never charged; the cart is
//!   open again. With the capture in flight the request is noted, and the order is confirmed, cancelled,
//!   restocked and refunded in one go when the answer comes.
//! - *Cancelling pays back everything that is left*, pending refunds counted. When one of those is declined
//!   after the cancellation, its amount is asked back once more by the cancellation itself. A declined
//!   refund of the cancellation is left to people (`refund` works on a cancelled order).
//! - An order that costs nothing asks no provider.
//!
//! Events are small: lines are named by index, and what follows from an event is not repeated in it.

pub mod types;

mod evolve;
mod invariants;
mod old;
mod owed;
mod phase;
mod placement;
mod process;
mod requests;
mod state;
mod status;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::entity::{Answer, Ctx, Decision, DecisionOf, Entity, Owed, codec};
use super::values::{Money, OrderNumber, PaymentId, RefundId, Time};
use crate::stored_enum;
use process::Draft;
use types::{Command, Limits, Order, OrderRefusal, Placement, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 4) => Placed { placement: Arc<Placement>, limits: Option<Limits> },
        (2, 1) => NumberTaken,
        (3, 1) => Numbered { number: OrderNumber },
        (4, 1) => Reserved { line: u32 },
        (5, 1) => PaymentAsked { payment: PaymentId, amount: Money, deadline: Time },
        (6, 1) => Authorised,
        (7, 1) => Committed { line: u32 },
        (8, 1) => Captured,
        /// `version`: the order's version with this event.
        (9, 1) => Confirmed { version: u64 },
        /// The order turns back. `in_flight`: how many stock steps, the first ones in the order in which they
        /// are asked for, have not been answered. `void_grace`: until when it is rejected in any case.
        (10, 1) => Refused { refusal: OrderRefusal, in_flight: u32, void_grace: Time },
        /// Nothing is held for this line (any more): it was refused, released, or had expired.
        (11, 1) => NothingHeld { line: u32 },
        (12, 1) => Restocked { line: u32 },
        (13, 1) => PaymentDeclined { code: String },
        (14, 1) => Voided,
        /// The provider approved after the order had turned back.
        (15, 1) => ApprovedLate,
        (16, 1) => Rejected { version: u64 },
        (17, 1) => CustomerTold,
        /// `version`: the order's version with this event; `None` in events from before they said it.
        (18, 2) => CartTold { version: Option<u64> },
        (19, 1) => CancelAsked { reason: Option<String> },
        (20, 1) => Cancelled { version: u64 },
        (21, 1) => RefundAsked { refund: RefundId, amount: Money, reason: String, by_cancel: bool },
        (22, 1) => Refunded { refund: RefundId },
        (23, 1) => RefundDeclined { refund: RefundId, code: String },
        /// Pieces by line index; `None`: everything that was left.
        (24, 1) => Fulfilled { items: Option<Vec<(u32, u32)>>, tracking: Option<String> },
        /// Younger orders hold what this line wants.
        (25, 1) => Contended { line: u32, again_at: Time },
        /// The pause of these contended lines is over.
        (26, 1) => AskedAgain { lines: Vec<u32> },
        /// The cart placed the order once more after it had been told what it came to.
        (27, 1) => CartAskedAgain,
    }
    old {
        // Before orders had limits.
        (1, 1) => |bytes| {
            let (placement,): (old::PlacementV1,) = codec::decode(bytes)?;
            Ok(Event::Placed { placement: Arc::new(placement.into()), limits: None })
        },
        // Before addresses had a company.
        (1, 3) => |bytes| {
            let (placement, limits): (old::PlacementV2, Option<Limits>) = codec::decode(bytes)?;
            Ok(Event::Placed { placement: Arc::new(placement.into()), limits })
        },
        // Before an order noted when its cart was told.
        (18, 1) => |bytes| {
            let (): () = codec::decode(bytes)?;
            Ok(Event::CartTold { version: None })
        },
        // Before lines knew their variant.
        (1, 2) => |bytes| {
            let (placement, limits): (old::PlacementV1, Option<Limits>) = codec::decode(bytes)?;
            Ok(Event::Placed { placement: Arc::new(placement.into()), limits })
        },
    }
}

impl Entity for State {
    type Kind = Order;
    type Event = Event;
    const STATE_VERSION: u16 = 5;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Place { placement } => self.place(placement, ctx),
            _ if self.placement.is_none() => Err(Rejection::NotPlaced),
            Command::Cancel { reason } => self.cancel(reason, ctx),
            Command::Refund { refund, amount, reason } => self.refund(refund, amount, reason),
            Command::Fulfil { lines, tracking } => self.fulfil(lines, tracking),
            // Too early: what follows from the state has been drawn with it.
            Command::Wake if self.next_wake().is_none_or(|due| due > ctx.now) => Ok(Decision::unchanged(Reply::Noted)),
            Command::Wake => {
                let mut draft = Draft::of(self, ctx);
                draft.time_is_up();
                Ok(draft.decided(Reply::Noted))
            }
            Command::Answered(step) => {
                let mut draft = Draft::of(self, ctx);
                draft.answered(step);
                Ok(draft.decided(Reply::Noted))
            }
            Command::AnsweredAll(steps) => {
                let mut draft = Draft::of(self, ctx);
                for step in steps {
                    draft.answered(step);
                    draft.go_on();
                }
                Ok(draft.decided(Reply::Noted))
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        self.apply(event, at);
    }

    fn owed(&self) -> Vec<Owed> {
        self.owed_requests()
    }

    fn answered(&self, key: &str, answer: &Answer) -> Option<Command> {
        owed::step(key, answer).map(Command::Answered)
    }

    fn answered_together(&self, answers: &[(&str, &Answer)]) -> Option<Command> {
        let steps = answers.iter().filter_map(|(key, answer)| owed::step(key, answer));
        Some(Command::AnsweredAll(steps.collect()))
    }

    fn wake_at(&self) -> Option<Time> {
        self.next_wake()
    }

    fn wake() -> Option<Command> {
        Some(Command::Wake)
    }

    /// Placing is settled when the cart knows the outcome, cancelling when everything is restocked, and
    /// anything when no refund is in flight. A void that the provider does not confirm, or a SKU that does not
    /// answer an order that came to nothing, keeps nobody waiting.
    fn settled(&self) -> bool {
        self.placement.is_none() || (self.cart_told && !(self.confirmed && self.restocking()) && !self.refunding())
    }

    fn violations(&self) -> Vec<&'static str> {
        self.broken()
    }

    fn size_bytes(&self) -> usize {
        self.heap_bytes() + size_of::<Self>()
    }
}
