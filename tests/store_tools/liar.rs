//! A store that tells one lie.

use std::sync::Arc;

use souk::persistence::decorator::Decorator;
use souk::persistence::{
    EntityKey, History, NodeRow, OwedRow, Record, RequestBytes, Slot, SlotHead, Snapshot, Store, StoreError, WakeRow,
};

/// A lie: what each answer is changed to. Those that are not named tell the truth.
pub trait Lie: Send + Sync + 'static {
    fn feed(&self, _slot: Slot, _after: u64, _page: &mut Vec<Record>) -> Result<(), StoreError> {
        Ok(())
    }
    fn records(&self, _page: &mut Vec<Record>) {}
    fn snapshot(&self, _snapshot: &mut Snapshot) {}
    fn tail(&self, _history: &mut History) {}
    fn receipt(&self, _found: &mut Option<Record>) {}
    fn owed(&self, _slot: Slot, _page: &mut Vec<(EntityKey, OwedRow)>) {}
    fn wakes(&self, _slot: Slot, _page: &mut Vec<WakeRow>) {}
    fn entities(&self, _kind: u8, _page: &mut Vec<Arc<str>>) {}
    fn heads(&self, _heads: &mut Vec<SlotHead>) {}
    fn nodes(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn has_nothing(&self) -> bool {
        false
    }
}

pub struct Liar {
    pub store: Arc<dyn Store>,
    pub lie: Box<dyn Lie>,
}

impl Decorator for Liar {
    type Inner = dyn Store;

    fn inner(&self) -> &dyn Store {
        &*self.store
    }
    fn has_nothing(&self, slot: Slot, key: &EntityKey) -> bool {
        self.lie.has_nothing() || self.store.has_nothing(slot, key)
    }
    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        let mut history = self.store.load(slot, key).await?;
        if let Some(snapshot) = &mut history.snapshot {
            self.lie.snapshot(snapshot);
        }
        self.lie.tail(&mut history);
        Ok(history)
    }
    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let mut page = self.store.records(slot, key, after_seq, limit).await?;
        self.lie.records(&mut page);
        Ok(page)
    }
    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        let mut found = self.store.find_receipt(slot, key, request).await?;
        self.lie.receipt(&mut found);
        Ok(found)
    }
    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut page = self.store.feed(slot, after_seq, limit).await?;
        self.lie.feed(slot, after_seq, &mut page)?;
        Ok(page)
    }
    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        let mut page = self.store.owed(slot, after, limit).await?;
        self.lie.owed(slot, &mut page);
        Ok(page)
    }
    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        let mut page = self.store.wakes(slot, after, limit).await?;
        self.lie.wakes(slot, &mut page);
        Ok(page)
    }
    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        let mut page = self.store.entities(kind, after, limit).await?;
        self.lie.entities(kind, &mut page);
        Ok(page)
    }
    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        let mut heads = self.store.heads().await?;
        self.lie.heads(&mut heads);
        Ok(heads)
    }
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.lie.nodes()?;
        self.store.nodes().await
    }
}
