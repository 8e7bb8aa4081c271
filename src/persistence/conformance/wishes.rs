//! The wishes of operators, nodes that are forgotten, and the one read of all tables.

use super::members::{is_conflict, join, leave, node, not_member};
use super::{Rig, SCRIBE, SLOTS, Scribe, several};
use crate::persistence::membership::{REASON_BYTES_MAX, TEXT_BYTES_MAX};
use crate::persistence::{Batch, NodeRow, NodeState, Refusal, Slot, Store, Subject, Wish, WishRow};

fn row(wish: Wish) -> WishRow {
    WishRow { wish, by: "usr_1".to_owned(), reason: "før flytning".to_owned(), at_ms: 1_700_000_000_000 }
}

fn cordon(node: &str) -> WishRow {
    row(Wish::Cordon { node: node.to_owned() })
}

fn drain(node: &str) -> WishRow {
    row(Wish::Drain { node: node.to_owned() })
}

fn pin(slot: Slot, name: &str) -> WishRow {
    row(Wish::Pin { slot, name: name.to_owned() })
}

fn moved(slot: Slot, to: &str) -> WishRow {
    row(Wish::Move { slot, to: to.to_owned() })
}

async fn wish(store: &dyn Store, row: &WishRow) {
    assert_eq!(store.wish(row).await.expect("wish"), Ok(()), "{row:?}");
}

async fn wishes(store: &dyn Store) -> Vec<WishRow> {
    store.wishes().await.expect("wishes")
}

async fn forget(store: &dyn Store, id: &str, lease: u64) -> Result<(), Refusal> {
    store.forget(id, lease).await.expect("forget")
}

pub async fn wishes_are_kept(rig: &dyn Rig) {
    let store = rig.open().await;
    assert_eq!(wishes(&*store).await, vec![]);
    join(&*store, "a#1").await;
    join(&*store, "b#1").await;
    for row in [pin(3, "nobody"), moved(0, "b#1"), cordon("b#1"), cordon("a#1"), drain("a#1"), moved(3, "a#1")] {
        wish(&*store, &row).await;
        wish(&*store, &row).await;
    }
    let bare = WishRow { by: String::new(), reason: String::new(), at_ms: i64::MIN, ..pin(1, "b") };
    wish(&*store, &bare).await;
    let kept = [drain("a#1"), cordon("b#1"), moved(0, "b#1"), bare, moved(3, "a#1")];
    assert_eq!(wishes(&*store).await, kept, "the last of each, nodes by id and then slots");
    for of in [Subject::Slot(0), Subject::Slot(2), Subject::Slot(SLOTS), Subject::Node("b#1".to_owned())] {
        store.unwish(&of).await.expect("unwish");
        store.unwish(&of).await.expect("it is well that nothing is there");
    }
    for nobody in ["", "nobody", "zero\0byte"] {
        store.unwish(&Subject::Node(nobody.to_owned())).await.expect("unwish");
    }
    let left = [&kept[0], &kept[3], &kept[4]].map(WishRow::clone);
    for handle in several(rig, &store, 2).await {
        assert_eq!(wishes(&*handle).await, left);
    }
    store.close().await.expect("close");
    drop(store);
    assert_eq!(wishes(&*rig.open().await).await, left, "opened again");
}

pub async fn a_cordon_ends_no_drain(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "a").await;
    for (asked, stands) in [(cordon("a"), cordon("a")), (drain("a"), drain("a")), (cordon("a"), drain("a"))] {
        wish(&*store, &asked).await;
        assert_eq!(wishes(&*store).await, [stands]);
    }
    store.close().await.expect("close");
    drop(store);
    let store = rig.open().await;
    assert_eq!(wishes(&*store).await, [drain("a")], "opened again");
    store.unwish(&Subject::Node("a".to_owned())).await.expect("unwish");
    wish(&*store, &cordon("a")).await;
    assert_eq!(wishes(&*store).await, [cordon("a")], "an uncordon ends both");
}

pub async fn wishes_that_cannot_be_are_refused(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "a").await;
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    for broken in [
        cordon(""),
        drain(&long),
        pin(0, "zero\0byte"),
        pin(SLOTS, "a"),
        moved(SLOTS, "a"),
        WishRow { by: long.clone(), ..cordon("a") },
        WishRow { by: "a\0".to_owned(), ..cordon("a") },
        WishRow { reason: "x".repeat(REASON_BYTES_MAX + 1), ..cordon("a") },
        WishRow { reason: "\0".to_owned(), ..cordon("a") },
    ] {
        assert!(matches!(store.wish(&broken).await.expect("wish"), Err(Refusal::Rejected(_))), "{broken:?}");
    }
    assert_eq!(store.wish(&cordon("b")).await.expect("wish"), not_member("b"));
    assert_eq!(store.wish(&moved(0, "b")).await.expect("wish"), not_member("b"));
    assert_eq!(wishes(&*store).await, vec![]);
    let longest = WishRow { by: "y".repeat(TEXT_BYTES_MAX), reason: "z".repeat(REASON_BYTES_MAX), ..cordon("a") };
    wish(&*store, &longest).await;
    leave(&*store, "a").await;
    for late in [drain("a"), moved(0, "a")] {
        assert_eq!(store.wish(&late).await.expect("wish"), not_member("a"));
    }
    assert_eq!(wishes(&*store).await, [longest], "what was wished before stays");
}

