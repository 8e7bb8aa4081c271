//! The settings: what they are, where they come from, and everything that is wrong with them at once.
//!
//! `config/default.toml` is compiled in and is the only place of keys and defaults; over it lie the
//! user's file, the environment and the command line ([`layers`]). What comes out is [`Config`], typed
//! and within its bounds, so that nothing behind it checks again. Loading never stops at the first
//! problem: who mends a file wants the whole list.

mod address;
mod auth;
mod http;
mod layers;
mod postgres;
mod problems;
mod reader;
mod redis;
mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use address::{AddressBlock, ProxyHeader};
pub use auth::{Argon2, Auth};
pub use http::{Complete, Cors, Http, Idempotency, Limits};
use layers::Layers;
pub use postgres::Postgres;
pub use problems::{Problem, Problems};
use reader::Reader;
pub use redis::Redis;
pub use store::{Engine, Store, StoreKind};

use crate::actors::entity::Policy;

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
pub struct Data {
    pub dir: PathBuf,
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
pub struct Payment {
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stock {
    pub low_at: u32,
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
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
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

    fn read(r: &mut Reader<'_>) -> Config {
        Config {
            node: Node { name: r.text("node.name", 0..=64) },
            http: Http::read(r),
            idempotency: Idempotency::read(r),
            data: Data { dir: r.text("data.dir", 1..=4_096).into() },
            store: Store::read(r),
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
            complete: Complete::read(r),
            payment: Payment { timeout_ms: r.number("payment.timeout_ms", 1..=50_000) },
            stock: Stock { low_at: r.number("stock.low_at", 0..=1_000_000) },
            auth: Auth::read(r),
            limits: Limits::read(r),
            log: Log {
                filter: r.text("log.filter", 1..=4_096),
                format: r.word(
                    "log.format",
                    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
                ),
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
            "order.decide_ms",
            self.order.decide_ms > self.payment.timeout_ms,
            "must be more than payment.timeout_ms, or an order has no time for its stock",
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
        self.http.relations(r);
        self.auth.relations(r);
        self.store.relations(r);
    }
}
