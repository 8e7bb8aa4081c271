//! What is done to whole stores: [`check`] verifies one, [`copy`] moves one into another.
//!
//! Both see a store through its contract alone, so they do the same for every backend, and hold it to its word:
//! what is told here is what a node would have read. Nothing is printed here.

pub mod check;
pub mod copy;

/// Who is told how far it has got.
pub trait Watch: Sync {
    /// Something with so many steps begins.
    fn begins(&self, what: &'static str, steps: u64);
    fn advances(&self, steps: u64);
}

/// Records that are read at a time.
const PAGE: usize = 256;
