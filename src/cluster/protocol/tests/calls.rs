//! Calls to the simulated store, messages, and what the simulated runtime does: each takes its time, and may be lost.

use super::world::*;
use crate::cluster::protocol::messages::*;
use crate::cluster::protocol::types::*;
use crate::cluster::{Moment, NodeId};

impl World {
    pub(super) fn unknown_claim(&self) -> ClaimAnswer {
        let is_mutant = self.mutation == Some(Mutation::UnknownIsNotDone);
        if is_mutant { ClaimAnswer::NotDone } else { ClaimAnswer::Unknown }
    }

    pub(super) fn send(&mut self, from: &NodeId, to: NodeId, message: Message) {
        if self.cuts.contains(&(from.clone(), to.clone())) || self.random.chance(self.chances.message_lost) {
            self.count("messages lost");
            return;
        }
        let copies = if self.random.chance(self.chances.message_twice) { 2 } else { 1 };
        for _ in 0..copies {
            let mut delay = self.up_to(self.chances.message_ms_max, 1);
            if self.random.chance(self.chances.message_late) {
                delay = self.random.between(500, 6_000);
            }
            let input = Input::Received { from: from.clone(), message: message.clone() };
            self.after(delay, Happening::Give(to.clone(), input));
        }
    }

    /// A call to the store begins. `unknown`: its answer when there is none in time.
    pub(super) fn begin(&mut self, node: &NodeId, sent: Moment, call: Call, unknown: Option<Input>) {
        self.next += 1;
        let id = self.next;
        if let Some(unknown) = unknown {
            self.open.insert(id);
            self.after(TIMEOUT_MS, Happening::Answer(node.clone(), id, unknown));
        }
        let mut is_answer_lost = self.random.chance(self.chances.answer_lost);
        let mut is_request_lost = self.random.chance(self.chances.request_lost);
        if self.cut_off.get(node).is_some_and(|until| *until > self.now) {
            is_request_lost = true;
        }
        if matches!(call, Call::Transfer(..))
            && let Some(is_made) = self.lose_next_transfer.take()
        {
            (is_answer_lost, is_request_lost) = (is_made, !is_made);
        }
        let mut delay = self.up_to(self.chances.call_ms_max, 2);
        if matches!(call, Call::Transfer(..)) {
            delay += std::mem::take(&mut self.delay_next_transfer);
        }
        if self.random.chance(self.chances.call_late) {
            delay += TIMEOUT_MS + self.random.between(0, 4_000);
            self.count("calls made late");
        }
        if is_request_lost && !matches!(call, Call::Leave | Call::Raise(..)) {
            self.count("calls lost");
            return;
        }
        // An answer that is lost is one to a call that nobody knows.
        let id = if is_answer_lost { 0 } else { id };
        self.after(delay, Happening::Call(node.clone(), id, sent, call));
    }

    pub(super) fn call(&mut self, node: NodeId, id: u64, sent: Moment, call: Call) {
        let is_read = matches!(call, Call::ReadFirst(_) | Call::ReadSecond(..));
        let until = if is_read { self.stalled_until } else { self.stalled_until.max(self.read_only_until) };
        if until > self.now {
            let wait = until - self.now + self.random.between(1, 20);
            return self.after(wait, Happening::Call(node, id, sent, call));
        }
        let mut back = self.up_to(self.chances.call_ms_max, 2);
        if self.random.chance(self.chances.answer_slow) {
            back = self.random.between(500, TIMEOUT_MS - 100);
        }
        let input = match call {
            Call::Renew(row) => Input::Renewed { sent, answer: self.store.renew(&node, row) },
            Call::ReadFirst(number) => {
                let view = self.view(&node);
                let is_mutant = self.mutation == Some(Mutation::ReadsTheNodesFirst);
                let gap = if is_mutant { self.random.between(0, 300) } else { self.up_to(self.chances.call_ms_max, 0) };
                return self.after(gap, Happening::Call(node, id, sent, Call::ReadSecond(number, view)));
            }
            Call::ReadSecond(number, first) => {
                let second = self.view(&node);
                let view = if self.mutation == Some(Mutation::ReadsTheNodesFirst) {
                    StoreView { slots: second.slots, ..first }
                } else {
                    StoreView { slots: first.slots, ..second }
                };
                Input::StoreRead { number, asked: sent, read: Ok(view) }
            }
            Call::Claim(slots) => {
                let claim = |(slot, epoch)| (slot, epoch, self.store.claim(&node, slot, epoch));
                let answers = slots.into_iter().map(claim).collect();
                self.count("claims");
                Input::ClaimAnswered { answers }
            }
            Call::Transfer(slot, epoch, to) => {
                let answer = self.store.transfer(&node, &to, slot, epoch);
                self.count("transfers");
                Input::TransferAnswered { slot, epoch, answer }
            }
            Call::Raise(slot, epoch) => {
                let answer = self.store.claim(&node, slot, epoch);
                return self.after(back, Happening::Raised(node, slot, answer));
            }
            Call::Leave => return self.left(&node),
            Call::Forget(gone) => return self.store.forget(&gone),
        };
        self.after(back, Happening::Answer(node, id, input));
    }

