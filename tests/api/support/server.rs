//! The real binary on a free port, with a data directory of its own. It lives as long as a test uses it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, Weak};

use serde_json::Value;
use tempfile::TempDir;

use super::contract::Contract;

pub const ADMIN_EMAIL: &str = "admin@example.com";
pub const PASSWORD: &str = "correct horse battery";

type Settings = Vec<(String, String)>;

/// The servers that some test uses at the moment, by their settings.
static SHARED: LazyLock<Mutex<BTreeMap<Settings, Weak<Server>>>> = LazyLock::new(Mutex::default);

pub struct Server {
    process: Process,
    address: SocketAddr,
    settings: Settings,
    contract: OnceLock<Arc<Contract>>,
    pub administrator: tokio::sync::OnceCell<Value>,
    home: TempDir,
}

/// Killed when it is dropped: the journal must bear that.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    pub fn shared(settings: &[(&str, &str)]) -> Arc<Server> {
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let place = shared.entry(owned(settings)).or_default();
        if let Some(server) = place.upgrade() {
            return server;
        }
        let server = Arc::new(Server::start(settings));
        *place = Arc::downgrade(&server);
        server
    }

    pub fn start(settings: &[(&str, &str)]) -> Server {
        let home = tempfile::tempdir().expect("a directory for the data");
        Server::start_in(home, owned(settings))
    }

    fn start_in(home: TempDir, settings: Settings) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_souk"))
            .args(["serve", "--http", "127.0.0.1:0", "--data"])
            .arg(home.path().join("data"))
            .envs([("SOUK_BOOTSTRAP_ADMIN_EMAIL", ADMIN_EMAIL), ("SOUK_BOOTSTRAP_ADMIN_PASSWORD", PASSWORD)])
            .envs([("SOUK_LOG__FILTER", "error"), ("SOUK_STORE__SLOTS", "64")])
            .envs(settings.clone())
            .current_dir(home.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut first = String::new();
        let output = child.stdout.take().expect("its standard output");
        BufReader::new(output).read_line(&mut first).expect("its first line");
        let address = first.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("not what it should say first: {first:?}"));
        let (contract, administrator) = (OnceLock::new(), tokio::sync::OnceCell::new());
        Server { process: Process(child), address, settings, contract, administrator, home }
    }

    /// Kills it and starts it again on the same data.
    pub fn crash(self) -> Server {
        let Server { process, home, settings, .. } = self;
        drop(process);
        Server::start_in(home, settings)
    }

    /// Asks it to stop, as an operator does. It may still have work to finish.
    pub fn terminate(&self) {
        let pid = self.process.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("there is kill");
        assert!(sent.success());
    }

    /// What it has in memory.
    pub fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("what it has");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn learn_contract(&self, client: &reqwest::Client) {
        if self.contract.get().is_none() {
            let answer = client.get(format!("{}/openapi.json", self.url())).send().await.expect("an answer");
            let document = answer.json().await.expect("the OpenAPI document");
            let _ = self.contract.set(Arc::new(Contract::new(document)));
        }
    }
    pub fn contract(&self) -> Arc<Contract> {
        self.contract.get().expect("learnt when the shop was opened").clone()
    }
}

fn owned(settings: &[(&str, &str)]) -> Settings {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
