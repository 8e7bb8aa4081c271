//! The feed over a journal, with consumers that count.

mod following;
mod gated;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

pub use gated::Gated;

use super::{Batch, Consumer, ConsumerError, Feed, Position, Progress};
use crate::actors::runtime::dispatcher::Follower;
use crate::metrics::Metrics;
use crate::persistence::memory::Memory;
use crate::persistence::{self, EntityKey, Epoch, Journal, Payload, Record, Slot};

pub const SLOTS: Slot = 4;
/// Longer than anything here takes, and short enough to tell that it hangs.
pub const LONG: Duration = Duration::from_secs(60);

/// A record of kind 9, which changes an entity that nobody else changes.
pub fn record(slot: Slot, seq: u64, id: &str) -> Record {
    Record {
        slot,
        seq,
        epoch: 1,
        key: EntityKey { kind: 9, id: id.into() },
        version: 1,
        at_ms: 1_700_000_000_000,
        request: [7; 16],
        receipt: None,
        events: vec![Payload { type_number: 0x0901, version: 1, bytes: vec![1, 2, 3] }],
        owed: None,
        wake: None,
    }
}

/// Writes records of a journal, and tells feeds of them as the journal writer does.
pub struct Writer<J> {
    pub journal: Arc<J>,
    heads: Mutex<Vec<(Epoch, u64)>>,
}

impl<J: Journal> Writer<J> {
    /// One that owns every slot.
    pub async fn claim(journal: Arc<J>) -> Writer<J> {
        let heads = journal.heads().await.expect("the heads");
        let slots: Vec<_> = (0..).zip(&heads).map(|(slot, head)| (slot, head.epoch)).collect();
        let claimed = journal.claim("test", &slots).await.expect("claimed");
        let heads = claimed.into_iter().map(|head| head.expect("nobody else claims"));
        let heads = heads.map(|head| (head.epoch, head.seq)).collect();
        Writer { journal, heads: Mutex::new(heads) }
    }

    /// Appends records of these slots and kinds, in one batch. They are durable, and no feed has been told.
    pub async fn append(&self, records: &[(Slot, u8)]) -> Vec<Arc<Record>> {
        let records: Vec<Arc<Record>> = {
            let mut heads = self.heads.lock();
            let next = |(slot, kind): &(Slot, u8)| {
                let (epoch, seq) = &mut heads[usize::from(*slot)];
                *seq += 1;
                let key = EntityKey { kind: *kind, id: format!("{slot}-{seq}").into() };
                Arc::new(Record { epoch: *epoch, key, ..record(*slot, *seq, "") })
            };
            records.iter().map(next).collect()
        };
        let batch = persistence::Batch::of("test", records.clone());
        assert_eq!(self.journal.append(batch).await.expect("appended"), []);
        records
    }

    /// The same, and tells the feed.
    pub async fn write(&self, feed: &Feed, records: &[(Slot, u8)]) {
        feed.committed(&self.append(records).await);
    }

    /// One record of kind 9 in each slot, `times` times.
    pub async fn write_all(&self, feed: &Feed, times: usize) {
        let slots: Vec<_> = (0..self.journal.slots()).map(|slot| (slot, 9)).collect();
        for _ in 0..times {
            self.write(feed, &slots).await;
        }
    }
}

/// Keeps what it has taken and its positions in one place, which outlives it, as a consumer with a store of its own.
#[derive(Default)]
pub struct Kept {
    /// Of each slot, sequence and epoch of the records that it has taken, and how often.
    pub taken: Vec<BTreeMap<(u64, Epoch), usize>>,
    pub positions: Option<Vec<Position>>,
    pub faults: Vec<String>,
}

/// Counts the records of kind 9, from the beginning.
pub struct Counter {
    name: &'static str,
    pub kept: Arc<Mutex<Kept>>,
    /// So many calls of `apply` panic before they have kept anything, and so many others afterwards.
    pub panics_before: AtomicUsize,
    pub panics_after: AtomicUsize,
    /// So many calls of `apply` fail.
    pub failures: AtomicUsize,
    /// A permit for each call of `apply`; `None`: it needs none.
    pub gate: Option<Semaphore>,
    /// How often it was built, in this life.
    pub rebuilds: watch::Sender<usize>,
    pub turns: AtomicUsize,
}

impl Counter {
    pub fn named(name: &'static str) -> Counter {
        let (panics_before, panics_after, failures, turns) = Default::default();
        let (kept, rebuilds) = Default::default();
        Counter { name, kept, panics_before, panics_after, failures, gate: None, rebuilds, turns }
    }

    pub fn rebuilds(&self) -> usize {
        *self.rebuilds.borrow()
    }

