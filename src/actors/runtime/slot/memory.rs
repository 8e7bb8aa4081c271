//! The memory budget of a node, which all its slots share.
//!
//! A budget that was cut into equal parts would throw entities away on a busy slot while the rest of the node
//! has room. So one pair of counters says what the node holds, and a slot gives up entities only when the node is over
//! its budget *and* the slot is over its share: at any such moment some slot is.
//!
//! An entity counts for at most half a share, however large: a giant crowds out neither itself nor its
//! neighbours. That leaves the sum of true sizes unbounded by the budget, so beyond
//! [`STRICT_PERCENT`] of it true sizes count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// From this part of the budget on an entity counts with its true size, in percent.
const STRICT_PERCENT: usize = 125;

/// What the entities of all slots of a node may hold, and hold.
pub struct Memory {
    budget_bytes: usize,
    /// The part of a slot.
    share_bytes: usize,
    /// What all slots hold, as it counts and as it is.
    counted_bytes: AtomicUsize,
    true_bytes: AtomicUsize,
}

impl Memory {
    pub fn new(budget_bytes: usize, slots: usize) -> Arc<Memory> {
        Arc::new(Memory {
            budget_bytes,
            share_bytes: budget_bytes / slots.max(1),
            counted_bytes: AtomicUsize::new(0),
            true_bytes: AtomicUsize::new(0),
        })
    }
    /// What all slots hold, in bytes.
    pub fn true_bytes(&self) -> usize {
        self.true_bytes.load(Ordering::Relaxed)
    }
    fn counted(&self, size_bytes: usize) -> usize {
        size_bytes.min(self.share_bytes / 2)
    }
}

/// What one slot holds of it. Dropped, however the slot ends, it is given back.
pub struct Holding {
    memory: Arc<Memory>,
    counted_bytes: usize,
    true_bytes: usize,
}

impl Holding {
    pub fn new(memory: Arc<Memory>) -> Holding {
        Holding { memory, counted_bytes: 0, true_bytes: 0 }
    }
    pub fn true_bytes(&self) -> usize {
        self.true_bytes
    }
    /// An entity had one size and has another; 0 when it was not, or is no longer, in memory.
    pub fn resize(&mut self, before_bytes: usize, after_bytes: usize) {
        let (before, after) = (self.memory.counted(before_bytes), self.memory.counted(after_bytes));
        move_by(&mut self.counted_bytes, &self.memory.counted_bytes, before, after);
        move_by(&mut self.true_bytes, &self.memory.true_bytes, before_bytes, after_bytes);
    }
    /// Whether the slot must give up entities now.
    pub fn is_over(&self) -> bool {
        let Memory { budget_bytes, share_bytes, .. } = *self.memory;
        let strict_bytes = budget_bytes / 100 * STRICT_PERCENT;
        let counted = self.memory.counted_bytes.load(Ordering::Relaxed);
        (counted > budget_bytes && self.counted_bytes > share_bytes)
            || (self.memory.true_bytes() > strict_bytes && self.true_bytes > share_bytes)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.memory.counted_bytes.fetch_sub(self.counted_bytes, Ordering::Relaxed);
        self.memory.true_bytes.fetch_sub(self.true_bytes, Ordering::Relaxed);
    }
}

/// Both sums change by the same: the node's is always the sum of its slots'.
fn move_by(own: &mut usize, all: &AtomicUsize, before: usize, after: usize) {
    debug_assert!(*own >= before, "{before} bytes of {own} are given back");
    let before = before.min(*own);
    *own = *own - before + after;
    all.fetch_add(after, Ordering::Relaxed);
    all.fetch_sub(before, Ordering::Relaxed);
}
