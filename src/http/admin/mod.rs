//! What administrators and sellers do: products, stock, orders, users.

pub mod inventory;
pub mod orders;
pub mod products;
pub mod users;
