//! The settings of the store in PostgreSQL.

use super::reader::Reader;
use crate::cluster::LEASE;
use crate::persistence::postgres::{PostgresSettings, SslMode};

pub fn read(r: &mut Reader<'_>) -> PostgresSettings {
    let modes = [
        ("address", SslMode::Address),
        ("disable", SslMode::Disable),
        ("require", SslMode::Verify),
        ("verify-ca", SslMode::Verify),
        ("verify-full", SslMode::Verify),
    ];
    PostgresSettings {
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

/// A session that is cut off must have lost its locks before another node may take its slots.
pub fn relations(settings: &PostgresSettings, r: &mut Reader<'_>) {
    let lease_ms = LEASE.as_millis() as u64;
    for (key, ms) in [
        ("store.postgres.connect_ms", settings.connect_ms),
        ("store.postgres.wait_ms", settings.wait_ms),
        ("store.postgres.lock_ms", settings.lock_ms),
        ("store.postgres.write_ms", settings.write_ms),
    ] {
        let why = format!("must be less than a node's lease of {lease_ms}, or it outlasts the node's right to write");
        r.require(key, ms < lease_ms, &why);
    }
    let why = "must be less than store.postgres.write_ms, or the statement is given up before the lock";
    r.require("store.postgres.lock_ms", settings.lock_ms < settings.write_ms, why);
    let unprotected = settings.sslmode != SslMode::Verify;
    let certificates = [
        ("store.postgres.root_cert_file", &settings.root_cert_file),
        ("store.postgres.client_cert_file", &settings.client_cert_file),
        ("store.postgres.client_key_file", &settings.client_key_file),
    ];
    for (key, file) in certificates {
        let why = "is for nothing unless store.postgres.sslmode is verify-full";
        r.require(key, file.as_os_str().is_empty() || !unprotected, why);
    }
    let is_pair = settings.client_cert_file.as_os_str().is_empty() == settings.client_key_file.as_os_str().is_empty();
    let why = "and store.postgres.client_key_file belong together: name both, or neither";
    r.require("store.postgres.client_cert_file", is_pair, why);
}
