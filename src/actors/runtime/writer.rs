//! The journal writer: gathers records from all slots, commits them together, then lets go what waited
//! for them to be durable.
//!
//! There is no timer: what gathers while one commit is on its way is the next batch. Each submission
//! carries its effects (answers, owed requests), which happen only after its record, and everything the
//! same slot submitted before it, is durable. So no answer leaves before what it is based on is safe.
//!
//! While the store is unavailable the same batch is sent again, for as long as the lease is valid. When the store
//! refuses a slot's records, or loses the outcome, that slot's generation ends: its
//! submissions that still queue here are refused too, since they were built on records that do not
//! exist. The other slots of the batch are not touched.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use super::envelope::{AskError, Envelope, Reply, ReplyTo};
use super::slot::news::News;
use super::slot::{Dispatch, SlotShared};
use crate::cluster::Lease;
use crate::metrics::Metrics;
use crate::persistence::{Batch, Journal, Record, Slot, Snapshot, StoreError};

/// What a slot hands over.
pub struct Submission {
    pub slot: Slot,
    pub generation: u64,
    pub item: Item,
    pub effects: Vec<Effect>,
}

pub enum Item {
    Record(Arc<Record>),
    Snapshot(Arc<Snapshot>),
    /// Nothing to write: the effects wait for what was submitted before.
    Barrier,
}

/// What happens once a submission's record is durable.
pub enum Effect {
    Reply(ReplyTo, Result<Reply, AskError>),
    Dispatch(Dispatch),
    /// Tells a task that everything before it has settled, one way or the other.
    Settled(tokio::sync::oneshot::Sender<()>),
}

/// Why a slot's generation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The store refused for certain: nothing of it was written.
    Refused,
    /// It may have been written.
    Unknown,
    /// The store met damage in what it has of the slot, this: it may have been written.
    Damaged(Arc<str>),
}

impl Ended {
    pub fn word(&self) -> &'static str {
        match self {
            Ended::Refused => "refused",
            Ended::Unknown => "unknown",
            Ended::Damaged(_) => "damaged",
        }
    }
    fn ask_error(&self) -> AskError {
        match self {
            Ended::Refused => AskError::Unavailable,
            Ended::Unknown | Ended::Damaged(_) => AskError::Unknown,
        }
    }
}

/// The bounded memory of the writer. It is asked *before* a command is decided, so that what was
/// decided can always be handed over; the bound is soft by one record a slot, and by those who wait in a slot that leaves.
pub struct QueueBudget {
    records: AtomicUsize,
    bytes: AtomicUsize,
    records_max: usize,
    bytes_max: usize,
}

impl QueueBudget {
    pub fn new(records_max: usize, bytes_max: usize) -> QueueBudget {
        QueueBudget { records: AtomicUsize::new(0), bytes: AtomicUsize::new(0), records_max, bytes_max }
    }
    pub fn has_space(&self) -> bool {
        self.records.load(Ordering::Relaxed) < self.records_max && self.bytes.load(Ordering::Relaxed) < self.bytes_max
    }
    fn take(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    /// Gives back what a batch has taken, also when its commit is cut off.
    fn lend(self: &Arc<Self>, records: usize, bytes: usize) -> Lent {
        Lent { budget: self.clone(), records, bytes }
    }
    fn give_back(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The part of the budget that a batch on its way takes.
struct Lent {
    budget: Arc<QueueBudget>,
    records: usize,
    bytes: usize,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.budget.give_back(self.records, self.bytes);
    }
}

/// What carries effects and endings out of the writer.
pub trait EffectSink: Send + Sync + 'static {
    fn dispatch(&self, dispatch: Dispatch);
    /// Records have become durable.
    fn committed(&self, records: Vec<Arc<Record>>);
    /// The slot must end its generation.
    fn ended(&self, slot: Slot, generation: u64, why: Ended);
    /// A message whose slot has left waits to be brought to where that is now.
    fn reroute(&self, envelope: Envelope);
    /// A slot tells this of itself.
    fn news(&self, slot: Slot, news: News);
    /// The store must not be used any more.
    fn store_failed(&self, error: StoreError);
}

/// A batch that takes longer than this is stuck. The slowest sound one, in which a store looks for the slot that it
/// fails because of, takes less.
const PROGRESS_WITHIN: Duration = Duration::from_secs(30);

/// Where submissions gather.
pub struct Gathering {
    pub budget: Arc<QueueBudget>,
    queue: Mutex<Queue>,
    actor: Mutex<Option<ActorRef<Poke>>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Submission>,
    poked: bool,
    /// Since when something waits, or is on its way, and nothing has settled.
    busy_since: Option<Instant>,
    /// Generations that have ended, by slot: their submissions are refused.
    ended: HashMap<Slot, (u64, Ended)>,
}

pub struct Poke;

impl ractor::Message for Poke {}

impl Gathering {
    pub fn new(budget: Arc<QueueBudget>) -> Arc<Gathering> {
        Arc::new(Gathering { budget, queue: Mutex::new(Queue::default()), actor: Mutex::new(None) })
    }

