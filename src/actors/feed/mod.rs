//! The feed: everything that follows the journal follows it here, and in one way.
//!
//! A *consumer* builds something out of committed records: a read model, an index, deliveries to the outside. It gets
//! the records of the kinds that it follows, of each slot in slot order and without a gap, and keeps for each slot the
//! [`Position`] up to which it has taken them. It keeps the position together with what it built from the records
//! ([`Consumer::apply`] is one step), so a crash between the two cannot happen. A record may come twice, so applying
//! is idempotent.
//!
//! # How a record gets to a consumer
//!
//! - The journal writer hands over each commit once it is durable, and before the answers leave ([`Follower::committed`]).
//!   The records go into the [`tail`], a bounded queue in memory, and raise the *head* of their slot.
//! - A consumer is *behind* in a slot where its position is not the head. That comparison is all that is kept for it:
//!   a consumer that is down, paused or slow costs no memory, and nobody waits for it.
//! - It takes what it lacks from the tail where the tail reaches back far enough. The other slots wait in a row and are
//!   read from the journal, a page each in turn, a few at once ([`reads`], [`pages`]). A page that several consumers want
//!   at the same time is read and decoded once.
//! - The journal is asked for its heads too ([`HEADS_EVERY`]): so records whose commit had an unknown outcome, and
//!   those that other nodes wrote, are found without a commit of this node.
//!
//! # What proves that a position belongs to this journal
//!
//! Within one epoch a slot has one owner, and the store takes its records one after the other. So records `n` and
//! `n + 1` of the same epoch follow each other, and a position of the epoch of the next record is right. Otherwise the
//! record at the position is looked up, and its epoch and checksum are compared. If it is another record, or the
//! journal is shorter, the store has lost records that the consumer has seen (a fail-over, an old backup): the consumer
//! is built anew, never goes on ([`Consumer::rebuild`]).
//!
//! # Races, and why they are none
//!
//! - *A commit between the heads and the scan of a rebuild.* The heads are read first, the entities after them, and the
//!   consumer then follows from the heads. A record between the two is applied although the scan has seen its effect.
//! - *The tail evicts between two looks.* One look copies what it takes under one lock. The next look may miss, and then
//!   reads the journal. A record is durable before it is in the tail, so the journal has whatever the tail has lost.
//! - *A page is read while records are committed.* It may lack the newest ones, even one that the consumer has had from
//!   the tail. So only full pages are kept, and a journal that seems too short is read once more, directly, before
//!   anybody calls it a mismatch.
//! - *What is in memory is of a history that the store has lost.* A mismatch gives up the tail and the pages, before the
//!   consumer is built anew.
//! - *A slot whose generation ends.* Only records that the store has acknowledged are handed over. What was refused is
//!   not in the journal. What has an unknown outcome and turns out to be durable is never handed over. The next
//!   records are of a new epoch: then the tail forgets the slot's old ones, and consumers read the journal.
//! - *Somebody waits and is never woken.* A waiter subscribes to the consumer's turns first, asks for a turn (the
//!   permit is kept while the consumer is busy) and looks at the position last. Every step of a consumer and every
//!   change of its state is a turn. Waiting is bounded all the same.
//! - *Somebody waits for a consumer that is paused, being rebuilt or stuck.* He is told at once that it is not there.
//! - *Somebody waits for a record that another node has written.* The journal is asked for its heads at once, and again
//!   every [`HEADS_EVERY_WHEN_WANTED`] at most, however many wait.
//! - *A record arrives after the consumer has looked and before it rests.* The head is raised before the notice is
//!   given, and the notice is kept until the consumer comes to rest.
//!
//! # What fails
//!
//! A slot that cannot be read (its data is damaged) is tried again after a pause, and the other slots go on. A consumer
//! that returns an error is tried again after a pause; one that panics is started again by its supervisor, with a
//! backoff, from the position that it has kept. Lag, failures and rebuilds are counted, and shown to operators
//! ([`Feed::statuses`]).
//!
//! What a crash leaves: nothing of the feed. Consumers keep their own positions, or are built anew.

mod consumer;
mod follow;
mod pages;
mod position;
mod progress;
mod reader;
mod reads;
mod supervisor;
mod tail;
mod taken;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{Actor, ActorRef, SpawnErr};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use consumer::{Batch, Consumer, ConsumerError, SlotBatch, Sort};
pub use position::Position;
pub use progress::{ConsumerStatus, Progress, State};

use reader::Reader;
use supervisor::{Supervisor, SupervisorMessage};
use tail::Tail;
use taken::Kinds;

use crate::actors::runtime::client::AskError;
use crate::actors::runtime::dispatcher::Follower;
use crate::actors::values::JournalPosition;
use crate::metrics::Metrics;
use crate::persistence::{Journal, Record, Slot, StoreError};

/// Bytes of the records that the tail keeps: about half a second of the writes that a node can take. A consumer that
/// is further behind reads the journal.
const TAIL_BYTES_MAX: usize = 4 << 20;
/// How often the journal is asked how far its slots are. What another node has written is in a list within a second.
const HEADS_EVERY: Duration = Duration::from_millis(500);
/// The same while somebody waits for a record of which this node does not know.
const HEADS_EVERY_WHEN_WANTED: Duration = Duration::from_millis(50);

/// Follows one journal for all consumers of a node.
pub struct Feed {
    reader: Reader,
    consumers: Vec<Arc<Progress>>,
    metrics: Arc<Metrics>,
    stopped: CancellationToken,
    /// Somebody waits for a record of which this node does not know.
    heads_wanted: Notify,
    supervisor: Mutex<Option<ActorRef<SupervisorMessage>>>,
}

