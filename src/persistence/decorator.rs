//! A store that stands around another one and changes some of its answers, for tests and the simulation. Every method
//! forwards; a decorator overrides what it means.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Batch, EntityKey, Epoch, History, Journal, Membership, NodeRow, OwedRow, Record, Refusal, RequestBytes, Slot,
    SlotHead, Store, StoreError, Subject, Tables, WakeRow, WishRow,
};

/// What [`Journal::append`] answers.
pub type Appended = Result<Vec<(Slot, Refusal)>, StoreError>;
/// What a claim and a transfer answer.
pub type Handed = Result<Vec<Result<SlotHead, Refusal>>, StoreError>;

/// The methods of [`Journal`] and [`Membership`], each of which forwards to `inner` unless it is overridden. What
/// implements this is a [`Store`].
pub trait Decorator: Send + Sync + 'static {
    type Inner: Store + ?Sized;

    fn inner(&self) -> &Self::Inner;

    /// Stands around every method that only asks, and around pruning and the dropping of snapshots: what overrides such a
    /// method calls this too, if it means to.
    fn read<T: Send>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        work
    }

    fn append(&self, batch: Batch) -> impl Future<Output = Appended> + Send {
        async move { self.inner().append(batch).await }
    }

    fn has_nothing(&self, slot: Slot, key: &EntityKey) -> bool {
        self.inner().has_nothing(slot, key)
    }

    fn load(&self, slot: Slot, key: &EntityKey) -> impl Future<Output = Result<History, StoreError>> + Send {
        async move { self.read(self.inner().load(slot, key)).await }
    }

    fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        async move { self.read(self.inner().records(slot, key, after_seq, limit)).await }
    }

    fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        async move { self.read(self.inner().find_receipt(slot, key, request)).await }
    }

    fn feed(
        &self,
        slot: Slot,
        after_seq: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        async move { self.read(self.inner().feed(slot, after_seq, limit)).await }
    }

    fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(EntityKey, OwedRow)>, StoreError>> + Send {
        async move { self.read(self.inner().owed(slot, after, limit)).await }
    }

    fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<WakeRow>, StoreError>> + Send {
        async move { self.read(self.inner().wakes(slot, after, limit)).await }
    }

    fn entities(
        &self,
        kind: u8,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Arc<str>>, StoreError>> + Send {
        async move { self.read(self.inner().entities(kind, after, limit)).await }
    }

    fn heads(&self) -> impl Future<Output = Result<Vec<SlotHead>, StoreError>> + Send {
        async move { self.read(self.inner().heads()).await }
    }

    fn head(&self, slot: Slot) -> impl Future<Output = Result<SlotHead, StoreError>> + Send {
        async move { self.read(self.inner().head(slot)).await }
    }

    fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> impl Future<Output = Handed> + Send {
        async move { self.inner().claim(owner, slots).await }
    }

    fn prune_receipts(&self, now_ms: i64, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send {
        async move { self.read(self.inner().prune_receipts(now_ms, limit)).await }
    }

    fn drop_snapshots(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { self.read(self.inner().drop_snapshots()).await }
    }

    fn join(&self, node: &NodeRow) -> impl Future<Output = Result<Result<(), Refusal>, StoreError>> + Send {
        async move { self.inner().join(node).await }
    }

    fn renew(&self, node: &NodeRow) -> impl Future<Output = Result<Result<u64, Refusal>, StoreError>> + Send {
        async move { self.inner().renew(node).await }
    }

    fn leave(&self, id: &str) -> impl Future<Output = Result<Result<(), Refusal>, StoreError>> + Send {
        async move { self.inner().leave(id).await }
    }

    fn forget(&self, id: &str, lease: u64) -> impl Future<Output = Result<Result<(), Refusal>, StoreError>> + Send {
        async move { self.inner().forget(id, lease).await }
    }

    fn wish(&self, row: &WishRow) -> impl Future<Output = Result<Result<(), Refusal>, StoreError>> + Send {
        async move { self.inner().wish(row).await }
    }

    fn unwish(&self, of: &Subject) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { self.inner().unwish(of).await }
    }

    fn wishes(&self) -> impl Future<Output = Result<Vec<WishRow>, StoreError>> + Send {
        async move { self.read(self.inner().wishes()).await }
    }

    fn tables(&self) -> impl Future<Output = Result<Tables, StoreError>> + Send {
        async move { self.read(self.inner().tables()).await }
    }

    fn nodes(&self) -> impl Future<Output = Result<Vec<NodeRow>, StoreError>> + Send {
        async move { self.read(self.inner().nodes()).await }
    }

    fn transfer(&self, from: &str, to: &str, slots: &[(Slot, Epoch)]) -> impl Future<Output = Handed> + Send {
        async move { self.inner().transfer(from, to, slots).await }
    }
}

/// A shared handle is a store like what it points at, so that a decorator can stand around any opened one.
impl<S: Store + ?Sized> Decorator for Arc<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        self
    }
}

#[async_trait]
impl<D: Decorator> Journal for D {
    fn slots(&self) -> Slot {
        self.inner().slots()
    }

    fn slots_out_of_reach(&self) -> usize {
        self.inner().slots_out_of_reach()
    }

    async fn append(&self, batch: Batch) -> Appended {
        Decorator::append(self, batch).await
    }

    fn has_nothing(&self, slot: Slot, key: &EntityKey) -> bool {
        Decorator::has_nothing(self, slot, key)
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        Decorator::load(self, slot, key).await
    }

    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        Decorator::records(self, slot, key, after_seq, limit).await
    }

    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        Decorator::find_receipt(self, slot, key, request).await
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        Decorator::feed(self, slot, after_seq, limit).await
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        Decorator::owed(self, slot, after, limit).await
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        Decorator::wakes(self, slot, after, limit).await
    }

    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        Decorator::entities(self, kind, after, limit).await
    }

    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        Decorator::heads(self).await
    }

    async fn head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        Decorator::head(self, slot).await
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Handed {
        Decorator::claim(self, owner, slots).await
    }

    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        Decorator::prune_receipts(self, now_ms, limit).await
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        Decorator::drop_snapshots(self).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner().close().await
    }
}

#[async_trait]
impl<D: Decorator> Membership for D {
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        Decorator::join(self, node).await
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        Decorator::renew(self, node).await
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        Decorator::leave(self, id).await
    }

    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        Decorator::forget(self, id, lease).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        Decorator::nodes(self).await
    }

    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        Decorator::wish(self, row).await
    }

    async fn unwish(&self, of: &Subject) -> Result<(), StoreError> {
        Decorator::unwish(self, of).await
    }

    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        Decorator::wishes(self).await
    }

    async fn tables(&self) -> Result<Tables, StoreError> {
        Decorator::tables(self).await
    }

    async fn transfer(&self, from: &str, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        Decorator::transfer(self, from, to, slots).await
    }
}
