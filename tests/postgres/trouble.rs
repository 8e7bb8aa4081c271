//! Servers in trouble, and what a client of the store makes of it: nothing acknowledged is lost, nothing is
//! done twice, and it goes on by itself.

use std::sync::Arc;

use souk::persistence::conformance::{self, Ack, SCRIBE, Scribe, client_receipt, key};
use souk::persistence::{Batch, Record, Refusal, Store, StoreError};

use super::postgres::Server;
use super::proxy::{Cut, Proxy};
use super::{impatient, name, open, open_with, postgres, settings};

fn batch(records: &[Record]) -> Batch {
    Batch::of(SCRIBE, records.iter().cloned())
}

/// Several who contend on stores of their own, once they are members of it (before, trouble would end them); what
/// they were told.
pub async fn contenders(
    url: &str,
    numbers: std::ops::Range<usize>,
    rounds: usize,
) -> Vec<tokio::task::JoinHandle<Vec<Ack>>> {
    let mut tasks = Vec::new();
    let names: Vec<String> = numbers.clone().map(|n| format!("contender-{n}")).collect();
    for n in numbers {
        let store = open(url).await;
        tasks.push(tokio::spawn(async move {
            let mut acks = Vec::new();
            conformance::contend(store, &format!("contender-{n}"), rounds, |ack| acks.push(ack)).await;
            acks
        }));
    }
    let store = open(url).await;
    let are_members = async || {
        let nodes = store.nodes().await.expect("the node list");
        names.iter().all(|name| nodes.iter().any(|node| node.id == *name))
    };
    while !are_members().await {
        tokio::task::yield_now().await;
    }
    tasks
}

/// Until the store has so many records.
pub async fn grown_to(store: &dyn Store, records: u64) {
    while store.heads().await.expect("heads").iter().map(|head| head.seq).sum::<u64>() < records {
        tokio::task::yield_now().await;
    }
}

