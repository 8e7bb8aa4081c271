//! What is asked of an entity that another node has.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::of_node::NodeQuestion;
use super::{Carried, WireError, WireVersion, put, take};
use crate::actors::entity::Caller;
use crate::actors::kinds::Kinds;
use crate::actors::runtime::envelope::{Body, Envelope, Keep, Operation, ReplyTo, Wait};
use crate::actors::values::RequestId;
use crate::cluster::protocol::routing::HOPS_MAX;
use crate::persistence::record::Epoch;
use crate::persistence::{EntityKey, Slot};
use crate::stored_enum;

stored_enum! {
    /// From a node whose client, or whose entity, asks an entity that another node owns. A [`super::Response`] follows.
    pub enum Request {
        (1, 1) => Ask {
            /// The entity's kind and id. The receiver computes the slot.
            kind: u8,
            id: Arc<str>,
            /// What its receipt is found by.
            request: RequestId,
            caller: Caller,
            /// How much time is left when it is sent. The receiver's deadline is that much later than the arrival.
            remaining_ms: u32,
            /// Whether the answer should carry the state.
            want_state: bool,
            /// The slot's epoch as the sender knows it; 0: not at all. Who knows a lower one asks the store before it answers.
            epoch: Epoch,
            /// How often it was forwarded before.
            hops: u8,
            question: Question,
        } nested [caller, question],
        /// From a node that asks another one itself. A [`super::Response::OfNode`] follows.
        (2, 1) => OfNode(question: NodeQuestion) nested [question],
    }
}

impl Request {
    /// The code of what is asked of a node itself.
    pub(super) const OF_NODE: u8 = 2;
}

stored_enum! {
    /// What is asked. See [`Body`], which it is between nodes.
    pub enum Question {
        (1, 1) => Command { command: Carried, keep: Option<Keep>, if_version: Option<u64>, wait: Wait } nested [keep],
        (2, 1) => Read { wait: Wait },
        /// The stored outcome of the request, if there is one.
        (3, 1) => Repeat { fingerprint: [u8; 16], wait: Wait },
        /// How the entity stands in memory, for operators.
        (4, 1) => Inspect,
        /// What an operator does with it. [`super::Response::Operated`] follows.
        (5, 1) => Operate(operation: Operation),
    }
}

/// How a request has come here, or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The slot's epoch as the sender knows it; 0: not at all.
    pub epoch: Epoch,
    pub hops: u8,
}

/// A request that has been read, and proven to be one.
pub struct Arrived {
    pub key: EntityKey,
    pub request: RequestId,
    pub caller: Caller,
    pub remaining: Duration,
    pub want_state: bool,
    pub route: Route,
    pub body: Body,
}

impl Arrived {
    /// The request for the slot that has the entity here.
    pub fn into_envelope(self, slot: Slot, now: Instant, reply: ReplyTo) -> Envelope {
        let Arrived { key, request, caller, remaining, want_state, route: _, body } = self;
        Envelope { key, slot, request, caller, deadline: now + remaining, want_state, body, reply }
    }
}

/// The bytes of an envelope, without its `reply`, in a form that `wire` has. `now`: when they are sent.
pub fn encode_request(
    envelope: &Envelope,
    route: Route,
    kinds: &Kinds,
    now: Instant,
    wire: WireVersion,
) -> Result<Vec<u8>, WireError> {
    let Envelope { key, request, caller, deadline, want_state, body, .. } = envelope;
    let question = match body {
        Body::Command { command, keep, if_version, wait } => {
            let spec = kinds.by_number(key.kind).ok_or(WireError::OtherKind)?;
            let command = spec.command_payload(command, wire)?.ok_or(WireError::OtherKind)?.into();
            Question::Command { command, keep: *keep, if_version: *if_version, wait: *wait }
        }
        Body::Read { wait } => Question::Read { wait: *wait },
        Body::Repeat { fingerprint, wait } => Question::Repeat { fingerprint: *fingerprint, wait: *wait },
        Body::Inspect => Question::Inspect,
        Body::Operate(operation) => Question::Operate(*operation),
        Body::Answered { .. } | Body::Wake | Body::Resume => return Err(WireError::Internal),
    };
    let remaining_ms = deadline.saturating_duration_since(now).as_millis();
    let asked = Request::Ask {
        kind: key.kind,
        id: key.id.clone(),
        request: *request,
        caller: *caller,
        remaining_ms: u32::try_from(remaining_ms).unwrap_or(u32::MAX),
        want_state: *want_state,
        epoch: route.epoch,
        hops: route.hops,
        question,
    };
    put(&asked, wire)
}

/// Reads any request that any wire version up to ours has.
pub fn decode_request(bytes: &[u8], kinds: &Kinds) -> Result<Arrived, WireError> {
    let Request::Ask { kind, id, request, caller, remaining_ms, want_state, epoch, hops, question } = take(bytes)?
    else {
        return Err(WireError::Malformed("asked of a node, and of no entity".into()));
    };
    let spec = kinds.by_number(kind).ok_or(WireError::Unknown { code: kind, version: 0 })?;
    if !spec.accepts(&id) {
        return Err(WireError::Malformed(format!("not an id of a {}", spec.name())));
    }
    if hops > HOPS_MAX {
        return Err(WireError::Malformed(format!("forwarded {hops} times")));
    }
    let body = match question {
        Question::Command { command, keep, if_version, wait } => {
            Body::Command { command: spec.command(&command.into())?, keep, if_version, wait }
        }
        Question::Read { wait } => Body::Read { wait },
        Question::Repeat { fingerprint, wait } => Body::Repeat { fingerprint, wait },
        Question::Inspect => Body::Inspect,
        Question::Operate(operation) => Body::Operate(operation),
    };
    Ok(Arrived {
        key: EntityKey { kind, id },
        request,
        caller,
        remaining: Duration::from_millis(u64::from(remaining_ms)),
        want_state,
        route: Route { epoch, hops },
        body,
    })
}
