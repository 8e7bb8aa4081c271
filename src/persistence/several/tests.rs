//! Parts in memory: the conformance suite, and what one part's trouble is for the others. (On real servers:
//! `tests/postgres/several.rs`.)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::super::conformance::{Rig, SCRIBE, SLOTS, Scribe, node};
use super::super::decorator::Handed;
use super::super::faulty::{Call, Fault, Faulty};
use super::super::memory::Memory;
use super::super::postgres::PlaceMap;
use super::super::{Batch, Epoch, Journal, Membership, Refusal, Slot, Store, StoreError};
use super::{Part, SeveralStore};

/// In memory a part cannot be told that the node is known: it has a list of its own, which everybody is in.
#[async_trait]
impl Part for Faulty<Memory> {
    async fn hand(&self, from: Option<&str>, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        let Some(from) = from else { return self.claim(to, slots).await };
        let heads = self.inner().heads().await?;
        let mut handed = Vec::with_capacity(slots.len());
        for (slot, epoch) in slots {
            let head = &heads[usize::from(*slot)];
            if head.owner.as_deref() == Some(from) {
                handed.extend(self.claim(to, &[(*slot, *epoch)]).await?);
            } else {
                handed.push(Err(Refusal::Fenced { current: head.epoch }));
            }
        }
        Ok(handed)
    }
}

/// Three parts: slots 0 and 3 on the first, one on each of the others.
struct MemoryRig([Memory; 3]);

const PLACES: [usize; SLOTS as usize] = [0, 1, 2, 0];
const NUMBERS: [i32; 3] = [0, 4, 7];

fn map(version: u64, places: [usize; SLOTS as usize]) -> PlaceMap {
    PlaceMap { version, servers: places.iter().map(|place| NUMBERS[*place]).collect() }
}

impl MemoryRig {
    fn new() -> MemoryRig {
        MemoryRig([Memory::new(SLOTS), Memory::new(SLOTS), Memory::new(SLOTS)])
    }
    fn parts(&self) -> [Arc<Faulty<Memory>>; 3] {
        self.0.each_ref().map(|memory| Arc::new(Faulty::new(memory.clone())))
    }
}

fn store(parts: &[Arc<Faulty<Memory>>; 3]) -> Arc<SeveralStore> {
    let parts = parts.iter().map(|part| part.clone() as Arc<dyn Part>).collect();
    Arc::new(SeveralStore::new(parts, NUMBERS.to_vec(), &map(0, PLACES)).expect("a map of these"))
}

#[async_trait]
impl Rig for MemoryRig {
    async fn open(&self) -> Arc<dyn Store> {
        store(&self.parts())
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        Some(self.open().await)
    }
}

crate::journal_conformance!(suite, MemoryRig::new);

async fn opened() -> ([Arc<Faulty<Memory>>; 3], Arc<SeveralStore>, Scribe) {
    let parts = MemoryRig::new().parts();
    let store = store(&parts);
    let scribe = Scribe::claim(store.clone()).await;
    (parts, store, scribe)
}

/// A record for each slot.
fn batch(scribe: &mut Scribe) -> Batch {
    Batch::of(SCRIBE, (0..SLOTS).map(|slot| scribe.record(slot, &format!("e{slot}"))))
}

#[tokio::test(start_paused = true)]
async fn each_slot_lies_on_its_server_alone() {
    let (parts, store, mut scribe) = opened().await;
    assert_eq!(store.append(batch(&mut scribe)).await.expect("appended"), vec![]);
    for (at, part) in parts.iter().enumerate() {
        for (slot, place) in (0..).zip(PLACES) {
            let found = part.feed(slot, 0, 9).await.expect("a feed").len();
            assert_eq!(found, usize::from(place == at), "slot {slot} on part {at}");
        }
    }
    let ids = store.entities(10, None, 9).await.expect("entities");
    assert_eq!(ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["e0", "e1", "e2", "e3"]);
    let page = store.entities(10, Some("e0"), 2).await.expect("entities");
    assert_eq!(page.iter().map(|id| &**id).collect::<Vec<_>>(), ["e1", "e2"]);
}

