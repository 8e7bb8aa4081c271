//! Waiting for a consumer, and telling it what to do.

use std::sync::{OnceLock, Weak};

use super::*;
use crate::actors::feed::{ReplayError, State};
use crate::actors::values::JournalPosition;

async fn running() -> (Writer<Memory>, Arc<Counter>, Arc<Feed>) {
    let writer = Writer::claim(memory()).await;
    let counter = Arc::new(Counter::named("counter"));
    let feed = started(writer.journal.clone(), &counter).await;
    let progress = feed.consumer("counter").expect("it is there");
    progress.running().await;
    assert!(progress.caught_up(LONG).await);
    (writer, counter, feed)
}

/// A thousand writes, each waited for. A wake-up that got lost would take the whole bound, and fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_waits_is_forgotten() {
    let (writer, _, feed) = running().await;
    let progress = feed.consumer("counter").expect("it is there");
    for seq in 1..=1_000 {
        writer.write_all(&feed, 1).await;
        let waits = (0..SLOTS).map(|slot| progress.reached(slot, seq, LONG));
        let (all, caught_up) = tokio::join!(futures::future::join_all(waits), progress.caught_up(LONG));
        assert!(all.into_iter().all(|reached| reached) && caught_up, "{seq}");
    }
}

/// Nobody tells this feed of what another node writes, and who waits does so for a second.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_record_of_another_node_has_the_journal_asked_at_once() {
    let (writer, _, feed) = running().await;
    let (progress, within) = (feed.consumer("counter").expect("it is there"), Duration::from_secs(1));
    for seq in 1..=5 {
        writer.append(&[(1, 9)]).await;
        assert!(feed.reached(progress, 1, seq, within).await, "{seq}");
    }
    assert!(!feed.reached(progress, 1, 6, within).await, "there is none");
}

#[tokio::test]
async fn who_waits_for_a_consumer_that_is_paused_is_told_so_at_once() {
    let (writer, counter, feed) = running().await;
    let progress = feed.consumer("counter").expect("it is there");
    let seen = |state| progress.status(&feed.reader.tail).state == state;
    assert!(seen(State::Running));
    // Somebody waits already when it is paused. Nothing is written, so only the pause can end his waiting.
    let (waited, ()) = tokio::join!(progress.reached(0, 1, LONG), async {
        tokio::task::yield_now().await;
        progress.pause();
        progress.pause();
    });
    assert!(!waited && seen(State::Paused));
    writer.write_all(&feed, 3).await;
    assert!(!progress.caught_up(LONG).await && !progress.reached(0, 1, LONG).await);
    let status = progress.status(&feed.reader.tail);
    assert_eq!((status.lag_records, status.position), (3 * u64::from(SLOTS), 0));
    progress.rebuild();
    assert!(seen(State::Paused));
    progress.resume();
    progress.resume();
    counter.check(&feed).await;
    assert!(seen(State::Running));
    assert_eq!(counter.rebuilds(), 2);
}

#[tokio::test]
async fn a_consumer_that_is_paused_costs_no_memory() {
    let writer = Writer::claim(memory()).await;
    let counter = Arc::new(Counter::named("counter"));
    let consumers: Vec<Arc<dyn Consumer>> = vec![counter.clone()];
    let feed = Feed::with_tail(writer.journal.clone(), Arc::new(Metrics::new()), consumers, 50_000);
    feed.start().await.expect("it starts");
    counter.check(&feed).await;
    feed.consumer("counter").expect("it is there").pause();
    for _ in 0..100 {
        writer.write_all(&feed, 10).await;
        assert!(feed.reader.tail.size().1 <= 50_000);
    }
    feed.consumer("counter").expect("it is there").resume();
    counter.check(&feed).await;
}

#[tokio::test]
async fn what_is_asked_for_a_rebuild_is_built_anew_and_nothing_is_missed() {
    let (writer, counter, feed) = running().await;
    let progress = feed.consumer("counter").expect("it is there");
    for n in 2..6 {
        writer.write_all(&feed, 5).await;
        progress.rebuild();
        writer.write_all(&feed, 5).await;
        counter.rebuilt(n).await;
        counter.check(&feed).await;
    }
}

