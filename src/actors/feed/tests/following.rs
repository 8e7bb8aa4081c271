//! Every record once at least, in order, without a gap, whatever fails.

use super::*;
use crate::actors::feed::State;
use crate::actors::feed::pages::PAGE_RECORDS;

fn counter() -> Arc<Counter> {
    Arc::new(Counter::named("counter"))
}

#[tokio::test]
async fn records_come_in_order_and_without_a_gap_through_failures_panics_and_restarts() {
    let writer = Writer::claim(memory()).await;
    let (kept, rebuilds): (Arc<Mutex<Kept>>, watch::Sender<usize>) = Default::default();
    let mut again = 0;
    for life in 0..6 {
        let counter = Arc::new(Counter { kept: kept.clone(), rebuilds: rebuilds.clone(), ..Counter::named("counter") });
        let feed = started(writer.journal.clone(), &counter).await;
        for round in 0..30 {
            match round {
                5 => counter.panics_before.store(1 + life % 2, Ordering::SeqCst),
                15 => counter.panics_after.store(1, Ordering::SeqCst),
                20 => counter.failures.store(1, Ordering::SeqCst),
                // Durable, and nobody is told: their commit had an unknown outcome.
                25 => drop(writer.append(&[(1, 9), (2, 8), (1, 9)]).await),
                _ => writer.write(&feed, &[(0, 9), (1, 8), (1, 9), (3, 9), (0, 8)]).await,
            }
            if round % 5 == 0 {
                feed.consumer("counter").expect("it is there").caught_up(Duration::from_millis(20)).await;
            }
        }
        if life % 3 < 2 {
            again += counter.check(&feed).await;
        }
        feed.stop();
    }
    let counter = Arc::new(Counter { kept: kept.clone(), rebuilds: rebuilds.clone(), ..Counter::named("counter") });
    let feed = started(writer.journal.clone(), &counter).await;
    again += counter.check(&feed).await;
    assert_eq!(again, 0, "what is kept with its position is not taken again");
    assert_eq!(*rebuilds.borrow(), 1);
}

#[tokio::test]
async fn a_consumer_that_is_killed_between_applying_and_keeping_takes_the_records_again() {
    let writer = Writer::claim(memory()).await;
    let counter = counter();
    let feed = started(writer.journal.clone(), &counter).await;
    counter.check(&feed).await;
    counter.panics_before.store(2, Ordering::SeqCst);
    writer.write_all(&feed, 3).await;
    assert_eq!(counter.check(&feed).await, 0);
    counter.panics_after.store(2, Ordering::SeqCst);
    writer.write_all(&feed, 3).await;
    counter.check(&feed).await;
    assert_eq!(counter.panics_before.load(Ordering::SeqCst), 0, "it was killed");
    assert!(feed.statuses()[0].last_error.as_ref().is_some_and(|error| error.contains("injected")));
    assert_eq!(counter.rebuilds(), 1);
}

#[tokio::test]
async fn a_consumer_far_behind_reads_the_journal_and_slows_nobody() {
    let journal = Arc::new(Gated::new());
    let writer = Writer::claim(journal.clone()).await;
    let fast = Arc::new(Counter::named("fast"));
    let slow = Arc::new(Counter { gate: Some(Semaphore::new(0)), ..Counter::named("slow") });
    let tail_bytes_max = 100_000;
    let consumers: Vec<Arc<dyn Consumer>> = vec![fast.clone(), slow.clone()];
    let metrics = Arc::new(Metrics::new());
    let feed = Feed::with_tail(journal.clone(), metrics.clone(), consumers, tail_bytes_max);
    feed.start().await.expect("it starts");
    // More than two pages of each slot, and far more than the tail keeps.
    for _ in 0..30 {
        writer.write_all(&feed, 50).await;
        fast.check(&feed).await;
        let (records, bytes) = feed.reader.tail.size();
        assert!(records < 500 && bytes <= tail_bytes_max, "{records} records of {bytes} bytes");
    }
    assert!(slow.kept.lock().taken.iter().all(BTreeMap::is_empty));
    let status = feed.consumer("slow").expect("it is there").status(&feed.reader.tail);
    assert_eq!((status.lag_records, status.position), (1_500 * u64::from(SLOTS), 0));
    assert!(status.lag_ms > 0);
    let misses = metrics.feed_tail_misses.get();
    slow.gate.as_ref().expect("a gate").add_permits(1_000);
    slow.check(&feed).await;
    assert!(metrics.feed_tail_misses.get() > misses && journal.pages() > 0);
    let status = feed.consumer("slow").expect("it is there").status(&feed.reader.tail);
    assert_eq!((status.lag_records, status.position, status.state), (0, 1_500 * u64::from(SLOTS), State::Running));
}

