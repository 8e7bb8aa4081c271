//! Real PostgreSQL servers: made in folders of their own, on free ports, and gone at the end, however the test
//! ends.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio_postgres::NoTls;

use super::process::{free_port, spawn};

/// How long a server may take to start on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the server, ends it when this process is gone, and clears up behind it.
const KEEPER: &str = r#"trap 'kill -INT $server 2>/dev/null' TERM INT
"$0" "$@" & server=$!
wait $server; wait $server
[ -z "$SOUK_REMOVE" ] || rm -rf "$SOUK_REMOVE""#;

/// A server. Dropped, it is stopped and its folder removed.
pub struct Server {
    folder: PathBuf,
    /// The same folder as this process finds it: the server may see other disks.
    seen: PathBuf,
    /// What its programs are started under.
    under: Vec<String>,
    settings: Vec<String>,
    pub port: u16,
    keeper: Option<Child>,
}

/// A client of a database, beside whatever is tested.
pub async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// The program of this name that belongs to the newest PostgreSQL there is.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: scripts/test installs it");
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.map(|entry| entry.expect("an entry").path()).max_by_key(version);
    newest.expect("a version").join("bin").join(name)
}

/// A command as a user who may run PostgreSQL: root may not.
fn as_nobody_special(under: &[String]) -> Command {
    let mut words = under.iter().map(String::as_str).chain(["setpriv"]);
    let mut command = Command::new(words.next().expect("at least setpriv"));
    command.args(words);
    if rustix::process::getuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.stdin(Stdio::null()).current_dir("/").env("LC_ALL", "C");
    command
}

fn run(under: &[String], program_name: &str, arguments: &[&str]) {
    let output = as_nobody_special(under).arg(program(program_name)).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program_name}: {}", String::from_utf8_lossy(&output.stderr));
}

fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("souk-postgres-").tempdir().expect("a folder").keep();
    give(&folder);
    folder
}

/// A folder that a server is to have on a disk of its own.
pub fn folder_for_a_disk() -> PathBuf {
    new_folder().join("disk")
}

