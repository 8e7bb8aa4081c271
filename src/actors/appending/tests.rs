//! What becomes of each slot's records when the store does not simply take an append.

use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::super::envelope::{AskError, Reply, ReplyTo};
use super::super::slot::{Dispatch, SlotShared};
use super::super::writer::{Effect, Ended, Gathering, Item, Outlet, Room, Submission, WriterArguments, WriterLimits};
use crate::actors::values::Time;
use crate::cluster::SoleOwner;
use crate::metrics::Metrics;
use crate::persistence::conformance::{SCRIBE, Scribe};
use crate::persistence::faulty::{Faulty, Part};
use crate::persistence::memory::Memory;
use crate::persistence::{EntityKey, Record, Slot, StoreError};

/// What left the writer.
#[derive(Default)]
struct Seen {
    ended: Mutex<Vec<(Slot, Ended)>>,
    failed: Mutex<bool>,
}

impl Outlet for Seen {
    fn dispatch(&self, _: Dispatch) {}
    fn changed(&self, _: Vec<EntityKey>) {}
    fn readable_again(&self) {}
    fn ended(&self, slot: Slot, _: u64, why: Ended) {
        self.ended.lock().push((slot, why));
    }
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
        let store = Arc::new(Faulty::new(Memory::new(4)));
        let scribe = Scribe::claim(store.clone()).await;
        let slots: Vec<_> = (0..4).map(|slot| SlotShared::new(slot, 8)).collect();
        slots.iter().for_each(|shared| assert_eq!(shared.next_generation(), 1));
        let seen = Arc::new(Seen::default());
        let writer = WriterArguments {
            gathering: Gathering::new(Arc::new(Room::new(100, 1 << 20))),
            owner: SCRIBE.into(),
            journal: store.clone(),
            lease: Arc::new(SoleOwner),
            slots,
            outlet: seen.clone(),
            limits: WriterLimits::default(),
            metrics: Arc::new(Metrics::new()),
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
            at: Time(0),
            state: None,
            replayed: false,
            residence: None,
        };
        let effects = vec![Effect::Reply(to, Ok(done))];
        self.writer.gathering.submit([Submission { slot, generation, item: Item::Record(Box::new(record)), effects }]);
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
