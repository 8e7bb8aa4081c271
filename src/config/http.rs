//! The settings of the API: the server, its limits, and what it keeps of requests.

use std::fmt;
use std::net::SocketAddr;

use super::address::{AddressBlock, ProxyHeader};
use super::reader::Reader;

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Http {
    pub addr: SocketAddr,
    pub body_max_bytes: usize,
    pub bodies_max_bytes: usize,
    pub header_max_bytes: usize,
    pub request_deadline_ms: u64,
    pub handler_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub write_stall_ms: u64,
    pub connections_max: usize,
    pub active_max: usize,
    pub queue_max: usize,
    pub queue_wait_ms: u64,
    pub waiting_max: usize,
    pub waiting_per_caller_max: usize,
    pub rendered_max_bytes: usize,
    pub drain_ms: u64,
    pub trusted_proxies: Vec<AddressBlock>,
    pub trusted_proxy_header: ProxyHeader,
    pub hsts_max_age_s: u64,
    pub cors: Cors,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Cors {
    /// Each as a browser sends it (scheme, host and port, without a slash at the end), or `*` alone.
    pub origins: Vec<String>,
}

impl Http {
    pub(super) fn read(r: &mut Reader<'_>) -> Http {
        Http {
            addr: r.parsed("http.addr", "an IP address and port such as 127.0.0.1:8080", "127.0.0.1:8080"),
            body_max_bytes: r.size("http.body_max_bytes", 1_024..=1 << 30),
            bodies_max_bytes: r.size("http.bodies_max_bytes", 1_024..=1 << 40),
            header_max_bytes: r.size("http.header_max_bytes", 8_192..=1 << 20),
            request_deadline_ms: r.ms("http.request_deadline_ms"),
            handler_timeout_ms: r.ms("http.handler_timeout_ms"),
            header_timeout_ms: r.ms("http.header_timeout_ms"),
            body_timeout_ms: r.ms("http.body_timeout_ms"),
            write_stall_ms: r.ms("http.write_stall_ms"),
            connections_max: r.size("http.connections_max", 1..=1_000_000),
            active_max: r.size("http.active_max", 256..=1_000_000),
            queue_max: r.size("http.queue_max", 0..=1_000_000),
            queue_wait_ms: r.ms("http.queue_wait_ms"),
            waiting_max: r.size("http.waiting_max", 0..=1_000_000),
            waiting_per_caller_max: r.size("http.waiting_per_caller_max", 0..=1_000_000),
            rendered_max_bytes: r.size("http.rendered_max_bytes", 0..=1 << 40),
            drain_ms: r.ms("http.drain_ms"),
            trusted_proxies: r.blocks("http.trusted_proxies"),
            trusted_proxy_header: r.word("http.trusted_proxy_header", ProxyHeader::WORDS),
            hsts_max_age_s: r.number("http.hsts_max_age_s", 0..=1 << 32),
            cors: Cors { origins: r.origins("http.cors.origins") },
        }
    }

    pub(super) fn relations(&self, r: &mut Reader<'_>) {
        r.require(
            "http.request_deadline_ms",
            self.request_deadline_ms < self.handler_timeout_ms,
            "must be less than http.handler_timeout_ms",
        );
        r.require(
            "http.bodies_max_bytes",
            self.bodies_max_bytes >= self.body_max_bytes,
            "must be at least http.body_max_bytes, or the largest body could never be taken",
        );
    }
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Idempotency {
    pub keep_ms: u64,
    pub keep_money_ms: u64,
}

impl Idempotency {
    pub(super) fn read(r: &mut Reader<'_>) -> Idempotency {
        Idempotency { keep_ms: r.ms("idempotency.keep_ms"), keep_money_ms: r.ms("idempotency.keep_money_ms") }
    }
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Complete {
    pub deadline_ms: u64,
}

impl Complete {
    pub(super) fn read(r: &mut Reader<'_>) -> Complete {
        Complete { deadline_ms: r.ms("complete.deadline_ms") }
    }
}

#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Limits {
    /// Empty: each node counts for itself. May hold a password: `Debug` does not show it.
    pub redis_url: String,
    pub exempt: Vec<AddressBlock>,
    pub address_per_minute: u32,
    pub user_per_minute: u32,
    pub login_failures_max: u32,
    pub account_failures_max: u32,
    pub login_window_ms: u64,
}

impl Limits {
    pub(super) fn read(r: &mut Reader<'_>) -> Limits {
        Limits {
            redis_url: r.text("limits.redis_url", 0..=4_096),
            exempt: r.blocks("limits.exempt"),
            address_per_minute: r.number("limits.address_per_minute", 1..=1_000_000_000),
            user_per_minute: r.number("limits.user_per_minute", 1..=1_000_000_000),
            login_failures_max: r.number("limits.login_failures_max", 1..=1_000_000),
            account_failures_max: r.number("limits.account_failures_max", 1..=1_000_000),
            login_window_ms: r.ms("limits.login_window_ms"),
        }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits { redis_url, exempt, address_per_minute, user_per_minute, .. } = self;
        let Limits { login_failures_max, account_failures_max, login_window_ms, .. } = self;
        f.debug_struct("Limits")
            .field("redis_url", if redis_url.is_empty() { &"" } else { &"[redacted]" })
            .field("exempt", exempt)
            .field("address_per_minute", address_per_minute)
            .field("user_per_minute", user_per_minute)
            .field("login_failures_max", login_failures_max)
            .field("account_failures_max", account_failures_max)
            .field("login_window_ms", login_window_ms)
            .finish()
    }
}
