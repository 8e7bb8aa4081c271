//! Entities without their types: what the slot handles. The runtime moves commands, events and states
//! of every kind through the same code; only this file knows how to get back to the concrete types.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::actors::entity::{Answer, Ctx, Entity, Kind, Outcome, Owed, Stored, TooNew, WireVersion, codec};
use crate::actors::values::Time;
use crate::persistence::Payload;
use crate::persistence::codec::CodecError;

/// A value of a type that only the kind knows.
pub type Erased = Arc<dyn Any + Send + Sync>;

/// Codes at the end of each kind's 256 type numbers, beside its events (1 to 199).
const REPLY_CODE: u8 = 250;
const REJECTION_CODE: u8 = 251;
const COMMAND_CODE: u8 = 252;
const STATE_CODE: u8 = 255;

/// Everything the runtime can do with a kind, without its types.
pub trait KindSpec: Send + Sync {
    fn number(&self) -> u8;
    fn name(&self) -> &'static str;
    /// The gateways that its entities may owe something to.
    fn gateways(&self) -> &'static [&'static str];
    /// Whether `id` is well-formed for this kind.
    fn accepts(&self, id: &str) -> bool;
    /// The entity that nobody has touched yet.
    fn fresh(&self) -> Box<dyn AnyState>;
    /// The state of a snapshot; `None` when it is of another version: then events are replayed.
    fn restore(&self, state: &Payload) -> Option<Box<dyn AnyState>>;
    /// A command's bytes, as it goes to a node that reads nothing newer than `wire`; `None` when it is not of this kind.
    fn command_payload(&self, command: &Erased, wire: WireVersion) -> Result<Option<Payload>, TooNew>;
    /// The command of such bytes.
    fn command(&self, payload: &Payload) -> Result<Erased, CodecError>;
    /// The bytes of an `Outcome<K>`, as it goes to a node that reads nothing newer than `wire`; `None` when it is of another
    /// kind. A receipt has those of the newest version.
    fn outcome_payload(&self, outcome: &Erased, wire: WireVersion) -> Result<Option<Payload>, TooNew>;
    /// The `Outcome<K>` of such bytes.
    fn outcome(&self, payload: &Payload) -> Result<Erased, CodecError>;
    /// A state's bytes, as [`AnyState::snapshot`] has them; `None` when it is not of this kind.
    fn state_payload(&self, state: &Erased) -> Option<Payload>;
    /// The state of such bytes. Of another version: `Unknown`.
    fn state(&self, payload: &Payload) -> Result<Erased, CodecError>;
    /// An event as operators see it: `{"type": ..., "data": ...}`.
    fn event_json(&self, payload: &Payload) -> Result<serde_json::Value, CodecError>;
    /// The kind's wake command.
    fn wake(&self) -> Option<Erased>;
}

/// An entity's state, without its type.
pub trait AnyState: Send + Sync {
    /// Judges a command. `None` when the command is not of this kind.
    fn decide(&self, command: Erased, ctx: &Ctx) -> Option<Decided>;
    /// Applies what `decide` has just decided.
    fn evolve(&mut self, events: &(dyn Any + Send), at: Time);
    /// Applies a stored event.
    fn replay(&mut self, event: &Payload, at: Time) -> Result<(), CodecError>;
    fn owed(&self) -> Vec<Owed>;
    fn answered(&self, key: &str, answer: &Answer) -> Option<Erased>;
    /// [`Entity::answered_together`].
    fn answered_together(&self, answers: &[(&str, &Answer)]) -> Option<Erased>;
    fn wake_at(&self) -> Option<Time>;
    fn settled(&self) -> bool;
    fn violations(&self) -> Vec<&'static str>;
    fn size_bytes(&self) -> usize;
    /// The state itself, shared: a later `evolve` copies it if it is still held.
    fn share(&self) -> Erased;
    fn snapshot(&self) -> Payload;
    fn json(&self) -> serde_json::Value;
}

/// A decision: the typed events for `evolve`, the same events as stored, and the typed outcome.
pub struct Decided {
    pub events: Box<dyn Any + Send>,
    pub payloads: Vec<Payload>,
    pub outcome: Erased,
    pub accepted: bool,
    /// A refusal of which no receipt is kept for a client ([`Kind::is_momentary`]).
    pub momentary: bool,
    /// Encodes the outcome for a receipt.
    pub encode_outcome: fn(&Erased) -> Payload,
}

