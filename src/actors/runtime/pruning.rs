//! Receipts that nobody needs any more leave the store: those of clients' requests when their time is over, and
//! those of owed requests that their sender has done with. Without it the index of receipts grows for ever.
//!
//! It is done a page at a time, with pauses: it must never be what a customer waits for. A crash in between
//! leaves receipts that the next turn finds again; several nodes may do it at the same time.

use std::time::Duration;

use tokio::time::sleep;

use super::slot::actor::now;
use crate::actors::values::Time;
use crate::metrics::Metrics;
use crate::persistence::{Journal, StoreError};

/// Well below the hour by which a store may be late.
pub const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// Receipts of one statement.
const PAGE: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(20);

/// Prunes for as long as it is polled.
pub async fn prune_for_ever(journal: &dyn Journal, metrics: &Metrics) {
    loop {
        sleep(PRUNE_EVERY).await;
        if let Err(error) = prune(journal, now(), metrics).await {
            tracing::warn!(%error, "receipts are not pruned now");
        }
    }
}

/// Forgets what had expired at a time, however much it is.
async fn prune(journal: &dyn Journal, now: Time, metrics: &Metrics) -> Result<(), StoreError> {
    loop {
        let gone = journal.prune_receipts(now.0, PAGE).await?;
        metrics.receipts_pruned.inc_by(gone as u64);
        if gone < PAGE {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}
