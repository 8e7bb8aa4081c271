//! souk's own JSON lines: a product on each line, shaped as the API has it, with categories by their
//! paths and stock beside the price. A product with one variant may have `sku`, `price` and `on_hand` at
//! the top; a price is money or a decimal text in GBP.
//!
//! ```json
//! {"title": "Tee", "categories": ["Clothes > Shirts"], "variants": [
//!   {"sku": "TEE-M", "options": {"size": "M"}, "price": {"amount": 1999, "currency": "GBP"}, "on_hand": 5}]}
//! {"sku": "MUG", "title": "Mug", "price": "7.50", "on_hand": 12}
//! ```

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read};

use anyhow::Context;
use serde::Deserialize;

use super::wanted::{Parsed, RowError, Wanted, WantedVariant, category_path, price, status};
use crate::actors::values::{Currency, Money, PRICE_MAX, Sku, Slug};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    title: String,
    slug: Option<Slug>,
    description: Option<String>,
    categories: Option<Vec<String>>,
    attributes: Option<BTreeMap<String, String>>,
    #[serde(default)]
    status: String,
    #[serde(default)]
    variants: Vec<Variant>,
    sku: Option<Sku>,
    price: Option<Price>,
    on_hand: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    sku: Sku,
    #[serde(default)]
    options: BTreeMap<String, String>,
    price: Price,
    on_hand: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Price {
    Money(Money),
    Decimal(String),
}

impl Price {
    fn money(&self) -> Result<Money, String> {
        match self {
            Price::Money(money) if (0..=PRICE_MAX).contains(&money.amount) => Ok(*money),
            Price::Money(money) => Err(format!("price must be 0 to {PRICE_MAX} minor units, not {}", money.amount)),
            Price::Decimal(text) => price(text, Currency::GBP),
        }
    }
}

impl Line {
    fn wanted(self, file: &str, line: u64) -> Result<Wanted, String> {
        let mut variants = self.variants;
        match (self.sku, self.price) {
            (Some(sku), Some(price)) if variants.is_empty() => {
                variants.push(Variant { sku, options: BTreeMap::new(), price, on_hand: self.on_hand });
            }
            (None, None) if !variants.is_empty() && self.on_hand.is_none() => {}
            _ => return Err("expected variants, or sku and price, and not both".to_owned()),
        }
        let variant = |v: Variant| {
            Ok(WantedVariant { price: v.price.money()?, sku: v.sku, options: v.options, on_hand: v.on_hand })
        };
        Ok(Wanted {
            file: file.to_owned(),
            line,
            title: self.title,
            slug: self.slug,
            description: self.description,
            categories: self.categories.map(|paths| paths.iter().map(|path| category_path(path)).collect()),
            attributes: self.attributes,
            status: status(&self.status)?,
            variants: variants.into_iter().map(variant).collect::<Result<_, String>>()?,
        })
    }
}

pub fn parse(file: &str, input: impl Read) -> anyhow::Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut seen = HashSet::new();
    for (index, text) in BufReader::new(input).lines().enumerate() {
        let text = text.context("reading the lines")?;
        if text.trim().is_empty() {
            continue;
        }
        let line = index as u64 + 1;
        let wanted = serde_json::from_str::<Line>(&text).map_err(|error| error.to_string());
        let wanted = wanted.and_then(|read| read.wanted(file, line)).and_then(|wanted| {
            let repeated = wanted.variants.iter().find(|variant| !seen.insert(variant.sku.clone()));
            repeated.map_or(Ok(()), |v| Err(format!("SKU {} was there before in the file", v.sku)))?;
            Ok(wanted)
        });
        match wanted {
            Ok(wanted) => parsed.products.push(wanted),
            Err(reason) => parsed.errors.push(RowError { line, what: "product".to_owned(), reason }),
        }
    }
    Ok(parsed)
}
