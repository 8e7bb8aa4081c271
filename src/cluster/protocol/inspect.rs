//! What operators, the router and tests ask the protocol. Nothing here changes anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::ownership::NodeId;
use super::leases::Term;
use super::membership::View;
use super::node::{Holding, Protocol};
use super::plan::Plan;
use super::routing::Route;
use super::types::{Epoch, NodeState, Slot, Version};

/// How a slot stands, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotStanding {
    /// It is served, here or elsewhere.
    Active,
    /// This node is about to claim it.
    Claiming,
    /// This node's lease has lapsed: the slot is to be claimed again.
    Suspended,
    /// This node has stopped it, or is about to, so that another can have it.
    HandingOver,
    /// It has an owner that is gone, or none.
    Unowned,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStatus {
    pub owner: Option<NodeId>,
    pub epoch: Epoch,
    pub standing: SlotStanding,
}

impl Protocol {
    pub fn term(&self) -> Term {
        self.lease.term()
    }

    pub fn is_lease_valid(&self) -> bool {
        self.lease.is_valid()
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    pub fn writes(&self) -> Version {
        self.me.writes
    }

    /// What is still to be done, by what this node sees.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The same without the bound on how many slots a node gives away at a time.
    pub fn whole_plan(&self) -> Plan {
        self.plan_with(self.view.wishes())
    }

    /// For how long this node has seen another's lease counter stand still, if it watches it.
    pub fn counter_stands_still(&self, node: &NodeId) -> Option<Duration> {
        self.watch.stands_still(node, self.now)
    }

    /// For how long this node has seen the counter of a slot's owner stand still, where that owner is lost.
    pub fn owner_lost_for(&self, slot: Slot) -> Option<Duration> {
        let owner = self.map.owner(slot)?;
        let has_left = self.view.member(owner).is_some_and(|member| member.row.state == NodeState::Left);
        let is_lost = !has_left && self.watch.is_lost(owner);
        if is_lost { self.counter_stands_still(owner) } else { None }
    }

    pub fn route(&self, slot: Slot) -> Option<&Route> {
        self.routes.get(usize::from(slot))
    }

    /// Whether this node is cut off from the rest of the cluster: see [`View::is_cut_off`].
    pub fn is_cut_off(&self) -> bool {
        self.view.is_cut_off(self.now, &self.settings)
    }

    /// Whether a peer that lives could not be linked to since this node sees it: see [`View::was_never_linked`].
    pub fn was_never_linked(&self, peer: &NodeId) -> bool {
        self.view.was_never_linked(peer, self.now, &self.settings)
    }

    /// Live nodes of one name: see [`View::namesakes`].
    pub fn namesakes(&self) -> BTreeMap<Arc<str>, Vec<NodeId>> {
        self.view.namesakes(&self.settings)
    }

    /// Every slot there is.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        self.map.slots()
    }

    /// Whether another node could take the slots of this one.
    pub fn has_heirs(&self) -> bool {
        let mut others = self.view.members().filter(|member| member.is_live() && member.row.id != self.me.id);
        others.any(|member| member.row.weight > 0 && self.can_take(&member.row.id))
    }

    /// Whether this node has the slot, or is about to.
    pub fn holds(&self, slot: Slot) -> bool {
        self.holdings.contains_key(&slot)
    }

    /// How many slots this node has.
    pub fn slots_held(&self) -> usize {
        self.holdings.len()
    }

    pub fn slot(&self, slot: Slot) -> Option<SlotStatus> {
        let owner = self.map.owner(slot).cloned();
        let standing = match self.holdings.get(&slot) {
            Some(Holding::Serving { .. }) => SlotStanding::Active,
            Some(Holding::Claiming { .. }) => SlotStanding::Claiming,
            Some(Holding::Suspended { .. }) => SlotStanding::Suspended,
            Some(Holding::Giving(_)) => SlotStanding::HandingOver,
            None if owner.as_ref().is_some_and(|owner| !self.view.is_gone(owner) && *owner != self.me.id) => {
                SlotStanding::Active
            }
            None => SlotStanding::Unowned,
        };
        self.map.has(slot).then(|| SlotStatus { owner, epoch: self.map.epoch(slot), standing })
    }
}
