//! The words of paying: what an order asks of a payment provider, and what a provider can answer.
//!
//! A payment has one id for its whole life, which is also the provider's idempotency key: each step of
//! it may be asked any number of times and happens once.
//!
//! The contract with a provider, which the order's safety rests on:
//!
//! - a confirmed [`PaymentStep::Void`] is final: nothing of this payment is reserved or charged, and an
//!   authorisation or capture that arrives later is declined. It may be asked of a payment that the
//!   provider has never heard of;
//! - a capture happens only on an authorisation, at most once;
//! - a refund has an id of its own and happens at most once.

use serde::{Deserialize, Serialize};

use crate::actors::values::{Money, OrderId, PaymentId, RefundId, Secret};
use crate::coded_enum;

/// The gateway's name in [`Target::Gateway`](crate::actors::entity::Target).
pub const GATEWAY: &str = "payments";

coded_enum! {
    /// Who moves the money.
    pub enum PaymentMethod { Mock = 1 "mock" }
}

/// How the customer means to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentIntent {
    pub method: PaymentMethod,
    /// What the provider gave the customer's browser for his means of payment.
    pub token: Secret<String>,
}

/// What an order asks of a payment provider: the body of an owed gateway request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentRequest {
    pub payment: PaymentId,
    /// For the provider's books.
    pub order: OrderId,
    pub step: PaymentStep,
}

/// One step of a payment. Amounts are positive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentStep {
    /// Promise the amount; nothing is charged yet.
    Authorise { amount: Money, method: PaymentMethod, token: Secret<String> },
    /// Charge what was authorised.
    Capture { amount: Money },
    /// Give up the payment: see the contract above.
    Void,
    /// Pay back a part of what was captured.
    Refund { refund: RefundId, amount: Money },
}

/// What a provider says. No answer at all is not an answer: the request stays owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentAnswer {
    /// Done (also when it had been done before).
    Approved,
    /// Refused for certain, with the provider's own code (such as `card_declined`); nothing was done.
    Declined { code: String },
}
