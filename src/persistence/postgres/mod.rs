//! The journal and the node list in PostgreSQL: the store of a cluster.
//!
//! A group commit is one statement over all its slots ([`append`], [`statement`]): it locks each slot's row,
//! compares owner, epoch, sequence and versions under that lock, and writes what holds. The lock is the fence:
//! a change of owner ([`ownership`]) needs the same one. So a slot's part of a batch is there when the slot
//! was taken, or it never will be; a connection that was lost settles nothing, and a claim does.
//!
//! | table | what | key |
//! | --- | --- | --- |
//! | `souk_slots` | owner, epoch, end of the records | slot |
//! | `souk_records` | every record, as souk's own bytes | slot, sequence; and slot, entity, version, sequence |
//! | `souk_entities` | which entities there are | kind, id |
//! | `souk_receipts` | which record answers a request | slot, kind, id, request |
//! | `souk_owed`, `souk_wakes` | the indexes by time | slot, due, kind, id |
//! | `souk_snapshots` | the newest snapshot of each entity | slot, kind, id |
//! | `souk_nodes` | the node list | id |
//! | `souk_meta` | version of the tables, number of slots | |
//!
//! A crash, of the server's or of ours, leaves whole transactions: nothing to repair. The server must be one
//! that keeps what it acknowledges; that much is asked for at opening and in every session ([`connect`]).
//!
//! Nothing here needs an extension, a notification, an advisory lock or a sequence of the database's.

mod append;
mod connect;
mod failure;
mod members;
mod ownership;
mod plan;
mod reads;
mod schema;
mod settings;
mod statement;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;

use self::connect::{Address, Pools};
use self::failure::Failure;
use self::ownership::Change;
pub use self::settings::{PostgresSettings, SslMode};
use super::gather::Gatherer;
use super::{
    Batch, EntityKey, Epoch, History, Journal, Membership, NodeRow, OwedRow, Record, Refusal, RequestBytes, Slot,
    SlotHead, StoreError, WakeRow,
};

/// How a store is opened.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST/DATABASE?...`
    pub url: String,
    /// Number of slots: fixed when the store is created. `None`: as many as it has, and nothing is created.
    pub slots: Option<Slot>,
    pub settings: PostgresSettings,
}

/// A client of the store.
pub struct PostgresStore {
    slots: Slot,
    pools: Arc<Pools>,
    appends: Gatherer,
}

/// What a server must say of itself. (Whether it keeps what it acknowledges is asked of every session: [`connect`].)
const SERVER: &str = "select current_setting('server_encoding', true)";

impl PostgresStore {
    /// Connects, and brings the tables to this version. `Unavailable` when the server cannot be reached now.
    pub async fn open(options: PostgresOptions) -> Result<PostgresStore, StoreError> {
        let PostgresOptions { url, slots, settings } = options;
        let address = Address::parse(&url, &settings.tls())
            .map_err(|why| StoreError::Fatal(format!("the store's address is malformed: {why}")))?;
        let pools = Arc::new(Pools::new(&address, &settings)?);
        let mut client = pools.reads.lend().await.map_err(|failure| match failure {
            Failure::Unfit(why) => StoreError::Fatal(why),
            other => other.of_a_read(),
        })?;
        let said = client.query(SERVER, &[]).await.map_err(Failure::of_a_read)?;
        let encoding = said.first().and_then(|row| row.get::<_, Option<&str>>(0));
        if encoding.is_some_and(|encoding| encoding != "UTF8") {
            return Err(StoreError::Fatal("the database's encoding must be UTF8".into()));
        }
        let slots = schema::migrate(client.client().map_err(Failure::of_a_read)?, slots).await?;
        drop(client);
        let appending = pools.clone();
        let appends = Gatherer::start(move |batch| {
            let pools = appending.clone();
            async move { append::append(&pools, batch).await }
        });
        Ok(PostgresStore { slots, pools, appends })
    }
}

#[async_trait]
impl Journal for PostgresStore {
    fn slots(&self) -> Slot {
        self.slots
    }

    async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        self.appends.append(batch).await
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        self.pools.load(slot, key).await
    }

    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.pools.records(slot, key, after_seq, limit).await
    }

    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        self.pools.find_receipt(slot, key, request).await
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.pools.feed(slot, after_seq, limit).await
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        self.pools.owed(slot, after, limit).await
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        self.pools.wakes(slot, after, limit).await
    }

    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        self.pools.entities(kind, after, limit).await
    }

    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        self.pools.heads().await
    }

    async fn head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        self.pools.head(slot).await
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        ownership::change(&self.pools, &Change { to: owner, from: None }, slots).await
    }

    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        self.pools.prune_receipts(now_ms, limit).await
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        self.pools.drop_snapshots().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.pools.close();
        Ok(())
    }
}

#[async_trait]
impl Membership for PostgresStore {
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        members::join(&self.pools, node).await
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        members::renew(&self.pools, node).await
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        members::leave(&self.pools, id).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        members::nodes(&self.pools).await
    }

    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        ownership::change(&self.pools, &Change { to, from: Some(from) }, slots).await
    }
}
