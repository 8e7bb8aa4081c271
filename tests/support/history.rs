//! A made-up history: what a record is follows from its slot, its sequence and its size, so that it can be written
//! in one process and looked for in another.
#![allow(dead_code, reason = "each test binary uses its own part")]

use souk::persistence::{EntityKey, OwedChange, OwedItem, OwedRow, Payload, Record, Slot, WakeChange};

pub const KIND: u8 = 10;
/// Entities of a slot. They take turns.
pub const ENTITIES: u64 = 5;

pub fn key(slot: Slot, entity: u64) -> EntityKey {
    EntityKey { kind: KIND, id: format!("{slot}-{entity}").into() }
}

/// The entity always owes something, and always wants to be woken; both are due at its last record.
pub fn record(slot: Slot, epoch: u64, seq: u64, size_bytes: usize) -> Record {
    let before_ms = seq.checked_sub(ENTITIES).filter(|before| *before > 0).map(|before| before as i64);
    let items = vec![OwedItem { number: seq * 256, key: "told".to_owned() }];
    Record {
        slot,
        seq,
        epoch,
        key: key(slot, seq % ENTITIES),
        version: seq.div_ceil(ENTITIES),
        at_ms: seq as i64,
        request: [slot as u8; 16],
        receipt: None,
        events: vec![Payload { type_number: 1, version: 1, bytes: vec![seq as u8; size_bytes] }],
        owed: Some(OwedChange { before_due_ms: before_ms, after: Some(OwedRow { due_ms: seq as i64, items }) }),
        wake: Some(WakeChange { before_ms, after_ms: Some(seq as i64) }),
    }
}
