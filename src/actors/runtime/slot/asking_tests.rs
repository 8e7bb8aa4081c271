//! How many slots read their indexes at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use tokio::task::yield_now;

use super::*;
use crate::actors::kinds;
use crate::actors::runtime::writer::QueueBudget;
use crate::config::Config;
use crate::persistence::decorator::Decorator;
use crate::persistence::memory::Memory;
use crate::persistence::{Slot, SlotHead};

const SLOTS: Slot = 500;
const PLACES: usize = 7;

/// A store that takes its time, and counts how many reads are on their way.
struct Counted {
    inner: Memory,
    reading: AtomicUsize,
    most: AtomicUsize,
}

impl Decorator for Counted {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn read<T: Send>(&self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        let reading = self.reading.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(reading, Ordering::Relaxed);
        for _ in 0..3 {
            yield_now().await;
        }
        self.reading.fetch_sub(1, Ordering::Relaxed);
        work.await
    }

    async fn head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        assert_ne!(slot, 3, "a store that panics");
        self.read(self.inner.head(slot)).await
    }
}

struct Node {
    store: Arc<Counted>,
    index_reads: Arc<Semaphore>,
    slots: Vec<Arc<Asking>>,
}

fn node() -> Node {
    let inner = Memory::new(SLOTS);
    let store = Arc::new(Counted { inner, reading: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let journal: Arc<dyn Journal> = store.clone();
    let gathering = Gathering::new(Arc::new(QueueBudget::new(1_000, 1 << 20)));
    let claims = Claims::new(journal.clone(), "node".into());
    let (loads, index_reads) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(PLACES)));
    let slot = |slot| {
        Arc::new(Asking {
            shared: SlotShared::new(slot, 8),
            kinds: kinds::all(),
            receipts: Config::default().slots.receipts,
            journal: journal.clone(),
            gathering: gathering.clone(),
            claims: claims.clone(),
            loads: loads.clone(),
            index_reads: index_reads.clone(),
            owed_page: OWED_PAGE,
        })
    };
    Node { slots: (0..SLOTS).map(slot).collect(), store, index_reads }
}

fn after() -> (i64, EntityKey) {
    (0, EntityKey { kind: 9, id: "SKU-1".into() })
}

#[tokio::test]
async fn slots_that_begin_at_once_read_in_turn_and_each_is_answered() {
    let node = node();
    let question = |slot: usize| match slot % 3 {
        0 => Question::ReadOwed { after: None },
        1 => Question::LookAgain(Damage::Wakes(after())),
        _ => Question::ReadHead,
    };
    let asked = node.slots.iter().enumerate().map(|(slot, asking)| asking.ask(0, question(slot)));
    let answers = join_all(asked).await;
    let is_answered = |answer: &&Option<Back>| {
        matches!(answer, Some(Back::OwedRead { page: Ok(_), .. } | Back::LookedAgain(Ok(())) | Back::HeadRead(Ok(_))))
    };
    assert_eq!(answers.iter().filter(is_answered).count(), usize::from(SLOTS));
    assert_eq!(node.store.most.load(Ordering::Relaxed), PLACES, "as many as may, and no more");
}

#[tokio::test]
async fn who_waits_for_the_writer_has_no_place() {
    let node = node();
    // Nothing is ever committed here, so what is in flight does not settle.
    let waiting =
        node.slots.iter().take(2 * PLACES).map(|asking| asking.ask(0, Question::ReadWakes { after: after() }));
    let mut waiting = std::pin::pin!(join_all(waiting));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert!(!node.slots[0].gathering.is_empty(), "all of them wait for it");
    assert_eq!(node.index_reads.available_permits(), PLACES);
}

#[tokio::test]
async fn a_generation_that_has_ended_meanwhile_reads_nothing() {
    let node = node();
    let generation = node.slots[0].shared.next_generation();
    let all = node.index_reads.acquire_many(PLACES as u32).await.expect("it is open");
    let mut asked = std::pin::pin!(node.slots[0].ask(generation, Question::ReadOwed { after: None }));
    assert!(futures::poll!(&mut asked).is_pending());
    node.slots[0].shared.next_generation();
    drop(all);
    assert!(asked.await.is_none());
    assert_eq!(node.store.most.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_read_that_panics_gives_its_place_back() {
    let node = node();
    let asking = node.slots[3].clone();
    let panicked = tokio::spawn(async move { asking.ask(0, Question::ReadHead).await.is_some() }).await;
    assert!(panicked.is_err());
    assert_eq!(node.index_reads.available_permits(), PLACES);
}
