//! Blocks of IP addresses: who is exempt, whose headers are believed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::actors::values::Invalid;

/// An address with the number of leading bits that count: `10.0.0.0/8`, or a single `192.0.2.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressBlock {
    first: IpAddr,
    bits: u8,
}

impl AddressBlock {
    /// Whether `address` is in the block. An IPv4 address that arrives on an IPv6 socket
    /// (`::ffff:10.1.2.3`) counts as the IPv4 address that it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let ignored = 32 - u32::from(self.bits);
                u32::from(first).checked_shr(ignored) == u32::from(address).checked_shr(ignored)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let ignored = 128 - u32::from(self.bits);
                u128::from(first).checked_shr(ignored) == u128::from(address).checked_shr(ignored)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The header in which proxies say where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum ProxyHeader {
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl ProxyHeader {
    pub const WORDS: &[(&str, ProxyHeader)] =
        &[("X-Forwarded-For", ProxyHeader::XForwardedFor), ("Forwarded", ProxyHeader::Forwarded)];
}

impl FromStr for AddressBlock {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("expected an address or a block such as 10.0.0.0/8");
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let first: IpAddr = first.trim().parse().map_err(|_| WHY)?;
        let all = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            Some(bits) => bits.trim().parse().ok().filter(|bits| *bits <= all).ok_or(WHY)?,
        };
        Ok(AddressBlock { first, bits })
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl serde::Serialize for AddressBlock {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        let holds = |block: &str, address: &str| {
            let block: AddressBlock = block.parse().expect("a block");
            block.contains(address.parse().expect("an address"))
        };
        assert!(holds("127.0.0.0/8", "127.9.8.7"));
        assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(!holds("127.0.0.0/8", "128.0.0.1"));
        assert!(!holds("127.0.0.0/8", "::1"));
        assert!(holds("::1", "::1"));
        assert!(!holds("::1", "::2"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(holds("::/0", "2001:db8::1"));
        for wrong in ["", "localhost", "10.0.0.0/33", "::1/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(wrong.parse::<AddressBlock>().is_err(), "{wrong}");
        }
    }
}
