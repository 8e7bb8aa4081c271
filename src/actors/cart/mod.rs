//! A cart: what someone means to buy. It holds no stock and no money; prices are copied in from the
//! catalogue when a line is added, and compared with the catalogue once more when it is completed.
//!
//! # Completion
//!
//! 1. `CompletionStarted`: the cart is `completing`, takes no changes, and owes the order its placement: a copy
//!    of everything. One cart places one order at a time, and after a confirmed one none any more.
//! 2. `Placed`: the order has it. The cart waits for `Decided`, which the order owes.
//! 3. `Completed`, or `CompletionRefused`: open again, with the reason.
//!
//! A crash after 1 leaves the placement owed: it is sent again with the same request id, and the order takes it
//! once. After 2 nothing is owed here, and the decision is owed by the order. Before 1 nothing has
//! happened. So there is no point at which a cart is charged twice or forgotten in `completing`.
//!
//! # Merge
//!
//! Lines go from a source into a target; both are entities, and either may be asked by others meanwhile.
//!
//! 1. Target, `MergeStarted`: owes the source `Surrender`.
//! 2. Source, `Surrendering`: frozen, owes the target `TakeLines` with its lines. If it cannot (closed,
//!    completing, merging itself) it says so, and the target's merge ends with `MergeRefused`.
//! 3. Target, `LinesTaken` or (too many, other currency) `LinesRefused`: owes the source `Conclude`.
//! 4. Source, `Surrendered`: merged for good; or `Reopened`: nothing happened. The target's answer to
//!    `TakeLines` says the same as `Conclude`; whichever comes first does it.
//! 5. Target, `MergeEnded`, when the source has answered: then the caller is answered, and both carts show it.
//!
//! The lines change hands in one event of the target (3). A crash before it leaves them with the source,
//! frozen, and asking; a crash after it leaves a source that is still frozen, so that the lines can be
//! neither sold twice nor changed behind the target's back, until it learns of 3, which two owed
//! requests see to. Two carts that merge into each other refuse each other; the edge tries again then.
//!
//! # The customer's list
//!
//! A user's cart owes his list its opening, and after its end its closing, strictly in this order. A crash leaves
//! the notice owed.

mod change;
mod completion;
mod lines;
mod merge;
mod owed;
pub mod types;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::actors::customer::types::{self as customer, Customer};
use crate::actors::entity::{Answer, Ctx, Decision, DecisionOf, Entity, Owed, codec};
use crate::actors::order::types::{Order, OrderRefusal};
use crate::actors::payment::types::PaymentIntent;
use crate::actors::values::old::ContactV1;
use crate::actors::values::{CartId, Contact, Currency, LineId, OrderId, Quantity, RequestId, Time, UserId};
use crate::stored_enum;

use lines::LineV1;
use owed::OwedKey;
use types::{
    Cart, CartStatus, Command, Completion, CompletionRefused, LINES_MAX, Line, Lines, Listing, MergeRefusal,
    MergeStrategy, NewLine, Rejection, Reply, State,
};

