//! A cluster in one test: the real protocol of each node, over a store, a network, clocks and runtimes that are simulated.
//! Whatever happens stands in one queue by time; chance comes from one seed. Without chance everything takes its usual time,
//! and the run is a story that can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::random::Random;
use super::store::Store;
use crate::cluster::protocol::messages::*;
use crate::cluster::protocol::node::{Identity, Protocol};
use crate::cluster::protocol::parking::Parking;
use crate::cluster::protocol::routing::Route;
use crate::cluster::protocol::settings::Settings;
use crate::cluster::protocol::types::*;
use crate::cluster::{Moment, NodeId};

pub(super) const TICK_MS: i64 = 50;
pub(super) const LINK_CHECK_MS: i64 = 100;
pub(super) const TIMEOUT_MS: i64 = 1_000;
pub(super) const CLIENT_TRIES_MAX: u32 = 40;

/// What goes wrong, in a thousand; and how long things take at most.
#[derive(Debug, Clone, Default)]
pub struct Chances {
    pub message_lost: u64,
    pub message_twice: u64,
    pub message_ms_max: i64,
    pub request_lost: u64,
    pub answer_lost: u64,
    /// The answer is unknown, and the call is made after that.
    pub call_late: u64,
    /// The answer takes nearly until the timeout.
    pub answer_slow: u64,
    /// The message takes seconds.
    pub message_late: u64,
    pub call_ms_max: i64,
    pub stop_ms_max: i64,
}

/// What a driver or a runtime might get wrong. Each must be caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A node counts others as lost long before their lease is over.
    ClaimsBeforeTheEnd,
    /// A lease is counted from the answer to its renewal.
    LeaseFromTheAnswer,
    /// A node that has lapsed goes on with its slots when it can renew again.
    NoSuspension,
    /// A slot says that it has stopped, and goes on.
    HandsOverWithoutStopping,
    /// The store takes claims and transfers at any epoch.
    NoFencing,
    /// An unknown outcome of a call is taken for not done.
    UnknownIsNotDone,
    /// A node watches on through gaps in its own reads and renewals.
    WatchesThroughGaps,
    /// Reads come from a replica that is seconds behind, and count as new.
    StaleReads,
    /// The nodes are read before the slots.
    ReadsTheNodesFirst,
    /// Two nodes plan by different weights.
    PlansDisagree,
    /// What waits for a slot is not let go when it has an owner again.
    ForgetsWhoWaits,
    /// The router drops a request that it cannot place.
    NeverCorrects,
}

pub enum Hosted {
    Running {
        epoch: Epoch,
    },
    Suspended {
        epoch: Epoch,
    },
    /// It claims itself, and serves nothing meanwhile.
    Raising {
        epoch: Epoch,
    },
    Stopping {
        epoch: Epoch,
        then: Option<Epoch>,
    },
}

#[derive(Debug, Clone)]
pub struct Request {
    pub(super) origin: NodeId,
    pub(super) slot: Slot,
    pub(super) epoch: Epoch,
    pub(super) hops: u8,
    pub(super) tries: u32,
    pub(super) deadline: i64,
}

pub struct Node {
    pub protocol: Protocol,
    pub hosted: BTreeMap<Slot, Hosted>,
    pub(super) lease_until: Moment,
    pub(super) offset: i64,
    /// How much faster its clock runs, in millionths.
    pub(super) drift: i64,
    pub is_paused: bool,
    /// What came while it was paused.
    pub(super) inbox: Vec<Input>,
    pub routes: Vec<Route>,
    pub(super) parking: Parking<Request>,
    pub(super) links: BTreeMap<NodeId, bool>,
    pub(super) weight: u32,
    pub(super) reads: (Version, Version),
}

pub(super) enum Call {
    Renew(NodeView),
    /// The two tables are read one after the other.
    ReadFirst(u64),
    ReadSecond(u64, StoreView),
    Claim(Vec<(Slot, Epoch)>),
    Transfer(Slot, Epoch, NodeId),
    Raise(Slot, Epoch),
    Leave,
    Forget(NodeId),
}

pub(super) enum Happening {
    Tick(NodeId),
    Give(NodeId, Input),
    /// A node that has drained has nothing left to forward.
    Leave(NodeId),
    Call(NodeId, u64, Moment, Call),
    Answer(NodeId, u64, Input),
    Stopped(NodeId, Slot),
    Raised(NodeId, Slot, ClaimAnswer),
    Request(NodeId, Request),
    CheckLinks,
}