/// Makes it the server's, if that runs as another user.
fn give(path: &Path) {
    if rustix::process::getuid().is_root() {
        let given = Command::new("chown").arg("postgres:").arg(path).status().expect("chown");
        assert!(given.success());
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

impl Server {
    /// A new server with these settings (`name=value`), running.
    pub fn new(settings: &[&str]) -> Server {
        let folder = new_folder();
        Server::make(folder.clone(), folder, &[], &[], settings)
    }

    /// A new server on a disk of its own, at `folder`; here it is `seen` elsewhere. It keeps little log in advance.
    pub fn on_disk(folder: PathBuf, seen: PathBuf, under: &[String], settings: &[&str]) -> Server {
        Server::make(folder, seen, under, &["--wal-segsize=1"], settings)
    }

    fn make(folder: PathBuf, seen: PathBuf, under: &[String], options: &[&str], settings: &[&str]) -> Server {
        let data = folder.join("data");
        let made = ["-D", text(&data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        run(under, "initdb", &[&made, options].concat());
        Server::at(folder, seen, under, settings)
    }

    fn at(folder: PathBuf, seen: PathBuf, under: &[String], settings: &[&str]) -> Server {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Server { folder, seen, under: under.to_vec(), settings, port: free_port(), keeper: None };
        server.start();
        server
    }

    /// From its next start on.
    pub fn set(&mut self, settings: &[&str]) {
        self.settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
    }

    /// Gives it a file in its data folder, which only it can read.
    pub fn keep(&self, name: &str, content: &str) {
        let path = self.seen.join("data").join(name);
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its own");
        give(&path);
    }

    /// A standby of this server, running, which the server knows by the name.
    pub fn standby(&self, name: &str) -> Server {
        let folder = new_folder();
        let source = format!("host=127.0.0.1 port={} user=postgres application_name={name}", self.port);
        let data = folder.join("data");
        run(&[], "pg_basebackup", &["-D", text(&data), "-R", "-X", "stream", "-c", "fast", "-d", &source]);
        Server::at(folder.clone(), folder, &[], &[])
    }

    /// Of this server's database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A client that does as it is told.
    pub async fn client(&self, database: &str) -> tokio_postgres::Client {
        client(&self.url(database)).await
    }

    /// Makes a database; the answer is its URL.
    pub async fn database(&self, name: &str) -> String {
        self.make_database(name)
    }

    /// Where nothing can be awaited.
    pub fn make_database(&self, name: &str) -> String {
        run(&self.under, "createdb", &["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", name]);
        self.url(name)
    }

    /// Copies a database into another one, as backups are made and restored.
    pub fn copy(&self, from: &str, to: &str) {
        let dump = self.folder.join("dump");
        run(&self.under, "pg_dump", &["-Fc", "-f", text(&dump), "-d", &self.url(from)]);
        run(&self.under, "pg_restore", &["--exit-on-error", "-d", &self.url(to), text(&dump)]);
    }

    /// Starts, and waits until it takes connections.
    pub fn start(&mut self) {
        self.start_keeping(true);
    }

    fn start_keeping(&mut self, folder_stays: bool) {
        let mut command = as_nobody_special(&self.under);
        command.args(["--pdeathsig=TERM", "sh", "-c", KEEPER]).arg(program("postgres"));
        command.args(["-D", text(&self.folder.join("data")), "-p", &self.port.to_string()]);
        let own = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=on", "lc_messages=C"];
        for setting in own.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        command.env("SOUK_REMOVE", if folder_stays { "" } else { text(&self.folder) });
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut keeper = spawn(command);
        let mut said = BufReader::new(keeper.stderr.take().expect("its log"));
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut log = String::new();
            while said.read_line(&mut log).is_ok_and(|read| read > 0) {
                if log.contains("ready to accept") {
                    let _ = ready.send(Ok(()));
                    log.clear();
                }
            }
            let _ = ready.send(Err(log));
        });
        match is_ready.recv_timeout(PATIENCE).expect("it starts in time") {
            Ok(()) => self.keeper = Some(keeper),
            // Processes of a server that was killed are still ending, and tell nobody when they have.
            Err(log) if log.contains("pre-existing shared memory block") => {
                keeper.wait().expect("it has ended");
                std::thread::sleep(Duration::from_millis(100));
                self.start_keeping(folder_stays);
            }
            Err(log) => panic!("no server: {log}"),
        }
    }

    /// The server's own process, and all that it has started.
    fn processes(&self) -> Vec<rustix::process::Pid> {
        let file = std::fs::read_to_string(self.seen.join("data/postmaster.pid")).unwrap_or_default();
        let Some(server) = file.lines().next().and_then(|line| line.parse::<i32>().ok()) else { return Vec::new() };
        let mut found = vec![server];
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
            if parent == Some(server) {
                found.push(id);
            }
        }
        found.into_iter().filter_map(rustix::process::Pid::from_raw).collect()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        for process in self.processes() {
            let _ = rustix::process::kill_process(process, signal); // one that has just ended
        }
    }

    /// Halts every process of it.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Stops as for maintenance: open transactions are undone, clients told.
    pub fn stop(&mut self) {
        if let Some(server) = self.processes().first() {
            let _ = rustix::process::kill_process(*server, rustix::process::Signal::INT);
        }
        self.ended();
    }

    /// Kills every process of it at once.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.ended();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.keeper.as_mut().is_none_or(|keeper| keeper.try_wait().expect("its status").is_some())
    }

    fn ended(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            keeper.wait().expect("its end");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.kill();
        }
        let _ = std::fs::remove_dir_all(&self.seen);
    }
}

/// The server that all tests of a binary share; each makes its own databases.
pub fn shared() -> &'static Server {
    shared_at(0)
}

/// The first, second or third of the servers that all tests of a binary share.
pub fn shared_at(at: usize) -> &'static Server {
    static SERVERS: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
    SERVERS[at].get_or_init(|| {
        // Many tests at once, each with a few handles.
        let mut server = Server::new(&["max_connections=400"]);
        server.stop();
        server.start_keeping(false);
        server
    })
}
