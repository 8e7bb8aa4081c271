//! Keys and values of the derived index. Keys compare as bytes; integers in them are big-endian, and
//! an id ends with a zero byte (no id contains one), so that entities sort by kind and id:
//!
//! | key | value |
//! | --- | --- |
//! | `E` kind id 0, 0 | the entity's version |
//! | `E` kind id 0, 1, last slot sequence | places of some of its records, ascending |
//! | `E` kind id 0, 2, request id | place of the record with this receipt, and until when |
//! | `F` slot, last slot sequence | places of consecutive records of the slot |
//! | `H` slot | the slot's head |
//! | `O` slot, due, kind id 0 | place of the record that wrote this row of the owed index |
//! | `W` slot, due, kind id 0 | nothing: a row of the wake index |
//!
//! Integers in values are varints (7 bits a byte, the low ones first). Lists hold differences.

use std::sync::Arc;

use super::log::Place;
use crate::persistence::{EntityKey, Origin, RequestBytes, Slot, SlotHead};

/// Kinds of keys under an entity.
pub const HEAD: u8 = 0;
pub const PLACES: u8 = 1;
pub const RECEIPT: u8 = 2;

/// One entry of the index; without a value it says that older ones are void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// A record of an entity, by slot sequence.
pub type SeqPlace = (u64, Place);

/// A receipt, as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptRef {
    pub seq: u64,
    pub place: Place,
    pub origin: Origin,
}

impl ReceiptRef {
    /// Whether a client's receipt is older than what was forgotten.
    pub fn is_forgotten(&self, before_ms: i64) -> bool {
        matches!(self.origin, Origin::Client { expires_ms } if expires_ms < before_ms)
    }
}

pub fn entity_prefix(key: &EntityKey) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(key.id.len() + 20);
    prefix.extend_from_slice(&[b'E', key.kind]);
    prefix.extend_from_slice(key.id.as_bytes());
    prefix.push(0);
    prefix
}

/// Where the prefix of an entity ends in a key that starts with it; `None` for other keys.
pub fn entity_prefix_len(key: &[u8]) -> Option<usize> {
    match key {
        [b'E', _, rest @ ..] => rest.iter().position(|byte| *byte == 0).map(|end| end + 3),
        _ => None,
    }
}

pub fn head_key(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[HEAD]].concat()
}
pub fn places_key(prefix: &[u8], seq: u64) -> Vec<u8> {
    [prefix, &[PLACES], &seq.to_be_bytes()].concat()
}
pub fn receipt_key(prefix: &[u8], request: &RequestBytes) -> Vec<u8> {
    [prefix, &[RECEIPT], request].concat()
}
pub fn feed_key(slot: Slot, seq: u64) -> Vec<u8> {
    [&[b'F'][..], &slot.to_be_bytes(), &seq.to_be_bytes()].concat()
}
pub fn slot_head_key(slot: Slot) -> Vec<u8> {
    [&[b'H'][..], &slot.to_be_bytes()].concat()
}

/// The two indexes of rows that are ordered by (slot, due, entity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    Owed,
    Wakes,
}

impl Rows {
    fn tag(self) -> u8 {
        match self {
            Rows::Owed => b'O',
            Rows::Wakes => b'W',
        }
    }

    pub fn key(self, slot: Slot, due_ms: i64, key: &EntityKey) -> Vec<u8> {
        let mut row = Vec::with_capacity(key.id.len() + 13);
        row.push(self.tag());
        row.extend_from_slice(&slot.to_be_bytes());
        // With the sign bit flipped, numbers order as bytes do.
        row.extend_from_slice(&((due_ms as u64) ^ (1 << 63)).to_be_bytes());
        row.push(key.kind);
        row.extend_from_slice(key.id.as_bytes());
        row.push(0);
        row
    }

    /// The first key of a slot's rows, and the first one behind them.
    pub fn bounds(self, slot: Slot) -> (Vec<u8>, Vec<u8>) {
        let [high, low] = slot.to_be_bytes();
        let end = match slot.checked_add(1) {
            Some(next) => [&[self.tag()][..], &next.to_be_bytes()].concat(),
            None => vec![self.tag() + 1],
        };
        (vec![self.tag(), high, low], end)
    }
}

/// Due time and entity of a row's key.
pub fn read_row_key(row: &[u8]) -> Option<(i64, EntityKey)> {
    let (due, rest) = row.get(3..)?.split_first_chunk()?;
    let due_ms = (u64::from_be_bytes(*due) ^ (1 << 63)) as i64;
    let (kind, rest) = rest.split_first()?;
    let id = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
    Some((due_ms, EntityKey { kind: *kind, id: id.into() }))
}

/// The id in a key under an entity.
pub fn read_entity_id(key: &[u8]) -> Option<Arc<str>> {
    let end = entity_prefix_len(key)?;
    std::str::from_utf8(&key[2..end - 1]).ok().map(Arc::from)
}

