//! The real binary on a free port, with a store of its own. It lives as long as a test uses it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, Weak};

use serde_json::Value;
use tempfile::TempDir;

use super::contract::Contract;
pub use super::process::{ADMIN_EMAIL, PASSWORD};
use super::process::{Launch, Process};
use super::stores::TestStore;

type Settings = Vec<(String, String)>;

/// The servers that some test uses at the moment, by their settings.
static SHARED: LazyLock<Mutex<BTreeMap<Settings, Weak<Server>>>> = LazyLock::new(Mutex::default);

pub struct Server {
    pub process: Process,
    address: SocketAddr,
    contract: OnceLock<Arc<Contract>>,
    pub administrator: tokio::sync::OnceCell<Value>,
    store: TestStore,
    home: TempDir,
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
        let store = TestStore::new(home.path());
        let launch = store.serves(Launch::new(home.path())).administered();
        let defaults = [("SOUK_LOG__FILTER", "error"), ("SOUK_STORE__SLOTS", "64")];
        let all = defaults.iter().chain(settings);
        let launch = all.fold(launch, |launch, (name, value)| launch.env(name, *value));
        Server::of(launch.start(), store, home)
    }

    fn of(process: Process, store: TestStore, home: TempDir) -> Server {
        let address = process.url.strip_prefix("http://").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address: {:?}", process.url));
        let (contract, administrator) = (OnceLock::new(), tokio::sync::OnceCell::new());
        Server { process, address, contract, administrator, store, home }
    }

    /// Kills it and starts it again on the same data.
    pub fn crash(self) -> Server {
        let Server { process, store, home, .. } = self;
        Server::of(process.kill().start(), store, home)
    }

    /// Asks it to stop, as an operator does. It may still have work to finish.
    pub fn terminate(&self) {
        self.process.signal("TERM");
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
