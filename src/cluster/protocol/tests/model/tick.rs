//! A tick: what has waited comes first, then every node's clock; and all that follows from it, each thing after those that
//! were there before. Calls and messages take no time, except where a trap holds them.

use std::collections::VecDeque;

use super::super::story;
use super::state::*;
use super::{Cluster, Mutation, TICK_MS, UNKNOWN_AFTER_MS};
use crate::cluster::NodeId;
use crate::cluster::protocol::messages::*;
use crate::cluster::protocol::node::{Identity, Protocol};
use crate::cluster::protocol::types::*;

/// More than any tick takes: a run that gets there goes round in circles.
const HAPPENINGS_MAX: usize = 500;

pub struct Step<'a> {
    pub cluster: &'a Cluster,
    pub state: State,
    /// It is only tried, to see what comes by.
    pub is_tried: bool,
    /// Where something came by that could have been held, in order.
    pub passed: Vec<Trap>,
}

impl Step<'_> {
    pub fn is(&self, mutation: Mutation) -> bool {
        self.cluster.mutation == Some(mutation)
    }

    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if self.cluster.is_told {
            self.state.said.push(line());
        }
    }

    fn check(&mut self) {
        let asks_the_lease = !self.is(Mutation::ServesAfterTheLease);
        self.state.check(asks_the_lease);
    }

    pub fn tick(&mut self) {
        self.state.ticks += 1;
        self.state.now += TICK_MS;
        let mut first = self.time_out();
        first.append(&mut self.state.queue);
        let awake = self.state.nodes.iter().filter(|(_, node)| node.paused_at.is_none());
        first.extend(awake.map(|(id, _)| Happening::Tick(id.clone())).collect::<Vec<_>>());
        self.state.queue = first;
        self.check();
        for _ in 0..HAPPENINGS_MAX {
            let Some(happening) = self.state.queue.pop_front().filter(|_| self.state.wrong.is_none()) else { break };
            self.happen(happening);
            self.check();
        }
        self.state.check_writers();
        if !self.state.queue.is_empty() {
            self.state.is_wrong(Rule::Ends, "there is no end to it".to_owned());
        }
        self.forget_what_comes_to_nothing();
        self.state.traps.clear();
        self.state.stage = Stage::Faults;
    }

    /// What is held and can change nothing any more, whenever it comes: fewer states, and the same runs. (Epochs and counters
    /// only grow. Where a mutation breaks that, all stays.)
    fn forget_what_comes_to_nothing(&mut self) {
        if self.cluster.mutation.is_some() {
            return;
        }
        let State { store, nodes, held, .. } = &mut self.state;
        let is_at = |slot: Slot, epoch| store.slots[usize::from(slot)].epoch == epoch;
        held.retain(|held| match held {
            Held::Call { call: Call::Renew(row), is_open: false, .. } => {
                store.nodes.get(&row.id).is_some_and(|known| known.counter == row.counter)
            }
            Held::Call { call: Call::Claim(slots), is_open: false, .. } => {
                slots.iter().any(|(slot, epoch)| is_at(*slot, *epoch))
            }
            Held::Call { call: Call::Transfer(slot, epoch, _), is_open: false, .. } => is_at(*slot, *epoch),
            Held::Call { .. } => true,
            Held::Answer { node, .. } => nodes.contains_key(node),
            Held::Message { to, .. } => nodes.contains_key(to),
            Held::Write(Write { node, slot, epoch, .. }) => {
                let hosted = nodes.get(node).and_then(|one| one.hosted.get(slot));
                let is_waited_for = hosted.is_some_and(|hosted| hosted.writes.is_some_and(|(_, at)| at == *epoch));
                is_at(*slot, *epoch) || is_waited_for
            }
        });
    }

    /// Calls that were not answered in time have an unknown outcome. They may be made yet.
    fn time_out(&mut self) -> VecDeque<Happening> {
        let now = self.state.now;
        let is_due = |sent: i64| now - sent >= UNKNOWN_AFTER_MS;
        let mut unknown = VecDeque::new();
        for held in std::mem::take(&mut self.state.held) {
            let stays = match held {
                Held::Call { node, sent, call, is_open: true } if is_due(sent) => {
                    unknown.push_back(Happening::Give(node.clone(), self.unknown(&call, sent)));
                    if matches!(call, Call::ReadFirst(_) | Call::ReadSecond(..)) {
                        continue; // it would change nothing any more
                    }
                    Held::Call { node, sent, call, is_open: false }
                }
                Held::Answer { node, sent, unknown: input, .. } if is_due(sent) => {
                    unknown.push_back(Happening::Give(node, input));
                    continue;
                }
                held => held,
            };
            self.state.held.push(stays);
        }
        unknown
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(node) => {
                self.give(&node, Input::Tick { makes_progress: true });
                self.doubt_writes(&node);
            }
            Happening::Give(node, input) => self.give(&node, input),
            Happening::Call { node, sent, call, is_open, was_held } => {
                if was_held || !self.holds_call(&node, sent, &call) {
                    self.call(node, sent, call, is_open);
                }
            }
            Happening::Send { from, to, message } => self.give(&to, Input::Received { from, message }),
            Happening::Write(write) => self.write(write),
            Happening::Written { node, slot, epoch, is_made } => self.written(node, slot, epoch, is_made),
        }
    }

    /// Whether a trap is set for what comes by here. Only the first in a tick is held.
    pub fn is_trapped(&mut self, node: &NodeId, at: Point, is_copy: bool) -> bool {
        if !self.is_tried && self.state.traps.is_empty() {
            return false;
        }
        let trap = Trap { node: node.clone(), at, is_copy };
        if self.passed.contains(&trap) {
            return false;
        }
        let is_set = self.state.traps.contains(&trap);
        self.passed.push(trap);
        is_set
    }

    /// A node joins, and can serve at once.
    pub fn start(&mut self, name: &str) {
        let (id, joined) = (NodeId::of(name), self.state.moment());
        let slots = self.state.log.len() as u16;
        let row = NodeView {
            id: id.clone(),
            name: name.into(),
            state: NodeState::Joining,
            reads: (1, 1),
            writes: 1,
            counter: 0,
            weight: 1,
            unreachable: Default::default(),
        };
        self.state.store.nodes.insert(id.clone(), row);
        let settings = super::settings();
        let lease_until = settings.lease.valid_until(joined);
        let me = Identity { id: id.clone(), name: name.into(), reads: (1, 1), writes: 1, slots };
        let mut protocol = Protocol::new(me, settings, 0, joined);
        if self.is(Mutation::ClaimsBeforeTheEnd) {
            protocol.settings.lease.lease /= 3; // what it waits for; its own lease is as long as ever
        }
        let node =
            Node { protocol, hosted: Default::default(), lease_until, paused_at: None, inbox: Default::default() };
        self.state.nodes.insert(id.clone(), node);
        self.say(|| format!("{id} starts"));
        self.give(&id, Input::Ready);
        for peer in self.state.nodes.keys().filter(|peer| **peer != id).cloned().collect::<Vec<_>>() {
            self.give(&id, Input::LinkUp { peer: peer.clone() });
            self.give(&peer, Input::LinkUp { peer: id.clone() });
        }
    }

    /// A node's input, now.
    pub fn give(&mut self, node: &NodeId, mut input: Input) {
        let now = self.state.moment();
        let Some(one) = self.state.nodes.get_mut(node) else { return };
        if one.paused_at.is_some() {
            return one.inbox.push_back(Happening::Give(node.clone(), input));
        }
        match &mut input {
            Input::Renewed { sent, .. } if self.is(Mutation::LeaseFromTheAnswer) => *sent = now,
            Input::ClaimAnswered { answers } => {
                let unknown = answers.iter().filter(|(_, _, answer)| *answer == ClaimAnswer::Unknown);
                self.state.doubts.extend(unknown.map(|(slot, _, _)| *slot));
            }
            Input::TransferAnswered { slot, answer: TransferAnswer::Unknown, .. } => {
                self.state.doubts.insert(*slot);
            }
            Input::Received { from, message } => {
                let line = format!("{from} → {node} {}", story::message(message));
                self.say(|| line);
                if self.is(Mutation::IgnoresTheTerm)
                    && let Message::Transferred { term, .. } = message
                {
                    *term = self.state.nodes.get(node).map(|one| one.protocol.term());
                }
            }
            _ => {}
        }
        let Some(one) = self.state.nodes.get_mut(node) else { return };
        let was_claim = matches!(input, Input::ClaimAnswered { .. });
        let was_hand_off = matches!(input, Input::Received { .. });
        for output in one.protocol.handle(now, input) {
            if let Output::StartSlot { slot, .. } = output {
                let before = self.state.owner_before[usize::from(slot)].as_ref();
                if was_hand_off {
                    self.state.seen.insert(Seen::HandOff);
                } else if was_claim && before.is_some_and(|before| before != node) {
                    self.state.seen.insert(Seen::FailOver);
                }
            }
            self.carry_out(node, output);
        }
    }

    fn carry_out(&mut self, node: &NodeId, output: Output) {
        if self.cluster.is_told
            && let Some(line) = story::output(&output)
        {
            self.say(|| format!("{node} {line}"));
        }
        let no_suspension = self.is(Mutation::NoSuspension);
        let Some(one) = self.state.nodes.get_mut(node) else { return };
        match output {
            Output::Renew { counter, state, writes, unreachable } => {
                if let Some(row) = self.state.store.nodes.get(node) {
                    let row = NodeView { counter, state, writes, unreachable, ..row.clone() };
                    self.begin(node, Call::Renew(row));
                }
            }
            Output::ReadStore { number } => self.begin(node, Call::ReadFirst(number)),
            Output::Claim { slots } => self.begin(node, Call::Claim(slots)),
            Output::Transfer { slot, epoch, to } => self.begin(node, Call::Transfer(slot, epoch, to)),
            Output::LeaseValid { until } => one.lease_until = one.lease_until.max(until),
            Output::StartSlot { slot, epoch } => self.start_slot(node, slot, epoch),
            Output::SuspendSlot { slot } => {
                if let Some(hosted) = one.hosted.get_mut(&slot)
                    && hosted.standing == Standing::Running
                    && !no_suspension
                {
                    hosted.standing = Standing::Suspended;
                }
            }
            Output::KeepSlot { slot, epoch } => self.keep_slot(node, slot, epoch),
            Output::StopSlot { slot, why } => self.stop_slot(node, slot, why),
            Output::Send { to, message } => self.send(node, to, message),
            Output::Event(Event::HandOffGivenUp { .. }) => {
                self.state.seen.insert(Seen::GivenUp);
            }
            Output::End { .. } => {
                self.state.nodes.remove(node);
            }
            Output::Forget { .. } | Output::Drained | Output::Route { .. } | Output::Event(_) => {}
        }
    }

    fn begin(&mut self, node: &NodeId, call: Call) {
        let (node, sent) = (node.clone(), self.state.now);
        self.state.queue.push_back(Happening::Call { node, sent, call, is_open: true, was_held: false });
    }

    fn send(&mut self, from: &NodeId, to: NodeId, message: Message) {
        let at = match message {
            Message::Offer { .. } => Some(Point::Offer),
            Message::Accept { .. } => Some(Point::Accept),
            Message::Transferred { .. } => Some(Point::Transferred),
            Message::Decline { .. } | Message::Look => None,
        };
        let from = from.clone();
        if let Some(at) = at {
            let is_held = self.is_trapped(&from, at, false);
            if is_held || self.is_trapped(&from, at, true) {
                let (from, to, message) = (from.clone(), to.clone(), message.clone());
                self.state.held.push(Held::Message { from, to, message });
            }
            if is_held {
                return;
            }
        }
        self.state.queue.push_back(Happening::Send { from, to, message });
    }
}
