//! What the entities of a slot owe, by number, and the watermark that follows from it: every number
//! below it that is owed to an entity is answered, durably, and will never be sent again.
//!
//! Receivers forget receipts below the watermark, so what is owed to an entity holds it back. What is owed to a
//! gateway does not: gateways know a request by its id ([`Gateway`]), never by a number, and one that is away for
//! days must not keep every entity's receipts for as long. (So a key that is owed to a gateway is never owed to an
//! entity later: its number may be below a watermark.)
//!
//! [`Gateway`]: crate::actors::gateways::Gateway

use std::collections::{BTreeSet, VecDeque};

use crate::actors::entity::Target;

/// Numbers of one record: its slot sequence times this, plus n.
const NUMBERS_PER_RECORD: u64 = 256;

/// The number of the `n`-th request that the record `seq` newly owes.
pub fn number(seq: u64, n: usize) -> u64 {
    seq * NUMBERS_PER_RECORD + n as u64
}

#[derive(Default)]
pub struct Outstanding {
    /// Owed to an entity, or to nobody knows whom yet.
    to_entities: BTreeSet<u64>,
    to_gateways: BTreeSet<u64>,
    /// Answered by a record that may still be in flight, where they may have been owed to an entity. If that record
    /// is refused they are owed still, so they hold the watermark back until it is durable.
    settling: BTreeSet<u64>,
    /// The same in the order of those records: (record, number), ascending.
    answered: VecDeque<(u64, u64)>,
    /// Whether everything that was owed before this generation has been read.
    complete: bool,
}

impl Outstanding {
    pub fn add(&mut self, number: u64, to: &Target) {
        match to {
            Target::Entity(_) => self.to_entities.insert(number),
            Target::Gateway { .. } => {
                self.to_entities.remove(&number); // from when nobody knew
                self.to_gateways.insert(number)
            }
        };
    }

    /// Read from the index: to whom it is owed only the entity knows.
    pub fn add_unknown(&mut self, number: u64) {
        if !self.to_gateways.contains(&number) {
            self.to_entities.insert(number);
        }
    }

    /// What [`Outstanding::add_unknown`] was told is not owed: the row in the index was an old one.
    pub fn was_not_owed(&mut self, number: u64) {
        self.to_entities.remove(&number);
    }

    /// The record `seq` no longer owes `number`.
    pub fn answered_by(&mut self, seq: u64, number: u64) {
        self.to_entities.remove(&number);
        // In neither: it has not been read from the index yet.
        if !self.to_gateways.remove(&number) {
            self.settling.insert(number);
            self.answered.push_back((seq, number));
        }
    }

    pub fn all_read(&mut self) {
        self.complete = true;
    }

    pub fn contains(&self, number: u64) -> bool {
        self.to_entities.contains(&number) || self.to_gateways.contains(&number)
    }

    pub fn len(&self) -> usize {
        self.to_entities.len() + self.to_gateways.len()
    }

    /// The watermark, given that all records up to `durable_seq` are durable. 0 until all is read.
    pub fn watermark(&mut self, durable_seq: u64) -> u64 {
        while let Some((seq, number)) = self.answered.front().copied()
            && seq <= durable_seq
        {
            self.settling.remove(&number);
            self.answered.pop_front();
        }
        if !self.complete {
            return 0;
        }
        let next = number(durable_seq + 1, 0);
        let first = self.to_entities.first().into_iter().chain(self.settling.first()).min();
        first.map_or(next, |first| next.min(*first))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::actors::entity::AnyCommand;
    use crate::actors::mock_charge::types::{Command, MockCharge};
    use crate::actors::values::PaymentId;

    fn entity() -> Target {
        Target::Entity(AnyCommand::new::<MockCharge>(&PaymentId(1), Command::Void))
    }
    fn gateway() -> Target {
        Target::Gateway { name: "payments", body: Arc::new(()) }
    }

    #[test]
    fn the_watermark_waits_for_what_is_outstanding_and_for_durability() {
        let mut outstanding = Outstanding::default();
        assert_eq!(outstanding.watermark(7), 0, "nothing is known before all is read");
        outstanding.all_read();
        assert_eq!(outstanding.watermark(7), number(8, 0));
        outstanding.add(number(8, 0), &entity());
        outstanding.add(number(9, 0), &entity());
        assert_eq!(outstanding.watermark(9), number(8, 0));
        outstanding.answered_by(10, number(8, 0));
        assert_eq!(outstanding.watermark(9), number(8, 0), "the answer is still in flight");
        assert_eq!(outstanding.watermark(10), number(9, 0));
        outstanding.answered_by(11, number(9, 0));
        assert_eq!(outstanding.watermark(11), number(12, 0));
    }

    #[test]
    fn what_is_owed_to_a_gateway_holds_nothing_back() {
        let mut outstanding = Outstanding::default();
        outstanding.all_read();
        outstanding.add(number(1, 0), &gateway());
        outstanding.add(number(2, 0), &entity());
        assert_eq!(outstanding.watermark(3), number(2, 0));
        outstanding.answered_by(4, number(2, 0));
        assert_eq!(outstanding.watermark(4), number(5, 0));
        assert!(outstanding.contains(number(1, 0)), "and is owed all the same");
        outstanding.answered_by(5, number(1, 0));
        assert_eq!((outstanding.watermark(4), outstanding.len()), (number(5, 0), 0));
    }

    #[test]
    fn what_was_read_from_the_index_holds_back_until_it_is_known_to_whom_it_is_owed() {
        let mut outstanding = Outstanding::default();
        [1, 2, 3].into_iter().for_each(|seq| outstanding.add_unknown(number(seq, 0)));
        outstanding.all_read();
        assert_eq!(outstanding.watermark(9), number(1, 0));
        outstanding.add(number(1, 0), &gateway());
        assert_eq!(outstanding.watermark(9), number(2, 0));
        outstanding.was_not_owed(number(2, 0));
        assert_eq!(outstanding.watermark(9), number(3, 0));
        // Answered before the page that owes it came: the page is an old one.
        outstanding.answered_by(10, number(3, 0));
        outstanding.answered_by(10, number(4, 0));
        outstanding.add_unknown(number(4, 0));
        outstanding.was_not_owed(number(4, 0));
        assert_eq!(outstanding.watermark(9), number(3, 0), "the answers are still in flight");
        assert_eq!(outstanding.watermark(10), number(11, 0));
    }
}
