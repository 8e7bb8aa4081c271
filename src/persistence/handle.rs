//! A shared handle is a store like what it points at; so that a decorator can stand around any opened one.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Batch, EntityKey, Epoch, History, Journal, Membership, NodeRow, OwedRow, Record, Refusal, RequestBytes, Slot,
    SlotHead, StoreError, WakeRow,
};

#[async_trait]
impl<S: Journal + ?Sized> Journal for Arc<S> {
    fn slots(&self) -> Slot {
        (**self).slots()
    }

    async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        (**self).append(batch).await
    }

    fn has_nothing(&self, slot: Slot, key: &EntityKey) -> bool {
        (**self).has_nothing(slot, key)
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        (**self).load(slot, key).await
    }

    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        (**self).records(slot, key, after_seq, limit).await
    }

    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        (**self).find_receipt(slot, key, request).await
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        (**self).feed(slot, after_seq, limit).await
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        (**self).owed(slot, after, limit).await
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        (**self).wakes(slot, after, limit).await
    }

    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        (**self).entities(kind, after, limit).await
    }

    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        (**self).heads().await
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        (**self).claim(owner, slots).await
    }

    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        (**self).prune_receipts(now_ms, limit).await
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        (**self).drop_snapshots().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

#[async_trait]
impl<S: Membership + ?Sized> Membership for Arc<S> {
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        (**self).join(node).await
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        (**self).renew(node).await
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        (**self).leave(id).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        (**self).nodes().await
    }

    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        (**self).transfer(from, to, slots).await
    }
}