stored_enum! {
    pub enum Event {
        (1, 1) => Opened {
            id: CartId,
            user: Option<UserId>,
            currency: Currency,
            reference: Option<String>,
            metadata: BTreeMap<String, String>,
            expires_at: Time,
        },
        /// A new line, or the whole line as it is now.
        (2, 2) => LineSet { line: Line, expires_at: Time },
        (3, 1) => QuantitySet { line: LineId, quantity: Quantity, expires_at: Time },
        (4, 1) => LineRemoved { line: LineId, expires_at: Time },
        (5, 2) => ContactSet { contact: Box<Contact>, expires_at: Time },

        (6, 1) => MergeStarted { request: RequestId, from: CartId, strategy: MergeStrategy },
        /// The source is frozen and will send its lines.
        (7, 1) => SurrenderAccepted,
        /// The source would not.
        (8, 1) => MergeRefused { refusal: MergeRefusal },
        /// Lines that are new here or have changed, as they are now.
        (9, 2) => LinesTaken { lines: Vec<Line>, expires_at: Time },
        /// They do not fit.
        (10, 1) => LinesRefused { refusal: MergeRefusal },
        (11, 1) => MergeEnded,
        (12, 1) => Surrendering { request: RequestId, to: CartId },
        (13, 1) => Surrendered,
        (14, 1) => Reopened { expires_at: Time },

        /// Lines whose price, name or item is another in the catalogue, as they are now.
        (15, 2) => Repriced { lines: Vec<Line>, expires_at: Time },
        (16, 1) => CompletionStarted { request: RequestId, order: OrderId, payment: PaymentIntent },
        (17, 1) => Placed,
        (18, 1) => Completed { order_version: u64 },
        (19, 1) => CompletionRefused { order_version: u64, refusal: OrderRefusal, expires_at: Time },

        (20, 1) => Expired,
        (21, 1) => CustomerTold,

        /// Lines of one list that are new here or have grown, as they are now.
        (22, 2) => LinesAdded { lines: Vec<Line>, expires_at: Time },
    }
    old {
        // Before addresses had a company.
        (5, 1) => |bytes| {
            let (contact, expires_at): (ContactV1, Time) = codec::decode(bytes)?;
            Ok(Event::ContactSet { contact: Box::new(contact.into()), expires_at })
        },
        (2, 1) => |bytes| {
            let (line, expires_at): (LineV1, Time) = codec::decode(bytes)?;
            Ok(Event::LineSet { line: line.into(), expires_at })
        },
        (9, 1) => |bytes| {
            let (lines, expires_at): (Vec<LineV1>, Time) = codec::decode(bytes)?;
            Ok(Event::LinesTaken { lines: lines.into_iter().map(Line::from).collect(), expires_at })
        },
        (15, 1) => |bytes| {
            let (lines, expires_at): (Vec<LineV1>, Time) = codec::decode(bytes)?;
            Ok(Event::Repriced { lines: lines.into_iter().map(Line::from).collect(), expires_at })
        },
        (22, 1) => |bytes| {
            let (lines, expires_at): (Vec<LineV1>, Time) = codec::decode(bytes)?;
            Ok(Event::LinesAdded { lines: lines.into_iter().map(Line::from).collect(), expires_at })
        },
    }
}

impl Default for State {
    fn default() -> Self {
        State {
            id: None,
            status: CartStatus::Open,
            user: None,
            currency: Currency::GBP,
            reference: None,
            metadata: BTreeMap::new(),
            lines: Lines::default(),
            contact: None,
            created_at: Time::ZERO,
            expires_at: Time::ZERO,
            listing: Listing::Unlisted,
            merge_in: None,
            merge_out: None,
            merged_into: None,
            last_merge: None,
            completion: None,
            last_refusal: None,
        }
    }
}

