//! The mock payment provider, as a gateway: its book is an entity ([`mock_charge`]), so that what it
//! has done outlives this process just as a real provider's deeds do. It writes nothing itself.
//!
//! The book is idempotent by payment, step and refund, so every attempt is asked as a request of its own
//! without a receipt: a flaky provider may answer the second attempt otherwise than the first.
//!
//! [`mock_charge`]: crate::actors::mock_charge

use std::any::Any;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Gateway, GatewayError};
use crate::actors::entity::{Answer, Caller};
use crate::actors::mock_charge::types::{Command, MockCharge, Rejection, Reply, TOKEN_TIMEOUT};
use crate::actors::payment::types::{PaymentAnswer, PaymentRequest, PaymentStep};
use crate::actors::runtime::client::{AskError, Asking, Client, Wait};
use crate::actors::values::RequestId;

/// How long one attempt waits for the book. Whoever called tries again later.
const ATTEMPT: Duration = Duration::from_secs(5);

/// A provider that moves no money. What each token does is said in
/// [`mock_charge::types`](crate::actors::mock_charge::types).
pub struct MockPayments {
    client: Client,
}

impl MockPayments {
    pub fn new(client: Client) -> MockPayments {
        MockPayments { client }
    }

    async fn ask(&self, request: RequestId, asked: &PaymentRequest) -> Result<PaymentAnswer, GatewayError> {
        let asking = Asking {
            request,
            keyed: None,
            caller: Caller::System,
            deadline: Instant::now() + ATTEMPT,
            if_version: None,
            wait: Wait::Durable,
        };
        let answered = self.client.ask::<MockCharge>(&asked.payment, entry(asked), asking).await;
        match answered.map_err(unavailable)?.outcome {
            Ok(Reply::Approved) => Ok(PaymentAnswer::Approved),
            Ok(Reply::Failed) => Err(GatewayError::unavailable("the provider failed")),
            Err(Rejection::Declined { code }) => Ok(PaymentAnswer::Declined { code: code.to_string() }),
        }
    }
}

#[async_trait]
impl Gateway for MockPayments {
    async fn call(&self, request: RequestId, body: &(dyn Any + Send + Sync)) -> Result<Answer, GatewayError> {
        let Some(asked) = body.downcast_ref::<PaymentRequest>() else {
            tracing::error!(%request, "the payment gateway was asked for something that is not a payment");
            return Err(GatewayError::unavailable("it was asked for something that is not a payment"));
        };
        let answer = self.ask(request, asked).await?;
        match (&asked.step, &answer) {
            // The authorisation has happened; only its answer is lost, for ever.
            (PaymentStep::Authorise { token, .. }, _) if token.0 == TOKEN_TIMEOUT => future::pending().await,
            // A void is owed until it is confirmed: one that is declined is asked again, in its own time.
            (PaymentStep::Void, PaymentAnswer::Declined { code }) => {
                tracing::warn!(payment = %asked.payment, code, "a void was declined");
                Err(GatewayError::unavailable(format!("the void was declined: {code}")))
            }
            _ => Ok(Answer(Arc::new(answer))),
        }
    }
}

/// The step, as the provider's book takes it.
fn entry(asked: &PaymentRequest) -> Command {
    match &asked.step {
        PaymentStep::Authorise { amount, method: _, token } => {
            Command::Authorise { order: asked.order, amount: *amount, token: token.clone() }
        }
        PaymentStep::Capture { amount } => Command::Capture { amount: *amount },
        PaymentStep::Void => Command::Void,
        PaymentStep::Refund { refund, amount } => Command::Refund { refund: *refund, amount: *amount },
    }
}

/// Without an answer of the book the step may or may not be in it. Asking again is harmless.
fn unavailable(error: AskError) -> GatewayError {
    tracing::debug!(%error, "the mock provider did not answer");
    GatewayError::unavailable(format!("the provider did not answer: {error}"))
}
