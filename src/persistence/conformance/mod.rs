//! The conformance suite: what every store must do, whatever it is made of. It pins the contract of
//! [`Journal`](super::Journal), of [`Membership`](super::Membership) and nothing else, so it is run against each backend by its tests:
//!
//! ```text
//! souk::journal_conformance!(memory, || MemoryRig::new());
//! ```
//!
//! makes one test of every case. The suite is no test code itself, so that integration tests and later
//! backends can use it; a case panics when the store breaks the contract.

mod cases;
mod claims;
mod contention;
mod feeding;
mod fencing;
mod history;
mod members;
mod processes;
mod rows;
mod wishes;

pub use cases::*;
pub use claims::*;
pub use contention::*;
pub use feeding::*;
pub use fencing::*;
pub use history::*;
pub use members::*;
pub use processes::*;
pub use rows::*;
pub use wishes::*;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Batch, EntityKey, Origin, OwedChange, OwedItem, OwedRow, Payload, Receipt, Record, Refusal, RequestBytes, Slot,
    SlotHead, Snapshot, Store, WakeChange,
};

/// Slots of the stores that the suite is run against.
pub const SLOTS: Slot = 4;
/// The owner that a [`Scribe`] is.
pub const SCRIBE: &str = "scribe";

/// Where a case gets its store from.
#[async_trait]
pub trait Rig: Send + Sync {
    /// Opens the store, which has [`SLOTS`] slots and is empty the first time. Opened again it is the
    /// same store; the one opened before has been closed, or dropped, then.
    async fn open(&self) -> Arc<dyn Store>;

    /// Another handle on the store that is open, as a client of its own. `None` where a store has one client
    /// only (see [`several`]).
    async fn another(&self) -> Option<Arc<dyn Store>>;
}

/// Makes a test of each case of the suite in a module; `$rig` is an expression that makes a function
/// that makes a [`Rig`].
#[macro_export]
macro_rules! journal_conformance {
    ($module:ident, $rig:expr) => {
        mod $module {
            use super::*;
            $crate::journal_conformance!(@journal $rig);
            $crate::journal_conformance!(@membership $rig);
        }
    };
    (@journal $rig:expr) => {
        $crate::journal_conformance!(@cases $rig;
            a_new_store_is_empty,
            slot_sequences_are_the_next_and_no_other,
            entity_versions_are_compared_and_set,
            a_record_without_events_keeps_the_version,
            a_batch_may_hold_a_chain_of_one_entity,
            a_refused_slot_does_not_fail_its_neighbours,
            what_cannot_be_stored_is_refused_alone,
            concurrent_appends_all_hold,
            records_and_feed_come_in_pages,
            a_load_comes_in_pages,
            large_records_and_snapshots_survive,
            entities_are_listed_by_kind_in_order,
            receipts_are_found_and_forgotten,
            a_watermark_forgets_only_what_is_below_it,
            snapshots_change_no_answer,
            a_snapshot_is_never_ahead_of_its_record,
            an_older_snapshot_does_not_replace_a_newer_one,
            claims_compare_and_set_the_epoch,
            another_epoch_is_fenced,
            heads_follow_claims_and_records,
            the_owner_is_compared,
            the_owner_is_compared_slot_by_slot,
            a_refused_slot_leaves_nothing_behind,
            another_nodes_snapshots_are_dropped,
            an_append_and_a_claim_on_their_way_together,
            unknown_outcomes_are_settled_by_a_claim,
            unknown_claims_are_settled_by_the_heads,
            an_append_that_comes_twice_is_taken_once,
            a_feed_is_followed_while_writers_write,
            a_feed_goes_on_from_any_place,
            what_one_handle_acknowledged_every_handle_reads,
            owed_rows_are_ordered_and_paged,
            owed_rows_change_and_go,
            wake_rows_are_ordered_and_paged,
            wake_rows_change_and_go,
            a_closed_store_opens_unchanged,
            a_dropped_store_opens_unchanged,
            random_histories_agree_with_the_reference,
        );
    };
    (@membership $rig:expr) => {
        $crate::journal_conformance!(@cases $rig;
            the_node_list_is_kept,
            an_id_enters_once,
            malformed_rows_are_rejected,
            leases_count_renewals,
            a_node_that_has_left_does_not_come_back,
            transfers_compare_and_set_owner_and_epoch,
            a_transfer_fences_the_one_who_gave,
            of_several_changes_of_owner_one_holds,
            several_contend_for_every_slot,
            wishes_are_kept,
            a_cordon_ends_no_drain,
            wishes_that_cannot_be_are_refused,
            of_several_wishes_the_last_is_kept,
            a_node_that_is_gone_is_forgotten,
            a_long_row_is_forgotten_whole,
            a_node_that_owns_a_slot_is_not_forgotten,
            who_renews_and_who_forgets_meet,
            the_tables_are_what_the_single_reads_say,
        );
    };
    (@cases $rig:expr; $($case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let rig = ($rig)();
            $crate::persistence::conformance::$case(&rig).await;
        }
    )*};
}

