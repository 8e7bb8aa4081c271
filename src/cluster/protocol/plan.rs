//! Which node should own which slot: a pure function of the two tables, which every node computes for itself.
//!
//! - *Balanced*: each node's number of slots is its share by weight, rounded down or up. Where an operator's wish or a
//!   cordon keeps more on a node, the others share the rest.
//! - *Minimal movement*: a slot stays where it is unless its owner has more than its share, or may keep none. The nodes that
//!   already have a slot more than the rounded-down share are the ones that keep it.
//! - *The same answer everywhere*: nothing depends on the order of the input, a clock or chance. Nodes that see the tables
//!   differently for a moment disagree for that moment; a compare-and-set settles it.
//!
//! A slot without an owner is *claimed* by the node that the plan names; a slot with one is *moved* by its owner. Claims
//! are made at once. Moves are made a few at a time, and none goes to a node that has only just come (it is settling):
//! so a node that comes and goes costs claims, and no hand-offs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::super::ownership::NodeId;
use super::shares::{Share, shares};
use super::types::{Slot, Version};

/// What a node may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Serving,
    /// It serves, and has not been alive for long: it may claim, and is given slots only where they cannot stay.
    Settling,
    /// It keeps what it has, and gets nothing. (A node that is joining, or in no list, stands like this too.)
    Keeping,
    /// It is to give everything away: it drains.
    Draining,
    /// Most other nodes cannot reach it. It is to give everything away.
    Isolated,
    /// It has left, or its lease has run out: its slots are free.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanNode {
    pub id: NodeId,
    pub weight: u32,
    /// The newest version that it reads: slots go to the newest nodes first.
    pub version: Version,
    pub standing: Standing,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanSlot {
    /// A node that is not among the nodes given keeps its slots: nobody knows that it is gone.
    pub owner: Option<NodeId>,
    /// The node that an operator wants it on.
    pub place: Option<NodeId>,
}

/// Why a slot goes where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It has no owner.
    Unowned,
    /// Its owner is gone.
    OwnerGone,
    /// An operator wants it there.
    Placed,
    /// Its owner drains.
    Drain,
    /// Its owner is cut off from most other nodes.
    Isolated,
    /// Its owner has more than its share.
    Balance,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    pub slot: Slot,
    pub to: NodeId,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Move {
    pub slot: Slot,
    pub from: NodeId,
    pub to: NodeId,
    pub why: Why,
}

/// What the plan does not do, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No node can take the slot.
    NobodyCanTake { slot: Slot },
    /// An operator wants the slot on a node that cannot have it now.
    CannotBePlaced { slot: Slot, on: NodeId },
    /// Moves to this node wait until it has been alive for long enough.
    Settling { node: NodeId, moves: usize },
    /// So many moves of this node come later: only some are made at a time.
    Later { from: NodeId, moves: usize },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// By slot.
    pub claims: Vec<Claim>,
    /// At most `moves_max` from each node; the most urgent first.
    pub moves: Vec<Move>,
    pub refusals: Vec<Refusal>,
    /// What each node has and should have.
    pub shares: BTreeMap<NodeId, Share>,
}

impl Plan {
    /// Nothing is to be done, now or later.
    pub fn is_done(&self) -> bool {
        self.claims.is_empty() && self.moves.is_empty() && self.refusals.is_empty()
    }
}

/// `moves_max`: how many slots a node may be giving away at a time.
pub fn plan(nodes: &[PlanNode], slots: &[PlanSlot], moves_max: usize) -> Plan {
    let mut sorted: Vec<&PlanNode> = nodes.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    sorted.dedup_by(|a, b| a.id == b.id);
    Planning::new(sorted, slots).finish(moves_max)
}

struct Planning<'a> {
    nodes: Vec<&'a PlanNode>,
    slots: &'a [PlanSlot],
    /// Each slot's owner by index, as far as it is among the nodes.
    owners: Vec<Option<usize>>,
    targets: Vec<Option<usize>>,
    /// Slots that have to go somewhere: free ones first, then those whose owner may not keep them, then surplus.
    supply: Vec<Slot>,
    refusals: Vec<Refusal>,
    shares: Vec<Share>,
}

