//! What an order has come to, in the words that clients see.

use serde::{Deserialize, Serialize};

use crate::actors::values::Sku;
use crate::coded_enum;

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
