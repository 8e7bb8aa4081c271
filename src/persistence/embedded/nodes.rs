//! The node list, under `N` id 0 part. A row is replaced by the next one of its node, in one atomic write, so the list
//! does not grow as nodes renew; it is durable before anybody is answered, and read once, at opening.
//!
//! A row may be longer than a value: its parts follow each other, the first begins with the length of all (4 bytes).
//! Parts behind that length are left from a longer row, and mean nothing.

use super::disk::Disk;
use crate::persistence::membership::NodeList;
use crate::persistence::{NodeRow, StoreError};

fn key(id: &str, part: u16) -> Vec<u8> {
    [b"N", id.as_bytes(), &[0], &part.to_be_bytes()].concat()
}

/// Writes a row; durable after the next sync.
pub fn write(disk: &Disk, row: &NodeRow) -> Result<(), StoreError> {
    let encoded = row.encode();
    let bytes = [&(encoded.len() as u32).to_le_bytes()[..], &encoded].concat();
    disk.insert_all((0..).zip(bytes.chunks(disk.value_max)).map(|(part, bytes)| (key(&row.id, part), bytes.to_vec())))
}

pub fn read(disk: &Disk) -> Result<NodeList, StoreError> {
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (key, part) in disk.scan(b"N", b"O", usize::MAX)? {
        let Some((id, _)) = key.split_last_chunk::<3>() else { return Err(damaged(&key, "it has no number")) };
        match rows.last_mut().filter(|(last, _)| last == id) {
            Some((_, bytes)) => bytes.extend_from_slice(&part),
            None => rows.push((id.to_vec(), part.to_vec())),
        }
    }
    let rows: Result<Vec<NodeRow>, StoreError> = rows.iter().map(|(key, bytes)| open(key, bytes)).collect();
    Ok(NodeList::of(rows?))
}

fn open(key: &[u8], bytes: &[u8]) -> Result<NodeRow, StoreError> {
    let (len, bytes) = bytes.split_first_chunk().ok_or_else(|| damaged(key, "it has no length"))?;
    let row = bytes.get(..u32::from_le_bytes(*len) as usize).ok_or_else(|| damaged(key, "it is cut off"))?;
    let row = NodeRow::decode(row).map_err(|error| damaged(key, error))?;
    if key[1..] == *row.id.as_bytes() { Ok(row) } else { Err(damaged(key, "it is another node's")) }
}

fn damaged(key: &[u8], why: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("row {} of the node list: {why}", key.escape_ascii()))
}
