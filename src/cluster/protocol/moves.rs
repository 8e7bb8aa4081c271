//! Planned moves, as the node carries them out: it begins a few of those that the plan wants of it, and gives each
//! hand-off what concerns it. And what peers say.

use super::super::ownership::NodeId;
use super::handoff::{Giving, Stage, Step};
use super::messages::{Event, GivenUp, Message, Output, StopWhy, TransferAnswer};
use super::node::{Holding, Protocol};
use super::types::{Epoch, NodeState, Slot};

/// The pause between two attempts at a hand-off doubles so many times.
const PAUSES_DOUBLED_MAX: u32 = 6;

impl Protocol {
    pub(super) fn begin_moves(&mut self) {
        if self.moves.is_empty() || self.giving.len() >= self.settings.moves_max {
            return;
        }
        let mut later = Vec::new();
        for one in std::mem::take(&mut self.moves) {
            let has_room = self.giving.len() < self.settings.moves_max;
            let is_linked = self.view.is_up(&one.to);
            let can_ask = is_linked || Protocol::is_urgent(one.why);
            let is_early = self.given_up.get(&one.slot).is_some_and(|(at, _)| self.now < *at);
            // One that was told to stop before, and has not said that it did, would be taken for stopped too early.
            let is_ready = !is_early && !self.stopping.contains(&one.slot);
            match self.holdings.get(&one.slot) {
                Some(Holding::Serving { epoch }) if has_room && can_ask && is_ready => {
                    let (giving, step) = Giving::begin(one.to, *epoch, is_linked, self.now);
                    self.hold(one.slot, Holding::Giving(giving));
                    self.take_step(one.slot, step);
                }
                Some(Holding::Serving { .. }) => later.push(one),
                Some(_) | None => {}
            }
        }
        self.moves = later;
    }

    pub(super) fn tick_hand_offs(&mut self) {
        self.takings.tick(self.now);
        for slot in self.giving.clone() {
            let (now, settings) = (self.now, &self.settings);
            if let Some(Holding::Giving(giving)) = self.holdings.get_mut(&slot)
                && let Some(step) = giving.tick(now, settings)
            {
                self.take_step(slot, step);
            }
        }
    }

    pub(super) fn give_up_where_the_receiver_cannot(&mut self) {
        for slot in self.giving.clone() {
            let Some(Holding::Giving(giving)) = self.holdings.get(&slot) else { continue };
            if !self.can_take(&giving.to)
                && let Some(step) = giving.give_up(GivenUp::ReceiverGone)
            {
                self.take_step(slot, step);
            }
        }
    }

    pub(super) fn link(&mut self, peer: NodeId, is_up: bool) {
        for slot in self.giving.clone() {
            let Some(Holding::Giving(giving)) = self.holdings.get(&slot) else { continue };
            let is_blind = giving.stage != Stage::Offering && giving.accepted_in.is_none();
            if !is_up
                && giving.to == peer
                && !is_blind
                && let Some(step) = giving.give_up(GivenUp::Unreachable)
            {
                self.take_step(slot, step);
            }
        }
        self.view.link(peer, is_up);
        self.reroutes_all = true;
    }

    fn take_step(&mut self, slot: Slot, step: Step) {
        let Some(Holding::Giving(giving)) = self.holdings.get(&slot) else { return };
        let (to, epoch) = (giving.to.clone(), giving.epoch);
        self.touched.insert(slot);
        match step {
            Step::Offer => self.send(to, Message::Offer { slot, epoch }),
            Step::Stop => {
                self.stopping.insert(slot);
                self.out.push(Output::StopSlot { slot, why: StopWhy::HandOff });
            }
            Step::Transfer => self.out.push(Output::Transfer { slot, epoch, to }),
            Step::GiveUp(why) => {
                self.hold(slot, Holding::Serving { epoch });
                self.gave_up(slot, to, why);
            }
            Step::Resume(why) => {
                self.start(slot, epoch);
                self.gave_up(slot, to, why);
            }
            Step::Done { epoch } => {
                self.handed_over(slot, to.clone(), epoch);
                let from = self.me.id.clone();
                self.out.push(Output::Event(Event::SlotMoved { slot, from, node: to, epoch }));
            }
            Step::Doubt => {
                self.map.doubt(slot);
                self.drop_holding(slot);
                self.read_soon();
            }
        }
    }

    /// It is the other node's, as the store says.
    pub(super) fn handed_over(&mut self, slot: Slot, to: NodeId, epoch: Epoch) {
        let term = match self.holdings.get(&slot) {
            Some(Holding::Giving(giving)) => giving.accepted_in,
            Some(_) | None => None,
        };
        self.map.learn(slot, &to, epoch);
        self.drop_holding(slot);
        self.given_up.remove(&slot);
        self.send(to, Message::Transferred { slot, epoch, term });
    }

