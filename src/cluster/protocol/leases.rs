//! Leases: this node's own, and what it can tell about those of others by watching their counters. No clocks are
//! compared.
//!
//! A node counts as lost when its counter stood still for the whole lease: from the *answer* to the first read that
//! showed it to the *asking* of the last one. Whoever watches must have watched without a break. A gap in its own reads,
//! or in its own renewals, begins every count anew: where the store stalls for all, nobody takes anybody for lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::lease::{LeaseTimes, Moment};
use super::super::ownership::NodeId;
use super::settings::Settings;

/// An unbroken stretch of this node's own lease. A slot that was gained in an earlier term may have been taken by another
/// node since: it is claimed again before it is served.
pub type Term = u64;

/// This node's own lease.
#[derive(Debug, Clone, Hash)]
pub struct OwnLease {
    times: LeaseTimes,
    /// What the next renewal says. `None`: an earlier renewal of unknown outcome was made, so the list has to be read.
    counter: Option<u64>,
    valid_until: Option<Moment>,
    term: Term,
}

impl OwnLease {
    /// `joined`: when the entry into the node list was sent, with this counter.
    pub fn new(times: LeaseTimes, counter: u64, joined: Moment) -> OwnLease {
        OwnLease { times, counter: Some(counter), valid_until: Some(times.valid_until(joined)), term: 1 }
    }

    pub fn counter(&self) -> Option<u64> {
        self.counter
    }

    /// The counter that the node list has.
    pub fn is_at(&mut self, counter: u64) {
        self.counter = Some(counter);
    }

    /// The list has another counter than the one that the renewal said.
    pub fn counter_is_unknown(&mut self) {
        self.counter = None;
    }

    pub fn term(&self) -> Term {
        self.term
    }

    pub fn is_valid(&self) -> bool {
        self.valid_until.is_some()
    }

    /// Sees whether the lease has run out. It says so once, and the term ends with it.
    pub fn has_lapsed(&mut self, now: Moment) -> bool {
        let is_over = self.valid_until.is_some_and(|until| now >= until);
        if is_over {
            self.valid_until = None;
            self.term += 1;
        }
        is_over
    }

    /// A renewal that was sent at this moment has succeeded. The answer is until when the lease is valid, where it is.
    pub fn renewed(&mut self, counter: u64, sent: Moment, now: Moment) -> Option<Moment> {
        self.counter = Some(counter);
        let until = self.times.valid_until(sent);
        if until > now {
            self.valid_until = self.valid_until.max(Some(until));
        }
        self.valid_until
    }
}

#[derive(Debug, Clone, Hash)]
struct Seen {
    /// `None`: the node owns slots, and is not in the list.
    counter: Option<u64>,
    /// When the read that showed this counter first, or the first after a break, was answered.
    since: Moment,
}

/// What this node has seen of the counters of others.
#[derive(Debug, Clone, Default, Hash)]
pub struct Watch {
    seen: BTreeMap<NodeId, Seen>,
    lost: BTreeSet<NodeId>,
    read_at: Option<Moment>,
    renewed_at: Option<Moment>,
}

impl Watch {
    /// A renewal of this node's own has succeeded.
    pub fn renewed(&mut self, now: Moment) {
        self.renewed_at = Some(now);
    }

    /// A read has been answered now that was asked for at `asked`. `counters` are those of everybody who is in the list and
    /// has not left, and of every owner of a slot.
    pub fn read(&mut self, counters: BTreeMap<NodeId, Option<u64>>, asked: Moment, now: Moment, settings: &Settings) {
        let is_recent = |at: Option<Moment>| at.is_some_and(|at| now.since(at) <= settings.gap_max);
        if !is_recent(self.read_at) || !is_recent(self.renewed_at) {
            self.seen.values_mut().for_each(|seen| seen.since = now);
        }
        self.read_at = Some(now);
        self.seen.retain(|node, _| counters.contains_key(node));
        self.lost.retain(|node| counters.contains_key(node));
        for (node, counter) in counters {
            match self.seen.get(&node) {
                Some(seen) if seen.counter == counter => {
                    if asked.since(seen.since) >= settings.lease.lease {
                        self.lost.insert(node);
                    }
                }
                Some(_) | None => {
                    self.lost.remove(&node);
                    self.seen.insert(node, Seen { counter, since: now });
                }
            }
        }
    }

    pub fn is_lost(&self, node: &NodeId) -> bool {
        self.lost.contains(node)
    }

    /// For how long this node has seen the counter stand still, if it watches it.
    pub fn stands_still(&self, node: &NodeId, now: Moment) -> Option<Duration> {
        self.seen.get(node).map(|seen| now.since(seen.since))
    }

