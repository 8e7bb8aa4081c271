//! The simulated store: the journal in memory is what is durable, and in front of it are appends that
//! are on their way. What becomes of each the scheduler decides: it may complete, fail before or after
//! writing, be refused for one slot, arrive twice, or long after its sender has given it up. What has been
//! read may also be long on its way back, and be old when it arrives.
//!
//! It outlives every crash. Mutations of the kind "the store does not ..." are made here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures::FutureExt;
use parking_lot::Mutex;
use souk::persistence::decorator::{Appended, Decorator, Handed};
use souk::persistence::memory::Memory;
use souk::persistence::{
    Batch, EntityKey, Epoch, History, Journal, Origin, Record, Refusal, Slot, SlotHead, Snapshot, StoreError,
};

use crate::mutations::Mutation;
use crate::random::Random;
use crate::task::yield_once;

/// What becomes of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Complete,
    /// Applied twice; the second time finds itself refused.
    Twice,
    /// Nothing is written, and the writer knows.
    FailBefore,
    /// Everything is written, and the writer is told that nothing is.
    Denied,
    /// The slots whose bit is set are written, and the writer does not know.
    Lost {
        written: u64,
    },
    /// Nothing is written yet, and the writer does not know; it may still be written later.
    Late,
    /// One slot's records are refused.
    RefuseOne,
}

struct InFlight {
    batch: Batch,
    done: Option<Appended>,
    waker: Option<Waker>,
}

struct State {
    random: Random,
    in_flight: BTreeMap<u64, InFlight>,
    next: u64,
    /// Appends that their senders have given up and that may still arrive.
    late: Vec<Batch>,
    /// Records that have become durable and have not been looked at, as they were sent, each with the
    /// epoch that its slot then had.
    written: Vec<(Arc<Record>, Epoch)>,
    /// How many reads of a thousand fail.
    failing_reads: u64,
    /// How many loads of a thousand are slow: what they have read waits until the scheduler lets it go.
    slow_loads: u64,
    held: BTreeMap<u64, Option<Waker>>,
    /// How many loads began with a snapshot.
    snapshots_loaded: u64,
    mutation: Option<Mutation>,
}

#[derive(Clone)]
pub struct SimJournal {
    durable: Memory,
    state: Arc<Mutex<State>>,
}

impl SimJournal {
    pub fn new(slots: Slot, random: Random, mutation: Option<Mutation>) -> SimJournal {
        let state = State {
            random,
            in_flight: BTreeMap::new(),
            next: 0,
            late: Vec::new(),
            written: Vec::new(),
            failing_reads: 0,
            slow_loads: 0,
            held: BTreeMap::new(),
            snapshots_loaded: 0,
            mutation,
        };
        SimJournal { durable: Memory::new(slots), state: Arc::new(Mutex::new(state)) }
    }

    /// What is durable, read at once.
    pub fn durable(&self) -> &Memory {
        &self.durable
    }
    pub fn set_failing_reads(&self, per_mille: u64) {
        self.state.lock().failing_reads = per_mille;
    }
    pub fn set_slow_loads(&self, per_mille: u64) {
        self.state.lock().slow_loads = per_mille;
    }
    /// Loads that have read, and whose answers are still on their way.
    pub fn held(&self) -> Vec<u64> {
        self.state.lock().held.keys().copied().collect()
    }
    pub fn let_go(&self, id: u64) {
        if let Some(waker) = self.state.lock().held.remove(&id).flatten() {
            waker.wake();
        }
    }
    /// Appends that wait for their fate.
    pub fn in_flight(&self) -> Vec<u64> {
        self.state.lock().in_flight.iter().filter(|(_, append)| append.done.is_none()).map(|(id, _)| *id).collect()
    }
    pub fn snapshots_loaded(&self) -> u64 {
        self.state.lock().snapshots_loaded
    }
    pub fn late_count(&self) -> usize {
        self.state.lock().late.len()
    }
    /// The records that have become durable since the last call.
    pub fn take_written(&self) -> Vec<(Arc<Record>, Epoch)> {
        std::mem::take(&mut self.state.lock().written)
    }

