//! The bytes in which an entity is asked by another node, and answers it. There is no network here: a link takes these
//! bytes, whatever else its frames hold, and gives them to the other side.
//!
//! **What crosses.** A [`Request`] is what of an [`Envelope`](super::envelope::Envelope) means something elsewhere: whom it
//! is for, under which request id, from whom, how much time is *left* (the clocks of nodes are never compared), which epoch
//! the sender knows the slot to have, how often it was forwarded, and the question. A [`Response`] is the answer. The slot
//! is not among it: whoever gets the request computes it from the address. Which request a response belongs to is the
//! frame's business.
//!
//! **What does not.** An answer to what an entity owed, a wake, and a resume are between a slot and the node that has it.
//! Requests to gateways go out from there too. [`WireError::Internal`] says so.
//!
//! **Outcome and receipt.** The outcome in a response has the very bytes that a receipt keeps: codes, versions and
//! readers are the same. What is around it differs. A receipt keeps no state and no time, because a repeat renders them again
//! from the journal; a response brings them, and says whether it is a repeat. A momentary refusal
//! ([`Kind::is_momentary`](crate::actors::entity::Kind::is_momentary)) has no receipt, and crosses all the same.
//!
//! **States** have one version, no old readers (as in snapshots). A state of another version, and one that is larger than
//! a message may be, is left out: the asker has the version number, and makes the state from the journal, as for a repeat.
//!
//! **Versions.** Every enum here and in the kinds has a code and a version for each variant, and all are listed in
//! `tests/golden/numbers.txt` with the [`WireVersion`] since which they are written. A node tells the highest wire version that
//! it reads (ours, or what `cluster.wire_max` holds it at); everyone writes in the lowest of those that live nodes tell. A
//! release that adds a number raises [`WireVersion::OURS`], and the number says `since` with it (`stored_enum!`). Where a
//! variant got a new version, `before` says how it is written for the wire versions before. A variant that is quite new is
//! refused to a reader who does not know it: [`WireError::TooNew`].
//!
//! | wire version | what came with it |
//! | --- | --- |
//! | 1 | everything that is not listed here |
//! | 2 | [`NodeQuestion::Load`] and its answer |
//!
//! An enum in a field is written for the same reader where the variant names the field under `nested`; one inside of a
//! struct, and a `coded_enum!`, is not looked at. The payloads of commands and outcomes are written for the reader as well. What
//! is stored (events, receipts, snapshots) is always written in the newest form, whatever the wire version, though a node of the
//! release before may take over the slot and read it. So a new version of those may only be written by a release after the one that
//! brought its reader, until the writer of records knows the wire version, too.
//!
//! **Trust.** A peer is a node that has proven itself to the link, but its bytes are read as if it had not: whatever they
//! are, the result is a valid value or an error, and no more memory is taken than the bytes can fill. Values that
//! prove themselves are proven again. Bytes that cannot be read are answered [`Response::Unsupported`].
//!
//! **Secrets.** What a kind calls [`Secret`](crate::actors::values::Secret) crosses as it is stored: hashes of
//! passwords and of refresh tokens, payment tokens on their way into an order, and the keyring's seeds, which every node needs.
//! So the link must be encrypted, and must know its peer. What no command or state has cannot cross: passwords (the edge
//! hashes and verifies them), access and guest tokens (derived where they are shown), and the store's credentials. What
//! [`Question::Inspect`] brings has its secrets blacked out already, where the entity is; but the state that comes with it
//! where somebody verifies the entity has them, as any state.
//!
//! Nothing here is on the way of a request that stays on its node.

mod asking_node;
mod of_node;
mod request;
mod response;
mod routed;

pub use asking_node::{decode_node_answer, decode_node_question, encode_node_answer, encode_node_question};
pub use of_node::{NodeAnswer, NodeQuestion};
pub use request::{Arrived, Question, Request, Route, decode_request, encode_request};
pub use response::{Response, Stay, decode_response, encode_response, encode_unsupported};
pub use routed::Routed;

use serde::{Deserialize, Serialize};

pub use crate::actors::entity::WireVersion;
use crate::actors::entity::{Bytes, CodecError, Stored, TooNew};
use crate::persistence::{Payload, frame};

