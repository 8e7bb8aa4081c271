//! Counters that the nodes of a cluster share, such as those of limits. A counter belongs to a slot, and is in the memory of
//! the node that has the slot. It is not kept: it begins anew when the slot moves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::stored_enum;

stored_enum! {
    /// What is done to a counter.
    pub enum Counting {
        /// One more, unless the quota is used up.
        (1, 1) => Take,
        /// Nothing: it is only looked at.
        (2, 1) => Look,
        /// It begins anew.
        (3, 1) => Forget,
    }
}

/// A counter, and what is done to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Count {
    pub policy: Arc<str>,
    pub key: Arc<str>,
    pub quota: u64,
    pub window_ms: u64,
    pub counting: Counting,
}

/// How a counter stands afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub allowed: bool,
    pub remaining: u64,
    /// Until it begins anew.
    pub reset_ms: u64,
}

/// Has the counters of a node. It must be quick.
pub trait Counters: Send + Sync + 'static {
    fn count(&self, count: &Count) -> Counted;
}
