//! The router: from an entity to the slot that hosts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use ractor::ActorRef;

use super::envelope::{Envelope, Reply, Wait};
use super::marks::Marks;
use super::slot::SlotShared;
use super::slot::message::SlotMessage;
use crate::actors::kinds::Kinds;
use crate::cluster::{Lease, Ownership, slot_of};
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Epoch, Journal, Slot};

pub struct Router {
    pub(in crate::actors) slots: Vec<Arc<SlotShared>>,
    actors: Vec<RwLock<Option<ActorRef<SlotMessage>>>>,
    kinds: &'static Kinds,
    journal: Arc<dyn Journal>,
    ownership: Arc<Ownership>,
    lease: Arc<dyn Lease>,
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
        Router { slots, actors, kinds, journal, ownership, lease, store_has_failed, metrics, marks }
    }

    /// Hands a message to its slot, or answers it: a read with what the slot shows, anything with why it
    /// cannot be.
    pub fn send(&self, envelope: Envelope) {
        let slot = usize::from(envelope.slot);
        if self.slots[slot].deliver(envelope, &*self.lease, &self.metrics) {
            self.cast(slot, SlotMessage::Poke);
        }
    }

    /// The entity as its slot shows it, if it does.
    pub fn shown(&self, key: &EntityKey, wait: Wait) -> Option<Reply> {
        self.slots[usize::from(self.slot_of(key))].shown(key, wait, &*self.lease)
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
    pub fn node_name(&self) -> String {
        self.ownership.node.to_string()
    }
    pub fn epoch(&self, slot: Slot) -> Epoch {
        self.slots[usize::from(slot)].epoch()
    }
    pub fn restarts(&self, slot: Slot) -> u32 {
        self.slots[usize::from(slot)].restarts.load(Ordering::Relaxed)
    }
}
