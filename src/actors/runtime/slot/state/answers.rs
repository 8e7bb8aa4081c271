//! How the slot answers: now or once it is durable, once the entity has settled, and a repeated question
//! with the outcome that it had.

use super::{LookedUp, SlotState, known_receipt, must_look_up};
use crate::actors::runtime::envelope::{AskError, Body, Envelope, Keep, OnReply, Reply, ReplyTo, Wait};
use crate::actors::runtime::erased::{KindSpec, is_acceptance};
use crate::actors::runtime::slot::output::Output;
use crate::actors::runtime::slot::question::{Lookup, Question};
use crate::actors::runtime::slot::receipts::Kept;
use crate::actors::runtime::slot::resident::{Resident, Watcher};
use crate::actors::runtime::writer::{Effect, Item, Submission};
use crate::actors::values::Time;

impl SlotState {
    /// Answers a repeat with what is in memory, or has the index asked.
    pub(super) fn answer_repeat(
        &mut self,
        resident: &mut Resident,
        envelope: Envelope,
        looked_up: LookedUp,
        now: Time,
    ) {
        let Body::Repeat { fingerprint, .. } = envelope.body else { return };
        let at_ms = now.max(resident.at).0;
        if let Some(kept) = known_receipt(resident, &envelope, &looked_up, at_ms) {
            self.repeat(resident, kept, Keep::Client { fingerprint, keep_ms: 0 }, envelope);
        } else if must_look_up(resident, &envelope, &looked_up, at_ms) {
            self.find_receipt(resident, envelope);
        } else {
            let never_seen = resident.reply(None, false, false);
            self.answer_durably(resident.seq, envelope.reply, Ok(never_seen));
        }
    }

    pub(super) fn find_receipt(&mut self, resident: &mut Resident, envelope: Envelope) {
        let ticket = self.next_lookup;
        if !resident.receipts.begin_lookup(ticket, &self.common.limits.receipts) {
            return self.busy(envelope.reply);
        }
        self.next_lookup += 1;
        self.ask(Question::FindReceipt(Lookup { ticket, envelope }));
    }

    /// The same question gets the same answer.
    pub(super) fn repeat(&mut self, resident: &mut Resident, kept: Kept, keep: Keep, envelope: Envelope) {
        let fingerprint = match keep {
            Keep::Client { fingerprint, .. } => fingerprint,
            Keep::Owed { .. } => envelope.request.0,
        };
        if kept.receipt.fingerprint != fingerprint {
            return self.answer_durably(resident.seq, envelope.reply, Err(AskError::KeyReused));
        }
        let spec: Option<&dyn KindSpec> = self.common.kinds.by_number(envelope.key.kind);
        let Some(Ok(outcome)) = spec.map(|spec| spec.outcome(&kept.receipt.outcome)) else {
            return self.answer(envelope.reply, Err(AskError::Damaged));
        };
        let wait = match envelope.body {
            Body::Command { wait, .. } | Body::Repeat { wait, .. } if is_acceptance(&kept.receipt.outcome) => wait,
            _ => Wait::Durable,
        };
        let Envelope { reply, want_state, .. } = envelope;
        let (outcome, version, seq) = (Some(outcome), kept.version, resident.seq);
        let watcher = Watcher { reply, outcome, version, seq, replayed: true, want_state };
        if kept.version == resident.version {
            return self.answer_when(resident, watcher, wait);
        }
        let then = Reply { version: kept.version, state: None, ..resident.reply(watcher.outcome, false, true) };
        self.answer_durably(resident.seq, watcher.reply, Ok(then));
    }

    pub(in crate::actors::runtime::slot) fn answer(&mut self, reply: ReplyTo, answer: Result<Reply, AskError>) {
        self.out.others.push(Output::Answer(reply, answer));
    }

    pub(in crate::actors::runtime::slot) fn busy(&mut self, reply: ReplyTo) {
        self.common.metrics.busy.inc();
        self.answer(reply, Err(AskError::Busy { retry_after_ms: 100 }));
    }

    pub(super) fn submit(&mut self, item: Item, effects: Vec<Effect>) {
        let (slot, generation) = (self.slot, self.generation);
        self.out.submissions.push(Submission { slot, generation, item, effects });
    }

    /// Answers once the record `seq`, on which the answer is based, is durable.
    pub(in crate::actors::runtime::slot) fn answer_durably(
        &mut self,
        seq: u64,
        to: ReplyTo,
        answer: Result<Reply, AskError>,
    ) {
        if seq <= self.shared.durable_seq() {
            self.answer(to, answer);
        } else if self.common.budget.has_space() {
            self.submit(Item::Barrier, vec![Effect::Reply(to, answer)]);
        } else {
            self.busy(to);
        }
    }

    /// Answers once everything that was handed to the writer until now has settled.
    pub(in crate::actors::runtime::slot) fn answer_after_writes(
        &mut self,
        to: ReplyTo,
        answer: Result<Reply, AskError>,
    ) {
        if self.common.budget.has_space() {
            self.submit(Item::Barrier, vec![Effect::Reply(to, answer)]);
        } else {
            self.busy(to);
        }
    }

    /// Tells somebody who waits that the entity leaves memory before it has settled. What he has asked for is done, once it is
    /// durable: as with a repeat, he finds in the journal what the entity settles to.
    pub(in crate::actors::runtime::slot) fn give_up(&mut self, resident: &Resident, watcher: Watcher) {
        let Watcher { reply, outcome, version, seq, replayed, .. } = watcher;
        if reply.is_closed() {
            return;
        }
        match outcome {
            None => self.answer(reply, Err(AskError::Unavailable)),
            Some(outcome) => {
                let or_unknown = ReplyTo::on_reply(Box::new(OrUnknown(reply)));
                let done = Reply { version, seq, ..resident.reply(Some(outcome), false, replayed) };
                self.submit(Item::Barrier, vec![Effect::Reply(or_unknown, Ok(done))]);
            }
        }
    }

    /// Answers with the present state, now or when the entity has settled.
    pub(in crate::actors::runtime::slot) fn answer_when(
        &mut self,
        resident: &mut Resident,
        watcher: Watcher,
        wait: Wait,
    ) {
        let ready = wait == Wait::Durable || resident.state.settled();
        self.answer_as(resident, watcher, ready);
    }

    pub(super) fn answer_as(&mut self, resident: &mut Resident, watcher: Watcher, ready: bool) {
        if ready {
            let reply = resident.reply(watcher.outcome, watcher.want_state, watcher.replayed);
            self.answer_durably(resident.seq, watcher.reply, Ok(reply));
        } else {
            resident.watchers.retain(|watcher| !watcher.reply.is_closed());
            resident.watchers.push(watcher);
        }
    }
}

/// Whoever waits for a command that is recorded is never told that nothing was done: what does not follow its record out is of
/// unknown outcome.
struct OrUnknown(ReplyTo);

impl OnReply for OrUnknown {
    fn replied(self: Box<Self>, reply: Result<Reply, AskError>) {
        self.0.send(reply.map_err(|_| AskError::Unknown));
    }
}