/// Writes well-formed records: it knows what comes next.
pub struct Scribe {
    pub journal: Arc<dyn Store>,
    heads: Vec<SlotHead>,
    versions: HashMap<EntityKey, u64>,
    /// Due times of each entity's rows: owed, wake.
    rows: HashMap<EntityKey, (Option<i64>, Option<i64>)>,
    clock_ms: i64,
}

/// So many clients of the open store: handles of their own, or, where a store has one only, the same one.
pub async fn several(rig: &dyn Rig, store: &Arc<dyn Store>, count: usize) -> Vec<Arc<dyn Store>> {
    let mut handles = Vec::with_capacity(count);
    for _ in 0..count {
        handles.push(rig.another().await.unwrap_or_else(|| store.clone()));
    }
    handles
}

/// A key of the kind that most cases use.
pub fn key(id: &str) -> EntityKey {
    EntityKey { kind: 10, id: id.into() }
}

/// The request id that ends with `n`.
pub fn request(n: u64) -> RequestBytes {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    id
}

/// A client's receipt that expires at `expires_ms`.
pub fn client_receipt(expires_ms: i64) -> Receipt {
    let outcome = Payload { type_number: 0x0a80, version: 1, bytes: vec![1] };
    Receipt { origin: Origin::Client { expires_ms }, fingerprint: [3; 16], outcome }
}

/// The receipt of an owed request.
pub fn owed_receipt(slot: Slot, number: u64, watermark: u64) -> Receipt {
    Receipt { origin: Origin::Owed { slot, number, watermark }, ..client_receipt(0) }
}

impl Scribe {
    /// Opens the store and takes all slots.
    pub async fn open(rig: &dyn Rig) -> Scribe {
        Scribe::claim(rig.open().await).await
    }

    /// Takes all slots. (Where there is a node list it enters that first: only members may.)
    pub async fn claim(journal: Arc<dyn Store>) -> Scribe {
        if !journal.nodes().await.expect("nodes").is_empty() {
            // Refused when it is there.
            let _ = journal.join(&node(SCRIBE)).await.expect("join");
        }
        let heads = journal.heads().await.expect("heads");
        let wanted: Vec<_> = (0..).zip(heads.iter().map(|head| head.epoch)).collect();
        let claimed = journal.claim(SCRIBE, &wanted).await.expect("a claim");
        let heads = claimed.into_iter().map(|head| head.expect("an unfenced claim")).collect();
        Scribe::at(journal, heads)
    }

    /// Writes behind the heads of a store in which it knows no entity yet.
    pub fn at(journal: Arc<dyn Store>, heads: Vec<SlotHead>) -> Scribe {
        Scribe { journal, heads, versions: HashMap::new(), rows: HashMap::new(), clock_ms: 1_000_000 }
    }

