//! Servers in trouble, and what a client of the store makes of it: nothing acknowledged is lost, nothing is done
//! twice, nothing is half done, and it goes on by itself.

use souk::persistence::conformance::{self, Ack, SCRIBE, Scribe, client_receipt, key, verify};
use souk::persistence::redis::RedisStore;
use souk::persistence::{Batch, Record, Refusal, Store, StoreError};
use tokio::task::JoinHandle;

use super::proxy::{Cut, Proxy};
use super::server::{self, CAREFUL, Server};
use super::{changed, name, open, open_with, options};

fn batch(records: &[Record]) -> Batch {
    Batch::of(SCRIBE, records.iter().cloned())
}

/// Several who contend on stores of their own; what they are told.
async fn contenders(url: &str, count: usize, rounds: usize) -> Vec<JoinHandle<Vec<Ack>>> {
    let mut tasks = Vec::new();
    for n in 0..count {
        let store = open_with(changed(url, |settings| settings.answer_ms = 1_000)).await;
        tasks.push(tokio::spawn(async move {
            let mut acks = Vec::new();
            conformance::contend(store, &format!("contender-{n}"), rounds, |ack| acks.push(ack)).await;
            acks
        }));
    }
    tasks
}

async fn settled(tasks: Vec<JoinHandle<Vec<Ack>>>) -> Vec<Ack> {
    let mut acks = Vec::new();
    for task in tasks {
        acks.extend(task.await.expect("a contender"));
    }
    acks
}