    fn gave_up(&mut self, slot: Slot, to: NodeId, why: GivenUp) {
        // Each attempt that had stopped the slot was a pause for its clients: they become rarer.
        let before = self.given_up.get(&slot).map_or(0, |(_, times)| *times);
        let has_paused = matches!(why, GivenUp::StopTooSlow | GivenUp::TransferTooSlow);
        let times = if has_paused { (before + 1).min(PAUSES_DOUBLED_MAX) } else { before };
        let pause = self.settings.handoff_again * 2_u32.pow(times);
        self.given_up.insert(slot, (self.now.plus(pause), times));
        self.out.push(Output::Event(Event::HandOffGivenUp { slot, to, why }));
    }

    /// Whether a hand-off that was given up may be begun again later.
    pub(super) fn waits_to_give(&self) -> bool {
        self.given_up.values().any(|(at, _)| *at > self.now)
    }

    /// What went wrong long ago says nothing any more.
    pub(super) fn forget_what_was_given_up(&mut self) {
        let long = self.settings.handoff_again * 2_u32.pow(PAUSES_DOUBLED_MAX + 1);
        self.given_up.retain(|_, (at, _)| self.now.since(*at) < long);
    }

    fn send(&mut self, to: NodeId, message: Message) {
        if self.view.is_up(&to) {
            self.out.push(Output::Send { to, message });
        }
    }

    pub(super) fn slot_stopped(&mut self, slot: Slot, epoch: Epoch) {
        self.stopping.remove(&slot);
        let now = self.now;
        let Some(Holding::Giving(giving)) = self.holdings.get_mut(&slot) else { return };
        let Some(step) = giving.stopped(epoch, now) else { return };
        if epoch > self.map.epoch(slot) {
            self.map.learn(slot, &self.me.id.clone(), epoch);
        }
        self.take_step(slot, step);
    }

    pub(super) fn transfer_answered(&mut self, slot: Slot, epoch: Epoch, answer: TransferAnswer) {
        let (now, settings) = (self.now, &self.settings);
        let step = match self.holdings.get_mut(&slot) {
            Some(Holding::Giving(giving)) => giving.answered(epoch, answer, now, settings),
            Some(_) | None => None,
        };
        if let Some(step) = step {
            self.take_step(slot, step);
        }
    }

    pub(super) fn received(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Offer { slot, epoch } => self.offered(from, slot, epoch),
            Message::Accept { slot, epoch, term } => {
                let now = self.now;
                if let Some(Holding::Giving(giving)) = self.holdings.get_mut(&slot)
                    && let Some(step) = giving.accepted(&from, epoch, term, now)
                {
                    self.take_step(slot, step);
                }
            }
            Message::Decline { slot, epoch } => {
                if let Some(Holding::Giving(giving)) = self.holdings.get(&slot)
                    && let Some(step) = giving.declined(&from, epoch)
                {
                    self.take_step(slot, step);
                }
            }
            Message::Transferred { slot, epoch, term } => {
                self.takings.taken(slot);
                if !self.map.has(slot) || epoch < self.map.epoch(slot) || self.holdings.contains_key(&slot) {
                    return;
                }
                // At an epoch that is known already a call of this node's own may still be on its way, of unknown outcome: the
                // slot is claimed. At a higher one nothing comes of such a call.
                let is_beyond_doubt = epoch > self.map.epoch(slot);
                let is_in_term = term == Some(self.lease.term()) && self.lease.is_valid();
                if is_beyond_doubt && is_in_term && !self.has_drained {
                    self.tell_of_the_owner(slot, Some(&from), &self.me.id.clone(), epoch);
                    self.map.learn(slot, &self.me.id.clone(), epoch);
                    self.start(slot, epoch);
                } else {
                    self.read_soon();
                }
            }
            Message::Look => self.read_soon(),
        }
    }

    fn offered(&mut self, from: NodeId, slot: Slot, epoch: Epoch) {
        let is_news = self.map.has(slot) && epoch >= self.map.epoch(slot) && !self.holdings.contains_key(&slot);
        let is_able = self.lease.is_valid() && self.view.my_state == NodeState::Serving && self.can_take(&self.me.id);
        let accepts = is_news && is_able && self.takings.accept(slot, self.now, &self.settings);
        let term = self.lease.term();
        let answer = if accepts { Message::Accept { slot, epoch, term } } else { Message::Decline { slot, epoch } };
        self.send(from, answer);
    }

    pub(super) fn saw_owner(&mut self, slot: Slot, owner: NodeId, epoch: Epoch) {
        if !self.map.has(slot) || epoch <= self.map.epoch(slot) {
            return;
        }
        if owner != self.me.id && !self.holdings.contains_key(&slot) {
            let before = self.map.owner(slot).cloned();
            self.map.hint(slot, &owner, epoch);
            self.tell_of_the_owner(slot, before.as_ref(), &owner, epoch);
            self.note(slot);
        }
        self.read_soon();
    }

    pub(super) fn tell_all_to_look(&mut self) {
        let others = self.view.members().filter(|member| member.is_live() && member.row.id != self.me.id);
        let others: Vec<NodeId> = others.map(|member| member.row.id.clone()).collect();
        for to in others {
            self.send(to, Message::Look);
        }
    }
}
