//! The receipts an entity keeps in memory, so that the same question never gets two answers.
//!
//! A client's receipt lives until it expires; an owed one until its sender's watermark passes it. Only
//! clients' receipts are ever pushed out by their number: for an owed request without a place for its receipt there
//! is no answer yet, and it is sent again. What was pushed out is remembered in filters
//! ([`super::pushed_out`]): only a request that may be among them has to be looked up in the index.
//!
//! A look-up reads what was durable when it began. What is recorded later must be found here, so while one
//! is in flight no receipt is pushed out that is newer than the beginning of the oldest.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use hashlink::LinkedHashMap;

use super::pushed_out::PushedOut;
use crate::persistence::{Origin, Receipt, RequestBytes, Slot};

/// How many receipts an entity keeps in memory: the section `slots.receipts` of `config/default.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct ReceiptLimits {
    /// The most clients' receipts; beyond, the oldest are left to the index.
    pub clients_max: usize,
    /// The most receipts of owed requests. They stay while their sender's watermark stands still, and so it does for
    /// as long as an entity that its slot owes something cannot answer. Beyond, owed requests are put off.
    pub owed_max: usize,
    /// With fewer than this a sweep does not pay.
    pub swept_from: usize,
    /// Filters that remember what was pushed out, each of 16 KiB; beyond, every new key is looked up.
    pub filters_max: usize,
    /// Look-ups in the index that are in flight for one entity.
    pub lookups_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub version: u64,
    pub receipt: Receipt,
}

impl Kept {
    /// Whether a repeat at this time is still answered with it.
    pub fn is_valid(&self, now_ms: i64) -> bool {
        match self.receipt.origin {
            Origin::Client { expires_ms } => expires_ms > now_ms,
            Origin::Owed { .. } => true,
        }
    }
    fn is_owed(&self) -> bool {
        matches!(self.receipt.origin, Origin::Owed { .. })
    }
    fn size_bytes(&self) -> usize {
        128 + self.receipt.outcome.bytes.len()
    }
}

/// A receipt and its place in the order of arrival.
struct Numbered {
    number: u64,
    kept: Kept,
}

/// A look-up in the index that is in flight.
struct Lookup {
    ticket: u64,
    /// Receipts from this number on may be missing in what it finds.
    from: u64,
}

/// The receipts of an entity. Most entities in memory have none: then this takes one word.
#[derive(Default)]
pub struct Receipts(Option<Box<Table>>);

#[derive(Default)]
pub struct Table {
    /// Oldest first. Absent while there is none.
    kept: Option<LinkedHashMap<RequestBytes, Numbered>>,
    /// The number of the next receipt.
    next: u64,
    /// What `kept` takes in memory.
    kept_bytes: usize,
    /// How many of `kept` are of owed requests.
    owed: usize,
    /// Swept again when this many are kept.
    sweep_at: usize,
    swept_ms: i64,
    /// Clients' receipts that have not expired and are not here.
    pushed_out: PushedOut,
    /// Oldest first.
    lookups: VecDeque<Lookup>,
    /// Per sending slot, the watermark up to which receipts were dropped.
    dropped: Vec<(Slot, u64)>,
}

static NOTHING: Table = Table {
    kept: None,
    next: 0,
    kept_bytes: 0,
    owed: 0,
    sweep_at: 0,
    swept_ms: 0,
    pushed_out: PushedOut::unknown(None),
    lookups: VecDeque::new(),
    dropped: Vec::new(),
};

impl Deref for Receipts {
    type Target = Table;
    fn deref(&self) -> &Table {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Receipts {
    fn deref_mut(&mut self) -> &mut Table {
        self.0.get_or_insert_default()
    }
}

impl Receipts {
    /// `elsewhere_until_ms`: until when a receipt that is not among these may still be asked for, if any may.
    pub fn restore(
        receipts: Vec<(RequestBytes, u64, Receipt)>,
        elsewhere_until_ms: Option<i64>,
        dropped: Vec<(Slot, u64)>,
    ) -> Receipts {
        if receipts.is_empty() && elsewhere_until_ms.is_none() && dropped.is_empty() {
            return Receipts::default();
        }
        let mut table = Table { pushed_out: PushedOut::unknown(elsewhere_until_ms), dropped, ..Table::default() };
        for (request, version, receipt) in receipts {
            table.insert(request, version, receipt);
        }
        Receipts(Some(Box::new(table)))
    }

    pub fn size_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |table| size_of::<Table>() + table.size_bytes())
    }
}

