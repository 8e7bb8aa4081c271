//! The values that the protocol is made of. They are plain: the driver translates them from and to what the store and
//! the link have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::ownership::NodeId;

pub type Slot = u16;
/// A slot's ownership number: it grows with every change of owner, and with every claim.
pub type Epoch = u64;
/// A version of events, messages and plans.
pub type Version = u16;

/// What a node says about itself in the node list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// In the list, and not yet ready for slots.
    Joining,
    Serving,
    /// It gives its slots away, and takes none.
    Draining,
    /// Gone for good: this id never comes back.
    Left,
}

/// A row of the node list: one incarnation of one process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeView {
    pub id: NodeId,
    /// What operators call it. A restart keeps it.
    pub name: Arc<str>,
    pub state: NodeState,
    /// The oldest and the newest version that it reads.
    pub reads: (Version, Version),
    pub writes: Version,
    /// It grows by one with each renewal.
    pub counter: u64,
    /// Its share of the slots, in proportion to those of the others. A node of weight 0 gets none.
    pub weight: u32,
    /// The nodes that it cannot reach.
    pub unreachable: BTreeSet<NodeId>,
}

/// A row of the ownership table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SlotView {
    pub owner: Option<NodeId>,
    pub epoch: Epoch,
}

/// Where an operator wants a slot, against the plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// On the node of this name, whichever incarnation it is, until it is unpinned.
    Pinned(Arc<str>),
    /// On this incarnation, for as long as it lives: what `move` asks for.
    Moved(NodeId),
}

/// What operators want: it lies in the store, so that every node plans with it, and a restart of whoever was asked
/// forgets nothing. One row per node and one per slot at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Wishes {
    pub nodes: BTreeMap<NodeId, Cordon>,
    pub places: BTreeMap<Slot, Place>,
}

/// How an operator closes a node to slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cordon {
    /// It gets none.
    Cordoned,
    /// It gets none, and gives away what it has.
    Draining,
}

/// A change of [`Wishes`]: an upsert or a deletion of one row. Made twice, it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WishChange {
    /// A node that drains is cordoned already, and goes on draining.
    Cordon(NodeId),
    Drain(NodeId),
    /// Neither cordoned nor draining.
    Uncordon(NodeId),
    Place(Slot, Place),
    Unplace(Slot),
}

impl Wishes {
    pub fn drains(&self, node: &NodeId) -> bool {
        self.nodes.get(node) == Some(&Cordon::Draining)
    }

    pub fn apply(&mut self, change: &WishChange) {
        match change {
            WishChange::Cordon(node) => {
                self.nodes.entry(node.clone()).or_insert(Cordon::Cordoned);
            }
            WishChange::Drain(node) => {
                self.nodes.insert(node.clone(), Cordon::Draining);
            }
            WishChange::Uncordon(node) => {
                self.nodes.remove(node);
            }
            WishChange::Place(slot, place) => {
                self.places.insert(*slot, place.clone());
            }
            WishChange::Unplace(slot) => {
                self.places.remove(slot);
            }
        }
    }
}

/// What one read of the store shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct StoreView {
    pub nodes: Vec<NodeView>,
    /// Every slot, in order.
    pub slots: Vec<SlotView>,
    pub wishes: Wishes,
}
