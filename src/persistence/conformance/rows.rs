//! The owed and the wake index, and the receipts of what was owed.

use super::{Rig, Scribe, key, owed_receipt};
use crate::persistence::{EntityKey, OwedRow, Record, WakeRow};

async fn all_owed(scribe: &Scribe, slot: u16, limit: usize) -> Vec<(EntityKey, OwedRow)> {
    let mut all: Vec<(EntityKey, OwedRow)> = Vec::new();
    loop {
        let after = all.last().map(|(key, row)| (row.due_ms, key.clone()));
        let page = scribe.journal.owed(slot, after, limit).await.expect("owed");
        assert!(page.len() <= limit);
        let ended = page.len() < limit;
        all.extend(page);
        if ended {
            return all;
        }
    }
}

async fn all_wakes(scribe: &Scribe, slot: u16, limit: usize) -> Vec<WakeRow> {
    let mut all: Vec<WakeRow> = Vec::new();
    loop {
        let after = all.last().map(|row| (row.due_ms, row.key.clone()));
        let page = scribe.journal.wakes(slot, after, limit).await.expect("wakes");
        assert!(page.len() <= limit);
        let ended = page.len() < limit;
        all.extend(page);
        if ended {
            return all;
        }
    }
}

pub async fn owed_rows_are_ordered_and_paged(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let mut expected = Vec::new();
    for n in 0..40i64 {
        let due_ms = [5, -3, 1_000_000, 5, 0][(n % 5) as usize];
        let record = scribe.owing(1, &format!("e{:02}", n * 11 % 40), Some(due_ms));
        let row = record.owed.clone().and_then(|change| change.after).expect("it owes");
        expected.push((record.key.clone(), row));
        scribe.commit(&[record]).await;
    }
    let neighbour = scribe.owing(2, "other", Some(0));
    scribe.commit(&[neighbour]).await;
    expected.sort_by(|(a, x), (b, y)| (x.due_ms, a).cmp(&(y.due_ms, b)));
    for limit in [1, 3, 40, 1_000] {
        assert_eq!(all_owed(&scribe, 1, limit).await, expected, "in pages of {limit}");
    }
    assert_eq!(scribe.journal.owed(1, None, 0).await.expect("owed"), vec![]);
    let behind = scribe.journal.owed(1, Some((5, key(""))), 1).await.expect("owed");
    assert_eq!(behind[0].1.due_ms, 5, "a row that does not exist can be gone on from");
}

pub async fn owed_rows_change_and_go(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let dues = async |scribe: &Scribe| -> Vec<(i64, String)> {
        all_owed(scribe, 0, 2).await.into_iter().map(|(key, row)| (row.due_ms, key.id.to_string())).collect()
    };
    let row = |due_ms: i64, id: &str| (due_ms, id.to_owned());
    for (id, due_ms, expected) in [
        ("a", Some(10), vec![row(10, "a")]),
        ("b", Some(5), vec![row(5, "b"), row(10, "a")]),
        ("b", Some(20), vec![row(10, "a"), row(20, "b")]),
        ("a", None, vec![row(20, "b")]),
        ("a", Some(10), vec![row(10, "a"), row(20, "b")]),
        ("a", Some(10), vec![row(10, "a"), row(20, "b")]),
        ("b", None, vec![row(10, "a")]),
        ("a", None, vec![]),
        ("a", None, vec![]),
        ("b", Some(20), vec![row(20, "b")]),
        ("c", Some(1), vec![row(1, "c"), row(20, "b")]),
    ] {
        let record = scribe.owing(0, id, due_ms);
        scribe.commit(&[record]).await;
        assert_eq!(dues(&scribe).await, expected, "after {id} owes at {due_ms:?}");
    }
    let last = all_owed(&scribe, 0, 10).await;
    assert_eq!(last[1].1.items[0].key, "step:4", "a row is the one that was written last");
    let together = [scribe.owing(0, "c", None), scribe.owing(0, "b", Some(2)), scribe.owing(0, "b", None)];
    scribe.commit(&together).await;
    assert_eq!(dues(&scribe).await, vec![]);
    scribe.journal.close().await.expect("close");
}

pub async fn wake_rows_are_ordered_and_paged(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let mut expected = Vec::new();
    for n in 0..40i64 {
        let due_ms = [5, -3, 1_000_000, 5, i64::MAX][(n % 5) as usize];
        let record = scribe.waking(1, &format!("e{:02}", n * 11 % 40), Some(due_ms));
        expected.push(WakeRow { due_ms, key: record.key.clone() });
        scribe.commit(&[record]).await;
    }
    expected.sort_by(|a, b| (a.due_ms, &a.key).cmp(&(b.due_ms, &b.key)));
    for limit in [1, 3, 40, 1_000] {
        assert_eq!(all_wakes(&scribe, 1, limit).await, expected, "in pages of {limit}");
    }
    assert_eq!(all_wakes(&scribe, 2, 10).await, vec![]);
}

pub async fn wake_rows_change_and_go(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    // Many rows that come and go between two that stay: pages must not end at what is void.
    for n in 0..150 {
        let id = format!("e{n:03}");
        let record = scribe.waking(0, &id, Some(100));
        scribe.commit(&[record]).await;
        if n != 0 && n != 149 {
            let record = scribe.waking(0, &id, (n % 2 == 0).then_some(900));
            scribe.commit(&[record]).await;
            let record = scribe.waking(0, &id, None);
            scribe.commit(&[record]).await;
        }
    }
    let staying = |id: &str| WakeRow { due_ms: 100, key: key(id) };
    for limit in [1, 2, 10] {
        assert_eq!(all_wakes(&scribe, 0, limit).await, [staying("e000"), staying("e149")], "in pages of {limit}");
    }
    let mut seen = Vec::new();
    for due_ms in [Some(50), Some(50), None, Some(50), Some(40), None] {
        let record = scribe.waking(0, "e000", due_ms);
        scribe.commit(&[record]).await;
        seen.push(all_wakes(&scribe, 0, 1).await.first().map(|row| row.due_ms));
    }
    assert_eq!(seen, [Some(50), Some(50), Some(100), Some(50), Some(40), Some(100)]);
}

/// A watermark speaks for one sending slot and one entity, and of what is below it: a repeat of anything else would
/// be carried out a second time.
pub async fn a_watermark_forgets_only_what_is_below_it(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let mut owed = |id: &str, sender, number, watermark| {
        let receipt = Some(owed_receipt(sender, number, watermark));
        Record { receipt, ..scribe.record(0, id) }
    };
    let below = owed("a", 3, 100, 0);
    let kept = [
        owed("a", 3, 200, 0),
        owed("a", 3, 300, 0),
        owed("a", 4, 100, 0),
        owed("b", 3, 100, 0),
        owed("a", 3, 400, 200),
    ];
    for record in [std::slice::from_ref(&below), &kept] {
        scribe.commit(record).await;
    }
    let find = async |wanted: &Record| {
        scribe.journal.find_receipt(0, &wanted.key, &wanted.request).await.expect("find_receipt")
    };
    for _ in 0..2 {
        for record in &kept {
            assert_eq!(find(record).await.as_ref(), Some(record));
        }
        let found = find(&below).await;
        assert!(found.as_ref().is_none_or(|found| *found == below), "{found:?}");
        while scribe.journal.prune_receipts(0, 1).await.expect("prune_receipts") == 1 {}
    }
}
