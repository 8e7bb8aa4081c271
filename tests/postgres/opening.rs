//! What is checked when a store is opened.

use souk::persistence::conformance::SLOTS;
use souk::persistence::postgres::PostgresStore;
use souk::persistence::{Journal, StoreError};

use super::{limits, name, open, open_with, options, postgres};

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
    let other = PostgresStore::open(options(&url, Some(8), limits())).await;
    let Err(StoreError::Fatal(why)) = other.map(drop) else { panic!("it opens") };
    assert!(why.contains("4 slots") && why.contains("8 are"), "{why}");
    let as_stored = PostgresStore::open(options(&url, None, limits())).await;
    assert_eq!(as_stored.expect("it opens").slots(), SLOTS);
    let empty = postgres::shared().database(&name()).await;
    let asked = PostgresStore::open(options(&empty, None, limits())).await.map(drop);
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
    let Err(StoreError::Fatal(why)) = open_with(&url, limits()).await.map(drop) else { panic!("it opens") };
    assert!(why.contains("version 1000"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_required_where_the_address_says_so() {
    let url = postgres::shared().database(&name()).await;
    let asked = open_with(&format!("{url}?sslmode=verify-full"), limits()).await.map(drop);
    let Err(StoreError::Unavailable(why)) = asked else { panic!("this server has no TLS: {asked:?}") };
    assert!(why.contains("TLS"), "{why}");
}
