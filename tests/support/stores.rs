//! Where souk keeps its journal in the tests that are to pass on every store: `SOUK_TEST_STORE` is `sled` (where it is
//! not set), `fjall`, `postgres` or `redis`. The servers of the shared ones are the tests' own.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod postgres;
pub mod redis;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use souk::persistence::embedded::EngineKind;

use super::process::{self, Launch};

const CHOICE: &str = "SOUK_TEST_STORE";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Embedded(EngineKind),
    Postgres,
    Redis,
}

impl Kind {
    pub const ALL: [Kind; 4] =
        [Kind::Embedded(EngineKind::Sled), Kind::Embedded(EngineKind::Fjall), Kind::Postgres, Kind::Redis];

    /// The one that these tests are to run on.
    pub fn chosen() -> Kind {
        let Ok(name) = std::env::var(CHOICE) else { return Kind::Embedded(EngineKind::Sled) };
        let named = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        named.unwrap_or_else(|| panic!("{CHOICE} is sled, fjall, postgres or redis, and not {name:?}"))
    }

    /// As `--store` has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Embedded(engine) => engine.name(),
            Kind::Postgres => "postgres",
            Kind::Redis => "redis",
        }
    }

    /// Whether it has a server of its own, and several processes may reach it.
    pub fn is_shared(self) -> bool {
        match self {
            Kind::Embedded(_) => false,
            Kind::Postgres | Kind::Redis => true,
        }
    }

    /// For tests that are about files: the chosen engine, or none, where the files are another program's.
    pub fn engine(self) -> Option<EngineKind> {
        match self {
            Kind::Embedded(engine) => Some(engine),
            Kind::Postgres | Kind::Redis => {
                println!("nothing to test: the files of {} are not souk's", self.name());
                None
            }
        }
    }
}

/// An empty store, of one test's own.
pub struct TestStore {
    pub kind: Kind,
    /// As `souk store` has it: `sled:DIR`, `postgres://...`.
    pub address: String,
    server: Server,
}

/// What has to live as long as the store.
enum Server {
    /// None, or the shared one of PostgreSQL, which lives for ever.
    Nobody,
    Postgres(postgres::Server),
    Redis(Arc<redis::Server>),
}

/// A name that no other store of this process has.
fn name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl TestStore {
    /// Of the chosen kind; in `home`, or on the server that all tests of this process share.
    pub fn new(home: &Path) -> TestStore {
        TestStore::of(Kind::chosen(), home)
    }

    pub fn of(kind: Kind, home: &Path) -> TestStore {
        crate::watchdog::watch();
        let (address, server) = match kind {
            Kind::Embedded(engine) => (embedded(engine, &home.join("data")), Server::Nobody),
            Kind::Postgres => (postgres::shared().make_database(&name()), Server::Nobody),
            Kind::Redis => {
                let server = redis::shared();
                (server.url(&name()), Server::Redis(server))
            }
        };
        TestStore { kind, address, server }
    }

    /// Of the chosen kind; a shared one on a server that the test may kill.
    pub fn alone(home: &Path) -> TestStore {
        let kind = Kind::chosen();
        let (address, server) = match kind {
            Kind::Embedded(_) => return TestStore::of(kind, home),
            Kind::Postgres => {
                let server = postgres::Server::new(&[]);
                (server.make_database("souk"), Server::Postgres(server))
            }
            Kind::Redis => {
                let server = redis::Server::start(redis::CAREFUL);
                (server.url("souk"), Server::Redis(Arc::new(server)))
            }
        };
        TestStore { kind, address, server }
    }

    /// `souk serve` on it.
    pub fn serves(&self, launch: Launch) -> Launch {
        serves(&self.address, launch)
    }

    /// Kills the server that it has alone: all of it, at once.
    pub fn kill_server(&mut self) {
        match &mut self.server {
            Server::Nobody => panic!("there is no server to kill"),
            Server::Postgres(server) => server.kill(),
            Server::Redis(server) => server.kill(),
        }
    }

    /// Starts it again, and waits until it answers.
    pub fn start_server(&mut self) {
        match &mut self.server {
            Server::Nobody => panic!("there is no server to start"),
            Server::Postgres(server) => server.start(),
            Server::Redis(server) => server.go_on(),
        }
    }
}

/// On a machine that is busy with other things a shared store answers late, and a lease is renewed late. Where that is not what
/// a test is about, a node bears it.
pub const PATIENT: [(&str, &str); 4] = [
    ("SOUK_CLUSTER__LEASE_MS", "10000"),
    ("SOUK_STORE__POSTGRES__WAIT_MS", "20000"),
    ("SOUK_STORE__POSTGRES__WRITE_MS", "20000"),
    ("SOUK_STORE__REDIS__ANSWER_MS", "20000"),
];

/// The address of an embedded store, as `souk store` has it.
pub fn embedded(engine: EngineKind, folder: &Path) -> String {
    format!("{}:{}", engine.name(), folder.display())
}

/// `souk serve` on the store of this address.
pub fn serves(address: &str, launch: Launch) -> Launch {
    let (kind, place) = address.split_once(':').expect("an address");
    match EngineKind::named(kind) {
        Some(engine) => launch.data(Path::new(place)).engine(engine),
        None => launch.args(&["--store", kind, "--store-url", address]),
    }
}
