//! Which slots a node claims, and what the answers mean.
//!
//! Three sorts, in this order: its own after a lapse of its lease, by the epoch that it knows (where that works nobody had
//! the slot meanwhile, and what is in memory is right); those that the table says are its own and that it does not have
//! (a transfer that it was not told of, or a call of unknown outcome); and those without an owner, or whose owner is gone,
//! that the plan gives to it. A claim is a compare-and-set, so a node that knows too little gets nothing by it.
//!
//! A slot is served only where it was gained in the term of the lease that still lasts. An answer that comes after a lapse
//! leaves the slot to be claimed once more.

use super::super::ownership::NodeId;
use super::messages::{ClaimAnswer, EndWhy, Event, Output, StopWhy};
use super::node::{Holding, Protocol};
use super::plan::{PlanSlot, Standing, Why, plan};
use super::types::{Epoch, NodeState, Place, Slot, Wishes};

impl Protocol {
    /// Compares what is with what should be.
    pub(super) fn plan_anew(&mut self) {
        self.plans_anew = false;
        self.forget_what_was_given_up();
        self.give_up_where_the_receiver_cannot();
        let before = (self.plan.claims.len(), self.plan.moves.len());
        let nodes = self.view.plan_nodes(self.now, &self.settings);
        let slots: Vec<PlanSlot> = self.map.slots().map(|slot| self.plan_slot(slot, self.view.wishes())).collect();
        self.plan = plan(&nodes, &slots, usize::MAX);
        let me = &self.me.id;
        self.moves = self.plan.moves.iter().filter(|one| one.from == *me).cloned().collect();
        let (claims, moves) = (self.plan.claims.len(), self.plan.moves.len());
        let is_idle = |(claims, moves): (usize, usize)| claims == 0 && moves == 0;
        if is_idle(before) != is_idle((claims, moves)) {
            self.out.push(Output::Event(Event::PlanChanged { claims, moves }));
        }
    }

    /// A slot as the plan is to see it: what is on its way has arrived.
    pub(super) fn plan_slot(&self, slot: Slot, wishes: &Wishes) -> PlanSlot {
        let owner = match self.holdings.get(&slot) {
            Some(Holding::Giving(giving)) => Some(giving.to.clone()),
            Some(Holding::Claiming { .. }) => Some(self.me.id.clone()),
            Some(Holding::Serving { .. } | Holding::Suspended { .. }) | None => self.map.owner(slot).cloned(),
        };
        let place = wishes.places.get(&slot).and_then(|place| match place {
            // Where nobody is called so, the plan refuses the name.
            Place::Pinned(name) => {
                let node = self.view.named(name, self.now, &self.settings);
                Some(node.unwrap_or_else(|| NodeId::of(name)))
            }
            Place::Moved(node) => self.view.is_live(node).then(|| node.clone()),
        });
        PlanSlot { owner, place }
    }

    fn may_claim_free(&self) -> bool {
        let is_known = self.watch.is_recent(self.now, &self.settings);
        is_known && self.view.my_state == NodeState::Serving
    }

    pub(super) fn claim(&mut self) {
        if self.calls.is_claiming || self.now < self.calls.claim_at {
            return;
        }
        let mut slots: Vec<(Slot, Epoch, bool)> = Vec::new();
        for slot in &self.suspended {
            if let Some(Holding::Suspended { epoch }) = self.holdings.get(slot) {
                slots.push((*slot, *epoch, true));
            }
        }
        if self.stop_by.is_none() {
            slots.extend(self.orphans.iter().map(|slot| (*slot, self.map.epoch(*slot), false)));
        }
        if self.may_claim_free() {
            let mine = self.plan.claims.iter().filter(|claim| claim.to == self.me.id).map(|claim| claim.slot);
            let is_free = |slot: &Slot| {
                let is_owned = self.map.owner(*slot).is_some_and(|owner| !self.view.is_gone(owner));
                !is_owned && self.map.is_shown(*slot) && !self.holdings.contains_key(slot)
            };
            slots.extend(mine.filter(is_free).map(|slot| (slot, self.map.epoch(slot), false)));
        }
        slots.truncate(self.settings.claims_max);
        if slots.is_empty() {
            return;
        }
        let term = self.lease.term();
        for (slot, asked, keeps) in &slots {
            self.hold(*slot, Holding::Claiming { asked: *asked, term, keeps: *keeps });
        }
        self.calls.is_claiming = true;
        self.out.push(Output::Claim { slots: slots.into_iter().map(|(slot, epoch, _)| (slot, epoch)).collect() });
    }

