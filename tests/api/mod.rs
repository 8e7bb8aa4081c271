//! The running server, held to what its API promises. The real binary answers over a socket, on a store
//! of its own (`SOUK_TEST_STORE` says of which kind); every answer is also held against the OpenAPI document.

pub mod support;

mod accounts;
mod addresses;
mod administrators;
mod audit;
mod carts;
mod catalogue;
mod cluster;
mod completion;
mod contract;
mod conventions;
mod entities;
mod freed_skus;
mod idempotency;
mod inventory;
mod limits;
mod lists;
mod merges;
mod nulls;
mod operators;
mod orders;
mod products;
mod repeats;
mod spelling;
mod texts;
mod undecided;
mod versions;
