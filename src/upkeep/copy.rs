//! Moves a whole store into another one, of whatever engine: the records as they are, with their sequences,
//! versions, receipts and epochs, and with them both indexes. Snapshots stay behind: they are only an optimisation.
//!
//! A record can only be appended at the epoch that its slot is at. So a slot of the new store is claimed, for
//! [`OWNER`], up to the epoch of the record that comes next, and at the end up to the old store's: each record keeps
//! its epoch, every position in a feed stays good, and the next claim is above all of them.
//!
//! Cut off at any moment, it goes on where it was: the new store's heads say how far that is. What the new store
//! holds beside a beginning of the old one's records, copied by us, is refused, and never written over. At the end
//! both stores are read again, and compared.

use std::collections::VecDeque;
use std::ops::Range;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::{PAGE, Watch};
use crate::persistence::{
    Batch, EntityKey, Epoch, Journal, OwedRow, Record, Slot, SlotHead, Store, StoreError, WakeRow,
};

/// Who owns the slots of a store that was copied, until a node claims them.
pub const OWNER: &str = "souk store copy";

/// Slots that are copied at once: there is one commit for all of them.
const SLOTS_AT_ONCE: usize = 64;
/// Records of one slot that wait in memory.
const WAITING_MAX: usize = 64;
/// Most records, and bytes, of one commit.
const BATCH_RECORDS_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Claims that are asked for at once.
const CLAIMS_MAX: usize = 4_096;
/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    pub slots: Slot,
    pub records: u64,
    /// Those that this run has written; the others were there.
    pub written: u64,
    /// SHA-256 over the SHA-256 of each slot's records, as they are stored.
    pub checksum: String,
}

/// Copies everything, or what an earlier run has not, and verifies all of it. Nobody may serve the old store
/// ([`crate::node::cluster::nobody_serves`]).
pub async fn copy(from: &dyn Store, to: &dyn Store, watch: &dyn Watch) -> anyhow::Result<Copied> {
    let slots = from.slots();
    ensure!(to.slots() == slots, "the new store has {} slots, and the old one {slots}", to.slots());
    let old = from.heads().await?;
    let new = to.heads().await?;
    ensure_ours(from, &old, to, &new).await?;
    let records = old.iter().map(|head| head.seq).sum();
    watch.begins("copying", records);
    watch.advances(new.iter().map(|head| head.seq).sum());
    let mut written = 0;
    let all: Vec<(Slot, &SlotHead, &SlotHead)> =
        (0..slots).zip(old.iter().zip(&new)).map(|(s, (o, n))| (s, o, n)).collect();
    for group in all.chunks(SLOTS_AT_ONCE) {
        written += copy_slots(from, to, group, watch).await?;
    }
    raise_epochs(to, &old).await?;
    let checksum = verify(from, to, &old, watch).await?;
    let unchanged = from.heads().await? == old;
    ensure!(unchanged, "the old store was written to meanwhile: stop what serves it, and run the copy again");
    Ok(Copied { slots, records, written, checksum })
}

/// Fails unless the new store is empty, or what an earlier copy of the old one has left.
async fn ensure_ours(from: &dyn Store, old: &[SlotHead], to: &dyn Store, new: &[SlotHead]) -> anyhow::Result<()> {
    if let Some(node) = to.nodes().await?.first() {
        bail!("the new store is not empty: node {} has joined it", node.id);
    }
    for (slot, (old, new)) in (0..).zip(old.iter().zip(new)) {
        if let Some(owner) = new.owner.as_deref().filter(|owner| *owner != OWNER) {
            bail!("the new store is not empty: {owner:?} owns slot {slot}");
        }
        let Some(before) = new.seq.checked_sub(1) else { continue };
        let last = (from.feed(slot, before, 1).await?, to.feed(slot, before, 1).await?);
        let goes_on = new.seq <= old.seq && new.epoch <= old.epoch && last.0 == last.1;
        ensure!(goes_on, "the new store holds something else: slot {slot} is no beginning of the old store's");
    }
    Ok(())
}

