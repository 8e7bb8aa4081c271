//! The settings of the store in PostgreSQL.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use crate::cluster::LEASE;
use crate::persistence::open::StoreChoice;
use crate::persistence::postgres::{Limits, PostgresSettings, Tls};
use crate::persistence::tls::Files;

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Postgres {
    pub readers_max: usize,
    pub connect_ms: u64,
    pub wait_ms: u64,
    pub lock_ms: u64,
    pub write_ms: u64,
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
    Address,
    Disable,
    Verify,
}

impl Postgres {
    pub(super) fn read(r: &mut Reader<'_>) -> Postgres {
        let modes = [
            ("address", SslMode::Address),
            ("disable", SslMode::Disable),
            ("require", SslMode::Verify),
            ("verify-ca", SslMode::Verify),
            ("verify-full", SslMode::Verify),
        ];
        Postgres {
            readers_max: r.size("store.postgres.readers_max", 1..=1_000),
            connect_ms: r.ms("store.postgres.connect_ms"),
            wait_ms: r.ms("store.postgres.wait_ms"),
            lock_ms: r.ms("store.postgres.lock_ms"),
            write_ms: r.ms("store.postgres.write_ms"),
            read_ms: r.ms("store.postgres.read_ms"),
            sslmode: r.word("store.postgres.sslmode", &modes),
            root_cert_file: r.text("store.postgres.root_cert_file", 0..=4_096).into(),
            client_cert_file: r.text("store.postgres.client_cert_file", 0..=4_096).into(),
            client_key_file: r.text("store.postgres.client_key_file", 0..=4_096).into(),
        }
    }

    /// What is cut off must have lost its locks before another node may take its slots.
    pub(super) fn relations(&self, r: &mut Reader<'_>) {
        let lease_ms = LEASE.as_millis() as u64;
        for (key, ms) in [
            ("store.postgres.connect_ms", self.connect_ms),
            ("store.postgres.wait_ms", self.wait_ms),
            ("store.postgres.lock_ms", self.lock_ms),
            ("store.postgres.write_ms", self.write_ms),
        ] {
            let why =
                format!("must be less than a node's lease of {lease_ms}, or it outlasts the node's right to write");
            r.require(key, ms < lease_ms, &why);
        }
        let why = "must be less than store.postgres.write_ms, or the statement is given up before the lock";
        r.require("store.postgres.lock_ms", self.lock_ms < self.write_ms, why);
        let unprotected = self.sslmode != SslMode::Verify;
        let certificates = [
            ("store.postgres.root_cert_file", &self.root_cert_file),
            ("store.postgres.client_cert_file", &self.client_cert_file),
            ("store.postgres.client_key_file", &self.client_key_file),
        ];
        for (key, file) in certificates {
            let why = "is for nothing unless store.postgres.sslmode is verify-full";
            r.require(key, file.as_os_str().is_empty() || !unprotected, why);
        }
        let is_pair = self.client_cert_file.as_os_str().is_empty() == self.client_key_file.as_os_str().is_empty();
        let why = "and store.postgres.client_key_file belong together: name both, or neither";
        r.require("store.postgres.client_cert_file", is_pair, why);
    }

    /// The store at this address, with these settings.
    pub(super) fn choice(&self, url: &str) -> StoreChoice {
        let ms = Duration::from_millis;
        let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let limits = Limits {
            connect: ms(self.connect_ms),
            wait: ms(self.wait_ms),
            lock: ms(self.lock_ms),
            write: ms(self.write_ms),
            read: ms(self.read_ms),
            readers: self.readers_max,
        };
        let is_required = match self.sslmode {
            SslMode::Address => None,
            SslMode::Disable => Some(false),
            SslMode::Verify => Some(true),
        };
        let files = Files {
            root_cert: file(&self.root_cert_file),
            client_cert: file(&self.client_cert_file),
            client_key: file(&self.client_key_file),
        };
        let settings = PostgresSettings { limits, tls: Tls { is_required, files } };
        StoreChoice::Postgres { url: url.to_owned(), settings: Box::new(settings) }
    }
}
