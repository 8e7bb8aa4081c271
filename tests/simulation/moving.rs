//! Slots that leave the node and come back, at any moment: as a cluster will have it. What they have acknowledged is
//! there when they are back, and nothing is done twice.

use futures::FutureExt;
use souk::persistence::{Journal, Slot, SlotHead};
use tokio::sync::oneshot::error::TryRecvError;

use crate::world::World;

impl World {
    /// A slot is told to leave.
    pub fn leave(&mut self, slot: Slot) {
        let Some(node) = &mut self.node else { return };
        let left = node.leave(slot);
        self.leaving.push((slot, left));
        self.say(|| format!("slot {slot} is to leave"));
        self.count("slots told to leave");
    }

    /// Sees which slots have left. Whoever waits is told, also where an actor has failed on the way.
    pub fn see_who_has_left(&mut self) {
        let mut gone = Vec::new();
        self.leaving.retain_mut(|(slot, left)| match left.try_recv() {
            Ok(()) => {
                gone.push(*slot);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => panic!("nobody says whether slot {slot} has left"),
        });
        for slot in gone {
            self.say(|| format!("slot {slot} has left"));
            self.count("slots that left");
        }
    }

    /// Slots that are away, or about to be.
    pub fn away(&self) -> Vec<Slot> {
        let Some(node) = &self.node else { return Vec::new() };
        (0..self.journal.slots()).filter(|slot| !node.has(*slot) || node.is_leaving(*slot)).collect()
    }

    /// A slot that is away is claimed for the node, and comes back. It may still be on its way out.
    pub fn come_back(&mut self, slot: Slot) {
        let Some(id) = self.node.as_ref().map(|node| node.id.clone()) else { return };
        if let Some(head) = self.claim(slot, id.as_str())
            && let Some(node) = &mut self.node
        {
            node.take(slot, head);
            self.say(|| format!("slot {slot} comes back"));
            self.count("slots that came back");
        }
    }

    /// The slot's epoch goes up, for this owner.
    pub fn claim(&self, slot: Slot, owner: &str) -> Option<SlotHead> {
        let store = self.journal.durable();
        let heads = store.heads().now_or_never()?.ok()?;
        let epoch = heads.get(usize::from(slot))?.epoch;
        store.claim(owner, &[(slot, epoch)]).now_or_never()?.ok()?.pop()?.ok()
    }

    /// A node that has lost a slot to another, or its store, ends itself.
    pub fn end_if_the_store_has_failed(&mut self) {
        if self.node.as_ref().is_some_and(|node| node.has_failed) {
            self.count("nodes that ended themselves");
            self.crash();
            if !self.chaos.is_on {
                self.start_node();
            }
        }
    }
}