/// The sequence at the end of a key of places.
pub fn read_last_seq(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint off the front of `bytes`.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    put_varint(&mut out, value);
    out
}

pub fn put_place(out: &mut Vec<u8>, before: u64, place: Place) {
    put_varint(out, place.part - before);
    put_varint(out, u64::from(place.offset));
}

pub fn take_place(bytes: &mut &[u8], before: u64) -> Option<Place> {
    let part = before.checked_add(take_varint(bytes)?)?;
    let offset = u16::try_from(take_varint(bytes)?).ok()?;
    Some(Place { part, offset })
}

/// Places of an entity's records, with their sequences.
pub fn put_places(places: &[SeqPlace]) -> Vec<u8> {
    let mut out = Vec::with_capacity(places.len() * 6);
    let (mut last_seq, mut last_part) = (0, 0);
    for (seq, place) in places {
        put_varint(&mut out, seq - last_seq);
        put_place(&mut out, last_part, *place);
        (last_seq, last_part) = (*seq, place.part);
    }
    out
}

pub fn read_places(mut bytes: &[u8]) -> Option<Vec<SeqPlace>> {
    let mut places = Vec::new();
    let (mut last_seq, mut last_part) = (0u64, 0);
    while !bytes.is_empty() {
        last_seq = last_seq.checked_add(take_varint(&mut bytes)?)?;
        let place = take_place(&mut bytes, last_part)?;
        last_part = place.part;
        places.push((last_seq, place));
    }
    Some(places)
}

/// Places of consecutive records of a slot, the last of which has the sequence in the key.
pub fn put_feed(places: &[Place]) -> Vec<u8> {
    let mut out = Vec::with_capacity(places.len() * 4);
    let mut last_part = 0;
    for place in places {
        put_place(&mut out, last_part, *place);
        last_part = place.part;
    }
    out
}

pub fn read_feed(last_seq: u64, mut bytes: &[u8]) -> Option<Vec<SeqPlace>> {
    let mut places = Vec::new();
    let mut last_part = 0;
    while !bytes.is_empty() {
        let place = take_place(&mut bytes, last_part)?;
        last_part = place.part;
        places.push(place);
    }
    let first_seq = last_seq.checked_add(1)?.checked_sub(places.len() as u64)?;
    Some((0..).zip(places).map(|(n, place)| (first_seq + n, place)).collect())
}

pub fn put_receipt(receipt: &ReceiptRef) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    put_varint(&mut out, receipt.seq);
    put_place(&mut out, 0, receipt.place);
    match receipt.origin {
        Origin::Client { expires_ms } => {
            out.push(0);
            put_varint(&mut out, expires_ms as u64);
        }
        Origin::Owed { slot, number, watermark } => {
            out.push(1);
            put_varint(&mut out, u64::from(slot));
            put_varint(&mut out, number);
            put_varint(&mut out, watermark);
        }
    }
    out
}

pub fn read_receipt(mut bytes: &[u8]) -> Option<ReceiptRef> {
    let seq = take_varint(&mut bytes)?;
    let place = take_place(&mut bytes, 0)?;
    let (tag, mut bytes) = bytes.split_first()?;
    let origin = match tag {
        0 => Origin::Client { expires_ms: take_varint(&mut bytes)? as i64 },
        1 => Origin::Owed {
            slot: Slot::try_from(take_varint(&mut bytes)?).ok()?,
            number: take_varint(&mut bytes)?,
            watermark: take_varint(&mut bytes)?,
        },
        _ => return None,
    };
    bytes.is_empty().then_some(ReceiptRef { seq, place, origin })
}

pub fn put_slot_head(head: &SlotHead) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, head.epoch);
    put_varint(&mut out, head.seq);
    put_varint(&mut out, head.at_ms as u64);
    if let Some(owner) = &head.owner {
        out.push(1);
        out.extend_from_slice(owner.as_bytes());
    }
    out
}

