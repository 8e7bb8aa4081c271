//! What must come of the invoices when they are played one after the other.
//!
//! An order asks for each of its SKUs once (repeated lines are one line of the cart), and is rejected as a
//! whole when any of them has less than it wants; then nothing of it is kept. What it was refused for is the
//! first such SKU that it came to.

use crate::cli::retail::Retail;

/// What an invoice must come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Confirmed,
    /// The SKUs of which there was too little: the refusal names one of them.
    Rejected(Vec<Shortage>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Index of the item.
    pub item: u32,
    pub available: u64,
    pub requested: u64,
}

/// Of the first `invoices` invoices, with `stock` of each item at the start.
pub fn sequential(retail: &Retail, invoices: usize, stock: &[u64]) -> Vec<Expected> {
    let mut available = stock.to_vec();
    let mut expected = Vec::with_capacity(invoices);
    for invoice in retail.invoices.iter().take(invoices) {
        let wanted = retail.quantities(invoice);
        let short = wanted.iter().map(|(item, requested)| Shortage {
            item: *item,
            available: available[*item as usize],
            requested: *requested,
        });
        let short: Vec<Shortage> = short.filter(|shortage| shortage.available < shortage.requested).collect();
        if short.is_empty() {
            wanted.iter().for_each(|(item, quantity)| available[*item as usize] -= quantity);
            expected.push(Expected::Confirmed);
        } else {
            expected.push(Expected::Rejected(short));
        }
    }
    expected
}
