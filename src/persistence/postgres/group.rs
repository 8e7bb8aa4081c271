//! Group commit of several callers: what waits while a statement runs goes into the next one. A node's writer
//! gathers by itself and has one append on its way; this is for whoever does not.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::super::{Batch, Refusal, Slot, StoreError};
use super::append::append;
use super::connect::Pools;

type Answer = Result<Vec<(Slot, Refusal)>, StoreError>;

/// Appends that wait. Each is a whole batch of a caller.
const WAITING_MAX: usize = 4_096;
/// So many records are enough for one statement.
const RECORDS_MAX: usize = 4_096;

pub struct Group {
    sender: mpsc::Sender<Waiting>,
}

struct Waiting {
    batch: Batch,
    slots: HashSet<Slot>,
    answer: oneshot::Sender<Answer>,
}

impl Group {
    /// Commits until the group is dropped and nothing waits any more.
    pub fn start(pools: Arc<Pools>) -> Group {
        let (sender, queue) = mpsc::channel(WAITING_MAX);
        tokio::spawn(commit(pools, queue));
        Group { sender }
    }

    pub async fn append(&self, batch: Batch) -> Answer {
        let slots = batch.records.iter().map(|record| record.slot);
        let slots = slots.chain(batch.snapshots.iter().map(|snapshot| snapshot.slot)).collect();
        let (answer, answered) = oneshot::channel();
        let gone = |_| StoreError::Unavailable("the store is closed".into());
        self.sender.send(Waiting { batch, slots, answer }).await.map_err(|_| gone(()))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("the committer has stopped".into())))
    }
}

async fn commit(pools: Arc<Pools>, mut queue: mpsc::Receiver<Waiting>) {
    let mut held_back: VecDeque<Waiting> = VecDeque::new();
    loop {
        if held_back.is_empty() {
            let Some(first) = queue.recv().await else { return };
            held_back.push_back(first);
        }
        while held_back.len() < WAITING_MAX
            && let Ok(next) = queue.try_recv()
        {
            held_back.push_back(next);
        }
        let mut taken = take(&mut held_back);
        let mut whole = Batch::default();
        for waiting in &mut taken {
            let Batch { owner, records, snapshots } = std::mem::take(&mut waiting.batch);
            whole.owner = owner;
            whole.records.extend(records);
            whole.snapshots.extend(snapshots);
        }
        let answer = append(&pools, whole).await;
        for Waiting { slots, answer: to, .. } in taken {
            let mine = answer.clone().map(|mut refused| {
                refused.retain(|(slot, _)| slots.contains(slot));
                refused
            });
            let _ = to.send(mine); // whoever does not wait any more has been served all the same
        }
    }
}

/// What can be committed together: one owner's, and each slot once, so that what one of them comes to is no
/// concern of another. The order of what belongs to one slot is kept.
fn take(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut taken: Vec<Waiting> = Vec::new();
    let mut left = VecDeque::new();
    let mut spoken_for: HashSet<Slot> = HashSet::new();
    let mut records = 0;
    for next in waiting.drain(..) {
        let is_apart = spoken_for.is_disjoint(&next.slots);
        spoken_for.extend(&next.slots);
        let fits = taken.first().is_none_or(|first| first.batch.owner == next.batch.owner && records < RECORDS_MAX);
        if is_apart && fits {
            records += next.batch.records.len();
            taken.push(next);
        } else {
            left.push_back(next);
        }
    }
    *waiting = left;
    taken
}
