//! What a slot wants done: the outputs of its core.

use super::Dispatch;
use crate::actors::runtime::envelope::{AskError, Envelope, Reply, ReplyTo};
use crate::actors::runtime::writer::Submission;
use crate::persistence::EntityKey;

/// A message of the runtime that found no room comes again after this time.
pub(super) const ROOM_AGAIN_MS: u64 = 100;

/// What the slot wants done. Submissions go first, in their order: what else is done may depend on them.
pub enum Output {
    /// Hand this to the journal writer.
    Submit(Submission),
    /// Answer now: nothing in flight stands behind it.
    Answer(ReplyTo, Result<Reply, AskError>),
    /// Bring an entity into memory. `settle`: records of it may be in flight; wait for them first.
    Load { key: EntityKey, settle: bool },
    /// Look in the index whether the request of this command was seen, after everything in flight.
    FindReceipt(Lookup),
    /// Read a page of the owed index.
    ReadOwed { after: Option<(i64, EntityKey)> },
    /// Read a page of the wake index, after everything in flight has settled.
    ReadWakes { after: (i64, EntityKey) },
    /// Send an owed request again after a while, the longer the more often it was sent.
    Resend(Dispatch),
    /// A message of the runtime that cannot be handled now: bring it again after this time.
    Later { envelope: Envelope, after_ms: u64 },
}

/// A command, or a question after one, whose receipt is looked for in the index.
pub struct Lookup {
    /// Which look-up of the slot's generation it is.
    pub(super) ticket: u64,
    pub envelope: Envelope,
}
