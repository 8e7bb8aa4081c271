//! Several nodes that serve one store as one shop. `SOUK_TEST_NODES` says how many a shop of the suites that run on every
//! store has: one, where it is not set. Only a store that nodes can share (see `stores`) has more.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::process::{Launch, Process};
use super::stores::{Kind, TestStore};

const CHOICE: &str = "SOUK_TEST_NODES";
/// The secret of every test's cluster.
pub const SECRET: &str = "the secret of a test's cluster";
/// How long the slots may take to be divided on a slow machine.
const SPREAD_WITHIN: Duration = Duration::from_secs(60);

/// How many nodes a shop is to have.
pub fn chosen() -> usize {
    let Ok(text) = std::env::var(CHOICE) else { return 1 };
    let count = text.parse().unwrap_or_else(|_| panic!("{CHOICE} is a number of nodes, and not {text:?}"));
    let can_be_shared = Kind::chosen().is_shared();
    assert!((1..=9).contains(&count) && (count == 1 || can_be_shared), "{CHOICE}={count} of {:?}", Kind::chosen());
    count
}

/// As a node of a cluster, under this name.
pub fn member(launch: Launch, name: &str) -> Launch {
    launch.args(&["--cluster", "127.0.0.1:0", "--node-name", name]).env("SOUK_CLUSTER__SECRET", SECRET)
}

/// So many nodes on a store, each in a folder of its own, called `node-1` and so on. One is a node without a cluster, as most
/// people run it.
pub fn launches(count: usize, store: &TestStore, home: &Path, launch: impl Fn(Launch) -> Launch) -> Vec<Launch> {
    if count == 1 {
        return vec![launch(store.serves(Launch::new(home)))];
    }
    let node = |number| {
        let name = format!("node-{number}");
        let folder = home.join(&name);
        std::fs::create_dir_all(&folder).expect("a folder of its own");
        member(launch(store.serves(Launch::new(&folder))), &name)
    };
    (1..=count).map(node).collect()
}

/// Starts nodes, all at once, and waits until each has its share of the slots.
pub fn start(launches: &[Launch]) -> Vec<Process> {
    let nodes: Vec<Process> = std::thread::scope(|scope| {
        let starting: Vec<_> = launches.iter().map(|launch| scope.spawn(|| launch.start())).collect();
        starting.into_iter().map(|node| node.join().expect("it starts")).collect()
    });
    if nodes.len() > 1 {
        spread(&nodes);
    }
    nodes
}

/// Both.
pub fn serve(count: usize, store: &TestStore, home: &Path, launch: impl Fn(Launch) -> Launch) -> Vec<Process> {
    start(&launches(count, store, home, launch))
}

/// Waits until all slots are divided evenly among these nodes.
pub fn spread<'a>(nodes: impl IntoIterator<Item = &'a Process>) {
    let nodes: Vec<&Process> = nodes.into_iter().collect();
    let slots = nodes
        .first()
        .and_then(|node| node.told("SOUK_STORE__SLOTS"))
        .map_or(1_024, |slots| slots.parse().expect("a number"));
    let until = Instant::now() + SPREAD_WITHIN;
    loop {
        let shares: Vec<usize> = nodes.iter().filter_map(|node| slots_of(&node.url)).collect();
        let is_even = || shares.iter().max().zip(shares.iter().min()).is_some_and(|(most, least)| most - least <= 1);
        if shares.len() == nodes.len() && shares.iter().sum::<usize>() == slots && is_even() {
            return;
        }
        assert!(Instant::now() < until, "the slots stay divided so: {shares:?}");
        std::thread::sleep(Duration::from_millis(50)); // nobody tells who is not signed in
    }
}

/// How many slots a node serves.
fn slots_of(url: &str) -> Option<usize> {
    metric(url, "souk_slots_owned").map(|slots| slots as usize)
}

/// What a node counts under this name, with its labels.
pub fn metric(url: &str, name: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://")?).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.trim().parse().ok()
}
