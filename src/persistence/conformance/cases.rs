//! Appending and reading back: sequences, versions, pages, sizes, receipts, snapshots.

use super::{Rig, SCRIBE, SLOTS, Scribe, client_receipt, key, owed_receipt, request};
use crate::persistence::{Batch, EntityKey, History, Payload, Record, Refusal, SlotHead};

/// An hour: stores may forget receipts somewhat late.
const HOUR_MS: i64 = 3_600_000;

fn assert_conflict(refusals: &[(u16, Refusal)], slot: u16) {
    assert!(matches!(refusals, [(refused, Refusal::Conflict(_))] if *refused == slot), "{refusals:?}");
}

pub async fn a_new_store_is_empty(rig: &dyn Rig) {
    let journal = rig.open().await;
    assert_eq!(journal.slots(), SLOTS);
    assert_eq!(journal.heads().await.expect("heads"), vec![SlotHead::default(); usize::from(SLOTS)]);
    let History { snapshot, records, more } = journal.load(1, &key("nobody")).await.expect("load");
    assert_eq!((snapshot, records, more), (None, vec![], false));
    assert_eq!(journal.records(1, &key("nobody"), 0, 10).await.expect("records"), vec![]);
    assert_eq!(journal.find_receipt(1, &key("nobody"), &request(1)).await.expect("find_receipt"), None);
    for slot in 0..=SLOTS {
        assert_eq!(journal.feed(slot, 0, 10).await.expect("feed"), vec![]);
        assert_eq!(journal.owed(slot, None, 10).await.expect("owed"), vec![]);
        assert_eq!(journal.wakes(slot, None, 10).await.expect("wakes"), vec![]);
    }
    assert_eq!(journal.entities(10, None, 10).await.expect("entities").len(), 0);
    assert_eq!(journal.prune_receipts(i64::MAX, 10).await.expect("prune_receipts"), 0);
    journal.drop_snapshots().await.expect("drop_snapshots");
}

pub async fn slot_sequences_are_the_next_and_no_other(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let first = scribe.record(0, "a");
    let second = scribe.record(0, "a");
    assert_conflict(&scribe.append(&[Record { seq: 0, ..first.clone() }]).await, 0);
    assert_conflict(&scribe.append(&[Record { version: 1, ..second.clone() }]).await, 0);
    scribe.commit(std::slice::from_ref(&first)).await;
    assert_conflict(&scribe.append(&[Record { version: 2, ..first.clone() }]).await, 0);
    assert_conflict(&scribe.append(&[Record { seq: 3, ..second.clone() }]).await, 0);
    assert_conflict(
        &scribe.append(&[Record { seq: 2, ..second.clone() }, Record { seq: 4, version: 3, ..second.clone() }]).await,
        0,
    );
    assert_eq!(scribe.feed(0).await, std::slice::from_ref(&first));
    scribe.commit(std::slice::from_ref(&second)).await;
    assert_eq!(scribe.feed(0).await, [first, second]);
}

pub async fn entity_versions_are_compared_and_set(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let first = scribe.record(0, "a");
    assert_conflict(&scribe.append(&[Record { version: 2, ..first.clone() }]).await, 0);
    assert_conflict(&scribe.append(&[Record { version: 0, ..first.clone() }]).await, 0);
    scribe.commit(std::slice::from_ref(&first)).await;
    let second = scribe.record(0, "a");
    for version in [0, 1, 3] {
        assert_conflict(&scribe.append(&[Record { version, ..second.clone() }]).await, 0);
    }
    // A load in between must not mislead the comparison.
    scribe.journal.load(0, &key("a")).await.expect("load");
    assert_conflict(&scribe.append(&[Record { version: 1, ..second.clone() }]).await, 0);
    scribe.commit(std::slice::from_ref(&second)).await;
    assert_eq!(scribe.records(0, "a").await, [first, second]);
}

pub async fn a_record_without_events_keeps_the_version(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let untouched = Record { receipt: Some(client_receipt(1)), ..scribe.record_of(0, key("a"), 0) };
    assert_eq!(untouched.version, 0);
    assert_conflict(&scribe.append(&[Record { version: 1, ..untouched.clone() }]).await, 0);
    let first = scribe.record(0, "a");
    let rejected = scribe.record_of(0, key("a"), 0);
    let second = scribe.record_of(0, key("a"), 3);
    assert_eq!((first.version, rejected.version, second.version), (1, 1, 2));
    let all = [untouched, first, rejected, second];
    for record in &all {
        scribe.commit(std::slice::from_ref(record)).await;
    }
    assert_eq!(scribe.records(0, "a").await, all);
    assert_eq!(scribe.journal.load(0, &key("a")).await.expect("load").records, all);
}

