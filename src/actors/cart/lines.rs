//! The lines of a cart, in the order in which they were added.
//!
//! A cart takes 2,000 lines and a bulk buyer adds them one by one, so finding a SKU must not compare
//! 2,000 strings. A map would make every clone dear (a reply that is still being written holds the old
//! state); instead two more vectors hold 32 bits of each SKU's hash and of each line id, which are searched
//! in a fraction of a microsecond and copied in one piece. The subtotal is kept as a running sum.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::actors::sku::types::Item;
use crate::actors::values::{LineId, Money, ProductId, Quantity, Sku, VariantId};

/// A line. Its price is a copy of the catalogue's, taken when the line was added or the cart repriced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub id: LineId,
    pub sku: Sku,
    pub product: ProductId,
    /// `None` in lines that were stored before they knew it.
    pub variant: Option<VariantId>,
    pub title: Arc<str>,
    pub quantity: Quantity,
    pub unit_price: Money,
}

/// A line as it was stored before it knew its variant.
#[derive(Serialize, Deserialize)]
pub(super) struct LineV1 {
    id: LineId,
    sku: Sku,
    product: ProductId,
    title: Arc<str>,
    quantity: Quantity,
    unit_price: Money,
}

impl From<LineV1> for Line {
    fn from(old: LineV1) -> Line {
        let LineV1 { id, sku, product, title, quantity, unit_price } = old;
        Line { id, sku, product, variant: None, title, quantity, unit_price }
    }
}

impl Line {
    /// What it is a line of.
    pub fn item(&self) -> Item {
        Item { product: self.product, variant: self.variant }
    }

    pub fn total(&self) -> Money {
        Money::new(self.amount(), self.unit_price.currency)
    }

    /// No cart can overflow: see [`crate::actors::values::PRICE_MAX`].
    fn amount(&self) -> i64 {
        self.unit_price.amount.saturating_mul(i64::from(self.quantity.get()))
    }

    fn text_bytes(&self) -> usize {
        self.sku.as_str().len() + self.title.len() + TEXT_OVERHEAD_BYTES
    }
}

/// Two reference-counted texts: counters and allocator, each.
const TEXT_OVERHEAD_BYTES: usize = 2 * 24;

/// Lines with unique ids and unique SKUs.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    lines: Vec<Line>,
    /// For each line, the hash of its SKU.
    sku_hashes: Vec<u32>,
    /// For each line, the low bits of its id.
    id_bits: Vec<u32>,
    subtotal: i64,
    text_bytes: usize,
}

impl Lines {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Room for one more. Most carts have a line or two: a vector by itself begins with room for four.
    fn make_room(&mut self) {
        let len = self.lines.len();
        if len == self.lines.capacity() {
            let more = (len / 2).max(1);
            self.sku_hashes.reserve_exact(more);
            self.id_bits.reserve_exact(more);
            self.lines.reserve_exact(more);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Line> {
        self.lines.iter()
    }

    pub fn as_slice(&self) -> &[Line] {
        &self.lines
    }

    /// The sum of all line totals, in minor units.
    pub fn subtotal(&self) -> i64 {
        self.subtotal
    }

    pub fn by_sku(&self, sku: &Sku) -> Option<&Line> {
        let place = find(&self.sku_hashes, sku_hash(sku), |place| self.lines[place].sku == *sku)?;
        self.lines.get(place)
    }

    pub fn by_id(&self, id: LineId) -> Option<&Line> {
        self.lines.get(self.place(id)?)
    }

    /// Puts a line where its id is, or behind the others.
    pub(super) fn put(&mut self, line: Line) {
        self.subtotal = self.subtotal.saturating_add(line.amount());
        self.text_bytes += line.text_bytes();
        match self.place(line.id) {
            Some(place) => {
                self.sku_hashes[place] = sku_hash(&line.sku);
                let old = std::mem::replace(&mut self.lines[place], line);
                self.forget(&old);
            }
            None => {
                self.make_room();
                self.sku_hashes.push(sku_hash(&line.sku));
                self.id_bits.push(id_bits(line.id));
                self.lines.push(line);
            }
        }
    }

    pub(super) fn set_quantity(&mut self, id: LineId, quantity: Quantity) {
        if let Some(place) = self.place(id) {
            let line = &mut self.lines[place];
            self.subtotal = self.subtotal.saturating_sub(line.amount());
            line.quantity = quantity;
            self.subtotal = self.subtotal.saturating_add(line.amount());
        }
    }

    pub(super) fn remove(&mut self, id: LineId) {
        if let Some(place) = self.place(id) {
            let old = self.lines.remove(place);
            self.sku_hashes.remove(place);
            self.id_bits.remove(place);
            self.forget(&old);
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let search_bytes = (self.sku_hashes.capacity() + self.id_bits.capacity()) * size_of::<u32>();
        self.lines.capacity() * size_of::<Line>() + search_bytes + self.text_bytes
    }

    /// Whether sums and hashes are what the lines say, and ids and SKUs unique. Looks at every line.
    pub(super) fn is_consistent(&self) -> bool {
        let again = Lines::from(self.lines.clone());
        let ids: std::collections::BTreeSet<_> = self.lines.iter().map(|line| line.id).collect();
        let skus: std::collections::BTreeSet<_> = self.lines.iter().map(|line| &line.sku).collect();
        again.subtotal == self.subtotal
            && again.sku_hashes == self.sku_hashes
            && again.id_bits == self.id_bits
            && again.text_bytes == self.text_bytes
            && ids.len() == self.len()
            && skus.len() == self.len()
    }

    fn place(&self, id: LineId) -> Option<usize> {
        find(&self.id_bits, id_bits(id), |place| self.lines[place].id == id)
    }

    fn forget(&mut self, old: &Line) {
        self.subtotal = self.subtotal.saturating_sub(old.amount());
        self.text_bytes -= old.text_bytes();
    }
}

/// The first place where `bits` stands and `is_it` agrees.
fn find(all: &[u32], bits: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = all[from..].iter().position(|other| *other == bits) {
        if is_it(from + found) {
            return Some(from + found);
        }
        from += found + 1;
    }
    None
}

/// Line ids are hashes already.
fn id_bits(id: LineId) -> u32 {
    id.0 as u32
}

/// FNV-1a: short, fixed for ever, and good enough where a hit is checked again.
fn sku_hash(sku: &Sku) -> u32 {
    sku.as_str().bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl From<Vec<Line>> for Lines {
    fn from(lines: Vec<Line>) -> Lines {
        Lines {
            sku_hashes: lines.iter().map(|line| sku_hash(&line.sku)).collect(),
            id_bits: lines.iter().map(|line| id_bits(line.id)).collect(),
            subtotal: lines.iter().fold(0, |sum: i64, line| sum.saturating_add(line.amount())),
            text_bytes: lines.iter().map(Line::text_bytes).sum(),
            lines,
        }
    }
}

impl<'a> IntoIterator for &'a Lines {
    type Item = &'a Line;
    type IntoIter = std::slice::Iter<'a, Line>;
    fn into_iter(self) -> Self::IntoIter {
        self.lines.iter()
    }
}

/// Stored as the list of lines; the rest is computed again.
impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.lines.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Vec::deserialize(d).map(Lines::from)
    }
}
