//! Entities that an operator has quarantined, of one slot.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::persistence::EntityKey;

/// The most of one slot. Operators name them one by one.
const WITHHELD_MAX: usize = 1_000;

#[derive(Default)]
pub struct Withheld {
    /// How many there are: mostly none, and then nobody has to look further.
    count: AtomicUsize,
    keys: Mutex<BTreeSet<EntityKey>>,
}

impl Withheld {
    pub fn has(&self, key: &EntityKey) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.keys.lock().contains(key)
    }
    /// Whether it is new. `None`: there are too many.
    pub fn add(&self, key: &EntityKey) -> Option<bool> {
        let mut keys = self.keys.lock();
        if keys.contains(key) {
            return Some(false);
        }
        if keys.len() >= WITHHELD_MAX {
            return None;
        }
        keys.insert(key.clone());
        self.count.store(keys.len(), Ordering::Release);
        Some(true)
    }
    /// Whether it was there.
    pub fn remove(&self, key: &EntityKey) -> bool {
        let mut keys = self.keys.lock();
        let was_there = keys.remove(key);
        self.count.store(keys.len(), Ordering::Release);
        was_there
    }
    /// How many there were.
    pub fn clear(&self) -> usize {
        let mut keys = self.keys.lock();
        self.count.store(0, Ordering::Release);
        std::mem::take(&mut *keys).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::runtime::envelope::key;

    #[test]
    fn what_is_withheld_is_bounded_and_ends() {
        let withheld = Withheld::default();
        let of = |n: usize| key(9, format!("SKU-{n}"));
        assert!(!withheld.has(&of(0)) && !withheld.remove(&of(0)));
        for n in 0..WITHHELD_MAX {
            assert_eq!(withheld.add(&of(n)), Some(true));
        }
        assert_eq!((withheld.add(&of(0)), withheld.add(&of(WITHHELD_MAX))), (Some(false), None));
        assert!(withheld.remove(&of(0)) && !withheld.has(&of(0)) && withheld.has(&of(1)));
        assert_eq!((withheld.clear(), withheld.has(&of(1)), withheld.clear()), (WITHHELD_MAX - 1, false, 0));
    }
}
