//! The runtime of a node: the journal writer, the slots, and the supervisor that restarts them.

pub mod appending;
pub mod attention;
pub mod client;
pub mod dispatcher;
pub mod envelope;
pub mod erased;
pub mod history;
pub mod marks;
mod pauses;
pub mod pruning;
pub mod router;
pub mod slot;
pub mod wire;
pub mod writer;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::gateways::Gateway;
use super::kinds::Kinds;
use super::policy::Policy;
use crate::cluster::{Lease, NodeId, Ownership};
use crate::metrics::Metrics;
use crate::persistence::{Journal, Slot, StoreError};
use client::Client;
use dispatcher::{Dispatcher, Follower, Surroundings};
use envelope::AskError;
use pruning::prune_for_ever;
use router::Router;
use slot::actor::{SlotActor, SlotSeat};
use slot::message::{SlotMessage, Start};
use slot::{Claims, Common, Memory, SlotLimits, SlotShared, claim_all};
use writer::{EffectSink, Ended, Gathering, JournalWriter, Room, WriterArguments, WriterLimits};

/// Entities of a node that are read from the store at once. It keeps any store busy, and leaves it room for commits.
const LOADS_MAX: usize = 128;

/// How a runtime is set up. `slots` and `journal` are the sections of `config/default.toml`.
pub struct RuntimeConfig {
    pub node: NodeId,
    pub kinds: &'static Kinds,
    pub policy: Policy,
    pub slots: SlotLimits,
    pub journal: WriterLimits,
}

/// Why a runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What its entities owe would never be sent.
    #[error("entities of kind {kind} may owe something to the gateway {gateway:?}, and there is none")]
    NoGateway { kind: &'static str, gateway: &'static str },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A runtime that has begun nothing: it has claimed no slot and read nothing.
///
/// Whom it calls is given to it here, with the help of its client where need be. From the first moment slots send
/// what they find owed and tell what changes, so nothing can be given to a runtime that has started.
pub struct Prepared {
    config: RuntimeConfig,
    journal: Arc<dyn Journal>,
    lease: Arc<dyn Lease>,
    metrics: Arc<Metrics>,
    ownership: Arc<Ownership>,
    router: Arc<Router>,
    surroundings: Surroundings,
}

impl Prepared {
    /// What is asked with it waits until the runtime has started.
    pub fn client(&self) -> Client {
        Client::new(self.router.clone())
    }

    pub fn with_gateway(mut self, name: &'static str, gateway: Arc<dyn Gateway>) -> Prepared {
        self.surroundings.gateways.insert(name, gateway);
        self
    }

    pub fn with_follower(mut self, follower: Arc<dyn Follower>) -> Prepared {
        self.surroundings.followers.push(follower);
        self
    }

    /// Claims every slot, and starts to serve. A slot whose stored data is damaged is quarantined.
    pub async fn start(self) -> Result<Runtime, StartError> {
        let gateways = &self.surroundings.gateways;
        if let Some((kind, gateway)) = self.config.kinds.gateways().find(|(_, name)| !gateways.contains_key(name)) {
            return Err(StartError::NoGateway { kind, gateway });
        }
        let claims = Claims::new(self.journal.clone(), self.config.node.shared());
        let starts = claim_all(&*self.journal, &claims).await?;
        Ok(self.begin(claims, starts).await?)
    }

    /// Starts the writer and the slots.
    async fn begin(self, claims: Arc<Claims>, starts: Vec<Start>) -> Result<Runtime, StoreError> {
        let Prepared { config, journal, lease, metrics, ownership, router, surroundings } = self;
        let dispatcher = Dispatcher::new(router.clone(), metrics.clone(), surroundings);
        let room = Arc::new(Room::new(config.journal.queue_records_max, config.journal.queue_bytes_max));
        let gathering = Gathering::new(room.clone());
        let common = Arc::new(Common {
            kinds: config.kinds,
            policy: Arc::new(config.policy),
            memory: Memory::new(config.slots.resident_bytes_max, usize::from(journal.slots())),
            limits: config.slots,
            room,
            metrics: metrics.clone(),
        });
        let writer = WriterSeat { lease, limits: config.journal };
        let spawner = Spawner {
            common,
            journal: journal.clone(),
            gathering: gathering.clone(),
            dispatcher: dispatcher.clone(),
            ownership: ownership.clone(),
            router: router.clone(),
            metrics: metrics.clone(),
            claims,
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            writer,
        };
        let (ready, started) = oneshot::channel();
        let arguments = (spawner, starts, ready);
        let (supervisor, _) = Actor::spawn(None, Supervisor, arguments)
            .await
            .map_err(|error| StoreError::Fatal(format!("the runtime cannot start: {error}")))?;
        let _ = started.await; // dropped only when the supervisor has failed, which is reported above
        let stopping = Arc::new(AtomicBool::new(false));
        tokio::spawn(end_with(supervisor.clone(), stopping.clone(), dispatcher.clone()));
        let client = Client::new(router.clone());
        let pruning = prune(journal.clone(), metrics);
        Ok(Runtime { client, dispatcher, ownership, router, journal, supervisor, stopping, pruning })
    }
}

