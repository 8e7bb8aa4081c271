//! How much of the journal a replay reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::pin::pin;

use futures::FutureExt;

use super::*;
use crate::actors::entity::{Caller, Ctx};
use crate::actors::kinds;
use crate::actors::slug::types::Command;
use crate::actors::values::ProductId;
use crate::config::Config;
use crate::persistence::decorator::Decorator;
use crate::persistence::memory::Memory;
use crate::persistence::{EntityKey, History, Snapshot};

const VERSIONS: u64 = 10_000;

/// One entity with a long history, and how many of its records were read.
struct Counted {
    empty: Memory,
    records: Vec<Record>,
    snapshot: Option<Snapshot>,
    read: AtomicUsize,
}

fn key() -> EntityKey {
    EntityKey { kind: spec().number(), id: "long-lived".into() }
}
fn spec() -> &'static dyn KindSpec {
    kinds::all().by_name("slug").expect("a kind")
}

/// The next version of a slug that is claimed and released in turn. It comes to be in the state, too.
pub(in crate::actors::runtime) fn turned(state: &mut dyn AnyState, key: EntityKey, version: u64, now: Time) -> Record {
    let product = ProductId(1);
    let command =
        if version % 2 == 1 { Command::Claim { product } } else { Command::Release { product, moved: false } };
    let (request, policy) = (RequestId::default(), Arc::new(Config::default().policy()));
    let ctx = Ctx { now, request, caller: Caller::System, version: version - 1, policy };
    let decided = state.decide(Arc::new(command), &ctx).expect("a command of its kind");
    state.evolve(&*decided.events, now);
    Record {
        slot: 0,
        seq: version,
        epoch: 1,
        key,
        version,
        at_ms: now.0,
        request: request.0,
        receipt: None,
        events: decided.payloads,
        owed: None,
        wake: None,
    }
}

/// A slug that is claimed and released in turn. Each seventh version has a second record, without events.
fn history() -> Counted {
    let mut state = spec().fresh();
    let mut records = Vec::new();
    for version in 1..=VERSIONS {
        let record = turned(&mut *state, key(), version, Time(version as i64 * 1_000));
        let record = Record { seq: records.len() as u64 * 3 + 1, ..record }; // others of the slot lie between
        assert!(!record.events.is_empty());
        records.push(record.clone());
        if version % 7 == 0 {
            let seq = records.len() as u64 * 3 + 1;
            records.push(Record { seq, at_ms: record.at_ms + 1, events: Vec::new(), ..record });
        }
    }
    Counted { empty: Memory::new(1), records, snapshot: None, read: AtomicUsize::new(0) }
}

impl Counted {
    fn count(&self, records: Vec<Record>) -> Vec<Record> {
        self.read.fetch_add(records.len(), Ordering::Relaxed);
        records
    }
    fn reads(&self) -> usize {
        self.read.swap(0, Ordering::Relaxed)
    }
}

impl Decorator for Counted {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        &self.empty
    }
    /// Only for what a replay does not ask for: it asks for `load`, `records`, and one record of the slot by its place.
    async fn read<T: Send>(&self, _: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        Err(StoreError::Unavailable("a replay does not ask for this".into()))
    }
    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        let after_seq = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        let records = Decorator::records(self, slot, key, after_seq, 100).await?;
        Ok(History { snapshot: self.snapshot.clone(), more: records.len() == 100, records })
    }
    async fn feed(&self, _: Slot, after: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        assert_eq!(limit, 1);
        Ok(self.count(self.records.iter().filter(|record| record.seq == after + 1).cloned().collect()))
    }
    async fn records(&self, _: Slot, _: &EntityKey, after: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.count(self.records.iter().filter(|record| record.seq > after).take(limit).cloned().collect()))
    }
}

async fn replayed(journal: &Counted, marks: &Marks, until: Until) -> (u64, Time, serde_json::Value) {
    let past = replay(journal, spec(), 0, &key(), until, marks).await.expect("a past");
    (past.version, past.at, past.state.json())
}

