//! An order: the money path. It is a process that either ends confirmed, paid and with its stock, or
//! holds nothing.
//!
//! ```text
//!  Place -> claim a number  \
//!           reserve stock,   > authorise -> commit all stock -> capture -> CONFIRMED -> tell customer, cart
//!           SKU after SKU   /      |               |               |
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
//! - *Stock is reserved strictly one SKU after the other, in SKU order.* Two orders that compete for the
//!   same last units then meet at the first SKU that they share, and one of them passes. Commits cannot
//!   be refused for lack of stock, so they go out many at once.
//! - *A compensation is owed only after the answer to the step that it undoes.* An order that turns back
//!   keeps owing the reservation or the commits in flight ([`types::StockStep::Committing`]) and undoes
//!   each as its answer comes. The void is the exception: a provider that does not answer has not
//!   refused, so the void is owed at once and until it is confirmed; the provider's contract makes a
//!   confirmed void final, and an approval that still comes later is answered by one more void.
//! - *`rejected` means that nothing is held.* The status stays pending while things are given back. The
//!   void belongs to that, but only for a few seconds: a dead provider must not keep the cart shut. After
//!   that the order is rejected, and goes on owing the void.
//! - *A capture in flight is the point of no return.* All stock is committed by then and the provider has
//!   promised the money. A capture that is not answered can be neither undone nor given up, so it is
//!   asked until it is answered.
//! - *Cancelling a pending order* is what a customer expects to work who sees "pending" and has changed
//!   his mind. Before the capture the order turns back and ends cancelled, never charged; the cart is
//!   open again. With the capture in flight the wish is noted, and the order is confirmed, cancelled,
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
mod owed;
mod phase;
mod process;
mod state;
mod wishes;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::entity::{Answer, Ctx, DecisionOf, Entity, Owed};
use super::values::{Money, OrderNumber, PaymentId, RefundId, Time};
use crate::stored_enum;
use process::Draft;
use types::{Command, Order, OrderRefusal, Placement, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 1) => Placed { placement: Arc<Placement> },
        (2, 1) => NumberTaken,
        (3, 1) => Numbered { number: OrderNumber },
        (4, 1) => Reserved { line: u32 },
        (5, 1) => PaymentAsked { payment: PaymentId, amount: Money, deadline: Time },
        (6, 1) => Authorised,
        (7, 1) => Committed { line: u32 },
        (8, 1) => Captured,
        /// `version`: the order's version with this event.
        (9, 1) => Confirmed { version: u64 },
        /// The order turns back. `in_flight`: how many stock steps, the first ones in SKU order, have been
        /// asked for and not been answered. `void_grace`: how long it waits for its void at most.
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
        (18, 1) => CartTold,
        (19, 1) => CancelAsked { reason: Option<String> },
        (20, 1) => Cancelled { version: u64 },
        (21, 1) => RefundAsked { refund: RefundId, amount: Money, reason: String, by_cancel: bool },
        (22, 1) => Refunded { refund: RefundId },
        (23, 1) => RefundDeclined { refund: RefundId, code: String },
        /// Pieces by line index; `None`: everything that was left.
        (24, 1) => Fulfilled { items: Option<Vec<(u32, u32)>>, tracking: Option<String> },
    }
}

impl Entity for State {
    type Kind = Order;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Place { placement } => self.place(placement, ctx),
            _ if self.placement.is_none() => Err(Rejection::NotPlaced),
            Command::Cancel { reason } => self.cancel(reason, ctx),
            Command::Refund { refund, amount, reason } => self.refund(refund, amount, reason),
            Command::Fulfil { lines, tracking } => self.fulfil(lines, tracking),
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
        }
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        self.apply(event, at);
    }

    fn owed(&self) -> Vec<Owed> {
        self.requests()
    }

    fn answered(&self, key: &str, answer: &Answer) -> Option<Command> {
        owed::step(key, answer).map(Command::Answered)
    }

    fn wake_at(&self) -> Option<Time> {
        self.payment_deadline().or_else(|| self.void_deadline())
    }

    fn wake() -> Option<Command> {
        Some(Command::Wake)
    }

    /// Placing is settled when the cart knows the outcome, cancelling when everything is restocked, and
    /// anything when no refund is in flight. A void that the provider does not confirm keeps nobody waiting.
    fn settled(&self) -> bool {
        self.placement.is_none() || (self.cart_told && !self.restocking() && !self.refunding())
    }

    fn violations(&self) -> Vec<&'static str> {
        self.broken()
    }

    fn size_bytes(&self) -> usize {
        self.heap_bytes() + size_of::<Self>()
    }
}