    /// The next record of a slot: one event of one entity.
    pub fn record(&mut self, slot: Slot, id: &str) -> Record {
        self.record_of(slot, key(id), 1)
    }

    /// The next record of a slot with a number of events.
    pub fn record_of(&mut self, slot: Slot, key: EntityKey, events: usize) -> Record {
        let head = &mut self.heads[usize::from(slot)];
        head.seq += 1;
        self.clock_ms += 1;
        head.at_ms = self.clock_ms;
        let version = self.versions.entry(key.clone()).or_default();
        *version += u64::from(events > 0);
        let event = Payload { type_number: 0x0a01, version: 1, bytes: head.seq.to_be_bytes().to_vec() };
        Record {
            slot,
            seq: head.seq,
            epoch: head.epoch,
            key,
            version: *version,
            at_ms: self.clock_ms,
            request: request(u64::from(slot) << 32 | head.seq),
            receipt: None,
            events: vec![event; events],
            owed: None,
            wake: None,
        }
    }

    /// The next record, with the entity's owed row moved to `due_ms`, or gone.
    pub fn owing(&mut self, slot: Slot, id: &str, due_ms: Option<i64>) -> Record {
        let mut record = self.record(slot, id);
        let row = self.rows.entry(record.key.clone()).or_default();
        let before_due_ms = std::mem::replace(&mut row.0, due_ms);
        let items = vec![OwedItem { number: record.seq * 256, key: format!("step:{}", record.version) }];
        let after = due_ms.map(|due_ms| OwedRow { due_ms, items });
        record.owed = Some(OwedChange { before_due_ms, after });
        record
    }

    /// The next record, with the entity's wake row moved to `after_ms`, or gone.
    pub fn waking(&mut self, slot: Slot, id: &str, after_ms: Option<i64>) -> Record {
        let mut record = self.record(slot, id);
        let row = self.rows.entry(record.key.clone()).or_default();
        let before_ms = std::mem::replace(&mut row.1, after_ms);
        record.wake = Some(WakeChange { before_ms, after_ms });
        record
    }

    /// The snapshot of an entity at a record.
    pub fn snapshot_at(&self, record: &Record) -> Snapshot {
        Snapshot {
            slot: record.slot,
            key: record.key.clone(),
            seq: record.seq,
            version: record.version,
            at_ms: record.at_ms,
            state: Payload { type_number: 0x0a00, version: 1, bytes: record.version.to_be_bytes().to_vec() },
            receipts: Vec::new(),
            receipts_elsewhere_until_ms: None,
            watermarks: Vec::new(),
            owed: None,
            wake_ms: None,
        }
    }

    /// Appends what must be accepted.
    pub async fn commit(&self, records: &[Record]) {
        assert_eq!(self.append(records).await, Vec::new(), "refused");
    }

    pub async fn commit_with(&self, records: &[Record], snapshots: &[Snapshot]) {
        let snapshots = snapshots.iter().cloned().map(Arc::new).collect();
        let batch = Batch { snapshots, ..Batch::of(SCRIBE, records.iter().cloned()) };
        assert_eq!(self.journal.append(batch).await.expect("append"), Vec::new(), "refused");
    }

    pub async fn append(&self, records: &[Record]) -> Vec<(Slot, Refusal)> {
        self.journal.append(Batch::of(SCRIBE, records.iter().cloned())).await.expect("append")
    }

    pub fn head(&self, slot: Slot) -> SlotHead {
        self.heads[usize::from(slot)].clone()
    }

    pub async fn records(&self, slot: Slot, id: &str) -> Vec<Record> {
        self.journal.records(slot, &key(id), 0, usize::MAX).await.expect("records")
    }

    pub async fn feed(&self, slot: Slot) -> Vec<Record> {
        self.journal.feed(slot, 0, usize::MAX).await.expect("feed")
    }
}