    pub(super) fn claim_answered(&mut self, answers: Vec<(Slot, Epoch, ClaimAnswer)>) {
        self.calls.is_claiming = false;
        for (slot, epoch, answer) in answers {
            match self.holdings.get(&slot) {
                Some(Holding::Claiming { asked, term, keeps }) if *asked == epoch => {
                    let is_in_term = *term == self.lease.term() && self.lease.is_valid();
                    self.one_claim_answered(slot, epoch, answer, is_in_term, *keeps);
                }
                Some(_) | None => {}
            }
            if self.is_over {
                return;
            }
        }
    }

    fn one_claim_answered(&mut self, slot: Slot, asked: Epoch, answer: ClaimAnswer, is_in_term: bool, keeps: bool) {
        match answer {
            ClaimAnswer::Claimed { epoch } => {
                if !keeps {
                    let node = self.me.id.clone();
                    self.out.push(Output::Event(Event::SlotClaimed { slot, node, epoch }));
                }
                self.map.learn(slot, &self.me.id.clone(), epoch);
                match (is_in_term, keeps) {
                    (true, true) => {
                        self.hold(slot, Holding::Serving { epoch });
                        self.out.push(Output::KeepSlot { slot, epoch });
                    }
                    (true, false) => self.start(slot, epoch),
                    (false, true) => self.hold(slot, Holding::Suspended { epoch }),
                    (false, false) => self.drop_holding(slot),
                }
            }
            ClaimAnswer::Fenced | ClaimAnswer::Unknown => {
                self.map.doubt(slot);
                if keeps {
                    self.stop(slot, StopWhy::Lost);
                } else {
                    self.drop_holding(slot);
                }
                self.read_soon();
            }
            ClaimAnswer::NotDone => {
                self.calls.claim_at = self.now.plus(self.settings.again);
                if keeps {
                    self.hold(slot, Holding::Suspended { epoch: asked });
                } else {
                    self.drop_holding(slot);
                }
            }
            ClaimAnswer::NotMember => self.end(EndWhy::NotMember),
        }
    }

    /// The slot has claimed itself.
    pub(super) fn epoch_raised(&mut self, slot: Slot, raised: Epoch) {
        let known = match self.holdings.get(&slot) {
            Some(Holding::Serving { epoch } | Holding::Suspended { epoch }) => *epoch,
            Some(Holding::Giving(giving)) => giving.epoch,
            Some(Holding::Claiming { .. }) | None => return,
        };
        if raised > known {
            match self.holdings.get_mut(&slot) {
                Some(Holding::Serving { epoch } | Holding::Suspended { epoch }) => *epoch = raised,
                Some(Holding::Giving(giving)) => giving.raised(raised),
                Some(Holding::Claiming { .. }) | None => {}
            }
            self.map.learn(slot, &self.me.id.clone(), raised);
            self.note(slot);
        }
    }

    /// Whether the plan may move slots to this node at all.
    pub(super) fn can_take(&self, node: &NodeId) -> bool {
        matches!(self.view.standing(node, self.now, &self.settings), Standing::Serving | Standing::Settling)
    }

    /// Whether a move has to be made although its receiver cannot be asked.
    pub(super) fn is_urgent(why: Why) -> bool {
        matches!(why, Why::Drain | Why::Isolated)
    }
}
