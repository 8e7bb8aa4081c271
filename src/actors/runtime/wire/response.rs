//! What an entity answers to another node.

use serde::{Deserialize, Serialize};

use super::of_node::NodeAnswer;
use super::{Carried, MESSAGE_BYTES_MAX, WireError, WireVersion, put, take};
use crate::actors::entity::{CodecError, codec};
use crate::actors::runtime::envelope::{AskError, Operated, OwedStep, Reply, Residence};
use crate::actors::runtime::erased::{Erased, KindSpec};
use crate::actors::values::Time;
use crate::stored_enum;

stored_enum! {
    /// From the node that has the entity, to the one that has asked. Nothing follows.
    pub enum Response {
        /// The entity has answered. See [`Reply`], which it is between nodes.
        (1, 2) => Answered {
            outcome: Option<Carried>,
            version: u64,
            seq: u64,
            at: Time,
            /// Left out also where it would be too large.
            state: Option<Carried>,
            replayed: bool,
            residence: Option<Box<Stay>>,
        },
        /// No outcome, and what the caller may do.
        (2, 1) => Refused(why: AskError) nested [why],
        /// This node cannot read the request: nothing was done.
        (3, 1) => Unsupported,
        /// What came of what an operator did with the entity, and when.
        (4, 1) => Operated { came: Operated, at: Time },
        /// What the node itself was asked.
        (5, 1) => OfNode(answer: NodeAnswer) nested [answer],
    }
    old {
        (1, 1) => |bytes| codec::decode::<AnsweredV1>(bytes).map(Response::from),
    }
}

/// Without the sequence of the entity's last record.
type AnsweredV1 = (Option<Carried>, u64, Time, Option<Carried>, bool, Option<Box<Stay>>);

impl From<AnsweredV1> for Response {
    fn from((outcome, version, at, state, replayed, residence): AnsweredV1) -> Response {
        Response::Answered { outcome, version, seq: 0, at, state, replayed, residence }
    }
}

/// How an entity stands in memory: a [`Residence`] between nodes. Its state is JSON, with secrets blacked out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stay {
    resident: bool,
    epoch: u64,
    version: u64,
    last_activity: Option<Time>,
    owed: Vec<OwedStep>,
    wake_at: Option<Time>,
    receipts: u64,
    panics: u32,
    size_bytes: u64,
    state: String,
}

impl From<&Residence> for Stay {
    fn from(residence: &Residence) -> Stay {
        let Residence { resident, epoch, version, last_activity, owed, wake_at, receipts, panics, size_bytes, state } =
            residence;
        Stay {
            resident: *resident,
            epoch: *epoch,
            version: *version,
            last_activity: *last_activity,
            owed: owed.clone(),
            wake_at: *wake_at,
            receipts: *receipts as u64,
            panics: *panics,
            size_bytes: *size_bytes as u64,
            state: state.to_string(),
        }
    }
}

impl TryFrom<Stay> for Residence {
    type Error = WireError;
    fn try_from(stay: Stay) -> Result<Residence, WireError> {
        let malformed = |why: String| WireError::Malformed(why);
        let Stay { resident, epoch, version, last_activity, owed, wake_at, receipts, panics, size_bytes, state } = stay;
        Ok(Residence {
            resident,
            epoch,
            version,
            last_activity,
            owed,
            wake_at,
            receipts: usize::try_from(receipts).map_err(|error| malformed(error.to_string()))?,
            panics,
            size_bytes: usize::try_from(size_bytes).map_err(|error| malformed(error.to_string()))?,
            state: serde_json::from_str(&state).map_err(|error| malformed(error.to_string()))?,
        })
    }
}

/// The bytes of an answer of an entity of this kind, in a form that `wire` has.
pub fn encode_response(
    answer: &Result<Reply, AskError>,
    spec: &dyn KindSpec,
    wire: WireVersion,
) -> Result<Vec<u8>, WireError> {
    let reply = match answer {
        Ok(reply) => reply,
        Err(AskError::Unsupported) => return encode_unsupported(wire),
        Err(why) => return put(&Response::Refused(why.clone()), wire),
    };
    let operated = reply.outcome.as_ref().and_then(|outcome| outcome.downcast_ref::<Operated>());
    if let Some(came) = operated {
        return put(&Response::Operated { came: *came, at: reply.at }, wire);
    }
    let Reply { outcome, version, seq, epoch: _, at, state, replayed, residence } = reply;
    let outcome = match outcome {
        Some(outcome) => Some(spec.outcome_payload(outcome, wire)?.ok_or(WireError::OtherKind)?.into()),
        None => None,
    };
    let state = state.as_ref().map(|state| spec.state_payload(state).ok_or(WireError::OtherKind));
    let state = state.transpose()?.map(Carried::from);
    let state = state.filter(|state| state.bytes.0.len() <= MESSAGE_BYTES_MAX / 2);
    let residence = residence.as_deref().map(|residence| Box::new(Stay::from(residence)));
    let (version, seq, at, replayed) = (*version, *seq, *at, *replayed);
    put(&Response::Answered { outcome, version, seq, at, state, replayed, residence }, wire)
}

/// The answer to a request that [`super::decode_request`] refuses, or the node to which it was passed on.
pub fn encode_unsupported(wire: WireVersion) -> Result<Vec<u8>, WireError> {
    put(&Response::Unsupported, wire)
}

/// Reads any answer of an entity of this kind that any wire version up to ours has.
pub fn decode_response(bytes: &[u8], spec: &dyn KindSpec) -> Result<Result<Reply, AskError>, WireError> {
    let (outcome, version, seq, at, state, replayed, residence) = match take(bytes)? {
        Response::Answered { outcome, version, seq, at, state, replayed, residence } => {
            (outcome, version, seq, at, state, replayed, residence)
        }
        Response::Refused(why) => return Ok(Err(why)),
        Response::Operated { came, at } => return Ok(Ok(Reply::operated(came, at))),
        Response::Unsupported => return Ok(Err(AskError::Unsupported)),
        Response::OfNode(_) => return Err(WireError::Malformed("a node's own answer".into())),
    };
    let outcome = outcome.map(|outcome| spec.outcome(&outcome.into())).transpose()?;
    let state = state.and_then(|state| state_if_readable(state, spec).transpose()).transpose()?;
    let residence = residence.map(|stay| Residence::try_from(*stay)).transpose()?.map(Box::new);
    Ok(Ok(Reply { outcome, version, seq, epoch: 0, at, state, replayed, residence }))
}

/// `None` for a state of another version.
fn state_if_readable(state: Carried, spec: &dyn KindSpec) -> Result<Option<Erased>, WireError> {
    match spec.state(&state.into()) {
        Ok(state) => Ok(Some(state)),
        Err(CodecError::Unknown { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
