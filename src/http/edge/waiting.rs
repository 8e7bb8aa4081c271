//! Requests that wait for something else: a payment provider, a turn to hash a password, a slow disk.
//!
//! They cost nearly nothing, and must keep nobody out. A request has a place among those that are worked on (see
//! [`admission`](super::admission)) only as long as it may be working:
//!
//! - What is not through after [`WORKS_AT_MOST`] waits, and a completion waits soon after its order is on its way
//!   ([`DECIDES_SOON`]). It is *parked*: it takes one of the places for those that wait, which are bounded in all
//!   and for each caller, and its own place is free.
//! - When none of those is left for its caller, it keeps its own until somebody else needs it. Then it *gives way*,
//!   the oldest first: a completion is answered with what is known of its order (202), anything else is told that
//!   it took too long (503). What it has asked for goes on; a repeat with the same key finds the outcome.
//! - What waits in a bounded queue of its own (for a turn to hash) steps aside at once.
//!
//! Architecture invariant: a request that waits never makes another one be refused. All of this is memory of the
//! process: a crash leaves nothing.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::Http;
use crate::http::request::wait_notice::WaitNotice;
use crate::metrics::Metrics;

/// Many times the time that a request takes which only computes, even on a node with as many of them as it admits.
pub const WORKS_AT_MOST: Duration = Duration::from_secs(1);

/// The time in which an order is decided that nothing holds up, with a margin. Shorter than [`WORKS_AT_MOST`], because
/// a completion whose order is on its way does not compute.
pub const DECIDES_SOON: Duration = Duration::from_millis(250);

/// The places for requests that wait, and the requests that wait without one.
#[derive(Debug)]
pub struct Waiting {
    places: Mutex<Places>,
    most: usize,
    most_per_caller: usize,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    by_caller: HashMap<String, usize>,
    /// Those that keep others from a place, by age.
    in_the_way: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

/// One of the places for those that wait, until it is dropped.
#[derive(Debug)]
pub struct Parked<'a> {
    waiting: &'a Waiting,
    caller: String,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        let mut places = self.waiting.places.lock();
        places.taken -= 1;
        if let Some(count) = places.by_caller.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                places.by_caller.remove(&self.caller);
            }
        }
    }
}

/// A request that waits on the place of one that works, until it is dropped.
struct InTheWay<'a> {
    waiting: &'a Waiting,
    number: u64,
    needed: Arc<Notify>,
}

impl Drop for InTheWay<'_> {
    fn drop(&mut self) {
        self.waiting.places.lock().in_the_way.remove(&self.number);
    }
}

impl Waiting {
    pub fn new(config: &Http) -> Waiting {
        let (most, most_per_caller) = (config.waiting_max, config.waiting_per_caller_max);
        Waiting { places: Mutex::default(), most, most_per_caller }
    }

    /// One of the places for requests that wait, if one is free and the caller has not used up his own.
    fn park(&self, caller: &str) -> Option<Parked<'_>> {
        let mut places = self.places.lock();
        let own = places.by_caller.get(caller).copied().unwrap_or(0);
        if places.taken >= self.most || own >= self.most_per_caller {
            return None;
        }
        places.taken += 1;
        places.by_caller.insert(caller.to_owned(), own + 1);
        Some(Parked { waiting: self, caller: caller.to_owned() })
    }

    fn in_the_way(&self) -> InTheWay<'_> {
        let needed = Arc::new(Notify::new());
        let mut places = self.places.lock();
        let number = places.next;
        places.next += 1;
        places.in_the_way.insert(number, needed.clone());
        InTheWay { waiting: self, number, needed }
    }

    /// Asks the oldest request that waits on a working place to give it up. `false`: there is none.
    pub fn make_way(&self) -> bool {
        let oldest = self.places.lock().in_the_way.pop_first();
        oldest.is_some_and(|(_, needed)| {
            needed.notify_one();
            true
        })
    }
}

/// Why a request does not count as working any more.
enum Turn<T> {
    Done(T),
    Aside,
    Waits,
}

