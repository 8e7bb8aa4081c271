//! The catalogue that the sale rows imply: per SKU one title, one category, one price.
//!
//! - title: the cleaned description of most sale rows (runs of white space become one space); of several
//!   such, the first in the alphabet. A description without a letter does not count; where none is
//!   left, the title is `Item SKU`.
//! - price: the price of most sale rows; of several such, the lowest.
//! - category: by the words of the title, see [`category_of`].

use std::collections::HashMap;

use super::Item;
use super::category::category_of;
use super::rows::Row;

#[derive(Default)]
pub struct CatalogueBuilder {
    items: Vec<Counts>,
    by_code: HashMap<String, u32>,
}

#[derive(Default)]
struct Counts {
    sku: String,
    /// Cleaned description, sale rows. Few per SKU, so a list is the quickest map.
    titles: Vec<(String, u32)>,
    /// Pence, sale rows.
    prices: Vec<(i64, u32)>,
}

impl CatalogueBuilder {
    /// Counts a sale row. The index of its item, in the order of first rows.
    pub fn add(&mut self, row: &Row<'_>) -> u32 {
        let index = match self.by_code.get(row.code) {
            Some(index) => *index,
            None => self.open(row.code),
        };
        let counts = &mut self.items[index as usize];
        match counts.prices.iter_mut().find(|(price, _)| *price == row.price) {
            Some((_, rows)) => *rows += 1,
            None => counts.prices.push((row.price, 1)),
        }
        match counts.titles.iter_mut().find(|(title, _)| same_words(title, row.description)) {
            Some((_, rows)) => *rows += 1,
            None if row.description.chars().any(char::is_alphabetic) => {
                counts.titles.push((row.description.split_whitespace().collect::<Vec<_>>().join(" "), 1));
            }
            None => {}
        }
        index
    }

    /// `code` may be a lower-case spelling of an item that is there already; every spelling is indexed.
    fn open(&mut self, code: &str) -> u32 {
        let sku = code.to_ascii_uppercase();
        let index = self.by_code.get(&sku).copied().unwrap_or_else(|| {
            let index = u32::try_from(self.items.len()).expect("fewer items than fit a u32");
            self.items.push(Counts { sku: sku.clone(), ..Counts::default() });
            self.by_code.insert(sku, index);
            index
        });
        self.by_code.insert(code.to_owned(), index);
        index
    }

    /// The items in the order of their SKU, and for each index of [`Self::add`] its place among them.
    pub fn finish(self) -> (Vec<Item>, Vec<u32>) {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_by(|a, b| self.items[*a].sku.cmp(&self.items[*b].sku));
        let mut place = vec![0; order.len()];
        for (to, from) in order.iter().enumerate() {
            place[*from] = u32::try_from(to).expect("fewer items than fit a u32");
        }
        let items = order.into_iter().map(|from| self.items[from].decide()).collect();
        (items, place)
    }
}

impl Counts {
    fn decide(&self) -> Item {
        let most_titled = self.titles.iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        let title = most_titled.map_or_else(|| format!("Item {}", self.sku), |(title, _)| title.clone());
        let most_priced = self.prices.iter().max_by_key(|(price, rows)| (*rows, std::cmp::Reverse(*price)));
        Item {
            sku: self.sku.clone(),
            category: category_of(&title),
            title,
            price: most_priced.map_or(0, |(price, _)| *price),
        }
    }
}

/// Whether `text` with its white space cleaned is `cleaned`, without building it.
fn same_words(cleaned: &str, text: &str) -> bool {
    cleaned == text || cleaned.split(' ').eq(text.split_whitespace())
}
