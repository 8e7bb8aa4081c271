//! A journal whose feed can be counted, held up and damaged, and which can lose records.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::SLOTS;
use crate::persistence::memory::Memory;
use crate::persistence::{
    Batch, EntityKey, Epoch, History, Journal, OwedRow, Record, Refusal, RequestBytes, Slot, SlotHead, StoreError,
    WakeRow,
};

pub struct Gated {
    inner: RwLock<Memory>,
    /// Calls of `feed` that asked for more than one record.
    pages: AtomicUsize,
    is_open: watch::Sender<bool>,
    damaged: Mutex<BTreeSet<Slot>>,
}

impl Gated {
    pub fn new() -> Gated {
        let (pages, damaged) = Default::default();
        Gated { inner: RwLock::new(Memory::new(SLOTS)), pages, is_open: watch::Sender::new(true), damaged }
    }

    pub fn pages(&self) -> usize {
        self.pages.load(Ordering::SeqCst)
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

    /// From now on it has what `other` has, and nothing else.
    pub fn become_other(&self, other: Memory) {
        *self.inner.write() = other;
    }

    fn inner(&self) -> Memory {
        self.inner.read().clone()
    }
}

#[async_trait]
impl Journal for Gated {
    fn slots(&self) -> Slot {
        SLOTS
    }
    async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        self.inner().append(batch).await
    }
    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        self.inner().load(slot, key).await
    }
    async fn records(&self, slot: Slot, key: &EntityKey, after: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner().records(slot, key, after, limit).await
    }
    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        self.inner().find_receipt(slot, key, request).await
    }
    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        if limit > 1 {
            self.pages.fetch_add(1, Ordering::SeqCst);
        }
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await; // the sender is `self`
        if self.damaged.lock().contains(&slot) {
            return Err(StoreError::Damaged("injected".to_owned()));
        }
        self.inner().feed(slot, after_seq, limit).await
    }
    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        self.inner().owed(slot, after, limit).await
    }
    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        self.inner().wakes(slot, after, limit).await
    }
    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        self.inner().entities(kind, after, limit).await
    }
    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        self.inner().heads().await
    }
    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        self.inner().claim(owner, slots).await
    }
    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        self.inner().prune_receipts(now_ms, limit).await
    }
    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        self.inner().drop_snapshots().await
    }
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