impl<'a> Planning<'a> {
    fn new(nodes: Vec<&'a PlanNode>, slots: &'a [PlanSlot]) -> Planning<'a> {
        let index = |id: &NodeId| nodes.binary_search_by(|node| node.id.cmp(id)).ok();
        let owners = slots.iter().map(|slot| slot.owner.as_ref().and_then(index)).collect();
        let shares = vec![Share::default(); nodes.len()];
        let targets = vec![None; slots.len()];
        let (supply, refusals) = (Vec::new(), Vec::new());
        let mut planning = Planning { nodes, slots, owners, targets, supply, refusals, shares };
        planning.assign();
        planning
    }

    fn is_eligible(&self, node: usize) -> bool {
        let PlanNode { standing, weight, .. } = self.nodes[node];
        matches!(standing, Standing::Serving | Standing::Settling) && *weight > 0
    }

    /// The owner may keep its slots, and gets no others.
    fn keeps(&self, node: usize) -> bool {
        self.nodes[node].standing == Standing::Keeping
    }

    fn is_free(&self, slot: usize) -> bool {
        match (&self.slots[slot].owner, self.owners[slot]) {
            (None, _) => true,
            (Some(_), Some(owner)) => self.nodes[owner].standing == Standing::Gone,
            (Some(_), None) => false,
        }
    }

    fn assign(&mut self) {
        let mut fixed = vec![0; self.nodes.len()];
        let mut own: Vec<Vec<Slot>> = vec![Vec::new(); self.nodes.len()];
        let (mut free, mut to_leave) = (Vec::new(), Vec::new());
        let mut shared = 0;
        for slot in 0..self.slots.len() {
            let owner = self.owners[slot];
            if let Some(owner) = owner {
                self.shares[owner].has += 1;
            }
            let stays = owner.filter(|owner| self.keeps(*owner));
            match self.placed(slot) {
                Some(node) if self.is_eligible(node) => {
                    self.targets[slot] = Some(node);
                    fixed[node] += 1;
                    shared += 1;
                    continue;
                }
                Some(_) | None if stays.is_some() => self.targets[slot] = stays,
                Some(_) | None if self.is_free(slot) => free.push(slot as Slot),
                Some(_) | None => match owner {
                    None => {} // a stranger keeps it
                    Some(owner) if self.is_eligible(owner) => own[owner].push(slot as Slot),
                    Some(_) => to_leave.push(slot as Slot),
                },
            }
            shared += usize::from(self.targets[slot].is_none() && (owner.is_some() || self.is_free(slot)));
        }
        self.share_out(shared, &fixed, &own);
        let mut surplus = Vec::new();
        for (node, slots) in own.into_iter().enumerate() {
            let kept = self.shares[node].wants.saturating_sub(fixed[node]).min(slots.len());
            for slot in &slots[..kept] {
                self.targets[usize::from(*slot)] = Some(node);
            }
            fixed[node] += kept;
            surplus.extend(&slots[kept..]);
        }
        surplus.sort_unstable();
        self.supply = [free, to_leave, surplus].concat();
        self.fill(&fixed);
    }

    /// Where an operator wants the slot, if it can be there.
    fn placed(&mut self, slot: usize) -> Option<usize> {
        let place = self.slots[slot].place.as_ref()?;
        let node = self.nodes.binary_search_by(|node| node.id.cmp(place)).ok();
        let node = node.filter(|node| self.is_eligible(*node) || self.owners[slot] == Some(*node) && self.keeps(*node));
        if node.is_none() {
            self.refusals.push(Refusal::CannotBePlaced { slot: slot as Slot, on: place.clone() });
        }
        node
    }

    fn share_out(&mut self, shared: usize, fixed: &[usize], own: &[Vec<Slot>]) {
        let eligible: Vec<usize> = (0..self.nodes.len()).filter(|node| self.is_eligible(*node)).collect();
        let claims = eligible.iter().map(|node| super::shares::Claimant {
            weight: self.nodes[*node].weight,
            version: self.nodes[*node].version,
            fixed: fixed[*node],
            has: fixed[*node] + own[*node].len(),
        });
        let wanted = shares(shared, &claims.collect::<Vec<_>>());
        for (node, wants) in eligible.into_iter().zip(wanted) {
            self.shares[node].wants = wants;
        }
        for node in 0..self.nodes.len() {
            if self.keeps(node) {
                self.shares[node].wants = self.shares[node].has;
            }
        }
    }

    /// Gives what has to go somewhere to those who have less than their share: the newest nodes first, and among
    /// them whoever lacks most. `settled`: what each has already.
    fn fill(&mut self, settled: &[usize]) {
        let mut lacking: BinaryHeap<(Version, usize, Reverse<usize>)> = BinaryHeap::new();
        for (node, has) in settled.iter().enumerate() {
            let lacks = self.shares[node].wants.saturating_sub(*has);
            if lacks > 0 && self.is_eligible(node) {
                lacking.push((self.nodes[node].version, lacks, Reverse(node)));
            }
        }
        let can_all_only_keep = !(0..self.nodes.len()).any(|node| self.is_eligible(node));
        for slot in std::mem::take(&mut self.supply) {
            let index = usize::from(slot);
            if let Some((version, lacks, node)) = lacking.pop() {
                self.targets[index] = Some(node.0);
                if lacks > 1 {
                    lacking.push((version, lacks - 1, node));
                }
            } else if can_all_only_keep && self.is_free(index) {
                self.targets[index] = self.last_resort();
            }
            if self.targets[index].is_none() {
                self.refusals.push(Refusal::NobodyCanTake { slot });
            }
        }
    }

    /// Nobody may get slots. Rather than leave one without an owner, it goes to a node that is only to keep what
    /// it has.
    fn last_resort(&mut self) -> Option<usize> {
        let weighty = |node: &usize| self.keeps(*node) && self.nodes[*node].weight > 0;
        let least = (0..self.nodes.len()).filter(weighty).min_by_key(|node| (self.shares[*node].wants, *node))?;
        self.shares[least].wants += 1;
        Some(least)
    }

    fn finish(mut self, moves_max: usize) -> Plan {
        let mut claims = Vec::new();
        let mut moves: Vec<Move> = Vec::new();
        let mut waiting: BTreeMap<usize, usize> = BTreeMap::new();
        for slot in 0..self.slots.len() {
            let Some(target) = self.targets[slot] else { continue };
            let to = &self.nodes[target];
            let owner = self.owners[slot];
            if self.is_free(slot) {
                let why = if owner.is_some() { Why::OwnerGone } else { Why::Unowned };
                claims.push(Claim { slot: slot as Slot, to: to.id.clone(), why });
            } else if let Some(owner) = owner.filter(|owner| *owner != target) {
                let why = self.why(slot, owner, target);
                if why == Why::Balance && to.standing == Standing::Settling {
                    *waiting.entry(target).or_default() += 1;
                } else {
                    let from = self.nodes[owner].id.clone();
                    moves.push(Move { slot: slot as Slot, from, to: to.id.clone(), why });
                }
            }
        }
        for (node, moves) in waiting {
            self.refusals.push(Refusal::Settling { node: self.nodes[node].id.clone(), moves });
        }
        moves.sort_by_key(|one| (one.why, one.slot));
        let moves = self.some_at_a_time(moves, moves_max);
        let shares = self.nodes.iter().map(|node| node.id.clone()).zip(self.shares).collect();
        Plan { claims, moves, refusals: self.refusals, shares }
    }

    fn why(&self, slot: usize, owner: usize, target: usize) -> Why {
        if self.slots[slot].place.as_ref() == Some(&self.nodes[target].id) {
            return Why::Placed;
        }
        match self.nodes[owner].standing {
            Standing::Draining => Why::Drain,
            Standing::Isolated => Why::Isolated,
            Standing::Serving | Standing::Settling | Standing::Keeping | Standing::Gone => Why::Balance,
        }
    }

    fn some_at_a_time(&mut self, moves: Vec<Move>, moves_max: usize) -> Vec<Move> {
        let mut made: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut now = Vec::new();
        for one in moves {
            let number = made.entry(one.from.clone()).or_default();
            *number += 1;
            if *number <= moves_max {
                now.push(one);
            }
        }
        for (from, moves) in made.into_iter().filter(|(_, moves)| *moves > moves_max) {
            self.refusals.push(Refusal::Later { from, moves: moves - moves_max });
        }
        now
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
