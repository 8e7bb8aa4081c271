//! What belongs to one HTTP request and no handler has to pass around: its ids, its deadline, where it
//! came from. Made by the front layer, found in the request's extensions.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::config::EdgeConfig;
use super::idempotency::random_request_id;
use super::limits::Verdict;
use super::problem::{Code, Result};
use crate::actors::values::RequestId;
use crate::config::AddressBlock;

/// The address at the other end of the connection; put into each request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// One request's surroundings.
#[derive(Debug)]
pub struct Context {
    pub arrived: Instant,
    pub deadline: Instant,
    pub origin: Origin,
    /// The identity of this request when it has no idempotency key.
    pub random: RequestId,
    /// The identity that the idempotency key gave it: then a repeat shows the same request id.
    pub identity: OnceLock<RequestId>,
    /// What the limiter said of the signed-in user, for the `RateLimit` field.
    pub user_limit: OnceLock<Verdict>,
    named: Option<String>,
    trace: Option<Trace>,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// `None` only where there is no connection, in tests of a router.
    pub address: Option<IpAddr>,
    /// Whether volume limits do not apply.
    pub exempt: bool,
}

/// A W3C trace context (version 00) as it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    pub trace_id: [u8; 16],
    pub flags: u8,
}

impl Context {
    pub fn of(config: &EdgeConfig, request: &Request) -> Context {
        let headers = request.headers();
        let arrived = Instant::now();
        Context {
            arrived,
            deadline: arrived + Duration::from_millis(config.request_deadline_ms),
            origin: Origin::of(config, request.extensions().get::<Peer>().map(|peer| peer.0.ip()), headers),
            random: random_request_id(),
            identity: OnceLock::new(),
            user_limit: OnceLock::new(),
            named: headers
                .get("x-request-id")
                .and_then(|value| value.to_str().ok())
                .filter(|id| is_id(id))
                .map(Into::into),
            trace: headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(Trace::parse),
        }
    }

    /// What the caller calls this request; without a name of his own it is its identity, so that it can
    /// be found in the journal.
    pub fn request_id(&self) -> String {
        match &self.named {
            Some(name) => name.clone(),
            None => self.identity.get().unwrap_or(&self.random).to_string(),
        }
    }

    /// 32 hexadecimal digits: of the caller's trace, or else of the request's identity.
    pub fn trace_id(&self) -> String {
        let own = self.identity.get().unwrap_or(&self.random).0;
        hex(&self.trace.map_or(own, |trace| trace.trace_id))
    }

    /// The trace context with a span of ours, for a caller that sent one.
    pub fn trace_response(&self) -> Option<String> {
        let trace = self.trace?;
        Some(format!("00-{}-{}-{:02x}", hex(&trace.trace_id), hex(&self.random.0[..8]), trace.flags))
    }

    /// The context of a request that is being extracted.
    pub fn from_parts(parts: &Parts) -> Result<Arc<Context>> {
        // The front layer always puts it there; a router without the layer is a mistake of ours.
        parts.extensions.get::<Arc<Context>>().cloned().ok_or_else(|| Code::Internal.into())
    }
}

/// A request id that we echo: 1 to 128 visible characters.
fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

impl Trace {
    /// Reads `00-<trace id>-<parent id>-<flags>`. Later versions may have more parts behind these.
    fn parse(text: &str) -> Option<Trace> {
        let mut parts = text.trim().split('-');
        let mut part = |bytes: usize| {
            let hex = parts.next().filter(|part| part.len() == 2 * bytes)?;
            data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()
        };
        let version = part(1)?[0];
        let trace_id = <[u8; 16]>::try_from(part(16)?).ok().filter(|id| *id != [0; 16])?;
        part(8).filter(|id| id.iter().any(|byte| *byte != 0))?;
        let flags = part(1)?[0];
        let more = parts.next().is_some();
        (version != 0xff && !(version == 0 && more)).then_some(Trace { trace_id, flags })
    }
}

impl Origin {
    /// The caller's address: the connection's, or, behind a proxy that we believe, the last one in the
    /// chain that is not itself such a proxy.
    fn of(config: &EdgeConfig, peer: Option<IpAddr>, headers: &HeaderMap) -> Origin {
        let forwarded = headers.contains_key("forwarded") || headers.contains_key("x-forwarded-for");
        let believed = |address: IpAddr| within(&config.trusted_proxies, address);
        let address = match peer {
            Some(peer) if forwarded && believed(peer) => {
                Some(chain(headers).into_iter().rev().find(|address| !believed(*address)).unwrap_or(peer))
            }
            peer => peer,
        };
        let exempt = !forwarded && address.is_none_or(|address| within(&config.limits_exempt, address));
        Origin { address, exempt }
    }
}

