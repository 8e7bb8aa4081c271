//! What an entity is: a pure state machine with an address.
//!
//! An entity module is state, commands, events, rejections and the functions of [`Entity`], and nothing
//! else: no clock, no randomness, no I/O, no async, no hash order. Time, identity and settings come in
//! through [`Ctx`]; ids are derived from the request id.
//!
//! Each kind has a folder with two faces. `types.rs` is what others may see: a marker that implements
//! [`Kind`], the id, commands, replies, rejections and the state. `mod.rs` is how it decides and evolves.

pub mod owed_key;
mod stored;

use std::any::Any;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use stored::Bytes;
pub use stored::{NESTED, Nest, Number, Stored, TooNew, WireVersion, read_nested, write_nested};

use super::policy::Policy;
use super::values::{RequestId, Time, UserId};
pub use crate::persistence::Payload;
pub use crate::persistence::codec::{self, CodecError};
use crate::stored_enum;
use owed_key::Key;

/// The public face of a kind of entity: its name and its vocabulary. Implemented by an empty enum.
pub trait Kind: Sized + Send + Sync + 'static {
    /// The frozen number of the kind, part of every key and type number. Allotted in `actors::kinds`.
    const NUMBER: u8;
    /// The frozen name, as operators write it.
    const NAME: &'static str;
    type Id: Display + FromStr + Clone + Send + Sync + 'static;
    /// An imperative request. It crosses nodes.
    type Command: Stored + Clone + Debug + PartialEq + Send + Sync + 'static;
    /// A short answer: what cannot be read off the state. It is stored in receipts: no secrets.
    type Reply: Stored + Clone + Debug + PartialEq + Send + Sync + 'static;
    /// A typed refusal. It is stored in receipts: no secrets.
    type Rejection: Stored + Clone + Debug + PartialEq + Send + Sync + 'static;
    type State: Entity<Kind = Self>;

    /// The gateways, by name, that its entities may owe something to. A runtime without one of them does not start.
    const GATEWAYS: &'static [&'static str] = &[];

    /// Whether a refusal is about this moment only: the entity is in the middle of something, or at another version than
    /// the request has named. The same request may well succeed a moment later, or with another precondition, so no
    /// receipt is kept for its client, and a repeat is judged anew.
    fn is_momentary(rejection: &Self::Rejection) -> bool {
        let _ = rejection;
        false
    }

    /// Whether such a moment is so short that a client's request waits for its end.
    fn passes_soon(rejection: &Self::Rejection) -> bool {
        Self::is_momentary(rejection)
    }
}

/// A kind's behaviour. The state is `Self`; `Default` is the entity that nobody has touched yet.
pub trait Entity: Default + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    type Kind: Kind<State = Self>;
    /// A past-tense fact.
    type Event: Stored + Clone + Debug + Serialize + Send + Sync + 'static;

    /// Version of the state's bytes, in snapshots and in answers to other nodes: raise it with every change of the fields.
    const STATE_VERSION: u16;

    /// Judges a command. Changes nothing; may panic without harm.
    fn decide(
        &self,
        command: <Self::Kind as Kind>::Command,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, <Self::Kind as Kind>::Rejection>;

    /// Applies a fact. Total: a stored event always applies. `at` is the record's time.
    fn evolve(&mut self, event: &Self::Event, at: Time);

    /// What the state says must still be sent, at most [`OWED_MAX`] at once, in a stable order. A key
    /// that was in the list before is the same request still; a new need takes a new key.
    fn owed(&self) -> Vec<Owed> {
        Vec::new()
    }

    /// The command that an answer to an owed request means for this entity. An answer that comes
    /// twice must be harmless: the state no longer owes the key, and decides nothing.
    fn answered(&self, key: &str, answer: &Answer) -> Option<<Self::Kind as Kind>::Command> {
        let _ = (key, answer);
        None
    }

    /// One command for several answers that wait together, each as [`Entity::answered`] reads it. `None`: they are
    /// judged one after the other.
    fn answered_together(&self, answers: &[(&str, &Answer)]) -> Option<<Self::Kind as Kind>::Command> {
        let _ = answers;
        None
    }

    /// When the entity wants [`Entity::wake`]; `None` to sleep until it is asked.
    fn wake_at(&self) -> Option<Time> {
        None
    }

    /// The command sent at [`Entity::wake_at`]. Deciding it early must be harmless.
    fn wake() -> Option<<Self::Kind as Kind>::Command> {
        None
    }

    /// Whether the entity is not in the middle of a process: a caller who asked to wait for the
    /// outcome is answered when this becomes true.
    fn settled(&self) -> bool {
        true
    }

    /// Names of the invariants that this state breaks: empty, always.
    fn violations(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Roughly how much memory the state takes.
    fn size_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// The most requests that an entity owes at once. A process with more steps owes them in turn.
pub const OWED_MAX: usize = 96;

/// Events and reply of an accepted command.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E, R> {
    pub events: Vec<E>,
    pub reply: R,
}

pub type DecisionOf<S> = Decision<<S as Entity>::Event, <<S as Entity>::Kind as Kind>::Reply>;
/// What a command came to.
pub type Outcome<K> = Result<<K as Kind>::Reply, <K as Kind>::Rejection>;

impl<E, R> Decision<E, R> {
    pub fn new(events: Vec<E>, reply: R) -> Self {
        Decision { events, reply }
    }
    /// Accepted, and nothing changes.
    pub fn unchanged(reply: R) -> Self {
        Decision { events: Vec::new(), reply }
    }
}

stored_enum! {
    /// Who asks, as the edge has established it. The edge has also checked that he may.
    #[derive(Copy, Eq)]
    pub enum Caller {
        /// The system itself: an owed request, a wake, an answer.
        (1, 1) => System,
        (2, 1) => Anonymous,
        (3, 1) => User(user: UserId),
    }
}

/// What surrounds a decision.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// Never runs backwards for one entity.
    pub now: Time,
    pub request: RequestId,
    pub caller: Caller,
    /// The entity's version before this command.
    pub version: u64,
    pub policy: Arc<Policy>,
}

