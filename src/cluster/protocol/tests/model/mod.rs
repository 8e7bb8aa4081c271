//! Every run of a small cluster, up to a bound, by a model checker (stateright): three nodes, two slots, and the real protocol of
//! each node. It is the core that ships that is copied, hashed and run here, and no description of it. The simulation beside it
//! takes few ways through large clusters; this takes all ways through a small one.
//!
//! ## What is modelled
//!
//! Time goes in ticks: each node's clock, then all that follows, first in first out ([`tick`]). A lease is three ticks and
//! its margin is one. Where nothing goes wrong there is one run. What may go wrong is an [`Action`] that counts against a
//! bound; when it ends (a node goes on, what was held comes) is free, at any tick or never.
//!
//! | action | stands for | rules of the essay |
//! | --- | --- | --- |
//! | `Hold` a renewal, or its answer | a slow or lost call; a store that stalls for this node | 1, 2 |
//! | `Hold` a read, or what is between its two tables | others act between what it shows and what follows from it | 2, 3, 4 |
//! | `Hold` a claim or a transfer, or its answer | an unknown outcome, and a call that is made after that | 4, 5 |
//! | `Hold` a message, or a copy of it | lost, late, in another order, twice | "safety needs no message" |
//! | `Pause` | a halted process or machine; where it never goes on, a crash | 1, 3 |
//! | `Restart` | a crash; the same node comes back as another incarnation | 2, 3 |
//! | `Write` | a commit in flight, which lands at any time or never | 5, and the store's fence |
//!
//! Not modelled: clocks that run apart (the margin is for them), links that are known to be down, operators, several versions,
//! and requests between nodes. The simulation has those.
//!
//! ## How much
//!
//! `SOUK_MODEL_FAULTS` and `SOUK_MODEL_TICKS` set the bound by hand; a release build is ten times as fast.

mod calls;
mod checks;
mod state;
mod tick;

use std::fmt;
use std::time::Duration;

use stateright::{Model, Property};

use crate::cluster::protocol::settings::Settings;
use crate::cluster::protocol::types::Slot;
use crate::cluster::{LeaseTimes, NodeId};
use state::{Happening, Held, Hosted, Rule, Seen, Stage, Standing, State, Trap, Write};
use tick::Step;

const TICK_MS: i64 = 100;
/// A call that was not answered for so long has an unknown outcome.
const UNKNOWN_AFTER_MS: i64 = 2 * TICK_MS;
const SLOTS: Slot = 2;

fn settings() -> Settings {
    let tick = Duration::from_millis(TICK_MS as u64);
    let at_once = Duration::from_millis(1); // in the next tick
    Settings {
        lease: LeaseTimes { lease: tick * 3, margin: tick },
        renew_every: tick,
        read_every: tick,
        read_gap_min: at_once,
        gap_max: tick * 2,
        again: at_once,
        settle: tick,
        isolated_after: tick * 100,
        offer_max: tick * 2,
        stop_max: tick,
        transfer_max: tick,
        handoff_again: tick,
        moves_max: 2,
        takes_max: 2,
        claims_max: 2,
        forget_after: tick * 10_000,
    }
}

/// What a driver, a runtime or a store might get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The store takes claims and transfers at any epoch.
    NoFencing,
    /// The store takes writes at any epoch.
    WritesAreNotFenced,
    /// The store hands over whatever the giver owns, at whichever epoch.
    TransfersAtAnyEpoch,
    /// Replies leave without the lease being asked.
    ServesAfterTheLease,
    /// A node whose lease has lapsed goes on with its slots when it can renew again: by their stale epochs.
    NoSuspension,
    /// A lease is counted from the answer to its renewal.
    LeaseFromTheAnswer,
    /// Nodes count others as lost before their lease is over.
    ClaimsBeforeTheEnd,
    /// A write is answered before it is made.
    RepliesBeforeCommit,
    /// A slot says that it has stopped, and goes on.
    HandsOverWithoutStopping,
    /// A node starts what is transferred to it in whichever term it accepted.
    IgnoresTheTerm,
    /// A claim or a transfer of unknown outcome is taken for not done.
    UnknownIsNotDone,
    /// A claim of unknown outcome is taken for done: the slot is served without a read.
    UnknownIsDone,
    /// The nodes are read before the slots.
    ReadsTheNodesFirst,
    /// Each node plans by other weights. This one must be harmless.
    PlansDisagree,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
