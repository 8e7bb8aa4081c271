//! The conformance suite's own test: stores that break one rule each, and the case that has to notice.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;

use super::conformance::{self, Rig, SLOTS};
use super::decorator::{Appended, Decorator, Handed};
use super::memory::Memory;
use super::*;

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoil {
    OwnerNotCompared,
    EpochNotCompared,
    /// Compares, and writes a moment later, whatever has happened.
    ChecksThenActs,
    /// A sequence has to be unused only.
    SeqNotNext,
    RefusalFailsAll,
    SnapshotsOfAnybody,
    NoReceipts,
    /// A watermark covers every sender's numbers.
    WatermarkOfAnySender,
    /// A watermark covers the number that it names.
    WatermarkInclusive,
    NoOwedIndex,
    /// The last record is shown late to other handles.
    OtherHandlesLag,
    ClaimForgetsRecords,
    ClaimNotCompared,
    ClaimByTheLeft,
    JoinTwice,
    RenewNotCompared,
    RenewKeepsRow,
    LeaveForgets,
    TransferFromAnybody,
    TransferToAnybody,
    TransferKeepsEpoch,
    StrangersClaim,
    ForgetTheLiving,
    ForgetOwners,
    ForgetKeepsWishes,
    WishesOfAnybody,
    WishesPileUp,
    CordonEndsDrain,
    TablesLag,
}

use Spoil::*;

#[derive(Clone)]
struct Spoilt {
    inner: Memory,
    spoil: Spoil,
    is_other: bool,
}

#[async_trait]
impl Rig for Spoilt {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(Spoilt { is_other: true, ..self.clone() }))
    }
}

impl Spoilt {
    /// Each slot's part, changed, with that slot's head.
    async fn append_parts(&self, batch: Batch, change: impl Fn(&mut Batch, &SlotHead)) -> Appended {
        let mut refused = Vec::new();
        for (slot, head) in (0..).zip(self.inner.heads().await?) {
            let mut part = batch.clone();
            part.records.retain(|record| record.slot == slot);
            part.snapshots.retain(|snapshot| snapshot.slot == slot);
            change(&mut part, &head);
            refused.extend(self.inner.append(part).await?);
        }
        Ok(refused)
    }

    /// Whether another receipt's watermark, misread, makes this one forgotten.
    async fn is_covered(&self, record: &Record) -> Result<bool, StoreError> {
        let origin = |record: &Record| match record.receipt.as_ref().map(|receipt| receipt.origin) {
            Some(Origin::Owed { slot, number, watermark }) => Some((slot, number, watermark)),
            Some(Origin::Client { .. }) | None => None,
        };
        let Some((sender, number, _)) = origin(record) else { return Ok(false) };
        let others = self.inner.records(record.slot, &record.key, 0, usize::MAX).await?;
        Ok(others.iter().filter_map(origin).any(|(other, _, watermark)| match self.spoil {
            WatermarkOfAnySender => number < watermark,
            WatermarkInclusive => other == sender && number <= watermark,
            _ => false,
        }))
    }

    async fn append_spoilt(&self, mut batch: Batch) -> Appended {
        let owner = |head: &SlotHead| head.owner.as_deref().unwrap_or_default().into();
        match self.spoil {
            OwnerNotCompared => self.append_parts(batch, |part, head| part.owner = owner(head)).await,
            EpochNotCompared => {
                let change = |part: &mut Batch, head: &SlotHead| {
                    part.owner = owner(head);
                    part.records.iter_mut().for_each(|record| Arc::make_mut(record).epoch = head.epoch);
                };
                self.append_parts(batch, change).await
            }
            ChecksThenActs => {
                let before = self.inner.heads().await?;
                let held = |record: &Arc<Record>| {
                    let head = before.get(usize::from(record.slot));
                    head.is_some_and(|head| head.epoch == record.epoch && head.owner.as_deref() == Some(&batch.owner))
                };
                if !batch.records.iter().all(held) {
                    return self.inner.append(batch).await;
                }
                tokio::task::yield_now().await;
                let change = |part: &mut Batch, head: &SlotHead| {
                    part.owner = owner(head);
                    part.records.iter_mut().for_each(|record| Arc::make_mut(record).epoch = head.epoch);
                };
                self.append_parts(batch, change).await
            }
            SeqNotNext => {
                let change = |part: &mut Batch, head: &SlotHead| {
                    let unused = part.records.iter().all(|record| record.seq > head.seq);
                    for (seq, record) in (head.seq + 1..).zip(&mut part.records).filter(|_| unused) {
                        Arc::make_mut(record).seq = seq;
                    }
                };
                self.append_parts(batch, change).await
            }
            RefusalFailsAll => {
                let before = self.inner.heads().await?;
                let fenced = batch.records.iter().any(|record| before[usize::from(record.slot)].epoch != record.epoch);
                if !fenced {
                    return self.inner.append(batch).await;
                }
                Ok(batch.records.iter().map(|record| (record.slot, Refusal::Fenced { current: 1 })).collect())
            }
            SnapshotsOfAnybody if batch.records.is_empty() => {
                self.append_parts(batch, |part, head| part.owner = owner(head)).await
            }
            NoReceipts => {
                batch.records.iter_mut().for_each(|record| Arc::make_mut(record).receipt = None);
                self.inner.append(batch).await
            }
            NoOwedIndex => {
                batch.records.iter_mut().for_each(|record| Arc::make_mut(record).owed = None);
                self.inner.append(batch).await
            }
            _ => self.inner.append(batch).await,
        }
    }
}

