//! Pauses between attempts: each is twice as long as the one before, up to a bound.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_doubles_up_to_the_bound() {
        let mut pauses = Pauses::new(Duration::from_millis(20), Duration::from_millis(100));
        let taken: Vec<u128> = (0..5).map(|_| pauses.take().as_millis()).collect();
        assert_eq!(taken, [20, 40, 80, 100, 100]);
    }
}
