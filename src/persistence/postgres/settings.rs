//! The section `store.postgres` of `config/default.toml`: how the server is spoken to.

use std::path::PathBuf;

use super::super::tls::{Files, named};
use super::tls::Tls;

/// How the server is spoken to. All times stay below a lease of some seconds, but for reading: what holds a lock on a
/// slot's row is gone by the time that another node may take the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct PostgresSettings {
    /// Connections for reads. Appends and changes of owner have one each beside them, and the node list two.
    pub readers_max: usize,
    /// To connect, with all that belongs to it.
    pub connect_ms: u64,
    /// Until a connection of the pool is free.
    pub wait_ms: u64,
    /// Until a lock is had.
    pub lock_ms: u64,
    /// For a statement that writes, on the server.
    pub write_ms: u64,
    /// For one that only reads. A feed may be long.
    pub read_ms: u64,
    pub sslmode: SslMode,
    /// Empty: the usual authorities.
    pub root_cert_file: PathBuf,
    pub client_cert_file: PathBuf,
    pub client_key_file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum SslMode {
    /// As the address says, and none where it says nothing.
    Address,
    Disable,
    Verify,
}

impl PostgresSettings {
    pub(super) fn tls(&self) -> Tls {
        let is_required = match self.sslmode {
            SslMode::Address => None,
            SslMode::Disable => Some(false),
            SslMode::Verify => Some(true),
        };
        let files = Files {
            root_cert_file: named(&self.root_cert_file),
            client_cert_file: named(&self.client_cert_file),
            client_key_file: named(&self.client_key_file),
        };
        Tls { is_required, files }
    }
}
