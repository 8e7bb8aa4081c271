//! What survives: the journal.
//!
//! The journal is the ordered, durable record of all events, together with what is stored atomically
//! with them. It knows no shop: an entity is a key, an event is bytes with a type number.
//!
//! Architecture invariant: nothing here imports `actors`, `cluster` or `http`.

mod address;
pub mod admission;
mod bytes;
pub mod codec;
pub mod conformance;
pub mod decorator;
pub mod embedded;
pub mod faulty;
pub mod frame;
mod gather;
pub mod membership;
pub mod memory;
pub mod open;
pub mod postgres;
pub mod record;
pub mod redis;
pub mod several;
#[cfg(test)]
mod spoilt_tests;
#[cfg(test)]
mod tests;
pub mod tls;

use std::sync::Arc;

use async_trait::async_trait;

pub use membership::{Membership, NodeRow, NodeState, Store, Subject, Tables, Wish, WishRow};
pub use record::{
    EntityKey, Epoch, Origin, OwedChange, OwedItem, OwedRow, Payload, Receipt, Record, RequestBytes, Slot, Snapshot,
    WakeChange,
};

/// What one group commit makes durable: records of many slots, each slot's in ascending sequence. They are shared: to
/// keep a batch for as long as it may have to be sent again, or a record for whoever follows, copies nothing.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The node that appends, by its id.
    pub owner: Arc<str>,
    pub records: Vec<Arc<Record>>,
    /// Snapshots ride along. They are an optimisation: not covered by the durability of the batch, and
    /// never visible before the record they were taken at is durable. Those of a slot that is not the owner's,
    /// or is refused, are dropped without a word.
    pub snapshots: Vec<Arc<Snapshot>>,
}

impl Batch {
    /// A batch without snapshots.
    pub fn of<R: Into<Arc<Record>>>(owner: impl Into<Arc<str>>, records: impl IntoIterator<Item = R>) -> Batch {
        let records = records.into_iter().map(Into::into).collect();
        Batch { owner: owner.into(), records, snapshots: Vec::new() }
    }
}

/// Why one slot's records in a batch were refused, for certain (but for [`Refusal::Unknown`]): nothing of that slot in the
/// batch was written, and the other slots were not touched by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The slot's epoch in the store is not the one given, or its owner is another node. `current` is the
    /// epoch in the store.
    #[error("fenced: the slot is at epoch {current}")]
    Fenced { current: Epoch },
    /// A slot sequence or an entity version is not the next one.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The store will not take this data (too large, malformed).
    #[error("rejected: {0}")]
    Rejected(String),
    /// The machine that has the slot does not answer, and nothing of it was written. (Only where a store lies on several.)
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The same, and no refusal: nobody knows what was written of the slot. A claim settles it.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The node (by its id) has left the cluster for good, or, where only members may, never joined it.
    #[error("{0} is no member of the cluster")]
    NotMember(String),
}

/// Why the store did not answer as asked. Each variant says what the caller may do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written; try again later.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// It may or may not have been written. Raise the epoch, then read.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Stored bytes are not what was written. Never skipped, never served.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The store must not be used any more; stop the node and say so.
    #[error("store failed: {0}")]
    Fatal(String),
}

/// A slot's row in the ownership table, and the end of its record sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotHead {
    pub owner: Option<String>,
    pub epoch: Epoch,
    /// The sequence of the slot's last durable record; 0 when there is none.
    pub seq: u64,
    /// The time of that record.
    pub at_ms: i64,
}

/// What is needed to bring one entity into memory: the newest snapshot, and the first page of what
/// came after it. `more` says that [`Journal::records`] has further pages.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub snapshot: Option<Snapshot>,
    pub records: Vec<Record>,
    pub more: bool,
}

/// A row of the wake index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeRow {
    pub due_ms: i64,
    pub key: EntityKey,
}