impl Decorator for Spoilt {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        &self.inner
    }
    async fn append(&self, batch: Batch) -> Appended {
        self.append_spoilt(batch).await
    }
    async fn find_receipt(&self, slot: Slot, key: &EntityKey, id: &RequestBytes) -> Result<Option<Record>, StoreError> {
        let found = self.inner.find_receipt(slot, key, id).await?;
        match &found {
            Some(record) if self.is_covered(record).await? => Ok(None),
            _ => Ok(found),
        }
    }
    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut page = self.inner.feed(slot, after_seq, limit).await?;
        if self.spoil == OtherHandlesLag && self.is_other {
            page.pop();
        }
        Ok(page)
    }
    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Handed {
        let heads = self.inner.heads().await?;
        let present = |slot: Slot| heads.get(usize::from(slot)).map_or(0, |head| head.epoch);
        match self.spoil {
            ClaimNotCompared => {
                let slots: Vec<_> = slots.iter().map(|(slot, _)| (*slot, present(*slot))).collect();
                self.inner.claim(owner, &slots).await
            }
            ClaimForgetsRecords => {
                let claimed = self.inner.claim(owner, slots).await?;
                Ok(claimed.into_iter().map(|head| head.map(|head| SlotHead { seq: 0, at_ms: 0, ..head })).collect())
            }
            StrangersClaim if self.inner.nodes().await?.iter().all(|node| node.id != owner) => {
                self.inner.join(&conformance::node(owner)).await?.ok();
                self.inner.claim(owner, slots).await
            }
            ClaimByTheLeft => {
                let claimed = self.inner.claim(owner, slots).await?;
                match claimed.first() {
                    Some(Err(Refusal::NotMember(_))) => self.inner.claim(&format!("{owner} again"), slots).await,
                    _ => Ok(claimed),
                }
            }
            _ => self.inner.claim(owner, slots).await,
        }
    }
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        let joined = self.inner.join(node).await?;
        Ok(if self.spoil == JoinTwice && joined.is_err() { Ok(()) } else { joined })
    }
    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        let known = self.inner.nodes().await?.into_iter().find(|row| row.id == node.id);
        match (self.spoil, known) {
            (RenewNotCompared, Some(known)) => self.inner.renew(&NodeRow { lease: known.lease, ..node.clone() }).await,
            (RenewKeepsRow, Some(known)) if known.state != NodeState::Left => {
                self.inner.renew(&NodeRow { lease: node.lease, ..known }).await
            }
            _ => self.inner.renew(node).await,
        }
    }
    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        if self.spoil == LeaveForgets { Ok(Ok(())) } else { self.inner.leave(id).await }
    }
    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        let known = self.inner.nodes().await?.into_iter().find(|row| row.id == id);
        match (self.spoil, known) {
            (ForgetTheLiving, Some(known)) => self.inner.forget(id, known.lease).await,
            (ForgetOwners, Some(_)) => {
                let heads = (0..).zip(self.inner.heads().await?);
                let owned: Vec<_> = heads.filter(|(_, head)| head.owner.as_deref() == Some(id)).collect();
                let slots: Vec<_> = owned.iter().map(|(slot, head)| (*slot, head.epoch)).collect();
                if let Some(other) = self.inner.nodes().await?.iter().find(|row| row.id != id) {
                    self.inner.claim(&other.id, &slots).await?;
                }
                self.inner.forget(id, lease).await
            }
            (ForgetKeepsWishes, Some(_)) => {
                let wishes = self.inner.wishes().await?;
                let forgotten = self.inner.forget(id, lease).await?;
                self.inner.join(&conformance::node(id)).await?.ok();
                for row in wishes {
                    self.inner.wish(&row).await?.ok();
                }
                Ok(forgotten)
            }
            _ => self.inner.forget(id, lease).await,
        }
    }
    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        if self.spoil == CordonEndsDrain {
            self.inner.unwish(&row.wish.subject()).await?;
        }
        let wished = self.inner.wish(row).await?;
        Ok(if self.spoil == WishesOfAnybody && matches!(wished, Err(Refusal::NotMember(_))) { Ok(()) } else { wished })
    }
    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        let mut rows = self.inner.wishes().await?;
        if self.spoil == WishesPileUp {
            rows.extend(rows.clone());
        }
        Ok(rows)
    }
    async fn tables(&self) -> Result<Tables, StoreError> {
        let mut tables = self.inner.tables().await?;
        if self.spoil == TablesLag {
            tables.slots.iter_mut().for_each(|slot| slot.epoch = slot.epoch.min(1));
        }
        Ok(tables)
    }
    async fn transfer(&self, from: &str, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        let moved = self.inner.transfer(from, to, slots).await?;
        let refused = |why: fn(&Refusal) -> bool| matches!(moved.first(), Some(Err(refusal)) if why(refusal));
        match self.spoil {
            TransferFromAnybody if refused(|why| matches!(why, Refusal::Fenced { .. })) => {
                self.inner.claim(to, slots).await
            }
            TransferToAnybody if refused(|why| matches!(why, Refusal::NotMember(_))) => {
                self.inner.join(&conformance::node(to)).await?.ok();
                self.inner.claim(to, slots).await
            }
            TransferKeepsEpoch => {
                Ok(moved.into_iter().map(|head| head.map(|head| SlotHead { epoch: head.epoch - 1, ..head })).collect())
            }
            _ => Ok(moved),
        }
    }
}

