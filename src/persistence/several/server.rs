//! One of the servers, and whether it answers.
//!
//! A server that does not answer would hold up whoever asks it for as long as its limits are: the writer, which has one
//! batch on its way for all servers, most of all. So once an append, a change of owner or a reading of the table has had
//! no answer, everything that is asked of it fails at once; now and then one asker is let through to find out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::decorator::Handed;
use super::super::membership::{SlotOwner, owners};
use super::super::postgres::PlaceMap;
use super::super::{Epoch, Slot, SlotHead, Store, StoreError, Tables};

/// How often a server that does not answer is tried.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// A store that has a part of the slots. What concerns a slot that it has not is `Unavailable`, also what only reads.
#[async_trait]
pub trait Part: Store {
    /// A claim (`from`: none) or a transfer to a node of which is known that it may have slots: the part has no node list.
    async fn hand(&self, from: Option<&str>, to: &str, slots: &[(Slot, Epoch)]) -> Handed;

    /// Who owns each slot, cheaply. Of a slot that is not here nobody does, at epoch 0.
    async fn slot_owners(&self) -> Result<Vec<SlotOwner>, StoreError> {
        Ok(owners(&self.heads().await?))
    }

    /// Of each slot the head, if it is here.
    async fn slot_heads(&self) -> Result<Vec<Option<SlotHead>>, StoreError> {
        Ok(self.heads().await?.into_iter().map(Some).collect())
    }

    /// Of the first server: the tables, and how often its map has changed.
    async fn tables_and_map(&self) -> Result<(Tables, u64), StoreError> {
        Ok((self.tables().await?, 0))
    }

    /// Of the first server: the map.
    async fn map(&self) -> Result<PlaceMap, StoreError> {
        Err(StoreError::Unavailable("the map is as it was".to_owned()))
    }
}

/// A part, and what is known of it.
#[derive(Clone)]
pub struct Server {
    pub part: Arc<dyn Part>,
    health: Arc<Mutex<Health>>,
}

#[derive(Default)]
struct Health {
    /// It has not answered; who asks after this may try.
    silent_until: Option<Instant>,
    /// What it has not answered.
    why: String,
}

impl Server {
    pub fn new(part: Arc<dyn Part>) -> Server {
        Server { part, health: Arc::default() }
    }

    /// Asks for what only reads, if the server answers.
    pub async fn read<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.may_ask()?;
        let answer = work.await;
        if answer.is_ok() {
            self.answers();
        }
        answer
    }

    /// Asks for what has connections of its own: that it has no answer means that the server has none.
    pub async fn ask<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.may_ask()?;
        let answer = work.await;
        match &answer {
            Err(StoreError::Unavailable(why) | StoreError::Unknown(why)) => self.is_silent(why),
            Ok(_) | Err(StoreError::Damaged(_) | StoreError::Fatal(_)) => self.answers(),
        }
        answer
    }

    pub fn is_silent(&self, why: &str) {
        let mut health = self.health.lock();
        if health.silent_until.is_none() {
            tracing::warn!(why, "one of the store's servers does not answer: its slots wait for it");
        }
        *health = Health { silent_until: Some(Instant::now() + TRY_EVERY), why: why.to_owned() };
    }

    fn answers(&self) {
        let mut health = self.health.lock();
        if health.silent_until.take().is_some() {
            tracing::info!("one of the store's servers answers again");
        }
    }

    /// One asker at a time finds out.
    fn may_ask(&self) -> Result<(), StoreError> {
        let mut health = self.health.lock();
        match health.silent_until {
            Some(until) if Instant::now() < until => Err(StoreError::Unavailable(health.why.clone())),
            Some(_) => {
                health.silent_until = Some(Instant::now() + TRY_EVERY);
                Ok(())
            }
            None => Ok(()),
        }
    }
}