struct Spec<K>(PhantomData<fn() -> K>);

/// The specification of kind `K`.
pub fn spec<K: Kind>() -> Box<dyn KindSpec> {
    Box::new(Spec::<K>(PhantomData))
}

fn type_number<K: Kind>(code: u8) -> u16 {
    u16::from(K::NUMBER) << 8 | u16::from(code)
}

impl<K: Kind> KindSpec for Spec<K> {
    fn number(&self) -> u8 {
        K::NUMBER
    }
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn gateways(&self) -> &'static [&'static str] {
        K::GATEWAYS
    }
    fn accepts(&self, id: &str) -> bool {
        id.parse::<K::Id>().is_ok_and(|parsed| parsed.to_string() == id)
    }
    fn fresh(&self) -> Box<dyn AnyState> {
        Box::new(Held::<K::State>(Arc::default()))
    }
    fn restore(&self, state: &Payload) -> Option<Box<dyn AnyState>> {
        Some(Box::new(Held(Arc::new(read_state::<K>(state).ok()?))))
    }
    fn command_payload(&self, command: &Erased, wire: WireVersion) -> Result<Option<Payload>, TooNew> {
        let command = command.downcast_ref::<K::Command>();
        command.map(|command| with_code::<K>(COMMAND_CODE, command, wire)).transpose()
    }
    fn command(&self, payload: &Payload) -> Result<Erased, CodecError> {
        Ok(Arc::new(read_with_code::<K, K::Command>(COMMAND_CODE, payload)?))
    }
    fn outcome_payload(&self, outcome: &Erased, wire: WireVersion) -> Result<Option<Payload>, TooNew> {
        let outcome = outcome.downcast_ref::<Outcome<K>>();
        outcome.map(|outcome| outcome_payload::<K>(outcome, wire)).transpose()
    }
    fn outcome(&self, payload: &Payload) -> Result<Erased, CodecError> {
        let outcome: Outcome<K> = if is_acceptance(payload) {
            Ok(read_with_code::<K, K::Reply>(REPLY_CODE, payload)?)
        } else {
            Err(read_with_code::<K, K::Rejection>(REJECTION_CODE, payload)?)
        };
        Ok(Arc::new(outcome))
    }
    fn state_payload(&self, state: &Erased) -> Option<Payload> {
        state.downcast_ref::<K::State>().map(state_payload)
    }
    fn state(&self, payload: &Payload) -> Result<Erased, CodecError> {
        Ok(Arc::new(read_state::<K>(payload)?))
    }
    fn event_json(&self, payload: &Payload) -> Result<serde_json::Value, CodecError> {
        let event = stored_event::<K::State>(payload)?;
        serde_json::to_value(&event).map_err(|error| CodecError::Malformed(error.to_string()))
    }
    fn wake(&self) -> Option<Erased> {
        K::State::wake().map(|command| Arc::new(command) as Erased)
    }
}

fn stored_event<S: Entity>(payload: &Payload) -> Result<S::Event, CodecError> {
    let [kind, code] = payload.type_number.to_be_bytes();
    if kind != S::Kind::NUMBER {
        return Err(CodecError::Unknown { code, version: payload.version });
    }
    S::Event::from_stored(code, payload.version, &payload.bytes)
}

/// The events of a record of an entity of kind `K`.
pub fn events_of<K: Kind>(events: &[Payload]) -> Result<Vec<<K::State as Entity>::Event>, CodecError> {
    events.iter().map(stored_event::<K::State>).collect()
}

/// The payload of what has codes of its own: its first byte is the code.
fn with_code<K: Kind>(end: u8, value: &impl Stored, wire: WireVersion) -> Result<Payload, TooNew> {
    let (code, version, bytes) = if wire < WireVersion::OURS { value.to_stored_for(wire)? } else { value.to_stored() };
    let mut with_code = Vec::with_capacity(bytes.len() + 1);
    with_code.push(code);
    with_code.extend(bytes);
    Ok(Payload { type_number: type_number::<K>(end), version, bytes: with_code })
}

fn read_with_code<K: Kind, T: Stored>(end: u8, payload: &Payload) -> Result<T, CodecError> {
    let (&code, bytes) = payload.bytes.split_first().ok_or(CodecError::Malformed("empty payload".into()))?;
    if payload.type_number != type_number::<K>(end) {
        return Err(CodecError::Unknown { code, version: payload.version });
    }
    T::from_stored(code, payload.version, bytes)
}