impl Entity for State {
    type Kind = Cart;
    type Event = Event;
    const STATE_VERSION: u16 = 3;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Create { id, user, currency, reference, metadata } => {
                if self.id.is_some() {
                    return Ok(Decision::unchanged(Reply::Opened));
                }
                let expires_at = expiry(ctx);
                let opened = Event::Opened { id, user, currency, reference, metadata, expires_at };
                Ok(Decision::new(vec![opened], Reply::Opened))
            }
            Command::AddLine { sku, quantity, offer } => self.add_line(NewLine { sku, quantity, offer }, ctx),
            Command::AddLines { lines } => self.add_lines(lines, ctx),
            Command::SetQuantity { line, quantity: Some(quantity) } => self.set_quantity(line, quantity, ctx),
            Command::SetQuantity { line, quantity: None } | Command::RemoveLine { line } => self.remove_line(line, ctx),
            Command::SetContact { contact } => self.set_contact(contact, ctx),
            Command::Merge { from, strategy } => self.merge(from, strategy, ctx),
            Command::Surrender { merge, to } => self.surrender(merge, to),
            Command::TakeLines { merge, currency, lines } => self.take_lines(merge, currency, lines, ctx),
            Command::Conclude { merge, taken } => Ok(self.conclude(merge, taken, ctx)),
            Command::SurrenderAnswered { merge, refusal } => Ok(self.surrender_answered(merge, refusal)),
            Command::ConcludeAnswered { merge } => Ok(self.conclude_answered(merge)),
            Command::Complete(completing) => self.complete(*completing, ctx),
            Command::PlaceAnswered { order } => Ok(self.place_answered(order)),
            Command::Decided { order, order_version, refusal } => Ok(self.decided(order, order_version, refusal, ctx)),
            Command::Expire => {
                let overdue = self.may_expire() && self.expires_at <= ctx.now;
                Ok(noted(overdue.then_some(Event::Expired)))
            }
            Command::CustomerTold { closed } => {
                let owed = if closed { Listing::ClosingOwed } else { Listing::OpeningOwed };
                Ok(noted((self.listing == owed).then_some(Event::CustomerTold)))
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::Opened { id, user, currency, reference, metadata, expires_at } => {
                self.id = Some(*id);
                self.user = *user;
                self.currency = *currency;
                self.reference = reference.as_deref().map(Box::from);
                self.metadata = metadata.clone();
                self.created_at = at;
                self.expires_at = *expires_at;
                self.listing = if user.is_some() { Listing::OpeningOwed } else { Listing::Unlisted };
            }
            Event::LineSet { line, expires_at } => {
                self.lines.put(line.clone());
                self.expires_at = *expires_at;
            }
            Event::QuantitySet { line, quantity, expires_at } => {
                self.lines.set_quantity(*line, *quantity);
                self.expires_at = *expires_at;
            }
            Event::LineRemoved { line, expires_at } => {
                self.lines.remove(*line);
                self.expires_at = *expires_at;
            }
            Event::ContactSet { contact, expires_at } => {
                self.contact = Some(contact.clone());
                self.expires_at = *expires_at;
            }
            Event::LinesAdded { lines, expires_at } | Event::Repriced { lines, expires_at } => {
                lines.iter().for_each(|line| self.lines.put(line.clone()));
                self.expires_at = *expires_at;
            }
            Event::CompletionStarted { request, order, payment } => {
                self.start_completion(*request, *order, payment);
            }
            Event::Placed => {
                if let Some(completion) = &mut self.completion {
                    completion.placed = true;
                }
            }
            Event::Completed { order_version } => {
                if let Some(completion) = &mut self.completion {
                    completion.order_version = *order_version;
                    completion.payment = None;
                }
                self.close(CartStatus::Completed);
            }
            Event::CompletionRefused { order_version, refusal, expires_at } => {
                self.refuse_completion(*order_version, refusal);
                self.expires_at = *expires_at;
            }
            Event::Expired => self.close(CartStatus::Expired),
            Event::CustomerTold => self.customer_told(),
            Event::MergeStarted { .. }
            | Event::SurrenderAccepted
            | Event::MergeRefused { .. }
            | Event::LinesTaken { .. }
            | Event::LinesRefused { .. }
            | Event::MergeEnded
            | Event::Surrendering { .. }
            | Event::Surrendered
            | Event::Reopened { .. } => self.evolve_merge(event),
        }
    }

    fn owed(&self) -> Vec<Owed> {
        let notice = match (self.listing, self.user, self.id) {
            (Listing::OpeningOwed, Some(user), Some(cart)) => {
                Some(Owed::to::<Customer>(OwedKey::CartOpened, &user, customer::Command::CartOpened { cart }))
            }
            (Listing::ClosingOwed, Some(user), Some(cart)) => {
                Some(Owed::to::<Customer>(OwedKey::CartClosed, &user, customer::Command::CartClosed { cart }))
            }
            (Listing::Unlisted | Listing::Listed | Listing::Ended, ..) | (_, None, _) | (_, _, None) => None,
        };
        notice.into_iter().chain(self.owed_by_completion()).chain(self.owed_by_merges()).collect()
    }

    fn answered(&self, key: &str, answer: &Answer) -> Option<Command> {
        match key.parse().ok()? {
            OwedKey::CartOpened => Some(Command::CustomerTold { closed: false }),
            OwedKey::CartClosed => Some(Command::CustomerTold { closed: true }),
            OwedKey::Place { order } => self.placement_answered(order, answer.entity::<Order>()?),
            OwedKey::Surrender { merge } => self.surrender_outcome(merge, answer.entity::<Cart>()?),
            OwedKey::TakeLines { merge } => self.take_lines_outcome(merge, answer.entity::<Cart>()?),
            OwedKey::Conclude { merge } => self.merging_in(merge).then_some(Command::ConcludeAnswered { merge }),
        }
    }

    fn wake_at(&self) -> Option<Time> {
        self.may_expire().then_some(self.expires_at)
    }

    fn wake() -> Option<Command> {
        Some(Command::Expire)
    }

    fn settled(&self) -> bool {
        let listing = match self.listing {
            Listing::OpeningOwed | Listing::ClosingOwed => false,
            Listing::Unlisted | Listing::Listed | Listing::Ended => true,
        };
        listing && self.status != CartStatus::Completing && self.merge_in.is_none() && self.merge_out.is_none()
    }

    fn violations(&self) -> Vec<&'static str> {
        let decided = self.completion.as_ref().map(|completion| completion.payment.is_none());
        let rules = [
            (self.lines.len() <= LINES_MAX, "no more lines than the limit"),
            (self.totals().add_up(), "the totals add up"),
            (self.lines.subtotal() >= 0, "a cart costs nothing less than nothing"),
            (
                (self.status == CartStatus::Completing) == (decided == Some(false)),
                "completing has an order that decides",
            ),
            ((self.status == CartStatus::Completed) == (decided == Some(true)), "completed has an order that decided"),
            ((self.status == CartStatus::Merged) == self.merged_into.is_some(), "merged says into which"),
            (self.merge_in.is_none() || self.merge_out.is_none(), "a cart does not give and take at once"),
            (self.user.is_some() || self.listing == Listing::Unlisted, "a guest's cart is in nobody's list"),
            (!cfg!(debug_assertions) || self.lines.is_consistent(), "sums and search keys are those of the lines"),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, name)| name).collect()
    }

    fn size_bytes(&self) -> usize {
        /// Two addresses and an email.
        const CONTACT_TEXT_BYTES: usize = 256;
        let metadata: usize = self.metadata.iter().map(|(k, v)| k.len() + v.len() + 2 * size_of::<String>()).sum();
        let contact = self.contact.as_ref().map_or(0, |_| size_of::<Contact>() + CONTACT_TEXT_BYTES);
        let completion = self.completion.as_ref().map_or(0, |_| size_of::<Completion>());
        let refusal = self.last_refusal.as_ref().map_or(0, |_| size_of::<CompletionRefused>());
        let reference = self.reference.as_ref().map_or(0, |reference| reference.len());
        size_of::<Self>() + self.lines.heap_bytes() + metadata + contact + completion + refusal + reference
    }
}

