//! What goes together and what does not, and what each caller is told. The store is the test: it gets each append
//! and answers it when it likes.

use std::pin::Pin;

use futures::poll;

use super::super::{EntityKey, Payload, Record};
use super::*;

const OWNER: &str = "node-1";

struct Store {
    appends: mpsc::Receiver<(Batch, oneshot::Sender<Answer>)>,
}

/// An append that has come to the store.
struct Come {
    batch: Batch,
    answer: oneshot::Sender<Answer>,
}

type Caller<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

fn gatherer() -> (Gatherer, Store) {
    let (sender, appends) = mpsc::channel(1);
    let gatherer = Gatherer::start(move |batch| {
        let sender = sender.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            sender.send((batch, answer)).await.expect("the test goes on");
            answered.await.expect("the test answers")
        }
    });
    (gatherer, Store { appends })
}

impl Store {
    async fn next(&mut self) -> Come {
        let (batch, answer) = self.appends.recv().await.expect("the gatherer goes on");
        Come { batch, answer }
    }
}

impl Come {
    fn records(&self) -> Vec<(Slot, u64)> {
        self.batch.records.iter().map(|record| (record.slot, record.seq)).collect()
    }
    fn answer_with(self, answer: Answer) {
        self.answer.send(answer).expect("it is waited for");
    }
}

/// Waits in the gatherer from now on.
async fn waits(gatherer: &Gatherer, batch: Batch) -> Caller<'_> {
    let mut caller: Caller<'_> = Box::pin(gatherer.append(batch));
    assert!(poll!(caller.as_mut()).is_pending());
    caller
}

fn record(slot: Slot, seq: u64, bytes: usize) -> Record {
    Record {
        slot,
        seq,
        epoch: 1,
        key: EntityKey { kind: 10, id: "a".into() },
        version: seq,
        at_ms: 1,
        request: [0; 16],
        receipt: None,
        events: vec![Payload { type_number: 0x0a01, version: 1, bytes: vec![0; bytes] }],
        owed: None,
        wake: None,
    }
}

fn batch(records: &[(Slot, u64)]) -> Batch {
    let records = records.iter().map(|(slot, seq)| record(*slot, *seq, 1));
    Batch::of(OWNER, records)
}

fn sized(slot: Slot, records: usize, bytes: usize) -> Batch {
    let records = (1..=records as u64).map(|seq| record(slot, seq, bytes));
    Batch::of(OWNER, records)
}

/// An append that keeps the store busy, so that what is handed over meanwhile gathers.
async fn busy<'a>(gatherer: &'a Gatherer, store: &mut Store) -> (Caller<'a>, Come) {
    let caller = waits(gatherer, batch(&[(99, 1)])).await;
    (caller, store.next().await)
}

#[tokio::test]
async fn what_waits_goes_together_and_a_slot_keeps_its_order() {
    let (gatherer, mut store) = gatherer();
    let (first, come) = busy(&gatherer, &mut store).await;
    let mut callers = Vec::new();
    for records in [&[(0, 1)][..], &[(1, 1)], &[(0, 2), (2, 1)], &[(2, 2)], &[(3, 1)], &[(0, 3)]] {
        callers.push(waits(&gatherer, batch(records)).await);
    }
    come.answer_with(Ok(vec![]));
    assert_eq!(first.await.expect("appended"), vec![]);
    // Slot 2 waits with slot 0, and nothing of it overtakes.
    for together in [&[(0, 1), (1, 1), (3, 1)][..], &[(0, 2), (2, 1)], &[(2, 2), (0, 3)]] {
        let come = store.next().await;
        assert_eq!(come.records(), together);
        come.answer_with(Ok(vec![]));
    }
    for caller in callers {
        assert_eq!(caller.await.expect("appended"), vec![]);
    }
}

#[tokio::test]
async fn a_refusal_is_told_to_whom_it_concerns() {
    let (gatherer, mut store) = gatherer();
    let (_first, come) = busy(&gatherer, &mut store).await;
    let one = waits(&gatherer, batch(&[(0, 1), (1, 1)])).await;
    let other = waits(&gatherer, batch(&[(2, 1)])).await;
    come.answer_with(Ok(vec![]));
    let come = store.next().await;
    assert_eq!(come.records(), [(0, 1), (1, 1), (2, 1)]);
    let fenced = (1, Refusal::Fenced { current: 7 });
    come.answer_with(Ok(vec![fenced.clone()]));
    assert_eq!(one.await.expect("judged"), [fenced]);
    assert_eq!(other.await.expect("appended"), vec![]);
}

