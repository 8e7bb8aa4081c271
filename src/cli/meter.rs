//! How many calls were made and how long they took: counters that every task adds to without a lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use serde::Serialize;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Auth,
    CreateCart,
    AddLine,
    SetContact,
    Complete,
    /// Asking for an order that was not decided at once.
    Poll,
    /// Writes of an operator.
    Admin,
    Read,
}

impl Op {
    pub const ALL: [Op; 8] =
        [Op::Auth, Op::CreateCart, Op::AddLine, Op::SetContact, Op::Complete, Op::Poll, Op::Admin, Op::Read];

    pub fn name(self) -> &'static str {
        match self {
            Op::Auth => "auth",
            Op::CreateCart => "create_cart",
            Op::AddLine => "add_line",
            Op::SetContact => "set_contact",
            Op::Complete => "complete",
            Op::Poll => "poll_order",
            Op::Admin => "admin",
            Op::Read => "read",
        }
    }
}

/// Buckets per doubling of the time: a percentile is at most 1/16 too high.
const PER_DOUBLING: u64 = 16;
const BUCKETS: usize = 16 + 16 * 36;

/// Counts of durations in microseconds: exact below 16, then 16 buckets for each doubling.
struct Histogram {
    counts: Vec<AtomicU64>,
    max_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max_us: AtomicU64::new(0) }
    }
}

fn bucket_of(us: u64) -> usize {
    if us < PER_DOUBLING {
        return us as usize;
    }
    let shift = u64::from(us.ilog2()) - 4;
    let bucket = PER_DOUBLING + shift * PER_DOUBLING + ((us >> shift) - PER_DOUBLING);
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest duration that falls into a bucket.
fn upper_bound_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PER_DOUBLING {
        return bucket;
    }
    let shift = (bucket - PER_DOUBLING) / PER_DOUBLING;
    let step = (bucket - PER_DOUBLING) % PER_DOUBLING;
    ((PER_DOUBLING + step + 1) << shift) - 1
}

impl Histogram {
    fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(us)].fetch_add(1, Relaxed);
        self.max_us.fetch_max(us, Relaxed);
    }

    fn summary(&self) -> Option<Latency> {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let max_us = self.max_us.load(Relaxed);
        let at = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            bucket.map_or(max_us, |bucket| upper_bound_us(bucket).min(max_us))
        };
        (count > 0).then(|| Latency { count, p50_us: at(50), p90_us: at(90), p99_us: at(99), max_us })
    }
}

/// Of the calls of one kind, repeats included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Latency {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// All calls of a client.
#[derive(Default)]
pub struct Meter {
    by_op: [Histogram; Op::ALL.len()],
    /// By what came before them.
    repeats: Mutex<BTreeMap<String, u64>>,
}

impl Meter {
    pub fn answered(&self, op: Op, took: Duration) {
        self.by_op[op as usize].record(took);
    }

    /// `after`: the code of a problem, or that there was no answer.
    pub fn repeated(&self, after: &str) {
        *self.repeats.lock().entry(after.to_owned()).or_default() += 1;
    }

    /// Attempts that had to be repeated, by what came before them.
    pub fn repeats(&self) -> BTreeMap<String, u64> {
        self.repeats.lock().clone()
    }

    /// Of every kind of call that was made.
    pub fn latencies(&self) -> Vec<(&'static str, Latency)> {
        Op::ALL.iter().filter_map(|op| Some((op.name(), self.by_op[*op as usize].summary()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_the_bucket_that_bounds_it() {
        for us in (0..5_000).chain((0..39).map(|bit| 1 << bit)) {
            let bound = upper_bound_us(bucket_of(us));
            assert!(bound >= us && bound - us <= us / 16, "{us} in a bucket up to {bound}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let meter = Meter::default();
        assert_eq!(meter.latencies(), []);
        for us in 1..=100 {
            meter.answered(Op::Read, Duration::from_micros(us));
        }
        let latencies = meter.latencies();
        let (name, read) = &latencies[0];
        assert_eq!((*name, read.count, read.max_us), ("read", 100, 100));
        assert!((50..=53).contains(&read.p50_us) && (99..=100).contains(&read.p99_us), "{read:?}");
    }
}
