//! The UCI Online Retail II file: two years of a shop's invoices, one row per line of an invoice.
//!
//! Read once into compact memory: what was sold (invoices with their lines) and what the catalogue must
//! be for it. A *sale row* has a six-digit invoice, a quantity and a price above 0, and a stock code
//! that (trimmed, upper-cased) starts with five digits. Every other row is counted by [`Skip`].
//!
//! The rows of an invoice mostly lie together, but not always: lines are gathered by invoice, in file
//! order, and invoices stand in the order of their first sale row.

mod catalogue;
mod category;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::Path;

use anyhow::Context;

use catalogue::CatalogueBuilder;
pub use rows::is_header;
use rows::{Reading, Row};

use super::source::Source;

/// Something that is sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The stock code, trimmed and upper-cased.
    pub sku: String,
    pub title: String,
    pub category: &'static str,
    /// Pence: the price of most sale rows, the lowest of several such.
    pub price: i64,
}

/// An invoice with at least one sale row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub number: u32,
    /// `None`: a guest.
    pub customer: Option<u32>,
    /// `YYYY-MM-DD HH:MM` of its first sale row.
    pub at: String,
    /// Index into [`Retail::countries`].
    pub country: u16,
    lines: Range<u32>,
}

impl Invoice {
    /// `YYYY-MM`.
    pub fn month(&self) -> &str {
        &self.at[..7]
    }
}

/// A sale row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Index into [`Retail::items`].
    pub item: u32,
    pub quantity: u32,
}

/// Why a row is not a sale row: the first that applies, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    Unreadable,
    NoInvoice,
    Cancellation,
    OtherInvoice,
    NotSold,
    Free,
    NotAProduct,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::Unreadable => "unreadable",
            Skip::NoInvoice => "no invoice number",
            Skip::Cancellation => "cancellation (invoice C...)",
            Skip::OtherInvoice => "invoice number is not six digits",
            Skip::NotSold => "quantity is not above 0",
            Skip::Free => "price is not above 0",
            Skip::NotAProduct => "stock code does not start with five digits",
        })
    }
}

/// Rows left out for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    pub rows: u64,
    /// The first few, as (line of the file, what it says).
    pub examples: Vec<(u64, String)>,
}

const EXAMPLES_MAX: usize = 5;

/// The whole file.
#[derive(Debug, Default)]
pub struct Retail {
    /// In the order of their SKU.
    pub items: Vec<Item>,
    /// In the order of their first sale row.
    pub invoices: Vec<Invoice>,
    lines: Vec<Line>,
    pub countries: Vec<String>,
    /// Rows of the file, without its header.
    pub rows: u64,
    pub skipped: BTreeMap<Skip, Skipped>,
    /// SHA-256 of the file as it lies on the disk, in hex.
    pub fingerprint: String,
}

impl Retail {
    pub fn read(path: &Path) -> anyhow::Result<Retail> {
        let source = Source::open(path)?;
        let mut retail = Retail::parse(source.reader()?).with_context(|| format!("reading {}", path.display()))?;
        retail.fingerprint = source.fingerprint()?;
        Ok(retail)
    }

    fn parse(input: impl std::io::Read) -> anyhow::Result<Retail> {
        let mut gather = Gather::default();
        rows::read(input, |line, reading| {
            gather.rows += 1;
            match reading {
                Reading::Sale(row) => gather.sale(&row),
                Reading::Other(why, text) => {
                    let skipped = gather.skipped.entry(why).or_default();
                    skipped.rows += 1;
                    if skipped.examples.len() < EXAMPLES_MAX {
                        skipped.examples.push((line, text));
                    }
                }
            }
        })?;
        Ok(gather.finish())
    }

    pub fn lines(&self, invoice: &Invoice) -> &[Line] {
        &self.lines[invoice.lines.start as usize..invoice.lines.end as usize]
    }

    /// Sale rows of the first `invoices` invoices.
    pub fn sale_rows(&self, invoices: usize) -> usize {
        self.invoices.iter().take(invoices).map(|invoice| self.lines(invoice).len()).sum()
    }

    /// What an invoice buys of each item, in SKU order: its lines with repeated SKUs added up.
    pub fn quantities(&self, invoice: &Invoice) -> BTreeMap<u32, u64> {
        let mut quantities = BTreeMap::new();
        for line in self.lines(invoice) {
            *quantities.entry(line.item).or_insert(0) += u64::from(line.quantity);
        }
        quantities
    }

    /// Pieces sold of each item (by its index) in the first `invoices` invoices.
    pub fn sold(&self, invoices: usize) -> Vec<u64> {
        let mut sold = vec![0; self.items.len()];
        for invoice in self.invoices.iter().take(invoices) {
            for line in self.lines(invoice) {
                sold[line.item as usize] += u64::from(line.quantity);
            }
        }
        sold
    }

    /// What an invoice comes to at the catalogue's prices, in pence.
    pub fn value(&self, invoice: &Invoice) -> i64 {
        let value = |line: &Line| self.items[line.item as usize].price * i64::from(line.quantity);
        self.lines(invoice).iter().map(value).sum()
    }

    /// The index of an item.
    pub fn item(&self, sku: &str) -> Option<u32> {
        let found = self.items.binary_search_by(|item| item.sku.as_str().cmp(sku)).ok()?;
        u32::try_from(found).ok()
    }
}

/// What has been read so far, with items in the order of their first row.
#[derive(Default)]
struct Gather {
    catalogue: CatalogueBuilder,
    invoices: Vec<Invoice>,
    by_number: HashMap<u32, u32>,
    /// (index of the invoice, line) in file order.
    lines: Vec<(u32, Line)>,
    countries: Vec<String>,
    rows: u64,
    skipped: BTreeMap<Skip, Skipped>,
}

impl Gather {
    fn sale(&mut self, row: &Row<'_>) {
        let item = self.catalogue.add(row);
        let invoice = match self.by_number.get(&row.invoice) {
            Some(invoice) => *invoice,
            None => self.open(row),
        };
        self.lines.push((invoice, Line { item, quantity: row.quantity }));
    }

    fn open(&mut self, row: &Row<'_>) -> u32 {
        let index = u32::try_from(self.invoices.len()).expect("invoice numbers have six digits");
        let country = self.countries.iter().position(|known| known == row.country).unwrap_or_else(|| {
            self.countries.push(row.country.to_owned());
            self.countries.len() - 1
        });
        self.invoices.push(Invoice {
            number: row.invoice,
            customer: row.customer,
            at: row.at.to_owned(),
            country: u16::try_from(country).unwrap_or(u16::MAX),
            lines: 0..0,
        });
        self.by_number.insert(row.invoice, index);
        index
    }

    fn finish(mut self) -> Retail {
        let (items, place) = self.catalogue.finish();
        // stable: within an invoice, lines stay in file order
        self.lines.sort_by_key(|(invoice, _)| *invoice);
        let mut end = 0;
        for lines in self.lines.chunk_by(|a, b| a.0 == b.0) {
            let start = end;
            end += u32::try_from(lines.len()).expect("fewer rows than fit a u32");
            self.invoices[lines[0].0 as usize].lines = start..end;
        }
        let placed = |line: Line| Line { item: place[line.item as usize], ..line };
        Retail {
            items,
            invoices: self.invoices,
            lines: self.lines.into_iter().map(|(_, line)| placed(line)).collect(),
            countries: self.countries,
            rows: self.rows,
            skipped: self.skipped,
            fingerprint: String::new(),
        }
    }
}
