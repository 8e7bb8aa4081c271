//! What a file wants the shop to have, whatever its format was.

use std::collections::BTreeMap;

use crate::actors::values::{Currency, Money, PRICE_MAX, Sku, Slug};

/// A product. What is `None` is left as the shop has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub file: String,
    /// The line of the file where it begins.
    pub line: u64,
    pub title: String,
    pub slug: Option<Slug>,
    pub description: Option<String>,
    /// Each a path from the root of the tree, by titles.
    pub categories: Option<Vec<Vec<String>>>,
    pub attributes: Option<BTreeMap<String, String>>,
    /// `draft` or `published`.
    pub status: &'static str,
    pub variants: Vec<WantedVariant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedVariant {
    pub sku: Sku,
    pub options: BTreeMap<String, String>,
    pub price: Money,
    pub on_hand: Option<u64>,
}

/// Something in a file that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    pub line: u64,
    /// The SKU, or what else names the row.
    pub what: String,
    pub reason: String,
}

#[derive(Debug, Default)]
pub struct Parsed {
    pub products: Vec<Wanted>,
    pub errors: Vec<RowError>,
}

/// `Home > Candles` as a path.
pub fn category_path(text: &str) -> Vec<String> {
    text.split('>').map(str::trim).filter(|title| !title.is_empty()).map(str::to_owned).collect()
}

pub fn status(text: &str) -> Result<&'static str, String> {
    match text {
        "" | "published" => Ok("published"),
        "draft" => Ok("draft"),
        other => Err(format!("status must be draft or published, not {other:?}")),
    }
}

/// A decimal price (`12.50`) in the currency's minor unit, exactly.
pub fn price(text: &str, currency: Currency) -> Result<Money, String> {
    let exponent = usize::from(currency.exponent());
    let why = || format!("price must be a decimal number with at most {exponent} places, not {text:?}");
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || whole.is_empty() || fraction.len() > exponent {
        return Err(why());
    }
    let amount: i64 = format!("{whole}{fraction:0<exponent$}").parse().map_err(|_| why())?;
    if amount > PRICE_MAX {
        return Err(format!("price is more than {PRICE_MAX} minor units"));
    }
    Ok(Money::new(amount, currency))
}

pub fn currency(text: &str) -> Result<Currency, String> {
    if text.is_empty() { Ok(Currency::GBP) } else { text.parse().map_err(|why| format!("currency: {why}")) }
}
