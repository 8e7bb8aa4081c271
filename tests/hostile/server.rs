//! The real binary on a free port, with what it tells of itself: its memory, and its metrics.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::wire::{Answer, Wire};
use crate::process::{Launch, Process};

/// What a slow machine may take for anything; nothing is expected to.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Server {
    process: Process,
    pub address: SocketAddr,
    _home: TempDir,
}

impl Server {
    /// Starts it with settings such as `("HTTP__DRAIN_MS", "1000")`.
    pub fn start(settings: &[(&str, &str)]) -> Server {
        Server::start_by(|launch| launch, settings)
    }

    /// Starts it in a shell that does `first`.
    pub fn start_after(first: &str, settings: &[(&str, &str)]) -> Server {
        let script = format!("{first} && exec \"$0\" \"$@\"");
        Server::start_by(|launch| launch.under(&["sh", "-c", &script]), settings)
    }

    fn start_by(change: impl FnOnce(Launch) -> Launch, settings: &[(&str, &str)]) -> Server {
        let home = tempfile::tempdir().expect("a directory for the data");
        let launch = change(Launch::new(home.path())).data(&home.path().join("data"));
        let launch = launch.env("SOUK_LOG__FILTER", "error").env("SOUK_STORE__SLOTS", "16");
        let set = |launch: Launch, (name, value): &(&str, &str)| launch.env(&format!("SOUK_{name}"), *value);
        let process = settings.iter().fold(launch, set).start();
        let address = process.url.strip_prefix("http://").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("it said {:?}", process.url));
        Server { process, address, _home: home }
    }

    pub fn wire(&self) -> Wire {
        Wire::open(self.address)
    }

    /// What everybody else wants: a sign of life, and a durable write.
    pub fn serves_others(&self) {
        assert_eq!(self.wire().ask("GET /livez HTTP/1.1\r\nHost: souk\r\n\r\n").status, 200);
        let written = self.wire().ask(
            "POST /v1/carts HTTP/1.1\r\nHost: souk\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        );
        assert_eq!(written.status, 201, "{}", written.body);
    }

    pub fn get(&self, path: &str) -> Answer {
        self.wire().ask(&format!("GET {path} HTTP/1.1\r\nHost: souk\r\n\r\n"))
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Waits for a metric.
    pub fn until(&self, name: &str, holds: impl Fn(i64) -> bool) {
        self.until_measuring(name, holds);
    }

    /// Waits for a metric; answers the most memory that the process was seen to take meanwhile, in KiB.
    pub fn until_measuring(&self, name: &str, holds: impl Fn(i64) -> bool) -> u64 {
        let started = Instant::now();
        let mut most = 0;
        loop {
            let value = self.metric(name);
            most = most.max(self.resident_kib());
            if holds(value) {
                return most;
            }
            assert!(started.elapsed() < PATIENCE, "{name} stays {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Memory of the process, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.process.memory_bytes() / 1_024
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(self) -> ExitStatus {
        self.process.stop().status
    }
}
