//! A disk that fills up under a node: a small tmpfs.

use super::launch;
use super::ledger::Writers;
use super::small_disk::SmallDisk;
use super::stores::Kind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_node_clearly_and_takes_nothing_that_was_acknowledged() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(&home.path().join("small"), 10).expect("a small tmpfs, in a namespace or as root");
    let under: Vec<&str> = disk.under.iter().map(String::as_str).collect();
    let launch = launch(home.path()).data(&disk.path.join("data")).engine(engine).under(&under);
    let ballast = disk.file("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).expect("there is room yet");
    let server = launch.start();
    let writers = Writers::start(&server.url, 8, 50);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap_or_default();
    assert!(last.starts_with("souk: ") && last.contains("No space left on device"), "{}", ended.log);
    let ledger = writers.finish().await;
    println!(
        "{engine:?}: {} acknowledged, {} refused, {} unanswered",
        ledger.carts.len(),
        ledger.refused.len(),
        ledger.unanswered
    );
    assert!(ledger.carts.len() > 100);
    ledger.refused_with(&["outcome_unknown", "unavailable"]);
    if let Err(still) = launch.try_start() {
        assert_eq!(still.status.code(), Some(1), "{}", still.log);
        let last = still.log.lines().last().unwrap_or_default();
        assert!(last.contains("No space left on device"), "{}", still.log);
    }
    std::fs::remove_file(&ballast).expect("room is made");
    let server = launch.start();
    ledger.is_kept_by(&server.url).await;
    assert!(server.stop().status.success());
}