pub async fn a_batch_may_hold_a_chain_of_one_entity(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let chain: Vec<Record> = (0..5).map(|n| scribe.record_of(1, key("hot"), usize::from(n != 2))).collect();
    let broken: Vec<Record> = chain
        .iter()
        .map(|record| if record.seq == 4 { Record { version: 9, ..record.clone() } } else { record.clone() })
        .collect();
    assert_conflict(&scribe.append(&broken).await, 1);
    assert_eq!(scribe.feed(1).await, vec![], "a refused slot writes nothing, not even what came before");
    scribe.commit(&chain).await;
    assert_eq!(scribe.records(1, "hot").await, chain);
}

pub async fn a_refused_slot_does_not_fail_its_neighbours(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let (a, b, c) = (scribe.record(0, "a"), scribe.record(1, "b"), scribe.record(2, "c"));
    let (a2, c2) = (scribe.record(0, "a"), scribe.record(2, "c"));
    let batch = [a.clone(), Record { epoch: 0, ..b.clone() }, c.clone(), a2.clone(), Record { version: 7, ..c2 }];
    let refusals = scribe.append(&batch).await;
    assert!(
        matches!(refusals.as_slice(), [(1, Refusal::Fenced { current: 1 }), (2, Refusal::Conflict(_))]),
        "{refusals:?}"
    );
    assert_eq!(scribe.feed(0).await, [a, a2]);
    assert_eq!((scribe.feed(1).await, scribe.feed(2).await), (vec![], vec![]));
    scribe.commit(&[b.clone(), c.clone()]).await;
    assert_eq!((scribe.feed(1).await, scribe.feed(2).await), (vec![b], vec![c]));
}

pub async fn what_cannot_be_stored_is_refused_alone(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let good = scribe.record(0, "good");
    let nowhere = Record { slot: SLOTS, ..good.clone() };
    let nameless = scribe.record(1, "");
    let odd = scribe.record(2, "a\0b");
    let refusals = scribe.append(&[nowhere, nameless, odd, good.clone()]).await;
    let rejected = |n: usize| matches!(refusals.get(n), Some((_, Refusal::Rejected(_))));
    assert!(refusals.len() == 3 && rejected(0) && rejected(1) && rejected(2), "{refusals:?}");
    assert_eq!(scribe.feed(0).await, [good]);
}

