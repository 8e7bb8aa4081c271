//! A batch as the append statement takes it: slot by slot, with what must hold of each, and everything as
//! columns. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::{Batch, EntityKey, Origin, Record, Slot, Snapshot};

/// What one slot's part of a batch is, and where it belongs.
#[derive(Debug, Default)]
pub struct SlotPlan {
    pub slot: Slot,
    pub records: Vec<Arc<Record>>,
    frames: Vec<Vec<u8>>,
    snapshots: Vec<Arc<Snapshot>>,
    epoch: i64,
    before_seq: i64,
    last_seq: i64,
    last_at_ms: i64,
    /// Entities, with the version that each must have before.
    entities: Vec<(EntityKey, i64)>,
    /// Whether its records follow from each other. One that is not is sent all the same, to be told why it is
    /// refused: perhaps it is fenced.
    is_sound: bool,
}

/// Splits a batch, in slot order.
pub fn plan(batch: Batch) -> (Arc<str>, Vec<SlotPlan>) {
    let mut plans: BTreeMap<Slot, SlotPlan> = BTreeMap::new();
    let of = |slot: Slot| SlotPlan { slot, ..SlotPlan::default() };
    for record in batch.records {
        plans.entry(record.slot).or_insert_with(|| of(record.slot)).records.push(record);
    }
    for snapshot in batch.snapshots.into_iter().filter(|snapshot| snapshot.fits()) {
        plans.entry(snapshot.slot).or_insert_with(|| of(snapshot.slot)).snapshots.push(snapshot);
    }
    let mut plans: Vec<SlotPlan> = plans.into_values().collect();
    plans.iter_mut().for_each(SlotPlan::complete);
    (batch.owner, plans)
}

/// Numbers are kept as signed ones: none that counts comes near the end.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A short name of an entity within its slot, for the index. Others may have the same: whoever looks an entity
/// up by it compares kind and id as well. It is stored, so it never changes.
pub fn entity_number(key: &EntityKey) -> i32 {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(key.id.as_bytes(), u64::from(key.kind));
    (hash as u32).cast_signed() // its lower half
}

impl SlotPlan {
    fn complete(&mut self) {
        self.is_sound = self.judge().is_some();
        if !self.is_sound {
            self.entities.clear();
        } else {
            self.frames = self.records.iter().map(|record| record.encode()).collect();
        }
        // Of several snapshots of one entity only the newest is worth writing.
        self.snapshots.sort_by(|a, b| (&a.key, b.seq).cmp(&(&b.key, a.seq)));
        self.snapshots.dedup_by(|older, newer| older.key == newer.key);
    }

    /// `None`: these records can follow nothing.
    fn judge(&mut self) -> Option<()> {
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else { return Some(()) };
        self.epoch = i64::try_from(first.epoch).ok()?;
        self.before_seq = i64::try_from(first.seq.checked_sub(1)?).ok()?;
        self.last_seq = i64::try_from(last.seq).ok()?;
        self.last_at_ms = last.at_ms;
        let mut versions: HashMap<&EntityKey, u64> = HashMap::new();
        for (record, seq) in self.records.iter().zip(first.seq..) {
            let before = record.version.checked_sub(u64::from(!record.events.is_empty()))?;
            let known = versions.insert(&record.key, record.version);
            if known.is_none() {
                self.entities.push((record.key.clone(), i64::try_from(before).ok()?));
            }
            let follows = record.epoch == first.epoch && record.seq == seq && known.unwrap_or(before) == before;
            if !follows || record.check().is_err() {
                return None;
            }
        }
        Some(())
    }

    /// Whether it is what the quick statement takes.
    pub fn is_plain(&self) -> bool {
        self.is_sound && self.has_records()
    }

    pub fn has_records(&self) -> bool {
        !self.records.is_empty()
    }
}

/// A part of a batch in columns, one field per parameter of the statement.
#[derive(Debug, Default)]
pub struct Columns<'a> {
    pub slots: Slots,
    pub entities: Keys<'a>,
    pub entity_numbers: Vec<i32>,
    pub entity_versions: Vec<i64>,
    /// The entities among them that may be new.
    pub entered: Keys<'a>,
    pub records: Keys<'a>,
    pub record_entities: Vec<i32>,
    pub record_seqs: Vec<i64>,
    pub record_versions: Vec<i64>,
    pub record_frames: Vec<&'a [u8]>,
    pub receipts: Receipts<'a>,
    pub owed_gone: Dues<'a>,
    pub owed: Dues<'a>,
    pub owed_seqs: Vec<i64>,
    pub wakes_gone: Dues<'a>,
    pub wakes: Dues<'a>,
    pub snapshots: Keys<'a>,
    pub snapshot_seqs: Vec<i64>,
    pub snapshot_versions: Vec<i64>,
    pub snapshot_frames: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct Slots {
    pub slots: Vec<i32>,
    pub epochs: Vec<i64>,
    pub before_seqs: Vec<i64>,
    pub last_seqs: Vec<i64>,
    pub last_at_ms: Vec<i64>,
    pub are_sound: Vec<bool>,
    pub have_records: Vec<bool>,
}

#[derive(Debug, Default)]
pub struct Keys<'a> {
    pub slots: Vec<i32>,
    pub kinds: Vec<i16>,
    pub ids: Vec<&'a str>,
}

#[derive(Debug, Default)]
pub struct Dues<'a> {
    pub keys: Keys<'a>,
    pub due_ms: Vec<i64>,
}

