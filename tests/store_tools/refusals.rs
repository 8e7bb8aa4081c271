//! What is not copied, and what is not checked.

use std::sync::Arc;
use std::time::Duration;

use souk::persistence::memory::Memory;
use souk::persistence::{Membership, NodeRow, NodeState};
use souk::upkeep::copy::ensure_unserved;

use crate::moving::made;
use crate::{embedded, shop, store};

#[tokio::test]
async fn what_cannot_be_copied_or_checked_is_refused_and_nothing_is_touched() {
    let home = tempfile::tempdir().expect("a folder");
    let at = |name: &str| home.path().join(name);
    let nothing = at("nothing");
    let from = embedded("sled", &at("from"));
    made(&from, 8, 40).await;
    for command in [&["check", &embedded("sled", &nothing)][..], &["copy", &embedded("fjall", &nothing), &from][..]] {
        store(command).refused(1, "there is no store at");
    }
    assert!(!nothing.exists(), "nothing was created");
    store(&["check", "--data", &nothing.display().to_string()]).refused(1, "there is no store at");
    store(&["check", "--store", "memory"]).refused(2, "memory");
    store(&["check", "oracle:x"]).refused(2, "a store is sled:DIR");
    store(&["copy", &from, "mysql://u:hunter2@h/d"]).refused(2, "a store is sled:DIR");
    store(&["copy", &from, &from]).refused(2, "into itself");
    store(&["copy", &from, &embedded("sled", &at("from/../from"))]).refused(2, "into itself");
    store(&["check", &embedded("fjall", &at("from"))]).refused(1, "was created with sled");

    let fewer = embedded("fjall", &at("fewer"));
    made(&fewer, 4, 40).await;
    store(&["copy", &from, &fewer]).refused(1, "was created with 4 slots");
    let other = embedded("fjall", &at("other"));
    made(&other, 8, 44).await;
    store(&["copy", &from, &other]).refused(1, "the new store is not empty");
    // What was copied from another store is no beginning of this one.
    let third = embedded("sled", &at("third"));
    store(&["copy", &other, &third]).well();
    store(&["copy", &from, &third]).refused(1, "the new store holds something else");
    store(&["copy", &other, &third]).well();

    let data = at("served");
    let server = shop::serve(home.path(), "sled", &data);
    let served = embedded("sled", &data);
    store(&["check", &served]).refused(1, "is open in another process");
    store(&["copy", &served, &embedded("fjall", &nothing)]).refused(1, "is open in another process");
    assert!(!nothing.exists(), "nothing was created");
    assert!(server.stop().status.success());
    store(&["copy", &served, &embedded("fjall", &nothing)]).well();
}

fn node(id: &str) -> NodeRow {
    NodeRow {
        id: id.to_owned(),
        name: "a".to_owned(),
        http: "h:1".to_owned(),
        link: "l:2".to_owned(),
        reads: (1, 1),
        writes: 1,
        lease: 1,
        state: NodeState::Serving,
        unreachable: Vec::new(),
    }
}

/// Time is the test's own: nothing waits.
#[tokio::test(start_paused = true)]
async fn a_store_is_not_copied_while_a_node_renews_its_lease() {
    let store = Arc::new(Memory::new(8));
    ensure_unserved(&store).await.expect("nobody is there");
    for id in ["a#1", "b#1", "c#1"] {
        store.join(&node(id)).await.expect("the store answers").expect("it joins");
    }
    store.leave("b#1").await.expect("the store answers").expect("it leaves");
    ensure_unserved(&store).await.expect("two have died, and one has left");
    let renewing = store.clone();
    let renewing = tokio::spawn(async move {
        let mut row = node("c#1");
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            row.lease = renewing.renew(&row).await.expect("the store answers").expect("it renews");
        }
    });
    let refused = ensure_unserved(&store).await.expect_err("one lives").to_string();
    assert!(refused.contains("node c#1 serves it"), "{refused}");
    renewing.abort();
    let joining = store.clone();
    let joins = async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        joining.join(&node("d#1")).await.expect("the store answers").expect("it joins");
    };
    let (refused, ()) = tokio::join!(ensure_unserved(&store), joins);
    assert!(refused.expect_err("one came").to_string().contains("node d#1 serves it"));
}
