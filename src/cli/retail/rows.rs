//! One row of the file: read, judged, and never copied when it is a sale.

use std::io::Read;

use anyhow::bail;

use super::Skip;
use crate::actors::values::{PRICE_MAX, Quantity, Sku};

/// A sale row.
#[derive(Debug, PartialEq)]
pub struct Row<'a> {
    pub invoice: u32,
    /// Trimmed; not yet upper-cased.
    pub code: &'a str,
    pub description: &'a str,
    pub quantity: u32,
    /// `YYYY-MM-DD HH:MM`
    pub at: &'a str,
    /// Pence.
    pub price: i64,
    pub customer: Option<u32>,
    pub country: &'a str,
}

#[derive(Debug, PartialEq)]
pub enum Reading<'a> {
    Sale(Row<'a>),
    /// Not a sale row, with what shows it.
    Other(Skip, String),
}

const COLUMNS: [&str; 8] =
    ["invoice", "stock_code", "description", "quantity", "invoice_date", "price", "customer_id", "country"];

/// Whether a CSV with these columns is a file of this kind.
pub fn is_header<'a>(mut columns: impl Iterator<Item = &'a str>) -> bool {
    COLUMNS.iter().all(|wanted| columns.next().is_some_and(|column| column.trim() == *wanted))
}

/// Calls `each` with every row and its line in the file.
pub fn read(input: impl Read, mut each: impl FnMut(u64, Reading<'_>)) -> anyhow::Result<()> {
    let mut csv = csv::ReaderBuilder::new().flexible(true).buffer_capacity(1 << 16).from_reader(input);
    if !is_header(csv.headers()?.iter()) {
        bail!("not an online retail file: its first columns must be {}", COLUMNS.join(","));
    }
    let mut record = csv::ByteRecord::new();
    while csv.read_byte_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        each(line, judge(&record));
    }
    Ok(())
}

fn judge(record: &csv::ByteRecord) -> Reading<'_> {
    let mut fields = [""; COLUMNS.len()];
    for (index, field) in fields.iter_mut().enumerate() {
        match record.get(index).map(std::str::from_utf8) {
            Some(Ok(text)) => *field = text.trim(),
            Some(Err(_)) => return Reading::Other(Skip::Unreadable, format!("{} is not UTF-8", COLUMNS[index])),
            None => return Reading::Other(Skip::Unreadable, format!("{} columns", record.len())),
        }
    }
    let [invoice, code, description, quantity, at, price, customer, country] = fields;
    let other = |why: Skip, what: &str| Reading::Other(why, what.to_owned());
    let unreadable = |column: &str, what: &str| Reading::Other(Skip::Unreadable, format!("{column} {what:?}"));

    let number = match invoice.as_bytes() {
        [] => return other(Skip::NoInvoice, code),
        [b'C' | b'c', ..] => return other(Skip::Cancellation, invoice),
        digits if digits.len() == 6 && digits.iter().all(u8::is_ascii_digit) => invoice,
        _ => return other(Skip::OtherInvoice, invoice),
    };
    let Ok(invoice) = number.parse() else { return unreadable("invoice", number) };
    let Ok(pieces) = quantity.parse::<i64>() else { return unreadable("quantity", quantity) };
    if pieces <= 0 {
        return other(Skip::NotSold, quantity);
    }
    let pence = match parse_pence(price) {
        Some(pence) if pence <= 0 => return other(Skip::Free, price),
        Some(pence) => Some(pence),
        // a fraction of a penny is above 0 and yet no price, which matters only for products
        None if is_above_zero(price) => None,
        None => return unreadable("price", price),
    };
    if code.len() < 5 || !code.as_bytes()[..5].iter().all(u8::is_ascii_digit) {
        return other(Skip::NotAProduct, code);
    }
    // from here on it is a sale; what is odd now cannot be sold by any shop
    if code.parse::<Sku>().is_err() {
        return unreadable("stock_code", code);
    }
    let Some(quantity) = u64::try_from(pieces).ok().and_then(|pieces| Quantity::new(pieces).ok()) else {
        return unreadable("quantity", quantity);
    };
    let Some(pence) = pence.filter(|pence| *pence <= PRICE_MAX) else { return unreadable("price", price) };
    if !is_minute(at) {
        return unreadable("invoice_date", at);
    }
    let customer = match customer {
        "" => None,
        id => match id.strip_suffix(".0").unwrap_or(id).parse() {
            Ok(id) => Some(id),
            Err(_) => return unreadable("customer_id", customer),
        },
    };
    Reading::Sale(Row { invoice, code, description, quantity: quantity.get(), at, price: pence, customer, country })
}

/// `YYYY-MM-DD HH:MM`
fn is_minute(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00 00:00";
    text.len() == SHAPE.len()
        && text
            .bytes()
            .zip(SHAPE)
            .all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == *shape })
}

/// Whether a text is a decimal number above 0.
fn is_above_zero(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    digits.clone().all(|byte| byte.is_ascii_digit()) && digits.any(|byte| byte != b'0')
}

/// Decimal pounds as pence, exactly: `None` for what is no number or has a fraction of a penny.
pub fn parse_pence(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (pounds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = pounds.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || (pounds.is_empty() && fraction.is_empty()) {
        return None;
    }
    let (pence, rest) = fraction.split_at_checked(2).unwrap_or((fraction, ""));
    if rest.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let pounds: i64 = if pounds.is_empty() { 0 } else { pounds.parse().ok()? };
    let pence: i64 = match pence.len() {
        0 => 0,
        1 => 10 * pence.parse::<i64>().ok()?,
        _ => pence.parse().ok()?,
    };
    pounds.checked_mul(100)?.checked_add(pence)?.checked_mul(sign)
}
