//! Bringing an entity into memory: its snapshot, if there is one that this program reads, and the
//! records after it; else all of them. Runs in a task of its own.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::actors::entity::OWED_MAX;
use crate::actors::runtime::envelope::AskError;
use crate::actors::runtime::erased::{AnyState, KindSpec};
use crate::actors::runtime::history::{apply, ask_error};
use crate::actors::values::Time;
use crate::persistence::{EntityKey, History, Journal, Origin, Record, Slot, Snapshot};

use super::receipts::{ReceiptLimits, Receipts};
use super::resident::Resident;

const PAGE: usize = 512;

/// An entity that nobody has touched yet.
///
/// Errors: its code panicked.
pub fn fresh(spec: &dyn KindSpec, key: &EntityKey) -> Result<Resident, AskError> {
    catch_unwind(AssertUnwindSafe(|| {
        let mut resident = Resident::new(spec.fresh());
        resident.measure(key);
        resident
    }))
    .map_err(|_panic| AskError::Panicked)
}

/// Loads an entity. Everything of it that is durable when this begins is in the result.
pub async fn load(
    journal: &dyn Journal,
    spec: &dyn KindSpec,
    slot: Slot,
    key: &EntityKey,
    limits: &ReceiptLimits,
) -> Result<Resident, AskError> {
    let History { snapshot, records, more } = journal.load(slot, key).await.map_err(ask_error)?;
    let written_by_another_version = || (Resident::new(spec.fresh()), Vec::new(), true);
    let (mut resident, mut page, mut more) = match snapshot {
        None => (Resident::new(spec.fresh()), records, more),
        Some(snapshot) => spec
            .restore(&snapshot.state)
            .map_or_else(written_by_another_version, |state| (from_snapshot(state, snapshot), records, more)),
    };
    let mut watermarks = HashMap::new();
    loop {
        for record in &page {
            replay(&mut resident, &mut watermarks, limits, record)?;
        }
        if !more {
            break;
        }
        page = journal.records(slot, key, resident.seq, PAGE).await.map_err(ask_error)?;
        more = page.len() == PAGE;
    }
    debug_assert!(resident.owed.as_ref().is_none_or(|row| row.items.len() <= OWED_MAX));
    resident.measure(key);
    Ok(resident)
}

fn from_snapshot(state: Box<dyn AnyState>, snapshot: Snapshot) -> Resident {
    let mut resident = Resident::new(state);
    resident.version = snapshot.version;
    resident.seq = snapshot.seq;
    resident.at = Time(snapshot.at_ms);
    resident.receipts = Receipts::restore(snapshot.receipts, snapshot.receipts_elsewhere_until_ms, snapshot.watermarks);
    resident.owed = snapshot.owed.map(Box::new);
    resident.wake_row_ms = snapshot.wake_ms;
    resident.snapshot_version = snapshot.version;
    resident.snapshot_bytes = snapshot.state.bytes.len();
    resident.snapshot_at = Time(snapshot.at_ms);
    resident
}

/// `watermarks`: what the records so far say of each sending slot.
fn replay(
    resident: &mut Resident,
    watermarks: &mut HashMap<Slot, u64>,
    limits: &ReceiptLimits,
    record: &Record,
) -> Result<(), AskError> {
    apply(&mut *resident.state, record)?;
    resident.bytes_since_snapshot += record.events.iter().map(|event| event.bytes.len()).sum::<usize>();
    resident.version = record.version;
    resident.seq = record.seq;
    resident.at = Time(record.at_ms);
    if let Some(receipt) = &record.receipt {
        resident.receipts.insert(record.request, record.version, receipt.clone());
        if let Origin::Owed { slot, watermark, .. } = receipt.origin {
            let known = watermarks.entry(slot).or_default();
            *known = watermark.max(*known);
        }
        if resident.receipts.wants_sweep(limits) {
            resident.receipts.sweep(limits, record.at_ms, |slot| watermarks.get(&slot).copied().unwrap_or(0));
        }
    }
    if let Some(change) = &record.owed {
        resident.owed = change.after.clone().map(Box::new);
    }
    if let Some(change) = &record.wake {
        resident.wake_row_ms = change.after_ms;
    }
    Ok(())
}
