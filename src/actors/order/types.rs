//! What others see of an order: how it is placed, what can be asked of it, and its state.
//!
//! Lines are named by their index in [`Placement::lines`] wherever a step concerns one line: an order has
//! up to 2,000 of them, and steps are many.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::payment::types::{GATEWAY, PaymentIntent};
use crate::actors::sku::types::Item;
use crate::actors::values::{
    CartId, Contact, Currency, LineId, Money, OrderId, ProductId, Quantity, RefundId, RequestId, Sku, Totals, UserId,
    VariantId,
};
use crate::{coded_enum, stored_enum};

pub use super::state::{
    CancelAsked, Contention, Limits, Payment, PaymentStage, Refund, RefundStatus, State, StockStep, TIMELINE_MAX,
    TimelineEntry, TimelineType,
};

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

/// What a cart hands over: copies of everything as it was, which never change again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The order's own id.
    pub order: OrderId,
    pub cart: CartId,
    /// The completion that this order is the outcome of.
    pub request: RequestId,
    pub user: Option<UserId>,
    pub currency: Currency,
    /// As they stood in the cart; each SKU once.
    pub lines: Vec<OrderLine>,
    pub totals: Totals,
    pub contact: Contact,
    pub reference: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub payment: PaymentIntent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    pub id: LineId,
    pub sku: Sku,
    pub product: ProductId,
    /// `None` in orders that were stored before lines knew it.
    pub variant: Option<VariantId>,
    pub title: String,
    pub quantity: Quantity,
    pub unit_price: Money,
    /// unit_price * quantity
    pub total: Money,
}

impl OrderLine {
    /// What was bought, whatever its SKU names later.
    pub fn item(&self) -> Item {
        Item { product: self.product, variant: self.variant }
    }
}

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

coded_enum! {
    #[derive(Default)]
    pub enum OrderStatus {
        /// Under way: neither confirmed nor, with everything it held given back, rejected.
        #[default]
        Pending = 1 "pending",
        Confirmed = 2 "confirmed",
        /// It came to nothing, and holds nothing.
        Rejected = 3 "rejected",
        Cancelled = 4 "cancelled",
        /// Everything is fulfilled.
        Completed = 5 "completed",
    }
}

coded_enum! {
    pub enum PaymentStatus {
        None = 1 "none",
        Authorized = 2 "authorized",
        Captured = 3 "captured",
        PartiallyRefunded = 4 "partially_refunded",
        Refunded = 5 "refunded",
        /// The provider has confirmed that nothing is reserved or charged.
        Voided = 6 "voided",
        Failed = 7 "failed",
    }
}

coded_enum! {
    pub enum FulfillmentStatus {
        Unfulfilled = 1 "unfulfilled",
        PartiallyFulfilled = 2 "partially_fulfilled",
        Fulfilled = 3 "fulfilled",
        /// Part of the public vocabulary; no command leads here yet.
        Returned = 4 "returned",
    }
}

coded_enum! {
    /// Why an order came to nothing.
    pub enum RefusalCode {
        InsufficientStock = 1 "insufficient_stock",
        /// The provider declined.
        PaymentFailed = 2 "payment_failed",
        /// The provider did not answer in time.
        PaymentTimeout = 3 "payment_timeout",
        /// The stock was held too long before it could be committed.
        ReservationExpired = 4 "reservation_expired",
        /// A SKU is not sold any more.
        SkuGone = 5 "sku_gone",
        /// Cancelled while it was pending.
        Cancelled = 6 "order_cancelled",
        /// The placement contradicts itself (totals, lines): a defect of whoever placed it.
        InvalidPlacement = 7 "invalid_placement",
        /// A part of the shop (a SKU, the register of numbers) did not answer in time, or what younger orders hold
        /// was not free in time.
        OrderTimeout = 8 "order_timeout",
    }
}

/// Why an order came to nothing, with what a customer needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRefusal {
    pub code: RefusalCode,
    pub sku: Option<Sku>,
    /// Index into the order's lines, which stand as in the cart.
    pub line: Option<u32>,
    pub available: Option<u64>,
    pub requested: Option<u64>,
    /// The provider's own code.
    pub decline: Option<String>,
}

impl OrderRefusal {
    pub fn of(code: RefusalCode) -> OrderRefusal {
        OrderRefusal { code, sku: None, line: None, available: None, requested: None, decline: None }
    }
}
