//! The journal in an embedded key-value store, sled or fjall: a single node's.
//!
//! What must be durable is one thing only, the **log** ([`log`]): each group commit appends its records as
//! one or a few values of a few KB, and is made durable before anybody is answered ([`disk`],
//! [`committer`]). Everything else is derived from the log: where an entity's and a slot's records lie, who
//! owes something or wants to be woken, which receipts there are ([`entry`]). Recent changes of that index
//! are in memory ([`memtable`]); in the background they are written down as sorted runs ([`run`],
//! [`checkpoint`]), which the manifest names ([`manifest`]) together with the part of the log that they
//! cover. Opening a store reads the manifest and replays what came after. Reads merge memory and runs
//! ([`index`]); entities and receipts that do not exist are told apart in memory, without a read.
//!
//! The key-value store ([`engine`]) is a crash-safe place for values under keys:
//!
//! | prefix | what | written |
//! | --- | --- | --- |
//! | `L` | parts of the log | with each commit, durable before the answer |
//! | `I` `J` | blocks and footers of runs | in the background |
//! | `S` | snapshots | after the records that they summarise |
//! | `N` `W` | the node list, the wishes of operators ([`members`]) | with each commit, durable before the answer |
//! | `M` | meta record (slots), manifest | at creation, with each checkpoint |
//!
//! A crash at any moment leaves: the log up to some commit that includes every answered one; perhaps
//! blocks of a run that no manifest names, which are removed at opening; perhaps an incomplete snapshot,
//! which is passed over. A log that ends sooner is damage, which the [`witness`] tells from a crash. Any error of
//! the engine's or of an fsync ends the store until it is opened again.

mod block;
mod checkpoint;
mod committer;
mod disk;
pub mod engine;
mod entry;
mod index;
mod log;
mod manifest;
mod members;
mod memtable;
mod merge;
mod options;
mod recovery;
mod rows;
mod run;
mod snapshots;
#[cfg(test)]
mod tests;
mod witness;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use self::checkpoint::Checkpointer;
use self::committer::{Answer, Committer, Job};
use self::index::{Index, Layers, Presence};
use self::members::{Change, Changed};
pub use self::options::{EmbeddedOptions, EmbeddedSettings, EngineKind, FjallSettings, SledSettings};
use super::membership::owners;
use super::{
    Batch, EntityKey, Epoch, History, Journal, Membership, NodeRow, OwedRow, Record, Refusal, RequestBytes, Slot,
    SlotHead, StoreError, Subject, Tables, WakeRow, WishRow,
};

/// Jobs that wait for the committer. Each is a whole group of a caller; there are few callers.
const JOBS_MAX: usize = 256;

/// A store in a directory. Dropped without [`Journal::close`] it is released as well, and replays more
/// when it is opened again.
pub struct EmbeddedJournal {
    index: Arc<Index>,
    slots: Slot,
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<Job>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedJournal {
    /// Opens the store in `dir`, or creates it. Blocks until the log is replayed.
    pub fn open(dir: &Path, options: EmbeddedOptions) -> Result<EmbeddedJournal, StoreError> {
        let recovered = guarded(dir, &options, || recovery::recover(dir, &options))?;
        let index = Arc::new(recovered.index);
        let checkpointer = Checkpointer::new(index.clone(), &recovered.manifest);
        let checkpointer = spawn("souk-checkpoint", move || checkpointer.run())?;
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let records = options.embedded.checkpoint_records.max(1);
        let committer = Committer::new(index.clone(), queue, checkpointer, recovered.last_part, records);
        let committer = spawn("souk-commit", move || committer.run())?;
        Ok(EmbeddedJournal { index, slots: options.slots, jobs: Some(jobs), committer: Mutex::new(Some(committer)) })
    }

    /// Gives the committer a job and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, StoreError> {
        let gone = || self.index.disk.check().err().unwrap_or_else(|| StoreError::Fatal("the store is closed".into()));
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    async fn change(&self, change: Change) -> Result<Result<Changed, Refusal>, StoreError> {
        self.ask(|answer| Job::Member { change, answer }).await
    }

    /// Reads from the disk, off the async threads: a page that is not cached stalls its reader.
    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Index) -> Result<T, StoreError> + Send + 'static,
    {
        let index = self.index.clone();
        match tokio::task::spawn_blocking(move || read(&index)).await {
            Ok(found) => found,
            Err(error) if error.is_cancelled() => Err(StoreError::Unavailable("the process is stopping".into())),
            Err(error) => Err(StoreError::Fatal(format!("a read has panicked: {error}"))),
        }
    }
}