/// A request that the state says is still to be sent. The request id is derived from the entity's
/// address and `key`.
#[derive(Debug, Clone)]
pub struct Owed {
    pub key: String,
    pub to: Target,
}

/// Where an owed request goes.
#[derive(Clone)]
pub enum Target {
    Entity(AnyCommand),
    /// Something outside the shop, by the gateway's name.
    Gateway {
        name: &'static str,
        body: Arc<dyn Any + Send + Sync>,
    },
}

impl Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Entity(command) => write!(f, "{command:?}"),
            Target::Gateway { name, .. } => write!(f, "gateway {name}"),
        }
    }
}

impl Owed {
    pub fn to<K: Kind>(key: impl Key, id: &K::Id, command: K::Command) -> Owed {
        Owed { key: key.to_string(), to: Target::Entity(AnyCommand::new::<K>(id, command)) }
    }
    pub fn to_gateway<B: Any + Send + Sync>(key: impl Key, name: &'static str, body: B) -> Owed {
        Owed { key: key.to_string(), to: Target::Gateway { name, body: Arc::new(body) } }
    }
}

/// The answer to an owed request.
#[derive(Clone)]
pub struct Answer(pub Arc<dyn Any + Send + Sync>);

impl Answer {
    pub fn of_entity<K: Kind>(outcome: Outcome<K>) -> Answer {
        Answer(Arc::new(outcome))
    }
    /// The outcome, when the request went to an entity of kind `K`.
    pub fn entity<K: Kind>(&self) -> Option<&Outcome<K>> {
        self.0.downcast_ref()
    }
    /// The gateway's answer, when it is a `B`.
    pub fn gateway<B: Any>(&self) -> Option<&B> {
        self.0.downcast_ref()
    }
}

/// A command with its address, of any kind.
#[derive(Clone)]
pub struct AnyCommand {
    pub kind: u8,
    pub id: Arc<str>,
    pub(crate) command: Arc<dyn Any + Send + Sync>,
}

impl AnyCommand {
    pub fn new<K: Kind>(id: &K::Id, command: K::Command) -> AnyCommand {
        AnyCommand { kind: K::NUMBER, id: id.to_string().into(), command: Arc::new(command) }
    }
    /// The command as it travels.
    pub fn command(&self) -> Arc<dyn Any + Send + Sync> {
        self.command.clone()
    }
    /// The command, when it is for kind `K` (for tests of what an entity owes).
    pub fn get<K: Kind>(&self) -> Option<&K::Command> {
        self.command.downcast_ref()
    }
}

impl Debug for AnyCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "command to kind {} {}", self.kind, self.id)
    }
}
