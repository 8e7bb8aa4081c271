//! Many clients who want the same thing at the same moment, over HTTP and against the real binary: each race with
//! 2, 16, 64 and 256 of them. What is asserted is the exact outcome (how many win, what each loser is told, what
//! lies in the shop and in the provider's book afterwards), never only that nothing broke.
//! Whatever the store is: `SOUK_TEST_STORE` says which.

mod accounts;
mod completion;
pub mod crowd;
mod expiry;
mod full;
mod hot_sku;
mod keys;
mod last_unit;
mod merges;
mod money;
