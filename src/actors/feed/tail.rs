//! The newest committed records, in memory and bounded, so that a consumer which keeps up never reads the journal.
//! And the heads: how far each slot is, as far as this node knows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::position::Position;
use super::taken::{Kinds, Taken, Wanted};
use crate::persistence::{Record, Slot};

/// What a record takes beside its encoded bytes.
const OVERHEAD_BYTES: usize = 256;

pub(super) struct Tail {
    kept: Mutex<Kept>,
    bytes_max: usize,
    /// The sequence of the last record of each slot.
    heads: Vec<AtomicU64>,
}

struct Kept {
    /// Of each slot, records of one epoch without a gap.
    slots: Vec<VecDeque<Arc<Record>>>,
    /// The slots of all records, the oldest first.
    order: VecDeque<Slot>,
    bytes: usize,
}

/// What the tail says to somebody who wants to go on from a position.
pub(super) enum Look {
    Taken(Taken),
    /// The tail has what follows, in another epoch or behind another record: whether the position is right must be looked up.
    Unproven,
    /// It does not reach back so far.
    Missing,
}

impl Tail {
    pub fn new(slots: Slot, bytes_max: usize) -> Tail {
        let slots = usize::from(slots);
        let kept = Kept { slots: vec![VecDeque::new(); slots], order: VecDeque::new(), bytes: 0 };
        Tail { kept: Mutex::new(kept), bytes_max, heads: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Takes records that were committed, of each slot in slot order.
    pub fn push(&self, records: &[Arc<Record>]) {
        let evicted = {
            let mut kept = self.kept.lock();
            records.iter().for_each(|record| kept.push(record.clone()));
            kept.evict(self.bytes_max)
        };
        drop(evicted); // their memory is given back while nobody waits for the lock
        for record in records {
            if let Some(head) = self.heads.get(usize::from(record.slot)) {
                head.store(record.seq, Ordering::Release);
            }
        }
    }

    /// Gives up all records. The heads stay.
    pub fn forget(&self) {
        let mut kept = self.kept.lock();
        for records in &mut kept.slots {
            *records = VecDeque::new();
        }
        (kept.order, kept.bytes) = (VecDeque::new(), 0);
    }

    /// Up to where the journal's records of a slot are known to reach.
    pub fn head(&self, slot: Slot) -> u64 {
        self.heads.get(usize::from(slot)).map_or(0, |head| head.load(Ordering::Acquire))
    }

    pub fn heads(&self) -> Vec<u64> {
        self.heads.iter().map(|head| head.load(Ordering::Acquire)).collect()
    }

    /// Takes what the journal says of a slot's head, where it was asked when the head was known to be `before`. A lower
    /// one means that the store has lost records, unless there was a commit meanwhile. Whether it is news.
    pub fn found_head(&self, slot: Slot, before: u64, found: u64) -> bool {
        let Some(head) = self.heads.get(usize::from(slot)) else { return false };
        if found > before {
            return head.fetch_max(found, Ordering::AcqRel) < found;
        }
        let is_lower =
            found < before && head.compare_exchange(before, found, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if is_lower {
            self.kept.lock().forget(slot);
        }
        is_lower
    }

    /// What follows a position, if it is here. `is_proven`: the position has been found to be right.
    pub fn look(&self, slot: Slot, from: &Position, is_proven: bool, kinds: &Kinds, wanted: Wanted) -> Look {
        let kept = self.kept.lock();
        let Some(records) = kept.slots.get(usize::from(slot)) else { return Look::Missing };
        let Some(first) = records.front().map(|record| record.seq) else { return Look::Missing };
        let next = from.seq + 1;
        let Some(start) = next.checked_sub(first).and_then(|start| usize::try_from(start).ok()) else {
            return Look::Missing;
        };
        let Some(following) = records.get(start) else { return Look::Missing };
        // The record before it says whether the position is right. Without that one: a record of the same epoch follows
        // the one before it; the first record of all follows nothing.
        let before = start.checked_sub(1).and_then(|at| records.get(at));
        let is_right = before.map_or(following.epoch == from.epoch, |before| from.is_behind(before));
        if !is_proven && from.seq > 0 && !is_right {
            return Look::Unproven;
        }
        Taken::of(slot, records.range(start..), kinds, wanted).map_or(Look::Missing, Look::Taken)
    }

    /// Records that are kept, and the bytes that they take.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.order.len(), kept.bytes)
    }
}

impl Kept {
    fn push(&mut self, record: Arc<Record>) {
        let slot = record.slot;
        let Some(records) = self.slots.get(usize::from(slot)) else { return };
        if records.back().is_some_and(|last| last.seq + 1 != record.seq || last.epoch != record.epoch) {
            // A commit whose outcome was unknown may lie between them, or the store may have lost records.
            self.forget(slot);
        }
        self.bytes += weight(&record);
        self.slots[usize::from(slot)].push_back(record);
        self.order.push_back(slot);
    }

    fn forget(&mut self, slot: Slot) {
        let records = std::mem::take(&mut self.slots[usize::from(slot)]);
        self.bytes -= records.iter().map(|record| weight(record)).sum::<usize>();
        self.order.retain(|other| *other != slot);
    }

    /// The oldest records go until the rest is within the bound.
    fn evict(&mut self, bytes_max: usize) -> Vec<Arc<Record>> {
        let mut evicted = Vec::new();
        while self.bytes > bytes_max {
            let Some(slot) = self.order.pop_front() else { break };
            if let Some(oldest) = self.slots[usize::from(slot)].pop_front() {
                self.bytes -= weight(&oldest);
                evicted.push(oldest);
            }
        }
        evicted
    }
}

fn weight(record: &Record) -> usize {
    OVERHEAD_BYTES + record.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::feed::tests::record;

    fn seqs(look: Look) -> Option<Vec<u64>> {
        match look {
            Look::Taken(taken) => Some(taken.records.iter().map(|record| record.seq).collect()),
            Look::Unproven | Look::Missing => None,
        }
    }

    fn from(tail: &Tail, slot: Slot, seq: u64) -> Option<Vec<u64>> {
        let id = if slot == 0 { "a" } else { "b" };
        let position = if seq == 0 { Position::BEGINNING } else { Position::behind(&record(slot, seq, id)) };
        seqs(tail.look(slot, &position, false, &Kinds::all(), Wanted::SHARE))
    }

    #[test]
    fn the_oldest_records_of_all_slots_go_first_and_the_bound_holds() {
        let one = weight(&record(0, 1, "a"));
        let tail = Tail::new(2, 4 * one);
        for seq in 1..=3 {
            tail.push(&[Arc::new(record(0, seq, "a")), Arc::new(record(1, seq, "b"))]);
        }
        assert_eq!(tail.size(), (4, 4 * one));
        assert_eq!(
            (from(&tail, 0, 0), from(&tail, 0, 1), from(&tail, 1, 1)),
            (None, Some(vec![2, 3]), Some(vec![2, 3]))
        );
        assert_eq!((tail.head(0), tail.head(1)), (3, 3));
        tail.push(&[Arc::new(record(1, 4, "b"))]);
        assert_eq!(
            (from(&tail, 0, 1), from(&tail, 0, 2), from(&tail, 1, 1)),
            (None, Some(vec![3]), Some(vec![2, 3, 4]))
        );
    }

    #[test]
    fn nothing_is_given_across_a_gap() {
        let tail = Tail::new(1, 1 << 20);
        for seq in [1, 2, 4, 5] {
            tail.push(&[Arc::new(record(0, seq, "a"))]);
        }
        assert_eq!((from(&tail, 0, 0), from(&tail, 0, 2), from(&tail, 0, 3)), (None, None, Some(vec![4, 5])));
        assert_eq!(tail.size().0, 2);
    }

    #[test]
    fn a_position_of_another_epoch_needs_a_proof() {
        let tail = Tail::new(1, 1 << 20);
        let later = Record { epoch: 2, ..record(0, 2, "a") };
        tail.push(&[Arc::new(record(0, 1, "a")), Arc::new(later)]);
        let position = Position::behind(&record(0, 1, "a"));
        assert!(matches!(tail.look(0, &position, false, &Kinds::all(), Wanted::SHARE), Look::Unproven));
        assert_eq!(seqs(tail.look(0, &position, true, &Kinds::all(), Wanted::SHARE)), Some(vec![2]));
        assert_eq!(from(&tail, 0, 0), None, "what the last epoch wrote may have been lost");
    }

    /// A store that has failed over may give an epoch once more, to another node.
    #[test]
    fn a_position_behind_another_record_of_the_same_epoch_needs_a_proof() {
        let tail = Tail::new(1, 1 << 20);
        tail.push(&[Arc::new(record(0, 1, "a")), Arc::new(record(0, 2, "a"))]);
        let lost = Position::behind(&record(0, 1, "b"));
        assert!(matches!(tail.look(0, &lost, false, &Kinds::all(), Wanted::SHARE), Look::Unproven));
        assert_eq!(from(&tail, 0, 1), Some(vec![2]));
    }

    #[test]
    fn a_head_that_was_found_raises_and_lowers_what_is_known_but_no_commit_since() {
        let tail = Tail::new(1, 1 << 20);
        assert!(tail.found_head(0, 0, 5) && !tail.found_head(0, 5, 5));
        tail.push(&[Arc::new(record(0, 6, "a"))]);
        assert!(!tail.found_head(0, 5, 4), "the journal was asked before the commit");
        assert_eq!(tail.head(0), 6);
        assert!(from(&tail, 0, 5).is_some() && tail.found_head(0, 6, 4));
        assert_eq!((tail.head(0), from(&tail, 0, 5)), (4, None));
    }
}
