//! Each thing that can be wrong in a store, in a store that is otherwise right: the check finds it, and names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use souk::actors::kinds;
use souk::cluster::slot_of;
use souk::config::Config;
use souk::persistence::embedded::EngineKind;
use souk::persistence::open::{Slots, open};
use souk::persistence::{
    EntityKey, History, OwedItem, OwedRow, Record, Slot, SlotHead, Snapshot, Store, StoreError, WakeRow,
};
use souk::upkeep::Watch;
use souk::upkeep::check::{Report, check};

use super::liar::{Liar, Lie};
use super::{embedded, shop};

const CART: u8 = 10;

struct Nobody;

impl Watch for Nobody {
    fn begins(&self, _: &'static str, _: u64) {}
    fn advances(&self, _: u64) {}
}

macro_rules! lies {
    ($($(#[$why:meta])* $name:ident { $($method:item)* })*) => {
        $($(#[$why])* #[derive(Default)] struct $name(#[allow(dead_code, reason = "most count nothing")] AtomicU64);
        impl Lie for $name { $($method)* })*
    };
}

lies! {
    Truth {}
    /// A record in the middle is missing.
    Gap {
        fn feed(&self, _: Slot, after: u64, page: &mut Vec<Record>) -> Result<(), StoreError> {
            if after == 0 && page.len() > 9 {
                page.remove(7);
            }
            Ok(())
        }
    }
    /// The last records are gone.
    Short {
        fn feed(&self, slot: Slot, after: u64, page: &mut Vec<Record>) -> Result<(), StoreError> {
            page.retain(|record| slot != 4 || record.seq < 3);
            let _ = after;
            Ok(())
        }
    }
    Unreadable {
        fn feed(&self, slot: Slot, _: u64, _: &mut Vec<Record>) -> Result<(), StoreError> {
            match slot {
                6 => Err(StoreError::Damaged("a checksum does not match".to_owned())),
                _ => Ok(()),
            }
        }
    }
    /// The epochs of a feed fall.
    Epochs {
        fn feed(&self, _: Slot, _: u64, page: &mut Vec<Record>) -> Result<(), StoreError> {
            page.iter_mut().filter(|record| record.seq == 2).for_each(|record| record.epoch += 1);
            Ok(())
        }
        fn heads(&self, heads: &mut Vec<SlotHead>) {
            heads.iter_mut().for_each(|head| head.epoch += 1);
        }
    }
    Ahead {
        fn feed(&self, _: Slot, _: u64, page: &mut Vec<Record>) -> Result<(), StoreError> {
            page.iter_mut().for_each(|record| record.epoch += 1_000);
            Ok(())
        }
    }
    /// An entity's versions jump.
    Versions {
        fn feed(&self, _: Slot, _: u64, page: &mut Vec<Record>) -> Result<(), StoreError> {
            page.iter_mut().filter(|record| record.seq == 5).for_each(|record| record.version += 1);
            Ok(())
        }
    }
    Elsewhere {
        fn feed(&self, _: Slot, _: u64, page: &mut Vec<Record>) -> Result<(), StoreError> {
            page.iter_mut().filter(|record| record.seq == 1).for_each(|record| record.key.id = "elsewhere".into());
            Ok(())
        }
    }
    /// An entity's own list lacks its last record.
    Listless {
        fn records(&self, page: &mut Vec<Record>) {
            if page.len() > 1 {
                page.pop();
            }
        }
    }
    /// An entity's own list has other bytes than the feed.
    OtherBytes {
        fn records(&self, page: &mut Vec<Record>) {
            page.iter_mut().take(1).for_each(|record| record.at_ms -= 1);
        }
    }
    NoEvent {
        fn records(&self, page: &mut Vec<Record>) {
            page.iter_mut().flat_map(|record| &mut record.events).for_each(|event| event.version = 999);
        }
    }
    State {
        fn snapshot(&self, snapshot: &mut Snapshot) {
            snapshot.state.bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
    }
    SnapshotVersion {
        fn snapshot(&self, snapshot: &mut Snapshot) {
            snapshot.version += 1;
        }
    }
    SnapshotElsewhere {
        fn snapshot(&self, snapshot: &mut Snapshot) {
            snapshot.wake_ms = Some(snapshot.wake_ms.unwrap_or(0) + 1);
        }
    }
    Tail {
        fn tail(&self, history: &mut History) {
            history.records.pop();
        }
    }
    Receipts {
        fn receipt(&self, found: &mut Option<Record>) {
            *found = None;
        }
    }
    OtherReceipt {
        fn receipt(&self, found: &mut Option<Record>) {
            if let Some(found) = found {
                found.request = [9; 16];
            }
        }
    }
    Owes {
        fn owed(&self, slot: Slot, page: &mut Vec<(EntityKey, OwedRow)>) {
            if slot == 2 {
                let items = vec![OwedItem { number: 1, key: "reserve".into() }];
                page.push((EntityKey { kind: CART, id: "x".into() }, OwedRow { due_ms: 1, items }));
            }
        }
    }
    NeverWakes {
        fn wakes(&self, _: Slot, page: &mut Vec<WakeRow>) {
            page.clear();
        }
    }
    WakesLate {
        fn wakes(&self, _: Slot, page: &mut Vec<WakeRow>) {
            page.iter_mut().for_each(|row| row.due_ms += 1);
        }
    }
    Unlisted {
        fn entities(&self, kind: u8, page: &mut Vec<Arc<str>>) {
            if kind == CART && page.len() > 1 {
                page.remove(0);
            }
        }
    }
    Invented {
        fn entities(&self, kind: u8, page: &mut Vec<Arc<str>>) {
            if kind == 200 {
                page.push("ghost".into());
            }
        }
    }
    Head {
        fn heads(&self, heads: &mut Vec<SlotHead>) {
            heads[3].at_ms += 1;
        }
    }
    Heads {
        fn heads(&self, heads: &mut Vec<SlotHead>) {
            heads.pop();
        }
    }
    Behind {
        fn heads(&self, heads: &mut Vec<SlotHead>) {
            heads[3].seq -= 1;
        }
    }
    /// A slot that is claimed again and again, while its receipts are not found.
    Busy {
        fn heads(&self, heads: &mut Vec<SlotHead>) {
            heads[3].epoch += self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn receipt(&self, found: &mut Option<Record>) {
            if found.as_ref().is_some_and(|found| found.slot == 3) {
                *found = None;
            }
        }
    }
    /// The same with a record that cannot be read.
    BusyAndUnreadable {
        fn heads(&self, heads: &mut Vec<SlotHead>) {
            heads[3].epoch += self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn feed(&self, slot: Slot, _: u64, _: &mut Vec<Record>) -> Result<(), StoreError> {
            match slot {
                3 => Err(StoreError::Damaged("a checksum does not match".to_owned())),
                _ => Ok(()),
            }
        }
    }
    Nodes {
        fn nodes(&self) -> Result<(), StoreError> {
            Err(StoreError::Damaged("a row".to_owned()))
        }
    }
    Absent {
        fn has_nothing(&self) -> bool {
            true
        }
    }
}

async fn judged(store: &Arc<dyn Store>, lie: Box<dyn Lie>) -> Report {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let liar = Arc::new(Liar { store: store.clone(), lie });
    check(liar, kinds::all(), slot_of, now, &Nobody).await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_wrong_is_found_and_named() {
    let home = tempfile::tempdir().expect("a folder");
    let address = embedded(EngineKind::Sled, &home.path().join("data"));
    shop::open(home.path(), &address).await;
    let choice = address.parse().expect("a store");
    let settings = Config::default().settings_of(choice, Slots::Stored);
    let store = open(&settings).await.expect("it opens");
    let truth = judged(&store, Box::new(Truth::default())).await;
    assert!(truth.is_well(), "{truth:#?}");
    let lies: [(Box<dyn Lie>, &str); 26] = [
        (Box::new(Gap::default()), "sequence 9 where 8 is next"),
        (Box::new(Short::default()), "slot 4: feed: ends at sequence 2, and the head says"),
        (Box::new(Unreadable::default()), "slot 6: feed after sequence 0: damaged: a checksum does not match"),
        (Box::new(Epochs::default()), "epoch 1 after epoch 2"),
        (Box::new(Ahead::default()), "epoch 1001 after epoch"),
        (Box::new(Versions::default()), "is next"),
        (Box::new(Elsewhere::default()), "belongs into slot"),
        (Box::new(Listless::default()), "of the slot's feed"),
        (Box::new(OtherBytes::default()), "of the slot's feed"),
        (Box::new(NoEvent::default()), "cannot be read"),
        (Box::new(State::default()), "state"),
        (Box::new(SnapshotVersion::default()), "has another version than its records"),
        (Box::new(SnapshotElsewhere::default()), "has another wake row than its records"),
        (Box::new(Tail::default()), "a load does not give sequence"),
        (Box::new(Receipts::default()), "is not found"),
        (Box::new(OtherReceipt::default()), "the receipt of sequence"),
        (Box::new(Owes::default()), "slot 2: cart/x: the owed index has it at 1"),
        (Box::new(NeverWakes::default()), "the wake index has no such row"),
        (Box::new(WakesLate::default()), "the wake index has it at"),
        (Box::new(Unlisted::default()), "list of cart: has"),
        (Box::new(Invented::default()), "list of kind 200: names ghost, which has no record"),
        (Box::new(Head::default()), "slot 3: head: the last record is of"),
        (Box::new(Behind::default()), "slot 3: head: says that sequence"),
        (Box::new(BusyAndUnreadable::default()), "slot 3: feed after sequence 0: damaged"),
        (Box::new(Nodes::default()), "node list: damaged: a row"),
        (Box::new(Absent::default()), "the store says that it has no record"),
    ];
    for (lie, named) in lies {
        let report = judged(&store, lie).await;
        let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains(named)), "{named}: {problems:#?}");
        assert!(report.problems.len() <= 100 && report.problems_total >= report.problems.len() as u64);
    }
    assert!(!judged(&store, Box::new(Heads::default())).await.is_well(), "a head is missing");
    let busy = judged(&store, Box::new(Busy::default())).await;
    assert_eq!((busy.slots_unjudged, busy.problems_total, busy.is_well()), (1, 0, false), "{busy:#?}");
    store.close().await.expect("closed");
}
