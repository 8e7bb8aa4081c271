//! What tests of entities and of the runtime share.

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
pub mod golden;
#[cfg(test)]
pub mod kit;
#[cfg(test)]
pub mod source;
#[cfg(test)]
pub mod world;
