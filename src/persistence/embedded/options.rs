//! How an embedded store is opened.

use crate::persistence::Slot;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// What lies below: fixed when the store is created.
    pub engine: EngineKind,
    /// Number of slots: fixed when the store is created.
    pub slots: Slot,
    pub sled: SledSettings,
    pub fjall: FjallSettings,
    pub embedded: EmbeddedSettings,
}

/// The section `store.sled` of `config/default.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct SledSettings {
    /// The cache of what was read. sled takes a few times as much memory as this.
    pub cache_bytes: u64,
}

/// The section `store.fjall` of `config/default.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct FjallSettings {
    /// The cache of what was read.
    pub cache_bytes: u64,
    /// What was written to a keyspace is kept in memory up to this, and then becomes a table. Fixed when the store is
    /// created.
    pub memtable_bytes: u64,
}

/// The section `store.embedded` of `config/default.toml`: what holds for either engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct EmbeddedSettings {
    /// So many records' changes of the index are kept in memory before they are written down; twice as
    /// many may have to be replayed at opening.
    pub checkpoint_records: usize,
    /// So many entities' versions are kept in memory for the compare-and-set, some 100 bytes each.
    pub versions_max: usize,
}

/// Which store lies below the journal. A directory belongs to the one that it was created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineKind {
    #[default]
    Sled,
    Fjall,
}
