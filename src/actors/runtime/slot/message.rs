//! What is told to a slot, by whom, and what follows.

use super::claims::Claimed;
use super::question::{Lookup, Question};
use super::resident::Resident;
use crate::actors::runtime::envelope::{AskError, Envelope};
use crate::actors::runtime::writer::Ended;
use crate::persistence::{EntityKey, Epoch, OwedRow, Record, SlotHead, StoreError, WakeRow};

/// What is rare and large is boxed: each message is moved many times on its way.
pub enum SlotMessage {
    /// From the supervisor, first and at most once. The slot serves, or claims itself first.
    Begin(Box<Start>),
    /// From the router, when the inbox stops being empty, and from the slot itself: a turn follows.
    Poke,
    /// From the slot's timer: the nearest wake is due.
    Tick,
    /// From the supervisor: the slot was suspended, has been claimed by the epoch that it had, and is at this one. Nobody had it
    /// meanwhile, so it goes on with what is in memory.
    Keep(Epoch),
    /// From the supervisor, now and then: idle entities may leave memory.
    Passivate,
    /// From the supervisor: the slot leaves this node. Nothing is taken any more; what waits is answered so that its
    /// caller may ask again; what is in flight settles. Then the slot's actor ends.
    Leave,
    /// From the writer: it could not make this generation's records durable. From the supervisor, where the writer
    /// itself has failed. The slot recovers.
    Ended { generation: u64, why: Ended },
    /// What the slot has set going comes back. Of an earlier generation it is not taken.
    Back { generation: u64, what: Box<Back> },
}

/// What comes back to a slot: each answers one [`Question`], but the last two, which come after a pause.
pub enum Back {
    Loaded {
        key: EntityKey,
        result: Box<Result<Resident, AskError>>,
    },
    ReceiptFound {
        lookup: Box<Lookup>,
        found: Box<Result<Option<Record>, AskError>>,
    },
    OwedRead {
        after: Option<(i64, EntityKey)>,
        page: Result<OwedPage, StoreError>,
    },
    WakesRead {
        after: (i64, EntityKey),
        rows: Result<Vec<WakeRow>, StoreError>,
    },
    Settled,
    LookedAgain(Result<(), StoreError>),
    HeadRead(Result<SlotHead, StoreError>),
    Claimed {
        epoch: Epoch,
        answer: Result<Claimed, StoreError>,
    },
    /// A message of the runtime that could not be handled when it came.
    Again(Box<Envelope>),
    /// The store is to be asked, or asked once more.
    Ask(Question),
}

/// A page of the owed index.
pub struct OwedPage {
    pub rows: Vec<(EntityKey, OwedRow)>,
    pub is_last: bool,
}

/// How a slot begins.
pub enum Start {
    /// It has just been claimed, and stands so.
    Claimed(SlotHead),
    /// It was given to this node at this epoch. How else it stands is to be read.
    Given(Epoch),
    /// It is to be claimed. It was at this epoch when it was looked at.
    Unclaimed(Epoch),
    /// Its actor has failed: nothing of the generation before is trusted.
    Recover,
}