enum Action {
    Tick,
    Hold(Trap),
    Pause(NodeId),
    Restart(NodeId),
    Write(NodeId, Slot),
    GoOn(NodeId),
    /// What is held comes.
    Release(usize),
}

impl Action {
    fn is_fault(&self) -> bool {
        matches!(self, Action::Hold(_) | Action::Pause(_) | Action::Restart(_) | Action::Write(..))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Tick => write!(f, "tick"),
            Action::Hold(Trap { node, at, is_copy: false }) => write!(f, "hold {at:?} of {node}"),
            Action::Hold(Trap { node, at, is_copy: true }) => write!(f, "hold a copy of {at:?} of {node}"),
            Action::Pause(node) => write!(f, "pause {node}"),
            Action::Restart(node) => write!(f, "restart {node}"),
            Action::Write(node, slot) => write!(f, "{node} writes to {slot}, which takes long"),
            Action::GoOn(node) => write!(f, "{node} goes on"),
            Action::Release(at) => write!(f, "what is held comes, number {at}"),
        }
    }
}

/// A sort of faults.
type Sort = fn(&Action) -> bool;

#[derive(Clone)]
struct Cluster {
    /// How much goes wrong in a run at most.
    faults: u8,
    /// How long a run is, and in which of its ticks something goes wrong.
    ticks: i64,
    ticks_of_faults: i64,
    /// What may go wrong.
    may: Sort,
    mutation: Option<Mutation>,
    is_told: bool,
    begins: Vec<State>,
}

impl Cluster {
    fn new(faults: u8, ticks: i64, mutation: Option<Mutation>) -> Cluster {
        let ticks_of_faults = (ticks - 4).max(1);
        let begins = Vec::new();
        let mut cluster = Cluster { faults, ticks, ticks_of_faults, may: |_| true, mutation, is_told: false, begins };
        cluster.begins = cluster.begins();
        cluster
    }

