//! The node list of a cluster, and the hand-over of slots: what the nodes of a cluster know of each other
//! lies in the store that they share. (Who owns what is part of the journal: see [`Journal::claim`].)
//!
//! The store keeps no clock for it. A node that lives raises its counter; how long a counter has to stand
//! still before its node counts as gone is for those who watch it to decide.

use async_trait::async_trait;

use super::bytes::{FrameError, Reader, put_u16, put_u32, put_u64};
use super::{Epoch, Journal, Refusal, Slot, SlotHead, StoreError};

/// The longest id, name and address, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// Most nodes that one node can say it does not reach.
pub const UNREACHABLE_MAX: usize = 1_024;

/// What a node is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// In the list, and not yet ready for slots.
    Joining,
    Serving,
    /// Gives its slots away, and takes none.
    Draining,
    /// Gone for good: this id never comes back. Written by [`Membership::leave`] and by nothing else.
    Left,
}

/// A row of the node list: one incarnation of one process (a restart is a new node).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Unique for ever. It is the owner's name in [`SlotHead::owner`] and [`super::Batch::owner`].
    pub id: String,
    /// What operators call it; a restart keeps it.
    pub name: String,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// Where other nodes reach it, `host:port`.
    pub link: String,
    /// The oldest and the newest version of events, messages and plans that it reads.
    pub reads: (u16, u16),
    /// The version that it writes.
    pub writes: u16,
    /// Grows by one with each renewal. It says that the node lives, and nothing about time.
    pub lease: u64,
    pub state: NodeState,
    /// Ids of the nodes that it cannot reach over the link.
    pub unreachable: Vec<String>,
}

/// The node list and planned moves. Everything here is one atomic step, is durable when it answers, and is
/// what every handle on the store reads from then on. After [`StoreError::Unknown`] it may have happened, or
/// may still happen: read the list (or [`Journal::heads`]) to learn which, and for slots claim first.
///
/// An order is promised only one after the other: a claim or a transfer that is *asked for* after a leave
/// was answered sees it; one that is on its way at the same time may go either way. (Only a node itself
/// leaves, so no one is surprised; and whoever finds a slot with an owner that has left may take it.)
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Enters a node, with the lease counter and the state that the row says. An id enters once, for ever:
    /// [`Refusal::Conflict`] when the list has it, whatever has become of it.
    /// [`Refusal::Rejected`] when the row cannot be stored ([`NodeRow::check`]) or says that it has left.
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError>;

    /// Raises the lease counter by one, if it is `node.lease`, and replaces the rest of the row by what `node`
    /// says; the answer is the new counter. [`Refusal::Conflict`] when the counter is another one (an earlier
    /// renewal of unknown outcome was made: read the list); [`Refusal::NotMember`] when the node has left or
    /// never joined; [`Refusal::Rejected`] as for `join`.
    ///
    /// That it succeeds says only that the row is there: others may have taken every slot meanwhile, while the node's
    /// machine, and its clock with it, stood still. So who renews also
    /// - looks with each renewal whether a slot that it must own is still its own ([`Journal::head`]), and counts the lease
    ///   from when the *renewal* was sent;
    /// - gives a renewal up soon enough for others to follow within the lease, and reads the counter when the next one is
    ///   a conflict;
    /// - does not renew while what it writes does not settle: a store may take the row and not the records.
    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError>;

    /// Marks a node as left, for good; the rest of its row stays. Leaving twice is fine. From then on it can
    /// neither come back, renew, claim nor be given a slot. Its slots stay in its name until somebody claims
    /// them, and so does what it may write there: leaving is the last thing that a node does.
    /// [`Refusal::NotMember`] when it never joined.
    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError>;

    /// The whole list by id (as bytes), those that have left included.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;

    /// Hands slots over: where a slot is still `from`'s at the epoch given, it becomes `to`'s at epoch + 1.
    /// Each slot is one atomic step of its own; the answers come in the order asked, each the slot's head
    /// after the transfer. Refused, and checked in this order: [`Refusal::Rejected`], the store has no such
    /// slot; [`Refusal::NotMember`], `to` has left or never joined; [`Refusal::Fenced`], another owner or
    /// epoch. What [`Journal::claim`] says of what came before, and of new epochs, holds here too.
    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError>;
}

