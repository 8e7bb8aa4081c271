//! What the shop is, and what runs it: one folder per entity kind (pure), the slot actor, the router,
//! the client handle, projections, gateways.

pub mod customer;
pub mod entity;
pub mod keyring;
pub mod login;
pub mod session;
#[cfg(test)]
pub mod testkit;
pub mod user;
pub mod values;