fn within(networks: &[AddressBlock], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The addresses that proxies have written down, the nearest last. `Forwarded` (RFC 7239) wins. An entry
/// that is no address ends the chain: what stands before it was not seen by anyone we know.
fn chain(headers: &HeaderMap) -> Vec<IpAddr> {
    let texts = |name: &str| -> Vec<String> {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).map(|part| part.trim().to_owned()).collect()
    };
    let entries: Vec<String> = match texts("forwarded") {
        entries if entries.is_empty() => texts("x-forwarded-for"),
        entries => entries.iter().map(|entry| for_of(entry)).collect(),
    };
    let mut nearest_first: Vec<IpAddr> = entries.iter().rev().map_while(|entry| address_of(entry)).collect();
    nearest_first.reverse();
    nearest_first
}

/// The `for` of one element of a `Forwarded` field.
fn for_of(element: &str) -> String {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let found =
        pairs.map(|(name, value)| (name.trim(), value.trim())).find(|(name, _)| name.eq_ignore_ascii_case("for"));
    found.map(|(_, value)| value.trim_matches('"').to_owned()).unwrap_or_default()
}

/// An address with or without port and brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next().unwrap_or_default();
    text.parse().ok().or_else(|| bare.parse().ok()).or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (axum::http::HeaderName::from_static(name), value.parse().expect("a header value"))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn a_caller_is_where_the_last_believed_proxy_saw_him() {
        let config =
            EdgeConfig { trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")], ..EdgeConfig::default() };
        type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], &'a str, bool);
        let table: [Case<'_>; 9] = [
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("192.0.2.1", &[], "192.0.2.1", false),
            ("127.0.0.1", &[("x-forwarded-for", "192.0.2.9")], "127.0.0.1", false),
            ("10.0.0.1", &[("x-forwarded-for", "127.0.0.1")], "127.0.0.1", false),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, 192.0.2.9")], "192.0.2.9", false),
            ("10.0.0.1", &[("x-forwarded-for", "192.0.2.9, 10.2.3.4")], "192.0.2.9", false),
            ("10.0.0.1", &[("x-forwarded-for", "192.0.2.9, junk, 10.2.3.4")], "10.0.0.1", false),
            ("10.0.0.1", &[("forwarded", "for=192.0.2.9;proto=https, for=\"[2001:db8::1]:99\"")], "2001:db8::1", false),
            ("192.0.2.1", &[("forwarded", "for=127.0.0.1")], "192.0.2.1", false),
        ];
        for (peer, pairs, address, exempt) in table {
            let origin = Origin::of(&config, peer.parse().ok(), &headers(pairs));
            assert_eq!(origin, Origin { address: address.parse().ok(), exempt }, "{peer} {pairs:?}");
        }
    }

    #[test]
    fn a_trace_is_continued_when_it_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::parse(good).expect("the example of the standard");
        assert_eq!((hex(&trace.trace_id).as_str(), trace.flags), ("4bf92f3577b34da6a3ce929d0e0e4736", 1));
        assert!(Trace::parse(&good.replacen("00-", "01-", 1)).is_some());
        assert!(Trace::parse(&format!("{}-more", good.replacen("00-", "cc-", 1))).is_some());
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(Trace::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_keeps_its_name_or_takes_its_identity() {
        let request = |pairs| {
            let mut request = Request::new(axum::body::Body::empty());
            *request.headers_mut() = headers(pairs);
            Context::of(&EdgeConfig::default(), &request)
        };
        assert_eq!(request(&[("x-request-id", "mine-1")]).request_id(), "mine-1");
        let made = request(&[("x-request-id", "not an id")]);
        assert_eq!(made.request_id(), made.random.to_string());
        made.identity.set(RequestId([1; 16])).expect("set once");
        assert_eq!(made.request_id(), RequestId([1; 16]).to_string());
        assert_eq!(made.trace_id(), "01".repeat(16));
        assert_eq!(made.trace_response(), None);
    }
}
