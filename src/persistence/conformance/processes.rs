//! Several real processes on one store: this test binary starts itself again, and each process contends for
//! the slots ([`contend`]) until it is done; one of them is killed on its way. For stores that have several
//! clients:
//!
//! ```text
//! #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
//! #[ignore = "runs in the processes that the other test starts"]
//! async fn contender() {
//!     if let Some(part) = conformance::Part::from_environment() {
//!         part.play(open(&part.store).await).await;
//!     }
//! }
//!
//! #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
//! async fn several_processes_contend() {
//!     conformance::several_processes(open(&url).await, "postgres::contender", &url).await;
//! }
//! ```

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::{Ack, Told, contend, verify};
use crate::persistence::{RequestBytes, Store};

const STORE: &str = "SOUK_CONFORMANCE_STORE";
const NAME: &str = "SOUK_CONFORMANCE_NAME";
const PROCESSES: usize = 4;
const ROUNDS: usize = 40;
/// What the one that is killed has been told of by then.
const ACKS_OF_THE_KILLED: usize = 30;

/// What a process that was started here is to do.
#[derive(Debug, Clone)]
pub struct Part {
    /// The store's address, as it was given to [`several_processes`].
    pub store: String,
    pub name: String,
}

impl Part {
    /// `None` in a process that was not started here.
    pub fn from_environment() -> Option<Part> {
        Some(Part { store: std::env::var(STORE).ok()?, name: std::env::var(NAME).ok()? })
    }

    /// Contends, and says on stdout what it was told, each line in one write: a kill leaves no half line.
    pub async fn play(&self, store: Arc<dyn Store>) {
        let tell = |ack: Ack| {
            let _ = std::io::stdout().write_all(line_of(&ack).as_bytes());
        };
        contend(store, &self.name, ROUNDS, tell).await;
    }
}

fn line_of(ack: &Ack) -> String {
    let Ack { told, slot, seq, epoch, request } = ack;
    let word = match told {
        Told::Acknowledged => "acknowledged",
        Told::Refused => "refused",
    };
    format!("\ntold {word} {slot} {seq} {epoch} {}\n", u128::from_be_bytes(*request))
}

/// Reads a line of [`Part::play`]'s; the test runner says other things on stdout, too.
fn ack_of(line: &str) -> Option<Ack> {
    let mut words = line.strip_prefix("told ")?.split(' ');
    let told = match words.next()? {
        "acknowledged" => Told::Acknowledged,
        "refused" => Told::Refused,
        _ => return None,
    };
    let (slot, seq, epoch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let request: RequestBytes = words.next()?.parse::<u128>().ok()?.to_be_bytes();
    Some(Ack { told, slot, seq, epoch, request })
}

/// Starts the processes, each in the test named `test` of this binary, and holds the store (which is new)
/// against what they were told.
pub async fn several_processes(store: Arc<dyn Store>, test: &str, address: &str) {
    let acks = run_processes(test, address).await;
    let records = verify(&*store, &acks).await;
    let of = |told: Told| acks.iter().filter(|ack| ack.told == told).count();
    assert!(records >= of(Told::Acknowledged));
    assert!(of(Told::Refused) > 0, "they never met");
}

/// Starts the processes and waits for them; what they were told. One is killed.
pub async fn run_processes(test: &str, address: &str) -> Vec<Ack> {
    let running = (0..PROCESSES).map(|n| {
        let child = start(test, address, &format!("process-{n}"));
        let killed_after = (n == 0).then_some(ACKS_OF_THE_KILLED);
        tokio::task::spawn_blocking(move || listen(child, killed_after))
    });
    let mut acks = Vec::new();
    for listener in running.collect::<Vec<_>>() {
        let told = listener.await.expect("a listener");
        assert!(told.iter().any(|ack| ack.told == Told::Acknowledged), "a process got nowhere");
        acks.extend(told);
    }
    acks
}

fn start(test: &str, address: &str, name: &str) -> Child {
    let this = std::env::current_exe().expect("the test's own binary");
    Command::new(this)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(STORE, address)
        .env(NAME, name)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// What the process says until it ends, or is killed after so many acknowledgements.
fn listen(mut child: Child, killed_after: Option<usize>) -> Vec<Ack> {
    let lines = BufReader::new(child.stdout.take().expect("its stdout")).lines().map_while(Result::ok);
    let mut acks = Vec::new();
    let mut killed = false;
    for ack in lines.filter_map(|line| ack_of(&line)) {
        acks.push(ack);
        if !killed && killed_after.is_some_and(|count| acks.len() >= count) {
            child.kill().expect("kill");
            killed = true; // what it has said before is still read
        }
    }
    let ended = child.wait().expect("its end");
    assert!(killed || ended.success(), "a process failed: {ended}");
    acks
}
