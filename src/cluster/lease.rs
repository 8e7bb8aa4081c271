//! The lease of a node that shares its store: how long it may speak for its slots without having told the
//! others that it lives.
//!
//! No clocks are compared. Somebody else takes a slot only after watching this node's counter stand still for
//! the whole lease; this node counts from when it *sent* its last successful renewal, on a clock that goes
//! on while the machine sleeps, and stops a margin earlier ([`LeaseTimes`]).

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::Lease;

/// How long leases are: the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseTimes {
    /// How long a counter has to stand still before its node counts as gone.
    pub lease: Duration,
    /// A node stops to speak this much earlier.
    pub margin: Duration,
}

impl LeaseTimes {
    /// Until when a renewal that was sent at this moment is good.
    pub fn valid_until(self, sent: Moment) -> Moment {
        sent.plus(self.lease.saturating_sub(self.margin))
    }
}

/// A moment on the clock that goes on while the machine sleeps, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    pub fn now() -> Moment {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment(at.tv_sec * 1_000 + at.tv_nsec / 1_000_000)
    }

    pub const fn from_millis(millis: i64) -> Moment {
        Moment(millis)
    }

    pub fn plus(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; nothing when it is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A lease that lapses unless it is renewed.
#[derive(Debug)]
pub struct Renewed {
    valid_until_ms: AtomicI64,
}

impl Renewed {
    /// It is valid until then, unless it is extended.
    pub fn until(until: Moment) -> Renewed {
        Renewed { valid_until_ms: AtomicI64::new(until.0) }
    }

    /// The lease is valid until then, or longer.
    pub fn extend_to(&self, until: Moment) {
        self.valid_until_ms.fetch_max(until.0, Ordering::AcqRel);
    }

    fn is_valid_at(&self, now: Moment) -> bool {
        now.0 < self.valid_until_ms.load(Ordering::Acquire)
    }
}

impl Lease for Renewed {
    fn is_valid(&self) -> bool {
        self.is_valid_at(Moment::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lapses_before_anybody_else_may_take_over_and_comes_back_with_a_renewal() {
        let times = LeaseTimes { lease: Duration::from_secs(5), margin: Duration::from_secs(1) };
        let lease = Renewed::until(times.valid_until(Moment(10_000)));
        assert!(lease.is_valid_at(Moment(13_999)));
        assert!(!lease.is_valid_at(Moment(14_000)), "a second before the lease has passed");
        lease.extend_to(times.valid_until(Moment(20_000)));
        lease.extend_to(times.valid_until(Moment(11_000))); // answered late
        assert!(lease.is_valid_at(Moment(23_999)));
    }
}
