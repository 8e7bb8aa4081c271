//! What others see of the mock provider's book: one page for each payment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{Money, OrderId, PaymentId, RefundId, Secret};
use crate::{coded_enum, stored_enum};

/// The kind: one entity for each payment that the mock provider was asked for.
pub enum MockCharge {}

impl Kind for MockCharge {
    const NUMBER: u8 = 13;
    const NAME: &'static str = "mock_charge";
    type Id = PaymentId;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

/// The token that is declined; every token without a rule of its own is approved.
pub const TOKEN_DECLINED: &str = "tok_declined";
/// The token whose authorisation happens and is never answered (the answer is lost, not the deed).
pub const TOKEN_TIMEOUT: &str = "tok_timeout";
/// The token whose authorisation fails [`FLAKY_FAILURES`] times before it is approved.
pub const TOKEN_FLAKY: &str = "tok_flaky";
/// How often an authorisation with [`TOKEN_FLAKY`] fails first.
pub const FLAKY_FAILURES: u32 = 2;

stored_enum! {
    #[derive(Eq)]
    pub enum Command {
        (1, 1) => Authorise { order: OrderId, amount: Money, token: Secret<String> },
        (2, 1) => Capture { amount: Money },
        (3, 1) => Void,
        (4, 1) => Refund { refund: RefundId, amount: Money },
    }
}

stored_enum! {
    pub enum Reply {
        /// The step is done, now or by an earlier request.
        (1, 1) => Approved,
        /// A failure of the provider's own, to be tried again (the flaky token).
        (2, 1) => Failed,
    }
}

stored_enum! {
    pub enum Rejection {
        /// Refused for certain.
        (1, 1) => Declined { code: DeclineCode },
    }
}

coded_enum! {
    /// Why the mock provider refuses.
    pub enum DeclineCode {
        CardDeclined = 1 "card_declined",
        /// The payment was voided: it is never authorised, captured or refunded again.
        PaymentVoided = 2 "payment_voided",
        NotAuthorised = 3 "not_authorized",
        /// A void of what is charged already: it can only be refunded.
        AlreadyCaptured = 4 "already_captured",
        /// More than was authorised, or than is left to refund; or another currency.
        AmountTooLarge = 5 "amount_too_large",
        /// The same step was done before with another amount.
        AmountDiffers = 6 "amount_differs",
    }
}

coded_enum! {
    /// What became of the payment.
    #[derive(Default)]
    pub enum ChargeStatus {
        /// Nothing was asked yet, or only in vain (failed, declined).
        #[default]
        New = 1 "new",
        Authorised = 2 "authorized",
        Captured = 3 "captured",
        Voided = 4 "voided",
    }
}

/// The provider's page for one payment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    pub status: ChargeStatus,
    pub order: Option<OrderId>,
    /// What was authorised.
    pub authorised: Option<Money>,
    /// What was charged.
    pub captured: Option<Money>,
    pub refunds: BTreeMap<RefundId, Money>,
    /// Authorisations that failed on the way (the flaky token).
    pub failures: u32,
}
