//! The router: from an entity to the slot that hosts it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use ractor::ActorRef;
use tokio::time::Instant;

use super::counting::{Count, Counted, Counters};
use super::envelope::{AskError, Envelope, Reply, Wait};
use super::marks::Marks;
use super::overdue::{OverdueList, Place};
use super::slot::message::SlotMessage;
use super::slot::news::News;
use super::slot::{Delivered, SlotShared};
use crate::actors::kinds::Kinds;
use crate::actors::values::Time;
use crate::cluster::{Lease, NodeId, Ownership, slot_of};
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Epoch, Journal, Slot};

/// Where the slots are that do not live on this node. A node that is alone has none of it.
pub trait Elsewhere: Send + Sync + 'static {
    /// Brings a message to its slot, or has it wait until there is a way, or answers it.
    fn take(&self, envelope: Envelope);
    /// A slot of this node tells this of itself.
    fn news(&self, slot: Slot, news: News);
    /// The node that has the slot, as far as this one knows.
    fn owner(&self, slot: Slot) -> Option<NodeId>;
    /// How many nodes a request for a slot of another node goes to until it is there, as far as this one knows.
    fn hops(&self, slot: Slot) -> u8;
    /// What the entities of other nodes owe (see `attention`): a list of each. An error: one of them has not answered.
    fn overdue(
        &self,
        before: Time,
        after: Option<Place>,
        limit: usize,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Vec<OverdueList>, AskError>>;
    /// Counts at the node that has the counter. `None`: nobody has it now, or who has it does not answer in time.
    fn count(&self, count: Count, within: Duration) -> BoxFuture<'static, Option<Counted>>;
    /// What this node has is counted here. The first counts.
    fn count_with(&self, counters: Arc<dyn Counters>);
}

pub struct Router {
    pub(in crate::actors) slots: Vec<Arc<SlotShared>>,
    actors: Vec<RwLock<Option<ActorRef<SlotMessage>>>>,
    kinds: &'static Kinds,
    journal: Arc<dyn Journal>,
    ownership: Arc<Ownership>,
    lease: Arc<dyn Lease>,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
    /// The store must not be used any more: what is not done now never will be.
    store_has_failed: AtomicBool,
    metrics: Arc<Metrics>,
    /// Of every client of this node.
    marks: Marks,
}

impl Router {
    pub fn new(
        slots: Vec<Arc<SlotShared>>,
        kinds: &'static Kinds,
        journal: Arc<dyn Journal>,
        ownership: Arc<Ownership>,
        lease: Arc<dyn Lease>,
        metrics: Arc<Metrics>,
    ) -> Router {
        let actors = slots.iter().map(|_| RwLock::new(None)).collect();
        let marks = Marks::new(metrics.past_records_read.clone());
        let store_has_failed = AtomicBool::new(false);
        let elsewhere = OnceLock::new();
        Router { slots, actors, kinds, journal, ownership, lease, elsewhere, store_has_failed, metrics, marks }
    }

    /// Slots that do not live here are reached by this. The first counts.
    pub(super) fn connect(&self, elsewhere: Arc<dyn Elsewhere>) {
        let _ = self.elsewhere.set(elsewhere);
    }

    /// Hands a message to its slot, or answers it: a read with what the slot shows, anything with why it
    /// cannot be.
    pub fn send(&self, envelope: Envelope) {
        if let Some(envelope) = self.deliver(envelope) {
            self.bring_elsewhere(envelope);
        }
    }

    /// The same, where the slot lives here; otherwise the message comes back.
    pub fn deliver(&self, envelope: Envelope) -> Option<Envelope> {
        let slot = usize::from(envelope.slot);
        match self.slots[slot].deliver(envelope, &*self.lease, &self.metrics) {
            Delivered::Poke => self.cast(slot, SlotMessage::Poke),
            Delivered::Done => {}
            Delivered::NotHere(envelope) => return Some(envelope),
        }
        None
    }

    /// Counts a request that is asked again, after one that may have been done or certainly was not.
    pub fn count_repeat(&self, maybe_done: bool) {
        let after = if maybe_done { "unknown" } else { "unavailable" };
        self.metrics.requests_repeated.with_label_values(&[after]).inc();
    }

    fn bring_elsewhere(&self, envelope: Envelope) {
        match self.elsewhere.get() {
            // What the runtime tells a slot of its own is for this node alone.
            Some(elsewhere) if !self.store_has_failed() && !envelope.body.is_internal() => elsewhere.take(envelope),
            Some(_) | None => envelope.reply.send(Err(AskError::Unavailable)),
        }
    }

    /// A slot tells this of itself. Says whether there is anybody to whom it matters.
    pub(super) fn news(&self, slot: Slot, news: News) -> bool {
        self.elsewhere.get().inspect(|elsewhere| elsewhere.news(slot, news)).is_some()
    }

    /// Where the slots are that do not live here; `None`: there is nobody else.
    pub(super) fn elsewhere(&self) -> Option<&Arc<dyn Elsewhere>> {
        self.elsewhere.get()
    }

    /// The entity as its slot shows it, if it does.
    pub fn shown(&self, slot: Slot, key: &EntityKey, wait: Wait) -> Option<Reply> {
        self.slots[usize::from(slot)].shown(key, wait, &*self.lease)
    }

    /// Whether the slot takes messages here.
    pub fn is_open(&self, slot: Slot) -> bool {
        self.slots[usize::from(slot)].inbox.is_open()
    }

    pub(in crate::actors) fn cast(&self, slot: usize, message: SlotMessage) {
        if let Some(actor) = &*self.actors[slot].read() {
            let _ = actor.cast(message); // gone: its successor looks into the inbox when it starts
        }
    }

    pub(in crate::actors) fn seat(&self, slot: Slot, actor: Option<ActorRef<SlotMessage>>) {
        *self.actors[usize::from(slot)].write() = actor;
    }

    pub fn slot_of(&self, key: &EntityKey) -> Slot {
        slot_of(key.kind, &key.id, self.slots.len() as u16)
    }
    pub fn node(&self) -> &NodeId {
        &self.ownership.node
    }
    pub fn kinds(&self) -> &'static Kinds {
        self.kinds
    }
    pub fn marks(&self) -> &Marks {
        &self.marks
    }
    pub fn journal(&self) -> Arc<dyn Journal> {
        self.journal.clone()
    }
    /// Whether trying again is in vain, because the node is about to end.
    pub fn store_has_failed(&self) -> bool {
        self.store_has_failed.load(Ordering::Acquire)
    }
    pub(in crate::actors) fn store_failed(&self) {
        self.store_has_failed.store(true, Ordering::Release);
    }
    /// The node that has the slot, as far as this one knows.
    pub fn owner_name(&self, slot: Slot) -> String {
        let owner = self.elsewhere.get().and_then(|elsewhere| elsewhere.owner(slot));
        owner.unwrap_or_else(|| self.ownership.node.clone()).to_string()
    }
    /// How many nodes away the slot is, where it is another's, as far as this one knows.
    pub fn hops(&self, slot: Slot) -> u8 {
        self.elsewhere.get().map_or(0, |elsewhere| elsewhere.hops(slot))
    }
    pub fn epoch(&self, slot: Slot) -> Epoch {
        self.slots[usize::from(slot)].epoch()
    }
    /// How many messages wait in front of a slot of this node.
    pub fn queue_depth(&self, slot: Slot) -> usize {
        self.slots[usize::from(slot)].inbox.len()
    }
    pub fn restarts(&self, slot: Slot) -> u32 {
        self.slots[usize::from(slot)].restarts.load(Ordering::Relaxed)
    }
}
