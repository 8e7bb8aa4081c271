//! Ids: of entities and their parts, and of requests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Invalid;
use super::time::Written;

/// 128 bits in base32 (lower case, no padding): 26 characters.
pub(crate) mod base32 {
    use data_encoding::{Encoding, Specification};
    use std::sync::LazyLock;

    static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
        spec.encoding().expect("a fixed alphabet of 32 symbols")
    });

    pub fn encode(bytes: &[u8]) -> String {
        BASE32.encode(bytes)
    }
    /// 128 bits as 26 characters.
    pub fn encode_128(bits: &[u8; 16]) -> [u8; 26] {
        let mut text = [0; 26];
        BASE32.encode_mut(bits, &mut text);
        text
    }
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        BASE32.decode(text.as_bytes()).ok()
    }
}

/// Declares id types: 128 bits, written as a prefix, `_`, and base32; 16 bytes in memory and on disk.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// The id that belongs to `seed` (a request id) and `n`, so that a repeat of the same
            /// request meets the same entity.
            pub fn derived(seed: &RequestId, n: u32) -> $name {
                $name(seed.derive_u128($prefix, n))
            }

            fn written(&self) -> Written {
                let mut text = Written::default();
                text.push(concat!($prefix, "_").as_bytes());
                text.push(&base32::encode_128(&self.0.to_be_bytes()));
                text
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.written().as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                const WHY: Invalid = Invalid(concat!("expected an id that starts with ", $prefix, "_"));
                let body = text.strip_prefix(concat!($prefix, "_")).ok_or(WHY)?;
                let bytes = base32::decode(body).ok_or(WHY)?;
                <[u8; 16]>::try_from(bytes.as_slice()).map(|b| $name(u128::from_be_bytes(b))).map_err(|_| WHY)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if !s.is_human_readable() {
                    return self.0.to_be_bytes().serialize(s);
                }
                s.serialize_str(self.written().as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    String::deserialize(d)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(d).map(|b| $name(u128::from_be_bytes(b)))
                }
            }
        }
    )*};
}

ids! {
    UserId = "user";
    ProductId = "prod";
    VariantId = "var";
    CartId = "cart";
    LineId = "line";
    OrderId = "ord";
    PaymentId = "pay";
    RefundId = "ref";
    AddressId = "addr";
    CategoryId = "cat";
    SessionId = "ses";
}

/// The identity of one request, for ever: 128 bits of a hash of (domain, caller, method, path, key)
/// for a client's, of (kind, id, key) for an owed one, or random for a request without a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// The hash of `parts`, each with its length in front, so that no two lists of parts collide.
    pub fn of(domain: &str, parts: &[&[u8]]) -> RequestId {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        RequestId(id)
    }

    /// The identity of the `n`th try of this request, for one that must be asked anew. The first try is itself.
    pub fn attempt(&self, n: u32) -> RequestId {
        match n {
            0 => *self,
            n => RequestId(self.derive_u128("attempt", n).to_be_bytes()),
        }
    }

    /// A further 128 bits that belong to this request, `what` and `n`.
    pub fn derive_u128(&self, what: &str, n: u32) -> u128 {
        u128::from_be_bytes(RequestId::of("derived", &[&self.0, what.as_bytes(), &n.to_be_bytes()]).0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{}", base32::encode(&self.0))
    }
}

impl FromStr for RequestId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<RequestId, Invalid> {
        let bytes = text.strip_prefix("req_").and_then(base32::decode);
        let bytes = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes.as_slice()).ok());
        bytes.map(RequestId).ok_or(Invalid("expected a request id"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(d).map(RequestId)
        }
    }
}
