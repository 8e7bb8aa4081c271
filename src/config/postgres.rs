//! The settings of the store in PostgreSQL.

use super::reader::Reader;
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

pub fn relations(settings: &PostgresSettings, r: &mut Reader<'_>) {
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
