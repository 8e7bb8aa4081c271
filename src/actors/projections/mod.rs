//! Projections: read models that follow the journal, for what no single entity can answer.
//!
//! They are in memory only, made of entities and never the other way round: what is shown here may be
//! a moment old, and nothing is decided on it. So a listing may lag (well below a second), while what a
//! client was told is done is found by id, slug, SKU, email and number, which entities answer.
//!
//! - The journal writer says which entities have changed ([`Follower::changed`]); their keys are marked in
//!   a bounded set ([`dirty`]), in which a hot entity is one key however often it changes.
//! - The [`follower`], a supervised actor, reads each marked entity and writes its row anew, paced.
//! - When it starts, and when the set has overflowed, it lists and reads every entity of the followed kinds.
//!
//! What a crash leaves: nothing. A new process reads everything again, and [`Projections::is_complete`] says
//! when it has: until then the node is not ready.

pub mod catalogue;
mod dirty;
mod follower;
pub mod orders;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use ractor::{Actor, ActorRef, SpawnErr};
use tokio::sync::watch;
use tokio::time::Instant;

use super::categories::types::Categories;
use super::entity::Kind;
use super::order::types::Order;
use super::product::types::Product;
use super::runtime::client::{AskError, Client, View};
use super::runtime::dispatcher::Follower;
use super::sku::types::StockUnit;
use super::values::Sku;
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Journal};

use catalogue::Catalogue;
use dirty::Dirty;
use follower::{Supervisor, SupervisorMessage};
use orders::Orders;

/// The kinds that are followed, in the order in which they are first read.
const FOLLOWED: [u8; 4] = [Categories::NUMBER, Product::NUMBER, StockUnit::NUMBER, Order::NUMBER];
/// Entities that are read at once.
const READS_AT_ONCE: usize = 64;
/// Rows of a read model that a list looks at under one hold of its lock: well below a millisecond.
const ROWS_AT_ONCE: usize = 1_024;
/// How long one read may take. A slow one is tried again.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The read models of a node, and what keeps them fresh.
pub struct Projections {
    pub catalogue: Catalogue,
    pub orders: Orders,
    client: Client,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
    dirty: Dirty,
    complete: watch::Sender<bool>,
    supervisor: Mutex<Option<ActorRef<SupervisorMessage>>>,
}

impl Projections {
    /// Read models that know nothing yet. They follow the runtime from before it begins: whatever changes from then
    /// on is marked, and once they start they read everything that there is.
    pub fn new(client: Client, journal: Arc<dyn Journal>, metrics: Arc<Metrics>) -> Arc<Projections> {
        let projections = Projections {
            catalogue: Catalogue::default(),
            orders: Orders::default(),
            client,
            journal,
            metrics,
            dirty: Dirty::default(),
            complete: watch::Sender::new(false),
            supervisor: Mutex::default(),
        };
        projections.dirty.lose();
        Arc::new(projections)
    }

    /// Starts to read.
    pub async fn start(self: &Arc<Self>) -> Result<(), SpawnErr> {
        let (supervisor, _) = Actor::spawn(None, Supervisor, self.clone()).await?;
        *self.supervisor.lock() = Some(supervisor);
        Ok(())
    }

    /// Ends the following. What was read stays, and grows old.
    pub fn stop(&self) {
        if let Some(supervisor) = self.supervisor.lock().take() {
            supervisor.stop(None);
        }
    }

    /// Whether every entity that there was at the start has been read.
    pub fn is_complete(&self) -> bool {
        *self.complete.borrow()
    }

    /// Returns when [`Projections::is_complete`] is true.
    pub async fn completed(&self) {
        // An error means that the sender is gone, and it is `self`.
        let _ = self.complete.subscribe().wait_for(|complete| *complete).await;
    }

    /// Takes a product that was just changed, and its SKUs, so that whoever changed it finds it so in the
    /// next list.
    pub async fn refresh_product(&self, product: &View<Product>, skus: Vec<Sku>) {
        self.catalogue.note_product(product);
        let key = |sku: Sku| EntityKey { kind: StockUnit::NUMBER, id: sku.as_str().into() };
        self.refresh(skus.into_iter().map(key).collect()).await;
    }

    /// Reads some entities. What cannot be read now is read later.
    async fn refresh(&self, keys: Vec<EntityKey>) {
        let reads = futures::stream::iter(keys).map(|key| async move {
            let outcome = self.read(&key).await;
            (key, outcome)
        });
        let mut reads = reads.buffer_unordered(READS_AT_ONCE);
        while let Some((key, outcome)) = reads.next().await {
            match outcome {
                Ok(()) => self.metrics.projection_reads.inc(),
                Err(error) if may_pass(&error) => self.dirty.mark(&[key]),
                Err(error) => {
                    tracing::warn!(kind = key.kind, id = %key.id, %error, "a read model has to leave an entity out");
                }
            }
        }
    }

    /// Reads one entity and writes its row.
    async fn read(&self, key: &EntityKey) -> Result<(), AskError> {
        let deadline = Instant::now() + READ_TIMEOUT;
        match key.kind {
            Categories::NUMBER => {
                let view = self.client.read::<Categories>(&id::<Categories>(key)?, deadline).await?;
                self.catalogue.note_categories(&view);
            }
            Product::NUMBER => {
                let view = self.client.read::<Product>(&id::<Product>(key)?, deadline).await?;
                self.catalogue.note_product(&view);
            }
            StockUnit::NUMBER => {
                let view = self.client.read::<StockUnit>(&id::<StockUnit>(key)?, deadline).await?;
                self.catalogue.note_sku(&view);
            }
            Order::NUMBER => {
                let view = self.client.read::<Order>(&id::<Order>(key)?, deadline).await?;
                self.orders.note(&view);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Follower for Projections {
    fn changed(&self, keys: &[EntityKey]) {
        let followed: Vec<_> = keys.iter().filter(|key| FOLLOWED.contains(&key.kind)).cloned().collect();
        if !followed.is_empty() {
            self.dirty.mark(&followed);
        }
    }

    fn readable_again(&self) {
        self.dirty.lose();
    }
}

fn id<K: Kind>(key: &EntityKey) -> Result<K::Id, AskError> {
    key.id.parse().map_err(|_| AskError::UnknownKind)
}

/// Whether the same read may well succeed later.
fn may_pass(error: &AskError) -> bool {
    match error {
        AskError::Busy { .. } | AskError::Unavailable | AskError::DeadlinePassed | AskError::Unknown => true,
        AskError::KeyReused
        | AskError::AnsweredLongAgo
        | AskError::StaleVersion { .. }
        | AskError::Panicked
        | AskError::Quarantined
        | AskError::Damaged
        | AskError::UnknownKind => false,
    }
}
