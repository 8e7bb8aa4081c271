//! The supervisor: starts the writer and the slots, restarts what fails, with a backoff, and has slots come and leave as
//! the [roster](super::roster) says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot};

use super::dispatcher::Dispatcher;
use super::envelope::AskError;
use super::pauses::Failures;
use super::roster::{Ending, Roster, Step};
use super::router::Router;
use super::slot::actor::{SlotActor, SlotSeat};
use super::slot::asking::{Asking, OWED_PAGE};
use super::slot::message::{SlotMessage, Start};
use super::slot::shell::SlotContext;
use super::slot::{Claims, Common};
use super::writer::{Ended, Gathering, JournalWriter, WriterArguments, WriterLimits};
use crate::cluster::{Lease, Ownership};
use crate::metrics::Metrics;
use crate::persistence::{Epoch, Journal, Slot};

/// What slots and the writer are started from, the first time and again.
pub(super) struct Spawner {
    pub common: Arc<Common>,
    pub journal: Arc<dyn Journal>,
    pub gathering: Arc<Gathering>,
    pub dispatcher: Arc<Dispatcher>,
    pub ownership: Arc<Ownership>,
    pub router: Arc<Router>,
    pub metrics: Arc<Metrics>,
    pub claims: Arc<Claims>,
    pub loads: Arc<Semaphore>,
    pub index_reads: Arc<Semaphore>,
    pub lease: Arc<dyn Lease>,
    pub writer_limits: WriterLimits,
}

pub(super) enum SupervisorMessage {
    /// From the runtime: the slot is this node's, and begins so.
    Take(Slot, Start),
    /// From the runtime: the slot is to leave this node. The sender is told when it has; dropped, nothing lives here any more.
    Leave(Slot, oneshot::Sender<()>),
    /// From the runtime: the slot was suspended, is still this node's, and is at this epoch.
    Keep(Slot, Epoch),
    /// From the supervisor itself, after a pause: the actor that failed starts again.
    StartSlot(Slot),
    StartWriter,
    /// Idle entities may leave memory; the gauges are brought up to date.
    Sweep,
}

impl ractor::Message for SupervisorMessage {}

/// Starts the writer and the slots, and restarts what fails, with a backoff.
pub(super) struct Supervisor;

pub(super) struct SupervisorState {
    spawner: Spawner,
    roster: Roster,
    children: HashMap<ActorId, Child>,
    failures: Failures<Child>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Child {
    Writer,
    Slot(Slot),
}

const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[async_trait::async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = (Spawner, Vec<(Slot, Start)>, oneshot::Sender<()>);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (spawner, starts, ready): Self::Arguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let (roster, children, failures) = (Roster::default(), HashMap::new(), Failures::new());
        let mut state = SupervisorState { spawner, roster, children, failures };
        state.start_writer(&myself).await?;
        for (slot, start) in starts {
            if let Some(step) = state.roster.take(slot, start) {
                state.carry_out(&myself, step).await?;
            }
        }
        state.close_the_others();
        myself.send_interval(SWEEP_EVERY, || SupervisorMessage::Sweep);
        let _ = ready.send(()); // the starter waits for it unless it has given up
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Take(slot, start) => {
                let steps = state.roster.take(slot, start);
                state.carry_all_out(&myself, slot, steps).await;
            }
            SupervisorMessage::Leave(slot, done) => {
                let steps = state.roster.leave(slot, done);
                state.carry_all_out(&myself, slot, steps).await;
            }
            SupervisorMessage::Keep(slot, epoch) => {
                state.spawner.router.cast(usize::from(slot), SlotMessage::Keep(epoch));
            }
            SupervisorMessage::StartSlot(slot) => {
                let has_actor = state.children.values().any(|child| *child == Child::Slot(slot));
                let steps = state.roster.restart(slot, has_actor);
                state.carry_all_out(&myself, slot, steps).await;
            }
            SupervisorMessage::StartWriter => {
                if let Err(error) = state.start_writer(&myself).await {
                    state.writer_failed(&myself, &error.to_string());
                }
            }
            SupervisorMessage::Sweep => {
                for child in state.children.values() {
                    if let Child::Slot(slot) = child {
                        state.spawner.router.cast(usize::from(*slot), SlotMessage::Passivate);
                    }
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                state.ended(&myself, cell.get_id(), Ending::Failed, &error.to_string()).await;
            }
            SupervisionEvent::ActorTerminated(cell, _, why) => {
                let why = why.as_deref().unwrap_or("it ended");
                state.ended(&myself, cell.get_id(), Ending::Left, why).await;
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
            #[allow(unreachable_patterns)]
            _ => {}
        }
        Ok(())
    }
}

impl SupervisorState {
    /// Nothing is taken for slots that do not live here.
    fn close_the_others(&self) {
        for shared in self.spawner.router.slots.iter().filter(|shared| !self.roster.has(shared.slot)) {
            shared.close().into_iter().for_each(|envelope| envelope.reply.send(Err(AskError::Unavailable)));
        }
    }