    /// Decides what becomes of an append.
    pub fn decide(&self, id: u64, fate: Fate) {
        let state = &mut *self.state.lock();
        let Some(append) = state.in_flight.get_mut(&id) else { return };
        let mut batch = std::mem::take(&mut append.batch);
        let unknown = || Err(StoreError::Unknown("the connection is gone".into()));
        let done = match fate {
            Fate::Complete => self.complete(state, batch),
            Fate::Twice => {
                let done = self.write(state, batch.clone());
                let _refused = self.write(state, batch);
                done
            }
            Fate::FailBefore => Err(StoreError::Unavailable("no connection".into())),
            Fate::Denied => {
                let _denied = self.write(state, batch);
                Err(StoreError::Unavailable("no connection, it is said".into()))
            }
            Fate::Lost { written } => {
                let is_written = |slot: Slot| written & (1 << slot) != 0;
                batch.records.retain(|record| is_written(record.slot));
                batch.snapshots.retain(|snapshot| is_written(snapshot.slot));
                let _unheard = self.write(state, batch);
                unknown()
            }
            Fate::Late => {
                state.late.push(batch);
                unknown()
            }
            Fate::RefuseOne => match batch.records.first().map(|record| record.slot) {
                Some(refused) => {
                    batch.records.retain(|record| record.slot != refused);
                    batch.snapshots.retain(|snapshot| snapshot.slot != refused);
                    let why = (refused, Refusal::Rejected("the store will not".into()));
                    self.write(state, batch).map(|mut others| {
                        others.push(why);
                        others
                    })
                }
                None => self.write(state, batch),
            },
        };
        if let Some(append) = state.in_flight.get_mut(&id) {
            append.done = Some(done);
            if let Some(waker) = append.waker.take() {
                waker.wake();
            }
        }
    }

    /// An append that its sender has given up arrives.
    pub fn arrive_late(&self, index: usize) {
        let state = &mut *self.state.lock();
        if index < state.late.len() {
            let batch = state.late.remove(index);
            let _unheard = self.write(state, batch);
        }
    }

    /// The process is gone: what was on its way arrives now, later, or never.
    pub fn sender_crashed(&self) {
        let state = &mut *self.state.lock();
        for (_, append) in std::mem::take(&mut state.in_flight) {
            match state.random.below(3) {
                _ if append.done.is_some() => {}
                0 => drop(self.write(state, append.batch)),
                1 => state.late.push(append.batch),
                _ => {}
            }
        }
    }

    /// The writer is gone, but not the process: nobody waits for what is on its way.
    pub fn writer_crashed(&self) {
        let state = &mut *self.state.lock();
        let in_flight = std::mem::take(&mut state.in_flight);
        state.late.extend(in_flight.into_values().filter(|append| append.done.is_none()).map(|append| append.batch));
    }

    fn write(&self, state: &mut State, mut batch: Batch) -> Appended {
        let heads = self.durable.heads().now_or_never().and_then(Result::ok).unwrap_or_default();
        mutate(state.mutation, &mut batch);
        let records = batch.records.clone();
        let appended = match state.mutation {
            Some(Mutation::EpochNotChecked) => self.write_unfenced(batch, &heads),
            Some(_) | None => self.durable.append(batch).now_or_never().expect("memory does not wait"),
        };
        if let Ok(refused) = &appended {
            let durable = |record: &Arc<Record>| refused.iter().all(|(slot, _)| *slot != record.slot);
            for record in records.into_iter().filter(durable) {
                let epoch = heads[usize::from(record.slot)].epoch;
                state.written.push((record, epoch));
            }
        }
        appended
    }

    fn complete(&self, state: &mut State, batch: Batch) -> Appended {
        let mut appended = self.write(state, batch.clone());
        if let (Some(Mutation::RepeatTaken), Ok(refused)) = (state.mutation, &mut appended) {
            refused.retain(|(slot, _)| !self.take_again(state, &batch, *slot));
        }
        appended
    }

    /// Writes records of a slot once more, behind the end, if they are there.
    fn take_again(&self, state: &mut State, batch: &Batch, slot: Slot) -> bool {
        let mut part = Batch { snapshots: Vec::new(), ..batch.clone() };
        part.records.retain(|record| record.slot == slot);
        let log = self.durable.feed(slot, 0, usize::MAX).now_or_never().and_then(Result::ok).unwrap_or_default();
        if part.records.is_empty() || !part.records.iter().all(|record| log.contains(&**record)) {
            return false;
        }
        let mut versions: BTreeMap<_, _> = log.iter().map(|record| (record.key.clone(), record.version)).collect();
        for (record, seq) in part.records.iter_mut().zip(log.len() as u64 + 1..) {
            let version = versions.entry(record.key.clone()).or_default();
            *version += u64::from(!record.events.is_empty());
            let record = Arc::make_mut(record);
            (record.seq, record.version) = (seq, *version);
        }
        self.write(state, part).is_ok_and(|refused| refused.is_empty())
    }

