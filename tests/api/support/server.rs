//! The real binary on a free port, with a store of its own: one node, or as many as these tests are to have (`nodes`).
//! It lives as long as a test uses it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, Weak};

use serde_json::Value;
use tempfile::TempDir;

use super::contract::Contract;
use super::process::Process;
use super::stores::{PATIENT, TestStore};
use super::{nodes, process};
pub use process::{ADMIN_EMAIL, PASSWORD};

type Settings = Vec<(String, String)>;
type Shared = BTreeMap<(usize, Settings), Weak<Server>>;

/// The servers that some test uses at the moment, by the number of their nodes and their settings.
static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);

pub struct Server {
    nodes: Vec<Process>,
    /// How many requests have gone to one of them.
    turns: AtomicUsize,
    contract: OnceLock<Arc<Contract>>,
    pub administrator: tokio::sync::OnceCell<Value>,
    store: TestStore,
    home: TempDir,
}

impl Server {
    pub fn shared(nodes: usize, settings: &[(&str, &str)]) -> Arc<Server> {
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let place = shared.entry((nodes, owned(settings))).or_default();
        if let Some(server) = place.upgrade() {
            return server;
        }
        let server = Arc::new(Server::start(nodes, settings));
        *place = Arc::downgrade(&server);
        server
    }

    pub fn start(count: usize, settings: &[(&str, &str)]) -> Server {
        let home = tempfile::tempdir().expect("a directory for the data");
        let store = TestStore::new(home.path());
        let nodes = nodes::serve(count, &store, home.path(), |launch| {
            let defaults = [("SOUK_LOG__FILTER", "error"), ("SOUK_STORE__SLOTS", "64")];
            // Several nodes divide their slots the sooner the shorter a lease is.
            let patient = if count == 1 { &PATIENT[..] } else { &[] };
            let all = defaults.iter().chain(patient).chain(settings);
            all.fold(launch.administered(), |launch, (name, value)| launch.env(name, *value))
        });
        Server::of(nodes, store, home)
    }

    fn of(nodes: Vec<Process>, store: TestStore, home: TempDir) -> Server {
        let (contract, administrator) = (OnceLock::new(), tokio::sync::OnceCell::new());
        Server { nodes, turns: AtomicUsize::new(0), contract, administrator, store, home }
    }

    /// Kills one node and starts it again on the same data.
    pub fn crash(self) -> Server {
        let struck = self.turn();
        let Server { mut nodes, store, home, .. } = self;
        let again = nodes.remove(struck).kill().start();
        nodes.insert(struck, again);
        Server::of(nodes, store, home)
    }

    /// Asks the first node to stop, as an operator does. It may still have work to finish.
    pub fn terminate(&self) {
        self.nodes[0].signal("TERM");
    }

    pub fn is_a_cluster(&self) -> bool {
        self.nodes.len() > 1
    }

    /// The node whose turn it is.
    fn turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed) % self.nodes.len()
    }

    /// Where the next request goes: to the nodes in turn.
    pub fn url(&self) -> &str {
        &self.nodes[self.turn()].url
    }
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.url.as_str())
    }
    pub fn url_of_the_first(&self) -> &str {
        &self.nodes[0].url
    }
    pub fn address(&self) -> SocketAddr {
        let address = self.url().strip_prefix("http://").and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address: {:?}", self.nodes[0].url))
    }
    /// What all nodes have in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.nodes.iter().map(Process::memory_bytes).sum()
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
