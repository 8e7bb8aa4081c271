//! What goes in and what comes out. Whoever drives the protocol gives it inputs one at a time, each with the time, and
//! carries out the outputs in their order.

use std::collections::BTreeSet;

use super::super::lease::Moment;
use super::super::ownership::NodeId;
use super::leases::Term;
use super::routing::Route;
use super::types::{Epoch, NodeState, Slot, StoreView, Version, WishChange};

/// What happens to a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// From the driver, many times a second: time passes. `makes_progress`: the journal's writer and the slots do. A node
    /// that makes none does not renew.
    Tick {
        makes_progress: bool,
    },
    /// From the node, once: it can serve. It claims and is given slots from now on.
    Ready,
    /// From the node, once: it is to end. It gives its slots away; what it has left at `by` it stops. Answered by
    /// [`Output::Drained`].
    Stop {
        by: Moment,
    },
    /// From the node, once, and last: it has left the list.
    Left,

    /// The answer to [`Output::ReadStore`]. `asked` is when the call began.
    StoreRead {
        number: u64,
        asked: Moment,
        read: Result<StoreView, NotRead>,
    },
    /// The answer to [`Output::Renew`]. `sent` is when the call began.
    Renewed {
        sent: Moment,
        answer: RenewAnswer,
    },
    /// The answer to [`Output::Claim`]: each slot that was asked for, with the epoch that was asked for.
    ClaimAnswered {
        answers: Vec<(Slot, Epoch, ClaimAnswer)>,
    },
    /// The answer to [`Output::Transfer`].
    TransferAnswered {
        slot: Slot,
        epoch: Epoch,
        answer: TransferAnswer,
    },

    /// From the runtime: what [`Output::StopSlot`] asked for is done. Everything that the slot had in flight has settled, and
    /// nothing of it is in memory. `epoch` is the one that it had last.
    SlotStopped {
        slot: Slot,
        epoch: Epoch,
    },
    /// From the runtime: the slot has claimed itself, because it did not know what became of its own append.
    EpochRaised {
        slot: Slot,
        epoch: Epoch,
    },

    /// From the link: the peer can be reached, or cannot.
    LinkUp {
        peer: NodeId,
    },
    LinkDown {
        peer: NodeId,
    },
    /// From the link: a peer has sent this. It may come twice, late, in another order, or not at all.
    Received {
        from: NodeId,
        message: Message,
    },

    /// From the router: a peer answered `NotOwner`, and named the owner that it knows.
    SawOwner {
        slot: Slot,
        owner: NodeId,
        epoch: Epoch,
    },
    /// From the router: a request carries a higher epoch than this node knows.
    SawEpoch {
        slot: Slot,
        epoch: Epoch,
    },

    /// From the node: this wish of an operator's is in the store now.
    Wished {
        change: WishChange,
    },
}

/// What a node is to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// To the store: renew the lease, with the rest of the row as it says. Answered by [`Input::Renewed`], always.
    Renew { counter: u64, state: NodeState, writes: Version, unreachable: BTreeSet<NodeId> },
    /// To the store: read the slots, and *after them* the nodes and the wishes (or all in one snapshot). A node that is back
    /// renews before it claims: whoever reads the nodes first might see its counter stand still beside an epoch that it has
    /// raised since, and take the slot from it. Answered by [`Input::StoreRead`], always.
    ReadStore { number: u64 },
    /// To the store: claim each slot that still is at its epoch. Answered by [`Input::ClaimAnswered`], always.
    Claim { slots: Vec<(Slot, Epoch)> },
    /// To the store: hand the slot over, where it still is this node's at this epoch. Answered by
    /// [`Input::TransferAnswered`], always.
    Transfer { slot: Slot, epoch: Epoch, to: NodeId },
    /// To the store: delete the row of a node that is gone, and what operators wished of it. There is no answer.
    Forget { node: NodeId },
    /// To the node that was told to stop: it owns nothing any more. It is a member still, so that what it forwards finds its
    /// way, until it has nothing left to forward. Then it leaves the list: [`Input::Left`].
    Drained,

    /// To the lease that is asked when replies are released: it is valid until then.
    LeaseValid { until: Moment },
    /// To the runtime: the slot is this node's at this epoch: bring it up, and serve it. Where it is stopping just now, it
    /// begins when it has stopped.
    StartSlot { slot: Slot, epoch: Epoch },
    /// To the runtime: no reply of this slot leaves until [`Output::KeepSlot`] or [`Output::StopSlot`] is said. Its memory
    /// stays. It takes effect before the next output is carried out.
    SuspendSlot { slot: Slot },
    /// To the runtime: the slot that was suspended is this node's again, and nobody had it meanwhile. It goes on, at this epoch.
    KeepSlot { slot: Slot, epoch: Epoch },
    /// To the runtime: take nothing more, let what is in flight settle, and let go of the memory. Requests that wait go back
    /// to the router. Answered by [`Input::SlotStopped`].
    StopSlot { slot: Slot, why: StopWhy },

    /// To the router: where requests for the slot go from now on.
    Route { slot: Slot, route: Route },
    /// To the link: send it, if the peer can be reached. It need not arrive.
    Send { to: NodeId, message: Message },
    /// To the stream that operators read.
    Event(Event),
    /// To the node: it must end, and not come back under this id.
    End { why: EndWhy },
}

