//! What belongs to one HTTP request and no handler has to pass around: its ids, its deadline, where it
//! came from. Made by the front layer, found in the request's extensions.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::idempotency::random_request_id;
use super::origin::Origin;
use super::wait_notice::WaitNotice;
use super::who::Who;
use crate::actors::values::RequestId;
use crate::config::Config;
use crate::http::answer::problem::{Code, Result};
use crate::http::limits::Verdict;

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
    /// Who asks, once that has been established.
    pub who: OnceLock<Who>,
    /// What the handler has said of its wait.
    pub wait: WaitNotice,
    named: Option<String>,
    trace: Option<Trace>,
}

/// A W3C trace context (version 00) as it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    pub trace_id: [u8; 16],
    pub flags: u8,
}

impl Context {
    pub fn of(config: &Config, request: &Request) -> Context {
        let headers = request.headers();
        let arrived = Instant::now();
        Context {
            arrived,
            deadline: arrived + Duration::from_millis(config.http.request_deadline_ms),
            origin: Origin::of(config, request.extensions().get::<Peer>().map(|peer| peer.0.ip()), headers),
            random: random_request_id(),
            identity: OnceLock::new(),
            user_limit: OnceLock::new(),
            who: OnceLock::new(),
            wait: WaitNotice::default(),
            named: headers
                .get("x-request-id")
                .and_then(|value| value.to_str().ok())
                .filter(|id| is_id(id))
                .map(Into::into),
            trace: headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(Trace::parse),
        }
    }

    /// The caller for whom this request counts where callers share something: the user, else the address. An address
    /// that is exempt from limits (a shop's own server) may ask for many guests: there a guest's token tells them
    /// apart.
    pub fn caller(&self) -> String {
        let who = self.who.get();
        if let Some(user) = who.and_then(Who::user) {
            return user.to_string();
        }
        let token = who.and_then(Who::guest_token).filter(|_| self.origin.exempt);
        token.map_or_else(|| self.origin.key(), |token| format!("token {token}"))
    }

    /// The caller's own id for this request; without one it is the request's identity, which can be found in the
    /// journal.
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
        // The front layer always puts it there. It is missing only from a router that was built without the layer.
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (axum::http::HeaderName::from_static(name), value.parse().expect("a header value"))
        };
        pairs.iter().map(header).collect()
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
            Context::of(&Config::default(), &request)
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
