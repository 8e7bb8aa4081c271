//! The limiter of a cluster without a Redis for it: each caller's windows are counted by one node, the one that has the slot of
//! the caller's key. They are in its memory, and begin anew when the slot moves.
//!
//! While that node does not answer, this one counts for itself ([`ANSWER`]), and says so in `souk_limiter_fallback`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Limiter, LocalLimiter, Policy, Verdict};
use crate::actors::runtime::client::Client;
use crate::actors::runtime::counting::{Count, Counted, Counters, Counting};
use crate::metrics::Metrics;

/// How long the node may take to answer. A request waits for it. A link that is down is known at once.
const ANSWER: Duration = Duration::from_millis(250);

pub struct OwnedLimiter {
    client: Client,
    local: Arc<LocalLimiter>,
    metrics: Arc<Metrics>,
}

impl OwnedLimiter {
    pub fn new(client: Client, metrics: Arc<Metrics>) -> OwnedLimiter {
        let local = Arc::new(LocalLimiter::default());
        client.count_with(local.clone());
        OwnedLimiter { client, local, metrics }
    }

    async fn judge(&self, policy: Policy, key: &str, counting: Counting) -> Verdict {
        let Policy { name, quota, window_ms } = policy;
        let count = Count { policy: name.into(), key: key.into(), quota, window_ms, counting };
        let counted = match self.client.count(count.clone(), ANSWER).await {
            Some(counted) => counted,
            None => {
                self.metrics.limiter_fallback.inc();
                self.local.count(&count)
            }
        };
        let Counted { allowed, remaining, reset_ms } = counted;
        Verdict { policy, allowed, remaining, reset_ms }
    }
}

#[async_trait]
impl Limiter for OwnedLimiter {
    async fn take(&self, policy: Policy, key: &str) -> Verdict {
        self.judge(policy, key, Counting::Take).await
    }
    async fn look(&self, policy: Policy, key: &str) -> Verdict {
        self.judge(policy, key, Counting::Look).await
    }
    async fn forget(&self, policy: Policy, key: &str) {
        self.judge(policy, key, Counting::Forget).await;
    }
}
