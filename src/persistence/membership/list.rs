//! The node list, judged in our own process.

use std::collections::BTreeMap;

use super::super::{Refusal, Slot, SlotHead};
use super::row::{NodeRow, NodeState};

/// Judging by a node list in our own process: the same for every store that has one there. (A shared store
/// judges in its own transaction, by the same rules.)
#[derive(Debug, Clone, Default)]
pub struct NodeList(BTreeMap<String, NodeRow>);

impl NodeList {
    /// The list that a store has read: a later row of the same id replaces an earlier one.
    pub fn of(rows: impl IntoIterator<Item = NodeRow>) -> NodeList {
        NodeList(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
    }

    pub fn rows(&self) -> Vec<NodeRow> {
        self.0.values().cloned().collect()
    }

    /// Puts a row that was judged, and is durable or about to be.
    pub fn put(&mut self, row: NodeRow) {
        self.0.insert(row.id.clone(), row);
    }

    /// The row that a join comes to.
    pub fn joined(&self, node: &NodeRow) -> Result<NodeRow, Refusal> {
        node.check().map_err(Refusal::Rejected)?;
        if self.0.contains_key(&node.id) {
            Err(Refusal::Conflict(format!("the node list has had {} before", node.id)))
        } else {
            Ok(node.clone())
        }
    }

    /// The row that a renewal comes to.
    pub fn renewed(&self, node: &NodeRow) -> Result<NodeRow, Refusal> {
        node.check().map_err(Refusal::Rejected)?;
        let known = self.member(&node.id)?;
        if known.lease == node.lease {
            Ok(NodeRow { lease: node.lease + 1, ..node.clone() })
        } else {
            Err(Refusal::Conflict(format!("the lease of {} is at {}", node.id, known.lease)))
        }
    }

    /// The row that leaving comes to.
    pub fn left(&self, id: &str) -> Result<NodeRow, Refusal> {
        let known = self.0.get(id).ok_or_else(|| Refusal::NotMember(id.to_owned()))?;
        Ok(NodeRow { state: NodeState::Left, ..known.clone() })
    }

    /// The row of a node that has not left.
    pub fn member(&self, id: &str) -> Result<&NodeRow, Refusal> {
        match self.0.get(id) {
            Some(known) if known.state != NodeState::Left => Ok(known),
            Some(_) | None => Err(Refusal::NotMember(id.to_owned())),
        }
    }

    /// Whether a node may claim: a member may, and where there is no list, anybody.
    pub fn may_claim(&self, owner: &str) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { self.member(owner).map(drop) }
    }

    /// Whether a node's row may go, by the counter that was read with it, a slot that it owns, and whether there is no
    /// other row. `Ok(false)`: it is not there.
    pub fn may_forget(&self, id: &str, lease: u64, owned: Option<Slot>, is_only: bool) -> Result<bool, Refusal> {
        let Some(known) = self.0.get(id) else { return Ok(false) };
        if known.state != NodeState::Left && known.lease != lease {
            return Err(Refusal::Conflict(format!("{id} lives: its lease is at {}", known.lease)));
        }
        if let Some(slot) = owned {
            return Err(Refusal::Conflict(format!("{id} owns slot {slot}")));
        }
        if is_only { Err(Refusal::Conflict(format!("{id} is the only node of the list"))) } else { Ok(true) }
    }

    /// The same, of the whole list and all slots.
    pub fn forgotten(&self, id: &str, lease: u64, heads: &[SlotHead]) -> Result<bool, Refusal> {
        let owned = (0..).zip(heads).find(|(_, head)| head.owner.as_deref() == Some(id)).map(|(slot, _)| slot);
        self.may_forget(id, lease, owned, self.0.len() == 1)
    }

    pub fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }
}
