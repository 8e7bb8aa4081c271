//! The client handle: how the edge, gateways and projections talk to entities.
//!
//! Everything here ends in one message to the slot that owns the entity, and one answer. A repeat of a
//! keyed request is answered with the outcome that it had; the state that goes with it is rebuilt from
//! the journal when the entity has moved on since.

pub mod answerer;
mod nodes;
mod operators;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use answerer::Answerer;
pub use operators::{Inspection, Verified};

pub use super::envelope::{AskError, Operated, Operation, OwedStep, Wait};
use super::envelope::{Body, Envelope, Keep, Reply, ReplyTo};
use super::erased::{Erased, events_of};
use super::history::{self, Until};
use super::pauses::Pauses;
use super::router::Router;
use crate::actors::entity::{Caller, Entity, Kind, Outcome};
use crate::actors::values::{JournalPosition, RequestId, Time};
use crate::cluster::NodeId;
use crate::persistence::{EntityKey, Epoch, Record, Slot};

/// How a command is asked.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The identity of the request, fixed by the edge.
    pub request: RequestId,
    /// With it, the outcome is kept and a repeat gets it again.
    pub keyed: Option<Keyed>,
    pub caller: Caller,
    pub deadline: Instant,
    /// `If-Match`: refuse with [`AskError::StaleVersion`] unless the entity is at this version.
    pub if_version: Option<u64>,
    pub wait: Wait,
}

/// Marks a request that its sender may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// Of method, path and canonical body: another request under the same id is refused.
    pub fingerprint: [u8; 16],
    /// How long the outcome is kept.
    pub keep_ms: u64,
}

/// An entity as it was at one version. At version 0 nobody has touched it yet.
pub struct View<K: Kind> {
    pub version: u64,
    /// The time of its last record.
    pub at: Time,
    pub state: Arc<K::State>,
    /// Where a record of it stands that tells what is seen here, or something later; `None` where that is not known.
    pub position: Option<JournalPosition>,
}

impl<K: Kind> Clone for View<K> {
    fn clone(&self) -> Self {
        View { version: self.version, at: self.at, state: self.state.clone(), position: self.position }
    }
}

/// What a command came to, and the entity after it.
pub struct Answered<K: Kind> {
    pub outcome: Outcome<K>,
    /// The state after the command (once settled, with [`Wait::Settled`]); on a repeat, as it was then.
    pub view: View<K>,
    pub replayed: bool,
}

/// What one record did to an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened<E> {
    pub version: u64,
    pub at: Time,
    pub events: Vec<E>,
}

/// Pauses between attempts while a slot recovers.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub struct Client {
    router: Arc<Router>,
}

impl Client {
    pub fn new(router: Arc<Router>) -> Client {
        Client { router }
    }

    pub(super) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// The node whose handle this is.
    pub fn node(&self) -> &NodeId {
        self.router.node()
    }

    /// Asks an entity to do something.
    pub async fn ask<K: Kind>(&self, id: &K::Id, command: K::Command, asking: Asking) -> Result<Answered<K>, AskError> {
        let (key, wait, deadline) = (key_of::<K>(id), asking.wait, asking.deadline);
        let reply = self.command::<K>(key.clone(), command, asking, true).await?;
        self.answered::<K>(&key, reply, wait, deadline).await
    }

    /// The same where only the outcome matters. The entity need not share its state, and then copy it when it
    /// goes on: that is what makes a hot entity with a large state slow.
    pub async fn ask_outcome<K: Kind>(
        &self,
        id: &K::Id,
        command: K::Command,
        asking: Asking,
    ) -> Result<Outcome<K>, AskError> {
        outcome_of::<K>(&self.command::<K>(key_of::<K>(id), command, asking, false).await?)
    }

    async fn command<K: Kind>(
        &self,
        key: EntityKey,
        command: K::Command,
        asking: Asking,
        want_state: bool,
    ) -> Result<Reply, AskError> {
        let Asking { request, keyed, caller, deadline, if_version, wait } = asking;
        let keep = keyed.map(|k| Keep::Client { fingerprint: k.fingerprint, keep_ms: k.keep_ms });
        let body = Body::Command { command: Arc::new(command), keep, if_version, wait };
        self.send_wanting(key, request, caller, body, deadline, want_state).await
    }

    /// The entity as it is now, if its slot shows it: without waiting.
    pub fn shown<K: Kind>(&self, id: &K::Id) -> Option<View<K>> {
        let key = key_of::<K>(id);
        let slot = self.router.slot_of(&key);
        let reply = self.router.shown(slot, &key, Wait::Durable)?;
        self.note(slot, reply.epoch);
        let view = view::<K>(reply.version, reply.at, reply.state?).ok()?;
        Some(View { position: self.position(slot, reply.seq, reply.epoch), ..view })
    }

