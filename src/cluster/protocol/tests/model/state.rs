//! What the checker sees of a cluster between two ticks, and what must hold in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::store::Store;
use crate::cluster::protocol::messages::{Input, Message};
use crate::cluster::protocol::node::Protocol;
use crate::cluster::protocol::types::{Epoch, NodeView, Slot, StoreView};
use crate::cluster::{Moment, NodeId};

/// A slot as the runtime of one node has it.
#[derive(Clone, Hash)]
pub struct Hosted {
    pub standing: Standing,
    pub epoch: Epoch,
    /// How many writes of the slot are in memory. `None`: one of them may have been made or not.
    pub knows: Option<u8>,
    /// A write is on its way: since when, and at which epoch.
    pub writes: Option<(i64, Epoch)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    Running,
    Suspended,
    /// It lets what is in flight settle. `then`: it is to begin again at this epoch.
    Stopping {
        then: Option<Epoch>,
    },
}

#[derive(Clone, Hash)]
pub struct Node {
    pub protocol: Protocol,
    pub hosted: BTreeMap<Slot, Hosted>,
    pub lease_until: Moment,
    pub paused_at: Option<i64>,
    /// What came while it was paused.
    pub inbox: VecDeque<Happening>,
}

/// A call to the store that is on its way.
#[derive(Clone, Hash)]
pub enum Call {
    Renew(NodeView),
    /// The two tables are read one after the other.
    ReadFirst(u64),
    ReadSecond(u64, StoreView),
    Claim(Vec<(Slot, Epoch)>),
    Transfer(Slot, Epoch, NodeId),
}

/// A write of a slot that is on its way to the store.
#[derive(Clone, Hash)]
pub struct Write {
    pub node: NodeId,
    pub slot: Slot,
    pub epoch: Epoch,
    /// How many writes its writer knew.
    pub after: u8,
}

/// What happens in a tick, one after the other.
#[derive(Clone, Hash)]
pub enum Happening {
    Tick(NodeId),
    Give(NodeId, Input),
    Call {
        node: NodeId,
        sent: i64,
        call: Call,
        /// Its answer is still waited for.
        is_open: bool,
        /// It was held on its way to the store.
        was_held: bool,
    },
    Send {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    Write(Write),
    Written {
        node: NodeId,
        slot: Slot,
        epoch: Epoch,
        is_made: bool,
    },
}

/// What is on its way for longer than a tick. It comes at any time, or never.
#[derive(Clone, Hash)]
pub enum Held {
    Call { node: NodeId, sent: i64, call: Call, is_open: bool },
    Answer { node: NodeId, sent: i64, input: Input, unknown: Input },
    Message { from: NodeId, to: NodeId, message: Message },
    Write(Write),
}

/// Where something can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    RenewAsked,
    RenewAnswered,
    /// The slots are read, and the nodes are not.
    BetweenTheTables,
    ReadAnswered,
    ClaimAsked,
    ClaimAnswered,
    TransferAsked,
    TransferAnswered,
    Offer,
    Accept,
    Transferred,
}

/// The first that comes by of this node is held, in the tick that follows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trap {
    pub node: NodeId,
    pub at: Point,
    /// A copy of it is held, and it goes on too.
    pub is_copy: bool,
}

/// What must hold always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    Owner,
    Reads,
    Acknowledged,
    Grows,
    OneWriter,
    Ends,
}

/// What must happen in some run, or the model checks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    HandOff,
    FailOver,
    GoesOnInMemory,
    DroppedWhatOthersTook,
    DoubtResolved,
    GivenUp,
    RaisedItself,
    WriteFenced,
}

/// The order in which things are chosen between two ticks: so that what commutes is tried in one order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Faults,
    Releases,
    Traps,
}

