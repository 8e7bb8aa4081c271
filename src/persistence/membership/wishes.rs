//! What operators want of nodes and slots, against the plan. It lies in the store, so that every node plans with it and
//! a restart of whoever was asked forgets nothing. One row for a node and one for a slot at most.

use std::collections::BTreeMap;

use super::super::bytes::{FrameError, Reader, checked, put_i64, put_text, put_u16, put_u32};
use super::super::{Refusal, Slot};
use super::list::NodeList;
use super::row::{TEXT_BYTES_MAX, check_text};

/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 1_000;

/// What is wanted. Nodes are named by their id, but for a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The node gets no new slots; what it has stays.
    Cordon { node: String },
    /// The node gets no new slots, and gives away what it has.
    Drain { node: String },
    /// The slot belongs on the node of this name, whichever incarnation it is.
    Pin { slot: Slot, name: String },
    /// The slot belongs on this incarnation, for as long as it lives.
    Move { slot: Slot, to: String },
}

/// Of what something is wanted: the key of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// By its id.
    Node(String),
    Slot(Slot),
}

/// A wish, and who has asked for it. The store only keeps that: it plans nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WishRow {
    pub wish: Wish,
    /// Who asked, as the audit names them.
    pub by: String,
    /// Why, in their words; may be empty.
    pub reason: String,
    /// When, by the clock of the node that was asked.
    pub at_ms: i64,
}

impl Wish {
    pub fn subject(&self) -> Subject {
        match self {
            Wish::Cordon { node } | Wish::Drain { node } => Subject::Node(node.clone()),
            Wish::Pin { slot, .. } | Wish::Move { slot, .. } => Subject::Slot(*slot),
        }
    }

    /// The node whose going takes the wish with it.
    pub fn node(&self) -> Option<&str> {
        match self {
            Wish::Cordon { node } | Wish::Drain { node } => Some(node),
            Wish::Move { to, .. } => Some(to),
            Wish::Pin { .. } => None,
        }
    }

    /// The number that it is stored as. Frozen.
    fn code(&self) -> u8 {
        match self {
            Wish::Cordon { .. } => 1,
            Wish::Drain { .. } => 2,
            Wish::Pin { .. } => 3,
            Wish::Move { .. } => 4,
        }
    }
}

impl Subject {
    /// The key of its row, for stores that keep rows under text. Frozen.
    pub fn key(&self) -> String {
        match self {
            Subject::Node(id) => format!("n:{id}"),
            Subject::Slot(slot) => format!("s:{slot}"),
        }
    }
}

const FORMAT: u8 = 1;

impl WishRow {
    /// Whether a store of so many slots can keep the row. The text says why not.
    pub fn check(&self, slots: Slot) -> Result<(), String> {
        let (node, slot) = match &self.wish {
            Wish::Cordon { node } | Wish::Drain { node } => (node, None),
            Wish::Pin { slot, name } => (name, Some(*slot)),
            Wish::Move { slot, to } => (to, Some(*slot)),
        };
        let texts = [("node", node, TEXT_BYTES_MAX), ("asker", &self.by, TEXT_BYTES_MAX)];
        for (what, text, bytes_max) in texts.into_iter().chain([("reason", &self.reason, REASON_BYTES_MAX)]) {
            check_text(text, bytes_max).map_err(|why| format!("a wish's {what} {why}"))?;
        }
        if node.is_empty() {
            return Err("a wish that names no node".to_owned());
        }
        match slot {
            Some(slot) if slot >= slots => Err(format!("the store has no slot {slot}")),
            Some(_) | None => Ok(()),
        }
    }

    /// The row as bytes: format 1, what is wanted, slot (0 where none is named), time, node (an id or a name), who, why;
    /// integers little-endian and texts behind a u16 length; then a crc32c of all that. What later versions add comes
    /// before the checksum, as in [`super::NodeRow::encode`].
    pub fn encode(&self) -> Vec<u8> {
        let (slot, node) = match &self.wish {
            Wish::Cordon { node } | Wish::Drain { node } => (0, node),
            Wish::Pin { slot, name } => (*slot, name),
            Wish::Move { slot, to } => (*slot, to),
        };
        let mut out = vec![FORMAT, self.wish.code()];
        put_u16(&mut out, slot);
        put_i64(&mut out, self.at_ms);
        for text in [node, &self.by, &self.reason] {
            put_text(&mut out, text);
        }
        let checksum = crc32c::crc32c(&out);
        put_u32(&mut out, checksum);
        out
    }