#[tokio::test(start_paused = true)]
async fn one_servers_trouble_is_its_own_slots() {
    for (fault, is_written) in [(Fault::FailBefore, false), (Fault::Lost, false), (Fault::FailAfter, true)] {
        let (parts, store, mut scribe) = opened().await;
        parts[1].fail_next(Call::Append, fault);
        let refused = store.append(batch(&mut scribe)).await.expect("of the others");
        match (fault, &refused[..]) {
            (Fault::FailBefore, [(1, Refusal::Unavailable(_))]) | (_, [(1, Refusal::Unknown(_))]) => {}
            other => panic!("{other:?}"),
        }
        for slot in [0, 1, 2, 3] {
            let found = parts[PLACES[usize::from(slot)]].feed(slot, 0, 9).await.expect("a feed").len();
            assert_eq!(found, usize::from(slot != 1 || is_written), "slot {slot}: {fault:?}");
        }
        // A claim settles it, as ever.
        tokio::time::advance(Duration::from_secs(1)).await;
        let head = store.claim(SCRIBE, &[(1, 1)]).await.expect("claimed").remove(0).expect("its own");
        assert_eq!((head.epoch, head.seq), (2, u64::from(is_written)));
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_servers_are_away_the_store_is() {
    let (parts, store, mut scribe) = opened().await;
    let sent = batch(&mut scribe);
    for part in &parts {
        part.fail_next(Call::Append, Fault::FailBefore);
    }
    assert!(matches!(store.append(sent.clone()).await, Err(StoreError::Unavailable(_))));
    tokio::time::advance(Duration::from_secs(1)).await;
    parts[0].fail_next(Call::Append, Fault::FailBefore);
    parts[1].fail_next(Call::Append, Fault::Lost);
    parts[2].fail_next(Call::Append, Fault::FailBefore);
    assert!(matches!(store.append(sent.clone()).await, Err(StoreError::Unknown(_))));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(store.append(sent.clone()).await.expect("appended"), vec![]);
    parts[2].fail_next(Call::Append, Fault::Damaged);
    assert!(
        matches!(store.append(batch(&mut scribe)).await, Err(StoreError::Damaged(_))),
        "the writer finds out whose"
    );
}

/// One that hangs holds the others up once, and then nobody.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_not_waited_for_again() {
    let (parts, store, mut scribe) = opened().await;
    parts[2].fail_next(Call::Append, Fault::Slow { before_ms: 60_000, after_ms: 0 });
    let began = tokio::time::Instant::now();
    let refused = store.append(batch(&mut scribe)).await.expect("of the others");
    assert!(matches!(refused[..], [(2, Refusal::Unknown(_))]), "{refused:?}");
    let waited = began.elapsed();
    assert_eq!(waited, super::PATIENCE);
    let calls = parts[2].calls(Call::Append);
    let (own, other) = (scribe.record(2, "e2"), scribe.record(0, "e0"));
    let refused = store.append(Batch::of(SCRIBE, [own, other])).await.expect("of the others");
    assert!(matches!(refused[..], [(2, Refusal::Unavailable(_))]), "{refused:?}");
    assert!(matches!(store.feed(2, 0, 9).await, Err(StoreError::Unavailable(_))), "nor is it read");
    assert_eq!((began.elapsed(), parts[2].calls(Call::Append)), (waited, calls), "it was not asked");
    let claimed = store.claim(SCRIBE, &[(1, 1), (2, 1)]).await.expect("of the others");
    assert!(claimed[0].is_ok() && matches!(claimed[1], Err(Refusal::Unavailable(_))), "{claimed:?}");
    // After a while somebody may try, and it answers.
    tokio::time::advance(Duration::from_secs(1)).await;
    let head = store.claim(SCRIBE, &[(2, 1)]).await.expect("claimed").remove(0).expect("its own");
    assert_eq!((head.epoch, head.seq), (2, 0));
    assert_eq!(store.feed(2, 0, 9).await.expect("it is read again"), vec![]);
}

#[tokio::test(start_paused = true)]
async fn the_tables_show_what_was_known_of_a_server_that_does_not_answer() {
    let (parts, store, _) = opened().await;
    store.join(&node("b")).await.expect("join").expect("joins");
    let fail = |at: usize| parts[at].fail_next(Call::Read, Fault::FailBefore);
    fail(1);
    assert!(store.tables().await.is_err(), "nothing is known yet");
    tokio::time::advance(Duration::from_secs(1)).await;
    let before = store.tables().await.expect("tables");
    assert_eq!(store.claim("b", &[(1, 1)]).await.expect("claim").remove(0).map(|head| head.epoch), Ok(2));
    fail(1);
    let after = store.tables().await.expect("tables");
    assert_eq!(after.slots[1].owner.as_deref(), Some("b"), "what this handle has done it knows");
    assert_eq!((&after.slots[0], &after.slots[2], after.nodes), (&before.slots[0], &before.slots[2], before.nodes));
    fail(0);
    assert!(store.tables().await.is_err(), "without the first there is no list");
}

/// Whoever cannot read the tables for half of a lease takes nobody for lost.
#[tokio::test(start_paused = true)]
async fn the_tables_do_not_wait_for_a_server_that_hangs() {
    const HALF_A_LEASE: Duration = Duration::from_secs(1);
    let (parts, store, _) = opened().await;
    store.join(&node("b")).await.expect("join").expect("joins");
    store.tables().await.expect("tables");
    // One that answers late is believed, but for what is known by then.
    parts[1].fail_next(Call::Read, Fault::Slow { before_ms: 0, after_ms: 1_000 });
    let quick = async || {
        let began = tokio::time::Instant::now();
        let tables = store.tables().await.expect("tables");
        assert!(began.elapsed() < HALF_A_LEASE / 2, "it took {:?}", began.elapsed());
        tables
    };
    quick().await;
    assert_eq!(store.claim("b", &[(1, 1)]).await.expect("claim").remove(0).map(|head| head.epoch), Ok(2));
    tokio::time::advance(Duration::from_millis(700)).await;
    assert_eq!(quick().await.slots[1].owner.as_deref(), Some("b"));
    // One that never answers is tried again and again.
    parts[2].fail_next(Call::Read, Fault::Slow { before_ms: 60_000, after_ms: 0 });
    for _ in 0..40 {
        quick().await;
        tokio::time::advance(HALF_A_LEASE / 4).await;
        parts[2].fail_next(Call::Read, Fault::Slow { before_ms: 60_000, after_ms: 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_owns_a_slot_of_any_server_is_not_forgotten() {
    let (parts, store, _) = opened().await;
    for id in ["a", "b"] {
        store.join(&node(id)).await.expect("join").expect("joins");
    }
    assert!(store.transfer(SCRIBE, "a", &[(2, 1)]).await.expect("transfer")[0].is_ok());
    assert!(matches!(store.forget("a", 0).await.expect("forget"), Err(Refusal::Conflict(_))));
    assert!(store.transfer("a", "b", &[(2, 2)]).await.expect("transfer")[0].is_ok());
    parts[2].fail_next(Call::Read, Fault::FailBefore);
    assert!(store.forget("a", 0).await.is_err(), "who knows what it owns");
    assert_eq!(store.forget("a", 0).await.expect("forget"), Ok(()));
    assert_eq!(store.claim("a", &[(2, 3)]).await.expect("claim"), [Err(Refusal::NotMember("a".to_owned()))]);
}

/// What is acknowledged is as fast as the slowest server, and asked of all at once.
#[tokio::test(start_paused = true)]
async fn servers_are_asked_at_once() {
    let (parts, store, mut scribe) = opened().await;
    for part in &parts {
        part.fail_next(Call::Append, Fault::Slow { before_ms: 100, after_ms: 100 });
    }
    let began = tokio::time::Instant::now();
    assert_eq!(store.append(batch(&mut scribe)).await.expect("appended"), vec![]);
    assert_eq!(began.elapsed(), Duration::from_millis(200));
}

#[test]
fn a_map_that_names_nobody_is_refused() {
    let parts = || MemoryRig::new().parts().map(|part| part as Arc<dyn Part>).to_vec();
    let refused = |servers: Vec<i32>| {
        let map = PlaceMap { version: 0, servers };
        matches!(SeveralStore::new(parts(), NUMBERS.to_vec(), &map), Err(StoreError::Fatal(_)))
    };
    assert!(refused(vec![0, 4, 7, 1]) && refused(vec![0, 4]));
}
