//! What a file wants the shop to have, whatever its format was. What a file does not say is left as the shop has it;
//! a product or variant that is new gets the default then.

use std::collections::BTreeMap;

use crate::actors::values::{Currency, Money, PRICE_MAX, Sku, Slug, spelling};

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
    pub attributes: Named,
    /// `draft` or `published`; a new product is published.
    pub status: Option<&'static str>,
    pub variants: Vec<WantedVariant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedVariant {
    pub line: u64,
    pub sku: Sku,
    pub options: Named,
    pub price: WantedPrice,
    pub on_hand: Option<u64>,
}

/// Texts with names: options or attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// These, beside whatever else the shop has.
    Among(BTreeMap<String, String>),
    /// These and no other.
    Whole(BTreeMap<String, String>),
}

impl Default for Named {
    fn default() -> Named {
        Named::Among(BTreeMap::new())
    }
}

impl Named {
    /// What the shop then has, as it keeps texts.
    pub fn over(&self, present: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let nothing = BTreeMap::new();
        let (present, texts) = match self {
            Named::Whole(texts) => (&nothing, texts),
            Named::Among(texts) => (present, texts),
        };
        present.iter().chain(texts).map(|(name, text)| (spelt(name), prose(text))).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedPrice {
    Money(Money),
    /// A decimal number (`12.50`) in the currency that the shop has.
    Decimal(String),
}

impl WantedPrice {
    /// `currency` is what the shop has, and GBP for what is new.
    pub fn money(&self, currency: Option<Currency>) -> Result<Money, String> {
        match self {
            WantedPrice::Money(money) => Ok(*money),
            WantedPrice::Decimal(text) => price(text, currency.unwrap_or(Currency::GBP)),
        }
    }
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
    text.split('>').map(spelt).filter(|title| !title.is_empty()).collect()
}

/// A title as the shop keeps it, so that the two compare. One that the shop refuses stays as it is.
pub fn spelt(title: &str) -> String {
    spelling::one_line(title).unwrap_or_else(|| title.trim().to_owned())
}

/// The same for a text of several lines.
pub fn prose(text: &str) -> String {
    spelling::lines(text).unwrap_or_else(|| text.to_owned())
}

pub fn status(text: &str) -> Result<Option<&'static str>, String> {
    match text {
        "" => Ok(None),
        "published" => Ok(Some("published")),
        "draft" => Ok(Some("draft")),
        other => Err(format!("status must be draft or published, not {other:?}")),
    }
}

/// A decimal price, in `currency` where the file says which.
pub fn decimal_price(text: &str, currency: Option<Currency>) -> Result<WantedPrice, String> {
    match currency {
        Some(currency) => price(text, currency).map(WantedPrice::Money),
        None if is_decimal(text) => Ok(WantedPrice::Decimal(text.trim().to_owned())),
        None => Err(format!("price must be a decimal number, not {text:?}")),
    }
}

/// `6,50` with a point. A point that is there already may mean thousands: that is not guessed at.
pub fn with_point(text: &str) -> Result<String, String> {
    if text.contains('.') {
        return Err(format!("price must have a decimal comma, not {text:?}"));
    }
    Ok(text.replacen(',', ".", 1))
}

fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
}

/// A decimal price (`12.50`) in the currency's minor unit, exactly.
pub fn price(text: &str, currency: Currency) -> Result<Money, String> {
    let exponent = usize::from(currency.exponent());
    let why = || format!("price must be a decimal number with at most {exponent} places, not {text:?}");
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if !is_decimal(text) || fraction.len() > exponent {
        return Err(why());
    }
    let amount: i64 = format!("{whole}{fraction:0<exponent$}").parse().map_err(|_| why())?;
    if amount > PRICE_MAX {
        return Err(format!("price is more than {PRICE_MAX} minor units"));
    }
    Ok(Money::new(amount, currency))
}
