//! The real binary on a free port, with what it tells of itself: its memory, and its metrics.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::wire::{Answer, Wire};

/// What a slow machine may take for anything; nothing is expected to.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    _home: TempDir,
}

impl Server {
    /// Starts it with settings such as `("HTTP__DRAIN_MS", "1000")`.
    pub fn start(settings: &[(&str, &str)]) -> Server {
        Server::start_by(Command::new(env!("CARGO_BIN_EXE_souk")), settings)
    }

    /// Starts it in a shell that does `first`.
    pub fn start_after(first: &str, settings: &[(&str, &str)]) -> Server {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_souk")]);
        Server::start_by(shell, settings)
    }

    fn start_by(mut command: Command, settings: &[(&str, &str)]) -> Server {
        let home = tempfile::tempdir().expect("a directory for the data");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOUK_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--http", "127.0.0.1:0", "--data"]).arg(home.path().join("data"));
        command.envs([("SOUK_LOG__FILTER", "error"), ("SOUK_STORE__SLOTS", "16")]);
        command.envs(settings.iter().map(|(name, value)| (format!("SOUK_{name}"), value)));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its standard output")).read_line(&mut first).expect("a line");
        let address = first.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("it said {first:?}"));
        Server { child, address, _home: home }
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &process]).status().expect("there is kill").success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
