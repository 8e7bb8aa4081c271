//! What a slot wants done, as plain values. Whoever runs the slot carries them out in this order: what goes to the
//! writer first, since the rest may depend on it (a load waits for what is in front of it in the writer's queue).

use super::dispatch::Dispatch;
use super::message::Back;
use super::news::News;
use super::question::Question;
use crate::actors::runtime::envelope::{AskError, Envelope, Reply, ReplyTo};
use crate::actors::runtime::writer::{Ended, Submission};
use crate::actors::values::Time;
use crate::persistence::{Slot, StoreError};

#[derive(Default)]
pub struct Outputs {
    /// Hand these to the journal writer, in their order.
    pub submissions: Vec<Submission>,
    pub others: Vec<Output>,
}

pub enum Output {
    /// Answer now: nothing in flight stands behind it.
    Answer(ReplyTo, Result<Reply, AskError>),
    /// Ask the store, and bring the answer back.
    Ask { generation: u64, question: Question },
    /// Bring this back after a pause.
    After { generation: u64, after_ms: u64, what: Back },
    /// Send an owed request again after a pause.
    Resend { dispatch: Dispatch, after_ms: u64 },
    /// Send [`Tick`](super::message::SlotMessage::Tick) at this time. It takes the place of the one that was wanted before.
    TickAt(Time),
    /// Send [`Poke`](super::message::SlotMessage::Poke) to the slot itself.
    Poke,
    /// Have the writer refuse whatever this generation still has in its queue.
    EndGeneration { slot: Slot, generation: u64, why: Ended },
    /// Bring this to where its slot lives now.
    Reroute(Envelope),
    /// Whoever decides where slots live is to know this.
    News(News),
    /// The store must not be used any more.
    StoreFailed(StoreError),
    /// The slot has left: end its actor.
    Left,
}

impl Outputs {
    pub fn is_empty(&self) -> bool {
        self.submissions.is_empty() && self.others.is_empty()
    }

    /// Appends what is wanted after all this.
    pub(super) fn append(&mut self, mut later: Outputs) {
        if self.submissions.is_empty() {
            self.submissions = later.submissions;
        } else {
            self.submissions.append(&mut later.submissions);
        }
        if self.others.is_empty() {
            self.others = later.others;
        } else {
            self.others.append(&mut later.others);
        }
    }
}
