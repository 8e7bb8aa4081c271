//! The settings: what they are, where they come from, and everything that is wrong with them at once.
//!
//! `config/default.toml` is compiled in and is the only place of keys and defaults; over it lie the
//! user's file, the environment and the command line ([`layers`]). What comes out is [`Config`], typed
//! and within its bounds, so that nothing behind it checks again. Loading never stops at the first error: whoever
//! mends a file wants the whole list.

mod address;
mod auth;
mod cluster;
mod errors;
mod http;
mod layers;
mod postgres;
mod reader;
mod redis;
mod runtime;
mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

pub use address::{AddressBlock, ProxyHeader};
pub use auth::{Argon2, Auth};
pub use cluster::{Cluster, ClusterTls, SecretError};
pub use errors::{ConfigError, ConfigErrors};
pub use http::{Complete, Cors, Http, Idempotency, Limits};
use layers::Layers;
use reader::Reader;
pub use store::{Store, StoreKind};

use crate::actors::policy::{CartPolicy, OrderPolicy, PaymentPolicy, ReservationPolicy, StockPolicy};
use crate::actors::runtime::slot::SlotLimits;
use crate::actors::runtime::writer::WriterLimits;

/// The defaults as shipped, with the documentation of every key.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// All settings. A field is the key of `config/default.toml` of the same path, where its why and unit
/// are written.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Config {
    pub node: Node,
    pub http: Http,
    pub idempotency: Idempotency,
    pub data: Data,
    pub store: Store,
    pub cluster: Cluster,
    pub journal: WriterLimits,
    pub slots: SlotLimits,
    pub cart: CartPolicy,
    pub reservation: ReservationPolicy,
    pub order: OrderPolicy,
    pub complete: Complete,
    pub payment: PaymentPolicy,
    pub stock: StockPolicy,
    pub auth: Auth,
    pub limits: Limits,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Node {
    /// Empty: the host's name.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Data {
    pub dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
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
    /// The defaults as shipped. Tests start from these and change what they say they change.
    fn default() -> Self {
        static SHIPPED: LazyLock<Config> =
            LazyLock::new(|| Config::load(&Sources::default()).expect("config/default.toml is tested to be valid"));
        SHIPPED.clone()
    }
}

impl Config {
    /// Reads all sources. On failure, every problem in all of them.
    pub fn load(sources: &Sources<'_>) -> Result<Config, ConfigErrors> {
        let (layers, mut problems) = Layers::gather(sources);
        let mut reader = Reader::new(&layers);
        let config = Config::read(&mut reader);
        config.relations(&mut reader);
        problems.extend(reader.into_problems());
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }

    fn read(r: &mut Reader<'_>) -> Config {
        Config {
            node: Node { name: r.text("node.name", 0..=64) },
            http: Http::read(r),
            idempotency: Idempotency::read(r),
            data: Data { dir: r.text("data.dir", 1..=4_096).into() },
            store: Store::read(r),
            cluster: Cluster::read(r),
            journal: runtime::journal(r),
            slots: runtime::slots(r),
            cart: runtime::cart(r),
            reservation: runtime::reservation(r),
            order: runtime::order(r),
            complete: Complete::read(r),
            payment: runtime::payment(r),
            stock: runtime::stock(r),
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
        self.cluster.relations(r);
    }
}
