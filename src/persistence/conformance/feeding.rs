//! Following a slot's records: in order, without a gap, from any place, while writers write.

use std::sync::Arc;

use super::{Rig, SCRIBE, SLOTS, Scribe, client_receipt, several};
use crate::persistence::{Batch, Record, Slot, Store};

const PER_SLOT: usize = 120;

/// Follows a slot until it has so many records. Each is there with what belongs to it.
async fn follow(store: Arc<dyn Store>, slot: Slot, limit: usize) -> Vec<Record> {
    let mut seen: Vec<Record> = Vec::new();
    while seen.len() < PER_SLOT {
        let after = seen.last().map_or(0, |record| record.seq);
        let page = store.feed(slot, after, limit).await.expect("feed");
        for (n, record) in (1..).zip(&page) {
            assert_eq!((record.slot, record.seq), (slot, after + n), "a gap, or out of order");
        }
        if let Some(last) = page.last() {
            let found = store.find_receipt(slot, &last.key, &last.request).await.expect("find_receipt");
            assert_eq!(found.as_ref(), Some(last), "a record is shown with its receipt");
            let of_entity = store.records(slot, &last.key, last.seq - 1, 1).await.expect("records");
            assert_eq!(of_entity, std::slice::from_ref(last), "and where its entity's are read");
            let head = store.heads().await.expect("heads")[usize::from(slot)].clone();
            assert!(head.seq >= last.seq, "the head is behind what was read");
        } else {
            tokio::task::yield_now().await;
        }
        seen.extend(page);
    }
    seen
}

pub async fn a_feed_is_followed_while_writers_write(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let handles = several(rig, &scribe.journal, 2).await;
    let mut written: Vec<Vec<Record>> = Vec::new();
    for slot in 0..SLOTS {
        let records = (0..PER_SLOT).map(|n| {
            let mut record = scribe.owing(slot, &format!("e{slot}-{}", n % 5), (n % 3 > 0).then_some(n as i64));
            record.receipt = Some(client_receipt(i64::MAX / 2));
            record
        });
        written.push(records.collect());
    }
    let writers = written.clone().into_iter().map(|records| {
        let store = scribe.journal.clone();
        tokio::spawn(async move {
            for (n, records) in records.chunks(3).enumerate() {
                let batch = Batch::of(SCRIBE, records.iter().cloned());
                assert_eq!(store.append(batch).await.expect("append"), vec![]);
                if n.is_multiple_of(4) {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let readers = (0..SLOTS).flat_map(|slot| {
        let follow = |limit: usize| tokio::spawn(follow(handles[limit % 2].clone(), slot, limit));
        [(slot, follow(7)), (slot, follow(1_000))]
    });
    for (slot, reader) in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.expect("a reader"), written[usize::from(slot)]);
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
}

pub async fn a_feed_goes_on_from_any_place(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let written: Vec<Record> = (0..40).map(|n| scribe.record(2, if n % 4 == 0 { "b" } else { "a" })).collect();
    let neighbours: Vec<Record> =
        (0..18).map(|n| scribe.record(1 + n % 2 * 2, ["c", "d"][usize::from(n % 2)])).collect();
    scribe.commit(&written[..25]).await;
    scribe.commit(&neighbours).await;
    for opened_again in [false, true] {
        if opened_again {
            scribe.commit(&written[25..]).await;
        }
        let end = if opened_again { written.len() } else { 25 };
        for after in 0..=end {
            for limit in [1, 10, 1_000] {
                let page = scribe.journal.feed(2, after as u64, limit).await.expect("feed");
                assert_eq!(page, written[after..end.min(after + limit)], "after {after}");
            }
        }
    }
}

pub async fn what_one_handle_acknowledged_every_handle_reads(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    // A store with one client has nobody else who could read.
    let (Some(other), Some(third)) = (rig.another().await, rig.another().await) else { return };
    let mut expected: Vec<Record> = Vec::new();
    for n in 0..40 {
        let mut record = scribe.owing(0, "a", Some(n));
        record.receipt = Some(client_receipt(i64::MAX / 2));
        let snapshots: Vec<_> = (n % 10 == 9).then(|| scribe.snapshot_at(&record)).into_iter().collect();
        scribe.commit_with(std::slice::from_ref(&record), &snapshots).await;
        for handle in [&other, &third] {
            assert_eq!(handle.heads().await.expect("heads")[0], scribe.head(0));
            assert_eq!(handle.feed(0, record.seq - 1, 9).await.expect("feed"), std::slice::from_ref(&record));
            let found = handle.find_receipt(0, &record.key, &record.request).await.expect("find_receipt");
            assert_eq!(found.as_ref(), Some(&record));
            assert!(!handle.has_nothing(0, &record.key));
            let owed = handle.owed(0, None, 9).await.expect("owed");
            assert_eq!(owed.iter().map(|(_, row)| row.due_ms).collect::<Vec<_>>(), [n]);
        }
        expected.push(record);
    }
    let mut next = scribe.record(0, "a");
    next.epoch = 2;
    let claimed = third.claim("third", &[(0, 1)]).await.expect("claim");
    assert_eq!(claimed[0].as_ref().map(|head| (head.epoch, head.seq)), Ok((2, 40)));
    for (handle, owner) in [(&other, "scribe"), (&third, "third")] {
        let batch = Batch::of(owner, [next.clone()]);
        let refused = handle.append(batch).await.expect("append");
        assert_eq!(refused.is_empty(), owner == "third", "{refused:?}");
    }
    expected.push(next);
    for handle in [&scribe.journal, &other, &third] {
        assert_eq!(handle.feed(0, 0, 99).await.expect("feed"), expected);
        handle.drop_snapshots().await.expect("drop_snapshots");
    }
}
