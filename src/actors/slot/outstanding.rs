//! What the entities of a slot owe, by number, and the watermark that follows from it: every number
//! below it is answered, durably, and will never be sent again.

use std::collections::{BTreeSet, VecDeque};

/// Numbers of one record: its slot sequence times this, plus n.
const NUMBERS_PER_RECORD: u64 = 256;

/// The number of the `n`-th request that the record `seq` newly owes.
pub fn number(seq: u64, n: usize) -> u64 {
    seq * NUMBERS_PER_RECORD + n as u64
}

#[derive(Default)]
pub struct Outstanding {
    numbers: BTreeSet<u64>,
    /// Numbers that were answered by a record that may still be in flight: (record, number), ascending.
    answered: VecDeque<(u64, u64)>,
    /// Whether everything that was owed before this generation has been read.
    complete: bool,
}

impl Outstanding {
    pub fn add(&mut self, number: u64) {
        self.numbers.insert(number);
    }

    pub fn add_all(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.numbers.extend(numbers);
    }

    /// The record `seq` no longer owes `number`. It counts as outstanding until that is durable: a
    /// record that is refused leaves the request owed, and it must not be below a watermark then.
    pub fn answered_by(&mut self, seq: u64, number: u64) {
        self.numbers.insert(number); // it may not have been read from the index yet
        self.answered.push_back((seq, number));
    }

    pub fn all_read(&mut self) {
        self.complete = true;
    }

    pub fn contains(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The watermark, given that all records up to `durable_seq` are durable. 0 until all is read.
    pub fn watermark(&mut self, durable_seq: u64) -> u64 {
        while let Some((seq, number)) = self.answered.front().copied()
            && seq <= durable_seq
        {
            self.numbers.remove(&number);
            self.answered.pop_front();
        }
        if !self.complete {
            return 0;
        }
        let next = number(durable_seq + 1, 0);
        self.numbers.first().map_or(next, |first| next.min(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_waits_for_what_is_outstanding_and_for_durability() {
        let mut outstanding = Outstanding::default();
        assert_eq!(outstanding.watermark(7), 0, "nothing is known before all is read");
        outstanding.all_read();
        assert_eq!(outstanding.watermark(7), number(8, 0));
        outstanding.add(number(8, 0));
        outstanding.add(number(9, 0));
        assert_eq!(outstanding.watermark(9), number(8, 0));
        outstanding.answered_by(10, number(8, 0));
        assert_eq!(outstanding.watermark(9), number(8, 0), "the answer is still in flight");
        assert_eq!(outstanding.watermark(10), number(9, 0));
        outstanding.answered_by(11, number(9, 0));
        assert_eq!(outstanding.watermark(11), number(12, 0));
    }
}
