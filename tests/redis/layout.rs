//! What the layout of the keys could get wrong: long ranges of arguments, pages that begin anywhere, receipts that
//! are given twice, and bytes that are not what was written.

use std::sync::Arc;

use souk::persistence::conformance::{Rig, SCRIBE, Scribe, client_receipt, key, owed_receipt, request};
use souk::persistence::{Batch, OwedItem, OwedRow, Record, Store, StoreError};

use super::RedisRig;

const HOUR_MS: i64 = 3_600_000;

/// More entities, fields, rows and receipts than fit on a script's stack at once; and then once more, so that each
/// of them is compared with something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_may_be_of_any_size() {
    const COUNT: u64 = 9_000;
    let rig = RedisRig::new();
    let mut scribe = Scribe::claim(rig.open().await).await;
    let mut written: Vec<Record> = Vec::new();
    for round in 0..2 {
        let records = (0..COUNT).map(|n| {
            let mut record = match n % 2 {
                0 => scribe.owing(0, &format!("e{n}"), Some(round * 10 + 5)),
                _ => scribe.waking(0, &format!("e{n}"), Some(round * 10 + 5)),
            };
            record.receipt = Some(if n % 4 < 2 { client_receipt(HOUR_MS) } else { owed_receipt(3, n + 1, 0) });
            record
        });
        let records: Vec<Record> = records.collect();
        scribe.commit(&records).await;
        written.extend(records);
    }
    assert!(scribe.feed(0).await == written);
    for record in written.iter().step_by(971) {
        let found = scribe.journal.find_receipt(0, &record.key, &record.request).await.expect("find_receipt");
        assert_eq!(found.as_ref(), Some(record));
        let loaded = scribe.journal.load(0, &record.key).await.expect("load");
        assert!(loaded.records.contains(record) && loaded.records.len() == 2 && !loaded.more);
    }
    let owed = scribe.journal.owed(0, None, usize::MAX).await.expect("owed");
    assert!(owed.len() as u64 == COUNT / 2 && owed.iter().all(|(_, row)| row.due_ms == 15));
    let wakes = scribe.journal.wakes(0, None, usize::MAX).await.expect("wakes");
    assert!(wakes.len() as u64 == COUNT / 2 && wakes.iter().all(|row| row.due_ms == 15));
    let ids = scribe.journal.entities(10, None, usize::MAX).await.expect("entities");
    assert_eq!(ids.len() as u64, COUNT);
    // What a commit of that size is refused for is found, wherever it stands.
    let mut wrong = scribe.record(0, "e8999");
    wrong.version += 1;
    let mut records: Vec<Record> = (0..COUNT - 1).map(|n| scribe.record(0, &format!("e{n}"))).collect();
    records.iter_mut().for_each(|record| record.seq -= 1);
    wrong.seq += COUNT - 1;
    records.push(wrong);
    let refused = scribe.append(&records).await;
    assert!(format!("{refused:?}").contains("e8999: version 4 where 3 is next"), "{refused:?}");
    assert_eq!(scribe.journal.heads().await.expect("heads")[0].seq, 2 * COUNT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_entitys_records_begins_anywhere() {
    let rig = RedisRig::new();
    let mut scribe = Scribe::claim(rig.open().await).await;
    let mut records = Vec::new();
    for n in 0..300 {
        records.push(scribe.record(0, if n % 3 == 0 { "other" } else { "a" }));
    }
    for some in records.chunks(7) {
        scribe.commit(some).await;
    }
    let of_a: Vec<&Record> = records.iter().filter(|record| record.key == key("a")).collect();
    for (after, limit) in (0..=301).zip([1, 31, 32, 33, 64, 250].into_iter().cycle()) {
        let found = scribe.journal.records(0, &key("a"), after, limit).await.expect("records");
        let expected = of_a.iter().filter(|record| record.seq > after).take(limit).map(|record| (*record).clone());
        assert_eq!(found, expected.collect::<Vec<_>>(), "after {after}, {limit}");
        let found = scribe.journal.feed(0, after, limit).await.expect("feed");
        assert_eq!(found, records.iter().filter(|record| record.seq > after).take(limit).cloned().collect::<Vec<_>>());
    }
}

/// Pages are bounded in bytes too, and go on where they ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_records_are_read_page_by_page() {
    let rig = RedisRig::new();
    let mut scribe = Scribe::claim(rig.open().await).await;
    let mut written = Vec::new();
    for _ in 0..24 {
        let mut record = scribe.record(0, "a");
        record.events[0].bytes = vec![9; 700_000];
        scribe.commit(std::slice::from_ref(&record)).await;
        written.push(record);
    }
    assert!(scribe.feed(0).await == written);
    assert!(scribe.records(0, "a").await == written);
    let loaded = scribe.journal.load(0, &key("a")).await.expect("load");
    assert!(loaded.more && loaded.records[..] == written[..loaded.records.len()]);
}