    /// The entity as it is now.
    pub async fn read<K: Kind>(&self, id: &K::Id, deadline: Instant) -> Result<View<K>, AskError> {
        self.read_when::<K>(id, Wait::Durable, deadline).await
    }

    /// The entity once it is in the middle of no process.
    pub async fn read_settled<K: Kind>(&self, id: &K::Id, deadline: Instant) -> Result<View<K>, AskError> {
        self.read_when::<K>(id, Wait::Settled, deadline).await
    }

    async fn read_when<K: Kind>(&self, id: &K::Id, wait: Wait, deadline: Instant) -> Result<View<K>, AskError> {
        let key = key_of::<K>(id);
        let slot = self.router.slot_of(&key);
        let reply = match self.router.shown(slot, &key, wait) {
            Some(reply) => {
                self.note(slot, reply.epoch);
                reply
            }
            None => self.send(key.clone(), RequestId::default(), Caller::System, Body::Read { wait }, deadline).await?,
        };
        let position = self.position(slot, reply.seq, reply.epoch);
        let view = match reply.state {
            Some(state) => view::<K>(reply.version, reply.at, state),
            // The owner writes states in a version that this node does not read: the journal has it all the same.
            None => self.read_at::<K>(id, reply.version, deadline).await,
        };
        Ok(View { position, ..view? })
    }

    /// The entity as it was at a past version (the present one when it has not got that far).
    pub async fn read_at<K: Kind>(&self, id: &K::Id, version: u64, deadline: Instant) -> Result<View<K>, AskError> {
        let until = Until::Version(version);
        let past =
            timeout_at(deadline, self.past(&key_of::<K>(id), until)).await.map_err(|_| AskError::DeadlinePassed)??;
        view::<K>(past.version, past.at, past.state.share())
    }

    /// The outcome of a request that the entity has seen; asks for nothing new.
    pub async fn repeat<K: Kind>(
        &self,
        id: &K::Id,
        request: RequestId,
        fingerprint: [u8; 16],
        wait: Wait,
        deadline: Instant,
    ) -> Result<Option<Answered<K>>, AskError> {
        let key = key_of::<K>(id);
        let body = Body::Repeat { fingerprint, wait };
        let reply = self.send(key.clone(), request, Caller::System, body, deadline).await?;
        if reply.outcome.is_none() {
            return Ok(None);
        }
        self.answered::<K>(&key, reply, wait, deadline).await.map(Some)
    }

    async fn answered<K: Kind>(
        &self,
        key: &EntityKey,
        reply: Reply,
        wait: Wait,
        deadline: Instant,
    ) -> Result<Answered<K>, AskError> {
        let outcome = outcome_of::<K>(&reply)?;
        let (seq, epoch) = (reply.seq, reply.epoch);
        let view = match reply.state {
            Some(state) => view::<K>(reply.version, reply.at, state)?,
            None => {
                let shown = self.view_then::<K>(key, &outcome, reply.version, wait, deadline).await;
                // The command is done: only what is to be shown of it could not be had. These would say that nothing was done.
                shown.map_err(|error| match error {
                    AskError::Busy { .. } | AskError::Unavailable | AskError::Unsupported => AskError::Unknown,
                    error => error,
                })?
            }
        };
        let view = View { position: self.position(self.router.slot_of(key), seq, epoch), ..view };
        Ok(Answered { outcome, view, replayed: reply.replayed })
    }

    /// The slot has answered; `epoch`: its own, where another node has it.
    fn note(&self, slot: Slot, epoch: Epoch) {
        let is_elsewhere = epoch > 0;
        let epoch = if is_elsewhere { epoch } else { self.router.epoch(slot) };
        answerer::note(Answerer { slot, epoch, is_elsewhere });
    }

    /// The node that has answered, as far as this one knows.
    pub fn node_of(&self, answerer: &Answerer) -> String {
        if answerer.is_elsewhere { self.router.owner_name(answerer.slot) } else { self.node().to_string() }
    }

    /// How many nodes the request went to beside this one, as far as this one knows: 2 where it goes by a third node.
    pub fn hops_of(&self, answerer: &Answerer) -> u8 {
        if answerer.is_elsewhere { self.router.hops(answerer.slot) } else { 0 }
    }

    /// `epoch`: that of the slot, where another node has answered.
    fn position(&self, slot: Slot, seq: u64, epoch: Epoch) -> Option<JournalPosition> {
        let epoch = if epoch > 0 { epoch } else { self.router.epoch(slot) };
        (seq > 0).then_some(JournalPosition { slot, seq, epoch })
    }

