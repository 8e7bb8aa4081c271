//! The values that commands, events and states are made of. Each parses into a type that cannot be
//! wrong; inside the actors nothing is validated twice.
//!
//! In JSON a value reads as a person writes it (`"cart_..."`, `"2026-11-22T12:30:00Z"`, `"GBP"`); in
//! stored bytes it is compact, and no enum discriminant of the compiler ever reaches the disk (see
//! [`coded_enum!`](crate::coded_enum)).

pub mod coded_enum;
mod ids;
pub mod old;
mod position;
pub mod spelling;
mod texts;
mod time;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(crate) use ids::base32;
pub use ids::*;
pub use position::JournalPosition;
pub use texts::*;
pub use time::Time;

use crate::coded_enum;

/// Why a text is not the value it should be. The message is fit for the person who wrote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

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
            let code = <[u8; 3]>::deserialize(d)?;
            let known =
                code == *b"GBP" || std::str::from_utf8(&code).is_ok_and(|code| code.parse::<Currency>().is_ok());
            if known { Ok(Currency(code)) } else { Err(de::Error::custom("not a currency")) }
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
    /// Empty where a country has none.
    pub postal_code: String,
    pub country: String,
    pub phone: Option<String>,
    /// The firm that `name` works for.
    pub company: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::codec;

    #[test]
    fn bytes_give_no_value_that_its_parser_would_not() {
        let read = |bytes: &[u8; 3]| codec::decode::<Currency>(bytes).map(|currency| currency.to_string()).ok();
        assert_eq!(read(b"JPY"), Some("JPY".to_owned()));
        for wrong in [b"gbp", b"ZZZ", b"\xff\xff\xff", b"XXX", b"G\0P"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert!(codec::decode::<Quantity>(&codec::encode(&0u32)).is_err());
        assert!(codec::decode::<Quantity>(&codec::encode(&1_000_001u32)).is_err());
        assert!(codec::decode::<Sku>(&codec::encode("no spaces")).is_err());
        assert!(codec::decode::<Slug>(&codec::encode("-")).is_err());
        assert!(codec::decode::<Email>(&codec::encode("ada")).is_err());
        assert!(codec::decode::<OrderNumber>(&codec::encode("a b")).is_err());
        assert!(codec::decode::<Role>(&[9]).is_err());
    }
}
