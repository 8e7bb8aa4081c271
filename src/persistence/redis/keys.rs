//! The names of the keys, and the bytes of the members of ordered sets. All of it is stored: frozen.

use crate::persistence::bytes::{FrameError, Reader};
use crate::persistence::{EntityKey, RequestBytes, Slot};

/// The names of one store's keys.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.to_owned() }
    }

    /// A slot's head. The names of everything else of the slot begin with it, so they have its hash tag and
    /// lie on the same machine of a Redis Cluster.
    pub fn head(&self, slot: Slot) -> String {
        format!("{}:{{s:{slot}}}", self.prefix)
    }
    /// What the store is: its format and its number of slots.
    pub fn store(&self) -> String {
        format!("{}:{{store}}", self.prefix)
    }
    pub fn nodes(&self) -> String {
        format!("{}:{{nodes}}", self.prefix)
    }
}

/// What of a slot lies beside its head, by the end of its name.
pub(super) const IDS: &str = ":i";
pub(super) const SPANS: &str = ":x";
pub(super) const OWED: &str = ":o";
pub(super) const OWED_RECEIPTS: &str = ":q";
pub(super) const WAKES: &str = ":w";
pub(super) const SNAPSHOTS: &str = ":p";
pub(super) const SNAPSHOT_SEQS: &str = ":n";

/// Fields of a slot's head: who has it and how far it is, and what the last commit said; then by the letter
/// that they begin with.
pub(super) const HEAD: &str = "h";
pub(super) const COMMIT: &str = "c";
const RECORD: u8 = b'l';
const VERSION: u8 = b'v';
const RECEIPT: u8 = b'r';
const OWED_ROW: u8 = b'd';

/// The field of a record, by its sequence.
pub(super) fn record_field(seq: u64) -> Vec<u8> {
    let mut field = vec![RECORD];
    field.extend_from_slice(seq.to_string().as_bytes());
    field
}

fn entity_field(letter: u8, key: &EntityKey) -> Vec<u8> {
    let mut field = Vec::with_capacity(2 + key.id.len());
    field.extend_from_slice(&[letter, key.kind]);
    field.extend_from_slice(key.id.as_bytes());
    field
}

/// The field of an entity's version.
pub(super) fn version_field(key: &EntityKey) -> Vec<u8> {
    entity_field(VERSION, key)
}

/// The field of what an entity owes.
pub(super) fn owed_field(key: &EntityKey) -> Vec<u8> {
    entity_field(OWED_ROW, key)
}

/// The field of the receipt with this name.
pub(super) fn receipt_field(name: &[u8]) -> Vec<u8> {
    [&[RECEIPT], name].concat()
}

/// An entity: its kind, its id. As ordered as the keys themselves.
pub(super) fn entity(key: &EntityKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.id.len());
    bytes.push(key.kind);
    bytes.extend_from_slice(key.id.as_bytes());
    bytes
}

pub(super) fn entity_of(bytes: &[u8]) -> Result<EntityKey, FrameError> {
    let mut reader = Reader { bytes, at: 0 };
    let kind = reader.u8("kind")?;
    let id = std::str::from_utf8(&bytes[1..]).map_err(|error| FrameError::Invalid {
        what: "entity id",
        at: 1 + error.valid_up_to(),
        found: 0,
    })?;
    Ok(EntityKey { kind, id: id.into() })
}

/// A row that is due: when, so that bytes are ordered as times are, and the entity.
pub(super) fn due(due_ms: i64, key: &EntityKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + key.id.len());
    bytes.extend_from_slice(&(due_ms as u64 ^ 1 << 63).to_be_bytes());
    bytes.push(key.kind);
    bytes.extend_from_slice(key.id.as_bytes());
    bytes
}

pub(super) fn due_of(bytes: &[u8]) -> Result<(i64, EntityKey), FrameError> {
    let mut reader = Reader { bytes, at: 0 };
    let due_ms = (u64::from_be_bytes(reader.array("due")?) ^ 1 << 63) as i64;
    Ok((due_ms, entity_of(&bytes[8..])?))
}

/// A receipt: the entity, a zero (no id has one), the request.
pub(super) fn receipt(key: &EntityKey, request: &RequestBytes) -> Vec<u8> {
    [&entity(key)[..], &[0], request].concat()
}

/// An entity's receipts of owed requests from a slot, from a number on.
pub(super) fn owed_receipt(key: &EntityKey, slot: Slot, number: u64) -> Vec<u8> {
    [&entity(key)[..], &[0], &slot.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The end of a range of members.
pub(super) fn including(bytes: &[u8]) -> Vec<u8> {
    [b"[", bytes].concat()
}
pub(super) fn excluding(bytes: &[u8]) -> Vec<u8> {
    [b"(", bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: u8, id: &str) -> EntityKey {
        EntityKey { kind, id: id.into() }
    }

    #[test]
    fn names_are_frozen_and_a_slots_share_one_hash_tag() {
        let keys = Keys::new("shop");
        assert_eq!(
            (keys.head(7), keys.store(), keys.nodes()),
            ("shop:{s:7}".into(), "shop:{store}".into(), "shop:{nodes}".into())
        );
    }

    #[test]
    fn members_are_ordered_as_what_they_stand_for() {
        let rows = [
            (i64::MIN, key(1, "a")),
            (-3, key(9, "b")),
            (0, key(1, "a")),
            (5, key(1, "a")),
            (5, key(1, "ab")),
            (5, key(1, "b")),
            (5, key(2, "a")),
            (i64::MAX, key(0, "ø")),
        ];
        let members: Vec<Vec<u8>> = rows.iter().map(|(due_ms, key)| due(*due_ms, key)).collect();
        assert!(members.is_sorted());
        for (row, member) in rows.iter().zip(&members) {
            assert_eq!(due_of(member).as_ref(), Ok(row));
        }
        assert_eq!(members[3], [&[128, 0, 0, 0, 0, 0, 0, 5, 1][..], b"a"].concat(), "frozen");
        assert!(due_of(&members[3][..8]).is_err() && entity_of(&[1, 0xff]).is_err());
    }

    /// The script cuts a receipt's name out of the member: the last 26 bytes are slot, number and request.
    #[test]
    fn a_receipt_is_named_in_its_member() {
        let (of, request) = (key(3, "a"), [7; 16]);
        let member = [owed_receipt(&of, 2, 256), request.to_vec()].concat();
        let name = [&member[..member.len() - 26], &member[member.len() - 16..]].concat();
        assert_eq!(name, receipt(&of, &request));
    }
}
