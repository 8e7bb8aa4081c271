//! The values that commands, events and states are made of. Each parses into a type that cannot be
//! wrong; inside the actors nothing is validated twice.
//!
//! In JSON a value reads as a person writes it (`"cart_..."`, `"2026-11-22T12:30:00Z"`, `"GBP"`); in
//! stored bytes it is compact, and no enum discriminant of the compiler ever reaches the disk (see
//! [`coded_enum!`](crate::coded_enum)).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::coded_enum;

/// Why a text is not the value it should be. The message is fit for the person who wrote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// A short ASCII text that is written without asking for memory.
#[derive(Default)]
struct Written {
    bytes: [u8; 32],
    len: usize,
}

impl Written {
    fn push(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }
    /// The last `digits` decimal digits of a number.
    fn push_digits(&mut self, mut number: u32, digits: usize) {
        let end = self.len + digits;
        for place in self.bytes[self.len..end].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.len = end;
    }
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only ASCII is pushed")
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z. JSON: RFC 3339 with `Z` and milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

impl Time {
    pub const ZERO: Time = Time(0);

    pub fn plus_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this time; 0 when `earlier` is later.
    pub fn since_ms(self, earlier: Time) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl Time {
    /// As RFC 3339 has it, such as `2026-11-22T12:30:00.000Z`. Every answer shows times, so they are written
    /// digit by digit. `None` outside the years 0 to 9999, which have no such text.
    fn written(self) -> Option<Written> {
        let nanos = i128::from(self.0) * 1_000_000;
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        let year = u32::try_from(at.year()).ok().filter(|year| *year <= 9_999)?;
        let mut text = Written::default();
        for (number, digits, end) in [
            (year, 4, b'-'),
            (u32::from(u8::from(at.month())), 2, b'-'),
            (u32::from(at.day()), 2, b'T'),
            (u32::from(at.hour()), 2, b':'),
            (u32::from(at.minute()), 2, b':'),
            (u32::from(at.second()), 2, b'.'),
            (u32::from(at.millisecond()), 3, b'Z'),
        ] {
            text.push_digits(number, digits);
            text.push(&[end]);
        }
        Some(text)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written().ok_or(fmt::Error)?.as_str())
    }
}

impl FromStr for Time {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| Invalid("expected an RFC 3339 time such as 2026-11-22T12:30:00Z"))?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(Time).map_err(|_| Invalid("time out of range"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if !s.is_human_readable() {
            return s.serialize_i64(self.0);
        }
        let text = self.written().ok_or_else(|| ser::Error::custom("a time outside the years 0 to 9999"))?;
        s.serialize_str(text.as_str())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(de::Error::custom)
        } else {
            i64::deserialize(d).map(Time)
        }
    }
}

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const GBP: Currency = Currency(*b"GBP");

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Decimal places of the minor unit (2 for GBP, 0 for JPY).
    pub fn exponent(&self) -> u16 {
        iso_currency::Currency::from_code(self.code()).and_then(|c| c.exponent()).unwrap_or(2)
    }
}

impl Default for Currency {
    fn default() -> Self {
        Currency::GBP
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = iso_currency::Currency::from_code(text).filter(|c| c.exponent().is_some());
        match (known, <[u8; 3]>::try_from(text.as_bytes())) {
            (Some(_), Ok(code)) => Ok(Currency(code)),
            _ => Err(Invalid("expected an ISO 4217 currency code such as GBP")),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(self.code()) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 3]>::deserialize(d).map(Currency)
        }
    }
}

/// An amount in integer minor units of its currency. Arithmetic is checked: `None` means overflow or
/// two currencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Money {
    pub amount: i64,
    pub currency: Currency,
}

impl Money {
    pub fn new(amount: i64, currency: Currency) -> Money {
        Money { amount, currency }
    }
    pub fn zero(currency: Currency) -> Money {
        Money { amount: 0, currency }
    }
    pub fn plus(self, other: Money) -> Option<Money> {
        if self.currency != other.currency {
            return None;
        }
        Some(Money { amount: self.amount.checked_add(other.amount)?, ..self })
    }
    pub fn minus(self, other: Money) -> Option<Money> {
        if self.currency != other.currency {
            return None;
        }
        Some(Money { amount: self.amount.checked_sub(other.amount)?, ..self })
    }
    pub fn times(self, quantity: Quantity) -> Option<Money> {
        Some(Money { amount: self.amount.checked_mul(i64::from(quantity.get()))?, ..self })
    }
}

/// The largest unit price that is accepted: with 2,000 lines of 1,000,000 pieces a total stays in an i64.
pub const PRICE_MAX: i64 = 1_000_000_000;

/// How many pieces: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(u32);

impl Quantity {
    pub const MAX: u32 = 1_000_000;

    pub fn new(pieces: u64) -> Result<Quantity, Invalid> {
        match u32::try_from(pieces) {
            Ok(n) if (1..=Self::MAX).contains(&n) => Ok(Quantity(n)),
            _ => Err(Invalid("a quantity is 1 to 1,000,000")),
        }
    }
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Quantity::new(u64::from(u32::deserialize(d)?)).map_err(de::Error::custom)
    }
}

