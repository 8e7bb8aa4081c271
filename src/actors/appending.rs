//! The journal writer's way through an append that the store does not simply take: what becomes of each slot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::writer::{Ended, WriterArguments};
use crate::persistence::{Batch, Refusal, Slot, StoreError};

impl WriterArguments {
    /// Appends the batch; the answer says which slots' generations end. Every record of another slot is durable.
    pub(super) async fn append(&self, batch: Batch) -> HashMap<Slot, Ended> {
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
        let error = match self.journal.append(batch.clone()).await {
            Ok(refused) => return self.written(&batch, refused, &Ended::Refused),
            Err(error) => error,
        };
        match error {
            StoreError::Unavailable(why) => {
                tracing::warn!(why, "the store is unavailable: nothing was written");
                all(&batch, &Ended::Refused)
            }
            StoreError::Unknown(why) => {
                tracing::warn!(why, "the outcome of a commit is unknown");
                all(&batch, &Ended::Unknown)
            }
            StoreError::Damaged(why) => self.append_apart(batch, why.into()).await,
            StoreError::Fatal(_) => self.failed(&batch, error),
        }
    }

    /// The store has met damage in one of the slots, and does not say in which: each slot's part goes by itself, so
    /// that the damage of one is no other's concern. What had been written all the same is refused now, and its slot
    /// looks what is durable.
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
            let why = match self.journal.append(part.clone()).await {
                Ok(refused) => {
                    ended.extend(self.written(&part, refused, &Ended::Unknown));
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

    /// The store has answered. `refused_is`: what a refusal means for its slot.
    fn written(&self, batch: &Batch, refused: Vec<(Slot, Refusal)>, refused_is: &Ended) -> HashMap<Slot, Ended> {
        for (slot, why) in &refused {
            tracing::warn!(slot, %why, "the store refused a slot's records");
        }
        let ended: HashMap<Slot, Ended> = refused.into_iter().map(|(slot, _)| (slot, refused_is.clone())).collect();
        let written = batch.records.iter().filter(|record| !ended.contains_key(&record.slot)).count();
        self.metrics.records_committed.inc_by(written as u64);
        ended
    }

    fn failed(&self, batch: &Batch, error: StoreError) -> HashMap<Slot, Ended> {
        tracing::error!(%error, "the store has failed: this node stops");
        self.outlet.store_failed(error);
        all(batch, &Ended::Unknown)
    }
}

fn all(batch: &Batch, why: &Ended) -> HashMap<Slot, Ended> {
    batch.records.iter().map(|record| (record.slot, why.clone())).collect()
}

#[cfg(test)]
mod tests;
