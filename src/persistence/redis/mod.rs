//! The journal in Redis, for small clusters and for those who run Redis already.
//!
//! All keys of a slot share one hash tag, `{s:7}`, so that one script is one atomic step on them, in a Redis
//! Cluster too. Beside a slot's head, `souk:{s:7}` (a hash: owner, epoch, last sequence and its time, number of
//! the last call), lie
//!
//! | key | what |
//! | --- | --- |
//! | `:l` | the log: a stream, the record with sequence n under the id `n-0`, as its frame |
//! | `:e:ENTITY` | sequences of an entity's records, a sorted set |
//! | `:v` | versions of entities, a hash; `:i` the entities in the order of their keys |
//! | `:r` | receipts: name to sequence, a hash; `:x` clients' by expiry; `:q` owed ones by entity, sender, number |
//! | `:o`, `:d` | who owes by (due, entity), and what, a hash; `:w` wakes by (due, entity) |
//! | `:p`, `:n` | snapshots and the sequences that they were taken at, hashes |
//!
//! Ordered things are sorted sets of equal scores, whose members are bytes that are ordered as they should be.
//! `souk:{nodes}` is the node list, `souk:{store}` says what store this is.
//!
//! A group commit is one call of a script ([`append`]) with all its slots; in a Redis Cluster one call for each
//! slot. (One call and no pipeline of calls: a server that syncs always syncs between any two calls that
//! do not arrive in one read of 16 KB.) The server runs one script at a time, so comparing and writing are one
//! step, and it answers nobody before what was written is synced: what is read is durable. An append
//! that comes after a change of owner finds another epoch and writes nothing, however long it was on its way.
//!
//! What a crash leaves behind: a script's writes are one transaction in the append-only file, there as a whole
//! or not at all. What a fail-over to a replica loses nobody knows: see `docs/stores.md`.
//!
//! Architecture invariant: nothing here reads a clock of the server, and no key expires.

mod address;
mod append;
mod guard;
mod keys;
mod link;
mod ownership;
mod reads;
mod scripts;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use self::keys::{Keys, SNAPSHOT_SEQS, SNAPSHOTS};
use self::link::{Link, Terms, Trouble};
use self::scripts::Name;
use super::{
    Batch, EntityKey, Epoch, History, Journal, OwedRow, Record, Refusal, RequestBytes, Slot, SlotHead, StoreError,
    WakeRow,
};

/// The layout that is described above. A store of a later one is refused.
const FORMAT: u64 = 1;

/// How a store is opened.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[[user]:password@]host[:port][/database][?prefix=souk&nodes=host:port,...]`.
    pub url: String,
    /// Of a new store; of one that is there it must be the same. `None`: as many as it has, and it must be there.
    pub slots: Option<Slot>,
    /// Go on with servers that may lose what they acknowledge, or do not say.
    pub accept_loss: bool,
    /// How long an answer may take. Then the outcome is unknown.
    pub answer_ms: u64,
}

impl RedisOptions {
    pub fn new(url: &str, slots: Slot) -> RedisOptions {
        RedisOptions { url: url.to_owned(), slots: Some(slots), accept_loss: false, answer_ms: 3_000 }
    }
}

/// A handle on a store in Redis: two connections, so that no long read stands before a commit.
pub struct RedisStore {
    slots: Slot,
    keys: Keys,
    appends: Link,
    reads: Link,
}

impl RedisStore {
    /// Opens the store, and founds it where there is none.
    pub async fn open(options: RedisOptions) -> Result<RedisStore, StoreError> {
        let address = address::parse(&options.url).map_err(StoreError::Fatal)?;
        let terms = Terms { answer: Duration::from_millis(options.answer_ms), accept_loss: options.accept_loss };
        let keys = Keys::new(&address.prefix);
        let appends = Link::new(address.clone(), terms.clone());
        let reads = Link::new(address, terms);
        let slots = found(&reads, &keys, options.slots).await.map_err(|trouble| match trouble {
            Trouble::Unfit(why) | Trouble::Failed(why) => StoreError::Fatal(why),
            Trouble::Refused(why) | Trouble::Lost(why) => StoreError::Unavailable(why),
        })?;
        Ok(RedisStore { slots, keys, appends, reads })
    }

    /// Sends a batch's calls. After a lost connection they are sent again, once: a slot that they were written
    /// to knows the call by its number and says so. Only what is refused then remains unknown, because it may have
    /// been written before whatever it is refused for.
    async fn send(&self, owner: &str, groups: &[append::Group<'_>]) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        let number: [u8; 16] = rand::random();
        let is_cluster = self.appends.is_cluster().await.map_err(Trouble::of_write)?;
        let calls = append::calls(groups, is_cluster);
        let commands: Vec<redis::Cmd> =
            calls.iter().map(|groups| append::command(owner, &number, groups, &self.keys)).collect();
        let sent = Instant::now();
        let first = match self.once(&calls, &commands).await {
            Err(StoreError::Unknown(why)) => why,
            settled => return settled,
        };
        if sent.elapsed() > self.appends.patience() {
            return Err(StoreError::Unknown(first));
        }
        match self.once(&calls, &commands).await {
            Ok(refused) if refused.is_empty() => Ok(refused),
            Err(error @ (StoreError::Fatal(_) | StoreError::Damaged(_))) => Err(error),
            Ok(_) | Err(StoreError::Unknown(_) | StoreError::Unavailable(_)) => Err(StoreError::Unknown(first)),
        }
    }

    async fn once(
        &self,
        calls: &[&[append::Group<'_>]],
        commands: &[redis::Cmd],
    ) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        let answers = self.appends.ask_all(commands).await.map_err(Trouble::of_write)?;
        let all_refused = answers.iter().all(|answer| matches!(answer, Err(Trouble::Refused(_))));
        let mut refused = Vec::new();
        for (groups, answer) in calls.iter().zip(answers) {
            match answer {
                Ok(answer) => refused.extend(append::answers(groups, answer).map_err(Trouble::of_write)?),
                // One machine of several would not: its slots are refused, and the others' are written.
                Err(Trouble::Refused(why)) if !all_refused => refused.extend(append::unavailable(groups, &why)),
                Err(trouble) => return Err(trouble.of_write()),
            }
        }
        Ok(refused)
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
        let (groups, mut refused): (_, BTreeMap<Slot, Refusal>) = append::group(&batch, self.slots);
        if !groups.is_empty() {
            refused.extend(self.send(&batch.owner, &groups).await?);
        }
        Ok(refused.into_iter().collect())
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

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let may_claim = self.known(owner).await?.0.may_claim(owner);
        self.hand(None, owner, slots, may_claim).await
    }

    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        self.prune(now_ms, limit).await
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        let drop = |slot: Slot| {
            let head = self.keys.head(slot);
            redis::cmd("UNLINK").arg(head.clone() + SNAPSHOTS).arg(head + SNAPSHOT_SEQS).to_owned()
        };
        let commands: Vec<redis::Cmd> = (0..self.slots).map(drop).collect();
        self.reads.read_all(&commands).await.map(|_| ())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.appends.close().await;
        self.reads.close().await;
        Ok(())
    }
}
