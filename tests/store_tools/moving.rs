//! Stores that move: whole, in several runs, and back.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use souk::config::Config;
use souk::persistence::embedded::EngineKind::Sled;
use souk::persistence::open::{Slots, StoreSettings, open};
use souk::persistence::{Batch, Record, Slot, Store};

use super::{command, embedded, shop, store, stores};
use crate::history::record;

#[tokio::test]
async fn a_shop_moves_from_store_to_store_and_answers_the_same() {
    let home = tempfile::tempdir().expect("a folder");
    let first = embedded(Sled, &home.path().join("data"));
    let remembered = shop::open(home.path(), &first).await;
    let said = store(&["check", &first]).well();
    assert!(said.out.ends_with("all is well\n"), "{said:?}");
    assert!(said.err.contains("checking: 100 %"), "{said:?}");
    let before = store(&["check", &first, "--json"]).well().json();
    for some in ["records", "events", "entities", "receipts", "snapshots", "wakes"] {
        assert!(before[some].as_u64() > Some(0), "{some}: {before}");
    }
    assert_eq!(before["slots"].to_string(), shop::SLOTS);

    let stores = stores(home.path());
    let mut last = first.as_str();
    for next in stores.iter().map(|store| store.address.as_str()) {
        let copied = store(&["copy", last, next, "--json"]).well().json();
        assert_eq!((&copied["records"], &copied["written"]), (&before["records"], &before["records"]));
        let again = store(&["copy", last, next, "--json"]).well().json();
        assert_eq!((&again["checksum"], again["written"].as_u64()), (&copied["checksum"], Some(0)));
        let after = store(&["check", next, "--json"]).well().json();
        for same in ["slots", "records", "events", "entities", "receipts", "owed", "wakes"] {
            assert_eq!(after[same], before[same], "{same} in {next}");
        }
        last = next;
    }
    for moved in stores.iter().map(|store| store.address.as_str()) {
        let server = shop::serve(home.path(), moved);
        remembered.is_kept_by(&server.url).await;
        shop::replay(&server, home.path());
        // Beside it, and what comes to it now, nothing has changed.
        assert!(server.stop().status.success());
        store(&["check", moved]).well();
        store(&["copy", &first, moved]).refused(1, "the new store is not empty");
    }
    store(&["check", &first]).well();
}

const SLOTS: Slot = 80;
const RECORDS: u64 = 300;

fn settings(url: &str, slots: Slots) -> StoreSettings {
    Config::default().settings_of(url.parse().expect("a store"), slots)
}

/// A store whose slots have changed hands, at other times each.
pub async fn made(url: &str, slots: Slot, records: u64) {
    let store = open(&settings(url, Slots::Configured(slots))).await.expect("a new store");
    let mut seqs = vec![0; usize::from(slots)];
    for turn in 1..=4 {
        let owner = format!("node-{turn}");
        let heads = store.heads().await.expect("heads");
        let chosen = (0..slots).filter(|slot| turn == 1 || (u64::from(*slot) + turn) % 3 != 0);
        let claims: Vec<_> = chosen.map(|slot| (slot, heads[usize::from(slot)].epoch)).collect();
        let claimed = store.claim(&owner, &claims).await.expect("claimed");
        let mut batch = Batch { owner: owner.as_str().into(), ..Batch::default() };
        for ((slot, _), head) in claims.iter().zip(claimed) {
            let seq = &mut seqs[usize::from(*slot)];
            let until = records.min(*seq + records / 4);
            let epoch = head.expect("it is free").epoch;
            // One slot stays empty, another ends with a claim that nothing was written at.
            let some = if *slot == 3 || (*slot == 5 && turn == 4) { *seq + 1..=*seq } else { *seq + 1..=until };
            batch.records.extend(some.map(|seq| record(*slot, epoch, seq, 300).into()));
            *seq = batch.records.last().filter(|last| last.slot == *slot).map_or(*seq, |last| last.seq);
        }
        assert_eq!(store.append(batch).await.expect("appended"), vec![]);
    }
    store.close().await.expect("closed");
}

async fn all_of(url: &str) -> Vec<(u64, u64, Vec<Record>)> {
    let store = open(&settings(url, Slots::Stored)).await.expect("it is there");
    let mut all = Vec::new();
    for (slot, head) in (0..).zip(store.heads().await.expect("heads")) {
        all.push((head.epoch, head.seq, feed(&*store, slot).await));
    }
    store.close().await.expect("closed");
    all
}

async fn feed(store: &dyn Store, slot: Slot) -> Vec<Record> {
    store.feed(slot, 0, 10_000).await.expect("a feed")
}

#[tokio::test]
async fn a_copy_that_is_killed_goes_on_where_it_was_and_every_record_is_as_it_was() {
    let home = tempfile::tempdir().expect("a folder");
    let from = embedded(Sled, &home.path().join("from"));
    made(&from, SLOTS, RECORDS).await;
    let whole = all_of(&from).await;
    assert!(whole.iter().any(|(epoch, ..)| *epoch > 2), "slots have changed hands");
    let total: u64 = whole.iter().map(|(_, seq, _)| seq).sum();
    for to in stores(home.path()) {
        let to = to.address.as_str();
        let mut kills = 0;
        for percent in [1, 20, 40, 60] {
            let mut child = command(&["copy", &from, to]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
            let child = child.as_mut().expect("souk starts");
            let lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
            // Its own word for how far it is.
            let far = |line: &String| line.strip_prefix("copying: ")?.split(' ').next()?.parse::<u64>().ok();
            let mut far_enough = lines.filter(|line| far(line).is_some_and(|now| now >= percent));
            assert!(far_enough.next().is_some(), "it says how far it is");
            child.kill().expect("it can be killed");
            kills += usize::from(!child.wait().expect("it ends").success());
        }
        assert!(kills > 0, "one was met in the middle");
        let last = store(&["copy", &from, to, "--json"]).well().json();
        assert_eq!(last["records"].as_u64(), Some(total));
        assert!(last["written"].as_u64() < Some(total), "{last}: it goes on, and does not begin again");
        assert_eq!(all_of(to).await, whole, "sequences, epochs and bytes");
    }
}