/// Until the store has so many records.
async fn grown_to(store: &dyn Store, records: u64) {
    loop {
        match store.heads().await {
            Ok(heads) if heads.iter().map(|head| head.seq).sum::<u64>() >= records => return,
            Ok(_) | Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Appends until the store takes it again.
async fn until_it_is_taken(store: &dyn Store, record: &Record) {
    loop {
        match store.append(batch(std::slice::from_ref(record))).await {
            Ok(refused) => return assert_eq!(refused, vec![]),
            Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// The connection goes with the answer, or with the request: the call is sent again and known by its number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again_and_nothing_is_done_twice() {
    let server = server::shared();
    let proxy = Proxy::before(server.port).await;
    let url = server.url(&name()).replace(&server.port.to_string(), &proxy.address.port().to_string());
    let mut scribe = Scribe::claim(open(&url).await).await;
    let mut written = vec![scribe.record(0, "a")];
    scribe.commit(&written).await;
    for cut in [Cut::Answer, Cut::Request, Cut::Answer] {
        let mut record = scribe.owing(0, "a", Some(5));
        record.receipt = Some(client_receipt(i64::MAX / 2));
        proxy.cut(cut);
        assert_eq!(scribe.append(std::slice::from_ref(&record)).await, vec![], "{cut:?}");
        assert!(proxy.has_cut());
        let found = scribe.journal.find_receipt(0, &key("a"), &record.request).await.expect("find_receipt");
        assert_eq!(found.as_ref(), Some(&record), "{cut:?}");
        written.push(record);
        assert_eq!(scribe.feed(0).await, written, "{cut:?}: once");
    }
}

/// Where what is sent again is refused, nobody knows what became of the first: the claim decides, and the receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_the_second_time_is_unknown() {
    let server = server::shared();
    let proxy = Proxy::before(server.port).await;
    let prefix = name();
    let url = server.url(&prefix).replace(&server.port.to_string(), &proxy.address.port().to_string());
    let mut scribe = Scribe::claim(open(&url).await).await;
    let first = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&first)).await;
    let other = open(&server.url(&prefix)).await;
    other.claim("other", &[(0, 1)]).await.expect("claim")[0].clone().expect("taken");
    let late = scribe.record(0, "a");
    proxy.cut(Cut::Answer);
    let outcome = scribe.journal.append(batch(std::slice::from_ref(&late))).await;
    assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{outcome:?}");
    let refused = scribe.append(std::slice::from_ref(&late)).await;
    assert_eq!(refused, [(0, Refusal::Fenced { current: 2 })]);
    assert_eq!(scribe.feed(0).await, [first]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_has_everything_that_was_acknowledged() {
    let server = Server::start(CAREFUL);
    let url = server.url("kills");
    let store = open(&url).await;
    let running = contenders(&url, 4, 60).await;
    for round in 1..=3 {
        grown_to(&*store, round * 60).await;
        server.kill();
        server.go_on();
    }
    let acks = settled(running).await;
    let records = verify(&*store, &acks).await;
    assert!(records > 300, "{records}");
}

/// Stopped for longer than an answer may take: what was sent then is unknown, arrives all the same when the server
/// goes on, and finds another epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_loses_nothing_and_does_nothing_late() {
    let server = Server::start(CAREFUL);
    let url = server.url("stall");
    let impatient = changed(&url, |settings| settings.answer_ms = 300);
    let mut scribe = Scribe::claim(open_with(impatient).await).await;
    let first = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&first)).await;
    server.signal("STOP");
    let late = scribe.record(0, "a");
    let outcome = scribe.journal.append(batch(std::slice::from_ref(&late))).await;
    assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{outcome:?}");
    let read = scribe.journal.feed(0, 0, 9).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let claimed = scribe.journal.claim(SCRIBE, &[(0, 1)]).await;
    assert!(matches!(claimed, Err(StoreError::Unavailable(_) | StoreError::Unknown(_))), "{claimed:?}");
    server.signal("CONT");
    let store = open(&url).await;
    let epoch = store.heads().await.expect("heads")[0].epoch;
    let head = store.claim(SCRIBE, &[(0, epoch)]).await.expect("claim")[0].clone().expect("its own");
    let feed = store.feed(0, 0, 9).await.expect("feed");
    assert_eq!(feed.len() as u64, head.seq);
    assert!(feed == [first.clone()] || feed == [first, late.clone()]);
    assert_eq!(scribe.append(&[late]).await, [(0, Refusal::Fenced { current: head.epoch })], "the old client, again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_refuses_and_nothing_is_half_written() {
    let server = Server::start(CAREFUL);
    let mut scribe = Scribe::claim(open(&server.url("full")).await).await;
    let first = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&first)).await;
    server.say(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let records = [scribe.owing(0, "a", Some(5)), scribe.record(1, "b"), scribe.record(2, "c")];
    let outcome = scribe.journal.append(batch(&records)).await;
    assert!(matches!(&outcome, Err(StoreError::Unavailable(why)) if why.contains("OOM")), "{outcome:?}");
    assert_eq!(scribe.feed(0).await, std::slice::from_ref(&first), "and reads are answered");
    assert_eq!((scribe.feed(1).await, scribe.journal.owed(0, None, 9).await.expect("owed")), (vec![], vec![]));
    server.say(&["CONFIG", "SET", "maxmemory", "0"]).await;
    scribe.commit(&records).await;
}

/// A snapshot to a disk that fails makes Redis refuse writes, unless it is told not to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_save_refuses_and_nothing_is_half_written() {
    let server = Server::start(CAREFUL);
    let mut scribe = Scribe::claim(open(&server.url("misconf")).await).await;
    let record = scribe.record(0, "a");
    // A folder stands where the snapshot is to go.
    std::fs::create_dir(server.folder().join("dump.rdb")).expect("a folder");
    std::fs::write(server.folder().join("dump.rdb/in the way"), "").expect("a file");
    server.say(&["CONFIG", "SET", "save", "3600 100000000"]).await;
    server.say(&["BGSAVE"]).await;
    let info = async || match server.say(&["INFO", "persistence"]).await {
        redis::Value::BulkString(bytes) => String::from_utf8(bytes).expect("text"),
        other => panic!("{other:?}"),
    };
    while !info().await.contains("rdb_last_bgsave_status:err") {
        tokio::task::yield_now().await;
    }
    let outcome = scribe.journal.append(batch(std::slice::from_ref(&record))).await;
    assert!(matches!(&outcome, Err(StoreError::Unavailable(why)) if why.contains("MISCONF")), "{outcome:?}");
    assert_eq!(scribe.feed(0).await, vec![]);
    server.say(&["CONFIG", "SET", "save", ""]).await;
    scribe.commit(&[record]).await;
}

