//! What the shop is, and what runs it: one folder per entity kind (pure), the slot actor, the router,
//! the client handle, projections, gateways.

pub mod cart;
pub mod categories;
pub mod customer;
pub mod keyring;
pub mod login;
pub mod mock_charge;
pub mod order;
pub mod order_number;
pub mod payment;
pub mod product;
pub mod session;
pub mod sku;
pub mod slug;
pub mod user;

mod appending;
pub mod attention;
pub mod client;
pub mod coded_enum;
pub mod dispatcher;
pub mod entity;
pub mod envelope;
pub mod erased;
#[cfg(test)]
mod fuzz_tests;
pub mod gateways;
pub mod history;
pub mod kinds;
pub mod marks;
pub mod projections;
pub mod pruning;
pub mod router;
pub mod runtime;
pub mod slot;
#[cfg(test)]
pub mod testkit;
pub mod values;
#[cfg(test)]
pub mod world;
pub mod writer;
