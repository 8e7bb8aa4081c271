//! What is found of an entity that is as it should be, and of ones that are not.

use super::*;
use crate::actors::kinds;
use crate::actors::runtime::history::tests::turned;
use crate::actors::values::Time;
use crate::persistence::Batch;
use crate::persistence::memory::Memory;

fn spec() -> &'static dyn KindSpec {
    kinds::all().by_name("slug").expect("a kind")
}
fn key() -> EntityKey {
    EntityKey { kind: spec().number(), id: "blue-tee".into() }
}

/// A slug that is claimed and released in turn, and its state after each version.
fn history(versions: u64) -> (Vec<Record>, Vec<Box<dyn AnyState>>) {
    let (mut records, mut states) = (Vec::new(), vec![spec().fresh()]);
    for version in 1..=versions {
        let before = &states[states.len() - 1];
        let mut state = spec().restore(&before.snapshot()).expect("its own state");
        records.push(turned(&mut *state, key(), version, Time(version as i64)));
        states.push(state);
    }
    (records, states)
}

fn snapshot(version: u64, state: &dyn AnyState) -> Snapshot {
    Snapshot {
        slot: 0,
        key: key(),
        seq: version,
        version,
        at_ms: 0,
        state: state.snapshot(),
        receipts: Vec::new(),
        receipts_elsewhere_until_ms: None,
        watermarks: Vec::new(),
        owed: None,
        wake_ms: None,
    }
}

fn served(version: u64, state: &dyn AnyState) -> Result<Reply, AskError> {
    let residence = Residence {
        resident: true,
        epoch: 1,
        version,
        last_activity: None,
        owed: Vec::new(),
        wake_at: None,
        receipts: 0,
        panics: 0,
        size_bytes: 0,
        state: state.json(),
    };
    let reply = Reply::operated(crate::actors::runtime::envelope::Operated::Changed, Time(0));
    Ok(Reply { outcome: None, version, state: Some(state.share()), residence: Some(Box::new(residence)), ..reply })
}

async fn found(records: &[Record], snapshot: Option<Snapshot>, served: Result<Reply, AskError>) -> Verification {
    let store = Memory::new(1);
    store.claim("test", &[(0, 0)]).await.expect("claimed");
    store.append(Batch::of("test", records.iter().cloned())).await.expect("appended");
    verify(&store, spec(), 0, &key(), Ok(snapshot), served, &Marks::alone()).await.expect("it is verified")
}

#[tokio::test]
async fn what_is_as_its_events_say_agrees() {
    let (records, states) = history(600);
    let told = found(&records, Some(snapshot(300, &*states[300])), served(599, &*states[599])).await;
    let expected = Verification {
        agrees: true,
        version: 599,
        records: 599,
        events: 599,
        served: Compared::Agrees { version: 599 },
        snapshot: Compared::Agrees { version: 300 },
        violations: Vec::new(),
        faults: Vec::new(),
    };
    assert_eq!(told, expected);
    let told = found(&records, None, Err(AskError::Damaged)).await;
    assert_eq!((told.version, &told.snapshot, told.agrees), (600, &Compared::None, false));
    assert!(matches!(told.served, Compared::NotLoaded { .. }));
}

#[tokio::test]
async fn what_is_not_is_told_with_the_places_at_which_it_differs() {
    let (records, states) = history(10);
    // Of odd versions somebody has the slug.
    let told = found(&records, Some(snapshot(4, &*states[5])), served(10, &*states[9])).await;
    let places = |compared: &Compared| match compared {
        Compared::Differs { at, .. } => at.clone(),
        other => panic!("{other:?}"),
    };
    assert!(!told.agrees && !places(&told.snapshot).is_empty() && !places(&told.served).is_empty(), "{told:?}");
    assert!(told.faults.is_empty());

    let told = found(&records, None, served(12, &*states[10])).await;
    assert_eq!((told.agrees, told.faults.len(), told.version), (false, 1, 10), "{told:?}");
    let mut old = snapshot(4, &*states[4]);
    old.state.version += 1;
    let told = found(&records, Some(old), served(10, &*states[10])).await;
    assert_eq!((told.agrees, told.snapshot), (true, Compared::NotCompared { version: 4 }));
    let mut unread = records;
    unread[6].events[0].version += 9;
    let told = found(&unread, None, served(10, &*states[10])).await;
    assert_eq!((told.agrees, told.version, told.faults.len()), (false, 6, 2), "{told:?}");
}