/// Many ask for the same slot and the same node at once: there is one row for each, and it is somebody's.
pub async fn of_several_wishes_the_last_is_kept(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "a").await;
    let handles = several(rig, &store, 4).await;
    for round in 0..10 {
        let asking = handles.iter().zip(0i64..).map(|(handle, n)| async move {
            let by = |row: WishRow| WishRow { at_ms: round * 10 + n, ..row };
            wish(&**handle, &by(pin(1, "a"))).await;
            wish(&**handle, &by(if n % 2 == 0 { cordon("a") } else { drain("a") })).await;
        });
        futures::future::join_all(asking).await;
        let kept = wishes(&*store).await;
        assert_eq!(
            kept.iter().map(|row| row.wish.subject()).collect::<Vec<_>>(),
            [Subject::Node("a".to_owned()), Subject::Slot(1)]
        );
        assert!(kept.iter().all(|row| row.at_ms / 10 == round), "round {round}: {kept:?}");
        assert!(matches!(kept[0].wish, Wish::Drain { .. }), "round {round}: {kept:?}");
    }
}

pub async fn a_node_that_is_gone_is_forgotten(rig: &dyn Rig) {
    let store = rig.open().await;
    assert_eq!(forget(&*store, "nobody", 0).await, Ok(()), "it is not there");
    for id in ["a", "b", "c"] {
        join(&*store, id).await;
    }
    assert_eq!(store.renew(&node("b")).await.expect("renew"), Ok(1));
    leave(&*store, "a").await;
    for row in [drain("b"), cordon("c"), moved(0, "b"), moved(1, "c"), pin(2, "b")] {
        wish(&*store, &row).await;
    }
    assert!(is_conflict(&forget(&*store, "b", 0).await), "it lives: the counter has gone on");
    assert!(is_conflict(&forget(&*store, "b", 2).await));
    assert_eq!(forget(&*store, "zero\0byte", 0).await, Ok(()));
    assert_eq!(store.nodes().await.expect("nodes").len(), 3);
    assert_eq!(forget(&*store, "a", 77).await, Ok(()), "who has left needs no counter");
    assert_eq!(forget(&*store, "b", 1).await, Ok(()), "the counter stands where it was read");
    assert_eq!(forget(&*store, "b", 1).await, Ok(()), "twice is well");
    let gone = ["a", "b"];
    for opened_again in [false, true] {
        let store = if opened_again { several(rig, &store, 1).await.remove(0) } else { store.clone() };
        assert_eq!(store.nodes().await.expect("nodes"), [node("c")]);
        assert_eq!(wishes(&*store).await, [cordon("c"), moved(1, "c"), pin(2, "b")], "a name is no node");
        for id in gone {
            assert_eq!(store.renew(&NodeRow { lease: 1, ..node(id) }).await.expect("renew"), not_member(id));
            assert_eq!(store.leave(id).await.expect("leave"), not_member(id));
            assert_eq!(store.claim(id, &[(0, 0)]).await.expect("claim"), [not_member(id)]);
            assert_eq!(store.transfer("c", id, &[(0, 0)]).await.expect("transfer"), [not_member(id)]);
            assert_eq!(store.wish(&cordon(id)).await.expect("wish"), not_member(id));
        }
    }
    assert!(is_conflict(&forget(&*store, "c", 0).await), "the last one stays: a list is never empty again");
    leave(&*store, "c").await;
    assert!(is_conflict(&forget(&*store, "c", 0).await));
    assert_eq!(store.claim("b", &[(0, 0)]).await.expect("claim"), [not_member("b")]);
    store.close().await.expect("close");
    drop(store);
    let store = rig.open().await;
    assert_eq!(store.nodes().await.expect("nodes"), [NodeRow { state: NodeState::Left, ..node("c") }], "opened again");
    assert_eq!(wishes(&*store).await.len(), 3);
    assert_eq!(store.claim("b", &[(0, 0)]).await.expect("claim"), [not_member("b")]);
}