/// A running runtime.
pub struct Runtime {
    pub client: Client,
    dispatcher: Arc<Dispatcher>,
    pub ownership: Arc<Ownership>,
    router: Arc<Router>,
    journal: Arc<dyn Journal>,
    supervisor: ActorRef<SupervisorMessage>,
    stopping: Arc<AtomicBool>,
    pruning: DropGuard,
}

impl Runtime {
    /// The first of two steps: [`Prepared::start`] is the second.
    pub fn prepare(
        config: RuntimeConfig,
        journal: Arc<dyn Journal>,
        lease: Arc<dyn Lease>,
        metrics: Arc<Metrics>,
    ) -> Prepared {
        let ownership = Arc::new(Ownership::new(config.node.clone(), journal.slots()));
        let slots: Vec<_> = (0..journal.slots()).map(|slot| SlotShared::new(slot, config.slots.mailbox_max)).collect();
        let router =
            Router::new(slots, config.kinds, journal.clone(), ownership.clone(), lease.clone(), metrics.clone());
        let (router, surroundings) = (Arc::new(router), Surroundings::default());
        Prepared { config, journal, lease, metrics, ownership, router, surroundings }
    }

    /// Ends the node, when called: the store must not be used any more.
    pub fn fail_handle(&self) -> impl FnOnce(StoreError) + Send + use<> {
        let dispatcher = self.dispatcher.clone();
        move |error| dispatcher.store_failed(error)
    }

    /// Tells when the store must not be used any more.
    pub fn failed(&self) -> watch::Receiver<Option<StoreError>> {
        self.dispatcher.failed.subscribe()
    }

    /// Takes nothing any more, lets everything in flight become durable, and closes the store.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.drain().await.close().await
    }

    /// Takes nothing any more, and lets everything in flight become durable. What is not after a while (the
    /// store hangs) was never acknowledged. The answer is the store, still open.
    pub async fn drain(self) -> Arc<dyn Journal> {
        const SETTLE: Duration = Duration::from_secs(10);
        self.stopping.store(true, Ordering::Release);
        drop(self.pruning);
        let drained = self.router.slots.iter().enumerate().map(|(slot, shared)| {
            let (done, drained) = oneshot::channel();
            shared.close().into_iter().for_each(|envelope| envelope.reply.send(Err(AskError::Unavailable)));
            self.router.cast(slot, SlotMessage::Drain(done));
            drained
        });
        if timeout(SETTLE, futures::future::join_all(drained)).await.is_err() {
            tracing::error!("the store did not settle everything in time");
        }
        for shared in &self.router.slots {
            shared.next_generation(); // whoever still sends what is owed stops
        }
        self.supervisor.stop(None);
        if self.supervisor.wait(Some(SETTLE)).await.is_err() {
            tracing::error!("the actors did not stop in time");
        }
        self.journal
    }
}

/// Without its supervisor a node restarts nothing: it stops.
async fn end_with(supervisor: ActorRef<SupervisorMessage>, stopping: Arc<AtomicBool>, dispatcher: Arc<Dispatcher>) {
    let _ = supervisor.wait(None).await; // however it ended
    if !stopping.load(Ordering::Acquire) {
        dispatcher.store_failed(StoreError::Fatal("the runtime's supervisor has ended".into()));
    }
}

/// Receipts are pruned until the guard is dropped.
fn prune(journal: Arc<dyn Journal>, metrics: Arc<Metrics>) -> DropGuard {
    let stopped = CancellationToken::new();
    let work = async move { prune_for_ever(&*journal, &metrics).await };
    tokio::spawn(stopped.clone().run_until_cancelled_owned(work));
    stopped.drop_guard()
}

/// What slots and the writer are started from, the first time and again.
struct Spawner {
    common: Arc<Common>,
    journal: Arc<dyn Journal>,
    gathering: Arc<Gathering>,
    dispatcher: Arc<Dispatcher>,
    ownership: Arc<Ownership>,
    router: Arc<Router>,
    metrics: Arc<Metrics>,
    claims: Arc<Claims>,
    loads: Arc<Semaphore>,
    writer: WriterSeat,
}

struct WriterSeat {
    lease: Arc<dyn Lease>,
    limits: WriterLimits,
}

enum SupervisorMessage {
    StartSlot(Slot),
    StartWriter,
    /// Idle entities may leave memory; the gauges are brought up to date.
    Sweep,
}

/// Starts the writer and the slots, and restarts what fails, with a backoff.
struct Supervisor;

