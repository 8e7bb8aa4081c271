//! souk's own JSON lines: a product on each line, shaped as the API has it, with categories by their
//! paths and stock beside the price. A product with one variant may have `sku`, `price` and `on_hand` at
//! the top; a price is money or a decimal text (of a new variant in GBP). What a line does not give is left as the
//! shop has it; `options` and `attributes` that are given are the whole of them. A line that cannot be read is in
//! error, and the others go on.
//!
//! ```json
//! {"title": "Tee", "categories": ["Clothes > Shirts"], "variants": [
//!   {"sku": "TEE-M", "options": {"size": "M"}, "price": {"amount": 1999, "currency": "GBP"}, "on_hand": 5}]}
//! {"sku": "MUG", "title": "Mug", "price": "7.50", "on_hand": 12}
//! ```

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, BufReader, Read};

use anyhow::Context;
use serde::Deserialize;

use super::wanted::{
    Named, Parsed, RowError, Wanted, WantedPrice, WantedVariant, category_path, decimal_price, status,
};
use crate::actors::values::{Money, PRICE_MAX, Sku, Slug};

/// More than a product at all its limits needs. So no line fills the memory.
const LINE_BYTES_MAX: usize = 4 << 20;

pub const BOM: &[u8] = b"\xef\xbb\xbf";

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
    options: Option<BTreeMap<String, String>>,
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
    fn wanted(&self) -> Result<WantedPrice, String> {
        match self {
            Price::Money(money) if (0..=PRICE_MAX).contains(&money.amount) => Ok(WantedPrice::Money(*money)),
            Price::Money(money) => Err(format!("price must be 0 to {PRICE_MAX} minor units, not {}", money.amount)),
            Price::Decimal(text) => decimal_price(text, None),
        }
    }
}

impl Line {
    fn wanted(self, file: &str, line: u64) -> Result<Wanted, String> {
        let mut variants = self.variants;
        match (self.sku, self.price) {
            (Some(sku), Some(price)) if variants.is_empty() => {
                variants.push(Variant { sku, options: None, price, on_hand: self.on_hand });
            }
            (None, None) if !variants.is_empty() && self.on_hand.is_none() => {}
            _ => return Err("expected variants, or sku and price, and not both".to_owned()),
        }
        let variant = |v: Variant| {
            let options = v.options.map_or_else(Named::default, Named::Whole);
            Ok(WantedVariant { line, price: v.price.wanted()?, sku: v.sku, options, on_hand: v.on_hand })
        };
        Ok(Wanted {
            file: file.to_owned(),
            line,
            title: self.title,
            slug: self.slug,
            description: self.description,
            categories: self.categories.map(|paths| paths.iter().map(|path| category_path(path)).collect()),
            attributes: self.attributes.map_or_else(Named::default, Named::Whole),
            status: status(&self.status)?,
            variants: variants.into_iter().map(variant).collect::<Result<_, String>>()?,
        })
    }
}

pub fn parse(file: &str, input: impl Read) -> anyhow::Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut seen = HashSet::new();
    let mut input = BufReader::new(input);
    let mut bytes = Vec::new();
    for line in 1.. {
        let read = next_line(&mut input, &mut bytes).context("reading the lines")?;
        let text = match bytes.strip_prefix(BOM) {
            Some(text) if line == 1 => text,
            Some(_) | None => &bytes,
        };
        let wanted = match read {
            NextLine::End => break,
            NextLine::Whole if text.trim_ascii().is_empty() => continue,
            NextLine::Whole => product(text, file, line, &mut seen),
            NextLine::TooLong => Err(format!("the line is longer than {LINE_BYTES_MAX} bytes")),
        };
        match wanted {
            Ok(wanted) => parsed.products.push(wanted),
            Err(reason) => parsed.errors.push(RowError { line, what: "product".to_owned(), reason }),
        }
    }
    Ok(parsed)
}

fn product(text: &[u8], file: &str, line: u64, seen: &mut HashSet<Sku>) -> Result<Wanted, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to() + 1))?;
    let wanted = serde_json::from_str::<Line>(text).map_err(|error| error.to_string())?.wanted(file, line)?;
    let mut own = HashSet::new();
    for WantedVariant { sku, .. } in &wanted.variants {
        if seen.contains(sku) || !own.insert(sku.clone()) {
            return Err(format!("SKU {sku} was there before in the file"));
        }
    }
    seen.extend(own);
    Ok(wanted)
}

enum NextLine {
    Whole,
    /// It was passed over.
    TooLong,
    End,
}

fn next_line(input: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<NextLine> {
    into.clear();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', into)?;
    if read == 0 {
        return Ok(NextLine::End);
    }
    if read <= LINE_BYTES_MAX || into.ends_with(b"\n") {
        return Ok(NextLine::Whole);
    }
    input.skip_until(b'\n')?;
    Ok(NextLine::TooLong)
}