pub fn read_slot_head(key: &[u8], mut bytes: &[u8]) -> Option<(Slot, SlotHead)> {
    let slot = Slot::from_be_bytes(*key.get(1..)?.first_chunk()?);
    let epoch = take_varint(&mut bytes)?;
    let seq = take_varint(&mut bytes)?;
    let at_ms = take_varint(&mut bytes)? as i64;
    let owner = match bytes {
        [] => None,
        [1, owner @ ..] => Some(std::str::from_utf8(owner).ok()?.to_owned()),
        _ => return None,
    };
    Some((slot, SlotHead { owner, epoch, seq, at_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{Verdict, decoder};

    fn key(id: &str) -> EntityKey {
        EntityKey { kind: 10, id: id.into() }
    }

    #[test]
    fn keys_sort_as_what_they_say() {
        let times = [i64::MIN, -5, 0, 3, i64::MAX];
        assert!(times.windows(2).all(|t| Rows::Wakes.key(1, t[0], &key("z")) < Rows::Wakes.key(1, t[1], &key("a"))));
        let ids = ["a", "a!", "aa", "b"];
        assert!(ids.windows(2).all(|i| entity_prefix(&key(i[0])) < entity_prefix(&key(i[1]))));
        assert!(receipt_key(&entity_prefix(&key("a")), &[0xff; 16]) < entity_prefix(&key("a!")));
        for slot in [0, 255, 256, u16::MAX] {
            let (start, end) = Rows::Owed.bounds(slot);
            let row = Rows::Owed.key(slot, i64::MAX, &key("zz"));
            assert!(start <= row && row < end);
        }
    }

    #[test]
    fn rows_and_entities_read_back_from_their_keys() {
        let row = Rows::Owed.key(7, -3, &key("cart_1"));
        assert_eq!(read_row_key(&row), Some((-3, key("cart_1"))));
        let prefix = entity_prefix(&key("cart_1"));
        for entry in [head_key(&prefix), places_key(&prefix, 9), receipt_key(&prefix, &[0; 16])] {
            assert_eq!(entity_prefix_len(&entry), Some(prefix.len()));
            assert_eq!(read_entity_id(&entry).as_deref(), Some("cart_1"));
        }
        assert_eq!(read_row_key(&row[..9]), None);
        assert_eq!(read_entity_id(b"E"), None);
    }

    #[test]
    fn values_read_back() {
        let places: Vec<SeqPlace> = [(1, 5, 16), (2, 5, 300), (900, 70_000, 16)]
            .map(|(seq, part, offset)| (seq, Place { part, offset }))
            .into();
        assert_eq!(read_places(&put_places(&places)), Some(places.clone()));
        let run: Vec<Place> = places.iter().map(|(_, place)| *place).collect();
        let numbered: Vec<SeqPlace> = (8..).zip(run.iter().copied()).collect();
        assert_eq!(read_feed(10, &put_feed(&run)), Some(numbered));
        assert_eq!(read_feed(1, &put_feed(&run)), None);
        for origin in
            [Origin::Client { expires_ms: -1 }, Origin::Owed { slot: u16::MAX, number: u64::MAX, watermark: 1 }]
        {
            let receipt = ReceiptRef { seq: 4, place: run[2], origin };
            assert_eq!(read_receipt(&put_receipt(&receipt)), Some(receipt));
        }
        for owner in [None, Some(String::new()), Some("node-1".to_owned())] {
            let head = SlotHead { owner, epoch: 3, seq: 1 << 40, at_ms: -7 };
            assert_eq!(read_slot_head(&slot_head_key(515), &put_slot_head(&head)), Some((515, head)));
        }
        let mut endless = &[0xff; 20][..];
        assert_eq!(take_varint(&mut endless), None);
    }

    /// Keys and values of the index: the first byte says which decoder gets the rest.
    #[test]
    fn fuzz_index_entries() {
        let place = |part| Place { part, offset: 16 };
        let owed = Origin::Owed { slot: 7, number: 300, watermark: 1 };
        let receipt = ReceiptRef { seq: 4, place: place(70_000), origin: owed };
        let head = SlotHead { owner: Some("node".into()), epoch: 3, seq: 1 << 40, at_ms: -7 };
        let seed = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
        let seeds = [
            seed(0, &put_places(&[(1, place(5)), (900, place(70_000))])),
            seed(1, &put_feed(&[place(5), place(6)])),
            seed(2, &put_receipt(&receipt)),
            seed(3, &put_slot_head(&head)),
            seed(4, &Rows::Owed.key(7, -3, &key("cart_1"))),
            seed(5, &head_key(&entity_prefix(&key("cart_1")))),
        ];
        decoder("index-entry", seeds, |bytes| {
            let Some((which, bytes)) = bytes.split_first() else { return Verdict::Refused };
            let reads_back = match which % 6 {
                0 => read_places(bytes).map(|read| read_places(&put_places(&read)) == Some(read)),
                1 => read_feed(u64::MAX, bytes).or_else(|| read_feed(1_000, bytes)).map(|read| {
                    let run: Vec<Place> = read.iter().map(|(_, place)| *place).collect();
                    read.last().is_none_or(|(last, _)| read_feed(*last, &put_feed(&run)).as_ref() == Some(&read))
                }),
                2 => read_receipt(bytes).map(|read| read_receipt(&put_receipt(&read)) == Some(read)),
                3 => read_slot_head(&slot_head_key(515), bytes)
                    .map(|read| read_slot_head(&slot_head_key(515), &put_slot_head(&read.1)) == Some(read)),
                4 => read_row_key(bytes)
                    .map(|(due, key)| read_row_key(&Rows::Owed.key(0, due, &key)) == Some((due, key))),
                _ => read_entity_id(bytes).map(|id| {
                    let key = EntityKey { kind: 1, id: id.clone() };
                    read_entity_id(&entity_prefix(&key)) == Some(id)
                }),
            };
            reads_back.map_or(Verdict::Refused, |holds| Verdict::accepted(holds, "it reads back"))
        });
    }
}
