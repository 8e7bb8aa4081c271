//! Every setting of the edge, with its default and the reason for it.

use crate::config::{AddressBlock, ProxyHeader};

/// Settings of the HTTP edge. `Default` is what a laptop and a test want.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// How long a request may take before the caller is told so (503). Completion has its own.
    pub request_deadline_ms: u64,
    /// How long a completion waits for the order's decision before it answers 202.
    pub complete_deadline_ms: u64,
    /// The last resort: a handler that runs longer is dropped. Above both deadlines.
    pub handler_timeout_ms: u64,
    /// How long a request body may take to arrive: slow clients are cut off (408).
    pub body_timeout_ms: u64,
    /// The largest request body.
    pub body_limit_bytes: usize,
    /// Memory that large bodies share: beyond, they are refused (503). Small ones are always taken.
    pub bodies_limit_bytes: usize,
    /// How long the headers of a request may take, and how long a kept-alive connection may idle.
    pub header_timeout_ms: u64,
    /// How long a client may take no byte of an answer before it is cut off.
    pub write_stall_ms: u64,
    /// The largest head of a request.
    pub header_limit_bytes: usize,
    /// The most open connections: beyond, new ones wait in the listen backlog.
    pub connection_limit: usize,
    /// How long a stopping server waits for the requests it has admitted.
    pub drain_ms: u64,

    /// Requests that are worked on at once. 256 are never shed.
    pub admission_active: usize,
    /// Requests that queue for a place; one more is refused at once.
    pub admission_queue: usize,
    /// How long a request queues for a place before it is refused (503).
    pub admission_wait_ms: u64,
    /// Requests that have been let in and wait for something else, without a place.
    pub waiting_max: usize,
    /// The same of one caller.
    pub waiting_per_caller_max: usize,

    /// Requests per minute and address, for callers that are not exempt.
    pub address_limit_per_minute: u64,
    /// Requests per minute and signed-in user, for callers that are not exempt.
    pub user_limit_per_minute: u64,
    /// Networks whose callers have no volume limits, unless the request was forwarded.
    pub limits_exempt: Vec<AddressBlock>,
    /// Proxies who are believed about where a request came from.
    pub trusted_proxies: Vec<AddressBlock>,
    /// The header in which they say so; any other is the client's.
    pub trusted_proxy_header: ProxyHeader,
    /// Failed logins per account and address before both are locked out.
    pub login_failures: u64,
    /// Failed logins per account from anywhere before only places where somebody has signed in to it get through.
    pub account_failures: u64,
    /// The window in which failed logins are counted.
    pub login_window_ms: u64,

    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// How long an access token is good for.
    pub access_ttl_ms: u64,
    /// Passwords that are hashed at once (each takes a core and its memory); 0: half the cores.
    pub password_permits: usize,
    /// Requests that hash a password or wait for their turn; one more is refused at once (503).
    pub password_queue: usize,
    /// The same of one address that is not exempt (429).
    pub password_queue_per_caller: usize,
    /// What hashing a new password costs. Stored hashes say what they cost.
    pub password_cost: argon2::Params,

    /// How long outcomes of requests with an idempotency key are kept.
    pub idempotency_keep_ms: u64,
    /// The same where money moves.
    pub idempotency_keep_money_ms: u64,

    /// Origins that browsers may call from; `*` for any; none: no CORS headers at all.
    pub cors_origins: Vec<String>,
    /// `max-age` of Strict-Transport-Security; 0: not sent (TLS ends at the proxy, which may send it).
    pub hsts_max_age_s: u64,
    /// After how long a step that is owed is listed for the operator.
    pub owed_overdue_ms: u64,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        EdgeConfig {
            request_deadline_ms: 8_000,
            complete_deadline_ms: 10_000,
            handler_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            body_limit_bytes: 1024 * 1024,
            bodies_limit_bytes: 64 * 1024 * 1024,
            header_timeout_ms: 30_000,
            write_stall_ms: 15_000,
            header_limit_bytes: 32 * 1024,
            connection_limit: 16_384,
            drain_ms: 20_000,
            admission_active: 256,
            admission_queue: 128,
            admission_wait_ms: 1_000,
            waiting_max: 768,
            waiting_per_caller_max: 64,
            address_limit_per_minute: 6_000,
            user_limit_per_minute: 3_000,
            limits_exempt: AddressBlock::loopback(),
            trusted_proxies: Vec::new(),
            trusted_proxy_header: ProxyHeader::XForwardedFor,
            login_failures: 10,
            account_failures: 100,
            login_window_ms: 15 * 60_000,
            issuer: "souk".into(),
            audience: "souk".into(),
            access_ttl_ms: 5 * 60_000,
            password_permits: 0,
            password_queue: 256,
            password_queue_per_caller: 16,
            password_cost: argon2::Params::DEFAULT,
            idempotency_keep_ms: 24 * 3_600_000,
            idempotency_keep_money_ms: 7 * 24 * 3_600_000,
            cors_origins: Vec::new(),
            hsts_max_age_s: 0,
            owed_overdue_ms: 120_000,
        }
    }
}
