//! Two processes and one directory; and a node that is told to stop while many write.

use super::launch;
use super::ledger::Writers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused_and_the_first_one_unharmed() {
    let home = tempfile::tempdir().expect("a folder");
    let launch = launch(home.path(), &home.path().join("data"));
    let first = launch.start();
    let writers = Writers::start(&first.url, 4, 1);
    writers.reach(20).await;
    let second = launch.try_start().map(drop).expect_err("the directory is in use");
    assert_eq!(second.status.code(), Some(1));
    assert!(second.log.contains("is open in another process"), "{}", second.log);
    let reached = writers.acknowledged.load(std::sync::atomic::Ordering::Relaxed);
    writers.reach(reached + 50).await;
    // A halted process holds its directory too.
    first.signal("STOP");
    let second = launch.try_start().map(drop).expect_err("the directory is in use");
    assert!(second.log.contains("is open in another process"), "{}", second.log);
    first.signal("CONT");
    let reached = writers.acknowledged.load(std::sync::atomic::Ordering::Relaxed);
    writers.reach(reached + 50).await;
    let again = first.kill();
    let ledger = writers.finish().await;
    assert!(ledger.refused.is_empty(), "{:?}", ledger.refused);
    let first = again.start();
    ledger.is_kept_by(&first.url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_under_load_answers_what_it_admitted_and_loses_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let mut server = launch(home.path(), &home.path().join("data")).start();
    for round in 1..=3 {
        let writers = Writers::start(&server.url, 32, 10);
        writers.reach(round * 100).await;
        let ended = server.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.log, "", "a stop is no error");
        let ledger = writers.finish().await;
        ledger.refused_with(&["shutting_down"]);
        server = launch(home.path(), &home.path().join("data")).start();
        ledger.is_kept_by(&server.url).await;
    }
    assert!(server.stop().status.success());
}
