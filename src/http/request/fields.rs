//! Fields that several bodies have, each a type that parses itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use utoipa::ToSchema;

use crate::actors::values::{Currency, Money, PRICE_MAX, Quantity};

/// Short texts by name, a client's own: at most 50, names of at most 64 characters, texts of at most 500.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(pub BTreeMap<String, String>);

const TEXTS_MAX: usize = 50;
const NAME_MAX_CHARS: usize = 64;
const TEXT_MAX_CHARS: usize = 500;

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let named = |name: &String| (1..=NAME_MAX_CHARS).contains(&name.chars().count());
        let short = |text: &String| text.chars().count() <= TEXT_MAX_CHARS;
        if texts.len() > TEXTS_MAX || !texts.iter().all(|(name, text)| named(name) && short(text)) {
            let why = "out of range: at most 50 members, with names of 1 to 64 characters and texts of at most 500";
            return Err(de::Error::custom(why));
        }
        Ok(Texts(texts))
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
