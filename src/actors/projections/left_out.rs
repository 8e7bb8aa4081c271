//! Entities that could not be read when they changed, to be read again later. It is bounded: when it is full, everything
//! is read again instead.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::persistence::EntityKey;

/// The most keys that wait. At 50 bytes each a few megabytes; more is cheaper to find by listing.
const KEYS_MAX: usize = 65_536;
/// Keys that are tried at once.
const TRIED_MAX: usize = 4_096;
/// The pause before the next try where the reason passes by itself (a full queue, a slot that recovers).
const SOON: Duration = Duration::from_millis(250);
/// The first pause where it does not (stored data is damaged, the entity's code panics): it doubles.
const LATER_FIRST: Duration = Duration::from_secs(1);
/// The longest; and how long it takes until everything is read again.
const LATER_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct LeftOut {
    soon: Waiting,
    later: Waiting,
    /// There were too many: when everything is to be read again.
    all_at: Option<Instant>,
}

#[derive(Default)]
struct Waiting {
    /// The version to read at least, of each.
    keys: HashMap<EntityKey, u64>,
    at: Option<Instant>,
    pause: Duration,
}

impl LeftOut {
    /// Leaves an entity out for now, which is to be read at this version at least. `passes`: the same read may well succeed
    /// soon.
    pub fn put(&mut self, key: EntityKey, version: u64, passes: bool, now: Instant) {
        if self.soon.keys.len() + self.later.keys.len() >= KEYS_MAX {
            self.all_at.get_or_insert(now + LATER_MAX);
            return;
        }
        let waiting = if passes { &mut self.soon } else { &mut self.later };
        let first = if passes { SOON } else { LATER_FIRST };
        let wanted = waiting.keys.entry(key).or_default();
        *wanted = version.max(*wanted);
        if waiting.at.is_none() {
            waiting.pause = waiting.pause.max(first);
            waiting.at = Some(now + waiting.pause);
        }
    }

    /// Takes what is to be tried now.
    pub fn take_due(&mut self, now: Instant) -> Vec<(EntityKey, u64)> {
        let soon = self.soon.take_due(SOON, SOON, now);
        let later = self.later.take_due(LATER_FIRST, LATER_MAX, now);
        soon.into_iter().chain(later).collect()
    }

    /// Whether everything is to be read again, because too many were left out.
    pub fn is_all_due(&self, now: Instant) -> bool {
        self.all_at.is_some_and(|at| at <= now)
    }

    /// Whether some are left out for a reason that passes by itself.
    pub fn has_passing(&self) -> bool {
        !self.soon.keys.is_empty()
    }
}

impl Waiting {
    fn take_due(&mut self, first: Duration, longest: Duration, now: Instant) -> Vec<(EntityKey, u64)> {
        if self.keys.is_empty() {
            (self.at, self.pause) = (None, first);
            return Vec::new();
        }
        if self.at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        self.pause = (self.pause * 2).clamp(first, longest);
        self.at = Some(now + self.pause);
        self.keys.extract_if(|_, _| true).take(TRIED_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> EntityKey {
        EntityKey { kind: 8, id: n.to_string().into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_soon_and_the_rest_with_a_pause_that_grows() {
        let mut left_out = LeftOut::default();
        left_out.put(key(1), 3, true, Instant::now());
        left_out.put(key(1), 2, true, Instant::now());
        left_out.put(key(2), 0, false, Instant::now());
        assert!(left_out.take_due(Instant::now()).is_empty() && left_out.has_passing());
        tokio::time::advance(SOON).await;
        assert_eq!(left_out.take_due(Instant::now()), [(key(1), 3)], "at the later version");
        assert!(!left_out.has_passing());
        let mut waited = SOON;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            tokio::time::advance(Duration::from_secs(pause) - waited).await;
            waited = Duration::ZERO;
            assert_eq!(left_out.take_due(Instant::now()), [(key(2), 0)], "{pause}");
            left_out.put(key(2), 0, false, Instant::now());
            assert!(left_out.take_due(Instant::now()).is_empty());
        }
        // Once none is left, the pause begins anew.
        tokio::time::advance(LATER_MAX).await;
        assert_eq!(left_out.take_due(Instant::now()), [(key(2), 0)]);
        assert!(left_out.take_due(Instant::now()).is_empty());
        left_out.put(key(3), 0, false, Instant::now());
        tokio::time::advance(LATER_FIRST).await;
        assert_eq!(left_out.take_due(Instant::now()), [(key(3), 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_mean_that_everything_is_read_again_after_a_while() {
        let mut left_out = LeftOut::default();
        (0..KEYS_MAX).for_each(|n| left_out.put(key(n), 0, n % 2 == 0, Instant::now()));
        tokio::time::advance(LATER_MAX).await;
        assert!(!left_out.is_all_due(Instant::now()));
        left_out.put(key(KEYS_MAX), 0, true, Instant::now());
        assert!(!left_out.is_all_due(Instant::now()));
        assert_eq!(left_out.take_due(Instant::now()).len(), 2 * TRIED_MAX);
        tokio::time::advance(LATER_MAX).await;
        assert!(left_out.is_all_due(Instant::now()));
    }
}
