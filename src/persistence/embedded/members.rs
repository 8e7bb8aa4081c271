//! The node list, under `N` id 0 part, and the wishes, under `W` and their key. A row is replaced by the next one, in one
//! atomic write, so nothing here grows as nodes renew; it is durable before anybody is answered, and read once, at opening.
//! A node's row and the wishes that name it go in one atomic step too.
//!
//! A node's row may be longer than a value: its parts follow each other, the first begins with the length of all (4 bytes).
//! Parts behind that length are left from a longer row, and mean nothing.

use super::disk::Disk;
use crate::persistence::membership::{NodeList, WishList, may_wish};
use crate::persistence::{NodeRow, Refusal, Slot, SlotHead, StoreError, Subject, WishRow};

#[derive(Debug, Clone, Default)]
pub struct Members {
    pub nodes: NodeList,
    pub wishes: WishList,
}

/// What is asked for.
pub enum Change {
    Join(NodeRow),
    Renew(NodeRow),
    Leave(String),
    Forget { id: String, lease: u64 },
    Wish(WishRow),
    Unwish(Subject),
}

/// What it comes to.
#[derive(Debug, Clone)]
pub enum Changed {
    Node(NodeRow),
    /// The node's row goes, and these wishes.
    Forgotten(String, Vec<Subject>),
    Wish(WishRow),
    Unwished(Subject),
}

impl Members {
    pub fn judge(&self, change: Change, heads: &[SlotHead]) -> Result<Changed, Refusal> {
        match change {
            Change::Join(node) => self.nodes.joined(&node).map(Changed::Node),
            Change::Renew(node) => self.nodes.renewed(&node).map(Changed::Node),
            Change::Leave(id) => self.nodes.left(&id).map(Changed::Node),
            Change::Forget { id, lease } => {
                self.nodes.forgotten(&id, lease, heads)?;
                let wishes = self.wishes.of_node(&id);
                Ok(Changed::Forgotten(id, wishes))
            }
            Change::Wish(row) => {
                let slots = Slot::try_from(heads.len()).unwrap_or(Slot::MAX);
                may_wish(&row, slots, &self.nodes).map(|()| Changed::Wish(self.wishes.over(row)))
            }
            Change::Unwish(of) => Ok(Changed::Unwished(of)),
        }
    }

    pub fn apply(&mut self, changed: &Changed) {
        match changed {
            Changed::Node(row) => self.nodes.put(row.clone()),
            Changed::Forgotten(id, wishes) => {
                self.nodes.remove(id);
                wishes.iter().for_each(|of| self.wishes.remove(of));
            }
            Changed::Wish(row) => self.wishes.put(row.clone()),
            Changed::Unwished(of) => self.wishes.remove(of),
        }
    }
}

/// What stands before the numbers of a node's parts.
fn node_key(id: &str) -> Vec<u8> {
    [b"N", id.as_bytes(), &[0]].concat()
}

fn wish_key(of: &Subject) -> Vec<u8> {
    [b"W", of.key().as_bytes()].concat()
}

/// Writes a change; durable after the next sync.
pub fn write(disk: &Disk, changed: &Changed) -> Result<(), StoreError> {
    match changed {
        Changed::Node(row) => {
            let encoded = row.encode();
            let bytes = [&(encoded.len() as u32).to_le_bytes()[..], &encoded].concat();
            let key = |part: u16| [&node_key(&row.id)[..], &part.to_be_bytes()].concat();
            disk.insert_all((0..).zip(bytes.chunks(disk.value_max)).map(|(part, bytes)| (key(part), bytes.to_vec())))
        }
        Changed::Forgotten(id, wishes) => {
            let start = node_key(id);
            let end = [b"N", id.as_bytes(), &[1]].concat();
            let parts = disk.scan(&start, &end, usize::MAX)?.into_iter().map(|(key, _)| key.to_vec());
            disk.remove_together(parts.chain(wishes.iter().map(wish_key)).collect())
        }
        Changed::Wish(row) => disk.insert(&wish_key(&row.wish.subject()), &row.encode()),
        Changed::Unwished(of) => disk.remove_together(vec![wish_key(of)]),
    }
}

pub fn read(disk: &Disk) -> Result<Members, StoreError> {
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (key, part) in disk.scan(b"N", b"O", usize::MAX)? {
        let Some((id, _)) = key.split_last_chunk::<3>() else { return Err(damaged(&key, "it has no number")) };
        match rows.last_mut().filter(|(last, _)| last == id) {
            Some((_, bytes)) => bytes.extend_from_slice(&part),
            None => rows.push((id.to_vec(), part.to_vec())),
        }
    }
    let nodes: Result<Vec<NodeRow>, StoreError> = rows.iter().map(|(key, bytes)| open(key, bytes)).collect();
    let nodes = NodeList::of(nodes?);
    let mut wishes = Vec::new();
    for (key, bytes) in disk.scan(b"W", b"X", usize::MAX)? {
        let damaged = |why: String| StoreError::Damaged(format!("wish {}: {why}", key.escape_ascii()));
        let row = WishRow::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        if wish_key(&row.wish.subject()) != key[..] {
            return Err(damaged("it is another one".to_owned()));
        }
        wishes.push(row);
    }
    Ok(Members { nodes, wishes: WishList::of(wishes) })
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
