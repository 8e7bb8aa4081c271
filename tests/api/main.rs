//! The API, asked over a socket: one server per test, its journal in memory.

mod carts;
mod catalogue;
mod conventions;
mod market;
mod orders;
mod people;
mod shop;
