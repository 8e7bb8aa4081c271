//! What is checked when a store is opened.

use souk::persistence::conformance::{SLOTS, Scribe};
use souk::persistence::postgres::PostgresStore;
use souk::persistence::{Journal, StoreError};

use super::postgres::Server;
use super::{impatient, name, open, open_with, options, postgres, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_a_new_store_at_once() {
    for _ in 0..10 {
        let url = postgres::shared().database(&name()).await;
        let opening: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { open(&url).await.heads().await.expect("heads").len() })
            })
            .collect();
        for opened in opening {
            assert_eq!(opened.await.expect("it opens"), usize::from(SLOTS));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_slots_is_fixed() {
    let url = postgres::shared().database(&name()).await;
    drop(open(&url).await);
    let other = PostgresStore::open(options(&url, Some(8), settings())).await;
    let Err(StoreError::Fatal(why)) = other.map(drop) else { panic!("it opens") };
    assert!(why.contains("4 slots") && why.contains("8 are"), "{why}");
    let as_stored = PostgresStore::open(options(&url, None, settings())).await;
    assert_eq!(as_stored.expect("it opens").slots(), SLOTS);
    let empty = postgres::shared().database(&name()).await;
    let asked = PostgresStore::open(options(&empty, None, settings())).await.map(drop);
    assert!(matches!(&asked, Err(StoreError::Fatal(why)) if why.contains("no store")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_store_is_refused() {
    let shared = postgres::shared();
    let database = name();
    let url = shared.database(&database).await;
    drop(open(&url).await);
    let client = shared.client(&database).await;
    client.batch_execute("update souk_meta set version = 1000").await.expect("a newer version");
    let Err(StoreError::Fatal(why)) = open_with(&url, settings()).await.map(drop) else { panic!("it opens") };
    assert!(why.contains("version 1000"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_required_where_the_address_says_so() {
    let url = postgres::shared().database(&name()).await;
    let asked = open_with(&format!("{url}?sslmode=verify-full"), settings()).await.map(drop);
    let Err(StoreError::Unavailable(why)) = asked else { panic!("this server has no TLS: {asked:?}") };
    assert!(why.contains("TLS"), "{why}");
}

/// The owner of a database makes the tables; who may only read and write them does the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_superuser_is_needed() {
    let server = Server::new(&[]);
    let admin = server.client("postgres").await;
    admin.batch_execute("create role owner login; create role clerk login").await.expect("roles");
    admin.batch_execute("create database shop owner owner").await.expect("a database");
    let url = |role: &str| server.url("shop").replace("postgres@", &format!("{role}@"));
    let refused = open_with(&url("clerk"), settings()).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("permission denied")), "{refused:?}");
    drop(open(&url("owner")).await);
    let granted = "grant select, insert, update, delete on all tables in schema public to clerk";
    server.client("shop").await.batch_execute(granted).await.expect("rights");
    for role in ["owner", "clerk"] {
        let mut scribe = Scribe::claim(open(&url(role)).await).await;
        let record = scribe.owing(0, role, Some(5));
        scribe.commit(&[record]).await;
        let (now_ms, limit) = (i64::MAX / 2, 10);
        scribe.journal.prune_receipts(now_ms, limit).await.expect("receipts go");
        scribe.journal.drop_snapshots().await.expect("snapshots go");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_do_not_keep_what_they_are_given_are_refused() {
    let server = Server::new(&["fsync=off"]);
    let url = server.database("souk").await;
    let refused = open_with(&url, settings()).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Fatal(why)) if why.contains("fsync = off")), "{refused:?}");
    // One that comes back so is used no more, until it is well.
    let mut turned = Server::new(&[]);
    let url = turned.database("souk").await;
    let store = open(&url).await;
    turned.stop();
    turned.set(&["fsync=off"]);
    turned.start();
    let refused = loop {
        match store.heads().await {
            Err(StoreError::Unavailable(why)) if why.contains("fsync = off") => break why,
            Err(StoreError::Unavailable(_)) => {} // the old connections
            other => panic!("{other:?}"),
        }
    };
    assert!(refused.contains("does not keep"), "{refused}");
    turned.stop();
    turned.set(&["fsync=on"]);
    turned.start();
    while store.heads().await.is_err() {}
    let shared = postgres::shared();
    let odd = name();
    let made = format!("create database {odd} encoding 'SQL_ASCII' template template0");
    shared.client("postgres").await.batch_execute(&made).await.expect("a database");
    let refused = open_with(&shared.url(&odd), settings()).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Fatal(why)) if why.contains("must be UTF8")), "{refused:?}");
}

/// Somebody who opens the store that is there meets a lock: there is a store all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_looked_at_now_is_not_called_missing() {
    let url = postgres::shared().database(&name()).await;
    drop(open(&url).await);
    let holder = postgres::client(&url).await;
    holder.batch_execute("begin; lock table souk_meta").await.expect("a lock");
    let opened = PostgresStore::open(options(&url, None, impatient())).await.map(drop);
    assert!(matches!(&opened, Err(StoreError::Unavailable(_))), "{opened:?}");
    holder.batch_execute("commit").await.expect("the end of the lock");
    PostgresStore::open(options(&url, None, impatient())).await.expect("it opens");
}
