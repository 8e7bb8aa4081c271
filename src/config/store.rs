//! The settings of the store: which one, and how it is opened.

use std::fmt;

use super::Config;
use super::postgres::Postgres;
use super::reader::Reader;
use super::redis::Redis;
use crate::persistence::Slot;
use crate::persistence::embedded::EngineKind;
use crate::persistence::open::{Slots as StoreSlots, StoreChoice, StoreSettings};

#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
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
    pub(super) fn read(r: &mut Reader<'_>) -> Store {
        Store {
            kind: r.word("store.kind", StoreKind::WORDS),
            url: r.text("store.url", 0..=4_096),
            slots: r.number("store.slots", 1..=32_768),
            sled: Engine { cache_bytes: r.number("store.sled.cache_bytes", 1 << 20..=1 << 44) },
            fjall: Engine { cache_bytes: r.number("store.fjall.cache_bytes", 1 << 20..=1 << 44) },
            postgres: Postgres::read(r),
            redis: Redis::read(r),
        }
    }

    pub(super) fn relations(&self, r: &mut Reader<'_>) {
        r.require("store.slots", self.slots.is_power_of_two(), "must be a power of two");
        let (fits, expected) = self.url_fits();
        r.require("store.url", fits, expected);
        self.postgres.relations(r);
        self.redis.relations(r);
    }

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

    /// Whether several processes reach it: then the node list, and no lock file, keeps a second one out.
    pub fn is_shared(self) -> bool {
        match self {
            StoreKind::Sled | StoreKind::Fjall | StoreKind::Memory => false,
            StoreKind::Postgres | StoreKind::Redis => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Engine {
    pub cache_bytes: u64,
}

impl Config {
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
}