    fn step(&self, state: State) -> Step<'_> {
        Step { cluster: self, state, is_tried: false, passed: Vec::new() }
    }

    /// Two nodes have joined a third that has both slots, and one of them is to be handed over in the next tick. And some ticks
    /// later, when all has settled.
    fn begins(&self) -> Vec<State> {
        let mut state = State::new(SLOTS);
        state.store.fences = self.mutation != Some(Mutation::NoFencing);
        let mut step = self.step(state);
        let mut states = Vec::new();
        step.start("a");
        (0..3).for_each(|_| step.tick());
        step.start("b");
        step.start("c");
        step.tick();
        states.push(step.state.clone());
        (0..4).for_each(|_| step.tick());
        states.push(step.state);
        for state in &mut states {
            state.ticks = 0;
            state.seen.clear();
        }
        states
    }

    /// What can be held in the next tick: what comes by after what is held already.
    fn traps(&self, state: &State) -> Vec<Trap> {
        let mut step = Step { is_tried: true, ..self.step(state.clone()) };
        step.tick();
        let last = state.traps.last().and_then(|last| step.passed.iter().position(|trap| trap == last));
        step.passed.split_off(last.map_or(0, |last| last + 1))
    }

    fn faults(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        if state.stage == Stage::Faults {
            for (id, node) in state.nodes.iter().filter(|(_, node)| node.paused_at.is_none()) {
                actions.push(Action::Pause(id.clone()));
                if state.restarts == 0 {
                    actions.push(Action::Restart(id.clone()));
                }
                let writes = |hosted: &Hosted| {
                    hosted.standing == Standing::Running && hosted.writes.is_none() && hosted.knows.is_some()
                };
                let may_speak = state.moment() < node.lease_until;
                let slots = node.hosted.iter().filter(|(_, hosted)| may_speak && writes(hosted));
                actions.extend(slots.map(|(slot, _)| Action::Write(id.clone(), *slot)));
            }
        }
        actions.extend(self.traps(state).into_iter().map(Action::Hold));
        actions.retain(self.may);
        actions
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.begins.clone()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() || state.ticks >= self.ticks {
            return;
        }
        if state.stage <= Stage::Releases {
            let is_over = |at: Option<i64>| at.is_some_and(|at| at < state.now);
            let paused = state.nodes.iter().filter(|(_, node)| is_over(node.paused_at));
            actions.extend(paused.map(|(id, _)| Action::GoOn(id.clone())));
            actions.extend((0..state.held.len()).map(Action::Release));
        }
        // What has not begun to go wrong by the first tick may as well begin later: that is another state of the same kind.
        let is_early = state.ticks < self.ticks_of_faults && (state.faults > 0 || state.ticks == 0);
        if state.faults < self.faults && is_early {
            actions.extend(self.faults(state));
        }
        actions.push(Action::Tick);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        state.seen.clear();
        if self.is_told {
            state.said.push(format!("* {action}"));
        }
        state.faults += u8::from(action.is_fault());
        match action {
            Action::Tick => {
                let mut step = self.step(state);
                step.tick();
                return Some(step.state);
            }
            Action::Hold(trap) => {
                state.traps.push(trap);
                state.stage = Stage::Traps;
            }
            Action::Pause(node) => state.nodes.get_mut(&node)?.paused_at = Some(state.now),
            Action::Restart(node) => {
                state.nodes.remove(&node);
                state.restarts += 1;
                let mut step = self.step(state);
                step.start(&format!("{node}2"));
                return Some(step.state);
            }
            Action::Write(node, slot) => {
                let now = state.now;
                let hosted = state.hosted(&node, slot)?;
                let (epoch, after) = (hosted.epoch, hosted.knows?);
                hosted.writes = Some((now, epoch));
                state.held.push(Held::Write(Write { node, slot, epoch, after }));
            }
            Action::GoOn(node) => {
                let one = state.nodes.get_mut(&node)?;
                one.paused_at = None;
                state.queue.append(&mut one.inbox);
                state.stage = Stage::Releases;
            }
            Action::Release(at) => {
                state.queue.push_back(match state.held.remove(at) {
                    Held::Call { node, sent, call, is_open } => {
                        Happening::Call { node, sent, call, is_open, was_held: true }
                    }
                    Held::Answer { node, input, .. } => Happening::Give(node, input),
                    Held::Message { from, to, message } => Happening::Send { from, to, message },
                    Held::Write(write) => Happening::Write(write),
                });
                state.stage = Stage::Releases;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Cluster>> {
        fn holds(state: &State, rule: Rule) -> bool {
            state.wrong.as_ref().is_none_or(|(broken, _)| *broken != rule)
        }
        fn happens(state: &State, what: Seen) -> bool {
            state.seen.contains(&what)
        }
        vec![
            Property::always("whoever answers for a slot owns it, at the store's epoch", |_, state| {
                holds(state, Rule::Owner)
            }),
            Property::always("whoever answers for a slot, or writes to it, knows every write before", |_, state| {
                holds(state, Rule::Reads)
            }),
            Property::always("a write that was answered is in the store", |_, state| holds(state, Rule::Acknowledged)),
            Property::always("the epoch of a slot only grows", |_, state| holds(state, Rule::Grows)),
            Property::always("one node at most has a slot at an epoch", |_, state| holds(state, Rule::OneWriter)),
            Property::always("what follows from a tick has an end", |_, state| holds(state, Rule::Ends)),
            Property::sometimes("a hand-off completes", |_, state| happens(state, Seen::HandOff)),
            Property::sometimes("a fail-over completes", |_, state| happens(state, Seen::FailOver)),
            Property::sometimes("a node that was away goes on in memory", |_, state| {
                happens(state, Seen::GoesOnInMemory)
            }),
            Property::sometimes("a node that was away drops what others took", |_, state| {
                happens(state, Seen::DroppedWhatOthersTook)
            }),
            Property::sometimes("an unknown outcome is resolved", |_, state| happens(state, Seen::DoubtResolved)),
            Property::sometimes("a hand-off is given up", |_, state| happens(state, Seen::GivenUp)),
            Property::sometimes("a slot raises its own epoch", |_, state| happens(state, Seen::RaisedItself)),
            Property::sometimes("a late write is fenced", |_, state| happens(state, Seen::WriteFenced)),
        ]
    }
}
