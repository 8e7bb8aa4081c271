//! Admission: a bounded number of requests run, a bounded number wait a moment, one more is refused at once.
//!
//! How many may run follows from how the node keeps up. Requests that wait (for a payment provider, for a
//! slow disk) cost nearly nothing, so the configured number is large; but that many requests which want the
//! processors make each other slow, and every one of them is answered late. So the node watches how long a
//! task that could run waits until it does. When that is long on average there is a queue in front of the
//! processors, and fewer requests are let in, down to the number that is never shed; when it is short, more
//! are let in again. Sinking quickly and for little reason does no harm: it is felt only by a node that has
//! more requests at once than that number, and processors that do not keep up with them.

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
/// While it is behind, the part of the waiting room that is open: what waits there is late already.
const WAITING_PART: usize = 8;

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
        Admission {
            permits: Semaphore::new(config.admission_permits),
            waiting: AtomicUsize::new(0),
            most: config.admission_permits,
            queue: config.admission_queue,
            wait: Duration::from_millis(config.admission_wait_ms),
            limit: AtomicUsize::new(config.admission_permits),
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
        let is_behind = self.limit() < self.most;
        let places = if is_behind { self.queue.div_ceil(WAITING_PART) } else { self.queue };
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
        } else {
            self.set_limit((limit + limit / 8 + 1).min(self.most));
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
        let mut running = Vec::new();
        for _ in 0..1_000 {
            running.push(admission.enter().await.expect("there is room"));
        }
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
        let mut running = Vec::new();
        for _ in 0..700 {
            running.push(admission.enter().await.expect("there is room"));
        }
        for _ in 0..20 {
            admission.judge(BEHIND * 2);
        }
        running.truncate(400);
        for _ in 0..40 {
            admission.judge(Duration::ZERO);
        }
        assert_eq!(admission.limit(), 1_024);
        for _ in 400..1_024 {
            running.push(admission.enter().await.expect("all of the configured number"));
        }
        assert_eq!(refused(&admission).await, Some(Code::Overloaded));
    }
}
