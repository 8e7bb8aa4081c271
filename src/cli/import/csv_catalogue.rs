//! souk's own CSV: a row for each variant.
//!
//! | column | |
//! | --- | --- |
//! | sku, title, price | required; price as a decimal number (`12.50`) |
//! | currency | of a new variant GBP where not given |
//! | description, slug, status | status `draft` or `published`; a new product is published where not given |
//! | category | a path `Home > Candles`; several separated by `\|` |
//! | on_hand | pieces in stock |
//! | product | rows that follow each other with the same value are variants of one product |
//! | option:NAME, attribute:NAME | an option of the variant, an attribute of the product |
//!
//! A value that a row does not give (no such column, or an empty cell) is left as the shop has it. A row with more or
//! fewer cells than the header is in error, because nobody can tell which cell is which.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use anyhow::{Context, bail, ensure};

use super::quotes::Quotes;
use super::wanted::{Named, Parsed, RowError, Wanted, WantedVariant, category_path, decimal_price, status, with_point};
use crate::actors::values::{Currency, Sku};

const COLUMNS: [&str; 10] =
    ["sku", "title", "price", "currency", "description", "slug", "status", "category", "on_hand", "product"];

/// How a CSV is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub delimiter: u8,
    /// Prices are written `6,50`.
    pub decimal_comma: bool,
}

impl Default for Format {
    fn default() -> Format {
        Format { delimiter: b',', decimal_comma: false }
    }
}

impl Format {
    pub fn reader<R: Read>(self, input: R) -> csv::Reader<Quotes<R>> {
        let quotes = Quotes::new(input, self.delimiter);
        csv::ReaderBuilder::new().flexible(true).delimiter(self.delimiter).from_reader(quotes)
    }
}

/// A row by its columns' names.
struct Row<'a> {
    header: &'a [String],
    record: &'a csv::StringRecord,
    format: Format,
}

impl Row<'_> {
    /// The column's text, trimmed; empty where it is missing.
    fn get(&self, column: &str) -> &str {
        let index = self.header.iter().position(|name| name == column);
        index.and_then(|index| self.record.get(index)).unwrap_or("").trim()
    }

    /// The column's text, `None` when the file has no such column or nothing in it.
    fn given(&self, column: &str) -> Option<&str> {
        Some(self.get(column)).filter(|text| !text.is_empty())
    }

    /// What stands under `PREFIX:NAME`, by NAME.
    fn named(&self, prefix: &str) -> Named {
        let cells = self.header.iter().zip(self.record.iter());
        let named =
            cells.filter_map(|(column, cell)| Some((column.strip_prefix(prefix)?.strip_prefix(':')?, cell.trim())));
        let given = named.filter(|(_, cell)| !cell.is_empty());
        Named::Among(given.map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect::<BTreeMap<_, _>>())
    }

    fn wanted(&self, file: &str, line: u64) -> Result<Wanted, String> {
        if self.record.len() != self.header.len() {
            return Err(format!("the row has {} cells, the header {}", self.record.len(), self.header.len()));
        }
        let sku: Sku = self.get("sku").parse().map_err(|why| format!("sku: {why}"))?;
        let title = self.given("title").ok_or("title is empty")?.to_owned();
        let currency = self.given("currency").map(str::parse::<Currency>).transpose();
        let currency = currency.map_err(|why| format!("currency: {why}"))?;
        let price = match self.get("price") {
            text if self.format.decimal_comma => decimal_price(&with_point(text)?, currency)?,
            text => decimal_price(text, currency)?,
        };
        let number = |text: &str| text.parse().map_err(|_| format!("on_hand must be a whole number, not {text:?}"));
        let on_hand = self.given("on_hand").map(number).transpose()?;
        Ok(Wanted {
            file: file.to_owned(),
            line,
            title,
            slug: self.given("slug").map(str::parse).transpose().map_err(|why| format!("slug: {why}"))?,
            description: self.given("description").map(str::to_owned),
            categories: self.given("category").map(|text| text.split('|').map(category_path).collect()),
            attributes: self.named("attribute"),
            status: status(self.get("status"))?,
            variants: vec![WantedVariant { line, sku, options: self.named("option"), price, on_hand }],
        })
    }
}

pub fn parse(file: &str, input: impl Read, format: Format) -> anyhow::Result<Parsed> {
    let mut csv = format.reader(input);
    let header = header(&mut csv)?;
    let mut parsed = Parsed::default();
    let mut seen = HashSet::new();
    let mut group = String::new();
    let mut record = csv::StringRecord::new();
    loop {
        match csv.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(parsed),
            Err(error) if error.is_io_error() => return Err(error).context("reading the rows"),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                parsed.errors.push(RowError { line, what: "row".to_owned(), reason: error.to_string() });
                continue;
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row { header: &header, record: &record, format };
        let wanted = row.wanted(file, line).and_then(|wanted| {
            let is_new = seen.insert(wanted.variants[0].sku.clone());
            if is_new { Ok(wanted) } else { Err("this SKU was there before in the file".to_owned()) }
        });
        match wanted {
            Err(reason) => parsed.errors.push(RowError { line, what: row.get("sku").to_owned(), reason }),
            Ok(wanted) => match parsed.products.last_mut() {
                Some(product) if !group.is_empty() && group == row.get("product") => {
                    product.variants.extend(wanted.variants);
                }
                Some(_) | None => {
                    row.get("product").clone_into(&mut group);
                    parsed.products.push(wanted);
                }
            },
        }
    }
}

/// The names of the columns: all known, none twice.
fn header<R: Read>(csv: &mut csv::Reader<R>) -> anyhow::Result<Vec<String>> {
    let header: Vec<String> =
        csv.headers().context("reading the header")?.iter().map(|column| column.trim().to_owned()).collect();
    let has_name = |column: &str, prefix: &str| column.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
    let is_known =
        |column: &str| COLUMNS.contains(&column) || has_name(column, "option:") || has_name(column, "attribute:");
    if let Some(unknown) = header.iter().find(|column| !is_known(column)) {
        bail!("unknown column {unknown:?}; there are {}, option:NAME and attribute:NAME", COLUMNS.join(", "));
    }
    if let Some(missing) = ["sku", "title", "price"].iter().find(|column| !header.iter().any(|name| name == *column)) {
        bail!("the column {missing} is missing");
    }
    for (index, column) in header.iter().enumerate() {
        ensure!(!header[..index].contains(column), "the column {column} is there twice");
    }
    Ok(header)
}
