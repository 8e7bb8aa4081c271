//! How an embedded store is opened.

use crate::persistence::Slot;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// What lies below: fixed when the store is created.
    pub engine: EngineKind,
    /// Number of slots: fixed when the store is created.
    pub slots: Slot,
    /// The engine's cache of what it has read. sled's takes a few times as much memory as this.
    pub cache_bytes: u64,
    /// fjall keeps in memory what was written to a keyspace up to this, and then writes a table. Fixed when the store
    /// is created.
    pub memtable_bytes: u64,
    /// So many records' changes of the index are kept in memory before they are written down; twice as
    /// many may have to be replayed at opening.
    pub checkpoint_records: usize,
    /// So many entities' versions are kept in memory for the compare-and-set, some 100 bytes each.
    pub versions_cached: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions {
            engine: EngineKind::default(),
            slots: 1_024,
            cache_bytes: 64 << 20,
            memtable_bytes: 16 << 20,
            checkpoint_records: 50_000,
            versions_cached: 200_000,
        }
    }
}

/// Which store lies below the journal. A directory belongs to the one that it was created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineKind {
    #[default]
    Sled,
    Fjall,
}