/// A slot on its way.
struct Cursor {
    slot: Slot,
    until: u64,
    read: u64,
    waiting: VecDeque<Record>,
    epoch: Epoch,
}

async fn copy_slots(
    from: &dyn Journal,
    to: &dyn Journal,
    group: &[(Slot, &SlotHead, &SlotHead)],
    watch: &dyn Watch,
) -> anyhow::Result<u64> {
    let mut cursors: Vec<Cursor> = group
        .iter()
        .filter(|(_, old, new)| new.seq < old.seq)
        .map(|&(slot, old, new)| Cursor {
            slot,
            until: old.seq,
            read: new.seq,
            waiting: VecDeque::new(),
            epoch: new.epoch,
        })
        .collect();
    let mut written = 0;
    loop {
        for cursor in &mut cursors {
            cursor.fill(from).await?;
        }
        cursors.retain(|cursor| !cursor.waiting.is_empty());
        if cursors.is_empty() {
            return Ok(written);
        }
        let mut wanted = Vec::new();
        for cursor in &mut cursors {
            let Some(next) = cursor.waiting.front() else { continue };
            wanted.push((cursor.slot, cursor.epoch..next.epoch));
            cursor.epoch = cursor.epoch.max(next.epoch);
        }
        claim(to, wanted).await?;
        let records = next_batch(&mut cursors);
        let count = records.len() as u64;
        ensure!(count > 0, "the old store's epochs run backwards: check it");
        let refused = to.append(Batch::of(OWNER, records)).await;
        let refused = refused.map_err(again).context("writing to the new store")?;
        if let Some((slot, refusal)) = refused.first() {
            bail!("the new store refuses the records of slot {slot}: {refusal}. Does another copy run?");
        }
        written += count;
        watch.advances(count);
    }
}

impl Cursor {
    async fn fill(&mut self, from: &dyn Journal) -> anyhow::Result<()> {
        if !self.waiting.is_empty() || self.read == self.until {
            return Ok(());
        }
        let page =
            from.feed(self.slot, self.read, WAITING_MAX).await.map_err(again).context("reading the old store")?;
        for record in page.into_iter().take_while(|record| record.seq <= self.until) {
            ensure!(record.seq == self.read + 1, "the old store has a gap in slot {}: check it", self.slot);
            self.read = record.seq;
            self.waiting.push_back(record);
        }
        ensure!(!self.waiting.is_empty(), "the old store's slot {} ends before its head: check it", self.slot);
        Ok(())
    }
}

/// What can be appended now: of each slot the records of its present epoch.
fn next_batch(cursors: &mut [Cursor]) -> Vec<Record> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for cursor in cursors {
        while records.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            let epoch = cursor.epoch;
            if cursor.waiting.front().is_none_or(|record| record.epoch != epoch) {
                break;
            }
            let Some(record) = cursor.waiting.pop_front() else { break };
            bytes += record.encoded_len();
            records.push(record);
        }
    }
    records
}

/// Raises each slot's epoch to what it is in the old store.
async fn raise_epochs(to: &dyn Journal, old: &[SlotHead]) -> anyhow::Result<()> {
    let new = to.heads().await?;
    claim(to, (0..).zip(old.iter().zip(&new)).map(|(slot, (old, new))| (slot, new.epoch..old.epoch))).await
}

