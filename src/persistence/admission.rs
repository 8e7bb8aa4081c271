//! Judging a batch: the compare-and-set of `append`, the same for every store that judges in our
//! process. (A shared store judges in its own transaction, by the same rules.)

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Batch, EntityKey, Epoch, Record, Refusal, Slot, Snapshot, StoreError};

/// What a batch is compared with.
pub trait Present {
    /// The state of a slot; `None` for a slot that the store does not have.
    fn slot(&self, slot: Slot) -> Option<Held<'_>>;
    /// The version of an entity; 0 when it has no record.
    fn version(&mut self, key: &EntityKey) -> Result<u64, StoreError>;
}

/// A slot as it is when a batch comes: who may append to it, and behind which sequence.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    pub owner: Option<&'a str>,
    pub epoch: Epoch,
    pub seq: u64,
}

/// What of a batch is to be written, and what was refused (in slot order).
#[derive(Debug)]
pub struct Admitted {
    pub records: Vec<Arc<Record>>,
    pub snapshots: Vec<Arc<Snapshot>>,
    pub refusals: Vec<(Slot, Refusal)>,
}

/// Splits a batch into what holds and what is refused. A slot is refused whole, with its first reason.
/// Snapshots of refused slots, of others' slots and of what is not yet written are dropped.
pub fn admit(batch: Batch, present: &mut impl Present) -> Result<Admitted, StoreError> {
    let Batch { owner, mut records, mut snapshots } = batch;
    let mut last_seqs: HashMap<Slot, u64> = HashMap::new();
    let mut versions: HashMap<&EntityKey, u64> = HashMap::with_capacity(records.len());
    let mut refused: BTreeMap<Slot, Refusal> = BTreeMap::new();
    for record in &records {
        if refused.contains_key(&record.slot) {
            continue;
        }
        if let Err(refusal) = judge(record, &owner, present, &mut last_seqs, &mut versions)? {
            refused.insert(record.slot, refusal);
        }
    }
    if !refused.is_empty() {
        records.retain(|record| !refused.contains_key(&record.slot));
    }
    snapshots.retain(|snapshot| {
        let Some(held) = present.slot(snapshot.slot).filter(|held| held.owner == Some(&owner)) else { return false };
        let written = last_seqs.get(&snapshot.slot).copied().unwrap_or(held.seq);
        snapshot.seq <= written && !refused.contains_key(&snapshot.slot) && snapshot.fits()
    });
    keep_newest(&mut snapshots);
    Ok(Admitted { records, snapshots, refusals: refused.into_iter().collect() })
}

/// One record against the store and against what came before it in the batch.
fn judge<'a>(
    record: &'a Record,
    owner: &str,
    present: &mut impl Present,
    last_seqs: &mut HashMap<Slot, u64>,
    versions: &mut HashMap<&'a EntityKey, u64>,
) -> Result<Result<(), Refusal>, StoreError> {
    let Some(held) = present.slot(record.slot) else {
        return Ok(Err(Refusal::Rejected(format!("the store has no slot {}", record.slot))));
    };
    if held.owner != Some(owner) || record.epoch != held.epoch {
        return Ok(Err(Refusal::Fenced { current: held.epoch }));
    }
    if let Err(why) = record.check() {
        return Ok(Err(Refusal::Rejected(why)));
    }
    let last_seq = last_seqs.entry(record.slot).or_insert(held.seq);
    let next_seq = *last_seq + 1;
    if record.seq != next_seq {
        let why = format!("slot {}: sequence {} where {next_seq} is next", record.slot, record.seq);
        return Ok(Err(Refusal::Conflict(why)));
    }
    let version = match versions.get(&record.key) {
        Some(version) => *version,
        None => present.version(&record.key)?,
    };
    let next_version = version + u64::from(!record.events.is_empty());
    if record.version != next_version {
        let EntityKey { kind, id } = &record.key;
        let why = format!("entity {kind}/{id}: version {} where {next_version} is next", record.version);
        return Ok(Err(Refusal::Conflict(why)));
    }
    *last_seq = next_seq;
    versions.insert(&record.key, next_version);
    Ok(Ok(()))
}

/// Of several snapshots of one entity in a batch only the newest is worth writing.
fn keep_newest(snapshots: &mut Vec<Arc<Snapshot>>) {
    if snapshots.len() < 2 {
        return;
    }
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.seq));
    let mut seen = HashSet::new();
    snapshots.retain(|snapshot| seen.insert(snapshot.key.clone()));
}
