//! What a slot asks of the store, as plain values. Each is asked once; what follows from the answer the slot decides.

use crate::actors::runtime::envelope::Envelope;
use crate::persistence::{EntityKey, Epoch};

pub enum Question {
    /// Bring an entity into memory. `settle`: records of it may be in flight; wait for them first.
    Load { key: EntityKey, settle: bool },
    /// Look in the index whether the request of this command was seen, after everything in flight.
    FindReceipt(Lookup),
    /// Read a page of the owed index, after this row.
    ReadOwed { after: Option<(i64, EntityKey)> },
    /// Read a page of the wake index, after this row, once everything in flight has settled.
    ReadWakes { after: (i64, EntityKey) },
    /// Wait until everything that a generation has handed over has settled, one way or the other.
    Settle { generation: u64 },
    /// Read again where damage was met.
    LookAgain(Damage),
    /// Read how the slot stands.
    ReadHead,
    /// Claim the slot, which is at this epoch.
    Claim { epoch: Epoch },
}

/// A command, or a question after one, whose receipt is looked for in the index.
pub struct Lookup {
    /// Which look-up of the slot's generation it is.
    pub(super) ticket: u64,
    pub envelope: Envelope,
}

/// Where the damage was met: what has to succeed before the slot serves again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    Claim,
    Append,
    /// A page of the owed index, after this row.
    Owed(Option<(i64, EntityKey)>),
    /// A page of the wake index, after this row.
    Wakes((i64, EntityKey)),
}

impl Damage {
    /// As operators read it.
    pub(super) fn place(&self) -> &'static str {
        match self {
            Damage::Claim => "the claim",
            Damage::Append => "a commit",
            Damage::Owed(_) => "the owed index",
            Damage::Wakes(_) => "the wake index",
        }
    }
}