/// Its answer is lost after the commit, or the request before it: nobody can tell which, and a claim does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_on_the_way_settles_by_a_claim() {
    let server = postgres::shared();
    let direct = server.database(&name()).await;
    let proxy = Proxy::before(server.port).await;
    let url = direct.replace(&server.port.to_string(), &proxy.address.port().to_string());
    let mut scribe = Scribe::claim(open(&url).await).await;
    let mut written = Vec::new();
    for _ in 0..2 {
        let record = Record { receipt: Some(client_receipt(i64::MAX / 2)), ..scribe.record(0, "a") };
        scribe.commit(std::slice::from_ref(&record)).await; // the second time, with the statement that follows
        written.push(record);
    }
    for (epoch, cut) in (1..).zip([Cut::Answer, Cut::Request, Cut::Answer]) {
        let mut record = scribe.record(0, "a");
        (record.epoch, record.seq, record.version) = (epoch, written.len() as u64 + 1, written.len() as u64 + 1);
        record.receipt = Some(client_receipt(i64::MAX / 2));
        proxy.cut(cut);
        let outcome = scribe.journal.append(batch(std::slice::from_ref(&record))).await;
        assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{cut:?}: {outcome:?}");
        assert!(proxy.has_cut());
        let claimed = scribe.journal.claim(SCRIBE, &[(0, epoch)]).await.expect("a claim");
        let receipt = scribe.journal.find_receipt(0, &key("a"), &record.request).await.expect("find_receipt");
        match cut {
            Cut::Answer => {
                assert_eq!(receipt, Some(record.clone()), "the receipt decides");
                written.push(record.clone());
            }
            Cut::Request | Cut::Nothing => assert_eq!(receipt, None),
        }
        assert_eq!(claimed[0].as_ref().map(|head| head.seq), Ok(written.len() as u64), "{cut:?}");
        let again = scribe.journal.append(batch(&[record])).await.expect("append");
        assert_eq!(again, [(0, Refusal::Fenced { current: epoch + 1 })], "never twice");
        assert_eq!(scribe.feed(0).await, written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_or_crashes_loses_nothing() {
    let mut server = Server::new(&[]);
    let url = server.database("souk").await;
    let store = open(&url).await;
    let tasks = contenders(&url, 0..3, 60).await;
    grown_to(&*store, 60).await;
    server.stop();
    let down = store.heads().await;
    assert!(matches!(down, Err(StoreError::Unavailable(_))), "{down:?}");
    server.start();
    let records: u64 = store.heads().await.expect("it is back").iter().map(|head| head.seq).sum();
    let more = contenders(&url, 3..5, 60).await;
    grown_to(&*store, records + 60).await;
    server.kill();
    server.start();
    let mut acks = Vec::new();
    for task in tasks.into_iter().chain(more) {
        acks.extend(task.await.expect("a contender"));
    }
    assert!(conformance::verify(&*store, &acks).await >= 120);
    let mut scribe = Scribe::at(store.clone(), Vec::new());
    scribe = Scribe::claim(scribe.journal).await;
    let record = scribe.record_of(0, key("after"), 1);
    scribe.commit(&[record]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_is_not_waited_for_and_what_it_does_later_is_settled() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let mut scribe = Scribe::claim(open_with(&url, impatient()).await.expect("it opens")).await;
    let before = [scribe.record(0, "a"), scribe.record(0, "a")];
    for record in &before {
        scribe.commit(std::slice::from_ref(record)).await; // the second time, with the statement that follows
    }
    let last = scribe.record(0, "a");
    server.freeze();
    let outcome = scribe.journal.append(batch(std::slice::from_ref(&last))).await;
    assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{outcome:?}");
    let read = scribe.journal.feed(0, 0, 10).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let again = scribe.journal.append(batch(std::slice::from_ref(&last))).await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))), "there is no connection to be had: {again:?}");
    server.thaw();
    let head = scribe.journal.claim(SCRIBE, &[(0, 1)]).await.expect("a claim").remove(0).expect("its own slot");
    let feed = scribe.feed(0).await;
    let [first, second] = before;
    let all = [first, second, last.clone()];
    assert_eq!(feed, all[..head.seq as usize], "what the claim says is all there will be");
    let late = scribe.journal.append(batch(&[last])).await.expect("append");
    assert_eq!(late, [(0, Refusal::Fenced { current: 2 })]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_free_connections_nothing_is_written_and_it_goes_on_when_there_are() {
    let server = Server::new(&["max_connections=4", "superuser_reserved_connections=0", "max_wal_senders=0"]);
    let url = server.database("souk").await;
    let store = open_with(&url, impatient()).await.expect("it opens");
    let mut scribe = Scribe::claim(store).await; // one connection for reads, one for claims
    let mut others = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        others.push(client);
    }
    let record = scribe.record(0, "a");
    let outcome = scribe.journal.append(batch(std::slice::from_ref(&record))).await;
    assert!(matches!(&outcome, Err(StoreError::Unavailable(why)) if why.contains("53300")), "{outcome:?}");
    assert_eq!(scribe.feed(0).await, [], "and those that it has, it keeps");
    let newcomer = open_with(&url, impatient()).await.map(drop);
    assert!(matches!(newcomer, Err(StoreError::Unavailable(_))), "{newcomer:?}");
    drop(others);
    loop {
        match scribe.journal.append(batch(std::slice::from_ref(&record))).await {
            Ok(refused) => break assert_eq!(refused, []),
            Err(StoreError::Unavailable(_)) => {} // the server has not noticed yet
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(scribe.feed(0).await, [record]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_writes_is_unavailable_for_them() {
    let server = postgres::shared();
    let database = name();
    let url = server.database(&database).await;
    let admin = server.client("postgres").await;
    let store: Arc<dyn Store> = open_with(&url, settings()).await.expect("it opens");
    let mut scribe = Scribe::claim(store).await;
    let first = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&first)).await;
    let read_only = format!("alter database {database} set default_transaction_read_only = on");
    admin.batch_execute(&read_only).await.expect("read only");
    let to_end = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = $1";
    admin.query(to_end, &[&database]).await.expect("new sessions");
    let second = scribe.record(0, "a");
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(scribe.journal.append(batch(std::slice::from_ref(&second))).await);
    }
    let refused = |answer: &Result<_, StoreError>| matches!(answer, Err(StoreError::Unavailable(_)));
    assert!(answers[1..].iter().all(refused), "{answers:?}");
    assert!(scribe.journal.claim(SCRIBE, &[(1, 1)]).await.is_err());
    assert_eq!(scribe.feed(0).await, std::slice::from_ref(&first), "reads go on");
    let writable = format!("alter database {database} reset default_transaction_read_only");
    admin.batch_execute(&writable).await.expect("writable");
    admin.query(to_end, &[&database]).await.expect("new sessions");
    let head = loop {
        match scribe.journal.claim(SCRIBE, &[(0, 1)]).await {
            Ok(mut claimed) => break claimed.remove(0).expect("its own"),
            Err(error) => assert!(!matches!(error, StoreError::Fatal(_)), "{error}"),
        }
    };
    let second = Record { epoch: head.epoch, ..second };
    scribe.commit(std::slice::from_ref(&second)).await;
    assert_eq!(scribe.feed(0).await, [first, second]);
}