impl Feed {
    /// A feed that has read nothing. It may be handed commits at once; consumers run from [`Feed::start`] on.
    pub fn new(journal: Arc<dyn Journal>, metrics: Arc<Metrics>, consumers: Vec<Arc<dyn Consumer>>) -> Arc<Feed> {
        Feed::with_tail(journal, metrics, consumers, TAIL_BYTES_MAX)
    }

    fn with_tail(
        journal: Arc<dyn Journal>,
        metrics: Arc<Metrics>,
        consumers: Vec<Arc<dyn Consumer>>,
        tail_bytes_max: usize,
    ) -> Arc<Feed> {
        let slots = journal.slots();
        let consumers = consumers.into_iter().map(|consumer| Arc::new(Progress::new(consumer, slots)));
        let consumers: Vec<Arc<Progress>> = consumers.collect();
        let followed = Kinds::of_any(consumers.iter().map(|consumer| &consumer.kinds));
        let reader = Reader::new(journal, Tail::new(slots, tail_bytes_max, followed), metrics.clone());
        let (stopped, supervisor) = (CancellationToken::new(), Mutex::default());
        Arc::new(Feed { reader, consumers, metrics, stopped, heads_wanted: Notify::new(), supervisor })
    }

    /// Starts the consumers.
    pub async fn start(self: &Arc<Self>) -> Result<(), SpawnErr> {
        let (supervisor, _) = Actor::spawn(None, Supervisor, self.clone()).await?;
        *self.supervisor.lock() = Some(supervisor);
        Ok(())
    }

    /// Ends the following. What was built stays, and grows old.
    pub fn stop(&self) {
        self.stopped.cancel();
        if let Some(supervisor) = self.supervisor.lock().take() {
            supervisor.stop(None);
        }
    }

    /// The slots of the journal.
    pub fn slots(&self) -> Slot {
        self.reader.journal.slots()
    }

    /// The consumer of this name.
    pub fn consumer(&self, name: &str) -> Option<&Arc<Progress>> {
        self.consumers.iter().find(|consumer| consumer.name() == name)
    }

    /// Waits until a consumer has taken a record, which another node may have written. `false`: it has not, because it
    /// does not run now, or because `within` has passed.
    pub async fn reached(&self, consumer: &Progress, slot: Slot, seq: u64, within: Duration) -> bool {
        if self.reader.tail.head(slot) < seq {
            self.heads_wanted.notify_one();
        }
        consumer.reached(slot, seq, within).await
    }

    /// Has a consumer take again what follows these records, in their slots. What it has not reached yet it takes anyway.
    pub async fn replay(&self, consumer: &Progress, after: &[JournalPosition]) -> Result<(), ReplayError> {
        let mut from = Vec::new();
        for at in after {
            let before = at.seq.saturating_sub(1);
            let found = self.reader.journal.feed(at.slot, before, 1).await.map_err(|error| match error {
                StoreError::Damaged(_) => ReplayError::Unread(AskError::Damaged),
                StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Fatal(_) => {
                    ReplayError::Unread(AskError::Unavailable)
                }
            })?;
            let record = found.first().filter(|record| record.seq == at.seq && record.epoch <= at.epoch);
            from.push((at.slot, Position::behind(record.ok_or(ReplayError::Unknown(*at))?)));
        }
        consumer.replay(from);
        Ok(())
    }

    /// How every consumer stands.
    pub fn statuses(&self) -> Vec<ConsumerStatus> {
        self.consumers.iter().map(|consumer| consumer.status(&self.reader.tail)).collect()
    }

    /// Asks the journal how far its slots are. It tells the consumers if something is new.
    pub async fn look(&self) -> Result<(), StoreError> {
        if self.reader.look().await? {
            self.consumers.iter().for_each(|consumer| consumer.tell());
        }
        Ok(())
    }

    fn measure(&self) {
        for status in self.statuses() {
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            self.metrics.consumer_lag_records.with_label_values(&[status.name]).set(gauge(status.lag_records));
            self.metrics.consumer_lag_ms.with_label_values(&[status.name]).set(gauge(status.lag_ms));
            let failing = gauge(status.slots_failing as u64);
            self.metrics.consumer_slots_failing.with_label_values(&[status.name]).set(failing);
        }
    }

    /// Looks at the journal again and again. It ends when the feed is stopped.
    async fn watch_heads(&self) {
        let watch = async {
            loop {
                if let Err(error) = self.look().await {
                    tracing::warn!(%error, "the journal does not say how far its slots are");
                }
                self.measure();
                let wanted = async {
                    tokio::time::sleep(HEADS_EVERY_WHEN_WANTED).await;
                    self.heads_wanted.notified().await;
                };
                let _ = tokio::time::timeout(HEADS_EVERY, wanted).await; // wanted or not: then it is time
            }
        };
        self.stopped.run_until_cancelled(watch).await;
    }
}

/// Why records cannot be taken again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The journal has no such record, or another one.
    #[error("the journal does not have the position {0}")]
    Unknown(JournalPosition),
    /// It cannot be read now, or is damaged.
    #[error(transparent)]
    Unread(AskError),
}

impl Follower for Feed {
    fn committed(&self, records: &[Arc<Record>]) {
        self.reader.tail.push(records);
        for consumer in &self.consumers {
            if records.iter().any(|record| consumer.follows(record.key.kind)) {
                consumer.tell();
            }
        }
    }
}