    pub(super) fn view(&mut self, node: &NodeId) -> StoreView {
        let mut nodes: Vec<NodeView> = self.store.nodes.values().cloned().collect();
        let mut slots = self.store.slots.clone();
        if self.mutation == Some(Mutation::StaleReads) {
            self.snapshots.push((self.now, slots.clone()));
            self.snapshots.retain(|(at, _)| *at + 3_000 > self.now);
            slots.clone_from(&self.snapshots[0].1);
        }
        if self.mutation == Some(Mutation::PlansDisagree) && node.as_str() < "b" {
            nodes.iter_mut().for_each(|row| row.weight += u32::from(row.id == *node) * 3);
        }
        StoreView { nodes, slots, wishes: self.store.wishes.clone() }
    }

    pub(super) fn stop_slot(&mut self, node: &NodeId, slot: Slot) {
        let delay = self.up_to(self.chances.stop_ms_max, self.stops_take);
        let goes_on = self.mutation == Some(Mutation::HandsOverWithoutStopping);
        let Some(one) = self.nodes.get_mut(node) else { return };
        match one.hosted.get_mut(&slot) {
            Some(Hosted::Running { epoch } | Hosted::Suspended { epoch } | Hosted::Raising { epoch }) => {
                let epoch = *epoch;
                if goes_on {
                    self.after(delay, Happening::Give(node.clone(), Input::SlotStopped { slot, epoch }));
                } else {
                    one.hosted.insert(slot, Hosted::Stopping { epoch, then: None });
                    self.after(delay, Happening::Stopped(node.clone(), slot));
                }
            }
            Some(Hosted::Stopping { then, .. }) => *then = None,
            None => self.after(0, Happening::Give(node.clone(), Input::SlotStopped { slot, epoch: 0 })),
        }
    }

    pub(super) fn stopped(&mut self, node: &NodeId, slot: Slot) {
        let Some(one) = self.nodes.get_mut(node) else { return };
        let Some(Hosted::Stopping { epoch, then }) = one.hosted.remove(&slot) else { return };
        if let Some(epoch) = then {
            one.hosted.insert(slot, Hosted::Running { epoch });
        }
        self.give(node, Input::SlotStopped { slot, epoch });
    }

    /// The runtime does not know what became of an append, and claims its slot.
    pub fn raise(&mut self, node: &NodeId, slot: Slot) {
        let now = self.clock(node);
        let Some(hosted) = self.nodes.get_mut(node).and_then(|one| one.hosted.get_mut(&slot)) else { return };
        if let Hosted::Running { epoch } = *hosted {
            *hosted = Hosted::Raising { epoch };
            self.count("slots that claimed themselves");
            self.begin(node, now, Call::Raise(slot, epoch), None);
        }
    }

    pub(super) fn raised(&mut self, node: &NodeId, slot: Slot, answer: ClaimAnswer) {
        let Some(hosted) = self.nodes.get_mut(node).and_then(|one| one.hosted.get_mut(&slot)) else { return };
        let Hosted::Raising { epoch } = *hosted else { return };
        match answer {
            ClaimAnswer::Claimed { epoch } => {
                *hosted = Hosted::Running { epoch };
                self.give(node, Input::EpochRaised { slot, epoch });
            }
            _ => {
                *hosted = Hosted::Suspended { epoch };
                let head = self.store.slots[usize::from(slot)].clone();
                if head.owner.as_ref() == Some(node) {
                    // An earlier claim was made, of unknown outcome.
                    let now = self.clock(node);
                    if let Some(one) = self.nodes.get_mut(node) {
                        one.hosted.insert(slot, Hosted::Raising { epoch });
                    }
                    self.begin(node, now, Call::Raise(slot, head.epoch), None);
                }
            }
        }
    }
}