/// Declares a text type: a cheap-to-clone string that only its parser makes.
/// `text_type!(Sku, "message", |text| -> Option<normalised Cow or String>)`.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $why:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let parse: fn(&str) -> Option<String> = $parse;
                parse(text).map(|ok| $name(ok.into())).ok_or(Invalid($why))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

text_type!(
    /// The merchant's own name of a stock-keeping unit, case-sensitive.
    Sku,
    "a SKU is 1 to 64 characters, starts with a letter or digit, and goes on with A-Z a-z 0-9 . _ -",
    |text| {
        let ok = (1..=64).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        ok.then(|| text.to_owned())
    }
);

text_type!(
    /// An email address, trimmed and lower-cased: so it compares.
    Email,
    "expected an email address such as ada@example.com (at most 254 characters)",
    |text| {
        let text = text.trim().to_lowercase();
        let (local, domain) = text.rsplit_once('@')?;
        let plain = |s: &str| s.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '@');
        let ok = text.len() <= 254
            && !local.is_empty()
            && local.len() <= 64
            && plain(local)
            && plain(domain)
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !domain.is_empty();
        ok.then_some(text)
    }
);

text_type!(
    /// The readable name of a product or category in a URL.
    Slug,
    "a slug is 1 to 100 of a-z 0-9 -, and neither starts nor ends with -",
    |text| {
        let ok = (1..=100).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ok.then(|| text.to_owned())
    }
);

impl Slug {
    /// A slug made from a title: `Blue  Tee!` is `blue-tee`; with nothing usable in it, `item`.
    pub fn from_title(title: &str) -> Slug {
        let mut out = String::new();
        for c in title.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                out.push(c);
            } else if !out.ends_with('-') && !out.is_empty() {
                out.push('-');
            }
            if out.len() >= 80 {
                break;
            }
        }
        let out = out.trim_matches('-');
        Slug(if out.is_empty() { "item" } else { out }.into())
    }

    /// The slug with `-n` behind it, for when the plain one is taken.
    pub fn with_suffix(&self, n: u32) -> Slug {
        Slug(format!("{}-{n}", self.0).into())
    }
}

text_type!(
    /// The short human name of an order.
    OrderNumber,
    "an order number is 4 to 20 of A-Z 0-9 -",
    |text| {
        let text = text.trim().to_ascii_uppercase();
        let ok = (4..=20).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
        ok.then_some(text)
    }
);

/// The name of a singleton entity (such as the category tree): always the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Only;

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only")
    }
}

impl FromStr for Only {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "only" { Ok(Only) } else { Err(Invalid("this kind has one entity, named only")) }
    }
}

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
            let text = String::deserialize(d)?;
            let bytes = text.strip_prefix("req_").and_then(base32::decode);
            bytes
                .and_then(|b| <[u8; 16]>::try_from(b.as_slice()).ok())
                .map(RequestId)
                .ok_or_else(|| de::Error::custom("expected a request id"))
        } else {
            <[u8; 16]>::deserialize(d).map(RequestId)
        }
    }
}

/// Something that is never shown: not in JSON, not in logs, not in an inspection. Stored as it is.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Serialize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str("[redacted]") } else { self.0.serialize(s) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        T::deserialize(d).map(Secret)
    }
}

/// A postal address, already checked by the edge. `country` is ISO 3166 alpha-2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Address {
    pub name: String,
    pub line1: String,
    pub line2: Option<String>,
    pub city: String,
    pub region: Option<String>,
    pub postal_code: String,
    pub country: String,
    pub phone: Option<String>,
}

/// Who buys and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub email: Email,
    pub shipping_address: Address,
    pub billing_address: Option<Address>,
}

/// subtotal + shipping + tax - discount = total, all in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    pub subtotal: Money,
    pub discount: Money,
    pub shipping: Money,
    pub tax: Money,
    pub total: Money,
}

impl Totals {
    /// Totals where only the goods cost something.
    pub fn of_goods(subtotal: Money) -> Totals {
        let zero = Money::zero(subtotal.currency);
        Totals { subtotal, discount: zero, shipping: zero, tax: zero, total: subtotal }
    }

    /// Whether the parts add up to the total.
    pub fn add_up(&self) -> bool {
        let sum = self
            .subtotal
            .plus(self.shipping)
            .and_then(|sum| sum.plus(self.tax))
            .and_then(|sum| sum.minus(self.discount));
        sum == Some(self.total)
    }
}

coded_enum! {
    /// What a user may do.
    pub enum Role { Customer = 1 "customer", Seller = 2 "seller", Admin = 3 "admin" }
}
coded_enum! {
    /// How much of a SKU is left, in words.
    pub enum StockBand { InStock = 1 "in_stock", LowStock = 2 "low_stock", OutOfStock = 3 "out_of_stock" }
}