#[tokio::test]
async fn a_page_that_two_consumers_want_is_read_once() {
    let journal = Arc::new(Gated::new());
    let writer = Writer::claim(journal.clone()).await;
    let pages_of_a_slot = 3;
    for _ in 0..pages_of_a_slot * PAGE_RECORDS {
        writer.append(&[(0, 9), (1, 9), (2, 8), (3, 9)]).await;
    }
    let (one, two) = (Arc::new(Counter::named("one")), Arc::new(Counter::named("two")));
    let feed = feed_of(journal.clone(), &[&one, &two]);
    journal.hold_up();
    feed.start().await.expect("it starts");
    tokio::task::yield_now().await;
    journal.let_go();
    one.check(&feed).await;
    two.check(&feed).await;
    let (read, wanted) = (journal.pages() as u64 - 2 * u64::from(SLOTS), pages_of_a_slot * u64::from(SLOTS));
    assert_eq!(read, wanted, "beside the two checks");
}

#[tokio::test]
async fn a_slot_that_cannot_be_read_holds_up_no_other_and_comes_back() {
    let journal = Arc::new(Gated::new());
    let writer = Writer::claim(journal.clone()).await;
    let counter = counter();
    let slots: Vec<_> = (0..SLOTS).map(|slot| (slot, 9)).collect();
    writer.append(&slots).await;
    journal.damage(1);
    let feed = started(journal.clone(), &counter).await;
    feed.look().await.expect("the heads");
    let progress = feed.consumer("counter").expect("it is there");
    for slot in [0, 2, 3] {
        reached(progress, slot, 1).await;
    }
    assert!(!progress.reached(1, 1, Duration::from_millis(50)).await);
    let status = progress.status(&feed.reader.tail);
    assert_eq!((status.state, status.slots_failing, status.lag_records), (State::Failing, 1, 1));
    assert!(status.last_error.is_some_and(|error| error.contains("slot 1")));
    journal.repair();
    counter.check(&feed).await;
    let status = progress.status(&feed.reader.tail);
    assert_eq!((status.state, status.slots_failing, status.lag_records), (State::Running, 0, 0));
}

/// Whoever keeps up with the tail does not notice.
#[tokio::test]
async fn a_journal_that_stalls_holds_up_only_who_reads_it() {
    let journal = Arc::new(Gated::new());
    let writer = Writer::claim(journal.clone()).await;
    let counter = counter();
    let feed = started(journal.clone(), &counter).await;
    writer.write_all(&feed, 3).await;
    counter.check(&feed).await;
    journal.hold_up();
    let progress = feed.consumer("counter").expect("it is there");
    writer.write_all(&feed, 3).await;
    assert!(progress.caught_up(LONG).await);
    // A gap in the tail: the record before was durable, and nobody was told.
    writer.append(&[(2, 9)]).await;
    writer.write_all(&feed, 1).await;
    for slot in [0, 1, 3] {
        assert!(progress.reached(slot, 7, LONG).await, "slot {slot}");
    }
    assert!(!progress.reached(2, 8, Duration::from_millis(50)).await);
    journal.let_go();
    counter.check(&feed).await;
}

