//! The message that travels to an entity, and the answer that comes back.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::erased::Erased;
use crate::actors::entity::{Answer, Caller};
use crate::actors::values::{RequestId, Time};
use crate::persistence::{EntityKey, Epoch, Slot};
use crate::{coded_enum, stored_enum};

stored_enum! {
    /// Why an entity gave no outcome. Each variant says what the caller may do.
    #[derive(Eq, thiserror::Error)]
    pub enum AskError {
        /// A queue is full: nothing was done; try again after a while.
        #[error("busy: try again in {retry_after_ms} ms")]
        (1, 1) => Busy { retry_after_ms: u64 },
        /// The store or the owner cannot be reached now: nothing was done.
        #[error("unavailable: nothing was done")]
        (2, 1) => Unavailable,
        /// No answer before the deadline: it may have been done. Repeat with the same request id.
        #[error("the deadline passed")]
        (3, 1) => DeadlinePassed,
        /// The store lost the outcome: it may have been done. Repeat with the same request id.
        #[error("outcome unknown")]
        (4, 1) => Unknown,
        /// The request id was used for another request.
        #[error("request id reused")]
        (5, 1) => KeyReused,
        /// The sender's watermark says that this request was answered long ago: it is not done again.
        #[error("answered long ago")]
        (6, 1) => AnsweredLongAgo,
        /// The entity is not at the version that the caller expected.
        #[error("the version is {current}")]
        (7, 1) => StaleVersion { current: u64 },
        /// The command made the entity's code panic: nothing was done.
        #[error("the command failed")]
        (8, 1) => Panicked,
        /// The entity's code panicked again and again: it is not asked any more for a while.
        #[error("the entity is quarantined")]
        (9, 1) => Quarantined,
        /// Stored bytes of this entity cannot be read.
        #[error("the entity's stored data is damaged or newer than this program")]
        (10, 1) => Damaged,
        /// There is no such kind, or the id is not one of this kind.
        #[error("no such kind of entity, or not an id of it")]
        (11, 1) => UnknownKind,
        /// The nodes of the cluster cannot exchange it: its owner does not know the kind or the version, or it is too large for
        /// the link. Nothing was done, and to ask again at once does not help.
        #[error("the node that has the entity cannot take the request")]
        (12, 1) => Unsupported,
    }
}

impl AskError {
    /// Whether it says something about the entity as this node has it. Who may have lost the entity keeps that to
    /// himself.
    pub fn rests_on_state(&self) -> bool {
        match self {
            AskError::KeyReused
            | AskError::AnsweredLongAgo
            | AskError::StaleVersion { .. }
            | AskError::Panicked
            | AskError::Quarantined
            | AskError::Damaged => true,
            AskError::Busy { .. }
            | AskError::Unavailable
            | AskError::DeadlinePassed
            | AskError::Unknown
            | AskError::UnknownKind
            | AskError::Unsupported => false,
        }
    }

    /// Whether it leaves open what became of an earlier attempt with the same request id. Where the entity itself
    /// has answered it does not: the entity looks for its receipt first.
    pub fn leaves_earlier_attempts_open(&self) -> bool {
        match self {
            AskError::Busy { .. }
            | AskError::Unavailable
            | AskError::DeadlinePassed
            | AskError::Unknown
            | AskError::Panicked
            | AskError::Quarantined
            | AskError::Damaged
            | AskError::Unsupported => true,
            AskError::KeyReused | AskError::AnsweredLongAgo | AskError::StaleVersion { .. } | AskError::UnknownKind => {
                false
            }
        }
    }
}

coded_enum! {
    /// What the caller waits for.
    pub enum Wait {
        /// The effect is durable.
        Durable = 1 "durable",
        /// The effect is durable, and the process it started has come to its end.
        Settled = 2 "settled",
    }
}

stored_enum! {
    /// Marks a request whose outcome is kept, so that a repeat gets the same answer.
    #[derive(Copy, Eq)]
    pub enum Keep {
        /// A client's idempotency key.
        (1, 1) => Client { fingerprint: [u8; 16], keep_ms: u64 },
        /// An owed request: its sender's slot, its number there, and everything below `watermark` answered.
        (2, 1) => Owed { slot: Slot, number: u64, watermark: u64 },
    }
}

coded_enum! {
    /// What an operator does with an entity, whatever the entity is.
    pub enum Operation {
        /// It leaves memory, with a snapshot.
        Passivate = 1 "passivate",
        /// Commands are refused with [`AskError::Quarantined`] until it is released, or its slot leaves the node.
        Quarantine = 2 "quarantine",
        /// The end of a quarantine, also of one after panics.
        Release = 3 "release",
    }
}

coded_enum! {
    /// What came of an [`Operation`]: the outcome of its reply.
    pub enum Operated {
        Changed = 1 "changed",
        /// It was so before.
        Already = 2 "already",
        /// It cannot be now: something of the entity is under way, or the slot has quarantined too many.
        Busy = 3 "busy",
    }
}

