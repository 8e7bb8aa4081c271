//! Admission: a bounded number of requests are worked on, a bounded number wait a moment, one more is refused
//! at once.
//!
//! Requests that want the processors make each other slow: beyond as many as keep the node busy, one more only
//! makes all the others late. Those that wait for something else (a payment provider, a slow disk) cost nearly
//! nothing. Nobody can tell the two apart at the door, but soon after: those that wait give their places up, see
//! [`waiting`](super::waiting).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::waiting::Waiting;
use crate::config::Http;
use crate::http::answer::problem::{Code, Problem, Result};

/// Admits a bounded number of requests.
#[derive(Debug)]
pub struct Admission {
    places: Semaphore,
    /// The requests that have been let in and wait for something else.
    pub waiting: Waiting,
    queued: AtomicUsize,
    queue_max: usize,
    wait: Duration,
    refusals: Refusals,
}

/// The place of a request that is worked on, until it is dropped.
#[derive(Debug)]
pub struct Admitted<'a>(#[allow(dead_code)] SemaphorePermit<'a>);

impl Admission {
    pub fn new(config: &Http) -> Admission {
        Admission {
            places: Semaphore::new(config.active_max),
            waiting: Waiting::new(config),
            queued: AtomicUsize::new(0),
            queue_max: config.queue_max,
            wait: Duration::from_millis(config.queue_wait_ms),
            refusals: Refusals::default(),
        }
    }

    /// Lets a request in.
    ///
    /// Errors: 503 when too many queue already, or no place came free while it queued.
    pub async fn enter(&self) -> Result<Admitted<'_>> {
        let overloaded = || Problem::new(Code::Overloaded);
        if let Ok(place) = self.places.try_acquire() {
            return Ok(Admitted(place));
        }
        // A request that only waits gives its place up, and this one need not queue for it.
        let _queued = if self.waiting.make_way() {
            None
        } else {
            Some(Counted::below(&self.queued, self.queue_max).ok_or_else(overloaded)?)
        };
        let came_free = tokio::time::timeout(self.wait, self.places.acquire()).await;
        came_free.map_err(|_| overloaded())?.map(Admitted).map_err(|_| overloaded())
    }

    /// Notes a refused request, and logs how many there were, once a second.
    pub fn count_refusal(&self) {
        if let Some(refused) = self.refusals.count() {
            tracing::warn!(refused, "too much at once: requests were refused");
        }
    }
}

/// One of a bounded count; given back when dropped, also by a caller who went away.
#[derive(Debug)]
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn below(count: &'a AtomicUsize, most: usize) -> Option<Counted<'a>> {
        let counted = Counted(count);
        // The count is raised first and given back if it was full, so that no place is lost.
        if count.fetch_add(1, Ordering::AcqRel) < most { Some(counted) } else { None }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Refusals since they were last told of.
#[derive(Debug)]
struct Refusals {
    count: AtomicU64,
    begun: Instant,
    told_ms: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals { count: AtomicU64::new(0), begun: Instant::now(), told_ms: AtomicU64::new(0) }
    }
}

impl Refusals {
    /// One more. How many there are, if it is time to tell.
    fn count(&self) -> Option<u64> {
        const EVERY_MS: u64 = 1_000;
        self.count.fetch_add(1, Ordering::Relaxed);
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let told_ms = self.told_ms.load(Ordering::Relaxed);
        let due = told_ms == 0 || now_ms >= told_ms.saturating_add(EVERY_MS);
        let exchanged = self.told_ms.compare_exchange(told_ms, now_ms.max(1), Ordering::Relaxed, Ordering::Relaxed);
        // Of two at the same moment, one tells.
        (due && exchanged.is_ok()).then(|| self.count.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn admission(active_max: usize, queue_max: usize) -> Admission {
        Admission::new(&Http { active_max, queue_max, queue_wait_ms: 50, ..Config::default().http })
    }

    async fn refused(admission: &Admission) -> Option<Code> {
        admission.enter().await.map(drop).map_err(|problem| problem.code()).err()
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_places_and_queue_a_request_is_refused_at_once() {
        let admission = std::sync::Arc::new(admission(1, 1));
        let first = admission.enter().await.expect("the only place");
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { refused(&admission).await }
        });
        tokio::task::yield_now().await;
        let began = Instant::now();
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(first);
        assert_eq!(waiting.await.expect("no panic"), None);
        let _again = admission.enter().await.expect("the place came back");
        assert_eq!(refused(&admission).await, Some(Code::Overloaded), "its time to wait has passed");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_told_of_at_once_and_then_once_a_second() {
        let refusals = Refusals::default();
        assert_eq!(refusals.count(), Some(1));
        assert_eq!([refusals.count(), refusals.count()], [None, None]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(refusals.count(), Some(3));
    }
}
