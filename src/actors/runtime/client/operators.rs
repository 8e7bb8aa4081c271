//! What operators ask: what an entity is, was and has done, whether it is what its events say, and that it does something.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::super::envelope::{AskError, Body, Operated, Operation, OwedStep, Residence};
use super::super::history::{self, JournalEntry, StateAt, Until};
use super::super::pauses::Pauses;
use super::super::verifying::{self, Verification};
use super::{Client, RETRY_FIRST, RETRY_MAX};
use crate::actors::entity::Caller;
use crate::actors::values::{RequestId, Time};
use crate::persistence::EntityKey;

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
    /// How often the slot's actor was started again, and how many commands wait in front of it; null where another node has the
    /// slot: what comes from there does not say it.
    pub restarts: Option<u32>,
    pub queue_depth: Option<usize>,
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

impl Client {
    /// What an operator sees of an entity; `None` when nobody has ever touched it.
    pub async fn inspect(&self, kind: &str, id: &str, deadline: Instant) -> Result<Option<Inspection>, AskError> {
        let (kind, key) = self.named(kind, id)?;
        let slot = self.router.slot_of(&key);
        let request = RequestId::default();
        let reply = self.send_wanting(key, request, Caller::System, Body::Inspect, deadline, false).await?;
        let is_here = reply.epoch == 0;
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
            restarts: is_here.then(|| self.router.restarts(slot)),
            queue_depth: is_here.then(|| self.router.queue_depth(slot)),
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
