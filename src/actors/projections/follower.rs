//! The actor that keeps the read models fresh, and its supervisor.
//!
//! The follower does one round after another: a page of the scan, if one runs, and whatever is marked.
//! Between rounds it rests, so that an entity which changes all the time is read a few dozen times a
//! second and not thousands. When it fails, the supervisor starts it again and it scans anew.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::{FOLLOWED, Projections};
use crate::persistence::{EntityKey, StoreError};

/// The rest between two rounds: half of it is how much a list lags on average.
const PACE: Duration = Duration::from_millis(25);
/// The rest after a round in which the store could not be read.
const PACE_IN_TROUBLE: Duration = Duration::from_secs(1);
/// The rest between two pages of a scan: long enough for others to run.
const PACE_OF_SCAN: Duration = Duration::from_millis(1);
/// Ids of one page of a scan.
const SCAN_PAGE: usize = 1_024;
const RESTART_AFTER: Duration = Duration::from_millis(200);

pub(super) struct ModelFollower;

pub(super) struct FollowerState {
    projections: Arc<Projections>,
    scan: Option<Scan>,
}

/// How far a scan has come: the kind (an index into [`FOLLOWED`]), and the last id of it that was read.
#[derive(Default)]
struct Scan {
    kind: usize,
    after: Option<Arc<str>>,
}

pub(super) enum FollowerMessage {
    Round,
}

#[async_trait::async_trait]
impl Actor for ModelFollower {
    type Msg = FollowerMessage;
    type State = FollowerState;
    type Arguments = Arc<Projections>;

    async fn pre_start(
        &self,
        myself: ActorRef<FollowerMessage>,
        projections: Arc<Projections>,
    ) -> Result<FollowerState, ActorProcessingErr> {
        myself.cast(FollowerMessage::Round)?;
        Ok(FollowerState { projections, scan: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<FollowerMessage>,
        FollowerMessage::Round: FollowerMessage,
        state: &mut FollowerState,
    ) -> Result<(), ActorProcessingErr> {
        let rest = match state.round().await {
            Ok(()) if state.scan.is_some() => PACE_OF_SCAN,
            Ok(()) => PACE,
            Err(error) => {
                tracing::warn!(%error, "a read model cannot list its entities");
                PACE_IN_TROUBLE
            }
        };
        myself.send_after(rest, || FollowerMessage::Round);
        Ok(())
    }
}

impl FollowerState {
    async fn round(&mut self) -> Result<(), StoreError> {
        let projections = self.projections.clone();
        if projections.dirty.take_lost() {
            self.scan = Some(Scan::default());
        }
        projections.refresh(projections.dirty.take()).await;
        if let Some(scan) = self.scan.take() {
            self.scan = self.scanned(scan).await?;
            if self.scan.is_none() && projections.dirty.is_empty() {
                projections.complete.send_replace(true);
            } else if self.scan.is_none() && !projections.is_complete() {
                // Marked meanwhile, or not readable at once: complete only when these are read too.
                self.scan = Some(Scan { kind: FOLLOWED.len(), after: None });
            }
        }
        Ok(())
    }

    /// Reads a page. The answer is where to go on; `None` at the end.
    async fn scanned(&mut self, scan: Scan) -> Result<Option<Scan>, StoreError> {
        let Some(kind) = FOLLOWED.get(scan.kind).copied() else { return Ok(None) };
        let projections = &self.projections;
        let page = match projections.journal.entities(kind, scan.after.as_deref(), SCAN_PAGE).await {
            Ok(page) => page,
            Err(error) => {
                self.scan = Some(scan);
                return Err(error);
            }
        };
        let last = page.last().filter(|_| page.len() == SCAN_PAGE).cloned();
        projections.refresh(page.into_iter().map(|id| EntityKey { kind, id }).collect()).await;
        Ok(Some(match last {
            Some(last) => Scan { kind: scan.kind, after: Some(last) },
            None => Scan { kind: scan.kind + 1, after: None },
        }))
    }
}

/// Starts the follower, and starts it again when it fails.
pub(super) struct Supervisor;

pub(super) enum SupervisorMessage {
    Start,
}

#[async_trait::async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = Arc<Projections>;
    type Arguments = Arc<Projections>;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        projections: Arc<Projections>,
    ) -> Result<Arc<Projections>, ActorProcessingErr> {
        myself.cast(SupervisorMessage::Start)?;
        Ok(projections)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        SupervisorMessage::Start: SupervisorMessage,
        projections: &mut Arc<Projections>,
    ) -> Result<(), ActorProcessingErr> {
        Actor::spawn_linked(None, ModelFollower, projections.clone(), myself.get_cell()).await?;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        projections: &mut Arc<Projections>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            tracing::error!(%error, restart_after_ms = RESTART_AFTER.as_millis(), "the follower of the read models failed");
            // What it had taken and not read is unknown.
            projections.dirty.lose();
            myself.send_after(RESTART_AFTER, || SupervisorMessage::Start);
        }
        Ok(())
    }
}
