//! What becomes of each slot's records when the store does not simply take an append.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::super::envelope::{AskError, Envelope, Reply, ReplyTo};
use super::super::slot::news::News;
use super::super::slot::{Dispatch, SlotShared};
use super::super::writer::{Effect, EffectSink, Ended, Gathering, Item, QueueBudget, Submission, WriterArguments};
use crate::actors::values::Time;
use crate::cluster::{Lease, SoleOwner};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::persistence::conformance::{SCRIBE, Scribe};
use crate::persistence::faulty::{Call, Fault, Faulty, Part};
use crate::persistence::memory::Memory;
use crate::persistence::{Batch, Journal, OwedChange, OwedItem, OwedRow, Record, Refusal, Slot, Snapshot, StoreError};

/// What left the writer.
#[derive(Default)]
struct Seen {
    ended: Mutex<Vec<(Slot, Ended)>>,
    failed: Mutex<bool>,
}

impl EffectSink for Seen {
    fn dispatch(&self, _: Dispatch) {}
    fn committed(&self, _: Vec<Arc<Record>>) {}
    fn ended(&self, slot: Slot, _: u64, why: Ended) {
        self.ended.lock().push((slot, why));
    }
    fn reroute(&self, _: Envelope) {}
    fn news(&self, _: Slot, _: News) {}
    fn store_failed(&self, _: StoreError) {
        *self.failed.lock() = true;
    }
}

struct Bench {
    store: Arc<Faulty<Memory>>,
    scribe: Scribe,
    writer: WriterArguments,
    seen: Arc<Seen>,
}

impl Bench {
    async fn new() -> Bench {
        Bench::under(Arc::new(SoleOwner)).await
    }

    async fn under(lease: Arc<dyn Lease>) -> Bench {
        let store = Arc::new(Faulty::new(Memory::new(4)));
        let scribe = Scribe::claim(store.clone()).await;
        let slots: Vec<_> = (0..4).map(|slot| SlotShared::new(slot, 8)).collect();
        slots.iter().for_each(|shared| assert_eq!(shared.next_generation(), 1));
        let seen = Arc::new(Seen::default());
        let writer = WriterArguments {
            gathering: Gathering::new(Arc::new(QueueBudget::new(100, 1 << 20))),
            owner: SCRIBE.into(),
            journal: store.clone(),
            lease,
            slots,
            sink: seen.clone(),
            limits: Config::default().journal,
            metrics: Arc::new(Metrics::new()),
            sleep: |time| Box::pin(tokio::time::sleep(time)),
        };
        Bench { store, scribe, writer, seen }
    }

    fn submit(&self, record: Record) -> oneshot::Receiver<Result<Reply, AskError>> {
        let (to, answer) = ReplyTo::channel();
        let slot = record.slot;
        let generation = self.writer.slots[usize::from(slot)].generation();
        let done = Reply {
            outcome: None,
            version: record.version,
            seq: record.seq,
            epoch: 0,
            at: Time(0),
            state: None,
            replayed: false,
            residence: None,
        };
        let effects = vec![Effect::Reply(to, Ok(done))];
        self.writer.gathering.submit([Submission { slot, generation, item: Item::Record(Arc::new(record)), effects }]);
        answer
    }
}

/// How it was answered, which it was by now.
fn answer(receiver: oneshot::Receiver<Result<Reply, AskError>>) -> Result<u64, AskError> {
    let answered = receiver.now_or_never().expect("it is answered").expect("it is answered");
    answered.map(|reply| reply.version)
}

