//! Which entities have changed since they were last read. The set coalesces: an entity that changes ten
//! thousand times between two reads is one key. It is bounded: when it is full, the marks are given up
//! and everything is read again.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::persistence::EntityKey;

/// The most keys that wait. At 50 bytes each a few megabytes; more is cheaper to find by listing.
const KEYS_MAX: usize = 65_536;

#[derive(Default)]
pub(super) struct Dirty(Mutex<Marks>);

#[derive(Default)]
struct Marks {
    keys: HashSet<EntityKey>,
    lost: bool,
}

impl Dirty {
    pub fn mark(&self, keys: &[EntityKey]) {
        let mut marks = self.0.lock();
        for key in keys {
            if marks.keys.len() >= KEYS_MAX && !marks.keys.contains(key) {
                marks.lost = true;
                return;
            }
            marks.keys.insert(key.clone());
        }
    }

    /// Takes everything that is marked.
    pub fn take(&self) -> Vec<EntityKey> {
        std::mem::take(&mut self.0.lock().keys).into_iter().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().keys.is_empty()
    }

    /// Says that changes were missed: everything must be read again.
    pub fn lose(&self) {
        self.0.lock().lost = true;
    }

    /// Whether marks were lost since this was last asked.
    pub fn take_lost(&self) -> bool {
        std::mem::take(&mut self.0.lock().lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> EntityKey {
        EntityKey { kind: 8, id: n.to_string().into() }
    }

    #[test]
    fn a_key_is_marked_once_and_a_full_set_says_that_it_lost_some() {
        let dirty = Dirty::default();
        for _ in 0..3 {
            dirty.mark(&[key(1), key(2)]);
        }
        assert_eq!(dirty.take().len(), 2);
        assert!(dirty.is_empty() && !dirty.take_lost());
        let many: Vec<_> = (0..=KEYS_MAX).map(key).collect();
        dirty.mark(&many);
        dirty.mark(&[key(0)]);
        assert!(dirty.take_lost() && !dirty.take_lost());
        assert_eq!(dirty.take().len(), KEYS_MAX);
    }
}