/// With how many slots the store in `dir` was created; `None`: there is none, and nothing was touched.
pub fn slots_of(dir: &Path, options: &EmbeddedOptions) -> Result<Option<Slot>, StoreError> {
    guarded(dir, options, || disk::slots_of(dir, options))
}

/// Engines meet much of what is damaged with a failed assertion.
fn guarded<T>(
    dir: &Path,
    options: &EmbeddedOptions,
    open: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        Err(engine::nonsense(dir, options.engine, text))
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| StoreError::Fatal(format!("cannot start the thread {name}: {error}")))
}

impl Drop for EmbeddedJournal {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(committer) = self.committer.lock().take() {
            // When it has panicked the store has already said so.
            let _ = committer.join();
        }
    }
}

#[async_trait]
impl Journal for EmbeddedJournal {
    fn slots(&self) -> Slot {
        self.slots
    }

    async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        self.ask(|answer| Job::Append { batch, answer }).await
    }

    fn has_nothing(&self, _slot: Slot, key: &EntityKey) -> bool {
        self.index.disk.check().is_ok() && matches!(self.index.presence(key), Presence::Absent)
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        self.index.disk.check()?;
        match self.index.presence(key) {
            Presence::Absent => Ok(History::default()),
            Presence::Likely => {
                let key = key.clone();
                self.read(move |index| index.load(slot, &key)).await
            }
        }
    }

    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let key = key.clone();
        self.read(move |index| index.records(slot, &key, after_seq, limit)).await
    }

    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        self.index.disk.check()?;
        if self.index.has_no_receipt(key, request) {
            return Ok(None);
        }
        let (key, request) = (key.clone(), *request);
        self.read(move |index| index.find_receipt(slot, &key, &request)).await
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.read(move |index| index.feed(slot, after_seq, limit)).await
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        self.read(move |index| index.owed(slot, after, limit)).await
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        self.read(move |index| index.wakes(slot, after, limit)).await
    }

    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        let after = after.map(str::to_owned);
        self.read(move |index| index.ids(kind, after.as_deref(), limit)).await
    }

    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        self.index.disk.check()?;
        Ok(self.index.layers.read().heads.clone())
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let (owner, slots) = (owner.to_owned(), slots.to_vec());
        self.ask(|answer| Job::Claim { from: None, owner, slots, answer }).await
    }

    /// Forgets by a line in time: nothing is deleted at once, so the answer is 0. What is behind the line
    /// goes when runs are merged.
    async fn prune_receipts(&self, now_ms: i64, _limit: usize) -> Result<usize, StoreError> {
        self.ask(|answer| Job::Forget { before_ms: now_ms, answer }).await?;
        Ok(0)
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        self.ask(|answer| Job::DropSnapshots { answer }).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.ask(|answer| Job::Close { answer }).await
    }
}

#[async_trait]
impl Membership for EmbeddedJournal {
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.change(Change::Join(node.clone())).await?.map(drop))
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        Ok(self.change(Change::Renew(node.clone())).await?.map(|_| node.lease + 1))
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.change(Change::Leave(id.to_owned())).await?.map(drop))
    }

    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.change(Change::Forget { id: id.to_owned(), lease }).await?.map(drop))
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.index.disk.check()?;
        Ok(self.index.layers.read().members.nodes.rows())
    }

    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.change(Change::Wish(row.clone())).await?.map(drop))
    }

    async fn unwish(&self, of: &Subject) -> Result<(), StoreError> {
        let done = self.change(Change::Unwish(of.clone())).await?.map(drop);
        done.map_err(|refusal| StoreError::Fatal(format!("the wish for {of:?} does not go: {refusal}")))
    }

    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        self.index.disk.check()?;
        Ok(self.index.layers.read().members.wishes.rows())
    }

    async fn tables(&self) -> Result<Tables, StoreError> {
        self.index.disk.check()?;
        let Layers { heads, members, .. } = &*self.index.layers.read();
        Ok(Tables { slots: owners(heads), nodes: members.nodes.rows(), wishes: members.wishes.rows() })
    }

    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let (from, owner, slots) = (Some(from.to_owned()), to.to_owned(), slots.to_vec());
        self.ask(|answer| Job::Claim { from, owner, slots, answer }).await
    }
}
