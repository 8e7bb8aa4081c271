//! What a slot shows of itself to operators. The slot alone writes it, at the end of a turn, and only what has changed: so
//! that whoever brings it messages at the same time finds the line of memory as it was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::core::SlotCore;

/// Numbers of a slot that serves; all 0 but the last while it does not.
#[derive(Default)]
pub struct Reading {
    residents: AtomicU64,
    resident_bytes: AtomicU64,
    decided_seq: AtomicU64,
    serves: AtomicBool,
}

impl Reading {
    /// A slot without a core has nothing in memory, and has decided nothing beyond what is durable.
    pub(super) fn show(&self, core: Option<&SlotCore>, durable_seq: u64) {
        let of_core =
            |core: &SlotCore| (core.resident_count() as u64, core.resident_bytes() as u64, core.decided_seq());
        let (residents, resident_bytes, decided_seq) = core.map_or((0, 0, durable_seq), of_core);
        set(&self.residents, residents);
        set(&self.resident_bytes, resident_bytes);
        set(&self.decided_seq, decided_seq);
        if self.serves() != core.is_some() {
            self.serves.store(core.is_some(), Ordering::Release);
        }
    }

    /// Whether it takes what waits in front of it, unless it is suspended.
    pub fn serves(&self) -> bool {
        self.serves.load(Ordering::Acquire)
    }

    /// Entities in memory.
    pub fn residents(&self) -> u64 {
        self.residents.load(Ordering::Relaxed)
    }

    /// Bytes that they take, about.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    /// The number of the last record that was decided. It may not be durable yet.
    pub fn decided_seq(&self) -> u64 {
        self.decided_seq.load(Ordering::Relaxed)
    }
}

fn set(shown: &AtomicU64, value: u64) {
    if shown.load(Ordering::Relaxed) != value {
        shown.store(value, Ordering::Relaxed);
    }
}
