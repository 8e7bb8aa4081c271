//! souk: an e-commerce backend in which every user, cart, product, order and inventory SKU is a
//! long-lived, durable actor. See ARCHITECTURE.md.

pub mod actors;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod http;
pub mod metrics;
pub mod node;
pub mod persistence;
pub mod telemetry;
pub mod upkeep;

#[cfg(test)]
#[path = "../tests/fuzz/harness.rs"]
pub(crate) mod fuzz;
