//! The main job on the real binary: a generated file of the retailer's format is played through the API, and verified.
//! With stock for everything, and with too little of it; on the store that `SOUK_TEST_STORE` names, by as many nodes as
//! `SOUK_TEST_NODES` says. (With a server that is killed in the middle: `crash/`.)

mod coming_and_going;

use crate::entrance::Entrance;
use crate::nodes;
use crate::replaying::Replay;
use crate::retail_sample::Sample;
use crate::stores::TestStore;

/// Its report.
fn plays_and_verifies(sample: Sample, arguments: &[&str]) -> serde_json::Value {
    let dir = tempfile::tempdir().expect("a folder");
    let store = TestStore::new(dir.path());
    let nodes = nodes::serve(nodes::chosen(), &store, dir.path(), |launch| {
        launch.administered().env("SOUK_LOG__FILTER", "error")
    });
    let entrance = Entrance::before(nodes.iter().map(|node| node.url.as_str()));
    Replay::start(&entrance.url, dir.path(), sample, arguments).verified();
    let report = std::fs::read(dir.path().join("report.json")).expect("the report");
    serde_json::from_slice(&report).expect("JSON")
}

#[test]
fn with_stock_for_everything_every_order_is_confirmed() {
    plays_and_verifies(Sample::default(), &["--stock", "exact", "--clients", "16"]);
}

#[test]
fn with_less_stock_one_client_equals_the_oracle() {
    plays_and_verifies(Sample { invoices: 120, ..Sample::default() }, &["--stock", "70", "--clients", "1"]);
}

#[test]
fn with_less_stock_many_clients_are_refused_for_good_reasons_only() {
    plays_and_verifies(Sample { invoices: 200, ..Sample::default() }, &["--stock", "60", "--clients", "32"]);
}

#[test]
fn lines_in_bulk_come_to_the_same() {
    let sample = || Sample { invoices: 120, ..Sample::default() };
    let report = plays_and_verifies(sample(), &["--stock", "70", "--clients", "1", "--bulk"]);
    assert_eq!(report["bulk"], true);
    let calls = report["latencies"]["add_line"]["count"].as_u64().expect("a count");
    assert!(calls <= 120, "a request for each cart, not for each line: {calls}");
    let singly = plays_and_verifies(sample(), &["--stock", "70", "--clients", "1"]);
    assert_eq!(singly["bulk"], false);
    assert_eq!(report["invoices"], singly["invoices"]);
}
