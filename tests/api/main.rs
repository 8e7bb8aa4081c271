//! The API, asked over a socket: one server per test, its journal in memory.

mod conventions;
mod people;
mod shop;
