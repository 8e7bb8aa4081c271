//! Gateways: how entities reach what is outside the shop, such as a payment provider.

pub mod payments;

use std::any::Any;
use std::borrow::Cow;

use async_trait::async_trait;

use super::entity::Answer;
use super::values::RequestId;

/// Why a gateway gave no answer. The request stays owed, and is sent again with a backoff.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// `why` is shown to operators: no secrets in it.
    #[error("{why}")]
    Unavailable { why: Cow<'static, str> },
}

impl GatewayError {
    pub fn unavailable(why: impl Into<Cow<'static, str>>) -> GatewayError {
        GatewayError::Unavailable { why: why.into() }
    }
}

/// The way to one outside party.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Carries out a request. The same request id is the same request, however often it is sent.
    async fn call(&self, request: RequestId, body: &(dyn Any + Send + Sync)) -> Result<Answer, GatewayError>;
}
