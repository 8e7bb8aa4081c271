//! Entities that could not be read when they changed, to be read again later. It is bounded: when it is full, everything
//! is read again instead.

use std::collections::HashSet;
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
    keys: HashSet<EntityKey>,
    at: Option<Instant>,
    pause: Duration,
}

impl LeftOut {
    /// Leaves an entity out for now. `passes`: the same read may well succeed soon.
    pub fn put(&mut self, key: EntityKey, passes: bool, now: Instant) {
        if self.soon.keys.len() + self.later.keys.len() >= KEYS_MAX {
            self.all_at.get_or_insert(now + LATER_MAX);
            return;
        }
        let waiting = if passes { &mut self.soon } else { &mut self.later };
        let first = if passes { SOON } else { LATER_FIRST };
        waiting.keys.insert(key);
        if waiting.at.is_none() {
            waiting.pause = waiting.pause.max(first);
            waiting.at = Some(now + waiting.pause);
        }
    }

    /// Takes what is to be tried now.
    pub fn take_due(&mut self, now: Instant) -> Vec<EntityKey> {
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
    fn take_due(&mut self, first: Duration, longest: Duration, now: Instant) -> Vec<EntityKey> {
        if self.keys.is_empty() {
            (self.at, self.pause) = (None, first);
            return Vec::new();
        }
        if self.at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        self.pause = (self.pause * 2).clamp(first, longest);
        self.at = Some(now + self.pause);
        let due: HashSet<_> = self.keys.iter().take(TRIED_MAX).cloned().collect();
        self.keys.retain(|key| !due.contains(key));
        due.into_iter().collect()
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
        left_out.put(key(1), true, Instant::now());
        left_out.put(key(1), true, Instant::now());
        left_out.put(key(2), false, Instant::now());
        assert!(left_out.take_due(Instant::now()).is_empty() && left_out.has_passing());
        tokio::time::advance(SOON).await;
        assert_eq!(left_out.take_due(Instant::now()), [key(1)]);
        assert!(!left_out.has_passing());
        let mut waited = SOON;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            tokio::time::advance(Duration::from_secs(pause) - waited).await;
            waited = Duration::ZERO;
            assert_eq!(left_out.take_due(Instant::now()), [key(2)], "{pause}");
            left_out.put(key(2), false, Instant::now());
            assert!(left_out.take_due(Instant::now()).is_empty());
        }
        // Once none is left, the pause begins anew.
        tokio::time::advance(LATER_MAX).await;
        assert_eq!(left_out.take_due(Instant::now()), [key(2)]);
        assert!(left_out.take_due(Instant::now()).is_empty());
        left_out.put(key(3), false, Instant::now());
        tokio::time::advance(LATER_FIRST).await;
        assert_eq!(left_out.take_due(Instant::now()), [key(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_mean_that_everything_is_read_again_after_a_while() {
        let mut left_out = LeftOut::default();
        (0..KEYS_MAX).for_each(|n| left_out.put(key(n), n % 2 == 0, Instant::now()));
        tokio::time::advance(LATER_MAX).await;
        assert!(!left_out.is_all_due(Instant::now()));
        left_out.put(key(KEYS_MAX), true, Instant::now());
        assert!(!left_out.is_all_due(Instant::now()));
        assert_eq!(left_out.take_due(Instant::now()).len(), 2 * TRIED_MAX);
        tokio::time::advance(LATER_MAX).await;
        assert!(left_out.is_all_due(Instant::now()));
    }
}