    /// Reads what [`WishRow::encode`] gave, in this or a later version.
    pub fn decode(bytes: &[u8]) -> Result<WishRow, FrameError> {
        let mut reader = Reader { bytes: checked(bytes)?, at: 0 };
        reader.expect_u8("wish format", FORMAT)?;
        let code = reader.u8("wish")?;
        let slot = reader.u16("slot")?;
        let at_ms = reader.i64("time")?;
        let mut text = |what| reader.text(what).map(str::to_owned);
        let (node, by, reason) = (text("node")?, text("who")?, text("why")?);
        let wish = match code {
            1 => Wish::Cordon { node },
            2 => Wish::Drain { node },
            3 => Wish::Pin { slot, name: node },
            4 => Wish::Move { slot, to: node },
            found => return Err(FrameError::Unknown { what: "wish", at: 1, found: u64::from(found) }),
        };
        Ok(WishRow { wish, by, reason, at_ms })
    }
}

/// All wishes, for stores that have them in our own process: judged by the same rules everywhere.
#[derive(Debug, Clone, Default)]
pub struct WishList(BTreeMap<Subject, WishRow>);

impl WishList {
    pub fn of(rows: impl IntoIterator<Item = WishRow>) -> WishList {
        WishList(rows.into_iter().map(|row| (row.wish.subject(), row)).collect())
    }

    /// By subject: nodes by their id, then slots.
    pub fn rows(&self) -> Vec<WishRow> {
        self.0.values().cloned().collect()
    }

    /// The row that stands when this was asked for: a node that drains is cordoned already, and goes on draining.
    pub fn over(&self, row: WishRow) -> WishRow {
        match (&row.wish, self.0.get(&row.wish.subject())) {
            (Wish::Cordon { .. }, Some(known @ WishRow { wish: Wish::Drain { .. }, .. })) => known.clone(),
            _ => row,
        }
    }

    pub fn put(&mut self, row: WishRow) {
        self.0.insert(row.wish.subject(), row);
    }

    pub fn remove(&mut self, subject: &Subject) {
        self.0.remove(subject);
    }

    /// What goes when a node does.
    pub fn of_node(&self, id: &str) -> Vec<Subject> {
        let of_node = self.0.iter().filter(|(_, row)| row.wish.node() == Some(id));
        of_node.map(|(subject, _)| subject.clone()).collect()
    }
}

/// Whether a row may be written, in a store of so many slots with these nodes.
pub fn may_wish(row: &WishRow, slots: Slot, nodes: &NodeList) -> Result<(), Refusal> {
    row.check(slots).map_err(Refusal::Rejected)?;
    match row.wish.node() {
        Some(id) => nodes.member(id).map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(wish: Wish, by: &str, reason: &str, at_ms: i64) -> WishRow {
        WishRow { wish, by: by.into(), reason: reason.into(), at_ms }
    }

    fn rows() -> [(WishRow, &'static str); 4] {
        [
            (
                row(Wish::Cordon { node: "a#1".into() }, "ada", "why", 5),
                "0101000005000000000000000300612331030061646103007768794ff7724e",
            ),
            (row(Wish::Drain { node: "a#1".into() }, "", "", -1), "01020000ffffffffffffffff0300612331000000005236f2e0"),
            (
                row(Wish::Pin { slot: 7, name: "a".into() }, "ada", "ø", 5),
                "01030700050000000000000001006103006164610200c3b8d3db93ae",
            ),
            (
                row(Wish::Move { slot: 65_535, to: "b#2".into() }, "ada", "why", 5),
                "0104ffff050000000000000003006223320300616461030077687902accc0e",
            ),
        ]
    }

    #[test]
    fn stored_wishes_are_frozen() {
        for (row, golden) in rows() {
            assert_eq!(data_encoding::HEXLOWER.encode(&row.encode()), golden);
            assert_eq!(WishRow::decode(&row.encode()), Ok(row));
        }
        let keys = [Subject::Node("a#1".into()).key(), Subject::Slot(7).key()];
        assert_eq!(keys, ["n:a#1".to_owned(), "s:7".to_owned()]);
    }

    #[test]
    fn a_wish_of_a_later_version_is_read_and_a_damaged_one_is_not() {
        for (row, _) in rows() {
            let bytes = row.encode();
            let mut later = bytes[..bytes.len() - 4].to_vec();
            later.extend_from_slice(b"what came later");
            let checksum = crc32c::crc32c(&later);
            put_u32(&mut later, checksum);
            assert_eq!(WishRow::decode(&later), Ok(row));
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 4;
                assert!(WishRow::decode(&damaged).is_err() && WishRow::decode(&bytes[..at]).is_err(), "byte {at}");
            }
        }
    }
}
