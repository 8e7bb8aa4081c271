//! The catalogue of an online retail file: every SKU a product of its own.

use super::wanted::{Named, Wanted, WantedPrice, WantedVariant};
use crate::actors::values::{Currency, Money};
use crate::cli::args::ImportStock;
use crate::cli::retail::Retail;

/// The products of `retail`, with stock measured by what its first `invoices` invoices buy.
pub fn wanted(file: &str, retail: &Retail, stock: ImportStock, invoices: usize) -> Vec<Wanted> {
    let sold = retail.sold(invoices);
    let product = |(item, sold): (&crate::cli::retail::Item, &u64)| {
        let sku = item.sku.parse().expect("sale rows have valid SKUs");
        let on_hand = match stock {
            ImportStock::None => None,
            ImportStock::Share(share) => Some(share.of(*sold)),
        };
        let price = WantedPrice::Money(Money::new(item.price, Currency::GBP));
        Wanted {
            file: file.to_owned(),
            line: 0,
            title: item.title.clone(),
            slug: None,
            description: None,
            categories: Some(vec![vec![item.category.to_owned()]]),
            attributes: Named::default(),
            status: None,
            variants: vec![WantedVariant { line: 0, sku, options: Named::default(), price, on_hand }],
        }
    };
    retail.items.iter().zip(&sold).map(product).collect()
}
