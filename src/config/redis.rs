//! The settings of the store in Redis.

use std::path::PathBuf;

use super::reader::Reader;
use crate::cluster::LEASE;
use crate::persistence::open::StoreChoice;
use crate::persistence::redis::RedisOptions;
use crate::persistence::tls::Files;

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Redis {
    pub accept_loss: bool,
    pub connect_ms: u64,
    pub answer_ms: u64,
    /// Empty: the usual authorities.
    pub root_cert_file: PathBuf,
    pub client_cert_file: PathBuf,
    pub client_key_file: PathBuf,
}

impl Redis {
    pub(super) fn read(r: &mut Reader<'_>) -> Redis {
        Redis {
            accept_loss: r.word("store.redis.accept_loss", &[("false", false), ("true", true)]),
            connect_ms: r.ms("store.redis.connect_ms"),
            answer_ms: r.ms("store.redis.answer_ms"),
            root_cert_file: r.text("store.redis.root_cert_file", 0..=4_096).into(),
            client_cert_file: r.text("store.redis.client_cert_file", 0..=4_096).into(),
            client_key_file: r.text("store.redis.client_key_file", 0..=4_096).into(),
        }
    }

    pub(super) fn relations(&self, r: &mut Reader<'_>) {
        let lease_ms = LEASE.as_millis() as u64;
        let times = [("store.redis.connect_ms", self.connect_ms), ("store.redis.answer_ms", self.answer_ms)];
        for (key, ms) in times {
            let why =
                format!("must be less than a node's lease of {lease_ms}, or it outlasts the node's right to write");
            r.require(key, ms < lease_ms, &why);
        }
        let is_pair = self.client_cert_file.as_os_str().is_empty() == self.client_key_file.as_os_str().is_empty();
        let why = "and store.redis.client_key_file belong together: name both, or neither";
        r.require("store.redis.client_cert_file", is_pair, why);
    }

    /// The store at this address, with these settings.
    pub(super) fn choice(&self, url: &str) -> StoreChoice {
        let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let options = RedisOptions {
            accept_loss: self.accept_loss,
            connect_ms: self.connect_ms,
            answer_ms: self.answer_ms,
            files: Files {
                root_cert: file(&self.root_cert_file),
                client_cert: file(&self.client_cert_file),
                client_key: file(&self.client_key_file),
            },
            ..RedisOptions::at(url)
        };
        StoreChoice::Redis(options.into())
    }
}