macro_rules! noticed {
    ($($spoil:ident: $($case:ident),+;)*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn every_broken_rule_is_noticed() {
            let mut missed = Vec::new();
            $($(
                let rig = Spoilt { inner: Memory::new(SLOTS), spoil: $spoil, is_other: false };
                let ran = AssertUnwindSafe(conformance::$case(&rig)).catch_unwind().await;
                if ran.is_ok() {
                    missed.push(concat!(stringify!($spoil), ": ", stringify!($case)));
                }
            )+)*
            assert!(missed.is_empty(), "not noticed: {missed:#?}");
        }
    };
}

noticed! {
    OwnerNotCompared: the_owner_is_compared, a_transfer_fences_the_one_who_gave;
    EpochNotCompared: another_epoch_is_fenced, unknown_outcomes_are_settled_by_a_claim;
    ChecksThenActs: an_append_and_a_claim_on_their_way_together;
    SeqNotNext: slot_sequences_are_the_next_and_no_other;
    RefusalFailsAll: a_refused_slot_does_not_fail_its_neighbours;
    SnapshotsOfAnybody: another_nodes_snapshots_are_dropped;
    NoReceipts: a_feed_is_followed_while_writers_write;
    WatermarkOfAnySender: a_watermark_forgets_only_what_is_below_it;
    WatermarkInclusive: a_watermark_forgets_only_what_is_below_it;
    NoOwedIndex: unknown_outcomes_are_settled_by_a_claim;
    OtherHandlesLag: what_one_handle_acknowledged_every_handle_reads;
    ClaimForgetsRecords: several_contend_for_every_slot, heads_follow_claims_and_records;
    ClaimNotCompared: claims_compare_and_set_the_epoch, of_several_changes_of_owner_one_holds;
    ClaimByTheLeft: a_node_that_has_left_does_not_come_back;
    JoinTwice: an_id_enters_once, a_node_that_has_left_does_not_come_back;
    RenewNotCompared: leases_count_renewals;
    RenewKeepsRow: leases_count_renewals;
    LeaveForgets: a_node_that_has_left_does_not_come_back;
    TransferFromAnybody: transfers_compare_and_set_owner_and_epoch;
    TransferToAnybody: transfers_compare_and_set_owner_and_epoch;
    TransferKeepsEpoch: a_transfer_fences_the_one_who_gave;
    StrangersClaim: a_node_that_is_gone_is_forgotten;
    ForgetTheLiving: a_node_that_is_gone_is_forgotten;
    ForgetOwners: a_node_that_owns_a_slot_is_not_forgotten;
    ForgetKeepsWishes: a_node_that_is_gone_is_forgotten;
    WishesOfAnybody: wishes_that_cannot_be_are_refused;
    WishesPileUp: wishes_are_kept, of_several_wishes_the_last_is_kept;
    CordonEndsDrain: a_cordon_ends_no_drain;
    TablesLag: the_tables_are_what_the_single_reads_say;
}
