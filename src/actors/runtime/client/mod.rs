//! The client handle: how the edge, gateways and projections talk to entities.
//!
//! Everything here ends in one message to the slot that owns the entity, and one answer. A repeat of a
//! keyed request is answered with the outcome that it had; the state that goes with it is rebuilt from
//! the journal when the entity has moved on since.

pub mod answerer;
mod nodes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use answerer::Answerer;

pub use super::envelope::{AskError, Operated, Operation, OwedStep, Wait};
use super::envelope::{Body, Envelope, Keep, Reply, ReplyTo, Residence};
use super::erased::{Erased, events_of};
use super::history::{self, JournalEntry, StateAt, Until};
use super::pauses::Pauses;
use super::router::Router;
use super::verifying::{self, Verification};
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

/// Everything an operator can know of an entity. Secrets are redacted.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    pub kind: &'static str,
    pub id: String,
    pub node: String,
    pub slot: u16,
    pub epoch: u64,
    pub version: u64,
    pub state: serde_json::Value,
    /// Whether it was in memory before it was asked.
    pub resident: bool,
    pub last_activity: Option<Time>,
    pub owed: Vec<OwedStep>,
    pub wake_at: Option<Time>,
    pub receipts: usize,
    pub restarts: u32,
    pub panics: u32,
    pub size_bytes: usize,
}

/// An entity that was verified.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    pub kind: &'static str,
    pub id: String,
    pub node: String,
    pub slot: u16,
    pub epoch: u64,
    /// Whether it was in memory before it was asked.
    pub was_resident: bool,
    #[serde(flatten)]
    pub verification: Verification,
}

