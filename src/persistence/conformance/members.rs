//! The node list and planned moves.

use super::{Rig, SCRIBE, SLOTS, Scribe, several};
use crate::persistence::membership::{TEXT_BYTES_MAX, UNREACHABLE_MAX};
use crate::persistence::{NodeRow, NodeState, Record, Refusal, SlotHead, Store};

/// A node's row before its first renewal.
pub fn node(id: &str) -> NodeRow {
    NodeRow {
        id: id.to_owned(),
        name: "name".to_owned(),
        http: "host:1".to_owned(),
        link: "host:2".to_owned(),
        reads: (1, 2),
        writes: 1,
        lease: 0,
        state: NodeState::Joining,
        unreachable: Vec::new(),
        weight: 100,
        zone: String::new(),
        version: "1.0.0".to_owned(),
        started_at_ms: 0,
    }
}

pub(super) async fn join(store: &dyn Store, id: &str) {
    assert_eq!(store.join(&node(id)).await.expect("join"), Ok(()));
}

pub(super) async fn leave(store: &dyn Store, id: &str) {
    assert_eq!(store.leave(id).await.expect("leave"), Ok(()));
}

pub(super) fn is_conflict<T>(answer: &Result<T, Refusal>) -> bool {
    matches!(answer, Err(Refusal::Conflict(_)))
}

pub(super) fn not_member<T>(id: &str) -> Result<T, Refusal> {
    Err(Refusal::NotMember(id.to_owned()))
}

pub async fn the_node_list_is_kept(rig: &dyn Rig) {
    let store = rig.open().await;
    assert_eq!(store.nodes().await.expect("nodes"), vec![]);
    let full = NodeRow {
        name: "øst".to_owned(),
        reads: (0, u16::MAX),
        writes: 7,
        lease: u64::MAX >> 2,
        state: NodeState::Draining,
        unreachable: vec!["b#2".to_owned(), "nobody".to_owned()],
        weight: u32::MAX,
        zone: "vest".to_owned(),
        version: "2.0.0-rc.1+æ".to_owned(),
        started_at_ms: i64::MIN,
        ..node("b#1")
    };
    let nothing = String::new;
    let bare =
        NodeRow { name: nothing(), http: nothing(), link: nothing(), version: nothing(), weight: 0, ..node("a#1") };
    for row in [&full, &bare, &node("b#10"), &node("B")] {
        assert_eq!(store.join(row).await.expect("join"), Ok(()));
    }
    let expected = [node("B"), bare, full, node("b#10")];
    assert_eq!(store.nodes().await.expect("nodes"), expected, "by id");
    store.close().await.expect("close");
    drop(store);
    assert_eq!(rig.open().await.nodes().await.expect("nodes"), expected, "opened again");
}

pub async fn an_id_enters_once(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "a").await;
    let other = NodeRow { lease: 5, state: NodeState::Serving, ..node("a") };
    assert!(is_conflict(&store.join(&other).await.expect("join")));
    assert!(is_conflict(&store.join(&node("a")).await.expect("join")), "not even as it is");
    assert_eq!(store.nodes().await.expect("nodes"), [node("a")]);
    let handles = several(rig, &store, 4).await;
    let joining = handles.iter().map(|handle| async { handle.join(&node("b")).await.expect("join").is_ok() });
    let joined = futures::future::join_all(joining).await;
    assert_eq!(joined.into_iter().filter(|joined| *joined).count(), 1, "of several at once one");
}

pub async fn malformed_rows_are_rejected(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "known").await;
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    for broken in [
        node(""),
        node(&long),
        node("zero\0byte"),
        NodeRow { name: long.clone(), ..node("known") },
        NodeRow { http: "a\0b".to_owned(), ..node("known") },
        NodeRow { zone: long.clone(), ..node("known") },
        NodeRow { version: "a\0b".to_owned(), ..node("known") },
        NodeRow { unreachable: vec![long.clone()], ..node("known") },
        NodeRow { unreachable: vec![String::new(); UNREACHABLE_MAX + 1], ..node("known") },
        NodeRow { state: NodeState::Left, ..node("known") },
    ] {
        assert!(matches!(store.join(&broken).await.expect("join"), Err(Refusal::Rejected(_))), "{broken:?}");
        assert!(matches!(store.renew(&broken).await.expect("renew"), Err(Refusal::Rejected(_))), "{broken:?}");
    }
    assert_eq!(store.nodes().await.expect("nodes"), [node("known")]);
    let longest = NodeRow { http: "y".repeat(TEXT_BYTES_MAX), ..node(&long[1..]) };
    assert_eq!(store.join(&longest).await.expect("join"), Ok(()));
    assert_eq!(store.nodes().await.expect("nodes")[1], longest);
}

