//! What two nodes say to each other before they are linked, without I/O.
//!
//! | message | from, to | bytes |
//! | --- | --- | --- |
//! | open | dialer to acceptor | what this is, version, 32 random bytes |
//! | challenge | acceptor to dialer | 32 random bytes |
//! | proof | dialer to acceptor | a tag of all before |
//! | hello | acceptor to dialer | who it is, and a tag of all before |
//! | hello | dialer to acceptor | the same |
//! | verdict | acceptor to dialer | whether the link is made, and a tag of all before |
//!
//! A tag is an HMAC by the cluster's secret over everything that was said, each piece with its name, and what identifies the
//! TLS connection where there is one: it can be used neither in another connection nor in the other direction. The dialer
//! proves itself first, so whoever knocks without the secret gets 32 random bytes and a closed connection, and learns not even
//! a name. Who answers in place of a node gets a tag: it can try secrets against it, so secrets are long.
//!
//! Without TLS the frames that follow are neither hidden nor protected. Whoever can change packets on the way between nodes
//! can then speak for them.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::super::ownership::NodeId;
use super::secret::Secret;

pub const MAGIC: &[u8; 8] = b"souklink";
/// The version of these messages.
pub const VERSION: u16 = 1;
pub const NONCE: usize = 32;
pub const TAG: usize = 32;
pub const OPEN: usize = MAGIC.len() + 2 + NONCE;
/// The longest hello, and by far the longest message of the handshake.
pub const HELLO_MAX: usize = 2_048;
const TEXT_MAX: usize = 256;

/// Whatever is said is told to it, and it makes and checks the tags.
pub struct Transcript {
    secret: Secret,
    digest: [u8; 32],
}

impl Transcript {
    /// `channel` identifies the TLS connection; empty without TLS.
    pub fn new(secret: Secret, channel: &[u8]) -> Transcript {
        let mut transcript = Transcript { secret, digest: [0; 32] };
        transcript.say("souk link", channel);
        transcript
    }

    pub fn say(&mut self, name: &str, bytes: &[u8]) {
        let mut hash = Sha256::new();
        hash.update(self.digest);
        for piece in [name.as_bytes(), bytes] {
            hash.update((piece.len() as u64).to_le_bytes());
            hash.update(piece);
        }
        self.digest = hash.finalize().into();
    }

    pub fn tag(&self) -> [u8; TAG] {
        self.mac().finalize().into_bytes().into()
    }

    /// In a time that does not depend on where the tag is wrong.
    pub fn is_tag(&self, tag: &[u8]) -> bool {
        self.mac().verify_slice(tag).is_ok()
    }

    fn mac(&self) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.bytes()).expect("HMAC takes keys of any length");
        mac.update(&self.digest);
        mac
    }
}

/// Who a node is, and what the other end needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub node: NodeId,
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Which cluster it belongs to.
    pub cluster: String,
    /// The oldest and the newest version of messages that it reads.
    pub versions: (u16, u16),
    /// What it calls this connection: the other end writes it into every frame.
    pub number: u64,
    /// What the other end called the last link between them that this node has lost; 0 where there was none.
    pub previous: u64,
    /// The actor that takes the frames.
    pub actor: u64,
    /// How many frames it takes on credit.
    pub window: u8,
    pub message_max_bytes: u32,
}

/// What came is no hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotHello;

/// The fields by their numbers. New ones get new numbers; who does not know a number passes over it.
mod field {
    pub const NODE: u8 = 1;
    pub const NAME: u8 = 2;
    pub const ADDRESS: u8 = 3;
    pub const CLUSTER: u8 = 4;
    pub const VERSIONS: u8 = 5;
    pub const NUMBER: u8 = 6;
    pub const PREVIOUS: u8 = 7;
    pub const ACTOR: u8 = 8;
    pub const WINDOW: u8 = 9;
    pub const MESSAGE_MAX: u8 = 10;
}

