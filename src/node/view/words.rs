//! From the protocol's words to those of the API.

use crate::actors::runtime::node_load::LinkWord;
use crate::cluster::NodeId;
use crate::cluster::link::LinkState;
use crate::cluster::protocol::commands::Refused;
use crate::cluster::protocol::inspect::SlotStanding;
use crate::cluster::protocol::membership::View;
use crate::cluster::protocol::messages::Event;
use crate::cluster::protocol::plan::{Claim, Move, Plan, Refusal, Why};
use crate::cluster::protocol::types::NodeState;
use crate::http::Problem;
use crate::http::answer::codes::Code;
use crate::http::operations::cluster::shapes::{
    ClusterEvent, ClusterEventType, ClusterLinkState, ClusterNodeState, ClusterPlan, ClusterShare,
    ClusterSlotChangeWhy, ClusterSlotState, OutOfPlan, PlanRefusal, PlanWhy, PlannedClaim, PlannedMove,
};
use crate::node::cluster::history::ChangeWhy;
use crate::node::cluster::{self as node, Happened, NotCommanded};
use crate::persistence::StoreError;

pub fn node_state(view: &View, member: &crate::cluster::protocol::membership::Member) -> ClusterNodeState {
    let (id, wishes) = (&member.row.id, view.wishes());
    match view.state(member) {
        NodeState::Left => ClusterNodeState::Left,
        _ if member.is_lost => ClusterNodeState::Lost,
        NodeState::Draining => ClusterNodeState::Draining,
        _ if wishes.drains(id) => ClusterNodeState::Draining,
        _ if wishes.nodes.contains_key(id) => ClusterNodeState::Cordoned,
        NodeState::Joining => ClusterNodeState::Joining,
        NodeState::Serving => ClusterNodeState::Serving,
    }
}

pub fn is_live(state: ClusterNodeState) -> bool {
    match state {
        ClusterNodeState::Left | ClusterNodeState::Lost => false,
        ClusterNodeState::Joining
        | ClusterNodeState::Serving
        | ClusterNodeState::Cordoned
        | ClusterNodeState::Draining => true,
    }
}

/// `is_parked`: the node that answers knows no way to it now.
pub fn slot_state(standing: SlotStanding, is_parked: bool) -> ClusterSlotState {
    match standing {
        SlotStanding::Active if is_parked => ClusterSlotState::Parked,
        SlotStanding::Active => ClusterSlotState::Active,
        SlotStanding::Claiming => ClusterSlotState::Claiming,
        SlotStanding::Suspended => ClusterSlotState::Fenced,
        SlotStanding::HandingOver => ClusterSlotState::HandingOver,
        SlotStanding::Unowned => ClusterSlotState::Unowned,
    }
}

pub fn change_why(why: ChangeWhy) -> ClusterSlotChangeWhy {
    match why {
        ChangeWhy::Claimed => ClusterSlotChangeWhy::Claimed,
        ChangeWhy::Moved => ClusterSlotChangeWhy::Moved,
        ChangeWhy::Fenced => ClusterSlotChangeWhy::Fenced,
    }
}

/// As it goes to another node.
pub fn link_word(state: LinkState) -> LinkWord {
    match state {
        LinkState::Up => LinkWord::Up,
        LinkState::Connecting => LinkWord::Connecting,
        LinkState::Down => LinkWord::Down,
    }
}

pub fn link_state(state: LinkWord) -> ClusterLinkState {
    match state {
        LinkWord::Up => ClusterLinkState::Up,
        LinkWord::Connecting => ClusterLinkState::Connecting,
        LinkWord::Down => ClusterLinkState::Down,
    }
}

fn plan_why(why: Why) -> PlanWhy {
    match why {
        Why::Unowned => PlanWhy::Unowned,
        Why::OwnerGone => PlanWhy::OwnerGone,
        Why::Placed => PlanWhy::Placed,
        Why::Drain => PlanWhy::Drain,
        Why::Isolated => PlanWhy::Isolated,
        Why::Balance => PlanWhy::Balance,
    }
}

pub fn planned_move(Move { slot, from, to, why }: &Move) -> PlannedMove {
    PlannedMove { slot: *slot, from: from.to_string(), to: to.to_string(), why: plan_why(*why) }
}

fn planned_claim(Claim { slot, to, why }: &Claim) -> PlannedClaim {
    PlannedClaim { slot: *slot, to: to.to_string(), why: plan_why(*why) }
}

fn plan_refusal(refusal: &Refusal) -> PlanRefusal {
    let (why, slot, node, moves) = match refusal {
        Refusal::NobodyCanTake { slot } => (PlanWhy::NobodyCanTake, Some(*slot), None, None),
        Refusal::CannotBePlaced { slot, on } => (PlanWhy::CannotBePlaced, Some(*slot), Some(on), None),
        Refusal::Settling { node, moves } => (PlanWhy::Settling, None, Some(node), Some(*moves)),
        Refusal::Later { from, moves } => (PlanWhy::Later, None, Some(from), Some(*moves)),
    };
    PlanRefusal { why, slot, node: node.map(ToString::to_string), moves }
}

pub fn plan(plan: &Plan) -> ClusterPlan {
    let share = |(node, share): (&NodeId, &crate::cluster::protocol::shares::Share)| ClusterShare {
        node: node.to_string(),
        has: share.has,
        wants: share.wants,
    };
    ClusterPlan {
        moves: plan.moves.iter().map(planned_move).collect(),
        claims: plan.claims.iter().map(planned_claim).collect(),
        refusals: plan.refusals.iter().map(plan_refusal).collect(),
        shares: plan.shares.iter().map(share).collect(),
    }
}

