//! The test kit of the entities: tables that read *given, when, then*, and golden bytes.
//!
//! ```text
//! Given::<State>::new()
//!     .when(Command::Claim { user: ADA }).then(Reply::Claimed).events([Event::Claimed { user: ADA }])
//!     .when(Command::Claim { user: BOB }).refused(Rejection::Taken);
//! ```
//!
//! Every step is held to what every entity promises, without being asked:
//!
//! - no invariant ([`Entity::violations`]) is broken after any event;
//! - commands, events, replies, rejections and the state survive their bytes, as they cross nodes and are stored;
//! - what is owed has distinct names and is at most [`OWED_MAX`];
//! - waking the entity too early changes nothing;
//! - the same answer to an owed request twice changes nothing the second time.
//!
//! Time stands at [`START`] until [`Given::after_ms`] moves it. Each command comes under a request id of
//! its own; [`Given::again`] repeats the last one.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::actors::entity::{
    Answer, Caller, CodecError, Ctx, Decision, DecisionOf, Entity, Kind, OWED_MAX, Outcome, Owed, Stored, Target, codec,
};
use crate::actors::policy::Policy;
use crate::actors::runtime::erased::{Erased, spec};
use crate::actors::runtime::wire::WireVersion;
use crate::actors::values::{RequestId, Time};
use crate::config::Config;

type CommandOf<S> = <<S as Entity>::Kind as Kind>::Command;
type ReplyOf<S> = <<S as Entity>::Kind as Kind>::Reply;
type RejectionOf<S> = <<S as Entity>::Kind as Kind>::Rejection;
type Judgement<S> = Result<DecisionOf<S>, RejectionOf<S>>;

/// When a table begins: 2026-11-22T12:00:00Z.
pub const START: Time = Time(1_795_348_800_000);

/// An entity with a history, and what its last command came to.
pub struct Given<S: Entity> {
    pub state: S,
    pub version: u64,
    pub now: Time,
    pub caller: Caller,
    pub policy: Policy,
    requests: u32,
    last: Option<(CommandOf<S>, Judgement<S>)>,
}

impl<S: Entity> Default for Given<S> {
    fn default() -> Self {
        let given = Given {
            state: S::default(),
            version: 0,
            now: START,
            caller: Caller::System,
            policy: Config::default().policy(),
            requests: 0,
            last: None,
        };
        given.hold_promises();
        given
    }
}

impl<S: Entity> Given<S> {
    /// The entity that nobody has touched.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its request ids begin here: so that no two entities of a world share any.
    pub fn requests_from(mut self, first: u32) -> Self {
        self.requests = first;
        self
    }

    /// These events have happened, in one record.
    pub fn history(mut self, events: impl IntoIterator<Item = S::Event>) -> Self {
        self.evolve(&events.into_iter().collect::<Vec<_>>());
        self
    }