/// The contract of every store. The conformance suite ([`conformance`]) holds each backend to it.
///
/// - `append` is atomic per slot and durable when it returns `Ok`: records, receipts and both indexes of a
///   slot, all or nothing. It is a compare-and-set on the slot's owner and epoch, on the slot sequence
///   (exactly the next, not merely an unused one) and on each entity's version (exactly the next for a
///   record with events, the present one for a record without). Comparing and writing are one step: an
///   append that was sent before a change of owner and arrives after it writes nothing.
/// - What one slot comes to is no concern of the others in the batch.
/// - Everything that is read is durable: nothing that `append` has not yet acknowledged is returned
///   (it may return what an append of unknown outcome wrote, once that is durable).
/// - What was acknowledged to one handle on the store, in whatever process, every handle reads from then on.
/// - After [`StoreError::Unknown`] the slots of the batch are settled by a claim: see [`Journal::claim`].
/// - Reads of one entity, slot or index are ordered and paged. `limit` counts rows; a page may be
///   shorter than `limit` only when there is no more.
/// - Deleting every snapshot changes no answer but `load`'s split into snapshot and records.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Number of slots, fixed when the store was created.
    fn slots(&self) -> Slot;

    /// Slots that lie where this process was not told of, so that it cannot serve them. (Only where a store lies on several
    /// machines.)
    fn slots_out_of_reach(&self) -> usize {
        0
    }

    /// Commits a batch. The answer lists the slots that were refused; all others are durable.
    async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError>;

    /// Whether the store can say at once, without reading anything, that the entity has no record. It is
    /// asked only by the slot's owner, with nothing of the entity in flight; `false` is always right.
    fn has_nothing(&self, slot: Slot, key: &EntityKey) -> bool {
        let _ = (slot, key);
        false
    }

    /// The newest snapshot of an entity and what came after it.
    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError>;

    /// Records of one entity with a slot sequence greater than `after_seq`, ascending.
    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// The record of this entity that carries a receipt for `request` (the last one, should there be
    /// several), unless it was pruned. The receipt of an owed request may be forgotten as soon as another
    /// receipt of the same entity carries a watermark of that sending slot above its number.
    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError>;

    /// Records of a slot with a sequence greater than `after_seq`, gapless and ascending.
    ///
    /// Who follows many slots takes small pages of them in turn (64 records, say). An embedded store has the records
    /// of all slots side by side: what one slot's page has brought into its cache is still there for the others.
    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Entities of the slot that owe something, ordered by (due, key), after the given row.
    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError>;

    /// Entities of the slot that want to be woken, ordered by (due, key), after the given row.
    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError>;

    /// Ids of all entities of a kind that have a record, ascending, after the given id.
    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError>;

    /// Every slot's head, in slot order.
    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError>;

    /// One slot's head, of those that [`Journal::heads`] answers. A store that lies on several machines answers it when
    /// the machine that has the slot does.
    async fn head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        Ok(self.heads().await?.into_iter().nth(usize::from(slot)).unwrap_or_default())
    }

    /// Takes slots by compare-and-set on the epoch that the caller has read (whoever the owner is): where it
    /// still holds, the slot gets `owner` and epoch + 1, durably; the answer, in the order asked, is each
    /// slot's head after the claim, or a refusal. Each slot is one atomic step of its own, and the same slot
    /// may be named twice; after an error some may be taken and others not.
    ///
    /// Refused, and checked in this order: [`Refusal::Rejected`], the store has no such slot;
    /// [`Refusal::NotMember`], there is a node list, and `owner` has left or is not in it (a single node has no list, and
    /// claims); [`Refusal::Fenced`], another epoch.
    ///
    /// Where a store lies on several machines and some do not answer, the slots of those are [`Refusal::Unavailable`] or
    /// [`Refusal::Unknown`], and the others taken. Whether an unknown one was claimed nobody knows: claim it again.
    ///
    /// A claim settles what came before it: whatever of an earlier epoch was not durable when the claim
    /// took effect never will be, and what was durable is within `SlotHead::seq` and can be read. (So a
    /// claim waits for, or fences, every append that is still on its way.) An owner that does not know what
    /// became of its own append claims its own slot, and then reads.
    ///
    /// The new epoch is above that of every record of the slot, even where the store has lost its ownership
    /// table's last changes in a fail-over; then it is more than epoch + 1.
    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError>;

    /// Forgets clients' receipts (in the index, not in the records) that expired before `now_ms`, an hour
    /// late at most, and receipts of owed requests below a watermark. The answer is how many rows went;
    /// fewer than `limit` means that there is nothing more to do now. (A store that forgets by a line in
    /// time deletes no rows, and answers 0.)
    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError>;

    /// Deletes every snapshot (for tests and repair).
    async fn drop_snapshots(&self) -> Result<(), StoreError>;

    /// Writes what is still only in memory and releases the store: what is called after may answer
    /// `Fatal`. Not closing loses nothing, and may make the next opening slower.
    async fn close(&self) -> Result<(), StoreError>;
}
