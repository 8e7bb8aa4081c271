//! Where a consumer stands in a slot.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::persistence::{Epoch, Record};

/// Behind which record of a slot a consumer stands. Epoch and checksum are that record's: they tell whether the
/// journal still has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// 0: before the first record.
    pub seq: u64,
    /// 0: not known (the record could not be read when the position was taken), so that nothing can be compared.
    pub epoch: Epoch,
    pub checksum: u64,
}

impl Position {
    /// Before the first record of a slot.
    pub const BEGINNING: Position = Position { seq: 0, epoch: 0, checksum: 0 };

    /// Behind a record.
    pub fn behind(record: &Record) -> Position {
        Position { seq: record.seq, epoch: record.epoch, checksum: checksum(record) }
    }

    /// Behind a record of which only the number is known.
    pub fn unproven(seq: u64) -> Position {
        Position { seq, ..Position::BEGINNING }
    }

    /// Whether `record` is the one that this stands behind.
    pub fn is_behind(&self, record: &Record) -> bool {
        self.seq == record.seq && (self.epoch == 0 || *self == Position::behind(record))
    }

    /// Whether both stand behind the same record; the other one is known to be right.
    pub fn is_at(&self, right: &Position) -> bool {
        self.seq == right.seq && (self.epoch == 0 || self == right)
    }
}

/// Of what makes the record this one: its place, its entity, its request and its events. Consumers keep it, so it never
/// changes (a golden test pins it).
fn checksum(record: &Record) -> u64 {
    // Hashing all bytes at once is several times as fast as a hasher that is fed piece by piece, for so few of them.
    let mut bytes = Vec::with_capacity(128 + record.encoded_len());
    let mut number = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
    number(record.slot.into());
    number(record.seq);
    number(record.epoch);
    number(record.version);
    number(record.at_ms.cast_unsigned());
    number(record.key.kind.into());
    number(record.key.id.len() as u64);
    bytes.extend_from_slice(record.key.id.as_bytes());
    bytes.extend_from_slice(&record.request);
    for event in &record.events {
        bytes.extend_from_slice(&event.type_number.to_le_bytes());
        bytes.extend_from_slice(&event.version.to_le_bytes());
        bytes.extend_from_slice(&(event.bytes.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&event.bytes);
    }
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::feed::tests::record;
    use crate::persistence::Payload;

    #[test]
    fn the_checksum_of_a_record_never_changes() {
        let mut record = record(3, 7, "TEE-M");
        record.events = vec![Payload { type_number: 0x0901, version: 1, bytes: b"event".to_vec() }];
        assert_eq!(Position::behind(&record), Position { seq: 7, epoch: 1, checksum: 5_919_591_983_781_949_018 });
    }

    #[test]
    fn a_position_knows_its_record_from_every_other() {
        let record = record(3, 7, "TEE-M");
        let position = Position::behind(&record);
        assert!(position.is_behind(&record) && Position::unproven(7).is_behind(&record));
        let others = [
            Record { epoch: 2, ..record.clone() },
            Record { seq: 8, ..record.clone() },
            Record { at_ms: record.at_ms + 1, ..record.clone() },
            Record { events: vec![Payload { type_number: 1, version: 1, bytes: vec![] }], ..record.clone() },
        ];
        for other in others {
            assert!(!position.is_behind(&other), "{other:?}");
        }
    }
}