impl Hello {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number: u8, value: &[u8]| {
            let value = &value[..value.len().min(TEXT_MAX)];
            bytes.push(number);
            bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
            bytes.extend_from_slice(value);
        };
        put(field::NODE, self.node.as_str().as_bytes());
        put(field::NAME, self.name.as_bytes());
        put(field::ADDRESS, self.address.as_bytes());
        put(field::CLUSTER, self.cluster.as_bytes());
        let (oldest, newest) = self.versions;
        put(field::VERSIONS, &[oldest.to_le_bytes(), newest.to_le_bytes()].concat());
        put(field::NUMBER, &self.number.to_le_bytes());
        put(field::PREVIOUS, &self.previous.to_le_bytes());
        put(field::ACTOR, &self.actor.to_le_bytes());
        put(field::WINDOW, &[self.window]);
        put(field::MESSAGE_MAX, &self.message_max_bytes.to_le_bytes());
        bytes
    }

    pub fn decode(mut bytes: &[u8]) -> Result<Hello, NotHello> {
        let mut fields: [Option<&[u8]>; 11] = [None; 11];
        while let Some((number, rest)) = bytes.split_first() {
            let (length, rest) = rest.split_first_chunk().ok_or(NotHello)?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(NotHello)?;
            if let Some(field) = fields.get_mut(usize::from(*number)) {
                *field = Some(value);
            }
            bytes = rest;
        }
        let value = |number: u8| fields[usize::from(number)].ok_or(NotHello);
        let text = |number: u8| -> Result<String, NotHello> {
            let value = value(number)?;
            if value.len() > TEXT_MAX {
                return Err(NotHello);
            }
            // They are shown in logs.
            let text = std::str::from_utf8(value).map_err(|_| NotHello)?;
            if text.chars().any(char::is_control) { Err(NotHello) } else { Ok(text.to_owned()) }
        };
        let long = |number: u8| Ok(u64::from_le_bytes(exactly(value(number)?)?));
        let [a, b, c, d] = exactly(value(field::VERSIONS)?)?;
        let [window] = exactly(value(field::WINDOW)?)?;
        let hello = Hello {
            node: NodeId::of(&text(field::NODE)?),
            name: text(field::NAME)?,
            address: text(field::ADDRESS)?,
            cluster: text(field::CLUSTER)?,
            versions: (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
            number: long(field::NUMBER)?,
            previous: long(field::PREVIOUS)?,
            actor: long(field::ACTOR)?,
            window,
            message_max_bytes: u32::from_le_bytes(exactly(value(field::MESSAGE_MAX)?)?),
        };
        let is_usable = !hello.node.as_str().is_empty() && hello.number != 0 && hello.window > 0;
        if is_usable { Ok(hello) } else { Err(NotHello) }
    }
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], NotHello> {
    value.try_into().map_err(|_| NotHello)
}

/// Why two nodes that trust each other are not linked by this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    OtherCluster {
        ours: String,
        theirs: String,
    },
    Versions {
        ours: (u16, u16),
        theirs: (u16, u16),
    },
    /// Somebody else answers where this node was looked for.
    OtherNode {
        found: NodeId,
    },
    /// The connection leads back to the node that made it.
    Myself,
    /// There is a link between the two already.
    AlreadyLinked,
    /// The other one is connecting just now, and its connection counts.
    Yield,
    Stopping,
}

impl Refusal {
    /// Whether it is nothing that an operator has to know: it comes about when two nodes connect to each other at once.
    pub fn is_ordinary(&self) -> bool {
        matches!(self, Refusal::AlreadyLinked | Refusal::Yield | Refusal::Stopping)
    }

    /// What the verdict says. 0 is: the link is made.
    pub fn code(&self) -> u8 {
        match self {
            Refusal::OtherCluster { .. } => 1,
            Refusal::Versions { .. } => 2,
            Refusal::OtherNode { .. } => 3,
            Refusal::Myself => 4,
            Refusal::AlreadyLinked => 5,
            Refusal::Yield => 6,
            Refusal::Stopping => 7,
        }
    }

    /// What keeps two nodes apart whoever connects, as `ours` sees it.
    pub fn between(ours: &Hello, theirs: &Hello) -> Option<Refusal> {
        if ours.node == theirs.node {
            return Some(Refusal::Myself);
        }
        if ours.cluster != theirs.cluster {
            return Some(Refusal::OtherCluster { ours: ours.cluster.clone(), theirs: theirs.cluster.clone() });
        }
        let oldest = ours.versions.0.max(theirs.versions.0);
        let newest = ours.versions.1.min(theirs.versions.1);
        (oldest > newest).then_some(Refusal::Versions { ours: ours.versions, theirs: theirs.versions })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherCluster { ours, theirs } => {
                write!(
                    f,
                    "it belongs to another cluster ({theirs}; this node: {ours}): give both the same store, \
                     or each cluster a secret of its own"
                )
            }
            Refusal::Versions { ours, theirs } => write!(
                f,
                "it reads messages of versions {} to {}, this node {} to {}: no version is known to both; \
                 upgrade by way of a release that knows both",
                theirs.0, theirs.1, ours.0, ours.1
            ),
            Refusal::OtherNode { found } => {
                write!(f, "{found} answers there: a restarted node, or two nodes with the same cluster.advertise")
            }
            Refusal::Myself => f.write_str("that is this node itself: check cluster.advertise of the other one"),
            Refusal::AlreadyLinked => f.write_str("they are linked already"),
            Refusal::Yield => f.write_str("the other node's own connection counts"),
            Refusal::Stopping => f.write_str("the node is stopping"),
        }
    }
}
