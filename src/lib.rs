//! souk: an e-commerce backend in which every user, cart, product, order and inventory SKU is a
//! long-lived, durable actor. See ARCHITECTURE.md.

pub mod actors;
pub mod cli;
pub mod config;
pub mod node;
pub mod persistence;