/// The receipt of a request that was given again counts from the second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_was_given_again_expires_as_the_second_one() {
    let rig = RedisRig::new();
    let mut scribe = Scribe::claim(rig.open().await).await;
    let [soon, late] = [HOUR_MS, 10 * HOUR_MS].map(|expires_ms| {
        let mut record = scribe.record(0, "a");
        (record.request, record.receipt) = (request(1), Some(client_receipt(expires_ms)));
        record
    });
    scribe.commit(&[soon]).await;
    scribe.commit(std::slice::from_ref(&late)).await;
    for (now_ms, found) in [(5 * HOUR_MS, Some(late.clone())), (12 * HOUR_MS, None)] {
        while scribe.journal.prune_receipts(now_ms, 1).await.expect("prune_receipts") > 0 {}
        assert_eq!(scribe.journal.find_receipt(0, &key("a"), &request(1)).await.expect("find_receipt"), found);
    }
    let left = rig.server.say(&["KEYS", &format!("{}:{{g:0}}:0:x*", rig.prefix)]).await;
    assert_eq!(left, redis::Value::Array(vec![]), "nothing is left of the index");
}

/// A record that is not there, one too many, and one with other bytes are said to be damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_said() {
    let rig = RedisRig::new();
    let mut scribe = Scribe::claim(rig.open().await).await;
    let records = [scribe.record(0, "a"), scribe.record(0, "a"), scribe.record(1, "b"), scribe.record(2, "c")];
    scribe.commit(&records).await;
    let group = |slot: u16| format!("{}:{{g:{slot}}}", rig.prefix);
    rig.server.say(&["HDEL", &group(0), "l0:1"]).await;
    let store: Arc<dyn Store> = rig.open().await;
    assert!(matches!(store.load(0, &key("a")).await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.feed(0, 0, 9).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.feed(0, 1, 9).await.expect("the rest"), records[1..2]);
    rig.server.say(&["HDEL", &group(0), "l0:2"]).await;
    let claimed = store.claim("next", &[(0, 1)]).await;
    assert!(matches!(&claimed, Err(StoreError::Damaged(why)) if why.contains("record 2 is not there")), "{claimed:?}");
    rig.server.say(&["HSET", &group(1), "l1:1", "no record"]).await;
    assert!(matches!(store.feed(1, 0, 9).await, Err(StoreError::Damaged(_))));
    rig.server.say(&["HSET", &group(2), "l2:2", "no record"]).await;
    let claimed = store.claim("next", &[(2, 1)]).await;
    assert!(matches!(&claimed, Err(StoreError::Damaged(why)) if why.contains("record 2 is too many")), "{claimed:?}");
    for wrong in ["nonsense", "1:x:scribe"] {
        rig.server.say(&["HSET", &group(3), "h3", wrong]).await;
        assert!(matches!(store.heads().await, Err(StoreError::Damaged(_))), "{wrong}");
    }
}

/// Of rows that come and go within a commit, what they are at its end is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_move_within_a_commit_end_where_the_last_record_puts_them() {
    let rig = RedisRig::new();
    let mut scribe = Scribe::claim(rig.open().await).await;
    let owed = async |store: &dyn Store| -> Vec<(String, i64)> {
        let rows = store.owed(0, None, 99).await.expect("owed");
        rows.into_iter().map(|(key, row)| (key.id.to_string(), row.due_ms)).collect()
    };
    let start = [scribe.owing(0, "a", Some(1)), scribe.owing(0, "b", Some(2)), scribe.owing(0, "c", Some(3))];
    scribe.commit(&start).await;
    let moves = [
        scribe.owing(0, "a", Some(9)),
        scribe.owing(0, "a", Some(1)), // there and back
        scribe.owing(0, "b", None),
        scribe.owing(0, "b", Some(7)),
        scribe.owing(0, "c", Some(8)),
        scribe.owing(0, "c", None),
        scribe.owing(0, "d", Some(4)),
        scribe.owing(0, "d", None),
    ];
    scribe.commit(&moves).await;
    assert_eq!(owed(&*scribe.journal).await, [("a".to_owned(), 1), ("b".to_owned(), 7)]);
    // A row that stays where it is may owe something else.
    let mut other = scribe.owing(0, "a", Some(1));
    let items = vec![OwedItem { number: 77, key: "k".to_owned() }];
    other.owed.as_mut().expect("it owes").after = Some(OwedRow { due_ms: 1, items: items.clone() });
    scribe.commit(&[other]).await;
    assert_eq!(scribe.journal.owed(0, None, 1).await.expect("owed")[0].1.items, items);
    let batch = Batch { owner: SCRIBE.into(), ..Batch::default() };
    assert_eq!(scribe.journal.append(batch).await.expect("nothing"), vec![]);
}
