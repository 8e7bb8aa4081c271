//! The runtime of a node: the journal writer, the slots, and the supervisor that restarts them. It starts with the slots
//! that it is given; later others may come, and each may leave.

pub mod appending;
pub mod attention;
pub mod client;
pub mod counting;
pub mod delivery;
pub mod dispatcher;
pub mod envelope;
pub mod erased;
pub mod forwarding;
pub mod history;
pub mod marks;
pub mod node_load;
pub mod overdue;
pub(in crate::actors) mod pauses;
mod progress;
pub mod pruning;
pub mod roster;
pub mod router;
pub mod slot;
mod supervisor;
pub mod verifying;
pub mod wire;
pub mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorRef};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::gateways::Gateway;
use super::kinds::Kinds;
use super::policy::Policy;
use crate::cluster::{Lease, NodeId, Ownership};
use crate::metrics::Metrics;
use crate::persistence::{Epoch, Journal, Slot, SlotHead, StoreError};
use client::Client;
use dispatcher::{Dispatcher, Follower, Surroundings};
use forwarding::Forwarder;
pub use progress::Progress;
use progress::SlotWatch;
use pruning::prune_for_ever;
use router::Router;
use slot::message::Start;
use slot::{Claims, Common, Memory, SlotLimits, SlotShared, claim_all};
use supervisor::{Spawner, Supervisor, SupervisorMessage};
use writer::{EffectSink, Gathering, QueueBudget, WriterLimits};

/// Entities of a node that are read from the store at once. It keeps any store busy, and leaves it room for commits.
const LOADS_MAX: usize = 128;
/// Pages of indexes, and heads, that a node's slots read from the store at once: a node begins with thousands of slots. Enough
/// to keep every connection of a store busy, and so few that none waits for one as long as it may.
const INDEX_READS_MAX: usize = 64;

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

    /// Slots that do not live on this node are reached by this.
    pub fn with_forwarder(self, forwarder: &Arc<Forwarder>) -> Prepared {
        forwarder.serve_with(&self.router);
        self.router.connect(forwarder.clone());
        self
    }

    /// Claims these slots, and starts to serve them. One whose stored data is damaged is quarantined.
    pub async fn start(self, slots: impl IntoIterator<Item = Slot>) -> Result<Runtime, StartError> {
        let gateways = &self.surroundings.gateways;
        if let Some((kind, gateway)) = self.config.kinds.gateways().find(|(_, name)| !gateways.contains_key(name)) {
            return Err(StartError::NoGateway { kind, gateway });
        }
        let slots: Vec<Slot> = slots.into_iter().collect();
        let starts = claim_all(&*self.journal, self.config.node.as_str(), &slots).await?;
        Ok(self.begin(starts).await?)
    }

    /// Starts the writer and the slots.
    async fn begin(self, starts: Vec<(Slot, Start)>) -> Result<Runtime, StoreError> {
        let Prepared { config, journal, lease, metrics, ownership, router, surroundings } = self;
        let claims = Claims::new(journal.clone(), config.node.shared());
        let dispatcher = Dispatcher::new(router.clone(), metrics.clone(), surroundings);
        let budget = Arc::new(QueueBudget::new(config.journal.queue_records_max, config.journal.queue_bytes_max));
        let gathering = Gathering::new(budget.clone());
        let common = Arc::new(Common {
            kinds: config.kinds,
            policy: Arc::new(config.policy),
            memory: Memory::new(config.slots.resident_bytes_max, usize::from(journal.slots())),
            limits: config.slots,
            budget,
            metrics: metrics.clone(),
        });
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
            index_reads: Arc::new(Semaphore::new(INDEX_READS_MAX)),
            lease,
            writer_limits: config.journal,
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
        Ok(Runtime { client, gathering, dispatcher, ownership, journal, supervisor, stopping, pruning })
    }
}

/// A running runtime.
pub struct Runtime {
    pub client: Client,
    gathering: Arc<Gathering>,
    dispatcher: Arc<Dispatcher>,
    pub ownership: Arc<Ownership>,
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

    /// Asks whether this node does its work: only then it may say that it lives.
    pub fn progress_handle(&self) -> impl FnMut() -> Progress + Send + use<> {
        let mut watch = SlotWatch::new(self.client.router().clone());
        let gathering = self.gathering.clone();
        move || Progress { settles: gathering.makes_progress(), stuck: watch.stuck().to_vec() }
    }

    /// Tells when the store must not be used any more.
    pub fn failed(&self) -> watch::Receiver<Option<StoreError>> {
        self.dispatcher.failed.subscribe()
    }