pub struct World {
    pub now: i64,
    pub(super) queue: BTreeMap<(i64, u64), Happening>,
    pub(super) next: u64,
    /// Calls that nobody has answered.
    pub(super) open: BTreeSet<u64>,
    pub store: Store,
    pub nodes: BTreeMap<NodeId, Node>,
    pub cuts: BTreeSet<(NodeId, NodeId)>,
    /// The store answers nobody before this, or takes no writes.
    pub stalled_until: i64,
    pub read_only_until: i64,
    /// Nodes that cannot reach the store before this.
    pub cut_off: BTreeMap<NodeId, i64>,
    pub settings: Settings,
    pub random: Random,
    pub chances: Chances,
    pub mutation: Option<Mutation>,
    pub said: Vec<String>,
    pub is_told: bool,
    pub violations: Vec<String>,
    /// Of the next transfer: its answer is lost, or else its request.
    pub lose_next_transfer: Option<bool>,
    /// The next transfer is made so much later.
    pub delay_next_transfer: i64,
    /// Without chance: how long a slot takes to stop.
    pub stops_take: i64,
    /// Without chance: for how long a node that has drained still forwards.
    pub lingers: i64,
    pub served: u64,
    pub dropped: u64,
    pub late: u64,
    /// How many were served and late in the chaos.
    pub chaos: (u64, u64),
    pub counts: BTreeMap<&'static str, u64>,
    pub(super) snapshots: Vec<(i64, Vec<SlotView>)>,
}

impl World {
    pub fn new(seed: u64, slots: u16, lease_ms: u64, chances: Chances) -> World {
        let mut world = World {
            now: 0,
            queue: BTreeMap::new(),
            next: 0,
            open: BTreeSet::new(),
            store: Store::new(slots),
            nodes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            stalled_until: 0,
            read_only_until: 0,
            cut_off: BTreeMap::new(),
            settings: Settings::of_lease(Duration::from_millis(lease_ms)),
            random: Random::new(seed),
            chances,
            mutation: None,
            said: Vec::new(),
            is_told: false,
            violations: Vec::new(),
            lose_next_transfer: None,
            delay_next_transfer: 0,
            stops_take: 10,
            lingers: 0,
            served: 0,
            dropped: 0,
            late: 0,
            chaos: (0, 0),
            counts: BTreeMap::new(),
            snapshots: Vec::new(),
        };
        world.after(LINK_CHECK_MS, Happening::CheckLinks);
        world
    }

    pub(super) fn after(&mut self, ms: i64, happening: Happening) {
        self.next += 1;
        self.queue.insert((self.now + ms.max(0), self.next), happening);
    }

