//! A real redis-server: in a folder of its own, on a free port, keeping what it acknowledges; stopped and cleared
//! up when it is dropped, and when the test's process ends otherwise.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::process::{free_port, mortal, spawn};

pub struct Server {
    pub port: u16,
    folder: tempfile::TempDir,
    /// Where it keeps its files: that folder, or a disk that only it sees.
    dir: PathBuf,
    under: Vec<String>,
    settings: Vec<String>,
    process: Mutex<Option<Child>>,
}

/// Keeps everything that is acknowledged.
pub const CAREFUL: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// The server that tests which do it no harm share: it goes with the last one that uses it.
pub fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start(CAREFUL));
    *shared = Arc::downgrade(&server);
    server
}

impl Server {
    pub fn start(settings: &[&str]) -> Server {
        let folder = tempfile::Builder::new().prefix("souk-redis-").tempdir().expect("a folder");
        let dir = folder.path().to_owned();
        Server::start_in(folder, dir, &[], settings)
    }

    /// With its files in `dir`, which it finds where it is started `under` something.
    pub fn start_on_disk(dir: &Path, under: &[String], settings: &[&str]) -> Server {
        let folder = tempfile::Builder::new().prefix("souk-redis-").tempdir().expect("a folder");
        Server::start_in(folder, dir.to_owned(), under, settings)
    }

    fn start_in(folder: tempfile::TempDir, dir: PathBuf, under: &[String], settings: &[&str]) -> Server {
        let server = Server {
            port: free_port(),
            folder,
            dir,
            under: under.to_vec(),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            process: Mutex::new(None),
        };
        server.go_on();
        server
    }

    /// Also when a test has failed over it: it is to be ended all the same.
    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self, prefix: &str) -> String {
        format!("redis://127.0.0.1:{}/?prefix={prefix}", self.port)
    }

    /// Starts it on what it has kept, and waits until it is ready.
    pub fn go_on(&self) {
        let mut command = match self.under.split_first() {
            Some((program, arguments)) => {
                let mut command = mortal(program, "KILL");
                command.args(arguments).arg("redis-server");
                command
            }
            None => mortal("redis-server", "KILL"),
        };
        command.args(["--save", "", "--daemonize", "no", "--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.arg("--dir").arg(&self.dir).args(&self.settings);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = spawn(command);
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let mut log = Vec::new();
        let is_ready = lines.by_ref().any(|line| {
            log.push(line);
            log.last().is_some_and(|line| line.contains("Ready to accept connections"))
        });
        assert!(is_ready, "redis-server does not start:\n{}", log.join("\n"));
        std::thread::spawn(move || lines.count());
        *self.process() = Some(child);
    }

    /// Kills it without warning, and waits until it is gone.
    pub fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            let _ = process.kill(); // it has ended already: as well
            let _ = process.wait();
        }
    }

    /// Whether nobody takes connections any more.
    pub fn has_ended(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err()
    }

    /// Sends a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.process().as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().expect("there is kill").success());
    }

    /// Asks it what only operators ask.
    pub async fn say(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut connection).await.expect("an answer")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
