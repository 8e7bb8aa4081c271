//! What of a batch is one slot's, and what must hold in the store for it to be written. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use redis::Cmd;

use super::keys::{self, Group, Keys};
use super::scripts::{self, Name};
use super::writes::Writes;
use crate::persistence::{Batch, EntityKey, Record, Slot, Snapshot};

/// Records of one call of the script, about: while it runs, the server does nothing else.
const CALL_RECORDS_MAX: usize = 4_096;

/// What of a batch is one slot's.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub slot: Slot,
    pub records: Vec<Arc<Record>>,
    pub snapshots: Vec<Arc<Snapshot>>,
}

/// Splits a batch by slots, in their order.
pub(super) fn parts(batch: Batch) -> Vec<Part> {
    let mut parts: BTreeMap<Slot, Part> = BTreeMap::new();
    let of = |slot: Slot| Part { slot, ..Part::default() };
    for record in batch.records {
        parts.entry(record.slot).or_insert_with(|| of(record.slot)).records.push(record);
    }
    for snapshot in batch.snapshots.into_iter().filter(|snapshot| snapshot.fits()) {
        parts.entry(snapshot.slot).or_insert_with(|| of(snapshot.slot)).snapshots.push(snapshot);
    }
    parts.into_values().collect()
}

/// An entity, with its version before and after a part.
type Step<'a> = (&'a EntityKey, u64, u64);

impl Part {
    /// Which entities it takes where. `None`: its records follow from nothing, whatever is in the store.
    pub fn steps(&self) -> Option<Vec<Step<'_>>> {
        let Some(first) = self.records.first() else { return Some(Vec::new()) };
        first.seq.checked_sub(1)?;
        let mut places: HashMap<&EntityKey, usize> = HashMap::with_capacity(self.records.len());
        let mut steps: Vec<Step<'_>> = Vec::with_capacity(self.records.len());
        for (record, seq) in self.records.iter().zip(first.seq..) {
            let before = record.version.checked_sub(u64::from(!record.events.is_empty()))?;
            let place = *places.entry(&record.key).or_insert_with(|| {
                steps.push((&record.key, before, before));
                steps.len() - 1
            });
            if record.epoch != first.epoch || record.seq != seq || steps[place].2 != before || record.check().is_err() {
                return None;
            }
            steps[place].2 = record.version;
        }
        Some(steps)
    }
}

/// A head, as it is stored.
fn head(epoch: u64, seq: u64, owner: &str) -> Vec<u8> {
    format!("{epoch}:{seq}:{owner}").into()
}

/// What one call of the script is about: whole groups of slots.
#[derive(Default)]
pub(super) struct Call {
    pub parts: Vec<Part>,
}

/// The calls that these take: one where one server has all groups, else one for each group.
pub(super) fn calls(parts: Vec<Part>, is_cluster: bool) -> Vec<Call> {
    let mut groups: BTreeMap<Group, Vec<Part>> = BTreeMap::new();
    for part in parts {
        groups.entry(keys::group_of(part.slot)).or_default().push(part);
    }
    let mut calls: Vec<Call> = Vec::new();
    let mut records = 0;
    for parts in groups.into_values() {
        let more: usize = parts.iter().map(|part| part.records.len()).sum();
        match calls.last_mut().filter(|_| !is_cluster && records + more <= CALL_RECORDS_MAX) {
            Some(call) => call.parts.extend(parts),
            None => {
                records = 0;
                calls.push(Call { parts });
            }
        }
        records += more;
    }
    calls
}

/// What must hold of one group, and what is written then.
#[derive(Default)]
struct Change {
    fields: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    writes: Writes,
}

impl Change {
    fn must_be(&mut self, field: Vec<u8>, value: Vec<u8>) {
        self.fields.push(field);
        self.values.push(value);
    }

    fn take(&mut self, owner: &str, part: &Part, steps: &[Step<'_>]) {
        let slot = part.slot;
        if let (Some(first), Some(last)) = (part.records.first(), part.records.last()) {
            self.must_be(keys::head_field(slot), head(first.epoch, first.seq.saturating_sub(1), owner));
            self.writes.field(keys::head_field(slot), head(last.epoch, last.seq, owner));
        }
        for (key, before, after) in steps {
            match before {
                // Absent; or it has had records without events.
                0 => {
                    self.must_be(keys::version_field(slot, key), Vec::new());
                    self.writes.entity(slot, key);
                }
                before => self.must_be(keys::version_field(slot, key), before.to_string().into()),
            }
            if after != before {
                self.writes.field(keys::version_field(slot, key), after.to_string());
            }
        }
        self.writes.records(slot, &part.records);
        part.snapshots.iter().for_each(|snapshot| self.writes.snapshot(snapshot));
    }
}

impl Call {
    /// The command. `None`: something of it follows from nothing.
    pub fn command(&self, owner: &str, keys: &Keys, is_cluster: bool) -> Option<Cmd> {
        let mut groups: BTreeMap<Group, Change> = BTreeMap::new();
        for part in &self.parts {
            groups.entry(keys::group_of(part.slot)).or_default().take(owner, part, &part.steps()?);
        }
        let names: Vec<Vec<u8>> = groups.keys().map(|group| keys.group(*group).into()).collect();
        let mut others = Vec::new();
        if is_cluster {
            for (group, change) in names.iter().zip(groups.values()) {
                others.extend(change.writes.beside().into_iter().map(|end| [group.as_slice(), &end].concat()));
            }
        }
        let mut command = scripts::call(Name::Append, names.len() + others.len());
        names.iter().chain(&others).for_each(|name| {
            command.arg(name);
        });
        command.arg(owner).arg(names.len());
        for Change { fields, values, writes } in groups.into_values() {
            let mut written = Vec::new();
            writes.put(&mut written);
            command.arg(2 + 2 * fields.len() + written.len()).arg(fields.len());
            for argument in fields.iter().chain(&values).chain(&written) {
                command.arg(argument);
            }
        }
        Some(command)
    }

    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.parts.iter().map(|part| part.slot)
    }
}
