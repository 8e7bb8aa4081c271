//! Admission: a bounded number of requests run, a bounded number wait a moment, one more is refused at once.
//!
//! How many may run follows from how the node keeps up. Requests that wait (for a payment provider, for a
//! slow disk) cost nearly nothing, so the configured number is large; but that many requests which want the
//! processors make each other slow, and every one of them is answered late. So the node watches how long a
//! task that could run waits until it does. When that is long on average there is a queue in front of the
//! processors, and fewer requests are let in, down to the number that is never shed; when it is short, more
//! are let in again, as far as they come. It begins with that number, too: had a sudden flood the configured
//! number, all of that would be late before the queue was noticed. Sinking quickly and for little reason does
//! no harm: it is felt only by a node that has more requests at once than that number.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::config::EdgeConfig;
use super::problem::{Code, Problem, Result};

/// So many requests at once are never shed.
const NEVER_SHED: usize = 256;
/// How often the wait for a processor is measured.
const SAMPLE: Duration = Duration::from_millis(10);
/// Over so many samples the wait is averaged. (The least of them says nothing: work comes in bursts, one from
/// every group commit, with short lulls between them.)
const WINDOW: u32 = 4;
/// An average wait above this is a queue. (A timer is up to two milliseconds late by itself.)
const BEHIND: Duration = Duration::from_millis(3);
const LOG_EVERY: Duration = Duration::from_secs(1);
/// As part of those that may run, those that may wait: what waits behind more is late already.
const WAITING_PART: usize = 2;

/// Admits a bounded number of requests.
#[derive(Debug)]
pub struct Admission {
    permits: Semaphore,
    waiting: AtomicUsize,
    most: usize,
    queue: usize,
    wait: Duration,
    /// How many may run now.
    limit: AtomicUsize,
    /// Permits that are to disappear when they come back: the limit sank while they were out.
    debt: AtomicUsize,
    /// Requests that were refused since that was last logged.
    refusals: AtomicU64,
}

/// A place among the running requests, held until the answer is made.
#[derive(Debug)]
pub struct Admitted<'a> {
    admission: &'a Admission,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.admission.pay_debt()
        {
            permit.forget();
        }
    }
}

impl Admission {
    pub fn new(config: &EdgeConfig) -> Admission {
        let first = NEVER_SHED.min(config.admission_permits);
        Admission {
            permits: Semaphore::new(first),
            waiting: AtomicUsize::new(0),
            most: config.admission_permits,
            queue: config.admission_queue,
            wait: Duration::from_millis(config.admission_wait_ms),
            limit: AtomicUsize::new(first),
            debt: AtomicUsize::new(0),
            refusals: AtomicU64::new(0),
        }
    }

    /// A permit to run.
    ///
    /// Errors: 503 when the queue is full, or no permit came free while the request waited.
    pub async fn enter(&self) -> Result<Admitted<'_>> {
        let admitted = |permit| Admitted { admission: self, permit: Some(permit) };
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(admitted(permit));
        }
        let limit = self.limit();
        let places = if limit < self.most { self.queue.min(limit / WAITING_PART) } else { self.queue };
        let place = Place::take(&self.waiting, places).ok_or_else(|| Problem::new(Code::Overloaded))?;
        let entered = tokio::time::timeout(self.wait, self.permits.acquire()).await;
        drop(place);
        match entered {
            Ok(Ok(permit)) => Ok(admitted(permit)),
            Ok(Err(_)) | Err(_) => Err(Code::Overloaded.into()),
        }
    }

    /// How many may run at once now.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Notes that a request was refused for want of room.
    pub fn count_refusal(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// Adapts the limit to how the node keeps up, and logs refusals once a second, for as long as it is polled.
    pub async fn follow(&self, told: impl Fn(usize)) {
        let mut logged = Instant::now();
        loop {
            let mut waited = Duration::ZERO;
            for _ in 0..WINDOW {
                let due = Instant::now() + SAMPLE;
                tokio::time::sleep_until(due).await;
                // Behind everything that can run at the moment.
                tokio::task::yield_now().await;
                waited += due.elapsed();
            }
            self.judge(waited / WINDOW);
            told(self.limit());
            if logged.elapsed() >= LOG_EVERY {
                logged = Instant::now();
                let refused = self.refusals.swap(0, Ordering::Relaxed);
                if refused > 0 {
                    tracing::warn!(refused, limit = self.limit(), "too much at once: requests were refused");
                }
            }
        }
    }

    /// Sets the limit after a window whose average wait was this.
    fn judge(&self, wait: Duration) {
        let limit = self.limit();
        let floor = NEVER_SHED.min(self.most);
        if wait > BEHIND {
            self.set_limit((limit / 2).max(floor));
        } else if self.permits.available_permits() < limit / 4 {
            self.set_limit((limit + limit / 8 + 1).min(self.most));
        } else if self.permits.available_permits() > limit / 2 {
            self.set_limit((limit - limit / 8).max(floor));
        }
    }

    fn set_limit(&self, limit: usize) {
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if limit < before {
            self.debt.fetch_add(before - limit, Ordering::AcqRel);
        }
        // What is owed is taken first from what is there; it shrinks by what the limit has grown.
        for _ in before..limit {
            if !self.pay_debt() {
                self.permits.add_permits(1);
            }
        }
        while self.permits.available_permits() > 0 && self.pay_debt() {
            if self.permits.forget_permits(1) == 0 {
                self.debt.fetch_add(1, Ordering::AcqRel);
                break;
            }
        }
    }

    /// Takes one off the debt; whether there was any.
    fn pay_debt(&self) -> bool {
        self.debt.fetch_update(Ordering::AcqRel, Ordering::Acquire, |debt| debt.checked_sub(1)).is_ok()
    }
}