#[derive(Debug, Default)]
pub struct Receipts<'a> {
    pub keys: Keys<'a>,
    pub requests: Vec<&'a [u8]>,
    pub seqs: Vec<i64>,
    pub expires_ms: Vec<Option<i64>>,
    pub from_slots: Vec<Option<i32>>,
    pub numbers: Vec<Option<i64>>,
    pub watermarks: Vec<Option<i64>>,
}

impl<'a> Keys<'a> {
    fn push(&mut self, slot: Slot, key: &'a EntityKey) {
        self.slots.push(i32::from(slot));
        self.kinds.push(i16::from(key.kind));
        self.ids.push(&key.id);
    }
}

impl<'a> Dues<'a> {
    fn push(&mut self, slot: Slot, key: &'a EntityKey, due_ms: i64) {
        self.keys.push(slot, key);
        self.due_ms.push(due_ms);
    }
}

impl<'a> Columns<'a> {
    pub fn of(plans: impl IntoIterator<Item = &'a SlotPlan>) -> Columns<'a> {
        let mut columns = Columns::default();
        for plan in plans {
            columns.take_slot(plan);
            if plan.is_sound {
                columns.take_records(plan);
                columns.take_indexes(plan);
                columns.take_receipts(plan);
                columns.take_snapshots(plan);
            }
        }
        columns
    }

    fn take_slot(&mut self, plan: &SlotPlan) {
        let slots = &mut self.slots;
        slots.slots.push(i32::from(plan.slot));
        slots.epochs.push(plan.epoch);
        slots.before_seqs.push(plan.before_seq);
        slots.last_seqs.push(plan.last_seq);
        slots.last_at_ms.push(plan.last_at_ms);
        slots.are_sound.push(plan.is_sound);
        slots.have_records.push(plan.has_records());
    }

    fn take_records(&mut self, plan: &'a SlotPlan) {
        for (key, version) in &plan.entities {
            self.entities.push(plan.slot, key);
            self.entity_numbers.push(entity_number(key));
            self.entity_versions.push(*version);
            if *version == 0 {
                self.entered.push(plan.slot, key);
            }
        }
        for (record, frame) in plan.records.iter().zip(&plan.frames) {
            self.records.push(plan.slot, &record.key);
            self.record_entities.push(entity_number(&record.key));
            self.record_seqs.push(signed(record.seq));
            self.record_versions.push(signed(record.version));
            self.record_frames.push(frame);
        }
    }

    /// Each entity's rows from what they were before the batch to what they are after it: a statement may
    /// touch a row only once.
    fn take_indexes(&mut self, plan: &'a SlotPlan) {
        let mut owed: BTreeMap<&EntityKey, (Option<i64>, Option<i64>, u64)> = BTreeMap::new();
        let mut wakes: BTreeMap<&EntityKey, (Option<i64>, Option<i64>)> = BTreeMap::new();
        for record in &plan.records {
            if let Some(change) = &record.owed {
                let moved = owed.entry(&record.key).or_insert((change.before_due_ms, None, 0));
                (moved.1, moved.2) = (change.after.as_ref().map(|row| row.due_ms), record.seq);
            }
            if let Some(change) = &record.wake {
                wakes.entry(&record.key).or_insert((change.before_ms, None)).1 = change.after_ms;
            }
        }
        for (key, (before, after, seq)) in owed {
            if let Some(due_ms) = before.filter(|_| before != after) {
                self.owed_gone.push(plan.slot, key, due_ms);
            }
            if let Some(due_ms) = after {
                self.owed.push(plan.slot, key, due_ms);
                self.owed_seqs.push(signed(seq));
            }
        }
        for (key, (before, after)) in wakes {
            if let Some(due_ms) = before.filter(|_| before != after) {
                self.wakes_gone.push(plan.slot, key, due_ms);
            }
            if let Some(due_ms) = after {
                self.wakes.push(plan.slot, key, due_ms);
            }
        }
    }

    fn take_receipts(&mut self, plan: &'a SlotPlan) {
        // The last one, should a request have several.
        let mut last: BTreeMap<(&EntityKey, &[u8; 16]), &Record> = BTreeMap::new();
        for record in plan.records.iter().filter(|record| record.receipt.is_some()) {
            last.insert((&record.key, &record.request), record);
        }
        let receipts = &mut self.receipts;
        for record in last.into_values() {
            let Some(receipt) = &record.receipt else { continue };
            receipts.keys.push(plan.slot, &record.key);
            receipts.requests.push(&record.request);
            receipts.seqs.push(signed(record.seq));
            let (expires_ms, from_slot, number, watermark) = match receipt.origin {
                Origin::Client { expires_ms } => (Some(expires_ms), None, None, None),
                Origin::Owed { slot, number, watermark } => {
                    (None, Some(i32::from(slot)), Some(signed(number)), Some(signed(watermark)))
                }
            };
            receipts.expires_ms.push(expires_ms);
            receipts.from_slots.push(from_slot);
            receipts.numbers.push(number);
            receipts.watermarks.push(watermark);
        }
    }

    fn take_snapshots(&mut self, plan: &'a SlotPlan) {
        for snapshot in &plan.snapshots {
            self.snapshots.push(plan.slot, &snapshot.key);
            self.snapshot_seqs.push(signed(snapshot.seq));
            self.snapshot_versions.push(signed(snapshot.version));
            self.snapshot_frames.push(snapshot.encode());
        }
    }
}
