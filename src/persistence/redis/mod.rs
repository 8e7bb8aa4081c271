//! The journal in Redis, for small clusters and for those who run Redis already.
//!
//! Slots are kept in 16 groups: slot 23 in group 7. All keys of a group share one hash tag, `{g:7}`, so that one script
//! is one atomic step on them, in a Redis Cluster too. The group itself, `souk:{g:7}`, is a hash with nearly
//! everything, because one command with many fields is what Redis does best:
//!
//! | field | what |
//! | --- | --- |
//! | `hSLOT` | a slot's epoch, last sequence and owner: `3:120:node-1` |
//! | `lSLOT:SEQ` | a record, as its frame. Sequences have no gaps, so nothing need order them |
//! | `vSLOT:ENTITY` | an entity's version, if it is not 0 |
//! | `rSLOT:NAME` | a receipt: the sequence of its record, and a client's the span of time that it expires in |
//! | `dSLOT:ENTITY` | what an entity owes |
//!
//! Beside it, under `souk:{g:7}:SLOT:`, lie what has an order, and what is not written with every commit:
//!
//! | key | what |
//! | --- | --- |
//! | `e:ENTITY` | sequences of an entity's records, 8 bytes each |
//! | `i` | the entities in the order of their keys |
//! | `x`, `x:SPAN` | spans of time in which clients' receipts expire, and the names of those, a list |
//! | `q` | receipts of owed requests by entity, sender, number |
//! | `o`, `w` | who owes, and who wants to be woken, by (due, entity) |
//! | `p`, `n` | snapshots and the sequences that they were taken at, hashes |
//!
//! What has an order is in sorted sets of equal scores, whose members are bytes that are ordered as they should be.
//! `souk:{nodes}` is the node list, `souk:{nodes}:wishes` has the wishes of operators, `souk:{store}` says what store this
//! is.
//!
//! A group commit is one call of a script ([`appending`]) with all its slots; in a Redis Cluster one call for each
//! group. (One call and no pipeline of calls: a server that syncs always syncs between any two calls that
//! do not arrive in one read of 16 KB.) The server runs one script at a time, so comparing and writing are one
//! step, and it answers nobody before what was written is synced: what is read is durable. An append
//! that comes after a change of owner finds another epoch and writes nothing, however long it was on its way.
//!
//! What a crash leaves behind: a script's writes are one transaction in the append-only file, there as a whole
//! or not at all. What a fail-over to a replica loses nobody knows: see `docs/stores.md`.
//!
//! Architecture invariant: nothing here reads a clock of the server, and no key expires.

mod address;
mod appending;
mod connection;
mod guard;
mod keys;
mod link;
mod ownership;
mod parts;
mod reads;
mod scripts;
mod tls;
mod values;
mod wishes;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::appending::Appending;
use self::connection::Trouble;
use self::keys::{Keys, SNAPSHOT_SEQS, SNAPSHOTS};
use self::link::{Link, Terms};
use self::scripts::Name;
use super::gather::Gatherer;
use super::tls::{Files, named};
use super::{
    Batch, EntityKey, Epoch, History, Journal, OwedRow, Record, Refusal, RequestBytes, Slot, SlotHead, StoreError,
    WakeRow,
};

/// The layout that is described above. A store of another one is refused.
const FORMAT: u64 = 2;

/// How a store is opened.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[[user]:password@]host[:port][/database][?prefix=souk&nodes=host:port,...]`, or `rediss://...` for TLS.
    pub url: String,
    /// Of a new store; of one that is there it must be the same. `None`: as many as it has, and it must be there.
    pub slots: Option<Slot>,
    pub settings: RedisSettings,
}

/// The section `store.redis` of `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct RedisSettings {
    /// Go on with servers that may lose what they acknowledge, or do not say.
    pub accept_loss: bool,
    /// How long making a connection may take.
    pub connect_ms: u64,
    /// How long an answer may take. Then the outcome is unknown.
    pub answer_ms: u64,
    /// Empty: the usual authorities.
    pub root_cert_file: PathBuf,
    pub client_cert_file: PathBuf,
    pub client_key_file: PathBuf,
}

impl RedisSettings {
    fn files(&self) -> Files {
        Files {
            root_cert_file: named(&self.root_cert_file),
            client_cert_file: named(&self.client_cert_file),
            client_key_file: named(&self.client_key_file),
        }
    }
}

