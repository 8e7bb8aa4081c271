//! Nodes that are real processes, over a store of their own, with ways between them that can be cut.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;

use super::balancer::Balancer;
use super::way::{Gate, Way, name};
use crate::nodes::{SECRET, spread};
use crate::process::{Ended, Launch, Process, free_port};
use crate::stores::{postgres, redis};

/// The most nodes there are.
pub const NODES: usize = 5;
pub const SLOTS: u16 = 64;
/// How long slots may take to find an owner, and a cut to be noticed, on a slow machine.
pub const WITHIN: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(10);

/// What can be chosen of a run's nodes.
#[derive(Debug, Clone)]
pub struct Settings {
    pub store: StoreKind,
    pub lease_ms: u64,
    pub deadline_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    Postgres,
    Redis,
}

impl StoreKind {
    pub fn named(name: &str) -> StoreKind {
        let kinds = [StoreKind::Postgres, StoreKind::Redis];
        kinds
            .into_iter()
            .find(|kind| kind.name() == name)
            .unwrap_or_else(|| panic!("no store that nodes share: {name}"))
    }

    pub fn name(self) -> &'static str {
        match self {
            StoreKind::Postgres => "postgres",
            StoreKind::Redis => "redis",
        }
    }
}

enum Server {
    Postgres(postgres::Server),
    Redis(redis::Server),
}

impl Server {
    fn start(kind: StoreKind) -> Server {
        match kind {
            StoreKind::Postgres => {
                let server = postgres::Server::new(&[]);
                server.make_database("souk");
                Server::Postgres(server)
            }
            StoreKind::Redis => Server::Redis(redis::Server::start(redis::CAREFUL)),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Server::Postgres(server) => server.port,
            Server::Redis(server) => server.port,
        }
    }

    /// By way of another port, or its own.
    fn url(&self, port: u16) -> String {
        match self {
            Server::Postgres(_) => format!("postgres://postgres@127.0.0.1:{port}/souk"),
            Server::Redis(_) => format!("redis://127.0.0.1:{port}/?prefix=souk"),
        }
    }
}

struct Node {
    launch: Launch,
    process: Option<Process>,
    /// Relays that live as long as the runtime.
    _ways: [Way; 2],
}

pub struct Cluster {
    // in this order they go: the nodes before their store
    nodes: Vec<Node>,
    store: Server,
    pub to_store: Gate,
    pub to_peers: Gate,
    pub balancer: Balancer,
    http: reqwest::Client,
    runtime: Handle,
}

impl Cluster {
    /// None of the nodes runs yet.
    pub fn new(settings: &Settings, home: &Path, http: reqwest::Client, runtime: Handle) -> Cluster {
        let store = Server::start(settings.store);
        let (to_store, to_peers) = (Gate::open(), Gate::open());
        let nodes = (0..NODES).map(|number| {
            let folder = home.join(name(number));
            std::fs::create_dir_all(&folder).expect("a folder of its own");
            let port = free_port();
            let store_way = runtime.block_on(Way::to_store(&to_store, number, store.port()));
            let link_way = runtime.block_on(Way::to_node(&to_peers, number, port));
            let (listen, advertise) = (format!("127.0.0.1:{port}"), link_way.address.to_string());
            let url = store.url(store_way.address.port());
            let launch =
                Launch::new(&folder).administered().args(&["--store", settings.store.name(), "--store-url", &url]);
            let launch = launch.args(&["--cluster", &listen, "--node-name", &name(number)]);
            let launch = launch
                .env("SOUK_CLUSTER__ADVERTISE", advertise)
                .env("SOUK_CLUSTER__SECRET", SECRET)
                .env("SOUK_CLUSTER__LEASE_MS", settings.lease_ms.to_string())
                .env("SOUK_HTTP__REQUEST_DEADLINE_MS", settings.deadline_ms.to_string())
                .env("SOUK_STORE__SLOTS", SLOTS.to_string())
                // Nobody has to sign in again.
                .env("SOUK_AUTH__ACCESS_TTL_MS", "86400000")
                .env("SOUK_LOG__FILTER", "info,souk::http=error");
            Node { launch, process: None, _ways: [store_way, link_way] }
        });
        let nodes = nodes.collect();
        let balancer = {
            let _entered = runtime.enter();
            Balancer::start(http.clone(), NODES)
        };
        Cluster { nodes, store, to_store, to_peers, balancer, http, runtime }
    }

    /// The numbers of those that run.
    pub fn running(&self) -> Vec<usize> {
        (0..NODES).filter(|number| self.nodes[*number].process.is_some()).collect()
    }