impl Table {
    /// The receipt with which a repeat at this time is answered.
    pub fn get(&self, request: &RequestBytes, now_ms: i64) -> Option<&Kept> {
        self.kept.as_ref()?.get(request).map(|numbered| &numbered.kept).filter(|kept| kept.is_valid(now_ms))
    }
    pub fn len(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.len())
    }
    /// Whether a request that is not here may have a receipt in the index that counts at this time.
    pub fn may_be_elsewhere(&self, request: &RequestBytes, now_ms: i64) -> bool {
        self.pushed_out.may_have(request, now_ms)
    }
    /// The watermark below which receipts from `slot` were dropped.
    pub fn dropped_below(&self, slot: Slot) -> u64 {
        self.dropped.iter().find(|(s, _)| *s == slot).map_or(0, |(_, watermark)| *watermark)
    }

    pub fn insert(&mut self, request: RequestBytes, version: u64, receipt: Receipt) {
        let kept = Kept { version, receipt };
        self.kept_bytes += kept.size_bytes();
        self.owed += usize::from(kept.is_owed());
        let numbered = Numbered { number: self.next, kept };
        self.next += 1;
        if let Some(before) = self.kept.get_or_insert_default().insert(request, numbered) {
            self.kept_bytes -= before.kept.size_bytes();
            self.owed -= usize::from(before.kept.is_owed());
        }
    }

    /// The index is about to be asked. `false`: it is asked too much already.
    pub fn begin_lookup(&mut self, ticket: u64, limits: &ReceiptLimits) -> bool {
        let has_room = self.lookups.len() < limits.lookups_max;
        if has_room {
            self.lookups.push_back(Lookup { ticket, from: self.next });
        }
        has_room
    }
    /// The index has answered. `false`: it was not asked for these receipts, but for those of an earlier
    /// life of the entity in memory.
    pub fn end_lookup(&mut self, ticket: u64) -> bool {
        let at = self.lookups.iter().position(|lookup| lookup.ticket == ticket);
        at.and_then(|at| self.lookups.remove(at)).is_some()
    }
    pub fn is_looked_up(&self) -> bool {
        !self.lookups.is_empty()
    }
    /// Look-ups that do not end keep more receipts here than there may be: no more are to be added.
    pub fn is_crowded(&self, limits: &ReceiptLimits) -> bool {
        self.lookups.front().is_some_and(|oldest| self.next - oldest.from > 4 * limits.clients_max as u64)
    }

    /// Whether enough has gathered that a sweep pays: its cost is spread over the inserts since the last.
    pub fn wants_sweep(&self, limits: &ReceiptLimits) -> bool {
        self.len() >= self.sweep_at.max(limits.swept_from)
    }

    /// Whether there is no place for the receipt of another owed request.
    pub fn is_full_of_owed(&mut self, limits: &ReceiptLimits, now_ms: i64, watermark_of: impl Fn(Slot) -> u64) -> bool {
        const SWEEP_PAUSE_MS: i64 = 1_000;
        if self.owed >= limits.owed_max && now_ms.saturating_sub(self.swept_ms) >= SWEEP_PAUSE_MS {
            self.sweep(limits, now_ms, watermark_of);
        }
        self.owed >= limits.owed_max
    }

    /// Drops what no repeat can ask for any more, and leaves the oldest excess to the index.
    pub fn sweep(&mut self, limits: &ReceiptLimits, now_ms: i64, watermark_of: impl Fn(Slot) -> u64) {
        self.pushed_out.forget_expired(now_ms);
        self.swept_ms = now_ms;
        let Some(kept) = &mut self.kept else { return };
        let (dropped, bytes) = (&mut self.dropped, &mut self.kept_bytes);
        let (mut clients, mut owed) = (0, 0);
        kept.retain(|_, numbered| {
            let keep = match numbered.kept.receipt.origin {
                Origin::Client { expires_ms } => {
                    let keep = expires_ms > now_ms;
                    clients += usize::from(keep);
                    keep
                }
                Origin::Owed { slot, number, .. } => {
                    let watermark = watermark_of(slot);
                    let keep = number >= watermark;
                    owed += usize::from(keep);
                    if !keep {
                        raise(dropped, slot, watermark);
                    }
                    keep
                }
            };
            *bytes -= if keep { 0 } else { numbered.kept.size_bytes() };
            keep
        });
        self.owed = owed;
        if clients > limits.clients_max {
            self.push_out(limits, clients - limits.clients_max);
        }
        if self.len() == 0 {
            self.kept = None;
        }
        self.sweep_at = 2 * self.len();
    }

    /// Leaves clients' receipts to the index, the oldest first.
    fn push_out(&mut self, limits: &ReceiptLimits, mut excess: usize) {
        let Some(kept) = &mut self.kept else { return };
        let pinned_from = self.lookups.front().map_or(u64::MAX, |oldest| oldest.from);
        let (pushed_out, bytes) = (&mut self.pushed_out, &mut self.kept_bytes);
        // Only this walk goes from the oldest on: another would push out the newest as gladly.
        kept.retain_with_order(|request, numbered| {
            let Origin::Client { expires_ms } = numbered.kept.receipt.origin else { return true };
            if excess == 0 || numbered.number >= pinned_from {
                return true;
            }
            excess -= 1;
            *bytes -= numbered.kept.size_bytes();
            pushed_out.add(request, expires_ms, limits.filters_max);
            false
        });
    }

    /// What a snapshot keeps: (request, entity version, receipt), oldest first.
    pub fn saved(&self) -> Vec<(RequestBytes, u64, Receipt)> {
        let kept = self.kept.iter().flat_map(|kept| kept.iter());
        kept.map(|(request, Numbered { kept, .. })| (*request, kept.version, kept.receipt.clone())).collect()
    }
    /// Until when a receipt that is not saved may be asked for; `None`: all are saved.
    pub fn elsewhere_until_ms(&self, now_ms: i64) -> Option<i64> {
        self.pushed_out.until_ms(now_ms)
    }
    /// Per sending slot, the watermark below which receipts were dropped.
    pub fn dropped(&self) -> Vec<(Slot, u64)> {
        self.dropped.clone()
    }

    fn size_bytes(&self) -> usize {
        self.kept_bytes + self.dropped.len() * 16 + self.pushed_out.size_bytes()
    }
}

fn raise(watermarks: &mut Vec<(Slot, u64)>, slot: Slot, watermark: u64) {
    match watermarks.iter_mut().find(|(s, _)| *s == slot) {
        Some((_, known)) => *known = watermark.max(*known),
        None => watermarks.push((slot, watermark)),
    }
}

#[cfg(test)]
#[path = "receipts_tests.rs"]
mod tests;
