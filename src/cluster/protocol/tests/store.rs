//! The store that the simulated nodes share: the two tables and the wishes, by the contract that real stores keep.

use std::collections::BTreeMap;

use crate::cluster::NodeId;
use crate::cluster::protocol::messages::{ClaimAnswer, RenewAnswer, TransferAnswer};
use crate::cluster::protocol::types::*;

#[derive(Clone, Hash)]
pub struct Store {
    pub nodes: BTreeMap<NodeId, NodeView>,
    pub slots: Vec<SlotView>,
    pub wishes: Wishes,
    /// A mutation: it takes whatever it is told, at any epoch.
    pub fences: bool,
}

impl Store {
    pub fn new(slots: u16) -> Store {
        let slots = vec![SlotView::default(); usize::from(slots)];
        Store { nodes: BTreeMap::new(), slots, wishes: Wishes::default(), fences: true }
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|row| row.state != NodeState::Left)
    }

    pub fn renew(&mut self, node: &NodeId, row: NodeView) -> RenewAnswer {
        if !self.is_member(node) {
            return RenewAnswer::NotMember;
        }
        let Some(known) = self.nodes.get_mut(node) else { return RenewAnswer::NotMember };
        if known.counter != row.counter {
            return RenewAnswer::CounterMoved;
        }
        let counter = row.counter + 1;
        *known = NodeView { counter, ..row };
        RenewAnswer::Renewed { counter }
    }

    pub fn claim(&mut self, node: &NodeId, slot: Slot, epoch: Epoch) -> ClaimAnswer {
        if !self.is_member(node) {
            return ClaimAnswer::NotMember;
        }
        let head = &mut self.slots[usize::from(slot)];
        if head.epoch != epoch && self.fences {
            return ClaimAnswer::Fenced;
        }
        *head = SlotView { owner: Some(node.clone()), epoch: head.epoch + 1 };
        ClaimAnswer::Claimed { epoch: head.epoch }
    }

    pub fn transfer(&mut self, from: &NodeId, to: &NodeId, slot: Slot, epoch: Epoch) -> TransferAnswer {
        if !self.is_member(to) {
            return TransferAnswer::ReceiverGone;
        }
        let head = &mut self.slots[usize::from(slot)];
        if (head.epoch != epoch || head.owner.as_ref() != Some(from)) && self.fences {
            return TransferAnswer::Fenced;
        }
        *head = SlotView { owner: Some(to.clone()), epoch: head.epoch + 1 };
        TransferAnswer::Moved { epoch: head.epoch }
    }

    pub fn leave(&mut self, node: &NodeId) {
        if let Some(row) = self.nodes.get_mut(node) {
            row.state = NodeState::Left;
        }
    }

    pub fn forget(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }

    /// Who owns what: `a: 0@1 3@2`.
    pub fn owners(&self) -> Vec<String> {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (slot, head) in self.slots.iter().enumerate() {
            let owner = head.owner.as_ref().map_or("nobody".to_owned(), |owner| owner.to_string());
            lines.entry(owner).or_default().push(format!("{slot}@{}", head.epoch));
        }
        lines.into_iter().map(|(owner, slots)| format!("{owner}: {}", slots.join(" "))).collect()
    }
}