pub async fn leases_count_renewals(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "a").await;
    join(&*store, "b").await;
    let mut row = NodeRow { state: NodeState::Serving, unreachable: vec!["b".to_owned()], ..node("a") };
    for lease in 1..=3 {
        assert_eq!(store.renew(&row).await.expect("renew"), Ok(lease));
        assert!(is_conflict(&store.renew(&row).await.expect("renew")), "the counter has gone on");
        row.lease = lease;
        assert_eq!(store.nodes().await.expect("nodes"), [row.clone(), node("b")], "the row is what was renewed");
        (row.http, row.unreachable) = (format!("elsewhere:{lease}"), Vec::new());
        (row.weight, row.zone, row.started_at_ms) = (lease as u32, format!("zone-{lease}"), lease as i64);
    }
    assert!(is_conflict(&store.renew(&NodeRow { lease: 4, ..row.clone() }).await.expect("renew")), "nor ahead");
    assert_eq!(store.renew(&node("nobody")).await.expect("renew"), not_member("nobody"));
    let handles = several(rig, &store, 4).await;
    let renewing = handles.iter().map(|handle| async { handle.renew(&row).await.expect("renew") });
    let renewed = futures::future::join_all(renewing).await;
    assert_eq!(renewed.iter().filter(|answer| **answer == Ok(4)).count(), 1, "{renewed:?}");
    assert_eq!(renewed.iter().filter(|answer| is_conflict(answer)).count(), 3, "{renewed:?}");
    assert_eq!(store.nodes().await.expect("nodes")[0].lease, 4);
}

pub async fn a_node_that_has_left_does_not_come_back(rig: &dyn Rig) {
    let store = rig.open().await;
    assert_eq!(store.leave("nobody").await.expect("leave"), not_member("nobody"));
    let owned = store.claim("a", &[(0, 0)]).await.expect("claim");
    assert!(owned[0].is_ok(), "a node that never joined may claim");
    join(&*store, "a").await;
    join(&*store, "b").await;
    assert_eq!(store.renew(&node("a")).await.expect("renew"), Ok(1));
    leave(&*store, "a").await;
    leave(&*store, "a").await;
    let left = NodeRow { state: NodeState::Left, lease: 1, ..node("a") };
    for opened_again in [false, true] {
        let store = if opened_again { several(rig, &store, 1).await.remove(0) } else { store.clone() };
        assert_eq!(store.nodes().await.expect("nodes"), [left.clone(), node("b")]);
        assert!(is_conflict(&store.join(&node("a")).await.expect("join")));
        for lease in [0, 1, 2] {
            assert_eq!(store.renew(&NodeRow { lease, ..node("a") }).await.expect("renew"), not_member("a"));
        }
        let claimed = store.claim("a", &[(0, 1), (1, 0), (2, 9), (SLOTS, 0)]).await.expect("claim");
        assert_eq!(claimed[..3], [not_member("a"), not_member("a"), not_member("a")]);
        assert!(matches!(claimed[3], Err(Refusal::Rejected(_))));
        let given = store.transfer("a", "a", &[(0, 1)]).await.expect("transfer");
        assert_eq!(given, [not_member("a")]);
    }
    let heads = store.heads().await.expect("heads");
    assert_eq!((heads[0].owner.as_deref(), heads[0].epoch, heads[1].epoch), (Some("a"), 1, 0));
    let taken = store.claim("b", &[(0, 1)]).await.expect("claim");
    assert_eq!(taken[0].as_ref().map(|head| head.epoch), Ok(2), "what it owned others may take");
}

