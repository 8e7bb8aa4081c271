//! The tests of an order: tables of what follows from what, a model that tries every interleaving, and
//! the bytes that are stored.

mod fixture;
mod golden;
mod model;
mod partners;
mod process;
mod requests;
mod world;
