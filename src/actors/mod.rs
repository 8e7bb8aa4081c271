//! What the shop is, and what runs it: one folder per entity kind (pure), the slot actor, the router,
//! the client handle, projections, gateways.

pub mod audit;
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

pub mod entity;
pub mod feed;
pub mod gateways;
pub mod kinds;
pub mod policy;
pub mod projections;
pub mod runtime;
#[cfg(test)]
pub mod testing;
pub mod values;
