//! What is told to a slot's actor, and by whom.

use tokio::sync::oneshot;

use super::output::Lookup;
use super::resident::Resident;
use crate::actors::runtime::envelope::{AskError, Envelope};
use crate::actors::runtime::writer::Ended;
use crate::persistence::{EntityKey, Epoch, OwedRow, Record, SlotHead, WakeRow};

pub enum SlotMessage {
    /// From the supervisor, once and first, when the slot can be reached: whatever is told to a slot that serves
    /// arrives.
    Begin(Start),
    /// Messages wait in the inbox.
    Poke,
    Loaded {
        generation: u64,
        key: EntityKey,
        result: Box<Result<Resident, AskError>>,
    },
    ReceiptFound {
        generation: u64,
        lookup: Box<Lookup>,
        found: Box<Result<Option<Record>, AskError>>,
    },
    OwedPage {
        generation: u64,
        rows: Vec<(EntityKey, OwedRow)>,
        is_last: bool,
    },
    WakePage {
        generation: u64,
        rows: Option<Vec<WakeRow>>,
    },
    /// The nearest wake is due.
    Tick,
    /// Idle entities may leave memory.
    Passivate,
    /// A message that found no room comes again.
    Again {
        generation: u64,
        envelope: Box<Envelope>,
    },
    /// Nothing is taken any more; tell when everything in flight has settled.
    Drain(oneshot::Sender<()>),
    /// The writer could not make this generation's records durable.
    Ended {
        generation: u64,
        why: Ended,
    },
    /// The slot's epoch has been raised: this is what is durable.
    Recovered {
        generation: u64,
        head: SlotHead,
    },
    /// From a task of the slot: it has met stored data of the slot that is damaged.
    Damaged {
        generation: u64,
        damage: Damage,
        why: String,
    },
}

/// How a slot begins.
pub enum Start {
    /// The node has just claimed it.
    Claimed(SlotHead),
    /// Its actor failed: nothing of the generation before is trusted.
    Recover,
    /// It could not be claimed at this epoch, because what is stored of it is damaged.
    Damaged { epoch: Epoch, why: String },
}

/// Where the damage was met: what has to succeed before the slot serves again.
#[derive(Debug, Clone)]
pub enum Damage {
    Claim,
    Append,
    /// A page of the owed index, after this row.
    Owed(Option<(i64, EntityKey)>),
    /// A page of the wake index, after this row.
    Wakes((i64, EntityKey)),
}
