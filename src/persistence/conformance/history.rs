//! Whole histories: that a store is the same after it was opened again, and that random histories
//! answer as they do in the reference.

use std::sync::Arc;

use super::{Rig, SCRIBE, SLOTS, Scribe, client_receipt, key, owed_receipt};
use crate::persistence::memory::Memory;
use crate::persistence::{Batch, EntityKey, Journal, OwedRow, Record, RequestBytes, Slot, SlotHead, WakeRow};

/// Everything that a store answers, but for where it splits a load.
#[derive(Debug, PartialEq)]
struct Everything {
    heads: Vec<SlotHead>,
    feeds: Vec<Vec<Record>>,
    owed: Vec<Vec<(EntityKey, OwedRow)>>,
    wakes: Vec<Vec<WakeRow>>,
    ids: Vec<Vec<Arc<str>>>,
    entities: Vec<(EntityKey, Vec<Record>)>,
    receipts: Vec<(EntityKey, RequestBytes, bool)>,
}

async fn everything(journal: &dyn Journal) -> Everything {
    let mut found = Everything {
        heads: journal.heads().await.expect("heads"),
        feeds: Vec::new(),
        owed: Vec::new(),
        wakes: Vec::new(),
        ids: Vec::new(),
        entities: Vec::new(),
        receipts: Vec::new(),
    };
    for slot in 0..SLOTS {
        let feed = journal.feed(slot, 0, usize::MAX).await.expect("feed");
        let mut keys: Vec<EntityKey> = feed.iter().map(|record| record.key.clone()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let all = journal.records(slot, &key, 0, usize::MAX).await.expect("records");
            let loaded = journal.load(slot, &key).await.expect("load");
            let seq = loaded.snapshot.map_or(0, |snapshot| snapshot.seq);
            let later: Vec<&Record> = all.iter().filter(|record| record.seq > seq).collect();
            assert_eq!(loaded.records.iter().collect::<Vec<_>>(), later[..loaded.records.len()]);
            assert_eq!(loaded.more, loaded.records.len() < later.len());
            found.entities.push((key, all));
        }
        for record in feed.iter().filter(|record| record.receipt.is_some()) {
            let receipt = journal.find_receipt(slot, &record.key, &record.request).await.expect("find_receipt");
            found.receipts.push((record.key.clone(), record.request, receipt.as_ref() == Some(record)));
        }
        found.feeds.push(feed);
        found.owed.push(journal.owed(slot, None, usize::MAX).await.expect("owed"));
        found.wakes.push(journal.wakes(slot, None, usize::MAX).await.expect("wakes"));
    }
    for kind in [9, 10, 11] {
        found.ids.push(journal.entities(kind, None, usize::MAX).await.expect("entities"));
    }
    found
}

/// A small generator, so that a seed means the same history for ever (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// The next record of some entity, with or without each of the parts of a record.
fn random_record(scribe: &mut Scribe, dice: &mut Dice) -> Record {
    let slot = dice.roll(u64::from(SLOTS)) as Slot;
    let id = format!("{slot}-{}", dice.roll(6));
    let due_ms = (dice.roll(3) > 0).then(|| dice.roll(4) as i64 * 1_000);
    let mut record = match dice.roll(4) {
        0 => scribe.owing(slot, &id, due_ms),
        1 => scribe.waking(slot, &id, due_ms),
        2 => scribe.record_of(slot, key(&id), 0),
        _ => scribe.record_of(slot, key(&id), 1 + dice.roll(3) as usize),
    };
    record.receipt = match dice.roll(3) {
        0 => Some(client_receipt(1_000_000)),
        1 => Some(owed_receipt(dice.roll(3) as Slot, record.seq * 256, 0)),
        _ => None,
    };
    if let Some(event) = record.events.first_mut() {
        event.bytes = vec![dice.roll(256) as u8; dice.roll(2_000) as usize];
    }
    record
}

async fn random_batch(scribe: &mut Scribe, dice: &mut Dice) -> Batch {
    let mut batch = Batch { owner: SCRIBE.into(), ..Batch::default() };
    for _ in 0..=dice.roll(12) {
        let record = random_record(scribe, dice);
        if dice.roll(8) == 0 {
            batch.snapshots.push(scribe.snapshot_at(&record).into());
        }
        batch.records.push(record.into());
    }
    batch
}

async fn some_history(scribe: &mut Scribe, seed: u64) {
    let mut dice = Dice(seed);
    for _ in 0..40 {
        let batch = random_batch(scribe, &mut dice).await;
        assert_eq!(scribe.journal.append(batch).await.expect("append"), vec![]);
    }
}

pub async fn a_closed_store_opens_unchanged(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    some_history(&mut scribe, 1).await;
    scribe.journal.prune_receipts(500, 1_000).await.expect("prune_receipts");
    let before = everything(&*scribe.journal).await;
    scribe.journal.close().await.expect("close");
    drop(scribe);
    let journal = rig.open().await;
    assert_eq!(everything(&*journal).await, before);
}

pub async fn a_dropped_store_opens_unchanged(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    for round in 0..4 {
        some_history(&mut scribe, 2 + round).await;
        let before = everything(&*scribe.journal).await;
        let Scribe { journal, heads, versions, rows, clock_ms } = scribe;
        drop(journal);
        let journal = rig.open().await;
        assert_eq!(everything(&*journal).await, before, "round {round}");
        scribe = Scribe { journal, heads, versions, rows, clock_ms };
    }
}

pub async fn random_histories_agree_with_the_reference(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let reference = Memory::new(SLOTS);
    let all: Vec<_> = (0..SLOTS).map(|slot| (slot, 0)).collect();
    reference.claim(SCRIBE, &all).await.expect("claim");
    let mut dice = Dice(77);
    for round in 0..120 {
        let mut batch = random_batch(&mut scribe, &mut dice).await;
        if dice.roll(4) == 0 {
            // Broken somewhere: both must refuse the same slot, and take the repaired batch afterwards.
            let at = dice.roll(batch.records.len() as u64) as usize;
            let mut broken = batch.clone();
            let record = Arc::make_mut(&mut broken.records[at]);
            match dice.roll(3) {
                0 => record.epoch += 1,
                1 => record.seq += 1,
                _ => record.version += 1,
            }
            let slot = record.slot;
            let refused = scribe.journal.append(broken.clone()).await.expect("append");
            assert_eq!(refused, reference.append(broken).await.expect("append"));
            assert!(matches!(refused.as_slice(), [(refused, _)] if *refused == slot), "{refused:?}");
            batch.records.retain(|record| record.slot == slot);
            batch.snapshots.retain(|snapshot| snapshot.slot == slot);
        }
        assert_eq!(scribe.journal.append(batch.clone()).await.expect("append"), vec![]);
        assert_eq!(reference.append(batch).await.expect("append"), vec![]);
        if round % 20 == 19 {
            assert_eq!(everything(&*scribe.journal).await, everything(&reference).await, "round {round}");
        }
    }
}
