//! Fields that several bodies have, each a type that parses itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use utoipa::ToSchema;

use super::json::{Prose, Text};
use crate::actors::values::{Currency, Money, PRICE_MAX, Quantity};

/// Short texts by name that the shop shows, such as options: at most 50, names of at most 64 characters, texts of at
/// most 500, which may be empty. They are kept as [`Text`] and [`Prose`] keep theirs, and no two names look the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some(Text(name)) = map.next_key::<Text<NAME_MAX_CHARS>>()? {
                    if texts.contains_key(&name) {
                        match map.next_value::<Twice>()? {}
                    }
                    let Prose(text) = map.next_value::<Prose<TEXT_MAX_CHARS>>()?;
                    texts.insert(name, text);
                    if texts.len() > TEXTS_MAX {
                        return Err(de::Error::custom("out of range: at most 50 members"));
                    }
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_map(Named)
    }
}

/// The value of a member whose name is there already. It is the value that is refused, so that the fault points at it.
enum Twice {}

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("a name that looks the same is there already"))
    }
}

/// What a client notes for itself, by name: as many and as long as [`Texts`]. Nobody else reads it, so it is kept as it
/// was sent. Control characters are refused, as everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(pub BTreeMap<String, String>);

const TEXTS_MAX: usize = 50;
const NAME_MAX_CHARS: usize = 64;
const TEXT_MAX_CHARS: usize = 500;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let named = |name: &String| (1..=NAME_MAX_CHARS).contains(&name.chars().count());
        let short = |text: &String| text.chars().count() <= TEXT_MAX_CHARS;
        if texts.len() > TEXTS_MAX || !texts.iter().all(|(name, text)| named(name) && short(text)) {
            let why = "out of range: at most 50 members, with names of 1 to 64 characters and texts of at most 500";
            return Err(de::Error::custom(why));
        }
        Ok(Metadata(texts))
    }
}

/// An amount as a client sends it.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoneyBody {
    /// In minor units.
    #[schema(example = 1999)]
    amount: i64,
    /// ISO 4217.
    #[schema(value_type = String, example = "GBP")]
    currency: Currency,
}

impl From<MoneyBody> for Money {
    fn from(body: MoneyBody) -> Money {
        Money::new(body.amount, body.currency)
    }
}

/// What something costs: 0 to 1,000,000,000 minor units.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    #[serde(deserialize_with = "price_amount")]
    #[schema(example = 1999, minimum = 0, maximum = 1_000_000_000)]
    amount: i64,
    /// ISO 4217.
    #[schema(value_type = String, example = "GBP")]
    currency: Currency,
}

impl From<Price> for Money {
    fn from(price: Price) -> Money {
        Money::new(price.amount, price.currency)
    }
}

fn price_amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let amount = i64::deserialize(deserializer)?;
    if (0..=PRICE_MAX).contains(&amount) {
        Ok(amount)
    } else {
        Err(de::Error::custom("out of range: a price is 0 to 1,000,000,000 minor units"))
    }
}

/// A quantity, where 0 means none.
pub fn pieces_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Quantity>, D::Error> {
    match u64::deserialize(deserializer)? {
        0 => Ok(None),
        pieces => Quantity::new(pieces).map(Some).map_err(de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_prices_and_quantities_know_their_limits() {
        let texts = |value| serde_json::from_value::<Texts>(value).is_ok();
        assert!(texts(json!({})) && texts(json!({"gift": "yes"})));
        assert!(!texts(json!({"": "x"})) && !texts(json!({"a": 1})) && !texts(json!({"a": "x".repeat(501)})));
        let many: BTreeMap<String, String> = (0..51).map(|n| (n.to_string(), String::new())).collect();
        assert!(!texts(json!(many)));

        let price = |amount: i64| serde_json::from_value::<Price>(json!({"amount": amount, "currency": "GBP"})).is_ok();
        assert!(price(0) && price(PRICE_MAX) && !price(-1) && !price(PRICE_MAX + 1));
        assert!(serde_json::from_value::<MoneyBody>(json!({"amount": 1, "currency": "GBP", "x": 1})).is_err());

        let pieces = |value| pieces_or_none(value).map(|pieces| pieces.map(Quantity::get)).ok();
        assert_eq!(pieces(json!(0)), Some(None));
        assert_eq!(pieces(json!(7)), Some(Some(7)));
        assert_eq!((pieces(json!(1_000_001)), pieces(json!(-1))), (None, None));
    }
}