/// A handle on a store in Redis: three connections, so that no long read stands before a commit or before the
/// renewal of a lease.
pub struct RedisStore {
    slots: Slot,
    keys: Keys,
    appending: Arc<Appending>,
    gatherer: Gatherer,
    reads: Link,
    /// Who the nodes are, and who owns what.
    members: Link,
}

impl RedisStore {
    /// Opens the store, and founds it where there is none.
    pub async fn open(options: RedisOptions) -> Result<RedisStore, StoreError> {
        let RedisOptions { url, slots, settings } = options;
        let address = address::parse(&url).map_err(StoreError::Fatal)?;
        let files = settings.files();
        // Who names authorities believes that the connection is protected.
        if !address.is_tls && files != Files::default() {
            return Err(StoreError::Fatal("there are files for TLS, and the address does not say rediss://".into()));
        }
        let terms = Terms {
            connect: Duration::from_millis(settings.connect_ms),
            answer: Duration::from_millis(settings.answer_ms),
            accept_loss: settings.accept_loss,
            certificates: if address.is_tls { Some(tls::read(&files)?) } else { None },
        };
        let keys = Keys::new(&address.prefix);
        let link = Link::new(address, terms);
        let (reads, members) = (link.another(), link.another());
        let slots = found(&reads, &keys, slots).await.map_err(|trouble| match trouble {
            Trouble::Unfit(why) | Trouble::Failed(why) => StoreError::Fatal(why),
            Trouble::Refused(why) | Trouble::Lost(why) => StoreError::Unavailable(why),
        })?;
        let appending = Arc::new(Appending { slots, keys: keys.clone(), link });
        let commits = appending.clone();
        let gatherer = Gatherer::start(move |batch| {
            let commits = commits.clone();
            async move { commits.append(batch).await }
        });
        Ok(RedisStore { slots, keys, appending, gatherer, reads, members })
    }
}

/// Compares what the store is with what it should be; a new one becomes that. The answer is its number of slots.
async fn found(link: &Link, keys: &Keys, wanted: Option<Slot>) -> Result<Slot, Trouble> {
    let odd = |error: StoreError| Trouble::Failed(error.to_string());
    let mut ask = match wanted {
        Some(_) => scripts::call(Name::Found, 1),
        None => redis::cmd("HMGET"),
    };
    ask.arg(keys.store());
    match wanted {
        Some(slots) => ask.arg(FORMAT).arg(slots),
        None => ask.arg("format").arg("slots"),
    };
    let [format, slots] = values::fields(link.ask(ask).await?).map_err(odd)?;
    let (format, slots): (u64, Slot) = (values::number(format).map_err(odd)?, values::number(slots).map_err(odd)?);
    match (format, wanted) {
        (0, None) => Err(Trouble::Unfit("there is no store in this Redis".to_owned())),
        (FORMAT, Some(wanted)) if wanted != slots => Err(Trouble::Unfit(format!(
            "the store was created with {slots} slots, and the configuration says {wanted}"
        ))),
        (FORMAT, _) => Ok(slots),
        (other, _) => Err(Trouble::Unfit(format!("the store has layout {other}, and this souk reads {FORMAT}"))),
    }
}

#[async_trait]
impl Journal for RedisStore {
    fn slots(&self) -> Slot {
        self.slots
    }

    async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        self.gatherer.append(batch).await
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        self.history(slot, key).await
    }

    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.records_of(slot, key, after_seq, limit).await
    }

    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        self.receipt(slot, key, request).await
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.log(slot, after_seq, limit).await
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        self.owed_rows(slot, after, limit).await
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        self.wake_rows(slot, after, limit).await
    }

    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        self.ids(kind, after, limit).await
    }

    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        self.all_heads().await
    }

    async fn head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        self.one_head(slot).await
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let may_claim = self.may_claim(owner).await?;
        self.hand(None, owner, slots, may_claim).await
    }

    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        self.prune(now_ms, limit).await
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        let drop = |slot: Slot| {
            let keys = [SNAPSHOTS, SNAPSHOT_SEQS].map(|of| self.keys.beside(slot, of));
            redis::cmd("UNLINK").arg(&keys).to_owned()
        };
        let commands: Vec<redis::Cmd> = (0..self.slots).map(drop).collect();
        self.reads.read_all(&commands).await.map(|_| ())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.appending.link.close().await;
        self.reads.close().await;
        self.members.close().await;
        Ok(())
    }
}
