//! Whole clusters on the real protocol: stories that can be read, and seeds that go wrong in every way.

mod calls;
mod clients;
mod model;
mod random;
mod simulation;
mod store;
mod stories;
mod story;
mod world;