/// What is asked of the entity.
#[derive(Clone)]
pub enum Body {
    Command {
        command: Erased,
        keep: Option<Keep>,
        if_version: Option<u64>,
        wait: Wait,
    },
    Read {
        wait: Wait,
    },
    /// The stored outcome of a request, if there is one.
    Repeat {
        fingerprint: [u8; 16],
        wait: Wait,
    },
    /// The answer to something that this entity owed.
    Answered {
        number: u64,
        key: String,
        answer: Answer,
        /// How often it was answered before without being settled.
        attempt: u32,
    },
    /// The time that the entity asked to be woken at has come.
    Wake,
    /// Whatever the entity owes is to be sent again.
    Resume,
    /// How the entity stands in memory, for operators.
    Inspect,
    /// The outcome of its reply is an [`Operated`].
    Operate(Operation),
}

impl Body {
    /// Messages of the runtime to itself are bounded by what is outstanding and never refused.
    pub fn is_internal(&self) -> bool {
        matches!(self, Body::Answered { .. } | Body::Wake | Body::Resume)
    }
}

pub struct Envelope {
    pub key: EntityKey,
    pub slot: Slot,
    pub request: RequestId,
    pub caller: Caller,
    pub deadline: Instant,
    /// Whether the answer should carry the state.
    pub want_state: bool,
    pub body: Body,
    pub reply: ReplyTo,
}

/// A step that an entity owes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OwedStep {
    /// The entity's own name for it, such as `capture`.
    pub step: String,
    /// Who has to answer: `gateway payments`, or kind and id of an entity. `None`: only the entity that owes it knows,
    /// and it has not been loaded yet.
    pub waiting_for: Option<String>,
    /// Since when; at the latest, where the step is older than the slot's generation.
    pub since: Time,
    /// How often it was sent, and why the last attempt failed, since the slot began.
    pub attempts: u32,
    pub last_error: Option<String>,
}

/// How an entity stands in memory.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Residence {
    pub resident: bool,
    pub epoch: u64,
    pub version: u64,
    pub last_activity: Option<Time>,
    pub owed: Vec<OwedStep>,
    pub wake_at: Option<Time>,
    pub receipts: usize,
    pub panics: u32,
    pub size_bytes: usize,
    pub state: serde_json::Value,
}

/// An entity's answer, without its types.
#[derive(Clone)]
pub struct Reply {
    /// `None` for reads, and for a repeat of a request that was never seen.
    pub outcome: Option<Erased>,
    pub version: u64,
    /// The slot's sequence of the entity's last record, on a repeat too. 0 where there is none, or it is not known.
    pub seq: u64,
    /// The slot's epoch where another node has answered; 0 where it is this one.
    pub epoch: Epoch,
    pub at: Time,
    /// The state at `version`; `None` when not wanted, or when the entity has moved on since (a repeat).
    pub state: Option<Erased>,
    pub replayed: bool,
    pub residence: Option<Box<Residence>>,
}

impl Reply {
    /// What came of an [`Operation`].
    pub fn operated(came: Operated, at: Time) -> Reply {
        Reply {
            outcome: Some(Arc::new(came)),
            version: 0,
            seq: 0,
            epoch: 0,
            at,
            state: None,
            replayed: false,
            residence: None,
        }
    }
}

impl Envelope {
    /// A message of the runtime itself, which nobody waits for.
    pub fn internal(key: EntityKey, slot: Slot, body: Body) -> Envelope {
        Envelope {
            key,
            slot,
            request: RequestId::default(),
            caller: Caller::System,
            deadline: Instant::now(),
            want_state: false,
            body,
            reply: ReplyTo::nobody(),
        }
    }
}

/// Where the answer goes. Dropped unanswered, it tells the caller that the outcome is unknown.
pub struct ReplyTo(To);

enum To {
    Nobody,
    Caller(oneshot::Sender<Result<Reply, AskError>>),
    OnReply(Box<dyn OnReply>),
}

/// Someone who goes on when the answer comes, on the thread that brings it: it must not block.
pub trait OnReply: Send + Sync {
    fn replied(self: Box<Self>, reply: Result<Reply, AskError>);
}

impl ReplyTo {
    pub fn nobody() -> ReplyTo {
        ReplyTo(To::Nobody)
    }
    pub fn channel() -> (ReplyTo, oneshot::Receiver<Result<Reply, AskError>>) {
        let (sender, receiver) = oneshot::channel();
        (ReplyTo(To::Caller(sender)), receiver)
    }
    pub fn on_reply(on_reply: Box<dyn OnReply>) -> ReplyTo {
        ReplyTo(To::OnReply(on_reply))
    }
    pub fn send(mut self, answer: Result<Reply, AskError>) {
        match std::mem::replace(&mut self.0, To::Nobody) {
            To::Nobody => {}
            To::Caller(sender) => drop(sender.send(answer)), // the caller may have gone: then nobody wants it
            To::OnReply(on_reply) => on_reply.replied(answer),
        }
    }
    /// Whether nobody waits for the answer any more.
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            To::Nobody => true,
            To::Caller(sender) => sender.is_closed(),
            To::OnReply(_) => false,
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let To::OnReply(on_reply) = std::mem::replace(&mut self.0, To::Nobody) {
            on_reply.replied(Err(AskError::Unknown));
        }
    }
}

/// The address of an entity of a kind by its number.
pub fn key(kind: u8, id: impl Into<Arc<str>>) -> EntityKey {
    EntityKey { kind, id: id.into() }
}
