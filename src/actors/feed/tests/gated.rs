//! A store whose feed can be counted, held up and damaged, and which can lose records.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::SLOTS;
use crate::persistence::decorator::Decorator;
use crate::persistence::memory::Memory;
use crate::persistence::{Record, Slot, StoreError};

pub struct Gated {
    first: Memory,
    other: OnceLock<Memory>,
    /// The slots of the calls of `feed` that asked for more than one record.
    pages: watch::Sender<Vec<Slot>>,
    is_open: watch::Sender<bool>,
    damaged: Mutex<BTreeSet<Slot>>,
}

impl Gated {
    pub fn new() -> Gated {
        Gated::of(SLOTS)
    }

    pub fn of(slots: Slot) -> Gated {
        let (pages, is_open) = (watch::Sender::default(), watch::Sender::new(true));
        Gated { first: Memory::new(slots), other: OnceLock::new(), pages, is_open, damaged: Mutex::default() }
    }

    /// How many pages were asked for.
    pub fn pages(&self) -> usize {
        self.pages.borrow().len()
    }

    /// Of which slots, in this order.
    pub fn slots_of_pages(&self) -> Vec<Slot> {
        self.pages.borrow().clone()
    }

    /// Returns when more pages were asked for than so many.
    pub async fn asked_for_more_than(&self, pages: usize) {
        let _ = self.pages.subscribe().wait_for(|asked| asked.len() > pages).await; // the sender is `self`
    }

    /// Nothing is read until it is let go.
    pub fn hold_up(&self) {
        self.is_open.send_replace(false);
    }
    pub fn let_go(&self) {
        self.is_open.send_replace(true);
    }

    pub fn damage(&self, slot: Slot) {
        self.damaged.lock().insert(slot);
    }
    pub fn repair(&self) {
        self.damaged.lock().clear();
    }

    /// From now on it has what `other` has, and nothing else. Once.
    pub fn become_other(&self, other: Memory) {
        assert!(self.other.set(other).is_ok(), "it is another one already");
    }
}

impl Decorator for Gated {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        self.other.get().unwrap_or(&self.first)
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        if limit > 1 {
            self.pages.send_modify(|pages| pages.push(slot));
        }
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await; // the sender is `self`
        if self.damaged.lock().contains(&slot) {
            return Err(StoreError::Damaged("injected".to_owned()));
        }
        crate::persistence::Journal::feed(self.inner(), slot, after_seq, limit).await
    }
}
