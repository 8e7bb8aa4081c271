//! A row of the node list, and its bytes.

use super::super::bytes::{FrameError, Reader, checked, put_i64, put_text, put_u16, put_u32, put_u64};

/// The longest id, name and address, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// Most nodes that one node can say it does not reach.
pub const UNREACHABLE_MAX: usize = 1_024;
/// The weight of a node that says none.
pub const WEIGHT: u32 = 100;

/// What a node is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// In the list, and not yet ready for slots.
    Joining,
    Serving,
    /// Gives its slots away, and takes none.
    Draining,
    /// Gone for good: this id never comes back. Written by [`super::Membership::leave`] and by nothing else.
    Left,
}

/// A row of the node list: one incarnation of one process (a restart is a new node).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Unique for ever. It is the owner's name in [`super::SlotHead::owner`] and [`crate::persistence::Batch::owner`].
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
    /// Its share of the slots, in proportion to those of the others. 0: none.
    pub weight: u32,
    /// Where it stands, as operators name such places. May be empty.
    pub zone: String,
    /// The version of its program.
    pub version: String,
    /// When its process started, by its own clock; 0: not known.
    pub started_at_ms: i64,
}

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

/// What a row of before does not say.
impl Default for NodeRow {
    fn default() -> NodeRow {
        NodeRow {
            id: String::new(),
            name: String::new(),
            http: String::new(),
            link: String::new(),
            reads: (1, 1),
            writes: 1,
            lease: 0,
            state: NodeState::Joining,
            unreachable: Vec::new(),
            weight: WEIGHT,
            zone: String::new(),
            version: String::new(),
            started_at_ms: 0,
        }
    }
}

/// Whether a text can be kept. The reason ends a sentence.
pub(super) fn check_text(text: &str, bytes_max: usize) -> Result<(), String> {
    if text.len() > bytes_max {
        return Err(format!("of {} bytes: at most {bytes_max}", text.len()));
    }
    // Not every store can keep a zero byte in a text.
    if text.contains('\0') { Err("with a zero byte".to_owned()) } else { Ok(()) }
}

const FORMAT: u8 = 1;

impl NodeRow {
    /// Whether the row can be entered or renewed. The text says why not.
    pub fn check(&self) -> Result<(), String> {
        let texts = [
            ("id", &self.id),
            ("name", &self.name),
            ("http address", &self.http),
            ("link address", &self.link),
            ("zone", &self.zone),
            ("version", &self.version),
        ];
        let unreachable = self.unreachable.iter().map(|id| ("id of an unreachable node", id));
        for (what, text) in texts.into_iter().chain(unreachable) {
            check_text(text, TEXT_BYTES_MAX).map_err(|why| format!("a node's {what} {why}"))?;
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
    /// four texts, the unreachable (a count and texts), weight, zone, version, start, integers little-endian and texts
    /// behind a u16 length; then a crc32c of all that. What later versions add comes between the last field and the
    /// checksum, and is passed over by those who do not know it: the nodes of a cluster need not be of one version.
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
        put_u32(&mut out, self.weight);
        put_text(&mut out, &self.zone);
        put_text(&mut out, &self.version);
        put_i64(&mut out, self.started_at_ms);
        let checksum = crc32c::crc32c(&out);
        put_u32(&mut out, checksum);
        out
    }

    /// Reads what [`NodeRow::encode`] gave, in this or a later version.
    pub fn decode(bytes: &[u8]) -> Result<NodeRow, FrameError> {
        let mut reader = Reader { bytes: checked(bytes)?, at: 0 };
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
        let mut row = NodeRow { id, name, http, link, reads, writes, lease, state, unreachable, ..NodeRow::default() };
        // The first rows ended here.
        if !reader.is_at_end() {
            row.weight = reader.u32("weight")?;
            row.zone = reader.text("zone")?.to_owned();
            row.version = reader.text("version")?.to_owned();
            row.started_at_ms = reader.i64("start")?;
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a row of before is read as.
    fn first_row() -> NodeRow {
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
            ..NodeRow::default()
        }
    }

    fn row() -> NodeRow {
        NodeRow { weight: 250, zone: "west".into(), version: "1.2.3".into(), started_at_ms: -9, ..first_row() }
    }

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    fn of_hex(hex: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal")
    }

    #[test]
    fn stored_rows_are_frozen() {
        assert_eq!(hex(&row().encode()), GOLDEN);
        assert_eq!(NodeRow::decode(&of_hex(GOLDEN)), Ok(row()));
        assert_eq!(NodeRow::decode(&of_hex(FIRST)), Ok(first_row()));
        assert_eq!((first_row().weight, first_row().started_at_ms), (100, 0));
    }
    /// What was written before there was a weight.
    const FIRST: &str =
        "0103010003000200070000000000000003006123310100610300683a3103006c3a320200030062233200008cb8f34c";
    const GOLDEN: &str = "0103010003000200070000000000000003006123310100610300683a3103006c3a32020003006223320000fa00000004\
        00776573740500312e322e33f7ffffffffffffffe1a32e9b";

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
