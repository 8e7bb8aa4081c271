//! Every setting of the edge, with its default and the reason for it.

use std::net::IpAddr;
use std::str::FromStr;

use crate::actors::values::Invalid;

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

    /// Requests that run at once. 256 are never shed, so: well above.
    pub admission_permits: usize,
    /// Requests that wait for a permit; one more is refused at once.
    pub admission_queue: usize,
    /// How long a request waits for a permit before it is refused (503).
    pub admission_wait_ms: u64,

    /// Requests per minute and address, for callers that are not exempt.
    pub address_limit_per_minute: u64,
    /// Requests per minute and signed-in user, for callers that are not exempt.
    pub user_limit_per_minute: u64,
    /// Networks whose callers have no volume limits, unless the request was forwarded.
    pub limits_exempt: Vec<Network>,
    /// Proxies whose `Forwarded` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Failed logins per account and address before both are locked out.
    pub login_failures: u64,
    /// The window in which failed logins are counted.
    pub login_window_ms: u64,

    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// How long an access token is good for.
    pub access_ttl_ms: u64,
    /// Passwords that are hashed at once (each takes a core and 19 MiB); 0: one per core.
    pub password_permits: usize,

    /// How long outcomes of requests with an idempotency key are kept.
    pub idempotency_keep_ms: u64,
    /// The same where money moves.
    pub idempotency_keep_money_ms: u64,

    /// Origins that browsers may call from; `*` for any; none: no CORS headers at all.
    pub cors_origins: Vec<String>,
    /// `max-age` of Strict-Transport-Security; 0: not sent (TLS ends at the proxy, which may send it).
    pub hsts_max_age_s: u64,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        EdgeConfig {
            request_deadline_ms: 8_000,
            complete_deadline_ms: 10_000,
            handler_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            body_limit_bytes: 1024 * 1024,
            header_timeout_ms: 30_000,
            write_stall_ms: 15_000,
            header_limit_bytes: 32 * 1024,
            connection_limit: 16_384,
            drain_ms: 20_000,
            admission_permits: 1_024,
            admission_queue: 1_024,
            admission_wait_ms: 1_000,
            address_limit_per_minute: 6_000,
            user_limit_per_minute: 3_000,
            limits_exempt: vec![Network::LOOPBACK_V4, Network::LOOPBACK_V6],
            trusted_proxies: Vec::new(),
            login_failures: 10,
            login_window_ms: 15 * 60_000,
            issuer: "souk".into(),
            audience: "souk".into(),
            access_ttl_ms: 5 * 60_000,
            password_permits: 0,
            idempotency_keep_ms: 24 * 3_600_000,
            idempotency_keep_money_ms: 7 * 24 * 3_600_000,
            cors_origins: Vec::new(),
            hsts_max_age_s: 0,
        }
    }
}

/// A range of addresses, written `10.0.0.0/8`, `::1` or `loopback`'s two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    pub const LOOPBACK_V4: Network =
        Network { address: IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 0)), prefix_bits: 8 };
    pub const LOOPBACK_V6: Network = Network { address: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), prefix_bits: 128 };

    /// Whether the address lies in this range; an IPv4 address mapped into IPv6 counts as the former.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(it)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                (u64::from(net.to_bits()) >> shift) == (u64::from(it.to_bits()) >> shift)
            }
            (IpAddr::V6(net), IpAddr::V6(it)) => {
                let keep = |bits: u128| bits.checked_shr(128 - u32::from(self.prefix_bits)).unwrap_or(0);
                keep(net.to_bits()) == keep(it.to_bits())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("expected a network such as 10.0.0.0/8 or an address");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| WHY)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(bits) => bits.trim().parse::<u8>().ok().filter(|bits| *bits <= most).ok_or(WHY)?,
            None => most,
        };
        Ok(Network { address, prefix_bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let table = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("::1", "::1", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
        ];
        for (network, address, inside) in table {
            let network: Network = network.parse().expect("a network");
            assert_eq!(network.contains(address.parse().expect("an address")), inside, "{network:?} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "ten", "10.0.0.0/x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