fn outcome_payload<K: Kind>(outcome: &Outcome<K>, wire: WireVersion) -> Result<Payload, TooNew> {
    match outcome {
        Ok(reply) => with_code::<K>(REPLY_CODE, reply, wire),
        Err(rejection) => with_code::<K>(REJECTION_CODE, rejection, wire),
    }
}

fn encode_outcome<K: Kind>(outcome: &Erased) -> Payload {
    let outcome = outcome.downcast_ref().expect("the outcome that this kind decided");
    outcome_payload::<K>(outcome, WireVersion::OURS).expect("the newest version has a form of everything")
}

fn state_payload<S: Entity>(state: &S) -> Payload {
    let type_number = type_number::<S::Kind>(STATE_CODE);
    Payload { type_number, version: S::STATE_VERSION, bytes: codec::encode(state) }
}

fn read_state<K: Kind>(payload: &Payload) -> Result<K::State, CodecError> {
    let ours = payload.type_number == type_number::<K>(STATE_CODE) && payload.version == K::State::STATE_VERSION;
    if !ours {
        return Err(CodecError::Unknown { code: STATE_CODE, version: payload.version });
    }
    codec::decode(&payload.bytes)
}

struct Held<S>(Arc<S>);

impl<S: Entity> AnyState for Held<S> {
    fn decide(&self, command: Erased, ctx: &Ctx) -> Option<Decided> {
        let command = command.downcast::<<S::Kind as Kind>::Command>().ok()?;
        let command = Arc::try_unwrap(command).unwrap_or_else(|shared| (*shared).clone());
        let (events, outcome): (Vec<S::Event>, Outcome<S::Kind>) = match self.0.decide(command, ctx) {
            Ok(decision) => (decision.events, Ok(decision.reply)),
            Err(rejection) => (Vec::new(), Err(rejection)),
        };
        let payload = |event: &S::Event| {
            let (code, version, bytes) = event.to_stored();
            Payload { type_number: type_number::<S::Kind>(code), version, bytes }
        };
        let payloads = events.iter().map(payload).collect();
        let accepted = outcome.is_ok();
        let momentary = outcome.as_ref().is_err_and(S::Kind::is_momentary);
        Some(Decided {
            events: Box::new(events),
            payloads,
            outcome: Arc::new(outcome),
            accepted,
            momentary,
            encode_outcome: encode_outcome::<S::Kind>,
        })
    }
    fn evolve(&mut self, events: &(dyn Any + Send), at: Time) {
        let events = events.downcast_ref::<Vec<S::Event>>().expect("the events that this kind decided");
        if events.is_empty() {
            return;
        }
        let state = Arc::make_mut(&mut self.0);
        for event in events {
            state.evolve(event, at);
        }
    }
    fn replay(&mut self, event: &Payload, at: Time) -> Result<(), CodecError> {
        let event = stored_event::<S>(event)?;
        Arc::make_mut(&mut self.0).evolve(&event, at);
        Ok(())
    }
    fn owed(&self) -> Vec<Owed> {
        self.0.owed()
    }
    fn answered(&self, key: &str, answer: &Answer) -> Option<Erased> {
        self.0.answered(key, answer).map(|command| Arc::new(command) as Erased)
    }
    fn answered_together(&self, answers: &[(&str, &Answer)]) -> Option<Erased> {
        self.0.answered_together(answers).map(|command| Arc::new(command) as Erased)
    }
    fn wake_at(&self) -> Option<Time> {
        self.0.wake_at()
    }
    fn settled(&self) -> bool {
        self.0.settled()
    }
    fn violations(&self) -> Vec<&'static str> {
        self.0.violations()
    }
    fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }
    fn share(&self) -> Erased {
        self.0.clone()
    }
    fn snapshot(&self) -> Payload {
        state_payload(&*self.0)
    }
    fn json(&self) -> serde_json::Value {
        serde_json::to_value(&*self.0).unwrap_or(serde_json::Value::Null)
    }
}

/// Whether a stored outcome is a reply, not a rejection.
pub fn is_acceptance(outcome: &Payload) -> bool {
    outcome.type_number.to_be_bytes()[1] == REPLY_CODE
}
