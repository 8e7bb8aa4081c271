//! Replays, one after another, while the nodes of a cluster come and go. What is planned costs them no request; what is not
//! costs some of them a repeat, and nothing is lost or done twice. With one node there is nothing to test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::entrance::Entrance;
use crate::nodes;
use crate::process::{ADMIN_EMAIL, Launch, PASSWORD, Process, SOUK, clean};
use crate::replaying::Replay;
use crate::retail_sample::Sample;
use crate::stores::TestStore;

/// How long nothing may be played on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Invoices that are played between two changes.
const SOME: usize = 30;

/// Those that run, by their number from 0.
struct Cluster {
    nodes: Vec<Option<Process>>,
    launches: Vec<Launch>,
    _store: TestStore,
    home: tempfile::TempDir,
}

impl Cluster {
    /// As many nodes as the tests are to have, and one that does not run yet. None: they are to have one.
    fn start() -> Option<Cluster> {
        let count = nodes::chosen();
        if count == 1 {
            println!("nothing to test: one node has no others");
            return None;
        }
        let home = tempfile::tempdir().expect("a folder");
        let store = TestStore::new(home.path());
        let launches = nodes::launches(count + 1, &store, home.path(), |launch| {
            launch.administered().env("SOUK_LOG__FILTER", "error").env("SOUK_STORE__SLOTS", "64")
        });
        let nodes = nodes::start(&launches[..count]).into_iter().map(Some).chain([None]).collect();
        Some(Cluster { nodes, launches, _store: store, home })
    }

    fn node(&self, number: usize) -> &Process {
        self.nodes[number].as_ref().expect("it runs")
    }

    fn urls(&self, numbers: &[usize]) -> Vec<&str> {
        numbers.iter().map(|number| self.node(*number).url.as_str()).collect()
    }

    /// Starts one, and waits until it has its share.
    fn begin(&mut self, number: usize) {
        self.nodes[number] = Some(self.launches[number].start());
        nodes::spread(self.nodes.iter().flatten());
    }

    /// Stops one, as an operator does.
    fn stop(&mut self, number: usize) {
        let ended = self.nodes[number].take().expect("it runs").stop();
        assert!(ended.status.success() && ended.log.is_empty(), "{}\n{}", ended.status, ended.log);
    }

    /// `souk cluster`, asked of the first node.
    fn says(&self, words: &[&str]) -> String {
        let mut command = Command::new(SOUK);
        clean(&mut command);
        command.arg("cluster").args(words).args(["--url", &self.node(0).url, "--email", ADMIN_EMAIL]);
        let output = command.env("SOUK_PASSWORD", PASSWORD).output().expect("it runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Replays of one small file after another, until they are told that it is enough.
struct Replays {
    dir: PathBuf,
    is_enough: Arc<AtomicBool>,
    playing: JoinHandle<Vec<Value>>,
}

impl Replays {
    fn start(url: &str, dir: &Path) -> Replays {
        let is_enough = Arc::new(AtomicBool::new(false));
        let (url, folder, enough) = (url.to_owned(), dir.to_owned(), is_enough.clone());
        let playing = std::thread::spawn(move || {
            let mut reports = Vec::new();
            while !enough.load(Ordering::SeqCst) {
                let dir = folder.join(format!("replay-{}", reports.len()));
                fs::create_dir(&dir).expect("a folder");
                let sample = Sample { seed: reports.len() as u64, invoices: 150, ..Sample::default() };
                Replay::start(&url, &dir, sample, &["--stock", "exact", "--clients", "16"]).verified();
                let report = fs::read(dir.join("report.json")).expect("the report");
                reports.push(serde_json::from_slice(&report).expect("JSON"));
            }
            reports
        });
        Replays { dir: dir.to_owned(), is_enough, playing }
    }

    /// How many invoices are done.
    fn done(&self) -> usize {
        let states = (0..).map(|number| self.dir.join(format!("replay-{number}"))).take_while(|dir| dir.exists());
        states.map(|dir| fs::read_to_string(dir.join("state")).map_or(0, |text| text.lines().count())).sum()
    }

    /// Waits until some more are.
    fn go_on(&self) {
        let (goal, until) = (self.done() + SOME, Instant::now() + PATIENCE);
        while self.done() < goal {
            assert!(!self.playing.is_finished(), "a replay has failed");
            assert!(Instant::now() < until, "they stand still at {} invoices", self.done());
            std::thread::sleep(Duration::from_millis(5)); // the files tell nobody when they grow
        }
    }

    /// The attempts that were made again, by replay and by what came before them, once the last has been verified.
    fn repeats(self) -> Vec<Value> {
        self.is_enough.store(true, Ordering::SeqCst);
        let reports = self.playing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        reports.iter().map(|report| report["repeats_after"].clone()).collect()
    }
}

#[test]
fn planned_changes_cost_a_replay_no_request() {
    let Some(mut cluster) = Cluster::start() else { return };
    let entrance = Entrance::before(cluster.urls(&[0]));
    let replays = Replays::start(&entrance.url, cluster.home.path());
    replays.go_on();
    let slots: Value = serde_json::from_str(&cluster.says(&["slots", "--owner", "node-1", "--json"])).expect("JSON");
    for slot in slots.as_array().expect("slots").iter().take(4) {
        cluster.says(&["move", &slot["slot"].to_string(), "node-2", "--yes"]);
    }
    replays.go_on();
    cluster.says(&["drain", "node-2", "--wait", "--yes"]);
    replays.go_on();
    cluster.says(&["uncordon", "node-2"]);
    let added = cluster.nodes.len() - 1;
    cluster.begin(added);
    replays.go_on();
    for number in 1..=added {
        cluster.stop(number);
        replays.go_on();
        cluster.begin(number);
    }
    // The last one is the one that is asked: whoever leads to it leads to the others first.
    entrance.leads_to(cluster.urls(&[1, 2]));
    cluster.stop(0);
    replays.go_on();
    cluster.begin(0);
    replays.go_on();
    let repeats = replays.repeats();
    assert!(repeats.iter().all(|repeats| *repeats == json!({})), "attempts that were made again: {repeats:?}");
}

#[test]
fn a_replay_bears_that_nodes_are_killed_and_halted() {
    let Some(mut cluster) = Cluster::start() else { return };
    let entrance = Entrance::before(cluster.urls(&[0, 1]));
    let replays = Replays::start(&entrance.url, cluster.home.path());
    replays.go_on();
    // One that is asked dies.
    drop(cluster.nodes[1].take().expect("it runs").kill());
    replays.go_on();
    cluster.begin(1);
    entrance.leads_to(cluster.urls(&[0, 1]));
    replays.go_on();
    // One that only serves is halted, until the others have its slots.
    cluster.node(2).signal("STOP");
    nodes::spread(cluster.nodes.iter().take(2).flatten());
    replays.go_on();
    cluster.node(2).signal("CONT");
    nodes::spread(cluster.nodes.iter().flatten());
    replays.go_on();
    println!("attempts that were made again: {:?}", replays.repeats());
}