    /// Hands submissions over, in order.
    pub fn submit(&self, submissions: impl IntoIterator<Item = Submission>) {
        let mut queue = self.queue.lock();
        for submission in submissions {
            let (records, bytes) = submission.weight();
            self.budget.take(records, bytes);
            queue.waiting.push_back(submission);
        }
        if queue.waiting.is_empty() {
            return;
        }
        queue.busy_since.get_or_insert_with(Instant::now);
        if !std::mem::replace(&mut queue.poked, true) {
            drop(queue);
            self.poke();
        }
    }

    /// Whether what is handed over settles, one way or the other. A node renews its lease only while this holds: one
    /// whose store takes its renewals and not its records would keep its slots from everybody for ever.
    pub fn makes_progress(&self) -> bool {
        self.queue.lock().busy_since.is_none_or(|since| since.elapsed() < PROGRESS_WITHIN)
    }

    /// A batch has settled.
    fn settled(&self) {
        let mut queue = self.queue.lock();
        queue.busy_since = (!queue.waiting.is_empty()).then(Instant::now);
    }

    /// Whether nothing waits to be committed.
    pub fn is_empty(&self) -> bool {
        self.queue.lock().waiting.is_empty()
    }

    fn poke(&self) {
        if let Some(actor) = &*self.actor.lock() {
            let _ = actor.cast(Poke); // gone: its successor looks when it starts
        }
    }

    /// Waits until everything that was submitted before has settled, one way or the other.
    pub async fn settle(&self, slot: Slot, generation: u64) {
        let (sender, settled) = tokio::sync::oneshot::channel();
        self.submit([Submission { slot, generation, item: Item::Barrier, effects: vec![Effect::Settled(sender)] }]);
        let _ = settled.await; // dropped: the writer has stopped, and nothing is in flight
    }

    /// Refuses whatever this generation still hands over.
    pub fn end_generation(&self, slot: Slot, generation: u64, why: Ended) {
        self.queue.lock().ended.insert(slot, (generation, why));
    }

    fn take(&self, limits: &WriterLimits) -> Vec<(Submission, Option<Ended>)> {
        let mut queue = self.queue.lock();
        let (mut count, mut bytes) = (0, 0);
        for submission in &queue.waiting {
            if count >= limits.batch_records_max || bytes >= limits.batch_bytes_max {
                break;
            }
            count += 1;
            bytes += submission.weight().1;
        }
        let batch: Vec<Submission> = queue.waiting.drain(..count).collect();
        queue.poked = !batch.is_empty();
        let ended = |s: &Submission| {
            queue.ended.get(&s.slot).filter(|(generation, _)| s.generation <= *generation).map(|(_, why)| why.clone())
        };
        batch
            .into_iter()
            .map(|submission| {
                let why = ended(&submission);
                (submission, why)
            })
            .collect()
    }
}

impl Submission {
    fn weight(&self) -> (usize, usize) {
        const OVERHEAD: usize = 256;
        match &self.item {
            Item::Record(record) => (1, OVERHEAD + record.encoded_len()),
            Item::Snapshot(snapshot) => (0, OVERHEAD + snapshot.encoded_len()),
            Item::Barrier => (1, OVERHEAD),
        }
    }
}

/// Bounds of one group commit, and of what waits for it: the section `journal` of `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct WriterLimits {
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    /// Records and bytes that wait: beyond, commands are answered Busy. (See [`QueueBudget`].)
    pub queue_records_max: usize,
    pub queue_bytes_max: usize,
}

/// The actor around the commit loop.
pub struct JournalWriter;

pub struct WriterArguments {
    pub gathering: Arc<Gathering>,
    /// The node's id, which every batch carries.
    pub owner: Arc<str>,
    pub journal: Arc<dyn Journal>,
    pub lease: Arc<dyn Lease>,
    pub slots: Vec<Arc<SlotShared>>,
    pub sink: Arc<dyn EffectSink>,
    pub limits: WriterLimits,
    pub metrics: Arc<Metrics>,
    /// Lets time pass. (The simulation has no timers.)
    pub sleep: fn(Duration) -> BoxFuture<'static, ()>,
}

#[async_trait::async_trait]
impl Actor for JournalWriter {
    type Msg = Poke;
    type State = WriterArguments;
    type Arguments = WriterArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Poke>,
        arguments: WriterArguments,
    ) -> Result<WriterArguments, ActorProcessingErr> {
        *arguments.gathering.actor.lock() = Some(myself.clone());
        let _ = myself.cast(Poke); // what a predecessor left
        Ok(arguments)
    }

    async fn handle(
        &self,
        _: ActorRef<Poke>,
        Poke: Poke,
        writer: &mut WriterArguments,
    ) -> Result<(), ActorProcessingErr> {
        writer.commit_gathered().await;
        Ok(())
    }
}