    /// The numbers of those that do not run.
    pub fn idle(&self) -> Vec<usize> {
        (0..NODES).filter(|number| self.nodes[*number].process.is_none()).collect()
    }

    pub fn process(&self, node: usize) -> &Process {
        self.nodes[node].process.as_ref().expect("it runs")
    }

    /// Starts nodes, all at once, and waits until they listen.
    pub fn start(&mut self, numbers: &[usize]) {
        let started: Vec<(usize, Process)> = std::thread::scope(|scope| {
            let starting: Vec<_> = numbers
                .iter()
                .map(|number| {
                    let launch = &self.nodes[*number].launch;
                    (*number, scope.spawn(|| launch.start()))
                })
                .collect();
            starting.into_iter().map(|(number, node)| (number, node.join().expect("it starts"))).collect()
        });
        for (number, process) in started {
            self.balancer.runs(number, Some(&process.url));
            self.nodes[number].process = Some(process);
        }
    }

    /// Kills one without warning.
    pub fn kill(&mut self, number: usize) {
        let process = self.nodes[number].process.take().expect("it runs");
        drop(process.kill());
        self.balancer.runs(number, None);
    }

    /// Stops nodes, as an operator does, all at once, and waits until they have ended.
    pub fn stop(&mut self, numbers: &[usize]) -> Vec<Ended> {
        for number in numbers {
            self.process(*number).signal("TERM");
        }
        numbers.iter().map(|number| self.ended(*number)).collect()
    }

    /// Waits for the end of one that was told to stop.
    pub fn ended(&mut self, number: usize) -> Ended {
        let ended = self.nodes[number].process.take().expect("it runs").wait();
        self.balancer.runs(number, None);
        ended
    }

    /// Waits until all slots are divided evenly among those that run.
    pub fn settle(&self) {
        spread(self.nodes.iter().flat_map(|node| &node.process));
    }

    /// How many slots these nodes serve together. Whoever does not say so serves none.
    pub fn slots_of(&self, numbers: &[usize]) -> usize {
        let urls: Vec<String> = numbers.iter().map(|number| self.process(*number).url.clone()).collect();
        let counts = urls.iter().map(|url| slots_of(&self.http, url));
        self.runtime.block_on(futures::future::join_all(counts)).into_iter().flatten().sum()
    }

    /// How long it takes until these nodes serve all slots.
    pub fn until_served_by(&self, numbers: &[usize]) -> Duration {
        self.until("all slots are served", || self.slots_of(numbers) == usize::from(SLOTS))
    }

    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < WITHIN, "still not: {what}\n{}", self.last_words());
            std::thread::sleep(LOOKS_EVERY); // nodes tell nobody who is not signed in
        }
        began.elapsed()
    }

    /// Halts every process of the store's server.
    pub fn halt_store(&self) {
        match &self.store {
            Server::Postgres(server) => server.freeze(),
            Server::Redis(server) => server.signal("STOP"),
        }
    }

    pub fn let_store_go_on(&self) {
        match &self.store {
            Server::Postgres(server) => server.thaw(),
            Server::Redis(server) => server.signal("CONT"),
        }
    }

    /// Kills the store's server, and starts it again.
    pub fn restart_store(&mut self) {
        match &mut self.store {
            Server::Postgres(server) => {
                server.kill();
                server.start();
            }
            Server::Redis(server) => {
                server.kill();
                server.go_on();
            }
        }
    }

    /// Without a way that can be cut.
    pub fn store_url(&self) -> String {
        self.store.url(self.store.port())
    }

    /// What each node has said.
    pub fn logs(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.launch.log()).collect()
    }

    /// The last lines of each.
    pub fn last_words(&self) -> String {
        const LINES: usize = 40;
        let said = (0..).zip(self.logs()).map(|(number, log)| {
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES)..];
            format!("{}:\n{}\n", name(number), last.join("\n"))
        });
        said.collect()
    }
}

async fn slots_of(http: &reqwest::Client, url: &str) -> Option<usize> {
    let asked = http.get(format!("{url}/metrics")).timeout(Duration::from_secs(1)).send().await.ok()?;
    let text = asked.text().await.ok()?;
    let count = text.lines().find_map(|line| line.strip_prefix("souk_slots_owned "))?;
    count.trim().parse::<f64>().ok().map(|slots| slots as usize)
}

/// A member of a JSON object that is a whole number.
pub fn number(body: &Value, member: &str) -> i64 {
    body[member].as_i64().unwrap_or_else(|| panic!("{member} is no number in {body}"))
}

/// A member of a JSON object that is a text.
pub fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member].as_str().unwrap_or_else(|| panic!("{member} is no text in {body}"))
}
