//! souk's own CSV: a row for each variant.
//!
//! | column | |
//! | --- | --- |
//! | sku, title, price | required; price as a decimal number (`12.50`) |
//! | currency | GBP where empty |
//! | description, slug, status | status `draft` or `published` (where empty) |
//! | category | a path `Home > Candles`; several separated by `\|` |
//! | on_hand | pieces in stock; left as it is where empty |
//! | product | rows that follow each other with the same value are variants of one product |
//! | option:NAME, attribute:NAME | an option of the variant, an attribute of the product |

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use anyhow::{Context, bail};

use super::wanted::{Parsed, RowError, Wanted, WantedVariant, category_path, currency, price, status};
use crate::actors::values::Sku;

const COLUMNS: [&str; 10] =
    ["sku", "title", "price", "currency", "description", "slug", "status", "category", "on_hand", "product"];

/// A row by its columns' names.
struct Row<'a> {
    header: &'a [String],
    record: &'a csv::StringRecord,
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
    fn named(&self, prefix: &str) -> BTreeMap<String, String> {
        let cells = self.header.iter().zip(self.record.iter());
        let named =
            cells.filter_map(|(column, cell)| Some((column.strip_prefix(prefix)?.strip_prefix(':')?, cell.trim())));
        named.filter(|(_, cell)| !cell.is_empty()).map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect()
    }

    fn wanted(&self, file: &str, line: u64) -> Result<Wanted, String> {
        let sku: Sku = self.get("sku").parse().map_err(|why| format!("sku: {why}"))?;
        let title = self.given("title").ok_or("title is empty")?.to_owned();
        let price = price(self.get("price"), currency(self.get("currency"))?)?;
        let number = |text: &str| text.parse().map_err(|_| format!("on_hand must be a whole number, not {text:?}"));
        let on_hand = self.given("on_hand").map(number).transpose()?;
        let categories = self.given("category").map(|text| text.split('|').map(category_path).collect());
        let attributes = Some(self.named("attribute")).filter(|attributes| !attributes.is_empty());
        Ok(Wanted {
            file: file.to_owned(),
            line,
            title,
            slug: self.given("slug").map(str::parse).transpose().map_err(|why| format!("slug: {why}"))?,
            description: self.given("description").map(str::to_owned),
            categories,
            attributes,
            status: status(self.get("status"))?,
            variants: vec![WantedVariant { sku, options: self.named("option"), price, on_hand }],
        })
    }
}

pub fn parse(file: &str, input: impl Read) -> anyhow::Result<Parsed> {
    let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let header: Vec<String> = csv.headers()?.iter().map(|column| column.trim().to_owned()).collect();
    let is_known =
        |column: &str| COLUMNS.contains(&column) || column.starts_with("option:") || column.starts_with("attribute:");
    if let Some(unknown) = header.iter().find(|column| !is_known(column)) {
        bail!("unknown column {unknown:?}; there are {}, option:NAME and attribute:NAME", COLUMNS.join(", "));
    }
    if let Some(missing) = ["sku", "title", "price"].iter().find(|column| !header.iter().any(|name| name == *column)) {
        bail!("the column {missing} is missing");
    }
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
        let row = Row { header: &header, record: &record };
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
