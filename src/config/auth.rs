//! The settings of accounts: tokens, sessions, and what hashing a password costs.

use std::thread::available_parallelism;

use super::reader::Reader;

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Auth {
    pub issuer: String,
    pub audience: String,
    pub access_ttl_ms: u64,
    pub refresh_ttl_ms: u64,
    pub refresh_grace_ms: u64,
    /// At least 1: a 0 in the file has become half the number of processors.
    pub hashes_max: usize,
    pub hash_queue_max: usize,
    pub hash_queue_per_address_max: usize,
    pub argon2: Argon2,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Argon2 {
    pub memory_kib: u32,
    pub iterations: u32,
    pub lanes: u32,
}

impl Argon2 {
    /// As the library takes them.
    pub fn params(&self) -> argon2::Params {
        argon2::Params::new(self.memory_kib, self.iterations, self.lanes, None)
            .expect("the bounds of the settings are within the library's")
    }
}

impl Auth {
    pub(super) fn read(r: &mut Reader<'_>) -> Auth {
        Auth {
            issuer: r.text("auth.issuer", 1..=255),
            audience: r.text("auth.audience", 1..=255),
            access_ttl_ms: r.ms("auth.access_ttl_ms"),
            refresh_ttl_ms: r.ms("auth.refresh_ttl_ms"),
            refresh_grace_ms: r.number("auth.refresh_grace_ms", 0..=3_600_000),
            hashes_max: match r.size("auth.hashes_max", 0..=1_024) {
                0 => half_the_processors(),
                hashes => hashes,
            },
            hash_queue_max: r.size("auth.hash_queue_max", 1..=1_000_000),
            hash_queue_per_address_max: r.size("auth.hash_queue_per_address_max", 1..=1_000_000),
            argon2: Argon2 {
                memory_kib: r.number("auth.argon2.memory_kib", 8..=4_194_304),
                iterations: r.number("auth.argon2.iterations", 1..=1_000),
                lanes: r.number("auth.argon2.lanes", 1..=64),
            },
        }
    }

    pub(super) fn relations(&self, r: &mut Reader<'_>) {
        r.require(
            "auth.argon2.memory_kib",
            self.argon2.memory_kib >= 8 * self.argon2.lanes,
            "must be at least 8 per lane",
        );
    }
}

fn half_the_processors() -> usize {
    available_parallelism().map_or(1, |processors| (usize::from(processors) / 2).max(1))
}
