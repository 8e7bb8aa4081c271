//! What operators ask for: judged by what this node sees, and turned into a wish that the driver writes to the store. From
//! there every node learns it, and each does its part. So any node can be asked, asking twice changes nothing, and nothing
//! is forgotten in a crash. A dry run is a judgement whose wish is not written.

use std::sync::Arc;

use super::super::ownership::NodeId;
use super::membership::Member;
use super::node::{Holding, Protocol};
use super::plan::{Move, Plan, PlanNode, PlanSlot, Standing, plan};
use super::types::{Cordon, Place, Slot, WishChange, Wishes};

/// A node is named by its id or, where one live node has it, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// No new slots; what it has stays.
    Cordon {
        node: String,
    },
    /// Cordon, and hand everything over.
    Drain {
        node: String,
    },
    Uncordon {
        node: String,
    },
    /// Now, and for as long as that node lives.
    Move {
        slot: Slot,
        to: String,
    },
    /// For good, on whichever node has the name. `None`: where it is.
    Pin {
        slot: Slot,
        to: Option<String>,
    },
    Unpin {
        slot: Slot,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    NodeNotFound,
    /// Several live nodes have the name: say which by its id.
    NodeAmbiguous,
    SlotNotFound,
    /// No other node could serve.
    LastNode,
    /// The node is gone, or it takes no slots now.
    NodeNotLive,
    /// An earlier wish for the slot is not carried out yet.
    AlreadyMoving,
    /// The node does not read what is written.
    IncompatibleVersion,
}

impl Refused {
    /// The problem code of the admin API.
    pub fn code(self) -> &'static str {
        match self {
            Refused::NodeNotFound => "node_not_found",
            Refused::NodeAmbiguous => "node_ambiguous",
            Refused::SlotNotFound => "slot_not_found",
            Refused::LastNode => "last_node",
            Refused::NodeNotLive => "node_not_live",
            Refused::AlreadyMoving => "already_moving",
            Refused::IncompatibleVersion => "incompatible_version",
        }
    }
}

/// A command that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What is to be written; then the protocol is told ([`super::messages::Input::Wished`]). `None`: it is so already.
    pub change: Option<WishChange>,
    /// The moves that follow from it.
    pub moves: Vec<Move>,
}

impl Protocol {
    pub fn judge(&self, command: &Command) -> Result<Judged, Refused> {
        let change = self.change(command)?;
        let wishes = self.view.wishes();
        let mut wished = wishes.clone();
        wished.apply(&change);
        if wished == *wishes {
            return Ok(Judged { change: None, moves: Vec::new() });
        }
        let before = self.plan_with(wishes).moves;
        let mut moves = self.plan_with(&wished).moves;
        moves.retain(|one| !before.contains(one));
        Ok(Judged { change: Some(change), moves })
    }

    fn change(&self, command: &Command) -> Result<WishChange, Refused> {
        match command {
            Command::Cordon { node } => {
                let node = self.live(node)?.row.id.clone();
                self.not_the_last(&node)?;
                Ok(WishChange::Cordon(node))
            }
            Command::Drain { node } => {
                let node = self.live(node)?.row.id.clone();
                self.not_the_last(&node)?;
                Ok(WishChange::Drain(node))
            }
            Command::Uncordon { node } => Ok(WishChange::Uncordon(self.live(node)?.row.id.clone())),
            Command::Move { slot, to } => {
                let to = self.taker(to)?;
                let place = Place::Moved(to.clone());
                self.can_be_placed(*slot, &place)?;
                if self.map.owner(*slot) == Some(&to) && !self.view.wishes().places.contains_key(slot) {
                    return Ok(WishChange::Unplace(*slot)); // it is there
                }
                Ok(WishChange::Place(*slot, place))
            }
            Command::Pin { slot, to } => {
                let name: Arc<str> = match to {
                    Some(to) => {
                        let to = self.taker(to)?;
                        self.view.member(&to).ok_or(Refused::NodeNotFound)?.row.name.clone()
                    }
                    None => {
                        let owner = self.map.owner(*slot).and_then(|owner| self.view.member(owner));
                        owner.filter(|owner| owner.is_live()).ok_or(Refused::NodeNotLive)?.row.name.clone()
                    }
                };
                let place = Place::Pinned(name);
                self.can_be_placed(*slot, &place)?;
                Ok(WishChange::Place(*slot, place))
            }
            Command::Unpin { slot } if self.map.has(*slot) => Ok(WishChange::Unplace(*slot)),
            Command::Unpin { slot: _ } => Err(Refused::SlotNotFound),
        }
    }

