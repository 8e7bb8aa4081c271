//! `souk replay` against a server, as a person would start it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::process::{self, ADMIN_EMAIL, PASSWORD, SOUK, clean, mortal};
use super::retail_sample::{Sample, generate};

/// How long a replay may do no further invoice on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take in all.
const ENDS_WITHIN: Duration = Duration::from_secs(15 * 60);

/// A replay of a generated file, with its state and report in a folder.
pub struct Replay {
    dir: PathBuf,
    server: String,
    arguments: Vec<String>,
    child: Child,
}

impl Replay {
    /// Writes the sample into `dir`, and starts.
    pub fn start(server: &str, dir: &Path, sample: Sample, arguments: &[&str]) -> Replay {
        std::fs::write(dir.join("sample.csv"), generate(&sample).0).expect("the sample is written");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = spawn(dir, server, &arguments);
        Replay { dir: dir.to_owned(), server: server.to_owned(), arguments, child }
    }

    /// How many invoices are noted as done.
    pub fn done(&self) -> usize {
        std::fs::read_to_string(self.dir.join("state")).map_or(0, |text| text.lines().count())
    }

    /// Waits until so many invoices are done; false: it has ended before.
    pub fn reaches(&mut self, count: usize) -> bool {
        let (mut seen, mut until) = (self.done(), Instant::now() + PATIENCE);
        loop {
            let done = self.done();
            if done >= count {
                return true;
            }
            if self.child.try_wait().expect("its status").is_some() {
                return false;
            }
            if done > seen {
                (seen, until) = (done, Instant::now() + PATIENCE);
            }
            assert!(Instant::now() < until, "it stands still at {done} of {count} invoices:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5)); // the file tells nobody when it grows
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Goes on where it was killed, or verifies again.
    pub fn resume(&mut self) {
        self.child = spawn(&self.dir, &self.server, &self.arguments);
    }

    /// Waits for its end: `Err` is what it said when it did not verify.
    pub fn finish(mut self) -> Result<(), String> {
        let until = Instant::now() + ENDS_WITHIN;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end, after {} invoices:\n{}", self.done(), self.said());
            std::thread::sleep(Duration::from_millis(10));
        };
        let text = self.said();
        let verified = status.success() && text.lines().any(|line| line.trim() == "verified");
        if verified { Ok(()) } else { Err(text) }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("replay.log")).expect("what it said")
    }

    pub fn verified(self) {
        self.finish().unwrap_or_else(|text| panic!("the replay did not verify:\n{text}"));
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already: as well
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, server: &str, arguments: &[String]) -> Child {
    let log = std::fs::File::create(dir.join("replay.log")).expect("a log");
    let mut command = mortal(SOUK, "KILL");
    clean(&mut command);
    command
        .args(["replay", "online-retail"])
        .arg(dir.join("sample.csv"))
        .args(["--url", server, "--email", ADMIN_EMAIL])
        .arg("--report")
        .arg(dir.join("report.json"))
        .arg("--state")
        .arg(dir.join("state"))
        .args(arguments)
        .env("SOUK_PASSWORD", PASSWORD)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log);
    process::spawn(command)
}
