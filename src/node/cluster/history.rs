//! What this node has seen of each slot's owners, and of how drains began: for operators. It is memory, and begins anew with
//! each incarnation of the node.

use std::collections::{BTreeMap, VecDeque};

use crate::actors::values::Time;
use crate::cluster::NodeId;
use crate::cluster::protocol::messages::Event;
use crate::persistence::{Epoch, Slot};

/// Changes kept of each slot. The oldest make room.
const KEPT_PER_SLOT: usize = 16;
/// Nodes whose drains are remembered. There are never that many in a cluster.
const DRAINS_MAX: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeWhy {
    Claimed,
    Moved,
    Fenced,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub at: Time,
    pub epoch: Epoch,
    /// `None`: this node did not learn it at that time.
    pub owner: Option<NodeId>,
    pub why: ChangeWhy,
    /// For how long the slot was served nowhere, where this node gave it away.
    pub pause_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct History {
    slots: BTreeMap<Slot, VecDeque<Change>>,
    /// How many slots each node had when its drain began.
    drains: BTreeMap<NodeId, usize>,
}

/// What only this node can say of an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside {
    /// Of a slot that it gave away: for how long it was served nowhere.
    pub pause_ms: Option<u64>,
    /// Of a drain that begins: how many slots the node has.
    pub slots: Option<usize>,
}

impl History {
    pub fn take(&mut self, at: Time, event: &Event, beside: Beside) {
        let (slot, epoch, owner, why) = match event {
            Event::SlotClaimed { slot, node, epoch } => (*slot, *epoch, Some(node.clone()), ChangeWhy::Claimed),
            Event::SlotMoved { slot, node, epoch, .. } => (*slot, *epoch, Some(node.clone()), ChangeWhy::Moved),
            Event::SlotFenced { slot, epoch } => (*slot, *epoch, None, ChangeWhy::Fenced),
            Event::DrainStarted { node } => return self.drain_began(node, beside.slots.unwrap_or(0)),
            Event::NodeJoined { .. }
            | Event::NodeLeft { .. }
            | Event::NodeLost { .. }
            | Event::NodeBack { .. }
            | Event::HandOffGivenUp { .. }
            | Event::DrainDone { .. }
            | Event::Cordoned { .. }
            | Event::Uncordoned { .. }
            | Event::Pinned { .. }
            | Event::Unpinned { .. }
            | Event::PlanChanged { .. }
            | Event::VersionChanged { .. } => return,
        };
        let changes = self.slots.entry(slot).or_default();
        if changes.len() == KEPT_PER_SLOT {
            changes.pop_front();
        }
        changes.push_back(Change { at, epoch, owner, why, pause_ms: beside.pause_ms });
    }

    fn drain_began(&mut self, node: &NodeId, slots: usize) {
        if self.drains.len() == DRAINS_MAX {
            self.drains.pop_first();
        }
        self.drains.insert(node.clone(), slots);
    }

    /// The newest first.
    pub fn of_slot(&self, slot: Slot) -> Vec<Change> {
        self.slots.get(&slot).into_iter().flatten().rev().cloned().collect()
    }

    /// The newest of a slot, and its last pause for which this node was to blame.
    pub fn newest(&self, slot: Slot) -> Option<(Change, Option<u64>)> {
        let changes = self.slots.get(&slot)?;
        let pause_ms = changes.iter().rev().find_map(|change| change.pause_ms);
        Some((changes.back()?.clone(), pause_ms))
    }

    /// How many slots the node had when its drain began, where this node saw that.
    pub fn drained_from(&self, node: &NodeId) -> Option<usize> {
        self.drains.get(node).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_s_history_is_bounded_and_begins_with_the_newest() {
        let mut history = History::default();
        for epoch in 1..=40 {
            let (from, node) = (NodeId::of("a"), NodeId::of("b"));
            let pause = Beside { pause_ms: (epoch == 30).then_some(7), slots: None };
            history.take(Time(epoch as i64), &Event::SlotMoved { slot: 3, from, node, epoch }, pause);
        }
        let epochs: Vec<Epoch> = history.of_slot(3).iter().map(|change| change.epoch).collect();
        assert_eq!(epochs, (25..=40).rev().collect::<Vec<Epoch>>());
        assert_eq!(history.of_slot(4), []);
        let (newest, pause_ms) = history.newest(3).expect("its changes");
        assert_eq!((newest.epoch, newest.why, pause_ms), (40, ChangeWhy::Moved, Some(7)));
    }
}