/// A whole store: what every backend is.
pub trait Store: Journal + Membership {}

impl<S: Journal + Membership + ?Sized> Store for S {}

impl NodeState {
    const ALL: [NodeState; 4] = [NodeState::Joining, NodeState::Serving, NodeState::Draining, NodeState::Left];

    /// The number that it is stored as. Frozen.
    pub fn code(self) -> u8 {
        match self {
            NodeState::Joining => 1,
            NodeState::Serving => 2,
            NodeState::Draining => 3,
            NodeState::Left => 4,
        }
    }

    pub fn of_code(code: u8) -> Option<NodeState> {
        NodeState::ALL.into_iter().find(|state| state.code() == code)
    }
}

const FORMAT: u8 = 1;

impl NodeRow {
    /// Whether the row can be entered or renewed. The text says why not.
    pub fn check(&self) -> Result<(), String> {
        let texts =
            [("id", &self.id), ("name", &self.name), ("http address", &self.http), ("link address", &self.link)];
        let unreachable = self.unreachable.iter().map(|id| ("id of an unreachable node", id));
        for (what, text) in texts.into_iter().chain(unreachable) {
            if text.len() > TEXT_BYTES_MAX {
                return Err(format!("a node's {what} of {} bytes: at most {TEXT_BYTES_MAX}", text.len()));
            }
            // Not every store can keep a zero byte in a text.
            if text.contains('\0') {
                return Err(format!("a node's {what} with a zero byte"));
            }
        }
        if self.id.is_empty() {
            return Err("a node without an id".to_owned());
        }
        if self.unreachable.len() > UNREACHABLE_MAX {
            return Err(format!("a node that does not reach more than {UNREACHABLE_MAX} others"));
        }
        match self.state {
            NodeState::Joining | NodeState::Serving | NodeState::Draining => Ok(()),
            NodeState::Left => Err("a node leaves by leaving, not by a row that says so".to_owned()),
        }
    }

