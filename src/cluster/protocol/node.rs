//! One node's protocol: the state machine that ties the pieces together. An input goes in with the time, outputs come out
//! in the order in which they are to be carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::lease::Moment;
use super::super::ownership::NodeId;
use super::handoff::{Giving, Stage, Takings};
use super::leases::{OwnLease, Term, Watch};
use super::membership::View;
use super::messages::{EndWhy, GivenUp, Input, Output, RenewAnswer, StopWhy};
use super::plan::{Move, Plan};
use super::routing::{Route, SlotMap};
use super::settings::Settings;
use super::types::{Epoch, NodeState, Slot, Version};

/// What a node is before it knows anybody else.
#[derive(Debug, Clone, Hash)]
pub struct Identity {
    pub id: NodeId,
    pub name: Arc<str>,
    /// The oldest and the newest version that it reads. It can write what it can read.
    pub reads: (Version, Version),
    /// The version that it said it writes when it joined.
    pub writes: Version,
    /// How many slots the store has.
    pub slots: u16,
}

/// A slot that this node has, or is about to have.
#[derive(Debug, Clone, Hash)]
pub(super) enum Holding {
    /// A claim is on its way, which was asked for in this term, at this epoch. `keeps`: the slot is suspended, and its memory
    /// is here.
    Claiming {
        asked: Epoch,
        term: Term,
        keeps: bool,
    },
    Serving {
        epoch: Epoch,
    },
    /// The lease has lapsed: it serves nothing until it is claimed again.
    Suspended {
        epoch: Epoch,
    },
    Giving(Giving),
}

/// Calls to the store: what is on its way, and when the next is due.
#[derive(Debug, Clone, Hash)]
pub(super) struct Calls {
    is_renewing: bool,
    renew_at: Moment,
    pub(super) reading: Option<u64>,
    pub(super) read_at: Moment,
    read_began: Option<Moment>,
    /// A read was wanted after the one on its way had begun.
    pub(super) reads_again: bool,
    pub(super) is_claiming: bool,
    pub(super) claim_at: Moment,
}

/// It is a value: whoever copies it has two that go on from here (the model checker does, and tells states apart by their hash).
#[derive(Clone, Hash)]
pub struct Protocol {
    pub(super) settings: Settings,
    pub(super) me: Identity,
    pub(super) now: Moment,
    pub(super) lease: OwnLease,
    pub(super) watch: Watch,
    pub(super) view: View,
    pub(super) map: SlotMap,
    pub(super) holdings: BTreeMap<Slot, Holding>,
    /// The slots of `holdings` that are suspended, and that are being given away.
    pub(super) suspended: BTreeSet<Slot>,
    pub(super) giving: BTreeSet<Slot>,
    /// Slots that the table says are this node's, and that it does not have: it claims them.
    pub(super) orphans: BTreeSet<Slot>,
    /// Slots that were told to stop and have not said that they did.
    pub(super) stopping: BTreeSet<Slot>,
    pub(super) takings: Takings,
    /// Hand-offs that were given up, with the moment from which they may be begun again, and how often it has happened.
    pub(super) given_up: BTreeMap<Slot, (Moment, u32)>,
    pub(super) calls: Calls,
    pub(super) plan: Plan,
    /// The plan's moves from this node that are not begun.
    pub(super) moves: Vec<Move>,
    pub(super) plans_anew: bool,
    pub(super) has_seen_the_slots: bool,
    pub(super) stop_by: Option<Moment>,
    /// It was told to stop, and owns nothing any more.
    pub(super) has_drained: bool,
    /// It has left, or must end: nothing comes out any more.
    pub(super) is_over: bool,
    makes_progress: bool,
    pub(super) routes: Vec<Route>,
    pub(super) touched: BTreeSet<Slot>,
    pub(super) reroutes_all: bool,
    pub(super) out: Vec<Output>,
}

impl Protocol {
    /// `joined`: when the entry into the node list was sent, which said `Joining` and this lease counter. The entry has
    /// succeeded.
    pub fn new(me: Identity, settings: Settings, counter: u64, joined: Moment) -> Protocol {
        let lease = OwnLease::new(settings.lease, counter, joined);
        let map = SlotMap::new(me.slots);
        let routes = vec![Route::Park { epoch: 0 }; map.len()];
        let view = View::new(me.id.clone());
        let calls = Calls {
            is_renewing: false,
            renew_at: joined,
            reading: None,
            read_at: joined,
            read_began: None,
            reads_again: false,
            is_claiming: false,
            claim_at: joined,
        };
        Protocol {
            settings,
            me,
            now: joined,
            lease,
            watch: Watch::default(),
            view,
            map,
            holdings: BTreeMap::new(),
            suspended: BTreeSet::new(),
            giving: BTreeSet::new(),
            orphans: BTreeSet::new(),
            stopping: BTreeSet::new(),
            takings: Takings::default(),
            given_up: BTreeMap::new(),
            calls,
            plan: Plan::default(),
            moves: Vec::new(),
            plans_anew: false,
            has_seen_the_slots: false,
            stop_by: None,
            has_drained: false,
            is_over: false,
            makes_progress: true,
            routes,
            touched: BTreeSet::new(),
            reroutes_all: false,
            out: Vec::new(),
        }
    }