impl WriterArguments {
    /// Commits batch after batch, until nothing waits any more. (The actor's turn; the simulation, which
    /// has no actors, carries it on step by step.)
    pub async fn commit_gathered(&self) {
        loop {
            let taken = self.gathering.take(&self.limits);
            if taken.is_empty() {
                return;
            }
            self.commit(taken).await;
        }
    }

    /// Commits what was taken, and settles each submission in its order.
    async fn commit(&self, taken: Vec<(Submission, Option<Ended>)>) {
        let mut batch = Batch { owner: self.owner.clone(), ..Batch::default() };
        let mut pending = Vec::with_capacity(taken.len());
        let (mut records, mut bytes) = (0, 0);
        for (submission, ended) in taken {
            let weight = submission.weight();
            records += weight.0;
            bytes += weight.1;
            let Submission { slot, generation, item, effects } = submission;
            let record = match item {
                Item::Record(record) if ended.is_none() => {
                    batch.records.push(record.clone());
                    Some(record)
                }
                Item::Snapshot(snapshot) if ended.is_none() => {
                    batch.snapshots.push(snapshot);
                    None
                }
                Item::Record(_) | Item::Snapshot(_) | Item::Barrier => None,
            };
            pending.push(Pending { slot, generation, ended, record, effects });
        }
        let lent = self.gathering.budget.lend(records, bytes);
        let ended = self.append(batch).await;
        drop(lent);
        self.settle(pending, ended);
        self.gathering.settled();
    }

    /// `ended`: slots whose records were not written, or may not have been.
    fn settle(&self, pending: Vec<Pending>, ended: HashMap<Slot, Ended>) {
        let mut newly_ended: HashMap<Slot, (u64, Ended)> = HashMap::new();
        // Only slots that had something written can lose it; a barrier alone follows its slot.
        for pending in pending.iter().filter(|pending| pending.record.is_some()) {
            if let Some(why) = ended.get(&pending.slot) {
                newly_ended.insert(pending.slot, (pending.generation, why.clone()));
            }
        }
        for (slot, (generation, why)) in &newly_ended {
            self.gathering.end_generation(*slot, *generation, why.clone());
            self.metrics.generations_ended.with_label_values(&[why.word()]).inc();
        }
        // A mark that a slot has not heard of (it was recovering) must not refuse it in silence.
        for pending in &pending {
            if let Some(why) = &pending.ended
                && self.slots[usize::from(pending.slot)].generation() == pending.generation
            {
                newly_ended.entry(pending.slot).or_insert((pending.generation, why.clone()));
            }
        }
        let is_newly_ended = |slot, generation| newly_ended.get(&slot).filter(|(ended, _)| generation <= *ended);
        let durable =
            pending.iter().filter(|it| it.ended.is_none() && is_newly_ended(it.slot, it.generation).is_none());
        let records: Vec<_> = durable.filter_map(|pending| pending.record.clone()).collect();
        // Followers know of a record before anybody is told that it is durable, so that he finds it with them.
        if !records.is_empty() {
            self.sink.committed(records);
        }
        let lease_is_valid = self.lease.is_valid();
        for Pending { slot, generation, ended, record, effects } in pending {
            let ended = ended.or_else(|| is_newly_ended(slot, generation).map(|(_, why)| why.clone()));
            let shared = &self.slots[usize::from(slot)];
            if let (None, Some(record)) = (&ended, record)
                && shared.generation() == generation
            {
                shared.set_durable_seq(record.seq);
            }
            self.carry_out(effects, ended.as_ref(), lease_is_valid && !shared.is_suspended());
        }
        for (slot, (generation, why)) in newly_ended {
            self.sink.ended(slot, generation, why);
        }
    }

    fn carry_out(&self, effects: Vec<Effect>, ended: Option<&Ended>, may_answer: bool) {
        for effect in effects {
            match (effect, ended) {
                (Effect::Settled(sender), _) => drop(sender.send(())),
                (Effect::Reply(to, _), Some(why)) => to.send(Err(why.ask_error())),
                (Effect::Reply(to, _), None) if !may_answer => to.send(Err(AskError::Unknown)),
                (Effect::Reply(to, reply), None) => to.send(reply),
                (Effect::Dispatch(dispatch), None) => self.sink.dispatch(dispatch),
                (Effect::Dispatch(_), Some(_)) => {}
            }
        }
    }
}

/// A submission whose record is on its way.
struct Pending {
    slot: Slot,
    generation: u64,
    /// Its generation had ended before it was taken.
    ended: Option<Ended>,
    record: Option<Arc<Record>>,
    effects: Vec<Effect>,
}
