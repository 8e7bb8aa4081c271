//! Group commit of several callers: what waits while one append is on its way goes into the next. There is no
//! timer. A node's writer gathers by itself and has one append on its way; this is for whoever does not.
//!
//! What goes together is one owner's, and names each slot once: so what one caller's slots come to is no concern
//! of another's, as the contract of [`super::Journal`] says of slots. What belongs to one slot keeps its order.
//! A caller that goes away has appended all the same, as if its answer had been lost.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::{Batch, Refusal, Slot, StoreError};

/// What an append answers: the slots that were refused.
pub type Answer = Result<Vec<(Slot, Refusal)>, StoreError>;

/// Batches that wait for their turn; whoever comes then waits to be let in.
const WAITING_MAX: usize = 4_096;
/// So much is enough for one append. A batch that is larger by itself goes alone.
const RECORDS_MAX: usize = 4_096;
const BYTES_MAX: usize = 8 << 20;

/// Where batches gather.
pub struct Gatherer {
    sender: mpsc::Sender<Waiting>,
}

struct Waiting {
    batch: Batch,
    slots: HashSet<Slot>,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

impl Gatherer {
    /// Appends, one after another, until the gatherer is dropped and nothing waits any more.
    pub fn start<F, A>(append: A) -> Gatherer
    where
        A: Fn(Batch) -> F + Send + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let (sender, queue) = mpsc::channel(WAITING_MAX);
        tokio::spawn(work(append, queue));
        Gatherer { sender }
    }

    pub async fn append(&self, batch: Batch) -> Answer {
        let (answer, answered) = oneshot::channel();
        let stopped = |_| StoreError::Fatal("the committer has stopped".to_owned());
        self.sender.send(Waiting::new(batch, answer)).await.map_err(stopped)?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("the committer has stopped".to_owned())))
    }
}

impl Waiting {
    fn new(batch: Batch, answer: oneshot::Sender<Answer>) -> Waiting {
        let slots = batch.records.iter().map(|record| record.slot);
        let slots = slots.chain(batch.snapshots.iter().map(|snapshot| snapshot.slot)).collect();
        let bytes = batch.records.iter().map(|record| record.encoded_len()).sum::<usize>()
            + batch.snapshots.iter().map(|snapshot| snapshot.encoded_len()).sum::<usize>();
        Waiting { batch, slots, bytes, answer }
    }
}

/// However the work ends, nobody waits for an answer that never comes: a batch may still be put in while the queue is
/// given up, and would stay there as long as the gatherer.
async fn work<F, A>(append: A, mut queue: mpsc::Receiver<Waiting>)
where
    A: Fn(Batch) -> F,
    F: Future<Output = Answer> + Send,
{
    let ended = AssertUnwindSafe(commit(append, &mut queue)).catch_unwind().await;
    queue.close();
    while let Some(waiting) = queue.recv().await {
        drop(waiting); // and with it who would have answered
    }
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

async fn commit<F, A>(append: A, queue: &mut mpsc::Receiver<Waiting>)
where
    A: Fn(Batch) -> F,
    F: Future<Output = Answer> + Send,
{
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    loop {
        if waiting.is_empty() {
            let Some(first) = queue.recv().await else { return };
            waiting.push_back(first);
        }
        // Whoever was answered just now may have more, and a fuller append costs the store little.
        tokio::task::yield_now().await;
        while waiting.len() < WAITING_MAX
            && let Ok(next) = queue.try_recv()
        {
            waiting.push_back(next);
        }
        let mut taken = take(&mut waiting);
        let batches = taken.iter_mut().map(|one| std::mem::take(&mut one.batch));
        let whole = batches.reduce(|mut whole, next| {
            whole.records.extend(next.records);
            whole.snapshots.extend(next.snapshots);
            whole
        });
        let told = append(whole.unwrap_or_default()).await;
        for Waiting { slots, answer, .. } in taken {
            let mine = told.clone().map(|mut refused| {
                refused.retain(|(slot, _)| slots.contains(slot));
                refused
            });
            let _ = answer.send(mine); // whoever does not wait any more has been served all the same
        }
    }
}

/// What can be appended together. The first always is, so everybody's turn comes.
fn take(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut taken: Vec<Waiting> = Vec::new();
    let mut left = VecDeque::new();
    let mut spoken_for: HashSet<Slot> = HashSet::new();
    let (mut records, mut bytes) = (0, 0);
    for next in waiting.drain(..) {
        let is_apart = spoken_for.is_disjoint(&next.slots);
        // Also of what has to wait: what comes behind it must not overtake it.
        spoken_for.extend(&next.slots);
        let (with_records, with_bytes) = (records + next.batch.records.len(), bytes + next.bytes);
        let fits = taken.first().is_none_or(|first| {
            first.batch.owner == next.batch.owner && with_records <= RECORDS_MAX && with_bytes <= BYTES_MAX
        });
        if is_apart && fits {
            (records, bytes) = (with_records, with_bytes);
            taken.push(next);
        } else {
            left.push_back(next);
        }
    }
    *waiting = left;
    taken
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
