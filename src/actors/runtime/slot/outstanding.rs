//! What the entities of a slot owe, by number, and the watermark that follows from it: every number
//! below it that is owed to an entity is answered, durably, and will never be sent again.
//!
//! Receivers forget receipts below the watermark, so what is owed to an entity holds it back. What is owed to a
//! gateway does not: gateways know a request by its id ([`Gateway`]), never by a number, and one that is away for
//! days must not keep every entity's receipts for as long. (So a key that is owed to a gateway is never owed to an
//! entity later: its number may be below a watermark.)
//!
//! [`Gateway`]: crate::actors::gateways::Gateway

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::actors::entity::Target;
use crate::actors::kinds::Kinds;
use crate::actors::runtime::envelope::OwedStep;
use crate::actors::values::Time;
use crate::persistence::EntityKey;

/// Numbers of one record: its slot sequence times this, plus n.
const NUMBERS_PER_RECORD: u64 = 256;

/// The number of the `n`-th request that the record `seq` newly owes.
pub fn number(seq: u64, n: usize) -> u64 {
    seq * NUMBERS_PER_RECORD + n as u64
}

/// A request that is owed, for whoever looks after it.
#[derive(Debug, Clone)]
pub struct Debt {
    pub from: EntityKey,
    /// The entity's own name for it.
    pub key: String,
    pub to: Partner,
    /// When the record was made that first owed it. Of one from before this generation only the row of the index is
    /// left: then it is when the entity began to owe anything without a break, so never too late.
    pub since: Time,
    /// How often it was sent in this generation.
    pub attempts: u32,
    /// Why the last attempt that has ended came to nothing.
    pub last_error: Option<Cow<'static, str>>,
}

/// Whom a request is owed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partner {
    /// Only the entity that owes it knows, and it has not been loaded yet.
    Unknown,
    Entity(EntityKey),
    Gateway(&'static str),
}

impl From<&Target> for Partner {
    fn from(target: &Target) -> Partner {
        match target {
            Target::Entity(command) => Partner::Entity(EntityKey { kind: command.kind, id: command.id.clone() }),
            Target::Gateway { name, .. } => Partner::Gateway(name),
        }
    }
}

impl Debt {
    pub fn new(from: &EntityKey, key: &str, to: Partner, since: Time) -> Debt {
        Debt { from: from.clone(), key: key.to_owned(), to, since, attempts: 0, last_error: None }
    }

    /// As operators see it.
    pub fn step(self, kinds: &Kinds) -> OwedStep {
        let waiting_for = match &self.to {
            Partner::Unknown => None,
            Partner::Entity(EntityKey { kind, id }) => {
                Some(format!("{} {id}", kinds.by_number(*kind).map_or("unknown", |spec| spec.name())))
            }
            Partner::Gateway(name) => Some(format!("gateway {name}")),
        };
        let Debt { key: step, since, attempts, last_error, .. } = self;
        OwedStep { step, waiting_for, since, attempts, last_error: last_error.map(Cow::into_owned) }
    }
}

#[derive(Default)]
pub struct Outstanding {
    /// Owed to an entity, or to nobody knows whom yet.
    to_entities: BTreeMap<u64, Debt>,
    to_gateways: BTreeMap<u64, Debt>,
    /// Answered by a record that may still be in flight, where they may have been owed to an entity. If that record
    /// is refused they are owed still, so they hold the watermark back until it is durable.
    settling: BTreeSet<u64>,
    /// The same in the order of those records: (record, number), ascending.
    answered: VecDeque<(u64, u64)>,
    /// Whether everything that was owed before this generation has been read.
    complete: bool,
}

impl Outstanding {
    /// What is known of it already (it was read from the index, or is sent again) stays.
    pub fn add(&mut self, number: u64, debt: Debt) {
        let known = self.to_entities.remove(&number).or_else(|| self.to_gateways.remove(&number));
        let debt = match known {
            Some(known) => Debt { to: debt.to, ..known },
            None => debt,
        };
        match debt.to {
            Partner::Unknown | Partner::Entity(_) => self.to_entities.insert(number, debt),
            Partner::Gateway(_) => self.to_gateways.insert(number, debt),
        };
    }

    /// Read from the index: to whom it is owed only the entity knows.
    pub fn add_unknown(&mut self, number: u64, debt: Debt) {
        if !self.to_gateways.contains_key(&number) {
            self.to_entities.entry(number).or_insert(debt);
        }
    }

    /// What [`Outstanding::add_unknown`] was told is not owed: the row in the index was an old one.
    pub fn was_not_owed(&mut self, number: u64) {
        self.to_entities.remove(&number);
    }

    /// It is being sent.
    pub fn attempted(&mut self, number: u64) {
        if let Some(debt) = self.get_mut(number) {
            debt.attempts = debt.attempts.saturating_add(1);
        }
    }