    fn live(&self, called: &str) -> Result<&Member, Refused> {
        let by_id = self.view.member(&NodeId::of(called));
        let named: Vec<&Member> = self.view.members().filter(|member| &*member.row.name == called).collect();
        let mut live = named.iter().filter(|member| member.is_live());
        match (by_id, live.next(), live.next()) {
            (Some(member), _, _) if member.is_live() => Ok(member),
            (Some(_), _, _) => Err(Refused::NodeNotLive),
            (None, Some(member), None) => Ok(member),
            (None, Some(_), Some(_)) => Err(Refused::NodeAmbiguous),
            (None, None, _) if named.is_empty() => Err(Refused::NodeNotFound),
            (None, None, _) => Err(Refused::NodeNotLive),
        }
    }

    /// A node that can be given a slot.
    fn taker(&self, called: &str) -> Result<NodeId, Refused> {
        let member = self.live(called)?;
        if member.row.reads.1 < self.me.writes {
            return Err(Refused::IncompatibleVersion);
        }
        let node = member.row.id.clone();
        if self.can_take(&node) { Ok(node) } else { Err(Refused::NodeNotLive) }
    }

    fn not_the_last(&self, node: &NodeId) -> Result<(), Refused> {
        let is_other = |member: &&Member| member.row.id != *node && self.can_take(&member.row.id);
        let others = self.view.members().filter(is_other).count();
        if others == 0 && self.can_take(node) { Err(Refused::LastNode) } else { Ok(()) }
    }

    fn can_be_placed(&self, slot: Slot, place: &Place) -> Result<(), Refused> {
        if !self.map.has(slot) {
            return Err(Refused::SlotNotFound);
        }
        if self.view.wishes().places.get(&slot) == Some(place) {
            return Ok(()); // it is wished already
        }
        let is_given = matches!(self.holdings.get(&slot), Some(Holding::Giving(_)));
        let owner = self.map.owner(slot);
        let is_on_its_way = match self.view.wishes().places.get(&slot) {
            Some(Place::Moved(to)) => self.can_take(to) && owner != Some(to),
            Some(Place::Pinned(_)) | None => false,
        };
        if is_given || is_on_its_way { Err(Refused::AlreadyMoving) } else { Ok(()) }
    }

    pub(super) fn plan_with(&self, wishes: &Wishes) -> Plan {
        let mut nodes: Vec<PlanNode> = self.view.plan_nodes(self.now, &self.settings);
        for node in &mut nodes {
            match wishes.nodes.get(&node.id) {
                Some(Cordon::Draining) if node.standing < Standing::Draining => node.standing = Standing::Draining,
                Some(Cordon::Cordoned) if node.standing < Standing::Keeping => node.standing = Standing::Keeping,
                None if matches!(node.standing, Standing::Keeping | Standing::Draining)
                    && self.is_only_wished(&node.id) =>
                {
                    node.standing = Standing::Serving;
                }
                Some(Cordon::Draining | Cordon::Cordoned) | None => {}
            }
        }
        let slots: Vec<PlanSlot> = self.map.slots().map(|slot| self.plan_slot(slot, wishes)).collect();
        plan(&nodes, &slots, usize::MAX)
    }

    /// Whether the node would serve if no operator had wished otherwise.
    fn is_only_wished(&self, node: &NodeId) -> bool {
        let is_wished = self.view.wishes().nodes.contains_key(node);
        let is_serving = |member: &Member| self.view.state(member) == super::types::NodeState::Serving;
        is_wished && self.view.member(node).is_some_and(is_serving)
    }
}