    /// The row as bytes, for stores that keep it in one piece: format 1, state, reads (2), writes, lease, the
    /// four texts, the unreachable (a count and texts), integers little-endian and texts behind a u16 length;
    /// then a crc32c of all that. What later versions add comes between the last field and the checksum, and
    /// is passed over by those who do not know it: the nodes of a cluster need not be of one version.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT, self.state.code()];
        put_u16(&mut out, self.reads.0);
        put_u16(&mut out, self.reads.1);
        put_u16(&mut out, self.writes);
        put_u64(&mut out, self.lease);
        for text in [&self.id, &self.name, &self.http, &self.link] {
            put_text(&mut out, text);
        }
        put_u16(&mut out, self.unreachable.len() as u16);
        self.unreachable.iter().for_each(|id| put_text(&mut out, id));
        let checksum = crc32c::crc32c(&out);
        put_u32(&mut out, checksum);
        out
    }

    /// Reads what [`NodeRow::encode`] gave, in this or a later version.
    pub fn decode(bytes: &[u8]) -> Result<NodeRow, FrameError> {
        let whole = Reader { bytes, at: 0 };
        whole.need(4, "checksum")?;
        let (body, checksum) = bytes.split_at(bytes.len() - 4);
        let expected = Reader { bytes: checksum, at: 0 }.u32("checksum")?;
        let found = crc32c::crc32c(body);
        if found != expected {
            return Err(FrameError::Checksum { expected, found });
        }
        let mut reader = Reader { bytes: body, at: 0 };
        reader.expect_u8("node row format", FORMAT)?;
        let code = reader.u8("node state")?;
        let unknown = FrameError::Unknown { what: "node state", at: 1, found: u64::from(code) };
        let state = NodeState::of_code(code).ok_or(unknown)?;
        let reads = (reader.u16("oldest version read")?, reader.u16("newest version read")?);
        let writes = reader.u16("version written")?;
        let lease = reader.u64("lease counter")?;
        let mut text = |what| reader.text(what).map(str::to_owned);
        let (id, name) = (text("node id")?, text("node name")?);
        let (http, link) = (text("http address")?, text("link address")?);
        let count = usize::from(reader.u16("number of unreachable nodes")?);
        let mut unreachable = Vec::with_capacity(reader.plausible(count, 2));
        for _ in 0..count {
            unreachable.push(reader.text("unreachable node")?.to_owned());
        }
        Ok(NodeRow { id, name, http, link, reads, writes, lease, state, unreachable })
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u16(out, text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

/// Judging by a node list in our own process: the same for every store that has one there. (A shared store
/// judges in its own transaction, by the same rules.)
#[derive(Debug, Clone, Default)]
pub struct NodeList(std::collections::BTreeMap<String, NodeRow>);

impl NodeList {
    /// The list that a store has read: a later row of the same id replaces an earlier one.
    pub fn of(rows: impl IntoIterator<Item = NodeRow>) -> NodeList {
        NodeList(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
    }

    pub fn rows(&self) -> Vec<NodeRow> {
        self.0.values().cloned().collect()
    }

    /// Puts a row that was judged, and is durable or about to be.
    pub fn put(&mut self, row: NodeRow) {
        self.0.insert(row.id.clone(), row);
    }

    /// The row that a join comes to.
    pub fn joined(&self, node: &NodeRow) -> Result<NodeRow, Refusal> {
        node.check().map_err(Refusal::Rejected)?;
        if self.0.contains_key(&node.id) {
            Err(Refusal::Conflict(format!("the node list has had {} before", node.id)))
        } else {
            Ok(node.clone())
        }
    }

    /// The row that a renewal comes to.
    pub fn renewed(&self, node: &NodeRow) -> Result<NodeRow, Refusal> {
        node.check().map_err(Refusal::Rejected)?;
        let known = self.member(&node.id)?;
        if known.lease == node.lease {
            Ok(NodeRow { lease: node.lease + 1, ..node.clone() })
        } else {
            Err(Refusal::Conflict(format!("the lease of {} is at {}", node.id, known.lease)))
        }
    }

    /// The row that leaving comes to.
    pub fn left(&self, id: &str) -> Result<NodeRow, Refusal> {
        let known = self.0.get(id).ok_or_else(|| Refusal::NotMember(id.to_owned()))?;
        Ok(NodeRow { state: NodeState::Left, ..known.clone() })
    }

    /// The row of a node that has not left.
    pub fn member(&self, id: &str) -> Result<&NodeRow, Refusal> {
        match self.0.get(id) {
            Some(known) if known.state != NodeState::Left => Ok(known),
            Some(_) | None => Err(Refusal::NotMember(id.to_owned())),
        }
    }

    /// Whether a node may claim: unless it has left. (One that never joined may: a single node has no list.)
    pub fn may_claim(&self, owner: &str) -> Result<(), Refusal> {
        match self.0.get(owner) {
            Some(known) if known.state == NodeState::Left => Err(Refusal::NotMember(owner.to_owned())),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> NodeRow {
        NodeRow {
            id: "a#1".into(),
            name: "a".into(),
            http: "h:1".into(),
            link: "l:2".into(),
            reads: (1, 3),
            writes: 2,
            lease: 7,
            state: NodeState::Draining,
            unreachable: vec!["b#2".into(), "".into()],
        }
    }

    #[test]
    fn stored_rows_are_frozen() {
        let hex: String = row().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(NodeRow::decode(&row().encode()), Ok(row()));
    }
    const GOLDEN: &str =
        "0103010003000200070000000000000003006123310100610300683a3103006c3a320200030062233200008cb8f34c";

    #[test]
    fn a_row_of_a_later_version_is_read_and_a_damaged_one_is_not() {
        let bytes = row().encode();
        let mut later = bytes[..bytes.len() - 4].to_vec();
        later.extend_from_slice(b"what came later");
        let checksum = crc32c::crc32c(&later);
        put_u32(&mut later, checksum);
        assert_eq!(NodeRow::decode(&later), Ok(row()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(NodeRow::decode(&damaged).is_err(), "byte {at}");
            assert!(NodeRow::decode(&bytes[..at]).is_err(), "cut off at {at}");
        }
    }
}