impl State {
    /// Whether a client may change it now.
    fn must_be_open(&self) -> Result<(), Rejection> {
        if self.id.is_none() {
            return Err(Rejection::NotFound);
        }
        match (self.status, &self.completion) {
            (CartStatus::Completing, Some(completion)) => {
                Err(Rejection::CompletionInProgress { order: completion.order })
            }
            (CartStatus::Open, _) if self.merge_out.is_some() => Err(Rejection::MergeInProgress),
            (CartStatus::Open, _) => Ok(()),
            (
                status @ (CartStatus::Completing | CartStatus::Completed | CartStatus::Merged | CartStatus::Expired),
                _,
            ) => Err(Rejection::Closed { status }),
        }
    }

    /// Only a cart that waits for nothing is abandoned. A change after the time is up keeps it alive.
    fn may_expire(&self) -> bool {
        let waits = self.merge_in.is_some() || self.merge_out.is_some();
        self.id.is_some() && self.status == CartStatus::Open && !waits
    }

    fn customer_told(&mut self) {
        self.listing = match (self.listing, self.status) {
            (Listing::OpeningOwed, CartStatus::Open | CartStatus::Completing) => Listing::Listed,
            (Listing::OpeningOwed, CartStatus::Completed | CartStatus::Merged | CartStatus::Expired) => {
                Listing::ClosingOwed
            }
            (Listing::ClosingOwed | Listing::Ended, _) => Listing::Ended,
            (listing @ (Listing::Unlisted | Listing::Listed), _) => listing,
        };
    }

    fn close(&mut self, status: CartStatus) {
        self.status = status;
        if self.listing == Listing::Listed {
            self.listing = Listing::ClosingOwed;
        }
    }
}

/// When a cart that changes now is abandoned.
fn expiry(ctx: &Ctx) -> Time {
    ctx.now.plus_ms(ctx.policy.cart.ttl_ms)
}

fn noted(event: Option<Event>) -> Decision<Event, Reply> {
    Decision::new(event.into_iter().collect(), Reply::Noted)
}
