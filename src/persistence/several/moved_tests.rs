//! Slots that go to another server while a process has the store open. (Two parts in memory that have the same slots: each
//! refuses those that are not its own now. On real servers: `tests/postgres/moving.rs`.)

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::super::conformance::{SCRIBE, SLOTS, Scribe};
use super::super::decorator::{self, Appended, Handed};
use super::super::memory::Memory;
use super::super::postgres::PlaceMap;
use super::super::{Batch, Epoch, Journal, Membership, Record, Refusal, Slot, SlotHead, Store, StoreError, Tables};
use super::{Part, SeveralStore};

type Slots = Arc<Mutex<BTreeSet<Slot>>>;

struct Half {
    memory: Memory,
    here: Slots,
    map: Arc<Mutex<PlaceMap>>,
    maps_read: Arc<AtomicUsize>,
}

impl Half {
    fn has(&self, slot: Slot) -> Result<(), StoreError> {
        let has = self.here.lock().contains(&slot);
        has.then_some(()).ok_or_else(|| StoreError::Unavailable("not here".to_owned()))
    }
}

impl decorator::Decorator for Half {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        &self.memory
    }

    async fn append(&self, batch: Batch) -> Appended {
        let Batch { owner, records, .. } = batch;
        let (own, other): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| self.has(record.slot).is_ok());
        let mut refused = self.memory.append(Batch::of(owner, own)).await?;
        refused.extend(other.iter().map(|record| (record.slot, Refusal::Unavailable("not here".to_owned()))));
        Ok(refused)
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.has(slot)?;
        self.memory.feed(slot, after_seq, limit).await
    }
}

#[async_trait]
impl Part for Half {
    async fn hand(&self, _from: Option<&str>, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        let mut handed = Vec::new();
        for (slot, epoch) in slots {
            match self.has(*slot) {
                Ok(()) => handed.extend(self.memory.claim(to, &[(*slot, *epoch)]).await?),
                Err(why) => handed.push(Err(Refusal::Unavailable(why.to_string()))),
            }
        }
        Ok(handed)
    }

    async fn slot_heads(&self) -> Result<Vec<Option<SlotHead>>, StoreError> {
        let heads = (0..).zip(self.memory.heads().await?);
        Ok(heads.map(|(slot, head)| self.has(slot).ok().map(|()| head)).collect())
    }

    async fn slot_owners(&self) -> Result<Vec<super::SlotOwner>, StoreError> {
        let heads: Vec<SlotHead> = self.slot_heads().await?.into_iter().map(Option::unwrap_or_default).collect();
        Ok(super::super::membership::owners(&heads))
    }

    async fn tables_and_map(&self) -> Result<(Tables, u64), StoreError> {
        let slots = self.slot_owners().await?;
        Ok((Tables { slots, ..self.memory.tables().await? }, self.map.lock().version))
    }

    async fn map(&self) -> Result<PlaceMap, StoreError> {
        self.maps_read.fetch_add(1, Ordering::Relaxed);
        Ok(self.map.lock().clone())
    }
}

/// A store on servers 0 and 7; slots 0 and 1 are on the first.
struct Halves {
    here: [Slots; 2],
    map: Arc<Mutex<PlaceMap>>,
    maps_read: Arc<AtomicUsize>,
    store: Arc<SeveralStore>,
}

impl Halves {
    fn new() -> Halves {
        let memory = Memory::new(SLOTS);
        let map = Arc::new(Mutex::new(PlaceMap { version: 0, servers: vec![0, 0, 7, 7] }));
        let maps_read = Arc::default();
        let here = [[0, 1], [2, 3]].map(|slots| Arc::new(Mutex::new(BTreeSet::from(slots))));
        let half = |here: &Slots| {
            let (map, maps_read) = (map.clone(), Arc::clone(&maps_read));
            Arc::new(Half { memory: memory.clone(), here: here.clone(), map, maps_read }) as Arc<dyn Part>
        };
        let parts = here.iter().map(half).collect();
        let read = map.lock().clone();
        let store = Arc::new(SeveralStore::new(parts, vec![0, 7], &read).expect("a map of these"));
        Halves { here, map, maps_read, store }
    }

    fn leaves(&self, slot: Slot) {
        self.here[0].lock().remove(&slot);
    }

    fn arrives(&self, slot: Slot, number: i32) {
        self.here[1].lock().insert(slot);
        let mut map = self.map.lock();
        map.version += 1;
        map.servers[usize::from(slot)] = number;
    }

    async fn claim(&self, slot: Slot, epoch: Epoch) -> Result<Epoch, Refusal> {
        let claimed = self.store.claim(SCRIBE, &[(slot, epoch)]).await.expect("of the others").remove(0);
        claimed.map(|head| head.epoch)
    }
}