#[tokio::test]
async fn what_follows_a_position_is_taken_again_and_nothing_else() {
    let (writer, counter, feed) = running().await;
    let progress = feed.consumer("counter").expect("it is there");
    writer.write_all(&feed, 10).await;
    assert_eq!(counter.check(&feed).await, 0);
    let at = |slot, seq| JournalPosition { slot, seq, epoch: 1 };
    feed.replay(progress, &[at(1, 6), at(1, 4), at(2, 10)]).await.expect("the records are there");
    assert!(progress.caught_up(LONG).await);
    let taken_again = 6;
    assert_eq!(counter.check(&feed).await, taken_again, "the earliest position of a slot counts");
    // While records come, and it crashes between going back and going on.
    writer.append(&[(3, 9)]).await;
    counter.panics_after.store(1, Ordering::SeqCst);
    feed.replay(progress, &[at(3, 1)]).await.expect("the record is there");
    writer.write_all(&feed, 1).await;
    assert_eq!(counter.check(&feed).await, taken_again + 9);
    assert_eq!(counter.panics_after.load(Ordering::SeqCst), 0, "it crashed");
    assert!(progress.caught_up(LONG).await);
    // One that is paused goes back when it is resumed.
    progress.pause();
    feed.replay(progress, &[at(0, 10)]).await.expect("the record is there");
    assert_eq!(counter.check_taken(&feed).await, taken_again + 9);
    progress.resume();
    assert!(progress.caught_up(LONG).await);
    assert_eq!((counter.check(&feed).await, counter.rebuilds()), (taken_again + 9 + 1, 1));
}

#[tokio::test]
async fn a_position_that_the_journal_does_not_have_is_refused_and_nothing_is_taken_again() {
    let (writer, counter, feed) = running().await;
    let progress = feed.consumer("counter").expect("it is there");
    writer.write_all(&feed, 3).await;
    let at = |seq, epoch| JournalPosition { slot: 1, seq, epoch };
    for position in [at(4, 1), at(u64::MAX, 1), at(2, 0)] {
        let refused = feed.replay(progress, &[at(1, 1), position]).await;
        assert!(matches!(refused, Err(ReplayError::Unknown(unknown)) if unknown == position));
    }
    assert_eq!(counter.check(&feed).await, 0);
}

/// Takes records like another one, and has a new one written whenever it has taken some.
struct Endless {
    counter: Arc<Counter>,
    writer: Writer<Memory>,
    feed: OnceLock<Weak<Feed>>,
}

#[async_trait]
impl Consumer for Endless {
    fn name(&self) -> &'static str {
        self.counter.name()
    }
    fn follows(&self, kind: u8) -> bool {
        self.counter.follows(kind)
    }
    async fn load(&self) -> Result<Option<Vec<Position>>, ConsumerError> {
        self.counter.load().await
    }
    async fn apply(&self, batch: &Batch) -> Result<(), ConsumerError> {
        if let Some(feed) = self.feed.get().and_then(Weak::upgrade) {
            self.writer.write(&feed, &[(0, 9)]).await;
        }
        self.counter.apply(batch).await
    }
    async fn rebuild(&self, heads: Vec<Position>) -> Result<Vec<Position>, ConsumerError> {
        self.counter.rebuild(heads).await
    }
}

/// Somebody who has written and lists must find it, however much is written meanwhile.
#[tokio::test]
async fn who_waits_is_served_though_records_never_cease() {
    let writer = Writer::claim(memory()).await;
    let (journal, counter) = (writer.journal.clone(), Arc::new(Counter::named("counter")));
    let endless = Arc::new(Endless { counter, writer, feed: OnceLock::new() });
    let feed = Feed::new(journal, Arc::new(Metrics::new()), vec![endless.clone()]);
    endless.feed.set(Arc::downgrade(&feed)).expect("once");
    feed.start().await.expect("it starts");
    let progress = feed.consumer("counter").expect("it is there");
    progress.running().await;
    for _ in 0..20 {
        endless.writer.write(&feed, &[(1, 9)]).await;
        assert!(progress.caught_up(LONG).await);
    }
    feed.stop();
}
