//! Where a request came from, and how callers are told apart by it.
//!
//! The address of the connection is a fact. An address in a header is a claim: it is believed only from a proxy that
//! the configuration names, only in the header that it names, and only in the part that our own proxies have written,
//! because most proxies append to what the client sent and pass every other header through.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::config::{AddressBlock, Config, ProxyHeader};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// An IPv4 address is shown as IPv4, also where it came in on an IPv6 socket. `None` only in tests of a router,
    /// where there is no connection.
    pub address: Option<IpAddr>,
    /// Whether volume limits do not apply.
    pub exempt: bool,
}

impl Origin {
    /// The caller's address: the connection's, or, behind a proxy that we believe, the last one in the chain that is
    /// not itself such a proxy.
    pub fn of(config: &Config, peer: Option<IpAddr>, headers: &HeaderMap) -> Origin {
        // A request that was forwarded does not come from this machine, whichever header says so.
        let forwarded = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
        let believed = |address: IpAddr| within(&config.http.trusted_proxies, address);
        let peer = peer.map(|peer| peer.to_canonical());
        let address = match peer {
            Some(peer) if believed(peer) => {
                let seen = nearest_first(headers, config.http.trusted_proxy_header);
                Some(seen.into_iter().find(|address| !believed(*address)).unwrap_or(peer))
            }
            peer => peer,
        };
        let exempt = !forwarded && address.is_none_or(|address| within(&config.limits.exempt, address));
        Origin { address, exempt }
    }

    /// The key by which a caller at this address is counted. Of an IPv6 address it is the first 64 bits, because a
    /// caller who has one address of such a network has them all.
    pub fn key(&self) -> String {
        match self.address {
            Some(IpAddr::V6(address)) => {
                let network = u128::from(address) & (u128::MAX << 64);
                format!("{}/64", Ipv6Addr::from(network))
            }
            Some(IpAddr::V4(address)) => address.to_string(),
            None => String::new(),
        }
    }
}

fn within(networks: &[AddressBlock], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The addresses that proxies have written into the header. An entry that is no address ends the chain: what stands
/// before it was not seen by anyone we know.
fn nearest_first(headers: &HeaderMap, header: ProxyHeader) -> Vec<IpAddr> {
    let name = match header {
        ProxyHeader::Forwarded => FORWARDED,
        ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
    };
    // Bytes that are no text are in the client's part, and must not hide what the proxy has written behind them.
    let lines: Vec<_> = headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let addresses = entries.map_while(|entry| match header {
        ProxyHeader::Forwarded => address_of(for_of(entry)?),
        ProxyHeader::XForwardedFor => address_of(entry.trim()),
    });
    addresses.collect()
}

/// The `for` of one element of a `Forwarded` field (RFC 7239).
fn for_of(element: &str) -> Option<&str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(value.trim().trim_matches('"'))
}

/// An address with or without port and brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next().unwrap_or_default();
    let address: Option<IpAddr> = text.parse().ok().or_else(|| bare.parse().ok());
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip())).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            let value = axum::http::HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
            (HeaderName::from_static(name), value)
        };
        pairs.iter().map(header).collect()
    }

    fn behind(header: ProxyHeader) -> Config {
        let mut config = Config::default();
        config.http.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        config.http.trusted_proxy_header = header;
        config
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn a_caller_is_where_the_last_believed_proxy_saw_him() {
        type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], &'a str, bool);
        let table: [Case<'_>; 16] = [
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("::ffff:127.0.0.1", &[], "127.0.0.1", true),
            ("192.0.2.1", &[], "192.0.2.1", false),
            ("127.0.0.1", &[(XFF, "192.0.2.9")], "127.0.0.1", false),
            ("10.0.0.1", &[(XFF, "127.0.0.1")], "127.0.0.1", false),
            ("::ffff:10.0.0.1", &[(XFF, "192.0.2.9")], "192.0.2.9", false),
            ("10.0.0.1", &[(XFF, "198.51.100.1, 192.0.2.9")], "192.0.2.9", false),
            ("10.0.0.1", &[(XFF, "198.51.100.1"), (XFF, "192.0.2.9")], "192.0.2.9", false),
            ("10.0.0.1", &[(XFF, "192.0.2.9, 10.2.3.4")], "192.0.2.9", false),
            ("10.0.0.1", &[(XFF, "192.0.2.9, junk, 10.2.3.4")], "10.0.0.1", false),
            ("10.0.0.1", &[(XFF, "\u{e9}, ::ffff:192.0.2.9")], "192.0.2.9", false),
            ("10.0.0.1", &[("forwarded", "for=198.51.100.1"), (XFF, "192.0.2.9")], "192.0.2.9", false),
            ("10.0.0.1", &[("forwarded", "for=198.51.100.1")], "10.0.0.1", false),
            ("127.0.0.1", &[("forwarded", "for=198.51.100.1")], "127.0.0.1", false),
            ("192.0.2.1", &[("forwarded", "for=127.0.0.1")], "192.0.2.1", false),
            ("10.0.0.1", &[], "10.0.0.1", false),
        ];
        for (peer, pairs, address, exempt) in table {
            let origin = Origin::of(&behind(ProxyHeader::XForwardedFor), peer.parse().ok(), &headers(pairs));
            assert_eq!(origin, Origin { address: address.parse().ok(), exempt }, "{peer} {pairs:?}");
        }
    }

    #[test]
    fn where_proxies_write_forwarded_nothing_else_counts() {
        type Case<'a> = (&'a [(&'static str, &'a str)], &'a str);
        let table: [Case<'_>; 5] = [
            (&[("forwarded", "for=192.0.2.9;proto=https, for=\"[2001:db8::1]:99\"")], "2001:db8::1"),
            (&[("forwarded", "for=192.0.2.9"), (XFF, "198.51.100.1")], "192.0.2.9"),
            (&[("forwarded", "for=\"198.51.100.1, for=192.0.2.9;by=10.0.0.1")], "192.0.2.9"),
            (&[("forwarded", "for=192.0.2.9, for=_hidden")], "10.0.0.1"),
            (&[(XFF, "198.51.100.1")], "10.0.0.1"),
        ];
        for (pairs, address) in table {
            let origin = Origin::of(&behind(ProxyHeader::Forwarded), "10.0.0.1".parse().ok(), &headers(pairs));
            assert_eq!(origin, Origin { address: address.parse().ok(), exempt: false }, "{pairs:?}");
        }
    }

    #[test]
    fn callers_are_told_apart_by_what_they_cannot_change() {
        let key = |text: &str| Origin { address: address_of(text), exempt: false }.key();
        assert_eq!(key("192.0.2.1"), "192.0.2.1");
        assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:ffff::"), key("[2001:db8:1:2::1]:443"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }
}