struct SupervisorState {
    spawner: Spawner,
    children: HashMap<ActorId, Child>,
    failures: HashMap<Child, (u32, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Child {
    Writer,
    Slot(Slot),
}

const SWEEP_EVERY: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// After this long without a failure the backoff begins anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

#[async_trait::async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = (Spawner, Vec<Start>, oneshot::Sender<()>);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (spawner, starts, ready): Self::Arguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let mut state = SupervisorState { spawner, children: HashMap::new(), failures: HashMap::new() };
        state.start_writer(&myself).await?;
        for (slot, start) in (0..).zip(starts) {
            state.start_slot(&myself, slot, start).await?;
        }
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
            SupervisorMessage::StartSlot(slot) => {
                if let Err(error) = state.start_slot(&myself, slot, Start::Recover).await {
                    state.failed(&myself, Child::Slot(slot), &error.to_string());
                }
            }
            SupervisorMessage::StartWriter => {
                if let Err(error) = state.start_writer(&myself).await {
                    state.failed(&myself, Child::Writer, &error.to_string());
                }
            }
            SupervisorMessage::Sweep => {
                for slot in 0..state.spawner.router.slots.len() {
                    state.spawner.router.cast(slot, SlotMessage::Passivate);
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
                if let Some(child) = state.children.remove(&cell.get_id()) {
                    state.failed(&myself, child, &error.to_string());
                }
            }
            SupervisionEvent::ActorTerminated(cell, _, why) => {
                if let Some(child) = state.children.remove(&cell.get_id()) {
                    state.failed(&myself, child, why.as_deref().unwrap_or("it ended"));
                }
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
            #[allow(unreachable_patterns)]
            _ => {}
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn start_slot(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        slot: Slot,
        start: Start,
    ) -> Result<(), ActorProcessingErr> {
        let Spawner { common, journal, gathering, dispatcher, ownership, router, .. } = &self.spawner;
        let seat = SlotSeat {
            shared: router.slots[usize::from(slot)].clone(),
            common: common.clone(),
            journal: journal.clone(),
            gathering: gathering.clone(),
            sink: dispatcher.clone(),
            ownership: ownership.clone(),
            lease: self.spawner.writer.lease.clone(),
            claims: self.spawner.claims.clone(),
            loads: self.spawner.loads.clone(),
        };
        let (actor, _) = Actor::spawn_linked(None, SlotActor, seat, myself.get_cell()).await?;
        self.children.insert(actor.get_id(), Child::Slot(slot));
        router.seat(slot, Some(actor));
        router.cast(usize::from(slot), SlotMessage::Begin(start));
        router.cast(usize::from(slot), SlotMessage::Poke);
        Ok(())
    }

    async fn start_writer(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        let Spawner { journal, gathering, dispatcher, ownership, router, metrics, writer, .. } = &self.spawner;
        let arguments = WriterArguments {
            owner: ownership.node.shared(),
            gathering: gathering.clone(),
            journal: journal.clone(),
            lease: writer.lease.clone(),
            slots: router.slots.clone(),
            sink: dispatcher.clone(),
            limits: writer.limits.clone(),
            metrics: metrics.clone(),
            sleep: |time| Box::pin(tokio::time::sleep(time)),
        };
        let (actor, _) = Actor::spawn_linked(None, JournalWriter, arguments, myself.get_cell()).await?;
        self.children.insert(actor.get_id(), Child::Writer);
        Ok(())
    }

    /// A child has failed: it starts again after a pause that grows with every failure.
    fn failed(&mut self, myself: &ActorRef<SupervisorMessage>, child: Child, error: &str) {
        let (count, last) = self.failures.entry(child).or_insert((0, Instant::now()));
        *count = if last.elapsed() > FORGIVEN_AFTER { 1 } else { *count + 1 };
        *last = Instant::now();
        let pause = (BACKOFF_FIRST * 2u32.saturating_pow((*count - 1).min(16))).min(BACKOFF_MAX);
        tracing::error!(?child, error, restart_after_ms = pause.as_millis(), "an actor failed");
        match child {
            Child::Slot(slot) => {
                self.spawner.metrics.slot_restarts.inc();
                self.spawner.router.seat(slot, None);
                myself.send_after(pause, move || SupervisorMessage::StartSlot(slot));
            }
            // What was in the writer's hands has an unknown outcome, in every slot.
            Child::Writer => {
                for shared in &self.spawner.router.slots {
                    let generation = shared.generation();
                    self.spawner.gathering.end_generation(shared.slot, generation, Ended::Unknown);
                    let ended = SlotMessage::Ended { generation, why: Ended::Unknown };
                    self.spawner.router.cast(usize::from(shared.slot), ended);
                }
                myself.send_after(pause, || SupervisorMessage::StartWriter);
            }
        }
    }
}
