//! Snapshots, each in parts under `S` kind id 0, slot sequence, part. They are written after the records
//! that they summarise are durable, and not made durable themselves: a crash may take a snapshot, and then
//! more records are replayed. The one before is removed only when the new one is complete, so a reader (or
//! a crash) in between finds that one.

use super::disk::Disk;
use crate::persistence::frame::frame_len;
use crate::persistence::{EntityKey, Snapshot, StoreError};

fn prefix_of(key: &EntityKey) -> Vec<u8> {
    [&[b'S', key.kind][..], key.id.as_bytes(), &[0]].concat()
}

/// The first key behind those with a prefix that ends with a zero byte.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    end.pop();
    end.push(1);
    end
}

fn part_key(prefix: &[u8], seq: u64, part: u32) -> Vec<u8> {
    [prefix, &seq.to_be_bytes(), &part.to_be_bytes()].concat()
}

/// Stores a snapshot in the place of older ones; a stored newer one stays.
pub fn write(disk: &Disk, snapshot: &Snapshot) -> Result<(), StoreError> {
    let prefix = prefix_of(&snapshot.key);
    let newer = disk.scan(&part_key(&prefix, snapshot.seq, 0), &end_of(&prefix), 1)?;
    if !newer.is_empty() {
        return Ok(());
    }
    for (part, bytes) in (0..).zip(snapshot.encode().chunks(disk.value_max)) {
        disk.insert(&part_key(&prefix, snapshot.seq, part), bytes)?;
    }
    disk.remove_range(&prefix, &part_key(&prefix, snapshot.seq, 0))
}

/// The newest complete snapshot of an entity.
pub fn newest(disk: &Disk, key: &EntityKey) -> Result<Option<Snapshot>, StoreError> {
    let prefix = prefix_of(key);
    let parts = disk.scan(&prefix, &end_of(&prefix), usize::MAX)?;
    let seq_of = |stored: &[u8]| stored.get(prefix.len()..prefix.len() + 8).map(<[u8]>::to_vec);
    let mut rest = parts.as_slice();
    while let Some(seq) = rest.last().map(|(key, _)| seq_of(key)) {
        let older = rest.partition_point(|(key, _)| seq_of(key) < seq);
        let frame: Vec<u8> = rest[older..].iter().flat_map(|(_, part)| part.iter().copied()).collect();
        rest = &rest[..older];
        let place = || format!("snapshot of entity {}/{}", key.kind, key.id);
        match frame_len(&frame) {
            Ok(needed) if frame.len() < needed => continue, // it is being written, or a crash cut it off
            Ok(_) => {}
            Err(error) => return Err(error.damaged_at(place())),
        }
        let snapshot = Snapshot::decode(&frame).map_err(|error| error.damaged_at(place()))?;
        if snapshot.key != *key {
            return Err(StoreError::Damaged(format!("{}: it is another entity's", place())));
        }
        return Ok(Some(snapshot));
    }
    Ok(None)
}

pub fn remove_all(disk: &Disk) -> Result<(), StoreError> {
    disk.remove_range(b"S", b"T")
}
