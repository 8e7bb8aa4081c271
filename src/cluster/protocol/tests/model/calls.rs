//! What the simulated store and the simulated runtime of a node do: by their contracts, or as a mutation has it.

use super::state::*;
use super::tick::Step;
use super::{Mutation, UNKNOWN_AFTER_MS};
use crate::cluster::protocol::messages::*;
use crate::cluster::protocol::types::*;
use crate::cluster::{Moment, NodeId};

impl Step<'_> {
    /// What a node is told of a call that was not answered in time.
    pub fn unknown(&self, call: &Call, sent: i64) -> Input {
        let is_not_done = self.is(Mutation::UnknownIsNotDone);
        let is_done = self.is(Mutation::UnknownIsDone);
        match call {
            Call::Renew(_) => Input::Renewed { sent: Moment::from_millis(sent), answer: RenewAnswer::Failed },
            Call::ReadFirst(number) | Call::ReadSecond(number, _) => {
                Input::StoreRead { number: *number, asked: Moment::from_millis(sent), read: Err(NotRead) }
            }
            Call::Claim(slots) => {
                let answer = |epoch| match (is_not_done, is_done) {
                    (true, _) => ClaimAnswer::NotDone,
                    (_, true) => ClaimAnswer::Claimed { epoch: epoch + 1 },
                    _ => ClaimAnswer::Unknown,
                };
                let answers = slots.iter().map(|(slot, epoch)| (*slot, *epoch, answer(*epoch))).collect();
                Input::ClaimAnswered { answers }
            }
            Call::Transfer(slot, epoch, _) => {
                let answer = if is_not_done { TransferAnswer::NotDone } else { TransferAnswer::Unknown };
                Input::TransferAnswered { slot: *slot, epoch: *epoch, answer }
            }
        }
    }

    /// Whether a trap holds the call before it reaches the store.
    pub fn holds_call(&mut self, node: &NodeId, sent: i64, call: &Call) -> bool {
        let at = match call {
            Call::Renew(_) => Point::RenewAsked,
            Call::Claim(_) => Point::ClaimAsked,
            Call::Transfer(..) => Point::TransferAsked,
            // What is read late shows more than what is answered late.
            Call::ReadFirst(_) | Call::ReadSecond(..) => return false,
        };
        let is_held = self.is_trapped(node, at, false);
        if is_held {
            let (node, call) = (node.clone(), call.clone());
            self.state.held.push(Held::Call { node, sent, call, is_open: true });
        }
        is_held
    }

    /// The store makes the call.
    pub fn call(&mut self, node: NodeId, sent: i64, call: Call, is_open: bool) {
        let may_be_held = self.is_tried || !self.state.traps.is_empty();
        let unknown = may_be_held.then(|| self.unknown(&call, sent));
        let asked = Moment::from_millis(sent);
        let (at, input) = match call {
            Call::Renew(row) => {
                let answer = self.state.store.renew(&node, row);
                (Point::RenewAnswered, Input::Renewed { sent: asked, answer })
            }
            Call::ReadFirst(number) => {
                let first = self.view(&node);
                if self.is_trapped(&node, Point::BetweenTheTables, false) {
                    let call = Call::ReadSecond(number, first);
                    return self.state.held.push(Held::Call { node, sent, call, is_open });
                }
                (Point::ReadAnswered, Input::StoreRead { number, asked, read: Ok(first) })
            }
            Call::ReadSecond(number, first) => {
                let second = self.view(&node);
                let view = if self.is(Mutation::ReadsTheNodesFirst) {
                    StoreView { slots: second.slots, ..first }
                } else {
                    StoreView { slots: first.slots, ..second }
                };
                (Point::ReadAnswered, Input::StoreRead { number, asked, read: Ok(view) })
            }
            Call::Claim(slots) => {
                let answers = slots.into_iter().map(|(slot, epoch)| (slot, epoch, self.claim(&node, slot, epoch)));
                (Point::ClaimAnswered, Input::ClaimAnswered { answers: answers.collect() })
            }
            Call::Transfer(slot, epoch, to) => {
                let answer = self.transfer(&node, slot, epoch, &to);
                (Point::TransferAnswered, Input::TransferAnswered { slot, epoch, answer })
            }
        };
        if !is_open {
            self.say(|| format!("(a call of {node}'s is made late)"));
        } else if self.is_trapped(&node, at, false) {
            self.state.held.extend(unknown.map(|unknown| Held::Answer { node, sent, input, unknown }));
        } else {
            self.give(&node, input);
        }
    }

    fn view(&self, node: &NodeId) -> StoreView {
        let mut nodes: Vec<NodeView> = self.state.store.nodes.values().cloned().collect();
        if self.is(Mutation::PlansDisagree) {
            // Each takes itself for the one that should have everything.
            nodes.iter_mut().for_each(|row| row.weight += u32::from(row.id == *node) * 9);
        }
        StoreView { nodes, slots: self.state.store.slots.clone(), wishes: Wishes::default() }
    }

    fn claim(&mut self, node: &NodeId, slot: Slot, epoch: Epoch) -> ClaimAnswer {
        let before = self.state.store.slots[usize::from(slot)].owner.clone();
        let answer = self.state.store.claim(node, slot, epoch);
        self.owner_may_have_changed(slot, before);
        answer
    }

    fn transfer(&mut self, from: &NodeId, slot: Slot, epoch: Epoch, to: &NodeId) -> TransferAnswer {
        let head = self.state.store.slots[usize::from(slot)].clone();
        let epoch = if self.is(Mutation::TransfersAtAnyEpoch) { head.epoch } else { epoch };
        let answer = self.state.store.transfer(from, to, slot, epoch);
        self.owner_may_have_changed(slot, head.owner);
        answer
    }

    fn owner_may_have_changed(&mut self, slot: Slot, before: Option<NodeId>) {
        let slot = usize::from(slot);
        if self.state.store.slots[slot].owner != before {
            self.state.owner_before[slot] = before;
        }
    }

    pub fn start_slot(&mut self, node: &NodeId, slot: Slot, epoch: Epoch) {
        if self.state.doubts.remove(&slot) {
            self.state.seen.insert(Seen::DoubtResolved);
        }
        let knows = Some(self.state.log[usize::from(slot)]);
        let Some(one) = self.state.nodes.get_mut(node) else { return };
        match one.hosted.get_mut(&slot) {
            Some(Hosted { standing: Standing::Stopping { then }, .. }) => *then = Some(epoch),
            Some(hosted) if hosted.epoch >= epoch => {}
            Some(_) | None => {
                let hosted = Hosted { standing: Standing::Running, epoch, knows, writes: None };
                one.hosted.insert(slot, hosted);
            }
        }
    }

    pub fn keep_slot(&mut self, node: &NodeId, slot: Slot, epoch: Epoch) {
        if self.state.doubts.remove(&slot) {
            self.state.seen.insert(Seen::DoubtResolved);
        }
        self.state.seen.insert(Seen::GoesOnInMemory);
        let has = self.state.log[usize::from(slot)];
        if let Some(hosted) = self.state.hosted(node, slot)
            && !matches!(hosted.standing, Standing::Stopping { .. })
        {
            hosted.standing = Standing::Running;
            hosted.epoch = epoch;
            // What was in doubt cannot happen any more: it is loaded.
            hosted.knows.get_or_insert(has);
        }
    }

    pub fn stop_slot(&mut self, node: &NodeId, slot: Slot, why: StopWhy) {
        if why == StopWhy::Lost {
            self.state.seen.insert(Seen::DroppedWhatOthersTook);
        }
        let goes_on = self.is(Mutation::HandsOverWithoutStopping);
        let Some(hosted) = self.state.hosted(node, slot) else {
            return self.stopped(node, slot, 0);
        };
        let epoch = hosted.epoch;
        if goes_on {
            self.stopped(node, slot, epoch);
        } else if matches!(hosted.standing, Standing::Stopping { .. }) || hosted.writes.is_some() {
            hosted.standing = Standing::Stopping { then: None };
        } else {
            self.has_stopped(node, slot);
        }
    }

    fn stopped(&mut self, node: &NodeId, slot: Slot, epoch: Epoch) {
        self.state.queue.push_back(Happening::Give(node.clone(), Input::SlotStopped { slot, epoch }));
    }

    /// What it had in flight has settled.
    fn has_stopped(&mut self, node: &NodeId, slot: Slot) {
        let has = self.state.log[usize::from(slot)];
        let Some(one) = self.state.nodes.get_mut(node) else { return };
        let Some(hosted) = one.hosted.remove(&slot) else { return };
        if let Standing::Stopping { then: Some(epoch) } = hosted.standing {
            let epoch = epoch.max(hosted.epoch); // it may have raised it meanwhile
            let again = Hosted { standing: Standing::Running, epoch, knows: Some(has), writes: None };
            one.hosted.insert(slot, again);
        }
        self.stopped(node, slot, hosted.epoch);
    }

    /// A write comes to the store.
    pub fn write(&mut self, Write { node, slot, epoch, after }: Write) {
        let head = &self.state.store.slots[usize::from(slot)];
        let is_fenced = head.epoch != epoch || head.owner.as_ref() != Some(&node);
        let is_made = !is_fenced || self.is(Mutation::WritesAreNotFenced);
        self.say(|| {
            format!("(a write of {node}'s to {slot}@{epoch} {})", if is_made { "is made" } else { "is fenced" })
        });
        let has = self.state.log[usize::from(slot)];
        if is_made {
            if has != after {
                let why = format!("{node} writes to slot {slot} after {after} writes, and it has {has}");
                self.state.is_wrong(Rule::Reads, why);
            }
            self.state.log[usize::from(slot)] += 1;
        } else {
            self.state.seen.insert(Seen::WriteFenced);
            if self.is(Mutation::RepliesBeforeCommit) {
                let why = format!("a write to slot {slot} was answered by {node}, and is not in the store");
                self.state.is_wrong(Rule::Acknowledged, why);
            }
        }
        self.state.queue.push_back(Happening::Written { node, slot, epoch, is_made });
    }

    /// Its writer hears of it, if it waits still.
    pub fn written(&mut self, node: NodeId, slot: Slot, epoch: Epoch, is_made: bool) {
        let Some(one) = self.state.nodes.get_mut(&node) else { return };
        if one.paused_at.is_some() {
            return one.inbox.push_back(Happening::Written { node, slot, epoch, is_made });
        }
        let Some(hosted) = one.hosted.get_mut(&slot).filter(|hosted| hosted.writes.is_some_and(|(_, at)| at == epoch))
        else {
            return;
        };
        hosted.writes = None;
        hosted.knows = hosted.knows.map(|knows| knows + u8::from(is_made));
        match hosted.standing {
            Standing::Stopping { .. } => self.has_stopped(&node, slot),
            // It is another's.
            Standing::Running if !is_made && hosted.epoch == epoch => hosted.standing = Standing::Suspended,
            Standing::Running | Standing::Suspended => {}
        }
    }

    /// A slot that does not know what became of its write claims itself: so that it can never be made afterwards.
    pub fn doubt_writes(&mut self, node: &NodeId) {
        let now = self.state.now;
        let Some(one) = self.state.nodes.get_mut(node) else { return };
        let is_due = |hosted: &Hosted| hosted.writes.is_some_and(|(since, _)| now - since >= UNKNOWN_AFTER_MS);
        let due: Vec<Slot> = one.hosted.iter().filter(|(_, hosted)| is_due(hosted)).map(|(slot, _)| *slot).collect();
        for slot in due {
            let Some(hosted) = self.state.hosted(node, slot) else { continue };
            hosted.writes = None;
            hosted.knows = None;
            match hosted.standing {
                Standing::Running => self.raise(node, slot),
                Standing::Suspended => {}
                Standing::Stopping { .. } => {
                    self.raise(node, slot);
                    self.has_stopped(node, slot);
                }
            }
        }
    }

    fn raise(&mut self, node: &NodeId, slot: Slot) {
        let Some(epoch) = self.state.hosted(node, slot).map(|hosted| hosted.epoch) else { return };
        let head = self.state.store.slots[usize::from(slot)].clone();
        let is_own = head.owner.as_ref() == Some(node);
        // Where the node has claimed it meanwhile it claims once more.
        let answer = self.claim(node, slot, if is_own { head.epoch } else { epoch });
        let has = self.state.log[usize::from(slot)];
        let Some(hosted) = self.state.hosted(node, slot) else { return };
        if let ClaimAnswer::Claimed { epoch } = answer {
            (hosted.epoch, hosted.knows) = (epoch, Some(has));
            self.state.seen.insert(Seen::RaisedItself);
            self.say(|| format!("{node} raises {slot}@{epoch}, of its own accord"));
            self.state.queue.push_back(Happening::Give(node.clone(), Input::EpochRaised { slot, epoch }));
        } else if hosted.standing == Standing::Running {
            hosted.standing = Standing::Suspended;
        }
    }
}
