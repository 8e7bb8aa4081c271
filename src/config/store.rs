//! The settings of the store: which one, and how it is opened.

use std::fmt;

use super::Config;
use super::reader::Reader;
use super::{postgres, redis};
use crate::persistence::Slot;
use crate::persistence::embedded::{EmbeddedSettings, EngineKind, FjallSettings, SledSettings};
use crate::persistence::open::{Slots as StoreSlots, StoreChoice, StoreSettings, Tuning};
use crate::persistence::postgres::{PostgresSettings, SERVERS_MAX};
use crate::persistence::redis::RedisSettings;

#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Store {
    pub kind: StoreKind,
    /// Empty for the embedded kinds. May hold a password: `Debug` does not show it.
    pub url: String,
    /// Several servers in its place; the same is true of these.
    pub urls: Vec<String>,
    pub slots: Slot,
    pub sled: SledSettings,
    pub fjall: FjallSettings,
    pub embedded: EmbeddedSettings,
    pub postgres: PostgresSettings,
    pub redis: RedisSettings,
}

impl Store {
    pub(super) fn read(r: &mut Reader<'_>) -> Store {
        Store {
            kind: r.word("store.kind", StoreKind::WORDS),
            url: r.text("store.url", 0..=4_096),
            urls: r.list("store.urls"),
            slots: r.number("store.slots", 1..=32_768),
            sled: SledSettings { cache_bytes: r.number("store.sled.cache_bytes", 1 << 20..=1 << 44) },
            fjall: FjallSettings {
                cache_bytes: r.number("store.fjall.cache_bytes", 1 << 20..=1 << 44),
                memtable_bytes: r.number("store.fjall.memtable_bytes", 1 << 20..=1 << 32),
            },
            embedded: EmbeddedSettings {
                checkpoint_records: r.size("store.embedded.checkpoint_records", 100..=100_000_000),
                versions_max: r.size("store.embedded.versions_max", 1..=100_000_000),
            },
            postgres: postgres::read(r),
            redis: redis::read(r),
        }
    }

    pub(super) fn relations(&self, r: &mut Reader<'_>) {
        r.require("store.slots", self.slots.is_power_of_two(), "must be a power of two");
        let (fits, expected) = self.url_fits();
        r.require("store.url", fits, expected);
        let is_address = |url: &String| matches!(url.parse(), Ok(StoreChoice::Postgres { .. }));
        let are_addresses = self.urls.len() <= SERVERS_MAX && self.urls.iter().all(is_address);
        let expected = "must be the addresses of at most 64 servers: postgres://...";
        r.require("store.urls", are_addresses, expected);
        let is_alone = self.urls.is_empty() || (self.kind == StoreKind::Postgres && self.url.is_empty());
        r.require("store.urls", is_alone, "needs the kind postgres, and stands in the place of store.url");
        postgres::relations(&self.postgres, r);
        redis::relations(&self.redis, r);
    }

    /// Whether the address is one for the kind; what it must be.
    fn url_fits(&self) -> (bool, &'static str) {
        let parsed = self.url.parse();
        match self.kind {
            StoreKind::Sled | StoreKind::Fjall | StoreKind::Memory => {
                let why = "must be empty: the kinds sled, fjall and memory are embedded and have no address";
                (self.url.is_empty(), why)
            }
            StoreKind::Postgres if !self.urls.is_empty() => (true, ""), // which says the rest
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
            .field("urls", &self.urls.len())
            .field("slots", &self.slots)
            .field("sled", &self.sled)
            .field("fjall", &self.fjall)
            .field("embedded", &self.embedded)
            .field("postgres", &self.postgres)
            .field("redis", &self.redis)
            .finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum StoreKind {
    Sled,
    Fjall,
    Postgres,
    Redis,
    Memory,
}

impl StoreKind {
    const WORDS: &[(&str, StoreKind)] = &[
        ("sled", StoreKind::Sled),
        ("fjall", StoreKind::Fjall),
        ("postgres", StoreKind::Postgres),
        ("redis", StoreKind::Redis),
        ("memory", StoreKind::Memory),
    ];

    pub fn word(self) -> &'static str {
        let named = StoreKind::WORDS.iter().find(|(_, kind)| *kind == self);
        named.map_or("", |(word, _)| word)
    }

    /// Whether several processes reach it: then the node list, and no lock file, keeps a second one out.
    pub fn is_shared(self) -> bool {
        match self {
            StoreKind::Sled | StoreKind::Fjall | StoreKind::Memory => false,
            StoreKind::Postgres | StoreKind::Redis => true,
        }
    }
}

impl Store {
    /// What is configured of the stores of each kind.
    pub fn tuning(&self) -> Tuning {
        let Store { sled, fjall, embedded, postgres, redis, .. } = self.clone();
        Tuning { sled, fjall, embedded, postgres, redis }
    }
}

impl Config {
    /// How the store is opened, and created where there is none.
    pub fn store_settings(&self) -> StoreSettings {
        let Store { kind, url, urls, slots, .. } = &self.store;
        let embedded = |engine| StoreChoice::Embedded { engine, dir: self.data.dir.clone() };
        let choice = match kind {
            StoreKind::Memory => StoreChoice::Memory,
            StoreKind::Sled => embedded(EngineKind::Sled),
            StoreKind::Fjall => embedded(EngineKind::Fjall),
            StoreKind::Postgres if urls.is_empty() => StoreChoice::Postgres { url: url.clone() },
            StoreKind::Postgres => StoreChoice::Several { urls: urls.clone() },
            StoreKind::Redis => StoreChoice::Redis { url: url.clone() },
        };
        self.settings_of(choice, StoreSlots::Configured(*slots))
    }

    /// How a store that is named on the command line is opened, with the rest as it is configured.
    pub fn settings_of(&self, choice: StoreChoice, slots: StoreSlots) -> StoreSettings {
        StoreSettings { choice, slots, tuning: self.store.tuning() }
    }
}