/// What nodes tell each other. No message is needed for safety: whatever is lost is found in the tables at the next read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// From the owner of a slot to the node that is to get it. Answered by [`Message::Accept`] or [`Message::Decline`].
    Offer { slot: Slot, epoch: Epoch },
    /// From the node that was offered the slot: give it. The owner stops it, and transfers it. `term`: the unbroken stretch of
    /// its lease in which it says so.
    Accept { slot: Slot, epoch: Epoch, term: Term },
    /// From the node that was offered the slot: not now. The owner goes on.
    Decline { slot: Slot, epoch: Epoch },
    /// From the owner that was: the slot is yours at this epoch. What is forwarded follows. In the `term` in which it was
    /// accepted, the new owner starts it at once, unless it knew the epoch before; otherwise it claims it first.
    Transferred { slot: Slot, epoch: Epoch, term: Option<Term> },
    /// From anybody: the tables have changed in a way that concerns all. Whoever gets it reads them soon.
    Look,
}

/// Why a read has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NotRead;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenewAnswer {
    Renewed {
        counter: u64,
    },
    /// The list has another counter: an earlier renewal, whose outcome was unknown, was made.
    CounterMoved,
    /// The list has lost this node, or says that it has left.
    NotMember,
    /// Not done, or nobody knows.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimAnswer {
    Claimed {
        epoch: Epoch,
    },
    /// The slot is at another epoch.
    Fenced,
    /// This node has left the list.
    NotMember,
    /// For certain, nothing was done.
    NotDone,
    /// It may have been done, or may still be.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferAnswer {
    Moved {
        epoch: Epoch,
    },
    /// The slot is at another epoch, or another node's.
    Fenced,
    /// The node that was to get it has left.
    ReceiverGone,
    /// For certain, nothing was done.
    NotDone,
    /// It may have been done, or may still be.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopWhy {
    /// Another node is to get it: the router keeps what comes for it.
    HandOff,
    /// It is another node's already, or nobody knows whose.
    Lost,
    /// This node ends.
    Stopping,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndWhy {
    /// The node list does not have it any more: it was away for very long.
    NotMember,
    /// The store was created with another number of slots.
    OtherSlots { store: usize },
    /// This live node writes a version that this one cannot read.
    Incompatible { node: NodeId },
}

/// What operators see happening. The driver adds the time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    NodeJoined {
        node: NodeId,
    },
    NodeLeft {
        node: NodeId,
    },
    NodeLost {
        node: NodeId,
    },
    NodeBack {
        node: NodeId,
    },
    /// A slot without an owner, or whose owner is gone, has one.
    SlotClaimed {
        slot: Slot,
        node: NodeId,
        epoch: Epoch,
    },
    SlotMoved {
        slot: Slot,
        from: NodeId,
        node: NodeId,
        epoch: Epoch,
    },
    /// This node had the slot, and another took it.
    SlotFenced {
        slot: Slot,
        epoch: Epoch,
    },
    /// This node has given up to hand the slot over, and goes on serving it.
    HandOffGivenUp {
        slot: Slot,
        to: NodeId,
        why: GivenUp,
    },
    DrainStarted {
        node: NodeId,
    },
    /// A node that drains owns nothing any more.
    DrainDone {
        node: NodeId,
    },
    Cordoned {
        node: NodeId,
    },
    Uncordoned {
        node: NodeId,
    },
    Pinned {
        slot: Slot,
    },
    Unpinned {
        slot: Slot,
    },
    PlanChanged {
        claims: usize,
        moves: usize,
    },
    /// This node writes this version from now on.
    VersionChanged {
        writes: Version,
    },
}

/// Why a hand-off was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GivenUp {
    Declined,
    /// No answer to the offer, or the receiver cannot be reached any more.
    Unreachable,
    /// The receiver has left, is lost, or takes nothing any more.
    ReceiverGone,
    /// The slot did not stop in time.
    StopTooSlow,
    /// The store did not make the transfer in time.
    TransferTooSlow,
    /// The plan wants the slot to stay, or elsewhere.
    NotWanted,
}