    /// Returns when it has been built so often.
    pub async fn rebuilt(&self, times: usize) {
        let rebuilt = async { self.rebuilds.subscribe().wait_for(|rebuilds| *rebuilds >= times).await.map(drop) };
        timeout(LONG, rebuilt).await.expect("it is built").expect("the sender is `self`");
    }

    /// Waits until it has taken all that the journal has of kind 9, and says how often it took a record again.
    pub async fn check(&self, feed: &Feed) -> usize {
        feed.look().await.expect("the heads");
        let progress = feed.consumer(self.name).expect("it is one of the feed's");
        for (slot, seq) in (0..).zip(feed.reader.tail.heads()) {
            reached(progress, slot, seq).await;
        }
        self.check_taken(feed).await
    }

    /// The same of what it has taken by now, which must be all.
    pub async fn check_taken(&self, feed: &Feed) -> usize {
        let taken = {
            let kept = self.kept.lock();
            assert_eq!(kept.faults, Vec::<String>::new());
            kept.taken.clone()
        };
        let mut again = 0;
        for (slot, taken) in (0..).zip(&taken) {
            let journal = feed.reader.journal.feed(slot, 0, usize::MAX).await.expect("the records");
            let followed = journal.iter().filter(|record| record.key.kind == 9);
            let all: Vec<_> = followed.map(|record| (record.seq, record.epoch)).collect();
            assert_eq!(taken.keys().copied().collect::<Vec<_>>(), all, "slot {slot}");
            again += taken.values().sum::<usize>() - taken.len();
        }
        again
    }
}

/// Waits for a record; while the consumer is being started again, for that.
pub async fn reached(progress: &Progress, slot: Slot, seq: u64) {
    let reached = async {
        while !progress.reached(slot, seq, LONG).await {
            progress.running().await;
        }
    };
    timeout(LONG, reached).await.expect("it is reached");
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Consumer for Counter {
    fn name(&self) -> &'static str {
        self.name
    }
    fn follows(&self, kind: u8) -> bool {
        kind == 9
    }
    async fn load(&self) -> Result<Option<Vec<Position>>, ConsumerError> {
        Ok(self.kept.lock().positions.clone())
    }
    async fn apply(&self, batch: &Batch) -> Result<(), ConsumerError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("it is open").forget();
        }
        assert!(!take_one(&self.panics_before), "injected: before it was kept");
        if take_one(&self.failures) {
            return Err(ConsumerError::of("injected"));
        }
        {
            let mut kept = self.kept.lock();
            let mut positions = kept.positions.clone().expect("it has been built");
            for taken in &batch.slots {
                let slot = usize::from(taken.slot);
                let from = positions[slot].seq;
                let seqs = taken.records.iter().map(|record| record.seq);
                let is_in_order = seqs.clone().is_sorted_by(|a, b| a < b) && seqs.clone().all(|seq| seq > from);
                let goes_back = taken.records.is_empty() && taken.position.seq < from;
                if !goes_back && (!is_in_order || taken.position.seq <= from) {
                    kept.faults.push(format!("slot {slot}: {:?} behind {from}", seqs.clone().collect::<Vec<_>>()));
                }
                for record in &taken.records {
                    *kept.taken[slot].entry((record.seq, record.epoch)).or_default() += 1;
                }
            }
            batch.move_positions(&mut positions);
            kept.positions = Some(positions);
        }
        assert!(!take_one(&self.panics_after), "injected: after it was kept");
        Ok(())
    }
    async fn turn(&self) -> Result<(), ConsumerError> {
        self.turns.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    async fn rebuild(&self, heads: Vec<Position>) -> Result<Vec<Position>, ConsumerError> {
        let positions = vec![Position::BEGINNING; heads.len()];
        let mut kept = self.kept.lock();
        kept.taken = vec![BTreeMap::new(); heads.len()];
        kept.positions = Some(positions.clone());
        drop(kept);
        self.rebuilds.send_modify(|rebuilds| *rebuilds += 1);
        Ok(positions)
    }
}

pub fn feed_of(journal: Arc<dyn Journal>, consumers: &[&Arc<Counter>]) -> Arc<Feed> {
    let consumers = consumers.iter().map(|counter| (*counter).clone() as Arc<dyn Consumer>).collect();
    Feed::new(journal, Arc::new(Metrics::new()), consumers)
}

/// A feed with one consumer, which runs.
pub async fn started(journal: Arc<dyn Journal>, counter: &Arc<Counter>) -> Arc<Feed> {
    let feed = feed_of(journal, &[counter]);
    feed.start().await.expect("it starts");
    feed
}

pub fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(SLOTS))
}