    pub fn say(&mut self, line: String) {
        if self.is_told {
            let line = format!("{:>7} {line}", format!("{}.{:03}", self.now / 1_000, self.now % 1_000));
            // What a node does to several slots at once is one line.
            let verbs = [" starts ", " keeps ", " suspends ", " stops "];
            let split =
                |line: &str| verbs.iter().find_map(|verb| line.find(verb).map(|at| line[..at + verb.len()].to_owned()));
            if let (Some(last), Some(start)) = (self.said.last_mut(), split(&line))
                && last.starts_with(&start)
            {
                last.push(' ');
                last.push_str(&line[start.len()..]);
            } else {
                self.said.push(line);
            }
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn clock(&self, node: &NodeId) -> Moment {
        let of = self.nodes.get(node);
        let (offset, drift) = of.map_or((0, 0), |node| (node.offset, node.drift));
        Moment::from_millis(offset + self.now + self.now * drift / 1_000_000)
    }

    pub(super) fn up_to(&mut self, most: i64, usual: i64) -> i64 {
        if most == 0 { usual } else { self.random.between(1, most) }
    }

    /// A node joins, and can serve at once.
    pub fn start(&mut self, name: &str, weight: u32, reads: (Version, Version), offset: i64, drift: i64) -> NodeId {
        let id = NodeId::of(name);
        let called = name.split('#').next().unwrap_or(name);
        let row = NodeView {
            id: id.clone(),
            name: called.into(),
            state: NodeState::Joining,
            reads,
            writes: reads.0,
            counter: 0,
            weight,
            unreachable: BTreeSet::new(),
        };
        let taken = self.store.nodes.insert(id.clone(), row);
        assert!(taken.is_none(), "an id enters once");
        let mut settings = self.settings.clone();
        if self.mutation == Some(Mutation::ClaimsBeforeTheEnd) && name < "b" {
            settings.lease.lease /= 4; // the others count on the whole
        }
        if self.mutation == Some(Mutation::WatchesThroughGaps) {
            settings.gap_max = Duration::from_secs(3_600);
        }
        let slots = self.store.slots.len() as u16;
        let joined = Moment::from_millis(offset + self.now + self.now * drift / 1_000_000);
        let me = Identity { id: id.clone(), name: called.into(), reads, writes: reads.0, slots };
        let protocol = Protocol::new(me, settings, 0, joined);
        let node = Node {
            protocol,
            hosted: BTreeMap::new(),
            lease_until: self.settings.lease.valid_until(joined),
            offset,
            drift,
            is_paused: false,
            inbox: Vec::new(),
            routes: vec![Route::Park { epoch: 0 }; usize::from(slots)],
            parking: Parking::default(),
            links: BTreeMap::new(),
            weight,
            reads,
        };
        self.nodes.insert(id.clone(), node);
        self.say(format!("{id} starts"));
        self.after(0, Happening::Tick(id.clone()));
        self.after(0, Happening::Give(id.clone(), Input::Ready));
        id
    }

    pub fn kill(&mut self, node: &NodeId) {
        if self.nodes.remove(node).is_some() {
            self.say(format!("{node} is killed"));
        }
    }

    pub fn pause(&mut self, node: &NodeId) {
        if let Some(one) = self.nodes.get_mut(node) {
            one.is_paused = true;
            self.say(format!("{node} is paused"));
        }
    }

    pub fn resume(&mut self, node: &NodeId) {
        let Some(one) = self.nodes.get_mut(node).filter(|one| one.is_paused) else { return };
        one.is_paused = false;
        let inbox = std::mem::take(&mut one.inbox);
        self.say(format!("{node} goes on"));
        for input in inbox {
            self.give(node, input);
        }
    }

    /// Time passes.
    pub fn run(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
            self.check();
        }
        self.now = end;
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(node) => {
                if let Some(one) = self.nodes.get(&node) {
                    if !one.is_paused {
                        self.give(&node, Input::Tick { makes_progress: true });
                        self.expire(&node);
                    }
                    let next = self.up_to(if self.chances.call_ms_max == 0 { 0 } else { TICK_MS }, TICK_MS);
                    self.after(next, Happening::Tick(node));
                }
            }
            Happening::Give(node, input) => self.give(&node, input),
            Happening::Leave(node) => self.leave(&node),
            Happening::Call(node, id, sent, call) => self.call(node, id, sent, call),
            Happening::Answer(node, id, input) => {
                if self.open.remove(&id) {
                    self.give(&node, input);
                }
            }
            Happening::Stopped(node, slot) => self.stopped(&node, slot),
            Happening::Raised(node, slot, answer) => self.raised(&node, slot, answer),
            Happening::Request(node, request) => self.request(&node, request),
            Happening::CheckLinks => {
                self.check_links();
                self.after(LINK_CHECK_MS, Happening::CheckLinks);
            }
        }
    }

    fn leave(&mut self, node: &NodeId) {
        match self.nodes.get(node).map(|one| one.is_paused) {
            Some(true) => self.after(LINK_CHECK_MS, Happening::Leave(node.clone())),
            Some(false) => self.begin(node, self.clock(node), Call::Leave, None),
            None => {}
        }
    }

    pub(super) fn left(&mut self, node: &NodeId) {
        self.store.leave(node);
        self.give(node, Input::Left);
        self.nodes.remove(node);
        self.say(format!("{node} has left"));
    }

    pub(super) fn check_links(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().cloned().collect();
        let mut told = Vec::new();
        for a in &ids {
            for b in self.store.nodes.keys().filter(|b| *b != a) {
                let works = self.nodes.get(b).is_some_and(|b| !b.is_paused)
                    && !self.cuts.contains(&(a.clone(), b.clone()))
                    && !self.cuts.contains(&(b.clone(), a.clone()));
                let Some(node) = self.nodes.get_mut(a).filter(|node| !node.is_paused) else { continue };
                if node.links.insert(b.clone(), works) != Some(works) {
                    told.push((a.clone(), b.clone(), works));
                }
            }
        }
        for (a, peer, works) in told {
            self.give(&a, if works { Input::LinkUp { peer } } else { Input::LinkDown { peer } });
        }
    }

