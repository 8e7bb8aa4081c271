//! The state of an order, and what can be read off it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::placement::Placement;
use super::status::{FulfillmentStatus, OrderRefusal, OrderStatus, PaymentStatus};
use crate::actors::payment::types::PaymentMethod;
use crate::actors::values::{Money, OrderNumber, PaymentId, RefundId, Time};
use crate::coded_enum;

/// The most timeline entries that the state keeps; beyond, the oldest go (the journal has them all).
pub const TIMELINE_MAX: usize = 256;

coded_enum! {
    /// Where one line's stock is, as far as the order knows.
    pub enum StockStep {
        /// Not reserved; the first of these are being asked for ([`State::to_reserve`]).
        Waiting = 1 "waiting",
        Held = 2 "held",
        /// A commit was under way when the order turned back: its answer decides what must be undone.
        Committing = 3 "committing",
        Committed = 4 "committed",
        /// Nothing is held here any more, or never was.
        Cleared = 5 "cleared",
        /// Younger orders hold what this line wants: it is asked for again after a pause, and not in flight.
        Contended = 6 "contended",
    }
}

/// Until when an order waits for others, fixed when it is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// For its number and all its stock.
    pub reserve_by: Time,
    /// For its payment and for the commits. It is later than `reserve_by` by what the provider may take.
    pub decide_by: Time,
}

/// A line whose SKU was contended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contention {
    /// How often the SKU was contended; also the number of the next question.
    pub attempt: u32,
    pub again_at: Time,
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
    /// Line indexes in the order in which stock is first asked for: by SKU.
    pub by_sku: Arc<Vec<u32>>,
    /// Lines whose SKU was contended and that are not held yet.
    pub contended: BTreeMap<u32, Contention>,
    /// Those of them that wait to be asked for again, in that order, behind all that were not asked for yet.
    pub again: Vec<u32>,
    /// `None`: placed by a program that knew no limits, and reserved one SKU after the other.
    pub limits: Option<Limits>,
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
    /// The order's version when the cart was first told what it came to. The completion shows this version, however
    /// often it is repeated. `None`: not told yet, or told before orders noted it.
    pub told_version: Option<u64>,
    /// How often the cart asked again after it had been told.
    pub cart_asked_again: u32,
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAsked {
    pub at: Time,
    pub reason: Option<String>,
}

impl State {
    pub fn payment_status(&self) -> PaymentStatus {
        let Some(payment) = &self.payment else { return PaymentStatus::None };
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
