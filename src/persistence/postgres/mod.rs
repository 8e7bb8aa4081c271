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
//! | `souk_wishes` | what operators want of nodes and slots | node or slot |
//! | `souk_server`, `souk_servers`, `souk_places` | what belongs where, if the store lies on several servers ([`places`]) | |
//! | `souk_moves` | slots that come to the server, or have left it ([`moving`]) | slot |
//! | `souk_meta` | version of the tables, number of slots | |
//!
//! A crash, of the server's or of ours, leaves whole transactions: nothing to repair. The server must be one
//! that keeps what it acknowledges; that much is asked for at opening and in every session ([`connect`]).
//!
//! Nothing here needs an extension, a notification, an advisory lock or a sequence of the database's. (A mover of slots takes
//! a lock of that kind where there is one, and is safe without.)

mod append;
mod connect;
mod failure;
mod members;
mod moving;
mod ownership;
mod places;
mod plan;
mod reads;
mod schema;
mod settings;
mod statement;
#[cfg(test)]
mod tests;
mod tls;
mod wishes;

use std::sync::Arc;

use async_trait::async_trait;

use self::connect::{Address, Pools};
use self::failure::Failure;
pub(super) use self::moving::{Moving, Standing, Table};
use self::ownership::Change;
use self::places::Identity;
pub use self::places::PlaceMap;
pub use self::places::SERVERS_MAX;
use self::reads::not_here;
pub use self::settings::{PostgresSettings, SslMode};
use super::address::without_secrets;
use super::decorator::Handed;
use super::gather::Gatherer;
use super::membership::SlotOwner;
use super::{
    Batch, EntityKey, Epoch, History, Journal, Membership, NodeRow, OwedRow, Record, Refusal, RequestBytes, Slot,
    SlotHead, StoreError, Subject, Tables, WakeRow, WishRow,
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
    /// For people: without secrets.
    address: String,
}

/// What a server must say of itself. (Whether it keeps what it acknowledges is asked of every session: [`connect`].)
const SERVER: &str = "select current_setting('server_encoding', true)";

impl PostgresStore {
    /// Connects, and brings the tables to this version. `Unavailable` when the server cannot be reached now.
    pub async fn open(options: PostgresOptions) -> Result<PostgresStore, StoreError> {
        let store = PostgresStore::open_part(options).await?;
        if places::is_part(&store.pools).await? {
            let why = "it has a part of a store that lies on several servers: name all of them (store.urls)";
            return Err(StoreError::Fatal(format!("{}: {why}", store.address)));
        }
        Ok(store)
    }

    /// The same of a server that need not have the whole store.
    pub(super) async fn open_part(options: PostgresOptions) -> Result<PostgresStore, StoreError> {
        let PostgresOptions { url, slots, settings } = options;
        let shown = without_secrets(&url);
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
            async move { append::append(&pools, slots, batch).await }
        });
        Ok(PostgresStore { slots, pools, appends, address: shown })
    }

    /// Which server of a store on several this is, if it is one.
    pub(super) async fn identity(&self) -> Result<Option<Identity>, StoreError> {
        places::identity(&self.pools).await
    }

    /// See [`places::found`].
    pub(super) async fn found_several(&self, name: &str) -> Result<Identity, StoreError> {
        places::found(&self.pools, name, &self.address).await
    }

    /// See [`places::enter`].
    pub(super) async fn enter_several(&self, store: &str, other: &PostgresStore) -> Result<Identity, StoreError> {
        places::enter(&self.pools, store, &other.pools, &other.address).await
    }

    /// See [`places::places`].
    pub(super) async fn places(&self, numbers: &[i32]) -> Result<PlaceMap, StoreError> {
        places::places(&self.pools, self.slots, numbers).await
    }

    /// What it does in a move of slots.
    pub(super) fn moving(&self) -> Moving<'_> {
        Moving(&self.pools)
    }

    /// See [`places::map`].
    pub(super) async fn map(&self) -> Result<PlaceMap, StoreError> {
        places::map(&self.pools, self.slots).await
    }

    /// A change of owner that was judged by a list elsewhere.
    pub(super) async fn hand_judged(&self, from: Option<&str>, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        ownership::change(&self.pools, self.slots, &Change { to, from, is_judged: true }, slots).await
    }

    /// The slots that are here.
    pub(super) async fn slot_heads(&self) -> Result<Vec<Option<SlotHead>>, StoreError> {
        self.pools.heads(self.slots).await
    }

    /// See [`wishes::tables`].
    pub(super) async fn tables_and_map(&self) -> Result<(Tables, u64), StoreError> {
        wishes::tables(&self.pools, self.slots).await
    }

    /// Who owns each slot that is here.
    pub(super) async fn owners(&self) -> Result<Vec<SlotOwner>, StoreError> {
        wishes::owners(&self.pools, self.slots).await
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
        let heads = self.slot_heads().await?;
        let here = (0..).zip(heads).map(|(slot, head)| head.ok_or_else(|| StoreError::Unavailable(not_here(slot))));
        here.collect()
    }

    async fn head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        match self.pools.head(slot).await? {
            None if slot < self.slots => Err(StoreError::Unavailable(not_here(slot))),
            head => Ok(head.unwrap_or_default()),
        }
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        ownership::change(&self.pools, self.slots, &Change { to: owner, from: None, is_judged: false }, slots).await
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

    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        members::forget(&self.pools, id, lease).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        members::nodes(&self.pools).await
    }

    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        wishes::wish(&self.pools, self.slots, row).await
    }

    async fn unwish(&self, of: &Subject) -> Result<(), StoreError> {
        wishes::unwish(&self.pools, of).await
    }

    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        wishes::wishes(&self.pools).await
    }

    async fn tables(&self) -> Result<Tables, StoreError> {
        Ok(self.tables_and_map().await?.0)
    }

    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        ownership::change(&self.pools, self.slots, &Change { to, from: Some(from), is_judged: false }, slots).await
    }
}