fn is_unavailable<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

#[tokio::test(start_paused = true)]
async fn a_slot_on_its_way_waits_and_is_found_where_it_arrives() {
    let halves = Halves::new();
    let mut scribe = Scribe::claim(halves.store.clone()).await;
    let before = halves.store.tables().await.expect("tables");
    halves.leaves(1);
    let (own, other) = (scribe.record(1, "a"), scribe.record(2, "b"));
    let refused = halves.store.append(Batch::of(SCRIBE, [own.clone(), other])).await.expect("of the others");
    assert!(matches!(refused[..], [(1, Refusal::Unavailable(_))]), "{refused:?}");
    assert!(is_unavailable(&halves.store.feed(1, 0, 9).await));
    assert!(is_unavailable(&halves.store.heads().await), "no slot is left out, and none is empty");
    assert!(matches!(halves.claim(1, 1).await, Err(Refusal::Unavailable(_))));
    assert_eq!(halves.store.tables().await.expect("tables").slots, before.slots, "it is as it was known");
    halves.arrives(1, 7);
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!(halves.store.feed(1, 0, 9).await.expect("it is read where it is now"), []);
    assert_eq!(halves.store.append(Batch::of(SCRIBE, [own.clone()])).await.expect("appended"), vec![]);
    assert_eq!(halves.store.feed(1, 0, 9).await.expect("a feed"), [own]);
    assert_eq!(halves.claim(1, 1).await, Ok(2));
    assert_eq!(halves.store.heads().await.expect("heads")[1].epoch, 2);
}

/// A claim that is made again and again finds the slot, with no read of the tables in between.
#[tokio::test(start_paused = true)]
async fn a_claim_finds_the_slot_where_it_has_gone() {
    let halves = Halves::new();
    let _scribe = Scribe::claim(halves.store.clone()).await;
    halves.leaves(0);
    halves.arrives(0, 7);
    assert!(matches!(halves.claim(0, 1).await, Err(Refusal::Unavailable(_))), "it asks where the slot was");
    assert_eq!(halves.claim(0, 1).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_the_tables_knows_the_map() {
    let halves = Halves::new();
    let mut scribe = Scribe::claim(halves.store.clone()).await;
    halves.store.tables().await.expect("tables");
    assert_eq!(halves.maps_read.load(Ordering::Relaxed), 0, "the map is as it was");
    halves.leaves(1);
    halves.arrives(1, 7);
    let tables = halves.store.tables().await.expect("tables");
    assert_eq!((tables.slots[1].owner.as_deref(), tables.slots[1].epoch), (Some(SCRIBE), 1));
    let record = scribe.record(1, "a");
    assert_eq!(halves.store.append(Batch::of(SCRIBE, [record])).await.expect("appended"), vec![]);
    assert_eq!(halves.maps_read.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_slots_of_a_server_that_is_not_named_are_not_served_and_the_others_are() {
    let halves = Halves::new();
    let mut scribe = Scribe::claim(halves.store.clone()).await;
    halves.leaves(1);
    halves.arrives(1, 9);
    assert_eq!(halves.store.slots_out_of_reach(), 0, "the map is not read yet");
    let tables = halves.store.tables().await.expect("tables");
    assert_eq!(tables.slots.len(), usize::from(SLOTS));
    let shared: Arc<dyn Store> = halves.store.clone();
    assert_eq!(Journal::slots_out_of_reach(&shared), 1, "also behind what stands around it");
    let (own, other) = (scribe.record(1, "a"), scribe.record(0, "b"));
    let refused = halves.store.append(Batch::of(SCRIBE, [own, other])).await.expect("of the others");
    match &refused[..] {
        [(1, Refusal::Unavailable(why))] => assert!(why.contains("server 9") && why.contains("store.urls"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(halves.claim(1, 1).await, Err(Refusal::Unavailable(_))));
    assert!(is_unavailable(&halves.store.feed(1, 0, 9).await));
    assert!(is_unavailable(&halves.store.entities(10, None, 9).await), "half a list is none");
    assert_eq!(halves.store.feed(0, 0, 9).await.expect("a feed").len(), 1);
}

/// While its slot moves an entity may be on both servers.
#[tokio::test(start_paused = true)]
async fn an_entity_is_listed_once() {
    let halves = Halves::new();
    let mut scribe = Scribe::claim(halves.store.clone()).await;
    let records = [scribe.record(0, "a"), scribe.record(2, "b")];
    scribe.commit(&records).await;
    let ids = halves.store.entities(10, None, 9).await.expect("entities");
    assert_eq!(ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "b"], "both servers have both");
}
