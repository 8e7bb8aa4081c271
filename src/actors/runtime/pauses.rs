//! Pauses between attempts: each is twice as long as the one before, up to a bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Clone)]
pub(in crate::actors) struct Pauses {
    next: Duration,
    max: Duration,
}

impl Pauses {
    /// For a store that is asked again until it answers.
    pub const STORE: Pauses = Pauses::new(Duration::from_millis(20), Duration::from_secs(1));

    pub const fn new(first: Duration, max: Duration) -> Pauses {
        Pauses { next: first, max }
    }

    /// The next one.
    pub fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause
    }
}

/// How a supervisor paces the restarts of its children: the pause before one starts again grows with every failure.
pub(in crate::actors) struct Failures<C>(HashMap<C, (Pauses, Instant)>);

impl<C: Eq + Hash> Failures<C> {
    const PAUSES: Pauses = Pauses::new(Duration::from_millis(50), Duration::from_secs(5));
    /// After this long without a failure the pauses begin anew.
    const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

    pub fn new() -> Failures<C> {
        Failures(HashMap::new())
    }

    /// The pause after a failure of a child.
    pub fn pause(&mut self, child: C) -> Duration {
        let now = Instant::now();
        let (pauses, last) = self.0.entry(child).or_insert((Self::PAUSES, now));
        if now.duration_since(*last) > Self::FORGIVEN_AFTER {
            *pauses = Self::PAUSES;
        }
        *last = now;
        pauses.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_doubles_up_to_the_bound() {
        let mut pauses = Pauses::new(Duration::from_millis(20), Duration::from_millis(100));
        let taken: Vec<u128> = (0..5).map(|_| pauses.take().as_millis()).collect();
        assert_eq!(taken, [20, 40, 80, 100, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_s_failures_are_its_own_and_are_forgiven_after_a_while() {
        let mut failures = Failures::new();
        let mut pause = |child: &'static str| failures.pause(child).as_millis();
        assert_eq!([pause("a"), pause("a"), pause("b"), pause("a")], [50, 100, 50, 200]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pause("a"), 400, "not yet");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(pause("a"), 50);
        for _ in 0..10 {
            pause("a");
        }
        assert_eq!(pause("a"), 5_000);
    }
}
