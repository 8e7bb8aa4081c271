//! What customers ask for: the catalogue, carts, orders. One file or folder per resource: its handlers, and beside
//! them how it looks in JSON.

pub mod carts;
pub mod categories;
pub mod completion;
pub mod contact;
pub mod orders;
pub mod products;