/// Runs a handler on the place that it was admitted to, for as long as it works. `caller` names the caller, for the
/// bound per caller. `None`: the handler was given up because its place was needed, or because it took longer than
/// `at_most`.
pub async fn attended<F: Future, P>(
    node: (&Waiting, &Metrics),
    wait: &WaitNotice,
    caller: impl Fn() -> String,
    mut handling: Pin<&mut F>,
    place: P,
    at_most: Duration,
) -> Option<F::Output> {
    let began = Instant::now();
    // One timer for a request that only computes, as nearly all do.
    let is_aside = match while_it_works(&mut handling, wait, began + at_most.min(WORKS_AT_MOST)).await {
        Turn::Done(output) => return Some(output),
        Turn::Aside => true,
        Turn::Waits => false,
    };
    let waits = while_it_waits(node, wait, caller, handling, place, is_aside);
    timeout_at(began + at_most, waits).await.ok().flatten()
}

async fn while_it_waits<F: Future, P>(
    (waiting, metrics): (&Waiting, &Metrics),
    wait: &WaitNotice,
    caller: impl Fn() -> String,
    mut handling: Pin<&mut F>,
    place: P,
    is_aside: bool,
) -> Option<F::Output> {
    if is_aside {
        drop(place);
        let _counted = Counted::new(metrics);
        return Some(handling.await);
    }
    let caller = caller();
    let mut parked = waiting.park(&caller);
    if parked.is_none() {
        let in_the_way = waiting.in_the_way();
        tokio::select! {
            biased;
            output = &mut handling => return Some(output),
            () = in_the_way.needed.notified() => {}
        }
        parked = waiting.park(&caller);
    }
    drop(place);
    let gives_way = parked.is_none();
    if gives_way {
        metrics.http_gave_way.inc();
        if !wait.answer_with_what_is_known() {
            return None;
        }
    }
    let _counted = Counted::new(metrics);
    Some(handling.await)
}

async fn while_it_works<F: Future>(handling: &mut Pin<&mut F>, wait: &WaitNotice, until: Instant) -> Turn<F::Output> {
    let mut at_most = pin!(sleep_until(until));
    let mut decides = false;
    poll_fn(|context| {
        if let Poll::Ready(output) = handling.as_mut().poll(context) {
            return Poll::Ready(Turn::Done(output));
        }
        if wait.is_in_own_queue() {
            return Poll::Ready(Turn::Aside);
        }
        if !decides && wait.is_awaiting_decision() {
            decides = true;
            let soon = Instant::now() + DECIDES_SOON;
            if soon < at_most.deadline() {
                at_most.as_mut().reset(soon);
            }
        }
        at_most.as_mut().poll(context).map(|()| Turn::Waits)
    })
    .await
}