    /// Takes nothing any more, lets everything in flight become durable, and closes the store.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.drain().await.close().await
    }

    /// Has slots come, go and stand still on this node.
    pub fn slots(&self) -> Slots {
        Slots { supervisor: self.supervisor.clone(), router: self.client.router().clone() }
    }

    /// Takes nothing any more, and lets everything in flight become durable. What is not after a while (the
    /// store hangs) was never acknowledged. The answer is the store, still open.
    pub async fn drain(self) -> Arc<dyn Journal> {
        const SETTLE: Duration = Duration::from_secs(10);
        self.stopping.store(true, Ordering::Release);
        drop(self.pruning);
        let left = (0..self.journal.slots()).map(|slot| {
            let (done, left) = oneshot::channel();
            let _ = self.supervisor.cast(SupervisorMessage::Leave(slot, done)); // gone: nothing lives here any more
            left
        });
        if timeout(SETTLE, futures::future::join_all(left)).await.is_err() {
            tracing::error!("the store did not settle everything in time");
        }
        self.supervisor.stop(None);
        if self.supervisor.wait(Some(SETTLE)).await.is_err() {
            tracing::error!("the actors did not stop in time");
        }
        self.journal
    }
}

/// What a slot that lives here shows of itself to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotReading {
    /// Commands that wait in front of it.
    pub queue_depth: usize,
    /// Entities in memory, and the bytes that they take, about.
    pub residents: u64,
    pub resident_bytes: u64,
    /// The last record that was decided, and the last that is durable.
    pub decided_seq: u64,
    pub durable_seq: u64,
    pub restarts: u32,
}

/// A handle on the slots of a node. What is asked is done in the order in which it is asked.
#[derive(Clone)]
pub struct Slots {
    supervisor: ActorRef<SupervisorMessage>,
    router: Arc<Router>,
}

impl Slots {
    /// A slot that this node has claimed, and that stands so, begins to live here. (If it does already, nothing happens.)
    pub fn take(&self, slot: Slot, head: SlotHead) {
        self.allow(slot);
        self.tell(SupervisorMessage::Take(slot, Start::Claimed(head)));
    }

    /// The same for a slot that was given to this node at this epoch.
    pub fn take_given(&self, slot: Slot, epoch: Epoch) {
        self.allow(slot);
        self.tell(SupervisorMessage::Take(slot, Start::Given(epoch)));
    }

    /// The same for a slot whose claim has met damage, at this epoch: it claims itself, and is quarantined for as long as that
    /// meets damage again.
    pub fn take_damaged(&self, slot: Slot, epoch: Epoch) {
        self.allow(slot);
        self.tell(SupervisorMessage::Take(slot, Start::Unclaimed(epoch)));
    }

    /// Nothing that rests on the slot leaves this node, from the return of this on, until [`Slots::keep`] or until the slot is
    /// taken anew. It stays in memory.
    pub fn suspend(&self, slot: Slot) {
        if let Some(shared) = self.router.slots.get(usize::from(slot)) {
            shared.suspend();
        }
    }

    /// A slot that was suspended goes on, at this epoch: nobody else had it meanwhile.
    pub fn keep(&self, slot: Slot, epoch: Epoch) {
        self.allow(slot);
        self.tell(SupervisorMessage::Keep(slot, epoch));
    }

    /// The highest epoch of the slot that this process has seen.
    pub fn epoch(&self, slot: Slot) -> Epoch {
        self.router.epoch(slot)
    }

    /// `None`: the slot does not live here.
    pub fn reading(&self, slot: Slot) -> Option<SlotReading> {
        let shared = self.router.slots.get(usize::from(slot)).filter(|shared| shared.inbox.is_open())?;
        let durable_seq = shared.durable_seq(); // before what is decided, which is never behind it
        Some(SlotReading {
            queue_depth: shared.inbox.len(),
            residents: shared.reading.residents(),
            resident_bytes: shared.reading.resident_bytes(),
            decided_seq: shared.reading.decided_seq(),
            durable_seq,
            restarts: shared.restarts.load(Ordering::Relaxed),
        })
    }

    /// A slot leaves. When the answer is there, everything that the slot had in flight has settled, and nothing of it is in
    /// memory. What waited for it is brought to where it lives next. It is this node's in the store until another has it.
    pub fn leave(&self, slot: Slot) -> impl Future<Output = ()> + Send + use<> {
        let (done, left) = oneshot::channel();
        self.tell(SupervisorMessage::Leave(slot, done));
        async move { drop(left.await) } // dropped: nothing lives here any more
    }

    fn allow(&self, slot: Slot) {
        if let Some(shared) = self.router.slots.get(usize::from(slot)) {
            shared.allow();
        }
    }

    fn tell(&self, message: SupervisorMessage) {
        let _ = self.supervisor.cast(message); // gone: the node stops
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
