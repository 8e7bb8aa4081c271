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

/// A record of a slot, as it is kept where it is taken from.
pub(super) trait Entry {
    /// `None`: nobody follows its kind, so it is not kept.
    fn record(&self) -> Option<&Arc<Record>>;
    /// Bytes of the record.
    fn encoded_len(&self) -> usize;
    /// Behind it.
    fn position(&self) -> Position;
}

impl Entry for Arc<Record> {
    fn record(&self) -> Option<&Arc<Record>> {
        Some(self)
    }

    fn encoded_len(&self) -> usize {
        Record::encoded_len(self)
    }

    fn position(&self) -> Position {
        Position::behind(self)
    }
}

impl Taken {
    /// Takes from entries in slot order; `None` where there are none.
    pub fn of<'a, E: Entry + 'a>(
        slot: Slot,
        entries: impl Iterator<Item = &'a E>,
        kinds: &Kinds,
        wanted: Wanted,
    ) -> Option<Taken> {
        let (mut records, mut bytes, mut last) = (Vec::new(), 0, None);
        for entry in entries.take(wanted.records) {
            if let Some(record) = entry.record().filter(|record| kinds.has(record.key.kind)) {
                records.push(record.clone());
                bytes += entry.encoded_len();
            }
            last = Some(entry);
            if bytes >= wanted.bytes {
                break;
            }
        }
        Some(Taken { slot, records, position: last?.position(), bytes })
    }

    pub fn into_batch(self) -> SlotBatch {
        SlotBatch { slot: self.slot, records: self.records, position: self.position }
    }
}