/// Claims slots for the copy, with one epoch after the other.
async fn claim(to: &dyn Journal, wanted: impl IntoIterator<Item = (Slot, Range<Epoch>)>) -> anyhow::Result<()> {
    let mut wanted = wanted.into_iter().flat_map(|(slot, epochs)| epochs.map(move |epoch| (slot, epoch)));
    loop {
        let some: Vec<(Slot, Epoch)> = wanted.by_ref().take(CLAIMS_MAX).collect();
        if some.is_empty() {
            return Ok(());
        }
        let claimed = to.claim(OWNER, &some).await.map_err(again).context("claiming in the new store")?;
        for ((slot, epoch), claimed) in some.iter().zip(claimed) {
            let head = claimed.with_context(|| format!("claiming slot {slot} of the new store"))?;
            ensure!(head.epoch == epoch + 1, "slot {slot} of the new store went from epoch {epoch} to {}", head.epoch);
        }
    }
}

/// What a person can do about it.
fn again(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Unavailable(_) | StoreError::Unknown(_) => {
            anyhow::Error::new(error).context("run the same copy again: it goes on where it was")
        }
        StoreError::Damaged(_) | StoreError::Fatal(_) => error.into(),
    }
}

/// Reads both stores to the end and compares them; the answer is the checksum of all records.
async fn verify(from: &dyn Store, to: &dyn Store, old: &[SlotHead], watch: &dyn Watch) -> anyhow::Result<String> {
    watch.begins("verifying", old.iter().map(|head| head.seq).sum());
    let new = to.heads().await?;
    let mut all = Sha256::new();
    for (slot, (old, new)) in (0..).zip(old.iter().zip(&new)) {
        let same = (new.seq, new.at_ms) == (old.seq, old.at_ms) && new.epoch >= old.epoch;
        ensure!(same, "slot {slot} differs: its head is {new:?}, and was {old:?}");
        let (before, after) = (slot_checksum(from, slot, old.seq, None), slot_checksum(to, slot, new.seq, Some(watch)));
        let (before, after) = futures::try_join!(before, after)?;
        ensure!(before == after, "the records of slot {slot} differ: {before} was copied, and {after} is there");
        all.update(&after);
        compare_owed(from, to, slot).await?;
        compare_wakes(from, to, slot).await?;
    }
    Ok(data_encoding::HEXLOWER.encode(&all.finalize()))
}

async fn slot_checksum(
    store: &dyn Journal,
    slot: Slot,
    until: u64,
    watch: Option<&dyn Watch>,
) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut read = 0;
    while read < until {
        let page = store.feed(slot, read, PAGE).await.map_err(again)?;
        let before = read;
        for record in page.iter().take_while(|record| record.seq <= until) {
            hash.update(record.encode());
            read = record.seq;
        }
        ensure!(read > before, "slot {slot} ends at sequence {read}, and its head says {until}");
        if let Some(watch) = watch {
            watch.advances(read - before);
        }
    }
    Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
}

async fn compare_owed(from: &dyn Journal, to: &dyn Journal, slot: Slot) -> anyhow::Result<()> {
    let mut after: Option<(i64, EntityKey)> = None;
    loop {
        let pages = futures::try_join!(from.owed(slot, after.clone(), PAGE), to.owed(slot, after.clone(), PAGE));
        let (before, now): (Vec<(EntityKey, OwedRow)>, Vec<_>) = pages.map_err(again)?;
        ensure!(before == now, "the owed index of slot {slot} differs");
        match now.into_iter().last() {
            Some((key, row)) if before.len() == PAGE => after = Some((row.due_ms, key)),
            Some(_) | None => return Ok(()),
        }
    }
}

async fn compare_wakes(from: &dyn Journal, to: &dyn Journal, slot: Slot) -> anyhow::Result<()> {
    let mut after: Option<(i64, EntityKey)> = None;
    loop {
        let pages = futures::try_join!(from.wakes(slot, after.clone(), PAGE), to.wakes(slot, after.clone(), PAGE));
        let (before, now): (Vec<WakeRow>, Vec<_>) = pages.map_err(again)?;
        ensure!(before == now, "the wake index of slot {slot} differs");
        match now.into_iter().last() {
            Some(row) if before.len() == PAGE => after = Some((row.due_ms, row.key)),
            Some(_) | None => return Ok(()),
        }
    }
}