    /// Whether what is known of the others is new enough to act on.
    pub fn is_recent(&self, now: Moment, settings: &Settings) -> bool {
        self.read_at.is_some_and(|at| now.since(at) <= settings.gap_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment::from_millis((seconds * 1_000.0) as i64)
    }

    fn five_seconds() -> Settings {
        Settings::of_lease(std::time::Duration::from_secs(5))
    }

    /// Reads and renews every half second, and sees the counters that `counter` says.
    fn watch(from: f64, to: f64, watch: &mut Watch, counter: impl Fn(f64) -> u64) {
        let mut now = from;
        while now <= to {
            watch.renewed(at(now));
            watch.read([(NodeId::of("b"), Some(counter(now)))].into(), at(now), at(now), &five_seconds());
            now += 0.5;
        }
    }

    #[test]
    fn one_whose_counter_stands_still_for_the_lease_is_lost_and_one_that_moves_again_is_back() {
        let mut seen = Watch::default();
        watch(0.0, 4.5, &mut seen, |_| 7);
        assert!(!seen.is_lost(&NodeId::of("b")));
        watch(5.0, 5.0, &mut seen, |_| 7);
        assert!(seen.is_lost(&NodeId::of("b")));
        watch(5.5, 5.5, &mut seen, |_| 8);
        assert!(!seen.is_lost(&NodeId::of("b")));
        watch(6.0, 60.0, &mut seen, |now| now as u64);
        assert!(!seen.is_lost(&NodeId::of("b")));
    }

    #[test]
    fn a_gap_in_ones_own_reads_begins_the_count_anew() {
        let mut seen = Watch::default();
        watch(0.0, 4.5, &mut seen, |_| 7);
        watch(9.0, 13.5, &mut seen, |_| 7);
        assert!(!seen.is_lost(&NodeId::of("b")), "it may not have been able to renew either");
        watch(14.0, 14.0, &mut seen, |_| 7);
        assert!(seen.is_lost(&NodeId::of("b")));
    }

    /// A store that answers reads and takes no writes.
    #[test]
    fn a_gap_in_ones_own_renewals_begins_the_count_anew() {
        let mut seen = Watch::default();
        watch(0.0, 1.0, &mut seen, |_| 7);
        let counters = || BTreeMap::from([(NodeId::of("b"), Some(7))]);
        (2..60).for_each(|now| seen.read(counters(), at(f64::from(now)), at(f64::from(now)), &five_seconds()));
        assert!(!seen.is_lost(&NodeId::of("b")), "nobody can renew");
    }

    #[test]
    fn a_read_that_was_long_on_its_way_says_what_was() {
        let mut seen = Watch::default();
        watch(0.0, 3.0, &mut seen, |_| 7);
        seen.renewed(at(5.4));
        seen.read([(NodeId::of("b"), Some(7))].into(), at(4.9), at(5.4), &five_seconds());
        assert!(!seen.is_lost(&NodeId::of("b")), "asked before the lease had passed");
        seen.read([(NodeId::of("b"), Some(7))].into(), at(5.4), at(5.4), &five_seconds());
        assert!(seen.is_lost(&NodeId::of("b")));
    }

    #[test]
    fn an_owner_in_no_list_is_watched_too() {
        let mut seen = Watch::default();
        for now in 0..=5 {
            seen.renewed(at(f64::from(now)));
            seen.read([(NodeId::of("x"), None)].into(), at(f64::from(now)), at(f64::from(now)), &five_seconds());
        }
        assert!(seen.is_lost(&NodeId::of("x")));
    }

    #[test]
    fn the_own_lease_is_over_before_anybody_else_s_count_and_a_new_term_begins() {
        let mut own = OwnLease::new(five_seconds().lease, 0, at(10.0));
        assert!(!own.has_lapsed(at(13.9)) && own.is_valid());
        assert_eq!(own.renewed(1, at(12.0), at(13.9)), Some(at(16.0)), "from when it was sent");
        assert_eq!(own.renewed(2, at(11.0), at(14.0)), Some(at(16.0)), "answered late");
        assert!(own.has_lapsed(at(16.0)) && !own.has_lapsed(at(16.0)), "it is said once");
        assert_eq!((own.term(), own.is_valid()), (2, false));
        assert_eq!(own.renewed(3, at(12.0), at(17.0)), None, "of no use any more");
        assert_eq!(own.renewed(4, at(17.0), at(17.1)), Some(at(21.0)));
        assert!(own.is_valid() && own.term() == 2);
    }
}
