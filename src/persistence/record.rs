//! The record: one command's effect. The bytes that it is stored as are in [`super::frame`].

use std::sync::Arc;

/// A fixed partition of all entities.
pub type Slot = u16;
/// A slot's ownership number.
pub type Epoch = u64;
/// A request id, as bytes.
pub type RequestBytes = [u8; 16];

/// The address of an entity: the number of its kind (from the registry in `actors::kinds`) and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    pub kind: u8,
    pub id: Arc<str>,
}

/// Encoded data of a registered type. `type_number` is kind * 256 + code, never used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub type_number: u16,
    pub version: u16,
    pub bytes: Vec<u8>,
}

/// Where a request with a receipt came from: what decides how long its receipt is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's idempotency key: kept until `expires_ms`.
    Client { expires_ms: i64 },
    /// An owed request: kept until the sending slot's watermark (everything below is answered) passes
    /// `number`. `watermark` is what the sender's slot said with this message.
    Owed { slot: Slot, number: u64, watermark: u64 },
}

/// The stored outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub origin: Origin,
    /// Of the request (method, path, canonical body); for an owed one, of its id alone.
    pub fingerprint: [u8; 16],
    /// The encoded reply or rejection.
    pub outcome: Payload,
}

/// One owed request in an entity's row of the owed index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedItem {
    /// Unique and ascending within the slot: slot sequence of the record that first owed it * 256 + n.
    pub number: u64,
    /// The entity's own name for it, such as `reserve:TEE-M`.
    pub key: String,
}

/// An entity's row in the owed index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedRow {
    pub due_ms: i64,
    pub items: Vec<OwedItem>,
}

/// A change of an entity's row in the owed index: from the row at `before_due_ms` to `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedChange {
    pub before_due_ms: Option<i64>,
    pub after: Option<OwedRow>,
}

/// A change of an entity's row in the wake index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeChange {
    pub before_ms: Option<i64>,
    pub after_ms: Option<i64>,
}

/// One command's effect. Atomic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub slot: Slot,
    /// Gapless per slot, from 1.
    pub seq: u64,
    pub epoch: Epoch,
    pub key: EntityKey,
    /// The entity's version after this record: the next one when there are events, else the present one.
    pub version: u64,
    pub at_ms: i64,
    pub request: RequestBytes,
    pub receipt: Option<Receipt>,
    pub events: Vec<Payload>,
    pub owed: Option<OwedChange>,
    pub wake: Option<WakeChange>,
}

/// An entity's state at a record, with everything else that a load needs: what came later is in the
/// records with a slot sequence greater than `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub slot: Slot,
    pub key: EntityKey,
    /// Slot sequence of the entity's last record that is in here.
    pub seq: u64,
    pub version: u64,
    pub at_ms: i64,
    pub state: Payload,
    /// The receipts that were in memory, oldest first: (request, entity version, receipt).
    pub receipts: Vec<(RequestBytes, u64, Receipt)>,
    /// Until when a client's receipt that is not among `receipts` may still be asked for (`i64::MAX`: it is not
    /// known); `None`: these are all that are still to be kept.
    pub receipts_elsewhere_until_ms: Option<i64>,
    /// Per sending slot, the highest watermark that this entity knew: receipts below were dropped.
    pub watermarks: Vec<(Slot, u64)>,
    pub owed: Option<OwedRow>,
    pub wake_ms: Option<i64>,
}