pub async fn concurrent_appends_all_hold(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let per_slot: Vec<Vec<Record>> =
        (0..SLOTS).map(|slot| (0..40).map(|n| scribe.record(slot, &format!("e{slot}-{}", n % 7))).collect()).collect();
    let tasks: Vec<_> = per_slot
        .iter()
        .cloned()
        .map(|records| {
            let journal = scribe.journal.clone();
            tokio::spawn(async move {
                for record in records {
                    let batch = Batch::of(SCRIBE, [record]);
                    assert_eq!(journal.append(batch).await.expect("append"), vec![]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
    for (slot, records) in (0..).zip(per_slot) {
        assert_eq!(scribe.feed(slot).await, records);
    }
}

pub async fn records_and_feed_come_in_pages(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let written: Vec<Record> = (0..50).map(|n| scribe.record(0, if n % 3 == 0 { "b" } else { "a" })).collect();
    for batch in written.chunks(7) {
        scribe.commit(batch).await;
    }
    let of_a: Vec<Record> = written.iter().filter(|record| record.key == key("a")).cloned().collect();
    for limit in [1, 2, 7, 49, 50, 1_000] {
        let (mut feed, mut records) = (Vec::new(), Vec::new());
        loop {
            let after = feed.last().map_or(0, |record: &Record| record.seq);
            let page = scribe.journal.feed(0, after, limit).await.expect("feed");
            assert!(page.len() <= limit);
            let ended = page.len() < limit;
            feed.extend(page);
            if ended {
                break;
            }
        }
        loop {
            let after = records.last().map_or(0, |record: &Record| record.seq);
            let page = scribe.journal.records(0, &key("a"), after, limit).await.expect("records");
            assert!(page.len() <= limit);
            let ended = page.len() < limit;
            records.extend(page);
            if ended {
                break;
            }
        }
        assert_eq!((&feed, &records), (&written, &of_a), "in pages of {limit}");
    }
    assert_eq!(scribe.journal.feed(0, 50, 10).await.expect("feed"), vec![]);
    assert_eq!(scribe.journal.feed(0, u64::MAX, 10).await.expect("feed"), vec![]);
    assert_eq!(scribe.journal.feed(0, 0, 0).await.expect("feed"), vec![]);
    assert_eq!(scribe.journal.records(0, &key("a"), 0, 0).await.expect("records"), vec![]);
}

pub async fn a_load_comes_in_pages(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let written: Vec<Record> = (0..700).map(|_| scribe.record(0, "long")).collect();
    for batch in written.chunks(100) {
        scribe.commit(batch).await;
    }
    let History { records, more, .. } = scribe.journal.load(0, &key("long")).await.expect("load");
    assert!(more && !records.is_empty() && records[..] == written[..records.len()]);
    let rest = scribe.journal.records(0, &key("long"), records.len() as u64, usize::MAX).await.expect("records");
    assert_eq!(rest, written[records.len()..]);
    let next = scribe.record(0, "long");
    scribe.commit(&[next]).await;
}

pub async fn large_records_and_snapshots_survive(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let filled = |len: usize, seed: usize| (0..len).map(|n| ((n * 31 + seed) % 251) as u8).collect::<Vec<u8>>();
    let mut written = Vec::new();
    for (n, len) in [10, 300_000, 5_000, 5_600, 5_700, 300_000, 0, 1_000_000].into_iter().enumerate() {
        let mut record = scribe.record(0, if n % 2 == 0 { "a" } else { "b" });
        record.events[0].bytes = filled(len, n);
        written.push(record);
    }
    scribe.commit(&written).await;
    let last = scribe.record(0, "a");
    let state = Payload { type_number: 0x0a00, version: 1, bytes: filled(1_000_000, 99) };
    let snapshot = crate::persistence::Snapshot { state, ..scribe.snapshot_at(&last) };
    scribe.commit_with(std::slice::from_ref(&last), std::slice::from_ref(&snapshot)).await;
    let after = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&after)).await;
    written.extend([last, after.clone()]);
    scribe.journal.close().await.expect("close");
    drop(scribe.journal);
    let journal = rig.open().await;
    assert_eq!(journal.feed(0, 0, 100).await.expect("feed"), written);
    let loaded = journal.load(0, &key("a")).await.expect("load");
    assert_eq!((loaded.snapshot, loaded.records, loaded.more), (Some(snapshot), vec![after], false));
}

pub async fn entities_are_listed_by_kind_in_order(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let mut ids: Vec<String> = (0..30).map(|n| format!("id-{}", n * 7 % 30)).collect();
    ids.extend(["id".to_owned(), "id-1!".to_owned(), "ø".to_owned()]);
    for (n, id) in ids.iter().enumerate() {
        let first = scribe.record_of((n % 4) as u16, EntityKey { kind: 10, id: id.as_str().into() }, 1);
        let again = scribe.record_of((n % 4) as u16, EntityKey { kind: 10, id: id.as_str().into() }, 0);
        let other = scribe.record_of((n % 4) as u16, EntityKey { kind: 11, id: format!("o{n:02}").into() }, n % 2);
        scribe.commit(&[first, again, other]).await;
    }
    ids.sort();
    for limit in [1, 4, 33, 100] {
        let mut listed: Vec<String> = Vec::new();
        loop {
            let after = listed.last().map(String::as_str);
            let page = scribe.journal.entities(10, after, limit).await.expect("entities");
            let ended = page.len() < limit;
            listed.extend(page.iter().map(|id| id.to_string()));
            if ended {
                break;
            }
        }
        assert_eq!(listed, ids, "in pages of {limit}");
    }
    assert_eq!(scribe.journal.entities(11, None, 100).await.expect("entities").len(), 33);
    for kind in [0, 9, 12, 255] {
        assert_eq!(scribe.journal.entities(kind, None, 100).await.expect("entities").len(), 0);
    }
}

pub async fn receipts_are_found_and_forgotten(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let mut soon = scribe.record(0, "a");
    soon.receipt = Some(client_receipt(10 * HOUR_MS));
    let mut late = scribe.record_of(0, key("a"), 0);
    late.receipt = Some(client_receipt(50 * HOUR_MS));
    let plain = scribe.record(0, "a");
    let mut owed = scribe.record(0, "a");
    owed.receipt = Some(owed_receipt(3, 700, 650));
    let mut other = scribe.record(0, "b");
    (other.request, other.receipt) = (soon.request, Some(client_receipt(50 * HOUR_MS)));
    scribe.commit(&[soon.clone(), late.clone(), plain.clone()]).await;
    scribe.commit(&[owed.clone(), other.clone()]).await;

    let find = async |id: &str, wanted: &Record| {
        scribe.journal.find_receipt(0, &key(id), &wanted.request).await.expect("find_receipt")
    };
    assert_eq!(find("a", &soon).await, Some(soon.clone()));
    assert_eq!(find("a", &late).await, Some(late.clone()));
    assert_eq!(find("a", &owed).await, Some(owed.clone()));
    assert_eq!(find("a", &plain).await, None, "a record without a receipt");
    assert_eq!(find("b", &soon).await, Some(other.clone()), "the same request of another entity");
    assert_eq!(find("c", &soon).await, None);

    for (now_ms, found) in [(10 * HOUR_MS, Some(soon.clone())), (12 * HOUR_MS, None)] {
        while scribe.journal.prune_receipts(now_ms, 1).await.expect("prune_receipts") == 1 {}
        assert_eq!(find("a", &soon).await, found);
        assert_eq!(find("a", &late).await, Some(late.clone()));
        assert_eq!(find("a", &owed).await, Some(owed.clone()), "its sender may still ask");
        assert_eq!(find("b", &soon).await, Some(other.clone()));
    }
    assert_eq!(scribe.records(0, "a").await, [soon, late, plain, owed], "the records stay");
}

pub async fn snapshots_change_no_answer(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let mut written = Vec::new();
    for n in 0..20 {
        let record = scribe.record(0, "a");
        let snapshots: Vec<_> = (n % 6 == 3).then(|| scribe.snapshot_at(&record)).into_iter().collect();
        scribe.commit_with(std::slice::from_ref(&record), &snapshots).await;
        written.push(record);
    }
    let loaded = scribe.journal.load(0, &key("a")).await.expect("load");
    let seq = loaded.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
    assert_eq!(loaded.snapshot, Some(scribe.snapshot_at(&written[15])), "the newest one");
    assert_eq!(loaded.records, written.iter().filter(|record| record.seq > seq).cloned().collect::<Vec<_>>());
    assert_eq!(scribe.records(0, "a").await, written);
    scribe.journal.drop_snapshots().await.expect("drop_snapshots");
    let loaded = scribe.journal.load(0, &key("a")).await.expect("load");
    assert_eq!((loaded.snapshot, loaded.records), (None, written.clone()));
    assert_eq!(scribe.records(0, "a").await, written);
    let next = scribe.record(0, "a");
    scribe.commit(&[next]).await;
}

pub async fn a_snapshot_is_never_ahead_of_its_record(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let first = scribe.record(0, "a");
    let second = scribe.record(0, "a");
    scribe.commit_with(std::slice::from_ref(&first), &[scribe.snapshot_at(&second)]).await;
    let refused = Record { epoch: 0, ..second.clone() };
    let batch = Batch { snapshots: vec![scribe.snapshot_at(&second).into()], ..Batch::of(SCRIBE, [refused]) };
    assert_eq!(scribe.journal.append(batch).await.expect("append").len(), 1);
    let loaded = scribe.journal.load(0, &key("a")).await.expect("load");
    assert_eq!((loaded.snapshot, loaded.records), (None, vec![first.clone()]));
    // Later than its record, and for another slot's: both fine.
    let other = scribe.record(1, "b");
    scribe.commit_with(std::slice::from_ref(&other), &[scribe.snapshot_at(&first), scribe.snapshot_at(&other)]).await;
    for (slot, record) in [(0, first), (1, other)] {
        let loaded = scribe.journal.load(slot, &record.key).await.expect("load");
        assert_eq!((loaded.snapshot, loaded.records), (Some(scribe.snapshot_at(&record)), vec![]));
    }
}

pub async fn an_older_snapshot_does_not_replace_a_newer_one(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let (first, second) = (scribe.record(0, "a"), scribe.record(0, "a"));
    let both = [first.clone(), second.clone()];
    scribe.commit_with(&both, &[scribe.snapshot_at(&second), scribe.snapshot_at(&first)]).await;
    scribe.commit_with(&[], &[scribe.snapshot_at(&first)]).await;
    let loaded = scribe.journal.load(0, &key("a")).await.expect("load");
    assert_eq!((loaded.snapshot, loaded.records), (Some(scribe.snapshot_at(&second)), vec![]));
}