    /// A node's input, now.
    pub fn give(&mut self, node: &NodeId, input: Input) {
        let now = self.clock(node);
        let Some(one) = self.nodes.get_mut(node) else { return };
        if one.is_paused {
            one.inbox.push(input);
            return;
        }
        let mut input = input;
        if self.mutation == Some(Mutation::LeaseFromTheAnswer)
            && let Input::Renewed { sent, .. } = &mut input
        {
            *sent = now;
        }
        if let Input::Received { from, message } = &input {
            let line = format!("{from} → {node} {}", super::story::message(message));
            self.say(line);
        }
        let Some(one) = self.nodes.get_mut(node) else { return };
        let outputs = one.protocol.handle(now, input);
        for output in outputs {
            self.carry_out(node, now, output);
        }
    }

    pub(super) fn carry_out(&mut self, node: &NodeId, now: Moment, output: Output) {
        if let Some(line) = super::story::output(&output) {
            self.say(format!("{node} {line}"));
        }
        let Some(one) = self.nodes.get_mut(node) else { return };
        match output {
            Output::Renew { counter, state, writes, unreachable } => {
                let (id, name) = (node.clone(), node.as_str().split('#').next().unwrap_or_default().into());
                let (weight, reads) = (one.weight, one.reads);
                let row = NodeView { id, name, state, reads, writes, counter, weight, unreachable };
                let unknown = Input::Renewed { sent: now, answer: RenewAnswer::Failed };
                self.begin(node, now, Call::Renew(row), Some(unknown));
            }
            Output::ReadStore { number } => {
                let unknown = Input::StoreRead { number, asked: now, read: Err(NotRead) };
                self.begin(node, now, Call::ReadFirst(number), Some(unknown));
            }
            Output::Claim { slots } => {
                let answer = self.unknown_claim();
                let answers = slots.iter().map(|(slot, epoch)| (*slot, *epoch, answer)).collect();
                self.begin(node, now, Call::Claim(slots), Some(Input::ClaimAnswered { answers }));
            }
            Output::Transfer { slot, epoch, to } => {
                let is_mutant = self.mutation == Some(Mutation::UnknownIsNotDone);
                let answer = if is_mutant { TransferAnswer::NotDone } else { TransferAnswer::Unknown };
                let unknown = Input::TransferAnswered { slot, epoch, answer };
                self.begin(node, now, Call::Transfer(slot, epoch, to), Some(unknown));
            }
            Output::Forget { node: gone } => self.begin(node, now, Call::Forget(gone), None),
            Output::Drained => {
                let lingers = if self.chances.call_ms_max == 0 { self.lingers } else { self.random.between(0, 4_000) };
                self.after(lingers, Happening::Leave(node.clone()));
            }
            Output::End { .. } => {
                self.count("nodes that had to end");
                self.nodes.remove(node);
            }
            Output::LeaseValid { until } => one.lease_until = one.lease_until.max(until),
            Output::StartSlot { slot, epoch } => match one.hosted.get_mut(&slot) {
                Some(Hosted::Stopping { then, .. }) => *then = Some(epoch),
                Some(Hosted::Running { epoch: old } | Hosted::Suspended { epoch: old }) if *old >= epoch => {}
                Some(_) | None => {
                    one.hosted.insert(slot, Hosted::Running { epoch });
                }
            },
            Output::SuspendSlot { slot } if self.mutation != Some(Mutation::NoSuspension) => {
                if let Some(hosted) = one.hosted.get_mut(&slot)
                    && let Hosted::Running { epoch } | Hosted::Raising { epoch } = *hosted
                {
                    *hosted = Hosted::Suspended { epoch };
                }
            }
            Output::SuspendSlot { .. } => {}
            Output::KeepSlot { slot, epoch } => {
                if let Some(hosted) = one.hosted.get_mut(&slot)
                    && !matches!(hosted, Hosted::Stopping { .. })
                {
                    *hosted = Hosted::Running { epoch };
                }
            }
            Output::StopSlot { slot, .. } => self.stop_slot(node, slot),
            Output::Event(_) => {}
            Output::Route { slot, route } => {
                one.routes[usize::from(slot)] = route;
                self.release(node, slot);
            }
            Output::Send { to, message } => self.send(node, to, message),
        }
    }
}