/// A row that was long, in stores that keep it in parts, leaves nothing behind.
pub async fn a_long_row_is_forgotten_whole(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "z").await;
    let unreachable: Vec<String> = (0..900).map(|n| format!("{n:030}")).collect();
    for _ in 0..2 {
        assert_eq!(store.join(&NodeRow { unreachable: unreachable.clone(), ..node("a") }).await.expect("join"), Ok(()));
        assert_eq!(forget(&*store, "a", 0).await, Ok(()));
        assert_eq!(store.nodes().await.expect("nodes"), [node("z")]);
    }
    store.close().await.expect("close");
    drop(store);
    assert_eq!(rig.open().await.nodes().await.expect("nodes"), [node("z")], "opened again");
}

pub async fn a_node_that_owns_a_slot_is_not_forgotten(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let store = scribe.journal.clone();
    for id in ["a", "b"] {
        join(&*store, id).await;
    }
    let late = scribe.record(2, "x");
    assert!(store.transfer(SCRIBE, "a", &[(2, 1)]).await.expect("transfer")[0].is_ok());
    assert!(is_conflict(&forget(&*store, "a", 0).await));
    leave(&*store, "a").await;
    assert!(is_conflict(&forget(&*store, "a", 0).await), "also when it has left");
    assert_eq!(store.claim("b", &[(2, 2)]).await.expect("claim")[0].as_ref().map(|head| head.epoch), Ok(3));
    assert_eq!(forget(&*store, "a", 0).await, Ok(()));
    // What it still sends is fenced, by owner and by epoch.
    for epoch in [2, 3] {
        let batch = Batch::of("a", [crate::persistence::Record { epoch, ..late.clone() }]);
        assert_eq!(store.append(batch).await.expect("append"), [(2, Refusal::Fenced { current: 3 })]);
    }
}

/// Either it lives or it is forgotten, and no wish is left of a node that is.
pub async fn who_renews_and_who_forgets_meet(rig: &dyn Rig) {
    let store = rig.open().await;
    join(&*store, "stays").await;
    let handles = several(rig, &store, 3).await;
    for round in 0..20 {
        let id = format!("node-{round}");
        join(&*store, &id).await;
        let this = node(&id);
        let (row, placed) = (cordon(&id), moved(1, &id));
        let (renewed, forgotten, ..) = futures::join!(
            async { handles[0].renew(&this).await.expect("renew") },
            async { handles[1].forget(&id, 0).await.expect("forget") },
            async { handles[2].wish(&row).await.expect("wish") },
            async { store.wish(&placed).await.expect("wish") },
        );
        let listed = store.nodes().await.expect("nodes").iter().any(|row| row.id == id);
        match (&renewed, &forgotten) {
            (Ok(1), Err(Refusal::Conflict(_))) => assert!(listed, "round {round}"),
            (Err(Refusal::NotMember(_)), Ok(())) => {
                assert!(!listed, "round {round}");
                let left = wishes(&*store).await;
                assert!(left.iter().all(|row| row.wish.node() != Some(&id)), "round {round}: {left:?}");
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
}

pub async fn the_tables_are_what_the_single_reads_say(rig: &dyn Rig) {
    let store = rig.open().await;
    let empty = store.tables().await.expect("tables");
    assert_eq!((empty.slots.len(), empty.nodes.len(), empty.wishes.len()), (usize::from(SLOTS), 0, 0));
    assert!(empty.slots.iter().all(|slot| slot.owner.is_none() && slot.epoch == 0));
    for id in ["a", "b#10", "b#2"] {
        join(&*store, id).await;
    }
    assert!(store.claim("a", &[(0, 0), (2, 0)]).await.expect("claim").iter().all(Result::is_ok));
    assert!(store.claim("b#2", &[(3, 0)]).await.expect("claim")[0].is_ok());
    assert!(store.claim("a", &[(2, 1)]).await.expect("claim")[0].is_ok());
    leave(&*store, "b#10").await;
    for row in [moved(2, "b#2"), pin(0, "b"), drain("a")] {
        wish(&*store, &row).await;
    }
    for handle in several(rig, &store, 2).await {
        let tables = handle.tables().await.expect("tables");
        assert_eq!(tables.nodes, store.nodes().await.expect("nodes"));
        assert_eq!(tables.wishes, [drain("a"), pin(0, "b"), moved(2, "b#2")]);
        let heads = store.heads().await.expect("heads");
        assert_eq!(tables.slots, crate::persistence::membership::owners(&heads));
        let of = |slot: usize| (tables.slots[slot].owner.as_deref(), tables.slots[slot].epoch);
        assert_eq!([of(0), of(1), of(2), of(3)], [(Some("a"), 1), (None, 0), (Some("a"), 2), (Some("b#2"), 1)]);
    }
}
