//! What is not copied, and what is not checked.

use souk::persistence::embedded::EngineKind::{Fjall, Sled};

use super::moving::made;
use super::{embedded, shop, store};
use crate::stores::{Kind, TestStore};

#[tokio::test]
async fn what_cannot_be_copied_or_checked_is_refused_and_nothing_is_touched() {
    let home = tempfile::tempdir().expect("a folder");
    let at = |name: &str| home.path().join(name);
    let nothing = at("nothing");
    let from = embedded(Sled, &at("from"));
    made(&from, 8, 40).await;
    for command in [&["check", &embedded(Sled, &nothing)][..], &["copy", &embedded(Fjall, &nothing), &from][..]] {
        store(command).refused(1, "there is no store at");
    }
    assert!(!nothing.exists(), "nothing was created");
    store(&["check", "--data", &nothing.display().to_string()]).refused(1, "there is no store at");
    store(&["check", "--store", "memory"]).refused(2, "memory");
    store(&["check", "oracle:x"]).refused(2, "a store is sled:DIR");
    store(&["copy", &from, "mysql://u:hunter2@h/d"]).refused(2, "a store is sled:DIR");
    store(&["copy", &from, &from]).refused(2, "into itself");
    store(&["copy", &from, &embedded(Sled, &at("from/../from"))]).refused(2, "into itself");
    store(&["check", &embedded(Fjall, &at("from"))]).refused(1, "was created with sled");

    let fewer = embedded(Fjall, &at("fewer"));
    made(&fewer, 4, 40).await;
    store(&["copy", &from, &fewer]).refused(1, "was created with 4 slots");
    let other = embedded(Fjall, &at("other"));
    made(&other, 8, 44).await;
    store(&["copy", &from, &other]).refused(1, "the new store is not empty");
    // What was copied from another store is no beginning of this one.
    let third = embedded(Sled, &at("third"));
    store(&["copy", &other, &third]).well();
    store(&["copy", &from, &third]).refused(1, "the new store holds something else");
    store(&["copy", &other, &third]).well();

    let data = at("served");
    let served = embedded(Sled, &data);
    let server = shop::serve(home.path(), &served);
    store(&["check", &served]).refused(1, "is open in another process");
    store(&["copy", &served, &embedded(Fjall, &nothing)]).refused(1, "is open in another process");
    assert!(!nothing.exists(), "nothing was created");
    assert!(server.stop().status.success());
    store(&["copy", &served, &embedded(Fjall, &nothing)]).well();
}

/// Many may reach a shared store; while one serves it, it is read and not copied.
#[tokio::test]
async fn a_shared_store_that_is_served_is_not_copied_and_can_be_checked() {
    let home = tempfile::tempdir().expect("a folder");
    let to = embedded(Fjall, &home.path().join("to"));
    for kind in [Kind::Postgres, Kind::Redis] {
        let served = TestStore::of(kind, home.path());
        let server = shop::serve(home.path(), &served.address);
        store(&["copy", &served.address, &to]).refused(1, "the store is in use by node");
        assert!(!home.path().join("to").exists(), "nothing was created");
        store(&["check", &served.address]).well();
        assert!(server.stop().status.success());
    }
}
