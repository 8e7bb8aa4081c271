//! What others see of an order: how it is placed, what can be asked of it, and its state.
//!
//! Lines are named by their index in [`Placement::lines`] wherever a step concerns one line: an order has
//! up to 2,000 of them, and steps are many.

use std::sync::Arc;

use crate::actors::entity::Kind;
use crate::actors::payment::types::GATEWAY;
use crate::actors::values::{LineId, Money, OrderId, Quantity, RefundId};
use crate::stored_enum;

pub use super::placement::{OrderLine, Placement};
pub use super::state::{
    CancelAsked, Contention, Limits, Payment, PaymentStage, Refund, RefundStatus, State, StockStep, TIMELINE_MAX,
    TimelineEntry, TimelineType,
};
pub use super::status::{FulfillmentStatus, OrderRefusal, OrderStatus, PaymentStatus, RefusalCode};

/// The kind: one entity for each completed cart.
pub enum Order {}

impl Kind for Order {
    const NUMBER: u8 = 11;
    const NAME: &'static str = "order";
    type Id = OrderId;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
    const GATEWAYS: &'static [&'static str] = &[GATEWAY];
}

/// The most lines of an order.
pub const LINES_MAX: usize = 2_000;
/// The most refunds of an order, failed ones included.
pub const REFUNDS_MAX: usize = 100;

stored_enum! {
    #[derive(Eq)]
    pub enum Command {
        /// From the cart. Answered at once; what the order comes to is told to the cart with
        /// `cart::Command::Decided`.
        (1, 1) => Place { placement: Arc<Placement> },
        /// Possible until something is fulfilled. A confirmed order is cancelled at once, restocked and
        /// refunded; a pending one turns back (see the module). Cancelling a cancelled one is fine.
        (2, 1) => Cancel { reason: Option<String> },
        /// Pays back `amount`, or all that is left; never restocks. The same `refund` again is the same refund.
        (3, 1) => Refund { refund: RefundId, amount: Option<Money>, reason: String },
        /// `lines: None` is everything that is not fulfilled yet.
        (4, 1) => Fulfil { lines: Option<Vec<(LineId, Quantity)>>, tracking: Option<String> },
        /// A deadline may have passed, or the pause before a contended SKU is asked again.
        (5, 1) => Wake,
        /// What an owed request came to. Only the order itself makes these, from answers.
        (6, 1) => Answered(step: Step),
        /// The same for answers that waited together: as if one came after the other, in one record.
        (7, 1) => AnsweredAll(steps: Vec<Step>),
    }
}

stored_enum! {
    /// An answer to an owed request, in the order's own words. Lines by index.
    #[derive(Eq)]
    pub enum Step {
        (1, 1) => NumberClaimed { attempt: u32 },
        (2, 1) => NumberTaken { attempt: u32 },
        /// `attempt`: how often the SKU was asked before, here and in the next two.
        (3, 1) => Reserved { line: u32, attempt: u32 },
        /// `available: None`: the SKU is not sold any more.
        (4, 1) => ReserveRefused { line: u32, attempt: u32, available: Option<u64> },
        /// Younger orders hold what this one wants.
        (5, 1) => Contended { line: u32, attempt: u32 },
        (6, 1) => Committed { line: u32 },
        /// The reservation had expired: nothing was taken.
        (7, 1) => CommitRefused { line: u32 },
        (8, 1) => Released { line: u32 },
        (9, 1) => Restocked { line: u32 },
        (10, 1) => Authorised,
        (11, 1) => AuthoriseDeclined { code: String },
        (12, 1) => Captured,
        (13, 1) => CaptureDeclined { code: String },
        /// `attempt` counts from 1: only the answer to the latest void counts.
        (14, 1) => Voided { attempt: u32 },
        (15, 1) => Refunded { refund: RefundId },
        (16, 1) => RefundDeclined { refund: RefundId, code: String },
        (17, 1) => CustomerTold,
        /// `again`: how often the cart had been told before.
        (18, 1) => CartTold { again: u32 },
    }
}

stored_enum! {
    pub enum Reply {
        /// The order is under way (or was before).
        (1, 1) => Placed,
        /// It is cancelled, or will be as soon as what is under way is answered.
        (2, 1) => Cancelled,
        (3, 1) => RefundAsked { refund: RefundId },
        (4, 1) => Fulfilled,
        /// An answer or a wake was taken note of.
        (5, 1) => Noted,
    }
}

stored_enum! {
    pub enum Rejection {
        /// Nobody has placed this order.
        (1, 1) => NotPlaced,
        /// This id belongs to another completion.
        (2, 1) => AlreadyPlaced,
        /// Cancel: something has been fulfilled.
        (3, 1) => AlreadyFulfilled,
        /// Cancel: the order was rejected. Fulfil: the order is not confirmed, or not any more.
        (4, 1) => WrongStatus { status: OrderStatus },
        /// Pending refunds count as paid back.
        (5, 1) => RefundExceedsCaptured { remaining: Money },
        /// Not positive, or in another currency.
        (6, 1) => InvalidAmount,
        (7, 1) => TooManyRefunds { limit: u64 },
        (8, 1) => UnknownLine { line: LineId },
        /// More than what of this line is still to be fulfilled.
        (9, 1) => ExceedsUnfulfilled { line: LineId, remaining: u64 },
        /// An empty list of lines.
        (10, 1) => NothingToFulfil,
    }
}