/// How long an operator waits for what is in flight.
const BUSY_AT_MOST: Duration = Duration::from_secs(1);

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

    /// What an operator sees of an entity; `None` when nobody has ever touched it.
    pub async fn inspect(&self, kind: &str, id: &str, deadline: Instant) -> Result<Option<Inspection>, AskError> {
        let (kind, key) = self.named(kind, id)?;
        let slot = self.router.slot_of(&key);
        let request = RequestId::default();
        let reply = self.send_wanting(key, request, Caller::System, Body::Inspect, deadline, false).await?;
        let Residence { resident, epoch, version, last_activity, owed, wake_at, receipts, panics, size_bytes, state } =
            *reply.residence.ok_or(AskError::Unavailable)?;
        // It may be in memory all the same, because somebody has asked for it.
        if version == 0 {
            return Ok(None);
        }
        Ok(Some(Inspection {
            kind,
            id: id.to_owned(),
            node: self.router.owner_name(slot),
            slot,
            epoch,
            version,
            state,
            resident,
            last_activity,
            owed,
            wake_at,
            receipts,
            restarts: self.router.restarts(slot),
            panics,
            size_bytes,
        }))
    }

    /// Has the slot of an entity do something with it. `None` when nobody has ever touched the entity.
    pub async fn operate(
        &self,
        kind: &str,
        id: &str,
        operation: Operation,
        deadline: Instant,
    ) -> Result<Option<Operated>, AskError> {
        let (_, key) = self.named(kind, id)?;
        if !self.is_known(&key, deadline).await? {
            return Ok(None);
        }
        let mut pauses = Pauses::new(RETRY_FIRST, RETRY_MAX);
        let busy_until = deadline.min(Instant::now() + BUSY_AT_MOST);
        loop {
            let (request, body) = (RequestId::default(), Body::Operate(operation));
            let reply = self.send_wanting(key.clone(), request, Caller::System, body, deadline, false).await?;
            let came = reply.outcome.and_then(|came| came.downcast_ref::<Operated>().copied());
            let pause = pauses.take();
            match came.ok_or(AskError::UnknownKind)? {
                // What is in flight settles in a moment.
                Operated::Busy if Instant::now() + pause < busy_until => tokio::time::sleep(pause).await,
                came => return Ok(Some(came)),
            }
        }
    }

    /// Whether the entity has a record.
    async fn is_known(&self, key: &EntityKey, deadline: Instant) -> Result<bool, AskError> {
        let journal = self.router.journal();
        let first = timeout_at(deadline, journal.records(self.router.slot_of(key), key, 0, 1)).await;
        Ok(!first.map_err(|_| AskError::DeadlinePassed)?.map_err(history::ask_error)?.is_empty())
    }

    /// Compares an entity with its events. `None` when nobody has ever touched it.
    pub async fn verify(&self, kind: &str, id: &str, deadline: Instant) -> Result<Option<Verified>, AskError> {
        let (kind, key) = self.named(kind, id)?;
        let spec = self.router.kinds().by_number(key.kind).ok_or(AskError::UnknownKind)?;
        let (journal, slot) = (self.router.journal(), self.router.slot_of(&key));
        // The snapshot first: what is served is then no older.
        let snapshot = timeout_at(deadline, journal.load(slot, &key)).await.map_err(|_| AskError::DeadlinePassed)?;
        let is_new = snapshot.as_ref().is_ok_and(|history| history.snapshot.is_none() && history.records.is_empty());
        if is_new {
            return Ok(None);
        }
        let snapshot = snapshot.map(|history| history.snapshot);
        let request = RequestId::default();
        let served = match self.send_wanting(key.clone(), request, Caller::System, Body::Inspect, deadline, true).await
        {
            Err(error) if !matches!(error, AskError::Damaged | AskError::Panicked) => return Err(error),
            served => served,
        };
        let residence = served.as_ref().ok().and_then(|reply| reply.residence.as_deref());
        let (was_resident, epoch) =
            residence.map_or((false, self.router.epoch(slot)), |residence| (residence.resident, residence.epoch));
        let work = verifying::verify(&*journal, spec, slot, &key, snapshot, served, self.router.marks());
        let verification = timeout_at(deadline, work).await.map_err(|_| AskError::DeadlinePassed)??;
        let node = self.router.owner_name(slot);
        Ok(Some(Verified { kind, id: id.to_owned(), node, slot, epoch, was_resident, verification }))
    }

    /// Versions of an entity after `after_version`, ascending, at most `limit`.
    pub async fn journal(
        &self,
        kind: &str,
        id: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<JournalEntry>, AskError> {
        let (_, key) = self.named(kind, id)?;
        let spec = self.router.kinds().by_number(key.kind).ok_or(AskError::UnknownKind)?;
        let (journal, slot) = (self.router.journal(), self.router.slot_of(&key));
        history::entries(&*journal, spec, slot, &key, after_version, limit, self.router.marks()).await
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

    /// Ids of the entities of a kind that have been touched, ascending, behind an id: from the store, so of all nodes.
    pub async fn ids(
        &self,
        kind: &str,
        after: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Arc<str>>, AskError> {
        let spec = self.router.kinds().by_name(kind).ok_or(AskError::UnknownKind)?;
        let journal = self.router.journal();
        let read = timeout_at(deadline, journal.entities(spec.number(), after, limit));
        read.await.map_err(|_| AskError::DeadlinePassed)?.map_err(history::ask_error)
    }

    /// The state at a version; the present one for `None`.
    pub async fn state_at(&self, kind: &str, id: &str, version: Option<u64>) -> Result<StateAt, AskError> {
        let (_, key) = self.named(kind, id)?;
        let past = self.past(&key, Until::Version(version.unwrap_or(u64::MAX))).await?;
        Ok(StateAt::of(&past, version))
    }

    fn named(&self, kind: &str, id: &str) -> Result<(&'static str, EntityKey), AskError> {
        let spec = self.router.kinds().by_name(kind).ok_or(AskError::UnknownKind)?;
        if !spec.accepts(id) {
            return Err(AskError::UnknownKind);
        }
        Ok((spec.name(), EntityKey { kind: spec.number(), id: id.into() }))
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
