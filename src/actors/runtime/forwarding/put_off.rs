//! Requests that a peer was too busy for. Most callers are told so at once, and come again when they like. But a queue that is
//! full is often empty a moment later, so some of them are put off, and sent again from here.
//!
//! They must not make a peer that has too much to do have more. So they live on a budget: each request that this node sends to
//! another earns a tenth of one that is put off. Whatever the peers say, they get a tenth more requests at most. The pauses
//! between attempts grow, and differ, so that what was refused together does not come again together.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Requests that have to be sent for one that may be put off.
const SENT_FOR_EACH: u32 = 10;
/// What may be put off after a time in which nothing was.
const SAVED_MAX: u32 = 128;
/// The longest first pause, and the longest of all. None is shorter than half of its longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// A request that may be put off.
pub(super) struct Refused<T> {
    pub request: T,
    /// How often it was refused before.
    pub refusals: u32,
    pub deadline: Instant,
}

/// Those that are put off, and how many more may be. `T` is a request.
pub(super) struct PutOff<T> {
    /// What may be put off, in parts of which one request takes [`SENT_FOR_EACH`].
    saved: u32,
    waiting: BTreeMap<(Instant, u64), T>,
    next: u64,
}

impl<T> Default for PutOff<T> {
    fn default() -> PutOff<T> {
        PutOff { saved: SAVED_MAX * SENT_FOR_EACH, waiting: BTreeMap::new(), next: 0 }
    }
}

impl<T> PutOff<T> {
    /// A request goes to a peer, for the first time.
    pub fn earn(&mut self) {
        self.saved = (self.saved + 1).min(SAVED_MAX * SENT_FOR_EACH);
    }

    /// Puts a request off, or gives it back: it would come too late, or too many have been. `spread`: any number from 0 to 1.
    pub fn put_off(&mut self, refused: Refused<T>, now: Instant, spread: f64) -> Option<T> {
        let Refused { request, refusals, deadline } = refused;
        let due = now + pause(refusals, spread);
        if self.saved < SENT_FOR_EACH || deadline <= due {
            return Some(request);
        }
        self.saved -= SENT_FOR_EACH;
        self.next += 1;
        self.waiting.insert((due, self.next), request);
        None
    }

    /// Those that are to be sent again now.
    pub fn due(&mut self, now: Instant) -> Vec<T> {
        let later = self.waiting.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.waiting, later).into_values().collect()
    }
}

fn pause(refusals: u32, spread: f64) -> Duration {
    let longest = (PAUSE_FIRST * 2u32.saturating_pow(refusals.min(16))).min(PAUSE_MAX);
    longest.mul_f64(0.5 + spread.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(now: Instant, refusals: u32, within: Duration) -> Refused<u32> {
        Refused { request: refusals, refusals, deadline: now + within }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_tenth_of_what_is_sent_may_be_put_off() {
        let (now, mut put_off) = (Instant::now(), PutOff::default());
        let puts_off = |put_off: &mut PutOff<u32>| put_off.put_off(refused(now, 0, LONG), now, 0.5).is_none();
        assert_eq!((0..1_000).filter(|_| puts_off(&mut put_off)).count(), SAVED_MAX as usize);
        let mut count = 0;
        for _ in 0..1_000 {
            put_off.earn();
            count += usize::from(puts_off(&mut put_off));
        }
        assert_eq!(count, 100);
        (0..1_000_000).for_each(|_| put_off.earn());
        assert_eq!((0..1_000).filter(|_| puts_off(&mut put_off)).count(), SAVED_MAX as usize, "no more is saved");
    }

    #[test]
    fn the_pauses_grow_and_differ_up_to_a_bound() {
        let ms = |refusals, spread| pause(refusals, spread).as_millis();
        assert_eq!([0, 1, 2, 3, 4, 5, 99].map(|refusals| ms(refusals, 1.0)), [20, 40, 80, 160, 320, 320, 320]);
        assert_eq!([ms(0, 0.0), ms(0, 0.5), ms(4, 0.0)], [10, 15, 160]);
    }

    #[test]
    fn what_is_put_off_comes_when_it_is_due_and_nothing_comes_after_its_deadline() {
        let (now, mut put_off) = (Instant::now(), PutOff::default());
        let later = |ms| now + Duration::from_millis(ms);
        let soon = refused(now, 0, Duration::from_millis(15));
        assert_eq!(put_off.put_off(soon, now, 0.5), Some(0), "it would be too late");
        assert_eq!(put_off.put_off(refused(now, 1, LONG), now, 1.0), None);
        assert_eq!(put_off.put_off(refused(now, 0, LONG), now, 0.0), None);
        assert!(put_off.due(later(9)).is_empty());
        assert_eq!(put_off.due(later(10)), [0]);
        assert!(put_off.due(later(39)).is_empty());
        assert_eq!(put_off.due(later(40)), [1], "the pause of the second time is longer");
    }
}
