//! An entity in memory.

use crate::actors::entity::Owed;
use crate::actors::kinds::Kinds;
use crate::actors::runtime::envelope::{OwedStep, Reply, ReplyTo, Residence};
use crate::actors::runtime::erased::{AnyState, Erased};
use crate::actors::values::Time;
use crate::persistence::{EntityKey, OwedChange, OwedItem, OwedRow, Slot, Snapshot, WakeChange};

use super::outstanding::{Debt, Partner, number};
use super::receipts::Receipts;

/// Someone who waits until the entity has settled.
pub struct Watcher {
    pub reply: ReplyTo,
    pub outcome: Option<Erased>,
    /// The version of the entity that came of it, and the slot sequence of the record that it rests on.
    pub version: u64,
    pub seq: u64,
    pub replayed: bool,
    pub want_state: bool,
}

/// How what an entity owes differs from its row.
pub struct OwedDiff {
    pub change: OwedChange,
    /// Numbers that are no longer owed.
    pub gone: Vec<u64>,
    pub newly: Vec<(u64, Owed)>,
}

pub struct Resident {
    pub state: Box<dyn AnyState>,
    pub version: u64,
    /// Slot sequence of the last record of this entity; it is in flight while that is not durable.
    pub seq: u64,
    /// Time of that record.
    pub at: Time,
    pub receipts: Receipts,
    pub owed: Option<Box<OwedRow>>,
    /// When the wake index says that it wants to be woken: early, perhaps, but never late.
    pub wake_row_ms: Option<i64>,
    pub watchers: Vec<Watcher>,
    pub last_used: Time,
    /// Readers may find it among the slot's views, unless others have taken its place.
    pub is_shown: bool,
    /// Version and size of the last snapshot, in bytes; what came since, in bytes.
    pub snapshot_version: u64,
    pub snapshot_bytes: usize,
    pub bytes_since_snapshot: usize,
    pub snapshot_at: Time,
    /// As measured last.
    pub size_bytes: usize,
}

impl Resident {
    pub fn new(state: Box<dyn AnyState>) -> Resident {
        Resident {
            state,
            version: 0,
            seq: 0,
            at: Time::ZERO,
            receipts: Receipts::default(),
            owed: None,
            wake_row_ms: None,
            watchers: Vec::new(),
            last_used: Time::ZERO,
            is_shown: false,
            snapshot_version: 0,
            snapshot_bytes: 0,
            bytes_since_snapshot: 0,
            snapshot_at: Time::ZERO,
            size_bytes: 0,
        }
    }

    /// The entity as it is now, as an answer.
    pub fn reply(&self, outcome: Option<Erased>, want_state: bool, replayed: bool) -> Reply {
        Reply {
            outcome,
            version: self.version,
            seq: self.seq,
            epoch: 0,
            at: self.at,
            state: want_state.then(|| self.state.share()),
            replayed,
            residence: None,
        }
    }

    pub fn owes(&self, number: u64) -> bool {
        self.owed.as_ref().is_some_and(|row| row.items.iter().any(|item| item.number == number))
    }

    /// Compares what the state owes with the row in the index. Requests that were there keep their
    /// number; new ones are numbered by the record `seq` that first owes them, and returned.
    pub fn owed_change(&mut self, seq: u64, at: Time) -> Option<OwedDiff> {
        let owes = self.state.owed();
        let before = self.owed.as_deref();
        let same = |row: &OwedRow| {
            row.items.len() == owes.len() && row.items.iter().zip(&owes).all(|(item, owed)| item.key == owed.key)
        };
        if before.map_or(owes.is_empty(), same) {
            return None;
        }
        let old_items = before.map_or(&[][..], |row| &row.items);
        let mut kept = vec![false; old_items.len()];
        let mut expected = 0; // what is kept mostly keeps its order
        let mut newly = Vec::new();
        let mut items = Vec::with_capacity(owes.len());
        for owed in owes {
            let mut places = (expected..old_items.len()).chain(0..expected);
            let known = places.find(|place| old_items[*place].key == owed.key);
            let number = match known {
                Some(place) => {
                    kept[place] = true;
                    expected = place + 1;
                    old_items[place].number
                }
                None => number(seq, newly.len()),
            };
            items.push(OwedItem { number, key: owed.key.clone() });
            if known.is_none() {
                newly.push((number, owed));
            }
        }
        let gone = old_items.iter().zip(kept).filter(|(_, kept)| !kept).map(|(item, _)| item.number).collect();
        let before_due_ms = before.map(|row| row.due_ms);
        let due_ms = before_due_ms.unwrap_or(at.0);
        let after = (!items.is_empty()).then_some(OwedRow { due_ms, items });
        self.owed = after.clone().map(Box::new);
        Some(OwedDiff { change: OwedChange { before_due_ms, after }, gone, newly })
    }