/// The largest request or response. A command's effect has to fit into a record in any case.
pub const MESSAGE_BYTES_MAX: usize = frame::RECORD_BYTES_MAX;

/// Why something does not cross.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Read: a number that this program does not know, written by a newer one.
    #[error("no reader for code {code} version {version}: written by a newer souk")]
    Unknown { code: u8, version: u16 },
    /// Read: not the bytes of a message.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Write: a message of the runtime to itself.
    #[error("a message of the runtime to itself")]
    Internal,
    /// Write: larger than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {bytes} bytes: at most {MESSAGE_BYTES_MAX}")]
    TooLarge { bytes: usize },
    /// Write: no form of it is known to a reader of this wire version.
    #[error("code {code} is not known to a reader of wire version {wire}")]
    TooNew { code: u8, wire: u16 },
    /// Write: the other node reads only what was before [`WireVersion::FIRST`].
    #[error("wire version {0} was never written")]
    NeverWritten(u16),
    /// Write: of another kind than the address says. A defect of this program.
    #[error("not of the kind that it is sent to")]
    OtherKind,
}

impl From<CodecError> for WireError {
    fn from(error: CodecError) -> WireError {
        match error {
            CodecError::Unknown { code, version } => WireError::Unknown { code, version },
            CodecError::Malformed(why) => WireError::Malformed(why),
        }
    }
}

impl From<TooNew> for WireError {
    fn from(TooNew { code, wire }: TooNew) -> WireError {
        WireError::TooNew { code, wire: wire.0 }
    }
}

/// A kind's payload in a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    type_number: u16,
    version: u16,
    bytes: Bytes<'static>,
}

impl From<Payload> for Carried {
    fn from(Payload { type_number, version, bytes }: Payload) -> Carried {
        Carried { type_number, version, bytes: Bytes(bytes.into()) }
    }
}

impl From<Carried> for Payload {
    fn from(Carried { type_number, version, bytes }: Carried) -> Payload {
        Payload { type_number, version, bytes: bytes.0.into_owned() }
    }
}

/// A message: its code (1 byte), its version (2, little-endian), its fields; for a reader of nothing newer than `wire`.
fn put(message: &impl Stored, wire: WireVersion) -> Result<Vec<u8>, WireError> {
    if wire < WireVersion::FIRST {
        return Err(WireError::NeverWritten(wire.0));
    }
    let stored = if wire < WireVersion::OURS { message.to_stored_for(wire)? } else { message.to_stored() };
    let (code, version, fields) = stored;
    let mut bytes = Vec::with_capacity(3 + fields.len());
    bytes.push(code);
    bytes.extend(version.to_le_bytes());
    bytes.extend(fields);
    match bytes.len() {
        len if len > MESSAGE_BYTES_MAX => Err(WireError::TooLarge { bytes: len }),
        _ => Ok(bytes),
    }
}

fn take<T: Stored>(bytes: &[u8]) -> Result<T, WireError> {
    match bytes {
        _ if bytes.len() > MESSAGE_BYTES_MAX => Err(WireError::Malformed(format!("{} bytes", bytes.len()))),
        [code, low, high, fields @ ..] => Ok(T::from_stored(*code, u16::from_le_bytes([*low, *high]), fields)?),
        _ => Err(WireError::Malformed("shorter than any message".into())),
    }
}

/// What the runtime itself says between nodes, for the golden bytes.
#[cfg(test)]
pub fn faces() -> Vec<crate::actors::testing::golden::Face> {
    use crate::actors::entity::Caller;
    use crate::actors::runtime::counting::Counting;
    use crate::actors::runtime::envelope::{AskError, Keep};
    use crate::actors::testing::golden::Face;
    vec![
        Face::of::<Request>("request"),
        Face::of::<Question>("question"),
        Face::of::<NodeQuestion>("node_question"),
        Face::of::<NodeAnswer>("node_answer"),
        Face::of::<Counting>("counting"),
        Face::of::<Response>("response"),
        Face::of::<AskError>("refusal"),
        Face::of::<Caller>("caller"),
        Face::of::<Keep>("keep"),
    ]
}

#[cfg(test)]
mod tests;