    /// An attempt came to nothing.
    pub fn failed(&mut self, number: u64, why: Cow<'static, str>) {
        const WHY_CHARS_MAX: usize = 200;
        if let Some(debt) = self.get_mut(number) {
            let is_short = why.len() <= WHY_CHARS_MAX;
            debt.last_error = Some(if is_short { why } else { why.chars().take(WHY_CHARS_MAX).collect() });
        }
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Debt> {
        self.to_entities.get_mut(&number).or_else(|| self.to_gateways.get_mut(&number))
    }
    pub fn get(&self, number: u64) -> Option<&Debt> {
        self.to_entities.get(&number).or_else(|| self.to_gateways.get(&number))
    }

    /// What has been owed since before this time: its number, and since when.
    pub fn owed_since_before(&self, time: Time) -> impl Iterator<Item = (u64, Time)> {
        let debts = self.to_entities.iter().chain(&self.to_gateways);
        debts.filter(move |(_, debt)| debt.since < time).map(|(number, debt)| (*number, debt.since))
    }

    /// The record `seq` no longer owes `number`.
    pub fn answered_by(&mut self, seq: u64, number: u64) {
        self.to_entities.remove(&number);
        // In neither: it has not been read from the index yet.
        if self.to_gateways.remove(&number).is_none() {
            self.settling.insert(number);
            self.answered.push_back((seq, number));
        }
    }

    pub fn all_read(&mut self) {
        self.complete = true;
    }

    pub fn contains(&self, number: u64) -> bool {
        self.get(number).is_some()
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
        let first = self.to_entities.keys().next().into_iter().chain(self.settling.first()).min();
        first.map_or(next, |first| next.min(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Time = Time(1_000);

    fn debt(to: Partner) -> Debt {
        Debt::new(&EntityKey { kind: 1, id: "one".into() }, "capture", to, BEGIN)
    }
    fn entity() -> Debt {
        debt(Partner::Entity(EntityKey { kind: 2, id: "two".into() }))
    }
    fn gateway() -> Debt {
        debt(Partner::Gateway("payments"))
    }

    #[test]
    fn the_watermark_waits_for_what_is_outstanding_and_for_durability() {
        let mut outstanding = Outstanding::default();
        assert_eq!(outstanding.watermark(7), 0, "nothing is known before all is read");
        outstanding.all_read();
        assert_eq!(outstanding.watermark(7), number(8, 0));
        outstanding.add(number(8, 0), entity());
        outstanding.add(number(9, 0), entity());
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
        outstanding.add(number(1, 0), gateway());
        outstanding.add(number(2, 0), entity());
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
        [1, 2, 3].into_iter().for_each(|seq| outstanding.add_unknown(number(seq, 0), debt(Partner::Unknown)));
        outstanding.all_read();
        assert_eq!(outstanding.watermark(9), number(1, 0));
        outstanding.add(number(1, 0), gateway());
        assert_eq!(outstanding.watermark(9), number(2, 0));
        outstanding.was_not_owed(number(2, 0));
        assert_eq!(outstanding.watermark(9), number(3, 0));
        // Answered before the page that owes it came: the page is an old one.
        outstanding.answered_by(10, number(3, 0));
        outstanding.answered_by(10, number(4, 0));
        outstanding.add_unknown(number(4, 0), debt(Partner::Unknown));
        outstanding.was_not_owed(number(4, 0));
        assert_eq!(outstanding.watermark(9), number(3, 0), "the answers are still in flight");
        assert_eq!(outstanding.watermark(10), number(11, 0));
    }

    #[test]
    fn it_is_known_since_when_a_request_is_owed_how_often_it_was_sent_and_why_it_failed() {
        let mut outstanding = Outstanding::default();
        outstanding.add_unknown(7, debt(Partner::Unknown));
        outstanding.failed(7, "the store is away".into());
        let later = Debt { since: Time(2_000), ..gateway() };
        outstanding.add(7, later.clone());
        outstanding.add(8, later);
        outstanding.attempted(7);
        outstanding.attempted(7);
        let known = outstanding.get(7).expect("it is owed");
        assert_eq!((&known.to, known.since, known.attempts), (&Partner::Gateway("payments"), BEGIN, 2));
        assert_eq!(known.last_error.as_deref(), Some("the store is away"));
        outstanding.failed(7, "x".repeat(10_000).into());
        assert_eq!(outstanding.get(7).and_then(|debt| debt.last_error.as_ref()).map(|why| why.len()), Some(200));
        let since_before = |time| outstanding.owed_since_before(Time(time)).collect::<Vec<_>>();
        assert_eq!(since_before(1_000), []);
        assert_eq!(since_before(2_000), [(7, BEGIN)]);
        assert_eq!(since_before(2_001), [(7, BEGIN), (8, Time(2_000))]);
        outstanding.answered_by(9, 7);
        outstanding.attempted(7);
        outstanding.failed(7, "late".into());
        assert!(outstanding.get(7).is_none());
    }
}
