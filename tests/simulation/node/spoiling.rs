//! Where a node's mutations bite: on what goes into a slot, and on what comes out of it.

use souk::actors::runtime::envelope::{Body, Envelope};
use souk::actors::runtime::slot::message::{Back, SlotMessage};
use souk::actors::runtime::slot::output::Output;
use souk::actors::runtime::slot::question::Question;
use souk::actors::runtime::writer::{Effect, Item, Submission};
use souk::cluster::Lease;

use super::Node;
use crate::mutations::Mutation;

impl Node {
    /// `None`: the message is lost.
    pub(super) fn spoil_message(&mut self, slot: usize, mut message: SlotMessage) -> Option<SlotMessage> {
        let shared = &self.seats[slot].shared;
        let Some(mutation) = self.mutation else { return Some(message) };
        match (mutation, &mut message) {
            (_, SlotMessage::Back { generation, what }) => match (mutation, &mut **what) {
                (Mutation::LookupFindsNothing, Back::ReceiptFound { found, .. }) if found.is_ok() => **found = Ok(None),
                (Mutation::OwedForgottenInRecovery, Back::OwedRead { after: None, page: Ok(page) }) if page.is_last => {
                    drop(page.rows.pop());
                }
                (Mutation::OwedPageIsLast, Back::OwedRead { page: Ok(page), .. }) => page.is_last = true,
                (Mutation::OldLoadTaken, Back::Loaded { .. }) => *generation = shared.generation(),
                _ => {}
            },
            (Mutation::EndNotTold, SlotMessage::Ended { .. }) => return None,
            (Mutation::LeaverForgetsCallers, SlotMessage::Leave) => {
                shared.inbox.drain(usize::MAX).0.into_iter().for_each(std::mem::forget);
            }
            _ => {}
        }
        Some(message)
    }

    /// `None`: it is not done.
    pub(super) fn spoil_output(&self, output: Output) -> Option<Output> {
        let is_lost = matches!(
            (self.mutation, &output),
            (Some(Mutation::AgainIsLost), Output::After { what: Back::Again(_), .. })
                | (Some(Mutation::ClaimedOnce), Output::After { what: Back::Ask(Question::Claim { .. }), .. })
                | (Some(Mutation::PokeIsLost), Output::Poke)
        );
        (!is_lost).then_some(output)
    }

    pub(super) fn spoil_submission(&self, slot: usize, mut submission: Submission) -> Submission {
        match self.mutation {
            Some(Mutation::ReadBeforeCommit) => {
                if let Item::Record(record) = &submission.item {
                    self.seats[slot].shared.set_durable_seq(record.seq);
                }
            }
            Some(Mutation::ReplyBeforeCommit) => {
                let (replies, others): (Vec<_>, Vec<_>) =
                    submission.effects.into_iter().partition(|effect| matches!(effect, Effect::Reply(..)));
                submission.effects = others;
                for effect in replies {
                    if let Effect::Reply(to, reply) = effect {
                        to.send(reply);
                    }
                }
            }
            Some(_) | None => {}
        }
        submission
    }

    /// Answers a read with the first that its slot has ever shown, if that is the mutation.
    pub(super) fn show_stale(&self, envelope: Envelope) -> Option<Envelope> {
        let Body::Read { wait } = envelope.body else { return Some(envelope) };
        if self.mutation != Some(Mutation::ViewNotHidden) || !self.lease.is_valid() {
            return Some(envelope);
        }
        let mut stale = self.stale.lock();
        if let Some(shown) = self.shared(envelope.slot).shown(&envelope.key, wait, &*self.lease) {
            stale.entry(envelope.key.clone()).or_insert(shown);
        }
        match stale.get(&envelope.key) {
            Some(shown) => envelope.reply.send(Ok(shown.clone())),
            None => return Some(envelope),
        }
        None
    }
}
