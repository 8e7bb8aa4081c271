//! The slot: the actor that hosts entities.
//!
//! A slot is one ractor actor and thousands of entities. [`core`] is what it does with their messages in one
//! generation, [`shell`] how generations begin and end; both are state machines without I/O: a message in, outputs out.
//! [`asking`] puts its questions to the store. [`actor`] is the ractor actor around them, which carries the outputs out.
//! The simulation drives the same shell and asks the same questions over a simulated journal and clock.
//!
//! - A message finds its entity, or waits (bounded) while it is loaded.
//! - A command is judged, its events are applied to the state in memory at once, and the record goes to
//!   the journal writer together with the replies that depend on it. The slot never waits for the disk.
//! - When the writer is refused, the slot's *generation* ends: whatever was built on records that do not
//!   exist is thrown away, the slot raises its epoch, and reads on from what is durable.
//!
//! What a crash leaves: nothing here is kept but what the journal has. Requests that were owed and
//! wakes that were due are found again in their indexes.

pub mod actor;
mod alarms;
pub mod asking;
mod claims;
mod core;
mod dispatch;
mod gauges;
mod inbox;
mod load;
mod memory;
pub mod message;
pub mod news;
pub mod output;
mod outstanding;
mod pushed_out;
pub mod question;
mod reading;
mod receipts;
mod recovery;
mod resident;
pub mod shell;
mod state;
mod views;
mod withheld;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use outstanding::Outstanding;
use parking_lot::{Mutex, MutexGuard};

pub use claims::Claims;
pub use dispatch::Dispatch;
pub use inbox::{Inbox, Pushed};
pub use load::fresh;
pub use memory::Memory;
pub use reading::Reading;
pub use receipts::ReceiptLimits;
pub use recovery::claim_all;
pub use resident::Resident;
pub use state::Common;
pub use views::Views;

use withheld::Withheld;

use super::envelope::{AskError, Body, Envelope, Reply, Residence, Wait};
use crate::actors::kinds::Kinds;
use crate::cluster::Lease;
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Epoch, Journal, Slot};

/// What a slot shares with the writer, the router and its dispatchers.
pub struct SlotShared {
    pub slot: Slot,
    pub inbox: Inbox,
    pub(in crate::actors) views: Views,
    /// The slot sequence of the last durable record of this generation.
    durable_seq: AtomicU64,
    outstanding: Mutex<Outstanding>,
    generation: AtomicU64,
    /// The highest epoch of the slot that this process has seen: it serves at none that is not above.
    epoch: AtomicU64,
    /// How often the node's lease has lapsed while it had the slot. Nothing that rests on the slot may leave until it was
    /// claimed again after the last time: see [`SlotShared::resume`].
    suspensions: AtomicU64,
    /// How many suspensions were over, for whoever decides where slots live, when it said that the slot is this node's.
    allowed: AtomicU64,
    /// The same, once the slot has heard of it.
    resumed: AtomicU64,
    /// Entities that an operator has quarantined.
    withheld: Withheld,
    pub restarts: AtomicU32,
    pub reading: Reading,
}

/// What becomes of a message that is brought to a slot.
pub enum Delivered {
    /// It waits there, and the slot has to be poked.
    Poke,
    /// It waits there, or it is answered.
    Done,
    /// The slot does not live here.
    NotHere(Envelope),
}