#[tokio::test(start_paused = true)]
async fn the_damage_of_one_slot_ends_no_other_and_not_the_node() {
    let mut bench = Bench::new().await;
    let records = [bench.scribe.record(1, "a"), bench.scribe.record(2, "b"), bench.scribe.record(3, "c")];
    bench.store.damage(2, Part::Records);
    let answers = records.clone().map(|record| bench.submit(record));
    bench.writer.commit_gathered().await;
    assert_eq!(answers.map(answer), [Ok(1), Err(AskError::Unknown), Ok(1)]);
    assert!(matches!(bench.seen.ended.lock()[..], [(2, Ended::Damaged(_))]));
    assert!(!*bench.seen.failed.lock());
    assert_eq!(bench.scribe.feed(1).await, records[..1]);
    assert_eq!(bench.scribe.feed(2).await, []);
    assert_eq!(bench.scribe.feed(3).await, records[2..]);
    assert_eq!(bench.writer.metrics.records_committed.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_append_waits_for_a_store_that_is_unavailable_and_is_made_once() {
    let mut bench = Bench::new().await;
    for call in 1..=5 {
        bench.store.fail_at(Call::Append, call, Fault::FailBefore);
    }
    let records = [bench.scribe.record(1, "a"), bench.scribe.record(2, "b")];
    let answers = records.clone().map(|record| bench.submit(record));
    bench.writer.commit_gathered().await;
    assert_eq!(answers.map(answer), [Ok(1), Ok(1)]);
    assert_eq!(bench.store.calls(Call::Append), 6);
    assert_eq!(*bench.seen.ended.lock(), [], "what is in memory stays");
    assert_eq!(
        (bench.scribe.feed(1).await, bench.scribe.feed(2).await),
        (records[..1].to_vec(), records[1..].to_vec())
    );
    assert_eq!((bench.writer.metrics.commits_repeated.get(), bench.writer.metrics.records_committed.get()), (5, 2));
}

/// The store is not to say so, and a proxy before it may.
#[tokio::test(start_paused = true)]
async fn an_append_that_was_made_though_the_store_denied_it_is_acknowledged_once() {
    let mut bench = Bench::new().await;
    bench.store.fail_at(Call::Append, 1, Fault::Denied);
    bench.store.fail_at(Call::Read, 1, Fault::FailBefore);
    let records = [bench.scribe.record(1, "a"), bench.scribe.record(2, "b")];
    let answers = records.clone().map(|record| bench.submit(record));
    bench.writer.commit_gathered().await;
    assert_eq!(answers.map(answer), [Ok(1), Ok(1)]);
    assert_eq!(*bench.seen.ended.lock(), []);
    assert_eq!(
        (bench.scribe.feed(1).await, bench.scribe.feed(2).await),
        (records[..1].to_vec(), records[1..].to_vec())
    );
    assert_eq!(bench.writer.metrics.records_committed.get(), 2);
}

/// Whoever has claimed the slot meanwhile wrote something else there.
#[tokio::test(start_paused = true)]
async fn what_another_node_wrote_meanwhile_is_not_taken_for_ones_own() {
    let mut bench = Bench::new().await;
    bench.store.fail_at(Call::Append, 1, Fault::FailBefore);
    let record = bench.scribe.record(1, "a");
    let ours = bench.submit(record);
    let mut other = Scribe::claim(bench.store.clone()).await;
    let theirs = other.record(1, "b");
    let appending = bench.writer.commit_gathered();
    let claiming = async {
        tokio::task::yield_now().await; // the first attempt was made
        bench.store.inner().append(batch(&theirs)).await.expect("appended")
    };
    let ((), refused) = tokio::join!(appending, claiming);
    assert_eq!(refused, []);
    assert_eq!(answer(ours), Err(AskError::Unknown));
    assert!(matches!(bench.seen.ended.lock()[..], [(1, Ended::Unknown)]));
    assert_eq!(other.feed(1).await, [theirs]);
}

fn batch(record: &Record) -> Batch {
    Batch::of(SCRIBE, [record.clone()])
}

/// A lease that is valid for so many more looks at it.
struct Lapsing(AtomicUsize);

impl Lease for Lapsing {
    fn is_valid(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_lapses_gives_an_append_up() {
    let mut bench = Bench::under(Arc::new(Lapsing(AtomicUsize::new(3)))).await;
    for call in 1..=10 {
        bench.store.fail_at(Call::Append, call, Fault::FailBefore);
    }
    let record = bench.scribe.record(1, "a");
    let refused = bench.submit(record);
    bench.writer.commit_gathered().await;
    assert_eq!(bench.store.calls(Call::Append), 4);
    assert_eq!(answer(refused), Err(AskError::Unavailable));
    assert_eq!(*bench.seen.ended.lock(), [(1, Ended::Refused)]);
}

/// The store has written one slot's part before it met the damage of another's.
#[tokio::test(start_paused = true)]
async fn what_was_written_before_damage_was_met_is_acknowledged() {
    let mut bench = Bench::new().await;
    let records = [bench.scribe.record(1, "a"), bench.scribe.record(2, "b")];
    bench.store.inner().append(batch(&records[0])).await.expect("appended");
    bench.store.damage(2, Part::Records);
    let answers = records.clone().map(|record| bench.submit(record));
    bench.writer.commit_gathered().await;
    assert_eq!(answers.map(answer), [Ok(1), Err(AskError::Unknown)]);
    assert!(matches!(bench.seen.ended.lock()[..], [(2, Ended::Damaged(_))]));
}

/// The store is unavailable for what is appended, for as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_writer_whose_batch_does_not_settle_makes_no_progress() {
    let mut bench = Bench::new().await;
    for call in 1..=60 {
        bench.store.fail_at(Call::Append, call, Fault::FailBefore);
    }
    assert!(bench.writer.gathering.makes_progress(), "nothing waits");
    let record = bench.scribe.record(1, "a");
    let made = bench.submit(record);
    let stuck = async {
        while bench.writer.gathering.makes_progress() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = bench.writer.commit_gathered() => panic!("it is stuck for longer than that"),
        () = stuck => {}
    }
    drop(made); // cut off with its batch
    let record = Record { seq: 1, version: 1, ..bench.scribe.record(1, "a") };
    let made = bench.submit(record);
    bench.writer.commit_gathered().await;
    assert_eq!(answer(made), Ok(1));
    assert!(bench.writer.gathering.makes_progress());
}

/// Not events and states alone: what is owed, receipts, watermarks.
#[tokio::test(start_paused = true)]
async fn all_of_what_waits_counts_for_the_bound_of_memory() {
    let bench = Bench::new().await;
    let mut scribe = Scribe::claim(bench.store.clone()).await;
    let row = OwedRow { due_ms: 1, items: vec![OwedItem { number: 1, key: "x".repeat(1 << 20) }] };
    let owed = Some(OwedChange { before_due_ms: None, after: Some(row.clone()) });
    let record = Record { owed, ..scribe.record(1, "a") };
    let snapshot = Snapshot { owed: Some(row), ..scribe.snapshot_at(&record) };
    for item in [Item::Record(Arc::new(record)), Item::Snapshot(Arc::new(snapshot))] {
        assert!(bench.writer.gathering.budget.has_space());
        bench.writer.gathering.submit([Submission { slot: 1, generation: 1, item, effects: Vec::new() }]);
        assert!(!bench.writer.gathering.budget.has_space(), "a megabyte waits");
        bench.writer.commit_gathered().await;
    }
    assert!(bench.writer.gathering.budget.has_space());
}

/// Where a store lies on several machines, one of them may not answer: its slots' records are refused for certain, or not.
#[test]
fn what_one_machine_does_not_say_is_unknown_of_its_slots_alone() {
    let why = || "no answer".to_owned();
    let ended = super::ended(vec![(1, Refusal::Unavailable(why())), (2, Refusal::Unknown(why()))], &Ended::Refused);
    assert_eq!((ended.len(), &ended[&1], &ended[&2]), (2, &Ended::Refused, &Ended::Unknown));
}