/// Counts a request as waiting without the place of one that works.
struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics) -> Counted<'a> {
        metrics.http_parked.inc();
        Counted(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.http_parked.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::http::answer::problem::Code;
    use crate::http::edge::admission::Admission;

    /// Two places for those that work, nobody queues.
    fn admission(waiting_max: usize, waiting_per_caller_max: usize) -> Arc<Admission> {
        let shipped = Config::default().http;
        let config = Http { active_max: 2, queue_max: 0, waiting_max, waiting_per_caller_max, ..shipped };
        Arc::new(Admission::new(&config))
    }

    #[derive(Clone, Copy)]
    enum Kind {
        /// Says nothing, and never ends.
        Plain,
        /// Waits for a decision that never comes.
        Decision,
        /// Waits for a turn that never comes.
        Turn,
    }

    type Task = tokio::task::JoinHandle<Option<&'static str>>;

    /// A request that waits for ever. When this returns, it waits.
    async fn waits(admission: &Arc<Admission>, metrics: &Arc<Metrics>, caller: &'static str, kind: Kind) -> Task {
        let (admission, metrics) = (admission.clone(), metrics.clone());
        let task = tokio::spawn(async move {
            let admitted = admission.enter().await.expect("a place");
            let wait = WaitNotice::default();
            let handling = pin!(async {
                match kind {
                    Kind::Plain => std::future::pending().await,
                    Kind::Decision => wait.awaits_decision().cancelled().await,
                    Kind::Turn => {
                        wait.waits_in_own_queue();
                        std::future::pending().await
                    }
                }
                "what is known"
            });
            let node = (&admission.waiting, &*metrics);
            attended(node, &wait, || caller.to_owned(), handling, admitted, Duration::from_secs(60)).await
        });
        tokio::time::sleep(WORKS_AT_MOST + Duration::from_millis(1)).await;
        task
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_has_a_place_of_its_own_up_to_a_bound() {
        let (admission, metrics) = (admission(2, 8), Arc::new(Metrics::new()));
        for _ in 0..2 {
            waits(&admission, &metrics, "ada", Kind::Plain).await;
        }
        assert_eq!(metrics.http_parked.get(), 2);
        // These two stay on the places of those that work; whoever works needs them and gets them, the oldest first.
        let third = waits(&admission, &metrics, "ada", Kind::Decision).await;
        let fourth = waits(&admission, &metrics, "ada", Kind::Plain).await;
        assert_eq!((metrics.http_parked.get(), metrics.http_gave_way.get()), (2, 0));
        assert!(!third.is_finished() && !fourth.is_finished(), "nobody needs their places");
        let _one = admission.enter().await.expect("the third makes room");
        assert_eq!(third.await.expect("no panic"), Some("what is known"));
        let _two = admission.enter().await.expect("the fourth makes room");
        assert_eq!(fourth.await.expect("no panic"), None);
        assert_eq!(metrics.http_gave_way.get(), 2);
        let full = admission.enter().await.map(drop).map_err(|problem| problem.code());
        assert_eq!(full, Err(Code::Overloaded), "those that work are in nobody's way");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_a_bound_of_its_own_and_leaves_the_rest_to_others() {
        let (admission, metrics) = (admission(8, 1), Arc::new(Metrics::new()));
        waits(&admission, &metrics, "ada", Kind::Decision).await;
        let second = waits(&admission, &metrics, "ada", Kind::Decision).await;
        waits(&admission, &metrics, "eve", Kind::Decision).await;
        assert_eq!(metrics.http_parked.get(), 2, "one of each");
        let _places = (admission.enter().await.expect("free"), admission.enter().await.expect("made free"));
        assert_eq!(second.await.expect("no panic"), Some("what is known"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_came_free_is_taken_before_anybody_gives_way() {
        let (admission, metrics) = (admission(1, 1), Arc::new(Metrics::new()));
        let first = waits(&admission, &metrics, "ada", Kind::Plain).await;
        let second = waits(&admission, &metrics, "ada", Kind::Plain).await;
        first.abort();
        first.await.expect_err("its caller has gone");
        let _places = (admission.enter().await.expect("free"), admission.enter().await.expect("made free"));
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert_eq!((metrics.http_parked.get(), metrics.http_gave_way.get()), (1, 0));
        second.abort();
        second.await.expect_err("its caller has gone");
        assert_eq!(metrics.http_parked.get(), 0);
        assert!(admission.waiting.places.lock().by_caller.is_empty(), "nothing is kept of who has gone");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_attended_for_longer_than_may_be() {
        let (admission, metrics) = (admission(1, 1), Arc::new(Metrics::new()));
        let waiting = [
            waits(&admission, &metrics, "ada", Kind::Plain).await,
            waits(&admission, &metrics, "ada", Kind::Turn).await,
        ];
        for task in waiting {
            assert_eq!(task.await.expect("no panic"), None);
        }
        let (node, wait, began) = ((&admission.waiting, &*metrics), WaitNotice::default(), Instant::now());
        let handling = pin!(std::future::pending::<()>());
        let (caller, at_most) = (|| "eve".to_owned(), WORKS_AT_MOST / 2);
        assert_eq!(attended(node, &wait, caller, handling, (), at_most).await, None);
        assert_eq!(began.elapsed(), at_most, "also where that is less than it may work");
        assert_eq!(metrics.http_parked.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_a_queue_of_its_own_steps_aside_at_once() {
        let (admission, metrics) = (admission(0, 0), Arc::new(Metrics::new()));
        for _ in 0..10 {
            waits(&admission, &metrics, "ada", Kind::Turn).await;
        }
        assert_eq!((metrics.http_parked.get(), metrics.http_gave_way.get()), (10, 0));
        let _places = (admission.enter().await.expect("free"), admission.enter().await.expect("free"));
    }
}