#[allow(clippy::derived_hash_with_manual_eq, reason = "what is equal is what has one hash")]
#[derive(Clone, Hash)]
pub struct State {
    pub ticks: i64,
    /// In milliseconds, as are all times here.
    pub now: i64,
    pub store: Store,
    /// How many writes each slot has in the store.
    pub log: Vec<u8>,
    /// Who had each slot before its owner, and the highest epoch that it has had.
    pub owner_before: Vec<Option<NodeId>>,
    pub epochs: Vec<Epoch>,
    pub nodes: BTreeMap<NodeId, Node>,
    pub queue: VecDeque<Happening>,
    pub held: Vec<Held>,
    pub traps: Vec<Trap>,
    pub stage: Stage,
    pub faults: u8,
    pub restarts: u8,
    /// Slots of which a call had an unknown outcome, and which nobody has served since.
    pub doubts: BTreeSet<Slot>,
    /// What has happened in the last step.
    pub seen: BTreeSet<Seen>,
    pub wrong: Option<(Rule, String)>,
    /// What is told, where it is told.
    pub said: Vec<String>,
}

/// The checker compares states where it looks for a path that somebody gives it: the hash is what it goes by elsewhere.
impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        let hash = |state: &State| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        hash(self) == hash(other)
    }
}

impl State {
    pub fn new(slots: u16) -> State {
        let count = usize::from(slots);
        State {
            ticks: 0,
            now: 0,
            store: Store::new(slots),
            log: vec![0; count],
            owner_before: vec![None; count],
            epochs: vec![0; count],
            nodes: BTreeMap::new(),
            queue: VecDeque::new(),
            held: Vec::new(),
            traps: Vec::new(),
            stage: Stage::Faults,
            faults: 0,
            restarts: 0,
            doubts: BTreeSet::new(),
            seen: BTreeSet::new(),
            wrong: None,
            said: Vec::new(),
        }
    }

    pub fn moment(&self) -> Moment {
        Moment::from_millis(self.now)
    }

    pub fn hosted(&mut self, node: &NodeId, slot: Slot) -> Option<&mut Hosted> {
        self.nodes.get_mut(node)?.hosted.get_mut(&slot)
    }

    pub fn is_wrong(&mut self, rule: Rule, why: String) {
        self.wrong.get_or_insert((rule, why));
    }

    /// What must hold after each thing that happens. `asks_the_lease`: the runtime does, when a reply is to leave.
    pub fn check(&mut self, asks_the_lease: bool) {
        let mut wrong = None;
        for (slot, head) in self.store.slots.iter().enumerate() {
            if head.epoch < self.epochs[slot] {
                let why = format!("slot {slot} was at epoch {}, and is at {}", self.epochs[slot], head.epoch);
                wrong.get_or_insert((Rule::Grows, why));
            }
            self.epochs[slot] = head.epoch;
        }
        let now = self.moment();
        for (id, node) in self.nodes.iter().filter(|(_, node)| node.paused_at.is_none()) {
            if asks_the_lease && now >= node.lease_until {
                continue;
            }
            for (slot, hosted) in node.hosted.iter().filter(|(_, hosted)| hosted.standing == Standing::Running) {
                let head = &self.store.slots[usize::from(*slot)];
                if head.epoch != hosted.epoch || head.owner.as_ref() != Some(id) {
                    let (epoch, owner) = (hosted.epoch, &head.owner);
                    let why =
                        format!("{id} answers for slot {slot} at epoch {epoch}; it is of {owner:?} at {}", head.epoch);
                    wrong.get_or_insert((Rule::Owner, why));
                }
                let (has, knows) = (self.log[usize::from(*slot)], hosted.knows);
                let is_own = hosted.writes.is_some() && knows.is_some_and(|knows| knows + 1 == has);
                if knows != Some(has) && !is_own {
                    let why = format!("{id} answers for slot {slot}: it has {knows:?} of {has} writes");
                    wrong.get_or_insert((Rule::Reads, why));
                }
            }
        }
        if let Some((rule, why)) = wrong {
            self.is_wrong(rule, why);
        }
    }

    /// What must hold after each tick.
    pub fn check_writers(&mut self) {
        let mut writers: BTreeMap<(Slot, Epoch), &NodeId> = BTreeMap::new();
        let mut wrong = None;
        for (id, node) in &self.nodes {
            for (slot, Hosted { epoch, .. }) in &node.hosted {
                if let Some(other) = writers.insert((*slot, *epoch), id) {
                    wrong = Some(format!("{other} and {id} have slot {slot} at epoch {epoch}"));
                }
            }
        }
        if let Some(why) = wrong {
            self.is_wrong(Rule::OneWriter, why);
        }
    }
}