    pub fn by(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    pub fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub fn after_ms(mut self, ms: u64) -> Self {
        self.now = self.now.plus_ms(ms);
        self
    }

    /// What surrounds the last command (or the first, before there was one): ids derive from its request.
    pub fn ctx(&self) -> Ctx {
        Ctx {
            now: self.now,
            request: request(self.requests),
            caller: self.caller,
            version: self.version,
            policy: Arc::new(self.policy.clone()),
        }
    }

    /// The command comes, under the next request id.
    pub fn when(mut self, command: CommandOf<S>) -> Self {
        self.requests += 1;
        self.decide(command);
        self
    }

    /// The last command comes again under the same request id, as if its receipt had been lost.
    pub fn again(mut self) -> Self {
        let (command, _) = self.last.take().expect("a command came before");
        self.decide(command);
        self
    }

    /// The clock moves to the time at which the entity wants to be woken, and it is.
    pub fn when_woken(mut self) -> Self {
        self.now = self.now.max(self.state.wake_at().expect("the entity wants to be woken"));
        self.when(S::wake().expect("an entity that wants to be woken has a command for it"))
    }

    /// An entity of kind `K` answers what is owed under `key`.
    #[track_caller]
    pub fn when_answered<K: Kind>(self, key: &str, outcome: Outcome<K>) -> Self {
        self.answer(key, Answer::of_entity::<K>(outcome))
    }

    /// A gateway answers what is owed under `key`.
    #[track_caller]
    pub fn when_gateway_answers<B: Any + Send + Sync>(self, key: &str, body: B) -> Self {
        self.answer(key, Answer(Arc::new(body)))
    }

    #[track_caller]
    fn answer(mut self, key: &str, answer: Answer) -> Self {
        assert!(self.owed_keys().iter().any(|owed| owed == key), "owes {:?}, not {key}", self.owed_keys());
        let command = self.state.answered(key, &answer).unwrap_or_else(|| panic!("no command for the answer to {key}"));
        self = self.when(command);
        assert!(!self.owed_keys().iter().any(|owed| owed == key), "still owes {key} after the answer");
        if let Some(command) = self.state.answered(key, &answer) {
            self.assert_harmless(command, "the second same answer");
        }
        self
    }

    /// The last command was accepted, with this reply.
    #[track_caller]
    pub fn then(self, reply: ReplyOf<S>) -> Self {
        assert_eq!(self.accepted().reply, reply);
        self
    }

    /// The last command was accepted, with exactly these events.
    #[track_caller]
    pub fn events(self, events: impl IntoIterator<Item = S::Event>) -> Self
    where
        S::Event: PartialEq,
    {
        assert_eq!(self.accepted().events, events.into_iter().collect::<Vec<_>>());
        self
    }

    /// The last command was accepted and changed nothing.
    #[track_caller]
    pub fn unchanged(self) -> Self {
        let events = &self.accepted().events;
        assert!(events.is_empty(), "events: {events:?}");
        self
    }

    /// The last command was rejected.
    #[track_caller]
    pub fn refused(self, rejection: RejectionOf<S>) -> Self {
        match self.last_outcome() {
            Err(actual) => assert_eq!(*actual, rejection),
            Ok(decision) => panic!("expected {rejection:?}, was accepted: {decision:?}"),
        }
        self
    }

    /// The entity owes exactly these requests, in this order.
    #[track_caller]
    pub fn owes<const N: usize>(self, keys: [&str; N]) -> Self {
        assert_eq!(self.owed_keys(), keys);
        self
    }

    #[track_caller]
    pub fn settled(self, settled: bool) -> Self {
        assert_eq!(self.state.settled(), settled, "settled");
        self
    }

    #[track_caller]
    pub fn wakes_at(self, time: Option<Time>) -> Self {
        assert_eq!(self.state.wake_at(), time, "wake_at");
        self
    }

    /// Looks at the state.
    #[track_caller]
    pub fn state(self, look: impl FnOnce(&S)) -> Self {
        look(&self.state);
        self
    }

    /// The command, and the id of the entity of kind `K`, that is owed under `key`.
    #[track_caller]
    pub fn owed<K: Kind>(&self, key: &str) -> (String, K::Command) {
        let target = self.state.owed().into_iter().find(|owed| owed.key == key).map(|owed| owed.to);
        match target {
            Some(Target::Entity(any)) if any.kind == K::NUMBER => {
                (any.id.to_string(), any.get::<K>().expect("a command of its own kind").clone())
            }
            Some(other) => panic!("{key} goes to another kind: {other:?}"),
            None => panic!("owes {:?}, not {key}", self.owed_keys()),
        }
    }

    pub fn owed_keys(&self) -> Vec<String> {
        self.state.owed().into_iter().map(|owed| owed.key).collect()
    }

    #[track_caller]
    pub fn accepted(&self) -> &DecisionOf<S> {
        match self.last_outcome() {
            Ok(decision) => decision,
            Err(rejection) => panic!("was refused: {rejection:?}"),
        }
    }

    #[track_caller]
    pub fn last_outcome(&self) -> &Judgement<S> {
        &self.last.as_ref().expect("a command came before").1
    }

    fn decide(&mut self, command: CommandOf<S>) {
        self.assert_crosses(&command);
        let outcome = self.state.decide(command.clone(), &self.ctx());
        match &outcome {
            Ok(Decision { events, reply }) => {
                assert_same(reply);
                self.evolve(events);
            }
            Err(rejection) => assert_same(rejection),
        }
        self.last = Some((command, outcome));
    }

    fn evolve(&mut self, events: &[S::Event]) {
        for event in events {
            assert_stored(event);
            serde_json::to_value(event).expect("operators read events as JSON");
            self.state.evolve(event, self.now);
            self.hold_promises();
        }
        self.version += u64::from(!events.is_empty());
    }

    /// That another node gets the command as it is.
    #[track_caller]
    fn assert_crosses(&self, command: &CommandOf<S>) {
        let kind = spec::<S::Kind>();
        let payload = kind.command_payload(&(Arc::new(command.clone()) as Erased), WireVersion::OURS);
        let payload = payload.expect("the newest version has it").expect("a command of its own kind");
        let back = kind.command(&payload).expect("a command reads back");
        assert_eq!(back.downcast_ref::<CommandOf<S>>(), Some(command), "changed by crossing");
    }

    /// That the command would change nothing now: accepted without events, or refused.
    #[track_caller]
    fn assert_harmless(&self, command: CommandOf<S>, what: &str) {
        if let Ok(decision) = self.state.decide(command, &self.ctx()) {
            assert!(decision.events.is_empty(), "{what} changes something: {:?}", decision.events);
        }
    }

    fn hold_promises(&self) {
        assert_eq!(self.state.violations(), Vec::<&str>::new());
        assert_encodes(&self.state);
        serde_json::to_value(&self.state).expect("operators read the state as JSON");
        assert!(self.state.size_bytes() >= size_of::<S>(), "a state takes at least its own size");
        let owed: Vec<Owed> = self.state.owed();
        let names: BTreeSet<_> = owed.iter().map(|owed| &owed.key).collect();
        assert!(names.len() == owed.len() && owed.len() <= OWED_MAX, "owed: {:?}", self.owed_keys());
        for owed in &owed {
            if let Target::Gateway { name, .. } = &owed.to {
                assert!(S::Kind::GATEWAYS.contains(name), "{} owes to {name:?}, and does not say so", S::Kind::NAME);
            }
        }
        if let (Some(due), Some(wake)) = (self.state.wake_at(), S::wake())
            && self.now < due
        {
            self.assert_harmless(wake, "waking it too early");
        }
    }
}

/// A request id for tests: the same for the same number.
pub fn request(number: u32) -> RequestId {
    RequestId::of("test", &[&number.to_be_bytes()])
}

/// That the value survives its encoding.
#[track_caller]
fn assert_encodes<T: Serialize + DeserializeOwned>(value: &T) {
    let bytes = codec::encode(value);
    let back: T = codec::decode(&bytes).expect("what was encoded decodes");
    assert_eq!(codec::encode(&back), bytes, "changed by encoding");
}

/// That the value survives its stored form.
#[track_caller]
fn assert_stored<T: Stored + Debug>(value: &T) {
    let stored = value.to_stored();
    let back = T::from_stored(stored.0, stored.1, &stored.2).expect("what was stored reads");
    assert_eq!(back.to_stored(), stored, "changed by storing: {value:?}");
}

/// The same where equality is known.
#[track_caller]
fn assert_same<T: Stored + Debug + PartialEq>(value: &T) {
    let (code, version, bytes) = value.to_stored();
    assert_eq!(T::from_stored(code, version, &bytes).as_ref(), Ok(value), "changed by storing");
}

/// Pins the stored bytes of every variant and version of `T` that was ever written, each as
/// `code.version hex`. The present version of a variant must give exactly these bytes; an old one must
/// read as the value beside it. A variant that is missing from the table fails the test too.
///
/// When a *new* variant fails, copy its line from the message. When an old one does, stop: stores in the
/// field hold these bytes.
#[track_caller]
pub fn assert_golden<T: Stored + Debug>(table: &[(T, &str)]) {
    let mut pinned = BTreeSet::new();
    let mut wrong = Vec::new();
    for (value, golden) in table {
        let stored = value.to_stored();
        let written = format!("{}.{} {}", stored.0, stored.1, HEXLOWER.encode(&stored.2));
        match parse_golden(golden) {
            Some((code, version, bytes)) if (code, version) != (stored.0, stored.1) || bytes == stored.2 => {
                let read = T::from_stored(code, version, &bytes).unwrap_or_else(|error| panic!("{golden}: {error}"));
                assert_eq!(read.to_stored(), stored, "{golden} reads as {read:?}, not {value:?}");
                pinned.insert((code, version));
            }
            Some(_) | None => {
                wrong.push(format!("{value:?}\n  is     \"{}\"\n  not    \"{golden}\"", written.trim_end()))
            }
        }
    }
    assert!(wrong.is_empty(), "the stored form has changed:\n{}", wrong.join("\n"));
    for (code, version) in (0..=u8::MAX).flat_map(|code| (0..16).map(move |version| (code, version))) {
        let known = !matches!(T::from_stored(code, version, &[]), Err(CodecError::Unknown { .. }));
        let listed = pinned.contains(&(code, version));
        assert_eq!(
            known, listed,
            "code {code} version {version}: known to the type ({known}), in the table ({listed})"
        );
    }
}

fn parse_golden(golden: &str) -> Option<(u8, u16, Vec<u8>)> {
    let (number, hex) = golden.split_once(' ').unwrap_or((golden, ""));
    let (code, version) = number.split_once('.')?;
    Some((code.parse().ok()?, version.parse().ok()?, HEXLOWER.decode(hex.as_bytes()).ok()?))
}
