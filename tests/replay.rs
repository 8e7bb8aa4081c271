//! The main job on the real binary: a generated file of the retailer's format is played through the API, and verified.
//! With stock for everything, and with too little of it; on the store that `SOUK_TEST_STORE` names. (With a server that
//! is killed in the middle: `crash/`.)

use crate::process::Launch;
use crate::replaying::Replay;
use crate::retail_sample::Sample;
use crate::stores::TestStore;

fn plays_and_verifies(sample: Sample, arguments: &[&str]) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = TestStore::new(dir.path());
    let server = store.serves(Launch::new(dir.path())).administered().env("SOUK_LOG__FILTER", "error").start();
    Replay::start(&server.url, dir.path(), sample, arguments).verified();
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
