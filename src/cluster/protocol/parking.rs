//! Requests that wait because their slot has no owner just now: bounded, in order, each no longer than its deadline. The
//! router has one; they stand outside of the places of those that are worked on, so that slots that are well do not notice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::lease::Moment;
use super::types::Slot;

/// Most that wait for one slot.
pub const PER_SLOT_MAX: usize = 256;
/// Most that wait on one node.
pub const TOTAL_MAX: usize = 16_384;
/// Most of one slot that are let go at once when it has an owner again: the next follow when these are through.
pub const RELEASE_MAX: usize = 64;

struct Waiting<T> {
    request: T,
    number: u64,
    deadline: Moment,
}

/// What waits, by slot. `T` is a request.
pub struct Parking<T> {
    slots: BTreeMap<Slot, VecDeque<Waiting<T>>>,
    deadlines: BTreeSet<(Moment, Slot, u64)>,
    next: u64,
}

impl<T> Default for Parking<T> {
    fn default() -> Parking<T> {
        Parking { slots: BTreeMap::new(), deadlines: BTreeSet::new(), next: 0 }
    }
}

impl<T> Parking<T> {
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    pub fn waiting(&self, slot: Slot) -> usize {
        self.slots.get(&slot).map_or(0, VecDeque::len)
    }

    /// The slots for which anything waits.
    pub fn slots(&self) -> Vec<Slot> {
        self.slots.keys().copied().collect()
    }

    /// Has the request wait. It comes back where there is no room: the caller is told `Busy`.
    pub fn park(&mut self, slot: Slot, request: T, deadline: Moment) -> Result<(), T> {
        if self.waiting(slot) >= PER_SLOT_MAX || self.len() >= TOTAL_MAX {
            return Err(request);
        }
        let number = self.next;
        self.next += 1;
        self.deadlines.insert((deadline, slot, number));
        self.slots.entry(slot).or_default().push_back(Waiting { request, number, deadline });
        Ok(())
    }

    /// The oldest that wait for a slot, which has a way to go now. While any are left, what comes for the slot waits
    /// behind them: so none overtakes another.
    pub fn release(&mut self, slot: Slot) -> Vec<T> {
        let Some(queue) = self.slots.get_mut(&slot) else { return Vec::new() };
        let count = queue.len().min(RELEASE_MAX);
        let gone: Vec<Waiting<T>> = queue.drain(..count).collect();
        if queue.is_empty() {
            self.slots.remove(&slot);
        }
        for one in &gone {
            self.deadlines.remove(&(one.deadline, slot, one.number));
        }
        gone.into_iter().map(|one| one.request).collect()
    }

    /// Those whose deadline has passed: they are answered `DeadlinePassed`.
    pub fn expire(&mut self, now: Moment) -> Vec<T> {
        let mut late = Vec::new();
        while let Some((deadline, slot, number)) = self.deadlines.first().copied().filter(|first| first.0 <= now) {
            self.deadlines.remove(&(deadline, slot, number));
            let Some(queue) = self.slots.get_mut(&slot) else { continue };
            if let Some(one) = queue.iter().position(|one| one.number == number).and_then(|at| queue.remove(at)) {
                late.push(one.request);
            }
            if queue.is_empty() {
                self.slots.remove(&slot);
            }
        }
        late
    }

    /// When the next deadline passes.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|first| first.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn they_go_in_order_a_few_at_a_time() {
        let mut parking = Parking::default();
        for number in 0..100 {
            assert_eq!(parking.park(7, number, at(1_000)), Ok(()));
        }
        assert_eq!(parking.release(7), (0..64).collect::<Vec<_>>());
        assert_eq!(parking.release(7), (64..100).collect::<Vec<_>>());
        assert!(parking.release(7).is_empty() && parking.is_empty());
    }

    #[test]
    fn none_waits_beyond_its_deadline() {
        let mut parking = Parking::default();
        for (slot, number, deadline) in [(1, 1, 300), (2, 2, 100), (1, 3, 200)] {
            assert_eq!(parking.park(slot, number, at(deadline)), Ok(()));
        }
        assert_eq!(parking.next_deadline(), Some(at(100)));
        assert_eq!(parking.expire(at(99)), [0; 0]);
        assert_eq!(parking.expire(at(200)), [2, 3]);
        assert_eq!((parking.release(1), parking.release(2)), (vec![1], vec![]));
    }

    #[test]
    fn a_slot_and_a_node_have_room_for_so_many() {
        let mut parking = Parking::default();
        for slot in 0..TOTAL_MAX / PER_SLOT_MAX {
            for number in 0..PER_SLOT_MAX {
                assert_eq!(parking.park(slot as Slot, number, at(1)), Ok(()));
            }
            assert_eq!(parking.park(slot as Slot, 1, at(1)), Err(1), "the slot is full");
        }
        assert_eq!(parking.park(999, 1, at(1)), Err(1), "the node is full");
        assert_eq!(parking.expire(at(1)).len(), TOTAL_MAX);
    }
}
