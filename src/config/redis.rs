//! The settings of the store in Redis.

use super::reader::Reader;
use crate::persistence::redis::RedisSettings;

pub fn read(r: &mut Reader<'_>) -> RedisSettings {
    RedisSettings {
        accept_loss: r.word("store.redis.accept_loss", &[("false", false), ("true", true)]),
        connect_ms: r.ms("store.redis.connect_ms"),
        answer_ms: r.ms("store.redis.answer_ms"),
        root_cert_file: r.text("store.redis.root_cert_file", 0..=4_096).into(),
        client_cert_file: r.text("store.redis.client_cert_file", 0..=4_096).into(),
        client_key_file: r.text("store.redis.client_key_file", 0..=4_096).into(),
    }
}

pub fn relations(settings: &RedisSettings, r: &mut Reader<'_>) {
    let is_pair = settings.client_cert_file.as_os_str().is_empty() == settings.client_key_file.as_os_str().is_empty();
    let why = "and store.redis.client_key_file belong together: name both, or neither";
    r.require("store.redis.client_cert_file", is_pair, why);
}