/// The slots that a plan moves, has claimed, or cannot place; in order.
pub fn out_of_plan(plan: &Plan) -> Vec<OutOfPlan> {
    let moved = plan.moves.iter().map(|one| (one.slot, plan_why(one.why)));
    let claimed = plan.claims.iter().map(|one| (one.slot, plan_why(one.why)));
    let refused = plan.refusals.iter().map(plan_refusal).filter_map(|refusal| Some((refusal.slot?, refusal.why)));
    let mut all: Vec<OutOfPlan> =
        moved.chain(claimed).chain(refused).map(|(slot, why)| OutOfPlan { slot, why }).collect();
    all.sort_by_key(|one| one.slot);
    all
}

pub fn event(event: node::ClusterEvent) -> ClusterEvent {
    let node::ClusterEvent { number, at, event } = event;
    let event = match event {
        Happened::Cluster(event) => event,
        Happened::SlotRecovered { slot, epoch } => {
            let shape = ClusterEvent::new(number, at, ClusterEventType::SlotRecovered);
            return ClusterEvent { slot: Some(slot), epoch: Some(epoch), ..shape };
        }
    };
    let of = |kind| ClusterEvent::new(number, at, kind);
    let of_node = |kind, node: NodeId| ClusterEvent { node: Some(node.to_string()), ..of(kind) };
    let of_slot = |kind, slot| ClusterEvent { slot: Some(slot), ..of(kind) };
    match event {
        Event::NodeJoined { node } => of_node(ClusterEventType::NodeJoined, node),
        Event::NodeLeft { node } => of_node(ClusterEventType::NodeLeft, node),
        Event::NodeLost { node } => of_node(ClusterEventType::NodeLost, node),
        Event::NodeBack { node } => of_node(ClusterEventType::NodeBack, node),
        Event::DrainStarted { node } => of_node(ClusterEventType::DrainStarted, node),
        Event::DrainDone { node } => of_node(ClusterEventType::DrainDone, node),
        Event::Cordoned { node } => of_node(ClusterEventType::Cordoned, node),
        Event::Uncordoned { node } => of_node(ClusterEventType::Uncordoned, node),
        Event::Pinned { slot } => of_slot(ClusterEventType::Pinned, slot),
        Event::Unpinned { slot } => of_slot(ClusterEventType::Unpinned, slot),
        Event::SlotClaimed { slot, node, epoch } => {
            let shape = of_slot(ClusterEventType::SlotClaimed, slot);
            ClusterEvent { node: Some(node.to_string()), epoch: Some(epoch), ..shape }
        }
        Event::SlotMoved { slot, from, node, epoch } => {
            let shape = of_slot(ClusterEventType::SlotMoved, slot);
            let (node, from) = (Some(node.to_string()), Some(from.to_string()));
            ClusterEvent { node, from, epoch: Some(epoch), ..shape }
        }
        Event::SlotFenced { slot, epoch } => {
            ClusterEvent { epoch: Some(epoch), ..of_slot(ClusterEventType::SlotFenced, slot) }
        }
        Event::HandOffGivenUp { slot, to, why } => {
            let shape = of_slot(ClusterEventType::HandOffGivenUp, slot);
            ClusterEvent { node: Some(to.to_string()), why: Some(node::given_up_word(why)), ..shape }
        }
        Event::PlanChanged { claims, moves } => {
            ClusterEvent { claims: Some(claims), moves: Some(moves), ..of(ClusterEventType::PlanChanged) }
        }
        Event::VersionChanged { writes } => {
            ClusterEvent { writes: Some(writes), ..of(ClusterEventType::VersionChanged) }
        }
    }
}

fn code(refused: Refused) -> Code {
    match refused {
        Refused::NodeNotFound => Code::NodeNotFound,
        Refused::NodeAmbiguous => Code::NodeAmbiguous,
        Refused::SlotNotFound => Code::SlotNotFound,
        Refused::LastNode => Code::LastNode,
        Refused::NodeNotLive => Code::NodeNotLive,
        Refused::AlreadyMoving => Code::AlreadyMoving,
        Refused::IncompatibleVersion => Code::IncompatibleVersion,
    }
}

pub fn problem(not: NotCommanded) -> Problem {
    match not {
        NotCommanded::Refused(refused) => code(refused).into(),
        NotCommanded::Unwritten(why) => Problem::new(Code::ValidationFailed).detail(why),
        NotCommanded::Stopping | NotCommanded::Store(StoreError::Unavailable(_)) => Code::Unavailable.into(),
        // Asking again is harmless: it is written once more, or it is so already.
        NotCommanded::Store(StoreError::Unknown(_)) => Code::OutcomeUnknown.into(),
        NotCommanded::Store(StoreError::Damaged(_) | StoreError::Fatal(_)) => Code::Internal.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_s_refusals_have_the_codes_that_it_says() {
        for refused in [
            Refused::NodeNotFound,
            Refused::NodeAmbiguous,
            Refused::SlotNotFound,
            Refused::LastNode,
            Refused::NodeNotLive,
            Refused::AlreadyMoving,
            Refused::IncompatibleVersion,
        ] {
            assert_eq!(code(refused).slug(), refused.code());
        }
    }
}
