//! A real redis-server: in a folder of its own, on a free port, keeping what it acknowledges; stopped and cleared
//! up when it is dropped, and when the test's process ends otherwise.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak, mpsc};

pub struct Server {
    pub port: u16,
    folder: tempfile::TempDir,
    /// Where its data is, if not in that folder, and what it is started under to see it.
    disk: Option<(PathBuf, Vec<String>)>,
    settings: Vec<String>,
    process: Mutex<Option<Process>>,
}

/// The process, held by a thread that lives as long: a server is told to die with the thread that started it.
struct Process {
    id: u32,
    told: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

/// Keeps everything that is acknowledged.
pub const CAREFUL: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// The server that tests which do it no harm share: it goes with the last one that uses it.
pub fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().expect("no test fails while it starts a server");
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start(CAREFUL));
    *shared = Arc::downgrade(&server);
    server
}

impl Server {
    pub fn start(settings: &[&str]) -> Server {
        Server::with(settings, None)
    }

    /// With its data on another disk.
    pub fn on_disk(path: &Path, under: &[String], settings: &[&str]) -> Server {
        Server::with(settings, Some((path.to_owned(), under.to_owned())))
    }

    fn with(settings: &[&str], disk: Option<(PathBuf, Vec<String>)>) -> Server {
        let server = Server {
            disk,
            port: free_port(),
            folder: tempfile::Builder::new().prefix("souk-redis-").tempdir().expect("a folder"),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            process: Mutex::new(None),
        };
        server.go_on();
        server
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self, prefix: &str) -> String {
        format!("redis://127.0.0.1:{}/?prefix={prefix}", self.port)
    }

    /// Starts it on what it has kept, and waits until it is ready.
    pub fn go_on(&self) {
        self.kill(); // what is left of one that has ended
        let (place, under) = match &self.disk {
            Some((place, under)) => (place.as_path(), under.as_slice()),
            None => (self.folder.path(), &[][..]),
        };
        let mut words = under.iter().map(String::as_str).chain(["setpriv", "--pdeathsig", "KILL", "redis-server"]);
        let mut command = Command::new(words.next().expect("there are some"));
        command.args(words).args(["--save", "", "--daemonize", "no"]);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.arg("--dir").arg(place).args(&self.settings);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let (started, ready) = mpsc::channel();
        let (told, orders) = mpsc::channel();
        let (has_ended, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = command.spawn().expect("redis-server and setpriv: scripts/test installs them");
            let lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
            let (mut lines, mut log) = (lines, Vec::new());
            let is_ready = lines.by_ref().any(|line| {
                log.push(line);
                log.last().is_some_and(|line| line.contains("Ready to accept connections"))
            });
            assert!(is_ready, "redis-server does not start:\n{}", log.join("\n"));
            let _ = started.send(child.id());
            std::thread::spawn(move || lines.count());
            let _ = orders.recv(); // or nobody is there any more
            end(&mut child);
            let _ = has_ended.send(());
        });
        let id = ready.recv().expect("it starts");
        *self.process.lock().expect("no test has failed") = Some(Process { id, told, ended });
    }

    /// Kills it without warning, and waits until it is gone.
    pub fn kill(&self) {
        if let Some(process) = self.process.lock().expect("no test has failed").take() {
            let _ = process.told.send(());
            let _ = process.ended.recv();
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        let process = self.process.lock().expect("no test has failed");
        let id = process.as_ref().expect("it was started").id;
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    }

    /// Sends a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.process.lock().expect("no test has failed").as_ref().expect("it runs").id.to_string();
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

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut()
            && let Some(process) = process.take()
        {
            let _ = process.told.send(());
            let _ = process.ended.recv();
        }
    }
}