impl SlotShared {
    pub fn new(slot: Slot, capacity: usize) -> Arc<SlotShared> {
        Arc::new(SlotShared {
            slot,
            inbox: Inbox::new(capacity),
            views: Views::default(),
            durable_seq: AtomicU64::new(0),
            outstanding: Mutex::default(),
            generation: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            suspensions: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            withheld: Withheld::default(),
            restarts: AtomicU32::new(0),
            reading: Reading::default(),
        })
    }
    /// The entity as the slot shows it, if it does and the reader may have it.
    pub fn shown(&self, key: &EntityKey, wait: Wait, lease: &dyn Lease) -> Option<Reply> {
        if self.may_answer(lease) { self.views.read(key, wait) } else { None }
    }
    /// Takes a message in, or answers it: a read with what the slot shows, anything with why it cannot be.
    pub fn deliver(&self, envelope: Envelope, lease: &dyn Lease, metrics: &Metrics) -> Delivered {
        if let Body::Read { wait } = envelope.body
            && let Some(reply) = self.shown(&envelope.key, wait, lease)
        {
            envelope.reply.send(Ok(reply));
            return Delivered::Done;
        }
        match self.inbox.push(envelope) {
            Pushed::Quiet => Delivered::Done,
            Pushed::Poke => Delivered::Poke,
            Pushed::Full(envelope) => {
                metrics.busy.inc();
                envelope.reply.send(Err(AskError::Busy { retry_after_ms: 100 }));
                Delivered::Done
            }
            Pushed::Closed(envelope) => Delivered::NotHere(envelope),
        }
    }
    /// Whether what rests on this slot's state may leave the node now.
    pub fn may_answer(&self, lease: &dyn Lease) -> bool {
        lease.is_valid() && !self.is_suspended()
    }
    pub fn is_suspended(&self) -> bool {
        self.suspensions.load(Ordering::Acquire) > self.resumed.load(Ordering::Acquire)
    }
    /// The node's lease has lapsed: nothing leaves, from the return of this on.
    pub fn suspend(&self) {
        self.suspensions.fetch_add(1, Ordering::AcqRel);
    }
    /// The slot is this node's for certain: all suspensions until now are over, once the slot has heard of it. (It hears of
    /// things later than they are said: a suspension that was said in between must last.)
    pub fn allow(&self) {
        self.allowed.fetch_max(self.suspensions.load(Ordering::Acquire), Ordering::AcqRel);
    }
    /// The slot has heard whatever was said of it until now.
    pub fn resume(&self) {
        self.resumed.fetch_max(self.allowed.load(Ordering::Acquire), Ordering::AcqRel);
    }
    /// Takes and shows nothing any more; what waited is returned, unanswered.
    pub fn close(&self) -> Vec<Envelope> {
        let waiting = self.inbox.close();
        self.views.clear();
        waiting
    }
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq.load(Ordering::Acquire)
    }
    pub fn set_durable_seq(&self, seq: u64) {
        self.durable_seq.store(seq, Ordering::Release);
    }
    /// Everything that the slot's entities owe below this number is answered, durably.
    pub fn watermark(&self) -> u64 {
        self.outstanding.lock().watermark(self.durable_seq())
    }
    /// An owed request is being sent.
    pub(in crate::actors) fn attempted(&self, number: u64) {
        self.outstanding.lock().attempted(number);
    }
    /// An attempt at an owed request came to nothing.
    pub(in crate::actors) fn failed(&self, generation: u64, number: u64, why: Cow<'static, str>) {
        if self.generation() == generation {
            self.outstanding.lock().failed(number, why);
        }
    }
    /// Whether an owed request is still to be answered.
    pub fn owes(&self, generation: u64, number: u64) -> bool {
        self.generation() == generation && self.outstanding.lock().contains(number)
    }
    /// What the slot's entities owe.
    pub(in crate::actors) fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock()
    }
    /// The slot's present generation. What was built in an earlier one does not exist.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
    /// The highest epoch of the slot that this process has seen.
    pub fn epoch(&self) -> Epoch {
        self.epoch.load(Ordering::Acquire)
    }
    fn saw_epoch(&self, epoch: Epoch) {
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
    }
    /// Whether an operator has quarantined the entity.
    fn withholds(&self, key: &EntityKey) -> bool {
        self.withheld.has(key)
    }
    /// `Some(false)`: it is so already. `None`: there are too many.
    fn withhold(&self, key: &EntityKey) -> Option<bool> {
        self.withheld.add(key)
    }
    /// Whether it was so.
    fn release(&self, key: &EntityKey) -> bool {
        self.withheld.remove(key)
    }
    /// The slot has left: nothing is known any more of what its entities owe, and which ones an operator has quarantined. The
    /// answer is how many that were.
    fn forget(&self) -> usize {
        *self.outstanding() = Outstanding::default();
        self.withheld.clear()
    }
    /// Ends the present generation and begins the next, whose number is returned.
    pub fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// How an entity stands in a store that no node serves.
pub async fn at_rest(
    journal: &dyn Journal,
    kinds: &Kinds,
    slot: Slot,
    key: &EntityKey,
    epoch: Epoch,
    limits: &ReceiptLimits,
) -> Result<Residence, AskError> {
    let spec = kinds.by_number(key.kind).ok_or(AskError::UnknownKind)?;
    let resident = load::load(journal, spec, slot, key, limits).await?;
    let owed = resident.owed_steps(kinds, key, |_| None);
    Ok(Residence { owed, ..resident.residence(epoch, false, 0) })
}

/// How much a slot may hold: the section `slots` of `config/default.toml`. Every limit is there so that full means a
/// quick, explicit no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct SlotLimits {
    /// Messages that wait in front of one slot.
    pub mailbox_max: usize,
    /// Messages taken in one turn, before the slot lets others run.
    pub turn_messages_max: usize,
    /// Messages that wait for one entity while it is loaded.
    pub loading_messages_max: usize,
    /// Entities that are loaded at once.
    pub loading_entities_max: usize,
    /// Idle entities leave memory after this time, in milliseconds.
    pub idle_ms: u64,
    /// Memory for the entities of all slots of the node, in bytes: beyond, the least recently used leave.
    pub resident_bytes_max: usize,
    /// A snapshot is taken after this many records with events.
    pub snapshot_events: u64,
    /// How many receipts an entity keeps in memory.
    pub receipts: ReceiptLimits,
    /// Panics in a row after which an entity is not asked any more.
    pub panics_max: u32,
    /// How long a quarantined entity is left alone, in milliseconds.
    pub quarantine_ms: u64,
    /// What has been owed for longer is told to the operator, in milliseconds.
    pub owed_overdue_ms: u64,
}
