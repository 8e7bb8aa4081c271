//! Two processes and one store; and a node that is told to stop while many write.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::launch;
use super::ledger::Writers;
use super::process::Launch;
use super::stores::{Kind, PATIENT, TestStore};

/// As many more as there were, and some.
async fn goes_on(writers: &Writers) {
    let reached = writers.acknowledged.load(Ordering::Relaxed);
    writers.reach(reached + 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused_and_the_first_one_unharmed() {
    let home = tempfile::tempdir().expect("a folder");
    let store = TestStore::new(home.path());
    let launch = store.serves(launch(home.path()));
    let first = launch.start();
    let writers = Writers::start(&first.url, 4, 1);
    writers.reach(20).await;
    let why = if store.kind.is_shared() { "the store is in use by node" } else { "is open in another process" };
    let second = launch.try_start().map(drop).expect_err("the store is in use");
    assert_eq!(second.status.code(), Some(1));
    assert!(second.log.contains(why), "{}", second.log);
    goes_on(&writers).await;
    if let Kind::Embedded(_) = store.kind {
        // A halted process holds its directory too.
        first.signal("STOP");
        let second = launch.try_start().map(drop).expect_err("the directory is in use");
        assert!(second.log.contains(why), "{}", second.log);
        first.signal("CONT");
        goes_on(&writers).await;
    }
    let again = first.kill();
    let ledger = writers.finish().await;
    assert!(ledger.refused.is_empty(), "{:?}", ledger.refused);
    let first = again.start();
    ledger.is_kept_by(&first.url).await;
}

/// Nobody can tell a process that is halted for longer than its lease from one that is gone: another takes its place.
/// When it goes on it has nothing to say any more, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_halted_too_long_finds_another_in_its_place_and_ends() {
    if !Kind::chosen().is_shared() {
        return; // the lock of a directory is held until its process has ended
    }
    let homes = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let store = TestStore::new(homes[0].path());
    let [first, second] = [0, 1].map(|n| store.serves(launch(homes[n].path())));
    let first = first.start();
    let writers = Writers::start(&first.url, 4, usize::MAX);
    writers.reach(50).await;
    first.signal("STOP");
    let second = second.start();
    let others = Writers::start(&second.url, 4, 1);
    others.reach(50).await;
    first.signal("CONT");
    let ended = first.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("another node has taken over"), "{}", ended.log);
    goes_on(&others).await;
    writers.finish().await.is_kept_by(&second.url).await;
    let again = second.kill();
    let ledger = others.finish().await;
    assert!(ledger.refused.is_empty(), "{:?}", ledger.refused);
    let second = again.start();
    ledger.is_kept_by(&second.url).await;
    assert!(second.stop().status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_under_load_answers_what_it_admitted_and_loses_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let store = TestStore::new(home.path());
    let patient = |launch, (name, value): &(&str, &str)| Launch::env(launch, name, *value);
    let launch = PATIENT.iter().fold(store.serves(launch(home.path())), patient);
    let mut server = launch.start();
    for round in 1..=3 {
        let writers = Writers::start(&server.url, 32, 10);
        writers.reach(round * 100).await;
        let ended = server.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.log, "", "a stop is no error");
        let ledger = writers.finish().await;
        ledger.refused_with(&["shutting_down"]);
        server = launch.start();
        ledger.is_kept_by(&server.url).await;
    }
    assert!(server.stop().status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_node_at_once_that_still_has_something_to_answer() {
    let home = tempfile::tempdir().expect("a folder");
    let store = TestStore::new(home.path());
    let server = store.serves(launch(home.path())).start();
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut client = TcpStream::connect(&address).expect("it listens");
    let head = format!("POST /v1/auth/register HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json");
    write!(client, "{head}\r\ncontent-length: 99\r\nexpect: 100-continue\r\n\r\n").expect("a request");
    let mut wants_the_body = [0; 12];
    client.read_exact(&mut wants_the_body).expect("an answer");
    assert_eq!(&wants_the_body, b"HTTP/1.1 100");
    server.signal("TERM");
    while TcpStream::connect(&address).is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("told to stop a second time"), "{}", ended.log);
}
