//! The main job on the real binary: a generated file of the retailer's format is played through the API,
//! and verified. With stock for everything, with too little of it, and with a server that is killed in
//! the middle.

#[path = "support/process.rs"]
mod process;
#[path = "support/retail_sample.rs"]
mod retail_sample;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use process::{ADMIN_EMAIL, Launch, PASSWORD, Process};
use retail_sample::{Sample, generate};

fn start(dir: &Path) -> Process {
    Launch::new(dir).data(&dir.join("data")).administered().env("SOUK_LOG__FILTER", "error").start()
}

fn sample_file(dir: &Path, sample: Sample) -> PathBuf {
    let path = dir.join("sample.csv");
    std::fs::write(&path, generate(&sample).0).expect("the sample is written");
    path
}

/// `souk replay` against `server`, as a person would start it.
fn replay(server: &str, file: &Path, dir: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command
        .args(["replay", "online-retail"])
        .arg(file)
        .args(["--url", server, "--email", ADMIN_EMAIL])
        .arg("--report")
        .arg(dir.join("report.json"))
        .arg("--state")
        .arg(dir.join("state"))
        .args(more)
        .env("SOUK_PASSWORD", PASSWORD)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("souk starts")
}

fn verified(child: Child) {
    let output = child.wait_with_output().expect("souk ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the replay did not verify:\n{text}");
    assert!(text.lines().any(|line| line.trim() == "verified"), "no word of a verification:\n{text}");
}

#[test]
fn with_stock_for_everything_every_order_is_confirmed() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = start(dir.path());
    let file = sample_file(dir.path(), Sample::default());
    verified(replay(&server.url, &file, dir.path(), &["--stock", "exact", "--clients", "16"]));
}

#[test]
fn with_less_stock_one_client_equals_the_oracle() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = start(dir.path());
    let file = sample_file(dir.path(), Sample { invoices: 120, ..Sample::default() });
    verified(replay(&server.url, &file, dir.path(), &["--stock", "70", "--clients", "1"]));
}

#[test]
fn with_less_stock_many_clients_are_refused_for_good_reasons_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = start(dir.path());
    let file = sample_file(dir.path(), Sample { invoices: 200, ..Sample::default() });
    verified(replay(&server.url, &file, dir.path(), &["--stock", "60", "--clients", "32"]));
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut server = start(dir.path());
    let file = sample_file(dir.path(), Sample::default());
    let mut child = replay(&server.url, &file, dir.path(), &["--stock", "exact", "--clients", "16"]);
    let mut kills = 0;
    for done in [40, 80, 120, 160, 200, 240] {
        if !invoices_done(&dir.path().join("state"), done, &mut child) {
            break;
        }
        server = server.kill_and_restart();
        kills += 1;
    }
    verified(child);
    assert!(kills >= 3, "only {kills} kills fell into the replay");
    drop(server);
}

/// Waits until the replay has noted `count` invoices as done; false when it has ended before.
fn invoices_done(state: &Path, count: usize, child: &mut Child) -> bool {
    loop {
        let noted = std::fs::read_to_string(state).map_or(0, |text| text.lines().count());
        if noted >= count {
            return true;
        }
        if child.try_wait().expect("its status").is_some() {
            return false;
        }
        std::thread::yield_now();
        std::thread::park_timeout(std::time::Duration::from_millis(5)); // the file tells nobody when it grows
    }
}
