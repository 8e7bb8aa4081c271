//! What is taken of a slot at once: for whom, how much at most, and what it was.

use std::sync::Arc;

use super::consumer::{Consumer, SlotBatch};
use super::position::Position;
use crate::persistence::{Record, Slot};

/// The kinds that somebody follows.
pub(super) struct Kinds([bool; 256]);

impl Kinds {
    pub fn of(consumer: &dyn Consumer) -> Kinds {
        let mut kinds = [false; 256];
        for (kind, follows) in (0..=u8::MAX).zip(&mut kinds) {
            *follows = consumer.follows(kind);
        }
        Kinds(kinds)
    }

    #[cfg(test)]
    pub fn all() -> Kinds {
        Kinds([true; 256])
    }

    pub fn has(&self, kind: u8) -> bool {
        self.0[usize::from(kind)]
    }
}

/// How much of a slot is wanted at once: at most so many records, of about so many bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub records: usize,
    pub bytes: usize,
}

impl Wanted {
    /// A slot's share of a batch.
    pub const SHARE: Wanted = Wanted { records: 512, bytes: 1 << 20 };
}

/// What was taken of one slot.
pub(super) struct Taken {
    slot: Slot,
    pub records: Vec<Arc<Record>>,
    /// The last record that was looked at, whatever its kind.
    last: Arc<Record>,
    pub bytes: usize,
}

impl Taken {
    /// Takes from records in slot order; `None` where there are none.
    pub fn of<'a>(
        slot: Slot,
        records: impl Iterator<Item = &'a Arc<Record>>,
        kinds: &Kinds,
        wanted: Wanted,
    ) -> Option<Taken> {
        let (mut taken, mut last, mut bytes) = (Vec::new(), None, 0);
        for record in records.take(wanted.records) {
            if kinds.has(record.key.kind) {
                bytes += record.encoded_len();
                taken.push(record.clone());
            }
            last = Some(record);
            if bytes >= wanted.bytes {
                break;
            }
        }
        Some(Taken { slot, records: taken, last: last?.clone(), bytes })
    }

    pub fn last_seq(&self) -> u64 {
        self.last.seq
    }

    /// With the position, which is not calculated before: that takes longer than anybody should hold the tail.
    pub fn into_batch(self) -> SlotBatch {
        SlotBatch { slot: self.slot, records: self.records, position: Position::behind(&self.last) }
    }
}