/// The server takes no further client; those that it has lost cannot come back until it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_too_many_clients_is_unavailable_until_it_has_room() {
    let server = Server::start(&[CAREFUL, &["--maxclients", "12"]].concat());
    let mut scribe = Scribe::claim(open(&server.url("crowd")).await).await;
    let first = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&first)).await;
    server.say(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]).await;
    let mut crowd = Vec::new();
    for _ in 0..12 {
        crowd.push(tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.expect("a connection"));
    }
    let second = scribe.record(0, "a");
    loop {
        let outcome = scribe.journal.append(batch(std::slice::from_ref(&second))).await;
        match outcome {
            Err(StoreError::Unavailable(why)) if why.contains("max number of clients") => break,
            // It was on a connection that was just being killed: it was not taken, as is seen below.
            Err(StoreError::Unknown(_) | StoreError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(crowd);
    until_it_is_taken(&*scribe.journal, &second).await;
    assert_eq!(scribe.feed(0).await, [first, second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_unavailable_and_comes_back() {
    let server = Server::start(CAREFUL);
    let mut scribe = Scribe::claim(open(&server.url("gone")).await).await;
    let (first, second) = (scribe.record(0, "a"), scribe.record(0, "a"));
    scribe.commit(std::slice::from_ref(&first)).await;
    server.kill();
    while !matches!(scribe.journal.heads().await, Err(StoreError::Unavailable(_))) {}
    loop {
        match scribe.journal.append(batch(std::slice::from_ref(&second))).await {
            Err(StoreError::Unavailable(_)) => break,
            Err(StoreError::Unknown(_)) => {} // on the connection that is gone
            other => panic!("{other:?}"),
        }
    }
    server.go_on();
    until_it_is_taken(&*scribe.journal, &second).await;
    assert_eq!(scribe.feed(0).await, [first, second]);
}

/// Scripts that the server has forgotten are given to it again, in the middle of everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_its_scripts_is_told_again() {
    let server = Server::start(CAREFUL);
    let mut scribe = Scribe::claim(open(&server.url("forgets")).await).await;
    for _ in 0..5 {
        server.say(&["SCRIPT", "FLUSH"]).await;
        let records = [scribe.record(0, "a"), scribe.record(1, "b")];
        scribe.commit(&records).await;
        server.say(&["SCRIPT", "FLUSH"]).await;
        assert_eq!(scribe.records(0, "a").await.last(), Some(&records[0]));
    }
}

/// A fail-over behind an address that stays: the old primary lives on as a replica, and so does the connection to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_became_a_replica_is_left_for_the_new_one() {
    let (old, new) = (Server::start(CAREFUL), Server::start(CAREFUL));
    let proxy = Proxy::before(old.port).await;
    let url = format!("redis://{}/?prefix=shop", proxy.address);
    let mut scribe = Scribe::claim(open(&url).await).await;
    let [first, second] = [scribe.record(0, "a"), scribe.record(0, "a")];
    scribe.commit(std::slice::from_ref(&first)).await;
    new.say(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]).await;
    let group = ["HLEN", "shop:{g:0}"];
    while new.say(&group).await != old.say(&group).await {
        tokio::task::yield_now().await;
    }
    new.say(&["REPLICAOF", "NO", "ONE"]).await;
    proxy.turn(new.port);
    old.say(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    until_it_is_taken(&*scribe.journal, &second).await;
    assert_eq!(scribe.feed(0).await, [first, second], "and reads are of the same server");
    // Nobody begins with a replica either.
    proxy.turn(old.port);
    let opened = RedisStore::open(options(&url)).await.map(drop);
    assert!(matches!(&opened, Err(StoreError::Unavailable(why)) if why.contains("is a replica")), "{opened:?}");
}

/// What a script is refused half-way stays half done: so whoever may not do all of it does nothing, and when the rights
/// are taken from one who is connected, nobody calls it undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_do_everything_does_nothing() {
    let server = Server::start(CAREFUL);
    server.say(&["ACL", "SETUSER", "clerk", "on", ">secret", "~*", "+@all", "-rpush"]).await;
    let url = format!("redis://clerk:secret@127.0.0.1:{}/?prefix=shop", server.port);
    let opened = RedisStore::open(options(&url)).await.map(drop);
    assert!(matches!(&opened, Err(StoreError::Fatal(why)) if why.contains("may not do all")), "{opened:?}");
    assert_eq!(server.say(&["EXISTS", "shop:{store}"]).await, redis::Value::Int(0));
    server.say(&["ACL", "SETUSER", "clerk", "+rpush"]).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    let first = scribe.record(0, "a");
    scribe.commit(&[first]).await; // on a connection that has its rights
    server.say(&["ACL", "SETUSER", "clerk", "-rpush"]).await;
    let record = Record { receipt: Some(client_receipt(i64::MAX / 2)), ..scribe.record(0, "a") };
    let outcome = scribe.journal.append(batch(std::slice::from_ref(&record))).await;
    assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{outcome:?}");
    server.say(&["ACL", "SETUSER", "clerk", "+rpush"]).await;
    let head = scribe.journal.claim(SCRIBE, &[(0, 1)]).await.expect("a claim").remove(0).expect("its own slot");
    assert_eq!(scribe.feed(0).await.len() as u64, head.seq, "a claim settles it");
}
