//! The receipts an entity keeps in memory, so that the same question never gets two answers.
//!
//! A client's receipt lives until it expires; an owed one until its sender's watermark passes it. Only
//! clients' receipts are ever pushed out by their number; from then on a miss has to ask the index.

use hashlink::LinkedHashMap;

use crate::persistence::{Origin, Receipt, RequestBytes, Slot};

/// How many receipts an entity keeps in memory.
#[derive(Debug, Clone, Copy)]
pub struct ReceiptLimits {
    /// The most clients' receipts; beyond, the oldest are left to the index.
    pub clients_max: usize,
    /// With fewer than this a sweep does not pay.
    pub swept_from: usize,
}

impl Default for ReceiptLimits {
    fn default() -> Self {
        ReceiptLimits { clients_max: 1_024, swept_from: 64 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub version: u64,
    pub receipt: Receipt,
}

#[derive(Default)]
pub struct Receipts {
    /// Oldest first. Absent until there is one: most entities in memory have none.
    kept: Option<Box<LinkedHashMap<RequestBytes, Kept>>>,
    /// Swept again when this many are kept.
    sweep_at: usize,
    /// Clients' receipts were pushed out that have not expired.
    incomplete: bool,
    /// Per sending slot, the watermark up to which receipts were dropped.
    dropped: Vec<(Slot, u64)>,
}

impl Receipts {
    pub fn restore(receipts: Vec<(RequestBytes, u64, Receipt)>, complete: bool, dropped: Vec<(Slot, u64)>) -> Receipts {
        let mut kept = Receipts { incomplete: !complete, dropped, ..Receipts::default() };
        for (request, version, receipt) in receipts {
            kept.insert(request, version, receipt);
        }
        kept
    }

    pub fn get(&self, request: &RequestBytes) -> Option<&Kept> {
        self.kept.as_ref()?.get(request)
    }
    pub fn len(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.len())
    }
    /// Whether a miss means that the request was never seen.
    pub fn is_complete(&self) -> bool {
        !self.incomplete
    }
    /// The watermark below which receipts from `slot` were dropped.
    pub fn dropped_below(&self, slot: Slot) -> u64 {
        self.dropped.iter().find(|(s, _)| *s == slot).map_or(0, |(_, watermark)| *watermark)
    }

    pub fn insert(&mut self, request: RequestBytes, version: u64, receipt: Receipt) {
        self.kept.get_or_insert_default().insert(request, Kept { version, receipt });
    }

    /// Whether enough has gathered that a sweep pays: its cost is spread over the inserts since the last.
    pub fn wants_sweep(&self, limits: &ReceiptLimits) -> bool {
        self.len() >= self.sweep_at.max(limits.swept_from)
    }

    /// Drops what no repeat can ask for any more.
    pub fn sweep(&mut self, limits: &ReceiptLimits, now_ms: i64, watermark_of: impl Fn(Slot) -> u64) {
        let Some(kept) = &mut self.kept else { return };
        let mut dropped = std::mem::take(&mut self.dropped);
        let mut clients = 0;
        kept.retain(|_, kept| match kept.receipt.origin {
            Origin::Client { expires_ms } => {
                let keep = expires_ms > now_ms;
                clients += usize::from(keep);
                keep
            }
            Origin::Owed { slot, number, .. } => {
                let watermark = watermark_of(slot);
                let keep = number >= watermark;
                if !keep {
                    raise(&mut dropped, slot, watermark);
                }
                keep
            }
        });
        self.dropped = dropped;
        if clients > limits.clients_max {
            let mut excess = clients - limits.clients_max;
            // Only this walk goes from the oldest on: another would push out the newest as gladly.
            kept.retain_with_order(|_, kept| {
                let go = excess > 0 && matches!(kept.receipt.origin, Origin::Client { .. });
                excess -= usize::from(go);
                !go
            });
            self.incomplete = true;
        }
        if kept.is_empty() {
            self.kept = None;
        }
        self.sweep_at = 2 * self.len();
    }

    /// What a snapshot keeps: (request, entity version, receipt), oldest first.
    pub fn saved(&self) -> Vec<(RequestBytes, u64, Receipt)> {
        let kept = self.kept.iter().flat_map(|kept| kept.iter());
        kept.map(|(request, kept)| (*request, kept.version, kept.receipt.clone())).collect()
    }
    /// Per sending slot, the watermark below which receipts were dropped.
    pub fn dropped(&self) -> Vec<(Slot, u64)> {
        self.dropped.clone()
    }

    pub fn size_bytes(&self) -> usize {
        let each = |kept: &Kept| 120 + kept.receipt.outcome.bytes.len();
        self.kept.as_ref().map_or(0, |kept| kept.values().map(each).sum::<usize>()) + self.dropped.len() * 16
    }
}

fn raise(watermarks: &mut Vec<(Slot, u64)>, slot: Slot, watermark: u64) {
    match watermarks.iter_mut().find(|(s, _)| *s == slot) {
        Some((_, known)) => *known = watermark.max(*known),
        None => watermarks.push((slot, watermark)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::Payload;

    const LIMITS: ReceiptLimits = ReceiptLimits { clients_max: 1_024, swept_from: 64 };

    fn receipt(origin: Origin) -> Receipt {
        let outcome = Payload { type_number: 1, version: 1, bytes: vec![] };
        Receipt { origin, fingerprint: [0; 16], outcome }
    }
    fn owed(number: u64) -> Receipt {
        receipt(Origin::Owed { slot: 3, number, watermark: 0 })
    }
    fn id(n: u64) -> RequestBytes {
        u128::from(n).to_be_bytes()
    }

    #[test]
    fn owed_receipts_go_when_the_watermark_passes_them() {
        let mut receipts = Receipts::default();
        for n in 0..100 {
            receipts.insert(id(n), 1, owed(n));
        }
        assert!(receipts.wants_sweep(&LIMITS));
        receipts.sweep(&LIMITS, 0, |_| 90);
        assert_eq!((receipts.len(), receipts.is_complete(), receipts.dropped_below(3)), (10, true, 90));
        assert!(receipts.get(&id(89)).is_none() && receipts.get(&id(90)).is_some());
    }

    #[test]
    fn clients_receipts_go_when_they_expire_and_the_excess_makes_the_window_incomplete() {
        let mut receipts = Receipts::default();
        for n in 0..100 {
            receipts.insert(id(n), 1, receipt(Origin::Client { expires_ms: n as i64 }));
        }
        receipts.sweep(&LIMITS, 50, |_| 0);
        assert_eq!((receipts.len(), receipts.is_complete()), (49, true));
        for n in 1_000..3_000 {
            receipts.insert(id(n), 1, receipt(Origin::Client { expires_ms: i64::MAX }));
        }
        receipts.sweep(&LIMITS, 200, |_| 0);
        assert_eq!((receipts.len(), receipts.is_complete()), (LIMITS.clients_max, false));
        let oldest_kept = 3_000 - LIMITS.clients_max as u64;
        assert!((oldest_kept..3_000).all(|n| receipts.get(&id(n)).is_some()), "the oldest are pushed out");
    }
}
