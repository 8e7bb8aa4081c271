//! Projections: read models that follow the journal, for what no single entity can answer.
//!
//! They are in memory only, made of entities and never the other way round: what is shown here may be
//! a moment old, and nothing is decided on it. So a listing may lag (well below a second), while what a
//! client was told is done is found by id, slug, SKU, email and number, which entities answer.
//!
//! - Each is a consumer of the feed ([`read_model`]). Records say which entities have changed; each of these is read
//!   once, however often it has changed, and its row is written anew.
//! - When it starts, and when it is built anew, it lists and reads every entity of the kinds that it follows, and then
//!   follows from where the journal was before. What it had is shown until then.
//! - Nobody else writes a row. Who must find what was written just now waits until it is in
//!   ([`Projections::caught_up`]).
//!
//! What a crash leaves: nothing. A new process reads everything again, and [`Projections::is_complete`] says
//! when it has: until then the node is not ready.

pub mod catalogue;
mod left_out;
pub mod orders;
mod read_model;
pub mod stock;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use super::feed::{Consumer, Feed};
use super::runtime::client::Client;
use super::values::JournalPosition;
use crate::metrics::Metrics;
use crate::persistence::Journal;

use catalogue::Catalogue;
use orders::Orders;
use read_model::{ReadModel, Rows};
use stock::Stock;

/// Rows of a read model that a list looks at under one hold of its lock: well below a millisecond.
const ROWS_AT_ONCE: usize = 1_024;

/// The read models of a node, and the feed that they follow.
pub struct Projections {
    pub catalogue: Arc<Catalogue>,
    pub stock: Arc<Stock>,
    pub orders: Arc<Orders>,
    pub feed: Arc<Feed>,
    complete: Vec<watch::Receiver<bool>>,
}

/// A read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Products and categories.
    Catalogue,
    /// What SKUs cost and have.
    Stock,
    Orders,
}

impl Model {
    /// As its consumer is named.
    const fn name(self) -> &'static str {
        match self {
            Model::Catalogue => Catalogue::NAME,
            Model::Stock => Stock::NAME,
            Model::Orders => Orders::NAME,
        }
    }
}

impl Projections {
    /// Read models that know nothing yet. The feed may be handed commits at once; it runs once it is started.
    pub fn new(client: &Client, journal: &Arc<dyn Journal>, metrics: &Arc<Metrics>) -> Projections {
        let catalogue = ReadModel::<Catalogue>::new(client, journal, metrics);
        let stock = ReadModel::<Stock>::new(client, journal, metrics);
        let orders = ReadModel::<Orders>::new(client, journal, metrics);
        Projections {
            catalogue: catalogue.rows.clone(),
            stock: stock.rows.clone(),
            orders: orders.rows.clone(),
            complete: vec![catalogue.is_complete(), stock.is_complete(), orders.is_complete()],
            feed: {
                let consumers: Vec<Arc<dyn Consumer>> = vec![Arc::new(catalogue), Arc::new(stock), Arc::new(orders)];
                Feed::new(journal.clone(), metrics.clone(), consumers)
            },
        }
    }

    /// Whether every entity that there was at the start has been read.
    pub fn is_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete.borrow())
    }

    /// Returns when [`Projections::is_complete`] is true.
    pub async fn completed(&self) {
        for complete in &self.complete {
            // An error means that the model is gone with its feed: nobody will complete it.
            let _ = complete.clone().wait_for(|complete| *complete).await;
        }
    }

    /// Waits until a read model has everything that this node knew to be durable when this was called, and what stands at
    /// these positions. `false`: it has not, because it does not run now or because `within` has passed.
    pub async fn caught_up(&self, model: Model, positions: &[JournalPosition], within: Duration) -> bool {
        let Some(consumer) = self.feed.consumer(model.name()) else { return false };
        let reached = positions.iter().map(|at| self.feed.reached(consumer, at.slot, at.seq, within));
        let (caught_up, reached) = tokio::join!(consumer.caught_up(within), join_all(reached));
        caught_up && reached.into_iter().all(|reached| reached)
    }
}