    /// Writes each slot's part as if whoever owns the slot now had sent it.
    fn write_unfenced(&self, batch: Batch, heads: &[SlotHead]) -> Appended {
        let mut refused = Vec::new();
        for (slot, head) in (0..).zip(heads) {
            let mut part = Batch { owner: head.owner.as_deref().unwrap_or_default().into(), ..batch.clone() };
            part.records.retain(|record| record.slot == slot);
            part.snapshots.retain(|snapshot| snapshot.slot == slot);
            part.records.iter_mut().for_each(|record| Arc::make_mut(record).epoch = head.epoch);
            refused.extend(self.durable.append(part).now_or_never().expect("memory does not wait")?);
        }
        Ok(refused)
    }

    /// A read takes its time, and may fail.
    async fn may_fail(&self) -> Result<(), StoreError> {
        yield_once().await;
        let state = &mut *self.state.lock();
        if state.random.chance(state.failing_reads) {
            return Err(StoreError::Unavailable("a read failed".into()));
        }
        Ok(())
    }

    /// Waits until the scheduler lets it go, if it is slow.
    async fn may_be_slow(&self) {
        let id = {
            let state = &mut *self.state.lock();
            if !state.random.chance(state.slow_loads) {
                return;
            }
            state.next += 1;
            state.held.insert(state.next, None);
            state.next
        };
        let _until_here = Held { journal: self, id };
        std::future::poll_fn(|context| match self.state.lock().held.get_mut(&id) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }

    fn chance(&self, per_mille: u64) -> bool {
        self.state.lock().random.chance(per_mille)
    }
}

/// An answer that is held, until whoever waits for it has it or is gone.
struct Held<'a> {
    journal: &'a SimJournal,
    id: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.journal.state.lock().held.remove(&self.id);
    }
}

fn mutate(mutation: Option<Mutation>, batch: &mut Batch) {
    match mutation {
        Some(Mutation::ClientReceiptNotStored) => strip(batch, |origin| matches!(origin, Origin::Client { .. })),
        Some(Mutation::OwedReceiptNotStored) => strip(batch, |origin| matches!(origin, Origin::Owed { .. })),
        Some(Mutation::SnapshotWithoutReceipts) => spoil(batch, |snapshot| snapshot.receipts.clear()),
        Some(Mutation::SnapshotHidesReceiptsElsewhere) => {
            spoil(batch, |snapshot| snapshot.receipts_elsewhere_until_ms = None);
        }
        Some(Mutation::SnapshotWithoutOwed) => spoil(batch, |snapshot| snapshot.owed = None),
        Some(Mutation::SnapshotWithoutWake) => spoil(batch, |snapshot| snapshot.wake_ms = None),
        Some(Mutation::SnapshotMissesField) => spoil(batch, crate::mutations::miss_a_field),
        Some(_) | None => {}
    }
}

fn spoil(batch: &mut Batch, how: impl Fn(&mut Snapshot)) {
    batch.snapshots.iter_mut().map(Arc::make_mut).for_each(how);
}

fn strip(batch: &mut Batch, which: impl Fn(&Origin) -> bool) {
    for record in batch.records.iter_mut().map(Arc::make_mut) {
        record.receipt.take_if(|receipt| which(&receipt.origin));
    }
}

impl Decorator for SimJournal {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        &self.durable
    }

    async fn read<T: Send>(&self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        self.may_fail().await?;
        work.await
    }

    async fn append(&self, batch: Batch) -> Appended {
        let id = {
            let state = &mut *self.state.lock();
            state.next += 1;
            state.in_flight.insert(state.next, InFlight { batch, done: None, waker: None });
            state.next
        };
        std::future::poll_fn(|context| {
            let state = &mut *self.state.lock();
            match state.in_flight.get_mut(&id) {
                Some(InFlight { done: None, waker, .. }) => {
                    *waker = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(_) | None => match state.in_flight.remove(&id).and_then(|append| append.done) {
                    Some(done) => Poll::Ready(done),
                    None => Poll::Pending,
                },
            }
        })
        .await
    }

    fn has_nothing(&self, slot: Slot, key: &EntityKey) -> bool {
        self.chance(500) && self.durable.has_nothing(slot, key)
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        let mut history = self.read(self.durable.load(slot, key)).await?;
        self.may_be_slow().await;
        self.state.lock().snapshots_loaded += u64::from(history.snapshot.is_some());
        if history.records.len() > 1 && self.chance(200) {
            history.records.truncate(1); // a short first page
            history.more = true;
        }
        Ok(history)
    }

    /// A claim may be made without the claimer's hearing of it.
    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Handed {
        self.may_fail().await?;
        let claimed = self.durable.claim(owner, slots).await;
        yield_once().await;
        self.may_fail().await?;
        claimed
    }
}
