//! Between what the store has of the cluster and what the protocol is made of.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::NodeId;
use crate::cluster::protocol::types::{NodeState, NodeView, Place, SlotView, StoreView, WishChange, Wishes};
use crate::persistence::membership::{self, NodeRow, Subject, Tables, Wish, WishRow};

/// The tables as the protocol sees them.
pub fn store_view(tables: &Tables) -> StoreView {
    let mut ids: HashMap<&Arc<str>, NodeId> = HashMap::new();
    let mut id = |owner| ids.entry(owner).or_insert_with(|| NodeId::of(owner)).clone();
    StoreView {
        nodes: tables.nodes.iter().map(view).collect(),
        slots: tables
            .slots
            .iter()
            .map(|slot| SlotView { owner: slot.owner.as_ref().map(&mut id), epoch: slot.epoch })
            .collect(),
        wishes: wishes(&tables.wishes),
    }
}

fn wishes(rows: &[WishRow]) -> Wishes {
    let mut wishes = Wishes::default();
    for row in rows {
        wishes.apply(&match &row.wish {
            Wish::Cordon { node } => WishChange::Cordon(NodeId::of(node)),
            Wish::Drain { node } => WishChange::Drain(NodeId::of(node)),
            Wish::Pin { slot, name } => WishChange::Place(*slot, Place::Pinned(name.as_str().into())),
            Wish::Move { slot, to } => WishChange::Place(*slot, Place::Moved(NodeId::of(to))),
        });
    }
    wishes
}

/// What a change of the wishes is to the store: a row that is written, or one that is deleted.
pub fn change(change: &WishChange) -> Result<Wish, Subject> {
    match change {
        WishChange::Cordon(node) => Ok(Wish::Cordon { node: node.to_string() }),
        WishChange::Drain(node) => Ok(Wish::Drain { node: node.to_string() }),
        WishChange::Uncordon(node) => Err(Subject::Node(node.to_string())),
        WishChange::Place(slot, Place::Pinned(name)) => Ok(Wish::Pin { slot: *slot, name: name.to_string() }),
        WishChange::Place(slot, Place::Moved(to)) => Ok(Wish::Move { slot: *slot, to: to.to_string() }),
        WishChange::Unplace(slot) => Err(Subject::Slot(*slot)),
    }
}

fn view(row: &NodeRow) -> NodeView {
    NodeView {
        id: NodeId::of(&row.id),
        name: row.name.as_str().into(),
        state: match row.state {
            membership::NodeState::Joining => NodeState::Joining,
            membership::NodeState::Serving => NodeState::Serving,
            membership::NodeState::Draining => NodeState::Draining,
            membership::NodeState::Left => NodeState::Left,
        },
        reads: row.reads,
        writes: row.writes,
        counter: row.lease,
        weight: row.weight,
        unreachable: row.unreachable.iter().map(|id| NodeId::of(id)).collect(),
    }
}

/// The state that a renewal may say. A node leaves by leaving.
pub fn state(state: NodeState) -> membership::NodeState {
    match state {
        NodeState::Joining => membership::NodeState::Joining,
        NodeState::Serving => membership::NodeState::Serving,
        NodeState::Draining | NodeState::Left => membership::NodeState::Draining,
    }
}
