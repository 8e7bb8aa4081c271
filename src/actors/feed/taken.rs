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

    /// Those that one of them follows.
    pub fn of_any<'a>(consumers: impl Iterator<Item = &'a Kinds>) -> Kinds {
        let mut kinds = [false; 256];
        for followed in consumers {
            for (kind, follows) in followed.0.iter().zip(&mut kinds) {
                *follows |= kind;
            }
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
    /// Behind the last record that was looked at, whatever its kind.
    pub position: Position,
    pub bytes: usize,
}

impl Taken {
    /// Takes from records in slot order; `None` where there are none.
    pub fn of(slot: Slot, records: &[Arc<Record>], kinds: &Kinds, wanted: Wanted) -> Option<Taken> {
        let (mut taken, mut last) = (Taken::nothing(slot), None);
        for record in records.iter().take(wanted.records) {
            if kinds.has(record.key.kind) {
                taken.add(record, record.encoded_len());
            }
            last = Some(record);
            if taken.bytes >= wanted.bytes {
                break;
            }
        }
        taken.position = Position::behind(last?);
        Some(taken)
    }

    /// To be added to; its position is to be set.
    pub fn nothing(slot: Slot) -> Taken {
        Taken { slot, records: Vec::new(), position: Position::BEGINNING, bytes: 0 }
    }

    pub fn add(&mut self, record: &Arc<Record>, bytes: usize) {
        self.records.push(record.clone());
        self.bytes += bytes;
    }

    pub fn into_batch(self) -> SlotBatch {
        SlotBatch { slot: self.slot, records: self.records, position: self.position }
    }
}