/// A place in a bounded queue; given back when dropped, also by a caller who went away.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Place<'a>> {
        let place = Place(waiting);
        // The count is raised first and the place dropped when that was one too many: never a lost one.
        if waiting.fetch_add(1, Ordering::AcqRel) < most { Some(place) } else { None }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(permits: usize, queue: usize) -> Admission {
        Admission::new(&EdgeConfig {
            admission_permits: permits,
            admission_queue: queue,
            admission_wait_ms: 50,
            ..EdgeConfig::default()
        })
    }

    async fn refused(admission: &Admission) -> Option<Code> {
        admission.enter().await.map(drop).map_err(|problem| problem.code()).err()
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_permits_and_queue_a_request_is_refused_at_once() {
        let admission = std::sync::Arc::new(admission(1, 1));
        let first = admission.enter().await.expect("the only permit");
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { refused(&admission).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
        drop(first);
        assert_eq!(waiting.await.expect("no panic"), None);
        let _again = admission.enter().await.expect("the permit came back");
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_behind_admits_fewer_but_never_less_than_is_promised() {
        let admission = admission(1_024, 0);
        let mut running = full(&admission).await;
        for _ in 0..20 {
            admission.judge(BEHIND * 2);
        }
        assert_eq!(admission.limit(), NEVER_SHED);
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
        // Those that run may end, and are not replaced until fewer than the limit are left.
        running.truncate(NEVER_SHED);
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
        running.pop();
        let last = admission.enter().await.expect("fewer than the limit run");
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
        drop(last);
        running.clear();
        for _ in 0..NEVER_SHED {
            running.push(admission.enter().await.expect("so many are never shed"));
        }
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_caught_up_admits_as_many_as_before() {
        let admission = admission(1_024, 0);
        let mut running = full(&admission).await;
        for _ in 0..20 {
            admission.judge(BEHIND * 2);
        }
        running.truncate(100);
        running.extend(full(&admission).await);
        assert_eq!(running.len(), 1_024);
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
        // What nobody uses is taken back, so that the next flood does not find it.
        running.clear();
        for _ in 0..40 {
            admission.judge(Duration::ZERO);
        }
        assert_eq!(admission.limit(), NEVER_SHED);
        for _ in 0..NEVER_SHED {
            running.push(admission.enter().await.expect("so many are never shed"));
        }
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
    }

    /// As many as may run, on a node that keeps up.
    async fn full(admission: &Admission) -> Vec<Admitted<'_>> {
        let mut running = Vec::new();
        for _ in 0..40 {
            while let Ok(admitted) = admission.enter().await {
                running.push(admitted);
            }
            admission.judge(Duration::ZERO);
        }
        assert_eq!(admission.limit(), 1_024);
        running
    }
}