    /// The change of the wake row that the state asks for. The row moves only to become earlier: a
    /// wake that comes early does no harm, and most cart writes only move it later.
    /// `rearm`: the row's time has come, so it moves in any case.
    pub fn wake_change(&mut self, rearm: bool) -> Option<WakeChange> {
        let wants = self.state.wake_at().map(|at| at.0);
        let moved = match (self.wake_row_ms, wants) {
            (None, None) => false,
            (Some(row), Some(wants)) => wants < row || (rearm && wants != row),
            (None, Some(_)) | (Some(_), None) => true,
        };
        moved.then(|| {
            let before_ms = std::mem::replace(&mut self.wake_row_ms, wants);
            WakeChange { before_ms, after_ms: wants }
        })
    }

    /// Whether the wake index would miss the time at which the entity wants to be woken.
    pub fn wakes_too_late(&self) -> bool {
        let wants = self.state.wake_at().map(|at| at.0);
        wants.is_some_and(|wants| self.wake_row_ms.is_none_or(|row| row > wants))
    }

    /// Nothing of it is in flight, owed, awaited or looked for: it may leave memory.
    pub fn may_leave(&self, durable_seq: u64) -> bool {
        self.seq <= durable_seq
            && self.owed.is_none()
            && !self.receipts.is_looked_up()
            && self.watchers.iter().all(|watcher| watcher.reply.is_closed())
    }

    /// A snapshot pays when enough came since the last to outweigh the state itself.
    pub fn wants_snapshot(&self, records: u64, now: Time) -> bool {
        const INTERVAL_MS: u64 = 5_000;
        let since = self.version - self.snapshot_version;
        since >= records
            && self.bytes_since_snapshot >= self.snapshot_bytes
            && (self.snapshot_version == 0 || now.since_ms(self.snapshot_at) >= INTERVAL_MS)
    }

    /// On leaving memory a smaller gain is enough; an entity with a short life never needs one.
    pub fn wants_snapshot_on_leaving(&self) -> bool {
        self.version >= 50 && self.version - self.snapshot_version >= 20
    }

    pub fn snapshot(&mut self, slot: Slot, key: &EntityKey, now: Time) -> Snapshot {
        let state = self.state.snapshot();
        self.snapshot_version = self.version;
        self.snapshot_bytes = state.bytes.len();
        self.bytes_since_snapshot = 0;
        self.snapshot_at = now;
        let (receipts, watermarks) = (self.receipts.saved(), self.receipts.dropped());
        Snapshot {
            slot,
            key: key.clone(),
            seq: self.seq,
            version: self.version,
            at_ms: self.at.0,
            state,
            receipts,
            receipts_elsewhere_until_ms: self.receipts.elsewhere_until_ms(self.at.0),
            watermarks,
            owed: self.owed.as_deref().cloned(),
            wake_ms: self.wake_row_ms,
        }
    }

    pub fn measure(&mut self, key: &EntityKey) -> usize {
        const OVERHEAD: usize = 128;
        self.size_bytes =
            self.state.size_bytes() + self.receipts.size_bytes() + key.id.len() + size_of::<Resident>() + OVERHEAD;
        self.size_bytes
    }

    /// What it owes. `known`: what the slot knows of a request by its number.
    pub fn owed_steps(&self, kinds: &Kinds, entity: &EntityKey, known: impl Fn(u64) -> Option<Debt>) -> Vec<OwedStep> {
        let Some(row) = &self.owed else { return Vec::new() };
        let owes = self.state.owed();
        let step = |item: &OwedItem| {
            let debt = known(item.number).unwrap_or_else(|| {
                let owed = owes.iter().find(|owed| owed.key == item.key);
                let to = owed.map_or(Partner::Unknown, |owed| Partner::from(&owed.to));
                Debt::new(entity, &item.key, to, Time(row.due_ms))
            });
            debt.step(kinds)
        };
        row.items.iter().map(step).collect()
    }

    /// Without what it owes.
    pub fn residence(&self, epoch: u64, resident: bool, panics: u32) -> Residence {
        Residence {
            resident,
            epoch,
            version: self.version,
            last_activity: (self.version > 0).then_some(self.at),
            owed: Vec::new(),
            wake_at: self.state.wake_at(),
            receipts: self.receipts.len(),
            panics,
            size_bytes: self.size_bytes,
            state: self.state.json(),
        }
    }
}
