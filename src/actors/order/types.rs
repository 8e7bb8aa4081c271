//! What others see of an order: how it is placed, what can be asked of it, and its state.
//!
//! Lines are named by their index in [`Placement::lines`] wherever a step concerns one line: an order has
//! up to 2,000 of them, and steps are many.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::payment::types::{PaymentIntent, PaymentMethod};
use crate::actors::values::{
    CartId, Contact, Currency, LineId, Money, OrderId, OrderNumber, PaymentId, ProductId, Quantity, RefundId,
    RequestId, Sku, Time, Totals, UserId,
};
use crate::{coded_enum, stored_enum};

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
}

/// The most lines of an order.
pub const LINES_MAX: usize = 2_000;
/// The most refunds of an order, failed ones included.
pub const REFUNDS_MAX: usize = 100;
/// The most timeline entries that the state keeps; beyond, the oldest go (the journal has them all).
pub const TIMELINE_MAX: usize = 256;

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
    pub title: String,
    pub quantity: Quantity,
    pub unit_price: Money,
    /// unit_price * quantity
    pub total: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// From the cart. Answered at once; what the order comes to is told to the cart with
    /// `cart::Command::Decided`.
    Place { placement: Arc<Placement> },
    /// Possible until something is fulfilled. A confirmed order is cancelled at once, restocked and
    /// refunded; a pending one turns back (see the module). Cancelling a cancelled one is fine.
    Cancel { reason: Option<String> },
    /// Pays back `amount`, or all that is left; never restocks. The same `refund` again is the same refund.
    Refund { refund: RefundId, amount: Option<Money>, reason: String },
    /// `lines: None` is everything that is not fulfilled yet.
    Fulfil { lines: Option<Vec<(LineId, Quantity)>>, tracking: Option<String> },
    /// The payment provider's time, or the wait for its void, may be up.
    Wake,
    /// What an owed request came to. Only the order itself makes these, from answers.
    Answered(Step),
}

/// An answer to an owed request, in the order's own words. Lines by index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    NumberClaimed {
        attempt: u32,
    },
    NumberTaken {
        attempt: u32,
    },
    Reserved {
        line: u32,
    },
    /// `available: None`: the SKU is not sold any more.
    ReserveRefused {
        line: u32,
        available: Option<u64>,
    },
    Committed {
        line: u32,
    },
    /// The reservation had expired: nothing was taken.
    CommitRefused {
        line: u32,
    },
    Released {
        line: u32,
    },
    Restocked {
        line: u32,
    },
    Authorised,
    AuthoriseDeclined {
        code: String,
    },
    Captured,
    CaptureDeclined {
        code: String,
    },
    /// `attempt` counts from 1: only the answer to the latest void counts.
    Voided {
        attempt: u32,
    },
    Refunded {
        refund: RefundId,
    },
    RefundDeclined {
        refund: RefundId,
        code: String,
    },
    CustomerTold,
    CartTold,
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

coded_enum! {
    /// Where one line's stock is, as far as the order knows.
    pub enum StockStep {
        /// Not reserved (the first of these in SKU order is being asked for).
        Waiting = 1 "waiting",
        Held = 2 "held",
        /// A commit was under way when the order turned back: its answer decides what must be undone.
        Committing = 3 "committing",
        Committed = 4 "committed",
        /// Nothing is held here any more, or never was.
        Cleared = 5 "cleared",
    }
}

coded_enum! {
    /// Where the money is, as far as the order knows.
    pub enum PaymentStage {
        /// The provider was asked to authorise and has not answered.
        Asked = 1 "asked",
        Authorised = 2 "authorized",
        Captured = 3 "captured",
        Declined = 4 "declined",
        /// The order turned back; the void is owed until the provider confirms it.
        Voiding = 5 "voiding",
        Voided = 6 "voided",
    }
}

/// The order's one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub id: PaymentId,
    pub amount: Money,
    pub method: PaymentMethod,
    pub stage: PaymentStage,
    /// When the order gives up waiting for the authorisation.
    pub deadline: Time,
    /// Whether the provider's approval has been recorded.
    pub approved: bool,
    /// How many voids were owed so far: an approval that comes after the first needs one more.
    pub voids: u32,
}