#[tokio::test]
async fn the_second_replay_of_a_long_history_reads_little() {
    let (mut journal, marks) = (history(), Marks::alone());
    // The newest snapshot is of no use to whoever asks for something older.
    let newest = replay(&journal, spec(), 0, &key(), Until::Version(VERSIONS), &Marks::alone()).await.expect("a past");
    journal.snapshot = Some(Snapshot {
        slot: 0,
        seq: journal.records.last().expect("records").seq,
        key: key(),
        version: VERSIONS,
        at_ms: newest.at.0,
        state: newest.state.snapshot(),
        receipts: Vec::new(),
        receipts_elsewhere_until_ms: None,
        watermarks: Vec::new(),
        owed: None,
        wake_ms: None,
    });
    journal.reads();
    replayed(&journal, &marks, Until::Version(9_000)).await;
    assert!(journal.reads() > 9_000, "the first reads everything before");
    for version in [9_000, 8_999, 5_000, 1_234, 300, 1] {
        replayed(&journal, &marks, Until::Version(version)).await;
        let reads = journal.reads();
        assert!(reads <= 600, "{reads} records were read for version {version}");
    }
}

#[tokio::test]
async fn a_replay_from_a_mark_is_the_replay_from_the_first_record() {
    let (journal, marks) = (history(), Marks::alone());
    replayed(&journal, &marks, Until::Version(VERSIONS)).await;
    // Around the end of each page lie the marks.
    for version in (1..40).map(|page| page * 224).flat_map(|version| version - 4..version + 4) {
        for until in [Until::Version(version), Until::SettledFrom(version)] {
            let anew = replayed(&journal, &Marks::alone(), until).await;
            assert_eq!(replayed(&journal, &marks, until).await, anew, "{until:?}");
        }
    }
}

#[tokio::test]
async fn a_listing_of_versions_goes_on_where_it_was() {
    let (journal, marks) = (history(), Marks::alone());
    let (mut after, mut most) = (0, 0);
    while after < VERSIONS {
        let page = entries(&journal, spec(), 0, &key(), after, 100, &marks).await.expect("a page");
        let versions: Vec<u64> = page.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, (after + 1..=after + 100).collect::<Vec<_>>());
        after += 100;
        most = journal.reads().max(most);
    }
    assert!(most <= 768, "{most} records were read for a page");
}

#[tokio::test]
async fn a_long_replay_waits_for_its_turn_and_a_short_one_does_not() {
    let (journal, marks) = (history(), Marks::alone());
    let mut places = Vec::new();
    while let Some(Some(place)) = marks.long_replay().now_or_never() {
        places.push(place);
    }
    replayed(&journal, &marks, Until::Version(500)).await;
    let mut long = pin!(replayed(&journal, &marks, Until::Version(9_000)));
    assert!(futures::poll!(&mut long).is_pending());
    assert!(journal.reads() < 2_000, "it waits before it reads much");
    places.pop();
    assert_eq!(long.await.0, 9_000);
}

#[tokio::test]
async fn a_mark_whose_record_is_lost_is_not_used() {
    for epoch in [2, 1] {
        let (mut journal, marks) = (history(), Marks::alone());
        replayed(&journal, &marks, Until::Version(9_000)).await;
        // The store has failed over: the records after version 4,000 are lost, and others were written, by a later epoch
        // or by somebody to whom it gave the same epoch once more.
        for record in journal.records.iter_mut().filter(|record| record.version > 4_000) {
            record.epoch = epoch;
            record.at_ms += 7;
        }
        for version in [9_000, 4_500, 4_001, 3_999] {
            let anew = replayed(&journal, &Marks::alone(), Until::Version(version)).await;
            assert_eq!(replayed(&journal, &marks, Until::Version(version)).await, anew, "{version}");
        }
    }
}
