//! What is asked of other nodes themselves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{AskError, Client};
use crate::actors::runtime::attention;
use crate::actors::runtime::counting::{Count, Counted, Counters};
use crate::actors::runtime::overdue::{OverdueList, Place};
use crate::actors::values::Time;

impl Client {
    /// What entities have owed since before a time, behind a place, the oldest first; on whatever node.
    pub async fn overdue(
        &self,
        before: Time,
        after: Option<Place>,
        limit: usize,
        deadline: Instant,
    ) -> Result<OverdueList, AskError> {
        attention::overdue_everywhere(&self.router, before, after, limit, deadline).await
    }

    /// Counts where the counter is; on a node that is alone, nowhere. `None`: who has it does not answer.
    pub async fn count(&self, count: Count, within: Duration) -> Option<Counted> {
        self.router.elsewhere()?.count(count, within).await
    }

    /// The counters that are this node's are these.
    pub fn count_with(&self, counters: Arc<dyn Counters>) {
        if let Some(elsewhere) = self.router.elsewhere() {
            elsewhere.count_with(counters);
        }
    }

    /// Whether there may be other nodes.
    pub fn is_of_several(&self) -> bool {
        self.router.elsewhere().is_some()
    }
}
