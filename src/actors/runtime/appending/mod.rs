//! The journal writer's way through an append that the store does not simply take: what becomes of each slot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::pauses::Pauses;
use super::writer::{Ended, WriterArguments};
use crate::persistence::{Batch, Record, Refusal, Slot, StoreError};

impl WriterArguments {
    /// Appends the batch; the answer says which slots' generations end. Every record of another slot is durable.
    pub(in crate::actors) async fn append(&self, batch: Batch) -> HashMap<Slot, Ended> {
        if batch.records.is_empty() && batch.snapshots.is_empty() {
            return HashMap::new();
        }
        let count = batch.records.len();
        let started = Instant::now();
        let ended = self.append_together(batch).await;
        self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        self.metrics.commit_records.observe(count as f64);
        ended
    }

    async fn append_together(&self, batch: Batch) -> HashMap<Slot, Ended> {
        let (appended, is_repeat) = self.send(&batch).await;
        match appended {
            Ok(refused) if is_repeat => self.judged(&batch, refused).await,
            Ok(refused) => self.written(&batch, ended(refused, &Ended::Refused)),
            Err(StoreError::Unavailable(why)) => {
                tracing::warn!(why, "the store is unavailable: nothing was written");
                all(&batch, &Ended::Refused)
            }
            Err(StoreError::Unknown(why)) => {
                tracing::warn!(why, "the outcome of a commit is unknown");
                all(&batch, &Ended::Unknown)
            }
            Err(StoreError::Damaged(why)) => self.append_apart(batch, why.into()).await,
            Err(error @ StoreError::Fatal(_)) => self.failed(&batch, error),
        }
    }

    /// Sends the batch, and the same one again while the store is unavailable and this node may speak for its slots.
    /// To wait is cheap: callers have their deadlines, and new ones are refused when the queue is full. To give up
    /// costs the memory of every slot. The same positions are sent again, so nothing is written twice. Says also
    /// whether it was sent more than once.
    async fn send(&self, batch: &Batch) -> (Result<Vec<(Slot, Refusal)>, StoreError>, bool) {
        let mut pauses = Pauses::STORE;
        let mut is_repeat = false;
        loop {
            match self.journal.append(batch.clone()).await {
                Err(StoreError::Unavailable(why)) if self.lease.is_valid() => {
                    let pause = pauses.take();
                    tracing::warn!(why, again_in_ms = pause.as_millis(), "the store is unavailable: a commit waits");
                    self.metrics.commits_repeated.inc();
                    (self.sleep)(pause).await;
                }
                other => return (other, is_repeat),
            }
            is_repeat = true;
        }
    }

    /// A batch that was sent more than once was answered. Where it is refused it may be because it was written the
    /// first time, though the store denied it: what is there tells.
    async fn judged(&self, batch: &Batch, refused: Vec<(Slot, Refusal)>) -> HashMap<Slot, Ended> {
        let mut ended = HashMap::new();
        for (slot, why) in refused {
            if self.is_written(batch, slot).await {
                tracing::warn!(slot, "a commit was written though the store had said that it was not");
            } else {
                ended.extend(self::ended(vec![(slot, why)], &Ended::Unknown));
            }
        }
        self.written(batch, ended)
    }

    /// Whether the slot's records in the batch are certainly in the store.
    async fn is_written(&self, batch: &Batch, slot: Slot) -> bool {
        let records: Vec<&Record> =
            batch.records.iter().map(|record| &**record).filter(|record| record.slot == slot).collect();
        let Some(before) = records.first().and_then(|first| first.seq.checked_sub(1)) else { return false };
        let mut pauses = Pauses::STORE;
        loop {
            match self.journal.feed(slot, before, records.len()).await {
                Ok(found) => return found.iter().eq(records),
                Err(StoreError::Unavailable(_)) if self.lease.is_valid() => {}
                Err(error) => {
                    tracing::warn!(slot, %error, "whether a commit was written is not known");
                    return false;
                }
            }
            (self.sleep)(pauses.take()).await;
        }
    }

    /// The store has met damage in one of the slots, and does not say in which: each slot's part goes by itself, so
    /// that the damage of one is no other's concern. What had been written before is refused now, and found there.
    async fn append_apart(&self, batch: Batch, why: Arc<str>) -> HashMap<Slot, Ended> {
        let mut parts: BTreeMap<Slot, Batch> = BTreeMap::new();
        let Batch { owner, records, snapshots } = batch;
        let part = || Batch { owner: owner.clone(), ..Batch::default() };
        for record in records {
            parts.entry(record.slot).or_insert_with(part).records.push(record);
        }
        for snapshot in snapshots {
            parts.entry(snapshot.slot).or_insert_with(part).snapshots.push(snapshot);
        }
        if parts.len() == 1 {
            return parts.into_keys().map(|slot| (slot, Ended::Damaged(why.clone()))).collect();
        }
        tracing::warn!(%why, "a commit has met damage: each slot's part is committed by itself");
        let mut ended = HashMap::new();
        for (slot, part) in parts {
            let why = match self.send(&part).await.0 {
                Ok(refused) => {
                    ended.extend(self.judged(&part, refused).await);
                    continue;
                }
                Err(StoreError::Damaged(why)) => Ended::Damaged(why.into()),
                Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) => Ended::Unknown,
                Err(error @ StoreError::Fatal(_)) => {
                    ended.extend(self.failed(&part, error));
                    continue;
                }
            };
            ended.insert(slot, why);
        }
        ended
    }

    /// Counts what was written: everything but these slots' records.
    fn written(&self, batch: &Batch, ended: HashMap<Slot, Ended>) -> HashMap<Slot, Ended> {
        let written = batch.records.iter().filter(|record| !ended.contains_key(&record.slot)).count();
        self.metrics.records_committed.inc_by(written as u64);
        ended
    }

    fn failed(&self, batch: &Batch, error: StoreError) -> HashMap<Slot, Ended> {
        tracing::error!(%error, "the store has failed: this node stops");
        self.sink.store_failed(error);
        all(batch, &Ended::Unknown)
    }
}

/// The slots that were refused, each with what that means.
fn ended(refused: Vec<(Slot, Refusal)>, why: &Ended) -> HashMap<Slot, Ended> {
    for (slot, refusal) in &refused {
        tracing::warn!(slot, why = %refusal, "the store refused a slot's records");
    }
    let why = |refusal| match refusal {
        Refusal::Unknown(_) => Ended::Unknown,
        Refusal::Fenced { .. }
        | Refusal::Conflict(_)
        | Refusal::Rejected(_)
        | Refusal::Unavailable(_)
        | Refusal::NotMember(_) => why.clone(),
    };
    refused.into_iter().map(|(slot, refusal)| (slot, why(refusal))).collect()
}

fn all(batch: &Batch, why: &Ended) -> HashMap<Slot, Ended> {
    batch.records.iter().map(|record| (record.slot, why.clone())).collect()
}

#[cfg(test)]
mod tests;