    /// The state that a request was first answered with: at its version, or when it settled after it.
    async fn view_then<K: Kind>(
        &self,
        key: &EntityKey,
        outcome: &Outcome<K>,
        version: u64,
        wait: Wait,
        deadline: Instant,
    ) -> Result<View<K>, AskError> {
        let until = match wait {
            Wait::Settled if outcome.is_ok() => Until::SettledFrom(version),
            Wait::Settled | Wait::Durable => Until::Version(version),
        };
        let replay =
            || async { timeout_at(deadline, self.past(key, until)).await.map_err(|_| AskError::DeadlinePassed)? };
        let mut past = replay().await?;
        if matches!(until, Until::SettledFrom(_)) && !past.state.settled() {
            let id = key.id.parse::<K::Id>().map_err(|_| AskError::UnknownKind)?;
            // What it is by then is not yet the answer: it may have taken other commands after it settled.
            self.read_settled::<K>(&id, deadline).await?;
            past = replay().await?;
        }
        view::<K>(past.version, past.at, past.state.share())
    }

    async fn past(&self, key: &EntityKey, until: Until) -> Result<history::Past, AskError> {
        let spec = self.router.kinds().by_number(key.kind).ok_or(AskError::UnknownKind)?;
        history::replay(&*self.router.journal(), spec, self.router.slot_of(key), key, until, self.router.marks()).await
    }

    /// Sends a message, again if need be, until there is an answer or the deadline. What was certainly
    /// not done is always sent again; what may have been done only where a repeat is harmless.
    async fn send(
        &self,
        key: EntityKey,
        request: RequestId,
        caller: Caller,
        body: Body,
        deadline: Instant,
    ) -> Result<Reply, AskError> {
        self.send_wanting(key, request, caller, body, deadline, true).await
    }

    async fn send_wanting(
        &self,
        key: EntityKey,
        request: RequestId,
        caller: Caller,
        body: Body,
        deadline: Instant,
        want_state: bool,
    ) -> Result<Reply, AskError> {
        let slot = self.router.slot_of(&key);
        let repeatable = !matches!(body, Body::Command { keep: None, .. });
        let mut pauses = Pauses::new(RETRY_FIRST, RETRY_MAX);
        let changes = matches!(body, Body::Command { .. });
        let mut maybe_done = false;
        loop {
            let (reply, answer) = ReplyTo::channel();
            let (key, body) = (key.clone(), body.clone());
            self.router.send(Envelope { key, slot, request, caller, deadline, want_state, body, reply });
            let answer = match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_dropped)) => Err(AskError::Unknown),
                Err(_elapsed) => return Err(AskError::DeadlinePassed),
            };
            match answer {
                Err(AskError::Unavailable) => {}
                Err(AskError::Unknown) if repeatable => maybe_done = changes,
                // About this attempt only: an earlier one may have been done.
                Err(error) if maybe_done && error.leaves_earlier_attempts_open() => return Err(AskError::Unknown),
                Ok(reply) => {
                    self.note(slot, reply.epoch);
                    return Ok(reply);
                }
                Err(error) => return Err(error),
            }
            let pause = pauses.take();
            if Instant::now() + pause >= deadline || self.router.store_has_failed() {
                return if maybe_done { Err(AskError::Unknown) } else { answer };
            }
            self.router.count_repeat(maybe_done);
            tokio::time::sleep(pause).await;
        }
    }

    /// What happened to an entity after a version, ascending, at most `limit` records.
    pub async fn happened<K: Kind>(
        &self,
        id: &K::Id,
        after_version: u64,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Happened<<K::State as Entity>::Event>>, AskError> {
        let key = key_of::<K>(id);
        let (journal, slot) = (self.router.journal(), self.router.slot_of(&key));
        let entry = |record: &Record| {
            let events = events_of::<K>(&record.events).map_err(|_| AskError::Damaged)?;
            Ok(Happened { version: record.version, at: Time(record.at_ms), events })
        };
        let read = history::versions(&*journal, slot, &key, after_version, limit, self.router.marks(), entry);
        timeout_at(deadline, read).await.map_err(|_| AskError::DeadlinePassed)?
    }
}

fn outcome_of<K: Kind>(reply: &Reply) -> Result<Outcome<K>, AskError> {
    reply.outcome.as_ref().and_then(|o| o.downcast_ref::<Outcome<K>>()).cloned().ok_or(AskError::UnknownKind)
}

fn key_of<K: Kind>(id: &K::Id) -> EntityKey {
    EntityKey { kind: K::NUMBER, id: id.to_string().into() }
}

fn view<K: Kind>(version: u64, at: Time, state: Erased) -> Result<View<K>, AskError> {
    let state = state.downcast::<K::State>().map_err(|_| AskError::UnknownKind)?;
    Ok(View { version, at, state, position: None })
}
