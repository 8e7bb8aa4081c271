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

    /// What keeps a slot. The names of everything else of the slot begin with it, so they have its hash tag and
    /// lie on the same machine of a Redis Cluster.
    pub fn group(&self, group: Group) -> String {
        format!("{}:{{g:{group}}}", self.prefix)
    }
    /// What a slot has beside its group, by the end of its name.
    pub fn beside(&self, slot: Slot, end: &str) -> String {
        self.group(group_of(slot)) + &beside(slot, end)
    }
    /// What the store is: its format and its number of slots.
    pub fn store(&self) -> String {
        format!("{}:{{store}}", self.prefix)
    }
    pub fn nodes(&self) -> String {
        format!("{}:{{nodes}}", self.prefix)
    }
    /// On the same machine as the node list.
    pub fn wishes(&self) -> String {
        self.nodes() + ":wishes"
    }
}

/// Slots that are kept together. So many groups are in every store: frozen. More make a commit over many slots
/// dearer, and fewer leave machines of a Redis Cluster without any.
pub(super) const GROUPS: Group = 16;
pub(super) type Group = u16;

pub(super) fn group_of(slot: Slot) -> Group {
    slot % GROUPS
}

/// What of a slot lies beside its group, by the end of its name.
pub(super) const IDS: &str = "i";
pub(super) const SPANS: &str = "x";
pub(super) const OWED: &str = "o";
pub(super) const OWED_RECEIPTS: &str = "q";
pub(super) const WAKES: &str = "w";
pub(super) const SNAPSHOTS: &str = "p";
pub(super) const SNAPSHOT_SEQS: &str = "n";

pub(super) fn beside(slot: Slot, end: &str) -> String {
    format!(":{slot}:{end}")
}

/// Where an entity's sequences are, beside its group.
pub(super) fn seqs(slot: Slot, key: &EntityKey) -> Vec<u8> {
    [beside(slot, "e:").as_bytes(), &entity(key)].concat()
}

/// Fields of a group, by the letter that they begin with: the head of a slot,
pub(super) fn head_field(slot: Slot) -> Vec<u8> {
    format!("h{slot}").into()
}

/// a record, by its sequence,
pub(super) fn record_field(slot: Slot, seq: u64) -> Vec<u8> {
    format!("l{slot}:{seq}").into()
}

fn field(letter: char, slot: Slot, of: &[u8]) -> Vec<u8> {
    [format!("{letter}{slot}:").as_bytes(), of].concat()
}

/// an entity's version, if it is not 0,
pub(super) fn version_field(slot: Slot, key: &EntityKey) -> Vec<u8> {
    field('v', slot, &entity(key))
}

/// what an entity owes,
pub(super) fn owed_field(slot: Slot, key: &EntityKey) -> Vec<u8> {
    field('d', slot, &entity(key))
}

/// and the receipt with this name.
pub(super) fn receipt_field(slot: Slot, name: &[u8]) -> Vec<u8> {
    field('r', slot, name)
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
            [keys.beside(23, OWED), keys.store(), keys.nodes(), keys.wishes()],
            ["shop:{g:7}:23:o", "shop:{store}", "shop:{nodes}", "shop:{nodes}:wishes"]
        );
    }

    #[test]
    fn fields_are_frozen() {
        let key = key(3, "a");
        let fields = [head_field(23), record_field(23, 9), version_field(23, &key), owed_field(23, &key)];
        assert_eq!(fields, [&b"h23"[..], b"l23:9", b"v23:\x03a", b"d23:\x03a"]);
        assert_eq!(receipt_field(23, b"name"), b"r23:name");
        assert_eq!(seqs(23, &key), b":23:e:\x03a");
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