#[tokio::test]
async fn what_nobody_knows_is_told_to_everybody_and_it_goes_on() {
    let (gatherer, mut store) = gatherer();
    let (_first, come) = busy(&gatherer, &mut store).await;
    let callers = [waits(&gatherer, batch(&[(0, 1)])).await, waits(&gatherer, batch(&[(1, 1)])).await];
    come.answer_with(Ok(vec![]));
    store.next().await.answer_with(Err(StoreError::Unknown("cut".to_owned())));
    for caller in callers {
        assert!(matches!(caller.await, Err(StoreError::Unknown(_))));
    }
    let next = waits(&gatherer, batch(&[(0, 2)])).await;
    store.next().await.answer_with(Ok(vec![]));
    assert_eq!(next.await.expect("appended"), vec![]);
}

#[tokio::test]
async fn a_caller_that_goes_away_has_appended_all_the_same() {
    let (gatherer, mut store) = gatherer();
    let (first, come) = busy(&gatherer, &mut store).await;
    let gone = waits(&gatherer, batch(&[(0, 1)])).await;
    let stays = waits(&gatherer, batch(&[(1, 1)])).await;
    // One whose append is on its way, and one whose turn has not come.
    drop((first, gone));
    come.answer_with(Ok(vec![]));
    let come = store.next().await;
    assert_eq!(come.records(), [(0, 1), (1, 1)]);
    come.answer_with(Ok(vec![(0, Refusal::Fenced { current: 2 })]));
    assert_eq!(stays.await.expect("appended"), vec![]);
}

#[tokio::test]
async fn an_append_is_one_owners() {
    let (gatherer, mut store) = gatherer();
    let (_first, come) = busy(&gatherer, &mut store).await;
    let mut callers = Vec::new();
    for (slot, owner) in [(0, OWNER), (1, "node-2"), (2, OWNER)] {
        callers.push(waits(&gatherer, Batch { owner: owner.into(), ..batch(&[(slot, 1)]) }).await);
    }
    come.answer_with(Ok(vec![]));
    for (owner, together) in [(OWNER, &[(0, 1), (2, 1)][..]), ("node-2", &[(1, 1)])] {
        let come = store.next().await;
        assert_eq!((&*come.batch.owner, &come.records()[..]), (owner, together));
        come.answer_with(Ok(vec![]));
    }
}

#[tokio::test]
async fn an_append_has_bounds_and_what_is_beyond_them_goes_alone() {
    let (gatherer, mut store) = gatherer();
    let (_first, come) = busy(&gatherer, &mut store).await;
    let mut callers = Vec::new();
    let sizes = [(0, RECORDS_MAX - 1, 1), (1, 2, 1), (2, 1, 1), (3, RECORDS_MAX + 1, 1), (4, 1, BYTES_MAX), (5, 1, 1)];
    for (slot, records, bytes) in sizes {
        callers.push(waits(&gatherer, sized(slot, records, bytes)).await);
    }
    come.answer_with(Ok(vec![]));
    for slots in [&[0, 2][..], &[1, 5], &[3], &[4]] {
        let come = store.next().await;
        let mut found: Vec<Slot> = come.records().iter().map(|(slot, _)| *slot).collect();
        found.dedup();
        assert_eq!(found, slots);
        come.answer_with(Ok(vec![]));
    }
    for caller in callers {
        assert_eq!(caller.await.expect("appended"), vec![]);
    }
}

/// A fault of ours must not look like a store that comes back.
#[tokio::test]
async fn a_committer_that_has_stopped_says_so() {
    let (gatherer, mut store) = gatherer();
    let (first, come) = busy(&gatherer, &mut store).await;
    let waiting = waits(&gatherer, batch(&[(0, 1)])).await;
    drop(come); // it panics
    assert!(matches!(first.await, Err(StoreError::Unknown(_))));
    assert!(matches!(waiting.await, Err(StoreError::Unknown(_))));
    assert!(matches!(gatherer.append(batch(&[(0, 2)])).await, Err(StoreError::Fatal(_))));
}

/// Its sender has a place, and the committer ends before the batch is in it.
#[tokio::test]
async fn a_batch_that_comes_while_the_committer_ends_is_answered() {
    let (gatherer, mut store) = gatherer();
    let (first, come) = busy(&gatherer, &mut store).await;
    let place = gatherer.sender.reserve().await.expect("a place");
    drop(come); // it panics
    assert!(matches!(first.await, Err(StoreError::Unknown(_))));
    while !gatherer.sender.is_closed() {
        tokio::task::yield_now().await;
    }
    let (answer, answered) = oneshot::channel();
    place.send(Waiting::new(batch(&[(0, 1)]), answer));
    answered.await.expect_err("nobody answers any more");
}
