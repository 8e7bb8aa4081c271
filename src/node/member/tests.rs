//! Who may serve, in a store in memory and with a clock that is moved.

use super::*;
use crate::persistence::Membership;
use crate::persistence::decorator::Decorator;
use crate::persistence::faulty::{Call, Fault, Faulty};
use crate::persistence::memory::Memory;

async fn enter(store: impl Store) -> anyhow::Result<Member> {
    Member::enter(Arc::new(store), "node", "127.0.0.1:1").await
}

fn is_in_use(entered: anyhow::Result<Member>) {
    let why = entered.err().expect("somebody serves").to_string();
    assert!(why.contains("the store is in use by node node (node#"), "{why}");
}

fn slow(before_ms: u64, after_ms: u64) -> Fault {
    Fault::Slow { before_ms, after_ms }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stands_still_for_the_lease_is_gone_and_one_that_renews_is_not() {
    let store = Memory::new(4);
    let mut first = enter(store.clone()).await.expect("nobody is there");
    let before = Instant::now();
    let second = enter(store.clone()).await.expect("the first is gone");
    assert!(before.elapsed() >= LEASE && before.elapsed() < LEASE + RENEW_EVERY, "{:?}", before.elapsed());
    assert!(
        matches!(first.own_gate().await, Err(StoreError::Fatal(why)) if why.contains("another node has taken over"))
    );
    let mut living = second;
    tokio::select! {
        entered = enter(store.clone()) => is_in_use(entered),
        why = living.stay(|| true) => panic!("{why}"),
    }
    // Who has left is not waited for.
    living.leave().await;
    let before = Instant::now();
    first = enter(store).await.expect("nobody is there");
    assert_eq!(before.elapsed(), Duration::ZERO);
    drop(first);
}

/// A reading that was long on its way tells what was, and not since when.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_does_not_take_a_living_node_for_a_dead_one() {
    let store = Memory::new(4);
    let first = enter(store.clone()).await.expect("nobody is there");
    let reading = Faulty::new(store.clone());
    // Heads, and then nodes: the first list is of 3.5 s, the second of 5.1 s, the next ones of 6.1 s and so on.
    reading.fail_at(Call::Read, 2, slow(3_500, 0));
    reading.fail_at(Call::Read, 4, slow(600, 0));
    let watching = tokio::spawn(enter(reading));
    // It, too, finds the store slow.
    let mut row = first.row.clone();
    for pause_ms in [3_400, 2_000, 2_000] {
        sleep(Duration::from_millis(pause_ms)).await;
        row.lease = store.renew(&row).await.expect("renewed").expect("renewed");
    }
    is_in_use(watching.await.expect("a task"));
}

/// The store could not be asked for a while, by nobody: whoever it was, he could not renew.
#[tokio::test(start_paused = true)]
async fn who_could_not_renew_because_the_store_stalled_is_not_gone() {
    let store = Memory::new(4);
    let mut first = enter(store.clone()).await.expect("nobody is there");
    let reading = Faulty::new(store.clone());
    reading.fail_at(Call::Read, 3, slow(10_000, 0));
    let watching = tokio::spawn(enter(reading));
    tokio::time::sleep(Duration::from_millis(11_500)).await;
    let why = tokio::time::timeout(Duration::from_secs(10), first.stay(|| true)).await;
    assert!(why.is_err(), "it goes on: {why:?}");
    is_in_use(watching.await.expect("a task"));
}

#[tokio::test(start_paused = true)]
async fn of_several_one_takes_the_gate() {
    let store = Memory::new(4);
    let entering =
        [0, 0, 300, 300, 900, 1_900, 4_000].map(|join_ms| tokio::spawn(serve_for_a_while(store.clone(), join_ms)));
    let mut serving = 0;
    for entered in entering {
        match entered.await.expect("a task") {
            Ok(()) => serving += 1,
            Err(why) => is_in_use(Err(why)),
        }
    }
    assert_eq!(serving, 1);
}

async fn serve_for_a_while(store: Memory, join_ms: u64) -> anyhow::Result<()> {
    let slow_join = Faulty::new(store);
    slow_join.fail_at(Call::Member, 1, slow(join_ms, 0));
    let mut member = enter(slow_join).await?;
    let ended = tokio::time::timeout(Duration::from_secs(20), member.stay(|| true)).await;
    assert!(ended.is_err(), "nobody takes over: {ended:?}");
    Ok(())
}

/// It has watched for the whole lease, and is about to claim; and then the one who was away is back.
#[tokio::test(start_paused = true)]
async fn who_comes_back_in_time_stays_and_who_was_about_to_take_over_does_not() {
    let store = Memory::new(4);
    let mut first = enter(store.clone()).await.expect("nobody is there");
    first.lease = Arc::new(Renewed::lapsed());
    let slow_join = Faulty::new(store.clone());
    slow_join.fail_at(Call::Member, 1, slow(3_000, 0));
    let taking_over = tokio::spawn(enter(slow_join));
    tokio::time::sleep(LEASE + Duration::from_secs(2)).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), first.stay(|| true)).await;
    assert!(ended.is_err(), "it goes on: {ended:?}");
    assert!(first.lease.is_valid());
    is_in_use(taking_over.await.expect("a task"));
}

