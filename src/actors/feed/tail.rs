//! The newest committed records, in memory and bounded, so that a consumer which keeps up never reads the journal: those
//! of kinds that somebody follows, and of the others their places, so that a position behind one can be compared.
//! And the heads: how far each slot is, as far as this node knows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::position::Position;
use super::taken::{Entry, Kinds, Taken, Wanted};
use crate::persistence::{Record, Slot};

/// What a record takes beside its encoded bytes, and what a place takes that has none.
const RECORD_BYTES: usize = 256;
const PLACE_BYTES: usize = 64;

pub(super) struct Tail {
    kept: Mutex<Kept>,
    bytes_max: usize,
    /// Of records of other kinds nothing is kept but their places.
    followed: Kinds,
    /// The sequence of the last record of each slot.
    heads: Vec<AtomicU64>,
}

struct Kept {
    /// Of each slot, places of one epoch without a gap.
    slots: Vec<VecDeque<Place>>,
    /// The slots of all places, the oldest first.
    order: VecDeque<Slot>,
    bytes: usize,
}

/// A committed record's place in its slot, and the record, where somebody follows its kind.
struct Place {
    /// Behind the record. It is calculated once, when the record comes: everybody who looks compares it.
    position: Position,
    record: Option<Arc<Record>>,
    /// Of the record.
    encoded_len: usize,
}

impl Place {
    fn of(record: &Arc<Record>, followed: &Kinds) -> Place {
        let kept = followed.has(record.key.kind).then(|| record.clone());
        let encoded_len = if kept.is_some() { record.encoded_len() } else { 0 };
        Place { position: Position::behind(record), record: kept, encoded_len }
    }

    fn bytes(&self) -> usize {
        if self.record.is_some() { RECORD_BYTES + self.encoded_len } else { PLACE_BYTES }
    }
}

impl Entry for Place {
    fn record(&self) -> Option<&Arc<Record>> {
        self.record.as_ref()
    }

    fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    fn position(&self) -> Position {
        self.position
    }
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
    pub fn new(slots: Slot, bytes_max: usize, followed: Kinds) -> Tail {
        let places = (0..slots).map(|_| VecDeque::new()).collect();
        let kept = Mutex::new(Kept { slots: places, order: VecDeque::new(), bytes: 0 });
        Tail { kept, bytes_max, followed, heads: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Takes records that were committed, of each slot in slot order.
    pub fn push(&self, records: &[Arc<Record>]) {
        let places: Vec<Place> = records.iter().map(|record| Place::of(record, &self.followed)).collect();
        let evicted = {
            let mut kept = self.kept.lock();
            records.iter().zip(places).for_each(|(record, place)| kept.push(record.slot, place));
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
        for places in &mut kept.slots {
            *places = VecDeque::new();
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
        let Some(places) = kept.slots.get(usize::from(slot)) else { return Look::Missing };
        let Some(first) = places.front().map(|place| place.position.seq) else { return Look::Missing };
        let next = from.seq + 1;
        let Some(start) = next.checked_sub(first).and_then(|start| usize::try_from(start).ok()) else {
            return Look::Missing;
        };
        let Some(following) = places.get(start) else { return Look::Missing };
        // The record before it says whether the position is right. Without that one: a record of the same epoch follows
        // the one before it; the first record of all follows nothing.
        let before = start.checked_sub(1).and_then(|at| places.get(at));
        let is_right = before.map_or(following.position.epoch == from.epoch, |before| from.is_at(&before.position));
        if !is_proven && from.seq > 0 && !is_right {
            return Look::Unproven;
        }
        Taken::of(slot, places.range(start..), kinds, wanted).map_or(Look::Missing, Look::Taken)
    }

    /// Places that are kept, and the bytes that they take.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.order.len(), kept.bytes)
    }
}

impl Kept {
    fn push(&mut self, slot: Slot, place: Place) {
        let Some(places) = self.slots.get(usize::from(slot)) else { return };
        let (seq, epoch) = (place.position.seq, place.position.epoch);
        if places.back().is_some_and(|last| last.position.seq + 1 != seq || last.position.epoch != epoch) {
            // A commit whose outcome was unknown may lie between them, or the store may have lost records.
            self.forget(slot);
        }
        self.bytes += place.bytes();
        self.slots[usize::from(slot)].push_back(place);
        self.order.push_back(slot);
    }

    fn forget(&mut self, slot: Slot) {
        let places = std::mem::take(&mut self.slots[usize::from(slot)]);
        self.bytes -= places.iter().map(Place::bytes).sum::<usize>();
        self.order.retain(|other| *other != slot);
    }

    /// The oldest places go until the rest is within the bound.
    fn evict(&mut self, bytes_max: usize) -> Vec<Place> {
        let mut evicted = Vec::new();
        while self.bytes > bytes_max {
            let Some(slot) = self.order.pop_front() else { break };
            if let Some(oldest) = self.slots[usize::from(slot)].pop_front() {
                self.bytes -= oldest.bytes();
                evicted.push(oldest);
            }
        }
        evicted
    }
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
        let one = RECORD_BYTES + record(0, 1, "a").encoded_len();
        let tail = Tail::new(2, 4 * one, Kinds::all());
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

    /// A consumer goes over them as if they were there.
    #[test]
    fn of_records_that_nobody_follows_only_the_places_are_kept() {
        let followed = Kinds::of_any([].into_iter());
        let tail = Tail::new(1, 1 << 20, followed);
        let records: Vec<Arc<Record>> = (1..=3).map(|seq| Arc::new(record(0, seq, "a"))).collect();
        tail.push(&records);
        assert_eq!((tail.size(), Arc::strong_count(&records[0])), ((3, 3 * PLACE_BYTES), 1));
        let look = |position: Position| tail.look(0, &position, false, &Kinds::all(), Wanted::SHARE);
        let Look::Taken(taken) = look(Position::behind(&records[0])) else { panic!("it is there") };
        assert_eq!((taken.records.len(), taken.position), (0, Position::behind(&records[2])));
        assert!(matches!(look(Position::behind(&record(0, 1, "b"))), Look::Unproven));
    }

    #[test]
    fn nothing_is_given_across_a_gap() {
        let tail = Tail::new(1, 1 << 20, Kinds::all());
        for seq in [1, 2, 4, 5] {
            tail.push(&[Arc::new(record(0, seq, "a"))]);
        }
        assert_eq!((from(&tail, 0, 0), from(&tail, 0, 2), from(&tail, 0, 3)), (None, None, Some(vec![4, 5])));
        assert_eq!(tail.size().0, 2);
    }

    #[test]
    fn a_position_of_another_epoch_needs_a_proof() {
        let tail = Tail::new(1, 1 << 20, Kinds::all());
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
        let tail = Tail::new(1, 1 << 20, Kinds::all());
        tail.push(&[Arc::new(record(0, 1, "a")), Arc::new(record(0, 2, "a"))]);
        let lost = Position::behind(&record(0, 1, "b"));
        assert!(matches!(tail.look(0, &lost, false, &Kinds::all(), Wanted::SHARE), Look::Unproven));
        assert_eq!(from(&tail, 0, 1), Some(vec![2]));
    }

    #[test]
    fn a_head_that_was_found_raises_and_lowers_what_is_known_but_no_commit_since() {
        let tail = Tail::new(1, 1 << 20, Kinds::all());
        assert!(tail.found_head(0, 0, 5) && !tail.found_head(0, 5, 5));
        tail.push(&[Arc::new(record(0, 6, "a"))]);
        assert!(!tail.found_head(0, 5, 4), "the journal was asked before the commit");
        assert_eq!(tail.head(0), 6);
        assert!(from(&tail, 0, 5).is_some() && tail.found_head(0, 6, 4));
        assert_eq!((tail.head(0), from(&tail, 0, 5)), (4, None));
    }
}