    /// Takes an input in. `now` never runs backwards.
    pub fn handle(&mut self, now: Moment, input: Input) -> Vec<Output> {
        if self.is_over {
            return Vec::new();
        }
        self.now = self.now.max(now);
        // Before anything else: what the input brings may come after a pause.
        if self.lease.has_lapsed(self.now) {
            self.lapse();
        }
        self.take_in(input);
        if !self.is_over {
            self.proceed();
            self.publish_routes();
        }
        std::mem::take(&mut self.out)
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Tick { makes_progress } => self.makes_progress = makes_progress,
            Input::Ready => self.become_state(NodeState::Serving),
            Input::Stop { by } => {
                self.stop_by = Some(by);
                self.become_state(NodeState::Draining);
            }
            Input::Left => {
                // What was left of its slots is free now.
                self.tell_all_to_look();
                self.is_over = true;
            }
            Input::StoreRead { number, asked, read } => self.store_read(number, asked, read),
            Input::Renewed { sent, answer } => self.renewed(sent, answer),
            Input::ClaimAnswered { answers } => self.claim_answered(answers),
            Input::TransferAnswered { slot, epoch, answer } => self.transfer_answered(slot, epoch, answer),
            Input::SlotStopped { slot, epoch } => self.slot_stopped(slot, epoch),
            Input::EpochRaised { slot, epoch } => self.epoch_raised(slot, epoch),
            Input::LinkUp { peer } => self.link(peer, true),
            Input::LinkDown { peer } => self.link(peer, false),
            Input::Received { from, message } => self.received(from, message),
            Input::SawOwner { slot, owner, epoch } => self.saw_owner(slot, owner, epoch),
            Input::SawEpoch { slot, epoch } => {
                if epoch > self.map.epoch(slot) {
                    self.read_soon();
                }
            }
            Input::Wished { change } => {
                // A read that is on its way may be older: another follows it.
                let events = self.view.wish(&change);
                self.out.extend(events.into_iter().map(Output::Event));
                self.plans_anew = true;
                self.read_soon();
                self.tell_all_to_look();
            }
        }
    }

    fn become_state(&mut self, state: NodeState) {
        // A node that drains does not come back to serving.
        if self.view.my_state < state {
            self.view.my_state = state;
            self.calls.renew_at = self.now;
            self.plans_anew = true;
        }
    }

    fn renewed(&mut self, sent: Moment, answer: RenewAnswer) {
        self.calls.is_renewing = false;
        match answer {
            RenewAnswer::Renewed { counter } => {
                self.watch.renewed(self.now);
                self.calls.renew_at = sent.plus(self.settings.renew_every);
                let was_valid = self.lease.is_valid();
                match self.lease.renewed(counter, sent, self.now) {
                    Some(until) => self.out.push(Output::LeaseValid { until }),
                    None => self.calls.renew_at = self.now, // the answer came too late
                }
                if !was_valid && self.lease.is_valid() {
                    self.plans_anew = true;
                    self.reroutes_all = true;
                }
            }
            RenewAnswer::CounterMoved => {
                self.lease.counter_is_unknown();
                self.read_soon();
            }
            RenewAnswer::NotMember => self.end(EndWhy::NotMember),
            RenewAnswer::Failed => self.calls.renew_at = self.now.plus(self.settings.again),
        }
    }

    /// The lease has run out: others may take the slots from now on. None of them serves until it is claimed again.
    fn lapse(&mut self) {
        let slots: Vec<Slot> = self.holdings.keys().copied().collect();
        for slot in slots {
            let epoch = match self.holdings.get(&slot) {
                Some(Holding::Serving { epoch }) => *epoch,
                Some(Holding::Giving(Giving { epoch, stage: Stage::Offering, .. })) => *epoch,
                // It has stopped, or is about to: the tables will say whose it is.
                Some(Holding::Giving(_)) => {
                    // It may not have heard yet that it is to stop.
                    self.out.push(Output::SuspendSlot { slot });
                    self.map.doubt(slot);
                    self.drop_holding(slot);
                    continue;
                }
                Some(Holding::Suspended { .. } | Holding::Claiming { .. }) | None => continue,
            };
            self.out.push(Output::SuspendSlot { slot });
            self.hold(slot, Holding::Suspended { epoch });
        }
        self.reroutes_all = true;
        self.read_soon();
    }

    /// What is due, and what follows from what is known.
    fn proceed(&mut self) {
        self.call_the_store();
        self.tick_hand_offs();
        if self.plans_anew {
            self.plan_anew();
        }
        if self.lease.is_valid() {
            self.claim();
            self.begin_moves();
        }
        self.drain();
    }

    fn call_the_store(&mut self) {
        let calls = &mut self.calls;
        if let Some(counter) = self.lease.counter()
            && self.makes_progress
            && !calls.is_renewing
            && self.now >= calls.renew_at
        {
            calls.is_renewing = true;
            let (state, unreachable) = (self.view.my_state, self.view.unreachable());
            self.out.push(Output::Renew { counter, state, writes: self.me.writes, unreachable });
        }
        let calls = &mut self.calls;
        if calls.reading.is_none() && self.now >= calls.read_at {
            let number = self.map.begin_read();
            calls.reading = Some(number);
            calls.read_began = Some(self.now);
            calls.reads_again = false;
            self.out.push(Output::ReadStore { number });
        }
    }

    /// Reads the tables again, as soon as may be: a read that is on its way does not count.
    pub(super) fn read_soon(&mut self) {
        self.calls.reads_again = true;
        let earliest = self.calls.read_began.map(|at| at.plus(self.settings.read_gap_min));
        let soon = earliest.map_or(self.now, |earliest| earliest.max(self.now));
        self.calls.read_at = self.calls.read_at.min(soon);
    }

    pub(super) fn end(&mut self, why: EndWhy) {
        let stops = std::mem::take(&mut self.holdings).into_keys();
        self.out.extend(stops.map(|slot| Output::StopSlot { slot, why: StopWhy::Stopping }));
        if !self.has_drained {
            self.out.push(Output::End { why }); // else it ends anyway
        }
        self.is_over = true;
    }

    /// A node that stops gives its slots away. What nobody takes, or nobody has taken in time, it stops.
    fn drain(&mut self) {
        let Some(by) = self.stop_by.filter(|_| !self.has_drained) else { return };
        let is_late = self.now >= by;
        let can_give = !self.moves.is_empty() || !self.giving.is_empty() || self.waits_to_give();
        if is_late || (self.lease.is_valid() && !can_give && !self.calls.is_claiming && self.suspended.is_empty()) {
            let slots: Vec<Slot> = self.holdings.keys().copied().collect();
            for slot in slots {
                let is_on_its_way = match self.holdings.get(&slot) {
                    Some(Holding::Giving(giving)) => giving.give_up(GivenUp::NotWanted).is_none(),
                    Some(Holding::Claiming { .. }) => true,
                    Some(Holding::Serving { .. } | Holding::Suspended { .. }) | None => false,
                };
                if !is_on_its_way {
                    self.stop(slot, StopWhy::Stopping);
                }
            }
        }
        let owns_nothing = self.holdings.is_empty() && self.stopping.is_empty() && !self.calls.is_claiming;
        // A slot that it has said it would take may still come.
        if owns_nothing && (is_late || self.takings.is_empty()) {
            self.has_drained = true;
            self.out.push(Output::Drained);
        }
    }

    pub(super) fn hold(&mut self, slot: Slot, holding: Holding) {
        self.holdings.insert(slot, holding);
        self.note(slot);
    }

    pub(super) fn drop_holding(&mut self, slot: Slot) {
        self.holdings.remove(&slot);
        self.note(slot);
    }

    /// The slot does not live here any more.
    pub(super) fn stop(&mut self, slot: Slot, why: StopWhy) {
        self.drop_holding(slot);
        self.given_up.remove(&slot);
        self.stopping.insert(slot);
        self.out.push(Output::StopSlot { slot, why });
    }

    /// The slot is this node's: it is brought up.
    pub(super) fn start(&mut self, slot: Slot, epoch: Epoch) {
        self.hold(slot, Holding::Serving { epoch });
        self.out.push(Output::StartSlot { slot, epoch });
    }

    /// Something about the slot has changed: the sets that are made of it follow.
    pub(super) fn note(&mut self, slot: Slot) {
        let set = |set: &mut BTreeSet<Slot>, is_in: bool| {
            if is_in { set.insert(slot) } else { set.remove(&slot) }
        };
        let holding = self.holdings.get(&slot);
        set(&mut self.suspended, matches!(holding, Some(Holding::Suspended { .. })));
        set(&mut self.giving, matches!(holding, Some(Holding::Giving(_))));
        let is_mine = self.map.owner(slot) == Some(&self.me.id) && self.map.is_certain(slot);
        set(&mut self.orphans, holding.is_none() && is_mine);
        self.touched.insert(slot);
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