    async fn carry_all_out(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        slot: Slot,
        steps: impl IntoIterator<Item = Step>,
    ) {
        for step in steps {
            if let Err(error) = self.carry_out(myself, step).await
                && !self.roster.ended(slot, Ending::Failed).is_empty()
            {
                self.restart_later(myself, slot, &error.to_string());
            }
        }
    }

    async fn carry_out(&mut self, myself: &ActorRef<SupervisorMessage>, step: Step) -> Result<(), ActorProcessingErr> {
        match step {
            Step::Start(slot, start) => {
                let actor = self.spawner.slot(myself, slot).await?;
                self.children.insert(actor.get_id(), Child::Slot(slot));
                let router = &self.spawner.router;
                router.seat(slot, Some(actor));
                if let Some(start) = start {
                    router.cast(usize::from(slot), SlotMessage::Begin(Box::new(start)));
                    router.cast(usize::from(slot), SlotMessage::Poke);
                }
            }
            Step::Leave(slot) => self.spawner.router.cast(usize::from(slot), SlotMessage::Leave),
            Step::RestartLater(slot) => self.restart_later(myself, slot, "it ended"),
            Step::IsAway(told) => {
                for told in told {
                    let _ = told.send(()); // nobody may be left to wait for it
                }
            }
        }
        Ok(())
    }

    async fn start_writer(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        let writer = self.spawner.writer(myself).await?;
        self.children.insert(writer, Child::Writer);
        Ok(())
    }

    /// A child has ended.
    async fn ended(&mut self, myself: &ActorRef<SupervisorMessage>, id: ActorId, ending: Ending, why: &str) {
        match self.children.remove(&id) {
            Some(Child::Writer) => self.writer_failed(myself, why),
            Some(Child::Slot(slot)) => {
                self.spawner.router.seat(slot, None);
                let steps = self.roster.ended(slot, ending);
                match steps[..] {
                    [Step::RestartLater(slot)] => self.restart_later(myself, slot, why),
                    _ => self.carry_all_out(myself, slot, steps).await,
                }
            }
            None => {}
        }
    }

    fn restart_later(&mut self, myself: &ActorRef<SupervisorMessage>, slot: Slot, error: &str) {
        let pause = self.pause_after_failure(Child::Slot(slot), error);
        self.spawner.metrics.slot_restarts.inc();
        myself.send_after(pause, move || SupervisorMessage::StartSlot(slot));
    }

    /// What was in the writer's hands has an unknown outcome, in every slot.
    fn writer_failed(&mut self, myself: &ActorRef<SupervisorMessage>, error: &str) {
        let pause = self.pause_after_failure(Child::Writer, error);
        for shared in &self.spawner.router.slots {
            let generation = shared.generation();
            self.spawner.gathering.end_generation(shared.slot, generation, Ended::Unknown);
            let ended = SlotMessage::Ended { generation, why: Ended::Unknown };
            self.spawner.router.cast(usize::from(shared.slot), ended);
        }
        myself.send_after(pause, || SupervisorMessage::StartWriter);
    }

    /// The pause before a child starts again grows with every failure.
    fn pause_after_failure(&mut self, child: Child, error: &str) -> Duration {
        let pause = self.failures.pause(child);
        tracing::error!(?child, error, restart_after_ms = pause.as_millis(), "an actor failed");
        pause
    }
}

impl Spawner {
    async fn slot(
        &self,
        supervisor: &ActorRef<SupervisorMessage>,
        slot: Slot,
    ) -> Result<ActorRef<SlotMessage>, ActorProcessingErr> {
        let Spawner { common, journal, gathering, dispatcher, ownership, router, claims, lease, .. } = self;
        let shared = router.slots[usize::from(slot)].clone();
        let asking = Arc::new(Asking {
            shared: shared.clone(),
            kinds: common.kinds,
            receipts: common.limits.receipts,
            journal: journal.clone(),
            gathering: gathering.clone(),
            claims: claims.clone(),
            loads: self.loads.clone(),
            index_reads: self.index_reads.clone(),
            owed_page: OWED_PAGE,
        });
        let (common, ownership, lease) = (common.clone(), ownership.clone(), lease.clone());
        let context = SlotContext { shared, common, ownership, lease, journal: journal.clone() };
        let seat = SlotSeat { context, asking, gathering: gathering.clone(), sink: dispatcher.clone() };
        Ok(Actor::spawn_linked(None, SlotActor, seat, supervisor.get_cell()).await?.0)
    }

    async fn writer(&self, supervisor: &ActorRef<SupervisorMessage>) -> Result<ActorId, ActorProcessingErr> {
        let Spawner { journal, gathering, dispatcher, ownership, router, metrics, lease, writer_limits, .. } = self;
        let arguments = WriterArguments {
            owner: ownership.node.shared(),
            gathering: gathering.clone(),
            journal: journal.clone(),
            lease: lease.clone(),
            slots: router.slots.clone(),
            sink: dispatcher.clone(),
            limits: writer_limits.clone(),
            metrics: metrics.clone(),
            sleep: |time| Box::pin(tokio::time::sleep(time)),
        };
        Ok(Actor::spawn_linked(None, JournalWriter, arguments, supervisor.get_cell()).await?.0.get_id())
    }
}