/// Starting takes long where the store is slow, and a node that starts is alive.
#[tokio::test(start_paused = true)]
async fn a_node_that_starts_slowly_is_alive() {
    let store = Memory::new(4);
    let mut first = enter(store.clone()).await.expect("nobody is there");
    let starting = async {
        sleep(Duration::from_secs(30)).await;
        Ok::<(), StoreError>(())
    };
    tokio::select! {
        entered = enter(store) => is_in_use(entered),
        started = first.meanwhile(starting) => panic!("the other one waits for it: {started:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_waited_for_and_not_for_ever() {
    let store = Faulty::new(Memory::new(4));
    for call in 1..=20 {
        store.fail_at(Call::Read, call, Fault::FailBefore);
    }
    store.fail_at(Call::Member, 1, Fault::FailAfter);
    store.fail_at(Call::Claim, 1, Fault::FailAfter);
    enter(store).await.expect("it answers in time");
    let store = Faulty::new(Memory::new(4));
    for call in 1..=1_000 {
        store.fail_at(Call::Read, call, Fault::FailBefore);
    }
    let before = Instant::now();
    let why = format!("{:#}", enter(store).await.err().expect("it never answers"));
    assert!(before.elapsed() >= PATIENCE && why.contains("the store cannot be entered: store unavailable"), "{why}");
}

/// A standby answers, and takes nothing.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_writes_is_given_up_at_last() {
    let store = Faulty::new(Memory::new(4));
    for call in 1..=1_000 {
        store.fail_at(Call::Claim, call, Fault::FailBefore);
    }
    let before = Instant::now();
    let why = format!("{:#}", enter(store).await.err().expect("it takes nothing"));
    assert!(why.contains("the store cannot be entered: store unavailable"), "{why}");
    assert!((PATIENCE..PATIENCE + LEASE).contains(&before.elapsed()), "{:?}", before.elapsed());
}

/// The list may be repaired while the node runs: then it goes on.
#[tokio::test(start_paused = true)]
async fn a_node_list_that_is_damaged_for_a_while_ends_no_node() {
    let store = Arc::new(Faulty::new(Memory::new(4)));
    let mut member = enter(store.clone()).await.expect("nobody is there");
    for _ in 0..3 {
        store.fail_next(Call::Member, Fault::Damaged);
        let ended = tokio::time::timeout(RENEW_EVERY / 2, member.stay(|| true)).await;
        assert!(ended.is_err(), "{ended:?}");
    }
    let before = member.row.lease;
    let ended = tokio::time::timeout(RENEW_EVERY / 2, member.stay(|| true)).await;
    assert!(ended.is_err() && member.row.lease > before, "{ended:?}");
}

/// The store takes its renewals, and not its records: it keeps its slots from nobody, and goes on when they settle.
#[tokio::test(start_paused = true)]
async fn a_node_whose_records_do_not_settle_does_not_renew() {
    let store = Memory::new(4);
    let mut member = enter(store.clone()).await.expect("nobody is there");
    let before = store.nodes().await.expect("the list");
    let ended = tokio::time::timeout(LEASE, member.stay(|| false)).await;
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(store.nodes().await.expect("the list"), before);
    let ended = tokio::time::timeout(RENEW_EVERY, member.stay(|| true)).await;
    assert!(ended.is_err() && store.nodes().await.expect("the list") != before, "{ended:?}");
}

/// Its clock stood still with its virtual machine: it has missed nothing, and another one serves.
#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_seems_valid_hears_that_another_has_taken_over() {
    let store = Memory::new(4);
    let mut first = enter(store.clone()).await.expect("nobody is there");
    let second = enter(store.clone()).await.expect("the first stands still");
    assert!(first.lease.is_valid(), "by the clock that it asks");
    let why = timeout(RENEW_EVERY, first.stay(|| true)).await.expect("it hears at once");
    assert!(matches!(&why, StoreError::Fatal(why) if why.contains("another node has taken over")), "{why}");
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_hangs_is_followed_by_others_within_the_lease() {
    let store = Arc::new(Faulty::new(Memory::new(4)));
    let mut member = enter(store.clone()).await.expect("nobody is there");
    for (call, fault) in
        [(Call::Member, slow(60_000, 0)), (Call::Member, slow(0, 60_000)), (Call::Read, slow(60_000, 0))]
    {
        let before = Membership::nodes(&*store).await.expect("the list")[0].lease;
        store.fail_next(call, fault);
        let ended = timeout(LEASE - RENEW_EVERY, member.stay(|| true)).await;
        assert!(ended.is_err(), "{ended:?}");
        let after = Membership::nodes(&*store).await.expect("the list")[0].lease;
        assert!(after >= before + 2, "{fault:?}: from {before} to {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_watched_all_the_same_and_one_that_is_too_slow_not_for_ever() {
    for (read_ms, is_watched) in [(900, true), (1_500, false)] {
        let store = Memory::new(4);
        let _gone = enter(store.clone()).await.expect("nobody is there");
        let reading = Faulty::new(store);
        (1..=1_000).for_each(|call| reading.fail_at(Call::Read, call, slow(read_ms, 0)));
        let entered = timeout(2 * WATCH_MAX, enter(reading)).await.expect("it ends");
        match entered {
            Ok(_) => assert!(is_watched, "{read_ms}"),
            Err(why) => assert!(!is_watched && why.to_string().contains("answers too slowly"), "{read_ms}: {why}"),
        }
    }
}

/// A store that panics when it is to renew.
struct Panics(Memory);

impl Decorator for Panics {
    type Inner = Memory;
    fn inner(&self) -> &Memory {
        &self.0
    }
    async fn renew(&self, _: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        panic!("a fault of the store's client")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_it_renews_ends_the_node_and_not_only_its_lease() {
    let mut member = enter(Panics(Memory::new(4))).await.expect("nobody is there");
    let why = member.stay(|| true).await;
    assert!(matches!(&why, StoreError::Fatal(why) if why.contains("panicked")), "{why}");
}
