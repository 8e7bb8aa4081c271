//! Rows that are not there, though others say so: nobody serves a store as if they had never been.

use souk::persistence::conformance::{SCRIBE, Scribe, client_receipt, key};
use souk::persistence::{Record, StoreError};

use super::{name, open, postgres};

/// A slot with five records of one entity, each with a receipt, and something owed since the last.
async fn scribe(database: &str) -> (Scribe, Vec<Record>) {
    let url = postgres::shared().database(database).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    let mut written = Vec::new();
    for n in 0..5 {
        let record = if n == 4 { scribe.owing(0, "a", Some(5)) } else { scribe.record(0, "a") };
        let record = Record { receipt: Some(client_receipt(i64::MAX / 2)), ..record };
        scribe.commit(std::slice::from_ref(&record)).await;
        written.push(record);
    }
    (scribe, written)
}

fn is_damage<T: std::fmt::Debug>(answer: Result<T, StoreError>, what: &str) {
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "{what}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_missing_is_damage_to_whoever_needs_it() {
    let database = name();
    let (scribe, written) = scribe(&database).await;
    let admin = postgres::shared().client(&database).await;
    admin.batch_execute("delete from souk_records where seq = 3").await.expect("gone");
    let store = &scribe.journal;
    is_damage(store.find_receipt(0, &key("a"), &written[2].request).await, "its receipt");
    let receipt = store.find_receipt(0, &key("a"), &written[1].request).await.expect("another");
    assert_eq!(receipt.as_ref(), Some(&written[1]));
    is_damage(store.load(0, &key("a")).await, "its entity");
    is_damage(store.records(0, &key("a"), 0, 100).await, "its entity's records");
    assert_eq!(store.records(0, &key("a"), 3, 100).await.expect("those behind it"), written[3..]);
    admin.batch_execute("delete from souk_records where seq = 5").await.expect("gone");
    is_damage(store.owed(0, None, 10).await, "what it owes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_records_do_not_end_where_it_says_is_not_taken_for_sound() {
    for spoilt in ["update souk_slots set seq = 4 where slot = 0", "update souk_slots set seq = 6 where slot = 0"] {
        let database = name();
        let (scribe, _) = scribe(&database).await;
        let admin = postgres::shared().client(&database).await;
        admin.batch_execute(spoilt).await.expect("spoilt");
        is_damage(scribe.journal.claim(SCRIBE, &[(0, 1)]).await, spoilt);
        let claimed = scribe.journal.claim(SCRIBE, &[(1, 1)]).await.expect("the others are well");
        assert_eq!(claimed[0].as_ref().map(|head| head.epoch), Ok(2));
        admin.batch_execute("update souk_slots set seq = 5 where slot = 0").await.expect("repaired");
        let epoch = scribe.journal.heads().await.expect("heads")[0].epoch;
        let claimed = scribe.journal.claim(SCRIBE, &[(0, epoch)]).await.expect("it is well again");
        assert_eq!(claimed[0].as_ref().map(|head| head.seq), Ok(5));
    }
}