coded_enum! {
    pub enum RefundStatus {
        Pending = 1 "pending",
        Succeeded = 2 "succeeded",
        /// The provider declined; nothing was paid back.
        Failed = 3 "failed",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    pub id: RefundId,
    pub amount: Money,
    pub reason: String,
    pub status: RefundStatus,
    /// When it was asked for.
    pub at: Time,
    /// Whether cancelling asked for it, and not a person.
    pub by_cancel: bool,
}

coded_enum! {
    pub enum TimelineType {
        Placed = 1 "placed",
        PaymentAuthorized = 2 "payment_authorized",
        PaymentCaptured = 3 "payment_captured",
        PaymentFailed = 4 "payment_failed",
        PaymentVoided = 5 "payment_voided",
        Confirmed = 6 "confirmed",
        Rejected = 7 "rejected",
        CancelRequested = 8 "cancel_requested",
        Cancelled = 9 "cancelled",
        RefundRequested = 10 "refund_requested",
        Refunded = 11 "refunded",
        RefundFailed = 12 "refund_failed",
        Fulfilled = 13 "fulfilled",
        Completed = 14 "completed",
    }
}

/// One thing that happened, for the customer's and the merchant's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    pub at: Time,
    pub kind: TimelineType,
    pub data: BTreeMap<String, String>,
}

/// An order. The default is one that nobody has placed. Cloning it is cheap for its lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// What was ordered; `None`: not placed.
    pub placement: Option<Arc<Placement>>,
    pub created_at: Time,
    pub number: Option<OrderNumber>,
    /// How many numbers turned out to be taken.
    pub numbers_taken: u32,
    pub status: OrderStatus,
    /// Why the order turned back. While the status is still pending, what it held is being given back.
    pub refusal: Option<OrderRefusal>,
    /// Until when a turned-back order waits for its void before it is rejected without.
    pub void_grace: Option<Time>,
    /// Cancelling was asked for; the status follows when nothing is in doubt any more.
    pub cancel: Option<CancelAsked>,
    /// Where each line's stock is, by line index.
    pub stock: Vec<StockStep>,
    /// Line indexes in the order in which stock is reserved: by SKU.
    pub by_sku: Arc<Vec<u32>>,
    /// `None`: the provider was not asked (yet; or never, for an order that costs nothing).
    pub payment: Option<Payment>,
    pub refunds: Vec<Refund>,
    /// Fulfilled pieces by line index; empty until something is.
    pub fulfilled: Vec<u32>,
    /// The order's version when it was confirmed, rejected or cancelled while pending.
    pub decided_version: Option<u64>,
    /// It was confirmed once (a cancelled order may have been, or not).
    pub confirmed: bool,
    pub customer_told: bool,
    pub cart_told: bool,
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAsked {
    pub at: Time,
    pub reason: Option<String>,
}

impl State {
    pub fn payment_status(&self) -> PaymentStatus {
        let Some(payment) = &self.payment else {
            return if self.confirmed { PaymentStatus::Captured } else { PaymentStatus::None };
        };
        match payment.stage {
            PaymentStage::Asked => PaymentStatus::None,
            PaymentStage::Authorised => PaymentStatus::Authorized,
            PaymentStage::Captured => match self.refunded() {
                0 => PaymentStatus::Captured,
                paid_back if paid_back >= payment.amount.amount => PaymentStatus::Refunded,
                _ => PaymentStatus::PartiallyRefunded,
            },
            PaymentStage::Declined => PaymentStatus::Failed,
            PaymentStage::Voiding if payment.approved => PaymentStatus::Authorized,
            PaymentStage::Voiding => PaymentStatus::None,
            PaymentStage::Voided => PaymentStatus::Voided,
        }
    }

    pub fn fulfillment_status(&self) -> FulfillmentStatus {
        match self.status {
            OrderStatus::Completed => FulfillmentStatus::Fulfilled,
            _ if self.fulfilled.is_empty() => FulfillmentStatus::Unfulfilled,
            _ => FulfillmentStatus::PartiallyFulfilled,
        }
    }

    /// Why it was rejected, once it is.
    pub fn rejection(&self) -> Option<&OrderRefusal> {
        self.refusal.as_ref().filter(|_| self.status == OrderStatus::Rejected)
    }

    /// Minor units that were charged.
    pub fn captured(&self) -> i64 {
        let captured = self.payment.as_ref().filter(|payment| payment.stage == PaymentStage::Captured);
        captured.map_or(0, |payment| payment.amount.amount)
    }

    /// Minor units that were paid back.
    pub fn refunded(&self) -> i64 {
        self.refunds_in(RefundStatus::Succeeded)
    }

    /// Minor units that may still be asked back: pending refunds count as paid back.
    pub fn refundable(&self) -> i64 {
        self.captured() - self.refunded() - self.refunds_in(RefundStatus::Pending)
    }

    fn refunds_in(&self, status: RefundStatus) -> i64 {
        self.refunds.iter().filter(|refund| refund.status == status).map(|refund| refund.amount.amount).sum()
    }
}
