//! The settings: what they are, where they come from, and everything that is wrong with them at once.
//!
//! `config/default.toml` is compiled in and is the single truth of keys and defaults; over it lie the
//! user's file, the environment and the command line ([`layers`]). What comes out is [`Config`], typed
//! and within its bounds, so that nothing behind it checks again. Loading never stops at the first
//! problem: who mends a file wants the whole list.

mod address;
mod layers;
mod postgres;
mod problems;
mod reader;
mod redis;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use address::{AddressBlock, ProxyHeader};
use layers::Layers;
pub use postgres::Postgres;
pub use problems::{Problem, Problems};
use reader::Reader;
pub use redis::Redis;

use crate::actors::entity::Policy;
use crate::persistence::Slot;
use crate::persistence::embedded::EngineKind;
use crate::persistence::open::{Slots as StoreSlots, StoreChoice, StoreSettings};

/// The defaults as shipped, with the documentation of every key.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// All settings. A field is the key of `config/default.toml` of the same path, where its why and unit
/// are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub node: Node,
    pub http: Http,
    pub idempotency: Idempotency,
    pub data: Data,
    pub store: Store,
    pub journal: Journal,
    pub slots: Slots,
    pub cart: Cart,
    pub reservation: Reservation,
    pub order: Order,
    pub complete: Complete,
    pub payment: Payment,
    pub stock: Stock,
    pub auth: Auth,
    pub limits: Limits,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Empty: the host's name.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    pub addr: SocketAddr,
    pub body_max_bytes: usize,
    pub bodies_max_bytes: usize,
    pub header_max_bytes: usize,
    pub request_deadline_ms: u64,
    pub handler_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub write_stall_ms: u64,
    pub connections_max: usize,
    pub active_max: usize,
    pub queue_max: usize,
    pub queue_wait_ms: u64,
    pub waiting_max: usize,
    pub waiting_per_caller_max: usize,
    pub drain_ms: u64,
    pub trusted_proxies: Vec<AddressBlock>,
    pub trusted_proxy_header: ProxyHeader,
    pub hsts_max_age_s: u64,
    pub cors: Cors,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cors {
    /// Each as a browser sends it (scheme, host and port, without a slash at the end), or `*` alone.
    pub origins: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Idempotency {
    pub keep_ms: u64,
    pub keep_money_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub dir: PathBuf,
}

#[derive(Clone, PartialEq)]
pub struct Store {
    pub kind: StoreKind,
    /// Empty for the embedded kinds. May hold a password: `Debug` does not show it.
    pub url: String,
    pub slots: Slot,
    pub sled: Engine,
    pub fjall: Engine,
    pub postgres: Postgres,
    pub redis: Redis,
}

impl Store {
    /// Whether the address is one for the kind; what it must be.
    fn url_fits(&self) -> (bool, &'static str) {
        let parsed = self.url.parse();
        match self.kind {
            StoreKind::Sled | StoreKind::Fjall | StoreKind::Memory => {
                let why = "must be empty: the kinds sled, fjall and memory are embedded and have no address";
                (self.url.is_empty(), why)
            }
            StoreKind::Postgres => {
                (matches!(parsed, Ok(StoreChoice::Postgres { .. })), "must be the address: postgres://...")
            }
            StoreKind::Redis => (matches!(parsed, Ok(StoreChoice::Redis { .. })), "must be the address: redis://..."),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = if self.url.is_empty() { "" } else { "[redacted]" };
        f.debug_struct("Store")
            .field("kind", &self.kind)
            .field("url", &url)
            .field("slots", &self.slots)
            .field("sled", &self.sled)
            .field("fjall", &self.fjall)
            .field("postgres", &self.postgres)
            .field("redis", &self.redis)
            .finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    Sled,
    Fjall,
    Postgres,
    Redis,
    Memory,
}

impl StoreKind {
    /// Whether several processes reach it: then the node list, and no lock file, keeps a second one out.
    pub fn is_shared(self) -> bool {
        match self {
            StoreKind::Sled | StoreKind::Fjall | StoreKind::Memory => false,
            StoreKind::Postgres | StoreKind::Redis => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    pub cache_bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    pub queue_bytes_max: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Slots {
    pub mailbox_max: usize,
    pub resident_bytes_max: usize,
    pub idle_ms: u64,
    pub snapshot_events: u64,
    pub owed_overdue_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cart {
    pub ttl_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    pub ttl_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    pub decide_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Complete {
    pub deadline_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Payment {
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stock {
    pub low_at: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    pub issuer: String,
    pub audience: String,
    pub access_ttl_ms: u64,
    pub refresh_ttl_ms: u64,
    pub refresh_grace_ms: u64,
    /// At least 1: a 0 in the file has become half the number of processors.
    pub hashes_max: usize,
    pub hash_queue_max: usize,
    pub hash_queue_per_address_max: usize,
    pub argon2: Argon2,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Argon2 {
    pub memory_kib: u32,
    pub iterations: u32,
    pub lanes: u32,
}

#[derive(Clone, PartialEq)]
pub struct Limits {
    /// Empty: each node counts for itself. May hold a password: `Debug` does not show it.
    pub redis_url: String,
    pub exempt: Vec<AddressBlock>,
    pub address_per_minute: u32,
    pub user_per_minute: u32,
    pub login_failures_max: u32,
    pub account_failures_max: u32,
    pub login_window_ms: u64,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits { redis_url, exempt, address_per_minute, user_per_minute, .. } = self;
        let Limits { login_failures_max, account_failures_max, login_window_ms, .. } = self;
        f.debug_struct("Limits")
            .field("redis_url", if redis_url.is_empty() { &"" } else { &"[redacted]" })
            .field("exempt", exempt)
            .field("address_per_minute", address_per_minute)
            .field("user_per_minute", user_per_minute)
            .field("login_failures_max", login_failures_max)
            .field("account_failures_max", account_failures_max)
            .field("login_window_ms", login_window_ms)
            .finish()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// Where settings come from, in rising order of precedence. The defaults lie below all of them.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    pub file: Option<&'a Path>,
    /// Name and value of environment variables; only `SOUK_..__..` are looked at.
    pub environment: Vec<(String, String)>,
    /// (option or its variable, key, value) as given on the command line.
    pub options: Vec<(&'static str, &'static str, String)>,
}

impl Default for Config {
    /// The defaults as shipped.
    fn default() -> Self {
        Config::load(&Sources::default()).expect("config/default.toml is tested to be valid")
    }
}

impl Config {
    /// Reads all sources. On failure, every problem in all of them.
    pub fn load(sources: &Sources<'_>) -> Result<Config, Problems> {
        let (layers, mut problems) = Layers::gather(sources);
        let mut reader = Reader::new(&layers);
        let config = Config::read(&mut reader);
        config.relations(&mut reader);
        problems.extend(reader.into_problems());
        match (config.finish(), problems.is_empty()) {
            (config, true) => Ok(config),
            (_, false) => Err(Problems(problems)),
        }
    }

    /// The settings that decisions of entities depend on.
    pub fn policy(&self) -> Policy {
        Policy {
            cart_ttl_ms: self.cart.ttl_ms,
            reservation_ttl_ms: self.reservation.ttl_ms,
            payment_timeout_ms: self.payment.timeout_ms,
            order_decide_ms: self.order.decide_ms,
            refresh_ttl_ms: self.auth.refresh_ttl_ms,
            refresh_grace_ms: self.auth.refresh_grace_ms,
            low_stock_at: self.stock.low_at,
        }
    }

    /// How the store is opened, and created where there is none.
    pub fn store_settings(&self) -> StoreSettings {
        let Store { kind, url, slots, sled, fjall, postgres, redis } = &self.store;
        let embedded = |engine| StoreChoice::Embedded { engine, dir: self.data.dir.clone() };
        let (choice, cache_bytes) = match kind {
            StoreKind::Memory => (StoreChoice::Memory, 0),
            StoreKind::Sled => (embedded(EngineKind::Sled), sled.cache_bytes),
            StoreKind::Fjall => (embedded(EngineKind::Fjall), fjall.cache_bytes),
            StoreKind::Postgres => (postgres.choice(url), 0),
            StoreKind::Redis => (redis.choice(url), 0),
        };
        StoreSettings { choice, slots: StoreSlots::Configured(*slots), cache_bytes }
    }

    /// How a store that is named on the command line is opened, with the rest as it is configured.
    pub fn settings_of(&self, mut choice: StoreChoice, slots: StoreSlots) -> StoreSettings {
        match &mut choice {
            StoreChoice::Memory | StoreChoice::Embedded { .. } => {}
            StoreChoice::Postgres { url, .. } => choice = self.store.postgres.choice(url),
            StoreChoice::Redis(options) => choice = self.store.redis.choice(&options.url),
        }
        let cache_bytes = match choice {
            StoreChoice::Embedded { engine: EngineKind::Sled, .. } => self.store.sled.cache_bytes,
            StoreChoice::Embedded { engine: EngineKind::Fjall, .. } => self.store.fjall.cache_bytes,
            StoreChoice::Memory | StoreChoice::Postgres { .. } | StoreChoice::Redis { .. } => 0,
        };
        StoreSettings { choice, slots, cache_bytes }
    }

    fn read(r: &mut Reader<'_>) -> Config {
        Config {
            node: Node { name: r.text("node.name", 0..=64) },
            http: Config::read_http(r),
            idempotency: Idempotency {
                keep_ms: r.ms("idempotency.keep_ms"),
                keep_money_ms: r.ms("idempotency.keep_money_ms"),
            },
            data: Data { dir: r.text("data.dir", 1..=4_096).into() },
            store: Store {
                kind: r.word(
                    "store.kind",
                    &[
                        ("sled", StoreKind::Sled),
                        ("fjall", StoreKind::Fjall),
                        ("postgres", StoreKind::Postgres),
                        ("redis", StoreKind::Redis),
                        ("memory", StoreKind::Memory),
                    ],
                ),
                url: r.text("store.url", 0..=4_096),
                slots: r.number("store.slots", 1..=32_768),
                sled: Engine { cache_bytes: r.number("store.sled.cache_bytes", 1 << 20..=1 << 44) },
                fjall: Engine { cache_bytes: r.number("store.fjall.cache_bytes", 1 << 20..=1 << 44) },
                postgres: Postgres::read(r),
                redis: Redis::read(r),
            },
            journal: Journal {
                batch_records_max: r.size("journal.batch_records_max", 1..=1_000_000),
                batch_bytes_max: r.size("journal.batch_bytes_max", 65_536..=1 << 30),
                queue_bytes_max: r.size("journal.queue_bytes_max", 65_536..=1 << 40),
            },
            slots: Slots {
                mailbox_max: r.size("slots.mailbox_max", 16..=1_000_000),
                resident_bytes_max: r.size("slots.resident_bytes_max", 1 << 20..=1 << 44),
                idle_ms: r.ms("slots.idle_ms"),
                snapshot_events: r.number("slots.snapshot_events", 1..=1_000_000),
                owed_overdue_ms: r.ms("slots.owed_overdue_ms"),
            },
            cart: Cart { ttl_ms: r.ms("cart.ttl_ms") },
            reservation: Reservation { ttl_ms: r.ms("reservation.ttl_ms") },
            order: Order { decide_ms: r.number("order.decide_ms", 2..=55_000) },
            complete: Complete { deadline_ms: r.ms("complete.deadline_ms") },
            payment: Payment { timeout_ms: r.number("payment.timeout_ms", 1..=50_000) },
            stock: Stock { low_at: r.number("stock.low_at", 0..=1_000_000) },
            auth: Config::read_auth(r),
            limits: Limits {
                redis_url: r.text("limits.redis_url", 0..=4_096),
                exempt: r.blocks("limits.exempt"),
                address_per_minute: r.number("limits.address_per_minute", 1..=1_000_000_000),
                user_per_minute: r.number("limits.user_per_minute", 1..=1_000_000_000),
                login_failures_max: r.number("limits.login_failures_max", 1..=1_000_000),
                account_failures_max: r.number("limits.account_failures_max", 1..=1_000_000),
                login_window_ms: r.ms("limits.login_window_ms"),
            },
            log: Log {
                filter: r.text("log.filter", 1..=4_096),
                format: r.word(
                    "log.format",
                    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
                ),
            },
        }
    }

    fn read_http(r: &mut Reader<'_>) -> Http {
        Http {
            addr: r.parsed("http.addr", "an IP address and port such as 127.0.0.1:8080", "127.0.0.1:8080"),
            body_max_bytes: r.size("http.body_max_bytes", 1_024..=1 << 30),
            bodies_max_bytes: r.size("http.bodies_max_bytes", 1_024..=1 << 40),
            header_max_bytes: r.size("http.header_max_bytes", 8_192..=1 << 20),
            request_deadline_ms: r.ms("http.request_deadline_ms"),
            handler_timeout_ms: r.ms("http.handler_timeout_ms"),
            header_timeout_ms: r.ms("http.header_timeout_ms"),
            body_timeout_ms: r.ms("http.body_timeout_ms"),
            write_stall_ms: r.ms("http.write_stall_ms"),
            connections_max: r.size("http.connections_max", 1..=1_000_000),
            active_max: r.size("http.active_max", 256..=1_000_000),
            queue_max: r.size("http.queue_max", 0..=1_000_000),
            queue_wait_ms: r.ms("http.queue_wait_ms"),
            waiting_max: r.size("http.waiting_max", 0..=1_000_000),
            waiting_per_caller_max: r.size("http.waiting_per_caller_max", 0..=1_000_000),
            drain_ms: r.ms("http.drain_ms"),
            trusted_proxies: r.blocks("http.trusted_proxies"),
            trusted_proxy_header: r.word("http.trusted_proxy_header", ProxyHeader::WORDS),
            hsts_max_age_s: r.number("http.hsts_max_age_s", 0..=1 << 32),
            cors: Cors { origins: r.origins("http.cors.origins") },
        }
    }

    fn read_auth(r: &mut Reader<'_>) -> Auth {
        Auth {
            issuer: r.text("auth.issuer", 1..=255),
            audience: r.text("auth.audience", 1..=255),
            access_ttl_ms: r.ms("auth.access_ttl_ms"),
            refresh_ttl_ms: r.ms("auth.refresh_ttl_ms"),
            refresh_grace_ms: r.number("auth.refresh_grace_ms", 0..=3_600_000),
            hashes_max: r.size("auth.hashes_max", 0..=1_024),
            hash_queue_max: r.size("auth.hash_queue_max", 1..=1_000_000),
            hash_queue_per_address_max: r.size("auth.hash_queue_per_address_max", 1..=1_000_000),
            argon2: Argon2 {
                memory_kib: r.number("auth.argon2.memory_kib", 8..=4_194_304),
                iterations: r.number("auth.argon2.iterations", 1..=1_000),
                lanes: r.number("auth.argon2.lanes", 1..=64),
            },
        }
    }

    /// What must hold between keys.
    fn relations(&self, r: &mut Reader<'_>) {
        r.require(
            "complete.deadline_ms",
            self.complete.deadline_ms < self.http.handler_timeout_ms,
            "must be less than http.handler_timeout_ms, or no completion could be answered 202",
        );
        r.require(
            "http.request_deadline_ms",
            self.http.request_deadline_ms < self.http.handler_timeout_ms,
            "must be less than http.handler_timeout_ms",
        );
        r.require(
            "order.decide_ms",
            self.order.decide_ms > self.payment.timeout_ms,
            "must be more than payment.timeout_ms, or an order has no time for its stock",
        );
        r.require(
            "http.bodies_max_bytes",
            self.http.bodies_max_bytes >= self.http.body_max_bytes,
            "must be at least http.body_max_bytes, or the largest body could never be taken",
        );
        r.require(
            "reservation.ttl_ms",
            self.reservation.ttl_ms > self.payment.timeout_ms,
            "must be more than payment.timeout_ms, or an order that is paid late loses its stock",
        );
        r.require(
            "journal.queue_bytes_max",
            self.journal.queue_bytes_max >= self.journal.batch_bytes_max,
            "must be at least journal.batch_bytes_max",
        );
        r.require("store.slots", self.store.slots.is_power_of_two(), "must be a power of two");
        r.require(
            "auth.argon2.memory_kib",
            self.auth.argon2.memory_kib >= 8 * self.auth.argon2.lanes,
            "must be at least 8 per lane",
        );
        let (fits, expected) = self.store.url_fits();
        r.require("store.url", fits, expected);
        self.store.postgres.relations(r);
        self.store.redis.relations(r);
    }

    fn finish(mut self) -> Config {
        if self.auth.hashes_max == 0 {
            self.auth.hashes_max =
                std::thread::available_parallelism().map_or(1, |cores| (usize::from(cores) / 2).max(1));
        }
        self
    }
}