#[tokio::test]
async fn a_position_that_the_journal_does_not_have_means_a_rebuild() {
    let writer = Writer::claim(memory()).await;
    let counter = counter();
    let feed = started(writer.journal.clone(), &counter).await;
    writer.write_all(&feed, 5).await;
    counter.check(&feed).await;
    feed.stop();
    let spoil = |spoil: fn(&mut Position)| {
        let mut kept = counter.kept.lock();
        spoil(&mut kept.positions.as_mut().expect("positions")[2]);
    };
    let spoilt: [fn(&mut Position); 3] =
        [|position| position.epoch += 1, |position| position.checksum ^= 1, |position| position.seq = 6];
    for (n, how) in (2..).zip(spoilt) {
        spoil(how);
        let feed = started(writer.journal.clone(), &counter).await;
        // The positions that it has kept say nothing until it has been built.
        counter.rebuilt(n).await;
        counter.check(&feed).await;
        assert_eq!(counter.rebuilds(), n);
        feed.stop();
    }
    // And one that fits means none.
    let feed = started(writer.journal.clone(), &counter).await;
    writer.write_all(&feed, 1).await;
    counter.check(&feed).await;
    assert_eq!(counter.rebuilds(), 4);
}

/// The store went back to an old copy, and other records were written since. Nothing of the history that was lost is
/// taken again, though tail and pages still had it.
#[tokio::test]
async fn a_journal_that_has_lost_records_under_a_running_consumer_means_a_rebuild() {
    let page = PAGE_RECORDS as usize;
    for (before, after, is_told) in [
        (5, 3, false),
        (5, 3, true),
        (5, 9, false),
        (5, 9, true),
        (page + 9, page + 5, false),
        (page + 9, page + 20, true),
    ] {
        let journal = Arc::new(Gated::new());
        let writer = Writer::claim(journal.clone()).await;
        let slots: Vec<_> = (0..SLOTS).map(|slot| (slot, 9)).collect();
        for _ in 0..before - 1 {
            writer.append(&slots).await; // found in the journal
        }
        let counter = counter();
        let feed = started(journal.clone(), &counter).await;
        counter.check(&feed).await;
        writer.write(&feed, &slots).await; // found in the tail
        counter.check(&feed).await;
        let other = Memory::new(SLOTS);
        let writer = Writer::claim(Arc::new(other.clone())).await;
        let writer = Writer::claim(writer.journal).await;
        for _ in 0..after - 1 {
            writer.append(&slots).await;
        }
        journal.become_other(other);
        let last = writer.append(&slots).await;
        if is_told {
            feed.committed(&last)
        } else {
            feed.look().await.expect("the heads")
        }
        counter.rebuilt(2).await;
        counter.check(&feed).await;
        assert_eq!(counter.rebuilds(), 2, "{before} {after} {is_told}");
        feed.stop();
    }
}

/// What has been read of one slot's part of the store is still at hand for the others, and no slot waits for the whole of
/// another.
#[tokio::test]
async fn slots_far_behind_are_read_in_turn() {
    const MANY: Slot = 64;
    const PAGES: u64 = 5;
    let journal = Arc::new(Gated::of(MANY));
    let writer = Writer::claim(journal.clone()).await;
    let slots: Vec<_> = (0..MANY).map(|slot| (slot, 9)).collect();
    for _ in 0..PAGES * PAGE_RECORDS {
        writer.append(&slots).await;
    }
    let counter = counter();
    let feed = started(journal.clone(), &counter).await;
    let progress = feed.consumer("counter").expect("it is there");
    for slot in 0..MANY {
        reached(progress, slot, PAGES * PAGE_RECORDS).await;
    }
    let mut pages = vec![0; usize::from(MANY)];
    for slot in journal.slots_of_pages() {
        pages[usize::from(slot)] += 1;
        let (least, most) = (pages.iter().min().expect("slots"), pages.iter().max().expect("slots"));
        assert!(most - least <= 2, "slot {slot} came before others: {pages:?}");
    }
    assert!(pages.iter().all(|pages| *pages >= PAGES));
    counter.check(&feed).await;
}

#[tokio::test]
async fn a_slot_that_is_tried_again_and_does_not_answer_keeps_nobody_busy() {
    let journal = Arc::new(Gated::new());
    let writer = Writer::claim(journal.clone()).await;
    let counter = counter();
    writer.append(&[(1, 9)]).await;
    journal.damage(1);
    let feed = started(journal.clone(), &counter).await;
    journal.asked_for_more_than(0).await;
    journal.hold_up();
    let pages = journal.pages();
    journal.asked_for_more_than(pages).await;
    let turns = counter.turns.load(Ordering::SeqCst);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(counter.turns.load(Ordering::SeqCst) - turns < 10);
    journal.repair();
    journal.let_go();
    counter.check(&feed).await;
}