pub async fn transfers_compare_and_set_owner_and_epoch(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let record = scribe.record(1, "a");
    scribe.commit(std::slice::from_ref(&record)).await;
    let store = scribe.journal.clone();
    for id in ["b", "c"] {
        join(&*store, id).await;
    }
    let moved = store.transfer(SCRIBE, "b", &[(1, 1), (2, 2), (0, 1), (1, 1), (SLOTS, 0)]).await.expect("transfer");
    let expected = SlotHead { owner: Some("b".to_owned()), epoch: 2, ..scribe.head(1) };
    let fenced = |current| Err(Refusal::Fenced { current });
    assert_eq!(moved[0], Ok(expected.clone()), "with the end of its records");
    assert_eq!((&moved[1], &moved[3]), (&fenced(1), &fenced(2)));
    assert_eq!(moved[2].as_ref().map(|head| head.epoch), Ok(2));
    assert!(matches!(moved[4], Err(Refusal::Rejected(_))));
    // Not its slot (any more), though it names the epoch.
    assert_eq!(store.transfer(SCRIBE, "c", &[(1, 2)]).await.expect("transfer"), [fenced(2)]);
    assert_eq!(store.transfer("nobody", "c", &[(3, 1)]).await.expect("transfer"), [fenced(1)]);
    assert_eq!(store.transfer(SCRIBE, "nobody", &[(3, 1)]).await.expect("transfer"), [not_member("nobody")]);
    leave(&*store, "c").await;
    assert_eq!(
        store.transfer(SCRIBE, "c", &[(3, 1), (3, 7)]).await.expect("transfer"),
        [not_member("c"), not_member("c")]
    );
    assert_eq!(store.transfer(SCRIBE, "b", &[]).await.expect("transfer"), []);
    let heads = store.heads().await.expect("heads");
    assert_eq!(heads[1], expected);
    assert_eq!((heads[2].epoch, heads[3].epoch, heads[3].owner.as_deref()), (1, 1, Some(SCRIBE)));
    store.close().await.expect("close");
    drop((store, scribe));
    assert_eq!(rig.open().await.heads().await.expect("heads"), heads, "opened again");
}

pub async fn a_transfer_fences_the_one_who_gave(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    join(&*scribe.journal, "b").await;
    let (first, late) = (scribe.record(0, "a"), scribe.record(0, "a"));
    scribe.commit(std::slice::from_ref(&first)).await;
    let moved = scribe.journal.transfer(SCRIBE, "b", &[(0, 1)]).await.expect("transfer");
    assert_eq!(moved[0].as_ref().map(|head| (head.epoch, head.seq)), Ok((2, 1)));
    for epoch in [1, 2, 3] {
        let sent = Record { epoch, ..late.clone() };
        assert_eq!(scribe.append(&[sent]).await, [(0, Refusal::Fenced { current: 2 })]);
    }
    let theirs = Record { epoch: 2, ..late };
    let sent = crate::persistence::Batch::of("b", [theirs.clone()]);
    assert_eq!(scribe.journal.append(sent).await.expect("append"), vec![]);
    assert_eq!(scribe.feed(0).await, [first, theirs]);
}

/// Several move and claim the same slot from the same epoch: one of them has it.
pub async fn of_several_changes_of_owner_one_holds(rig: &dyn Rig) {
    let store = rig.open().await;
    for id in ["n0", "n1", "n2", "n3"] {
        join(&*store, id).await;
    }
    let handles = several(rig, &store, 4).await;
    let mut head = store.claim("n0", &[(0, 0)]).await.expect("claim").remove(0).expect("a new slot");
    for round in 0..30 {
        let owner = head.owner.clone().expect("an owner");
        let changing = handles.iter().enumerate().map(|(n, handle)| {
            let (id, owner, epoch) = (format!("n{n}"), owner.clone(), head.epoch);
            async move {
                let changed = match (round + n) % 2 {
                    0 => handle.claim(&id, &[(0, epoch)]).await,
                    _ => handle.transfer(&owner, &id, &[(0, epoch)]).await,
                };
                (id, changed.expect("a change of owner").remove(0))
            }
        });
        let changed = futures::future::join_all(changing).await;
        let mut held = changed.iter().filter_map(|(id, changed)| Some((id, changed.as_ref().ok()?)));
        let (id, new) = held.next().expect("somebody has it");
        assert!(held.next().is_none(), "round {round}: {changed:?}");
        assert_eq!((new.owner.as_ref(), new.epoch), (Some(id), head.epoch + 1), "round {round}");
        for (_, refused) in changed.iter().filter(|(_, changed)| changed.is_err()) {
            assert_eq!(*refused, Err(Refusal::Fenced { current: new.epoch }), "round {round}");
        }
        for handle in &handles {
            assert_eq!(handle.heads().await.expect("heads")[0], *new, "round {round}: every handle reads it");
        }
        head = new.clone();
    }
}
