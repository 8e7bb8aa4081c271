//! What a slot does, without I/O: every function takes an input and the time, and leaves outputs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hashlink::LinkedHashMap;

use super::SlotShared;
use super::alarms::Alarms;
use super::desk::{Common, Desk, Dispatch, Judged};
use super::outstanding::Outstanding;
use super::resident::{Resident, Watcher};
use crate::actors::envelope::{AskError, Body, Envelope, Reply, ReplyTo};
use crate::actors::values::Time;
use crate::actors::writer::{Item, Submission};
use crate::persistence::{EntityKey, Epoch, OwedRow, Record, SlotHead, WakeRow};

/// What the slot wants done.
pub enum Output {
    /// Hand this to the journal writer.
    Submit(Submission),
    /// Answer now: nothing in flight stands behind it.
    Answer(ReplyTo, Result<Reply, AskError>),
    /// Bring an entity into memory. `settle`: records of it may be in flight; wait for them first.
    Load { key: EntityKey, settle: bool },
    /// Look in the index whether the request of this command was seen.
    FindReceipt(Envelope),
    /// Read a page of the owed index.
    ReadOwed { after: Option<(i64, EntityKey)> },
    /// Read a page of the wake index, after everything in flight has settled.
    ReadWakes { after: (i64, EntityKey) },
    /// Send an owed request again after a while.
    Resend(Dispatch),
    /// A message of the runtime that found no room: bring it again after a while.
    Later(Envelope),
}

/// Panics of one entity in a row, and until when it is left alone.
#[derive(Default)]
struct Fault {
    panics: u32,
    quarantined_until: Option<Time>,
}

pub struct SlotCore {
    residents: LinkedHashMap<EntityKey, Resident>,
    loading: HashMap<EntityKey, VecDeque<Envelope>>,
    faults: HashMap<EntityKey, Fault>,
    resident_bytes: usize,
    pub(super) desk: Desk,
}

impl SlotCore {
    /// A slot that begins a generation on top of what is durable.
    pub fn new(shared: Arc<SlotShared>, common: Arc<Common>, generation: u64, head: &SlotHead) -> SlotCore {
        shared.set_durable_seq(head.seq);
        *shared.outstanding() = Outstanding::default();
        let mut core = SlotCore {
            residents: LinkedHashMap::new(),
            loading: HashMap::new(),
            faults: HashMap::new(),
            resident_bytes: 0,
            desk: Desk {
                slot: shared.slot,
                epoch: head.epoch,
                generation,
                next_seq: head.seq + 1,
                shared,
                common,
                senders: HashMap::new(),
                resuming: 0,
                owed_read: false,
                alarms: Alarms::unread(),
                out: Vec::new(),
            },
        };
        core.desk.out.push(Output::ReadOwed { after: None });
        core.read_wakes();
        core
    }

    /// Takes the outputs that have gathered.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.desk.out)
    }
    pub fn generation(&self) -> u64 {
        self.desk.generation
    }
    pub fn epoch(&self) -> Epoch {
        self.desk.epoch
    }
    pub fn resident_count(&self) -> usize {
        self.residents.len()
    }
    pub fn resident_bytes(&self) -> usize {
        self.resident_bytes
    }
    pub fn outstanding_count(&self) -> usize {
        self.desk.shared.outstanding().len()
    }

    /// A message for one of the slot's entities.
    pub fn message(&mut self, envelope: Envelope, now: Time) {
        if let Some(error) = self.quarantined(&envelope, now) {
            return self.desk.answer(envelope.reply, Err(error));
        }
        if let Some(waiting) = self.loading.get_mut(&envelope.key) {
            if waiting.len() >= self.desk.common.limits.loading_messages_max && !envelope.body.is_internal() {
                return self.desk.busy(envelope.reply);
            }
            waiting.push_back(envelope);
            return;
        }
        if self.residents.contains_key(&envelope.key) {
            return self.handle(envelope, now, true);
        }
        if self.loading.len() >= self.desk.common.limits.loading_entities_max && !envelope.body.is_internal() {
            return self.desk.busy(envelope.reply);
        }
        let key = envelope.key.clone();
        self.start_loading(key, VecDeque::from([envelope]), false);
    }

    fn start_loading(&mut self, key: EntityKey, waiting: VecDeque<Envelope>, settle: bool) {
        self.loading.insert(key.clone(), waiting);
        self.desk.out.push(Output::Load { key, settle });
    }

    fn quarantined(&self, envelope: &Envelope, now: Time) -> Option<AskError> {
        let asks = matches!(envelope.body, Body::Command { .. } | Body::Answered { .. } | Body::Wake);
        let until = self.faults.get(&envelope.key)?.quarantined_until?;
        (asks && now < until).then_some(AskError::Quarantined)
    }

    /// An entity has been loaded, or could not be.
    pub fn loaded(&mut self, generation: u64, key: EntityKey, result: Result<Resident, AskError>, now: Time) {
        if generation != self.desk.generation {
            return;
        }
        let waiting = self.loading.remove(&key).unwrap_or_default();
        match result {
            Ok(mut resident) => {
                resident.last_used = now;
                self.resident_bytes += resident.size_bytes;
                self.residents.insert(key, resident);
                for envelope in waiting {
                    self.message_after_load(envelope, now);
                }
            }
            Err(error) => {
                for envelope in waiting {
                    if envelope.body.is_internal() && error == AskError::Unavailable {
                        self.desk.out.push(Output::Later(envelope));
                    } else {
                        self.desk.answer(envelope.reply, Err(error.clone()));
                    }
                }
            }
        }
    }

    /// As [`SlotCore::message`], except that the entity was not in memory when the message came. The
    /// message before it may have made the entity leave again (it panicked): then it is loaded again.
    fn message_after_load(&mut self, envelope: Envelope, now: Time) {
        if self.residents.contains_key(&envelope.key) {
            self.handle(envelope, now, false);
        } else {
            self.message(envelope, now);
        }
    }

    /// The index has been asked for the receipt of this command.
    pub fn receipt_found(
        &mut self,
        generation: u64,
        envelope: Envelope,
        found: Result<Option<Record>, AskError>,
        now: Time,
    ) {
        if generation != self.desk.generation {
            return self.desk.answer(envelope.reply, Err(AskError::Unavailable));
        }
        match (found, self.residents.get_mut(&envelope.key)) {
            (Err(error), _) => self.desk.answer(envelope.reply, Err(error)),
            (Ok(found), Some(resident)) => {
                if let Some(Record { request, version, receipt: Some(receipt), .. }) = found {
                    resident.receipts.insert(request, version, receipt);
                }
                self.judge(envelope, now, true);
            }
            (Ok(_), None) => self.message(envelope, now),
        }
    }

    /// A message for an entity that is in memory.
    fn handle(&mut self, envelope: Envelope, now: Time, was_resident: bool) {
        self.residents.to_back(&envelope.key);
        let Some(resident) = self.residents.get_mut(&envelope.key) else { return };
        resident.last_used = now;
        match envelope.body {
            Body::Command { .. } | Body::Answered { .. } | Body::Wake | Body::Resume => {
                self.judge(envelope, now, false)
            }
            Body::Read { wait } => {
                let watcher =
                    Watcher { reply: envelope.reply, outcome: None, replayed: false, want_state: envelope.want_state };
                self.desk.answer_when(resident, watcher, wait);
            }
            Body::Repeat { .. } => self.desk.answer_repeat(resident, envelope, false),
            Body::Inspect => {
                let panics = self.faults.get(&envelope.key).map_or(0, |fault| fault.panics);
                let residence = resident.residence(self.desk.epoch, was_resident, panics);
                let reply = Reply { residence: Some(Box::new(residence)), ..resident.reply(None, false, false) };
                self.desk.answer_durably(resident.seq, envelope.reply, reply);
            }
        }
    }

    /// Lets the entity judge a command, and deals with a panic of its code.
    fn judge(&mut self, envelope: Envelope, now: Time, receipt_checked: bool) {
        let Some(resident) = self.residents.get_mut(&envelope.key) else { return };
        if matches!(envelope.body, Body::Repeat { .. }) {
            return self.desk.answer_repeat(resident, envelope, receipt_checked);
        }
        let key = envelope.key.clone();
        let size_before = resident.size_bytes;
        let judged = self.desk.judge(resident, envelope, now, receipt_checked);
        self.resident_bytes = self.resident_bytes + resident.size_bytes - size_before;
        match judged {
            Judged::Fine => {
                if !self.faults.is_empty() {
                    self.faults.remove(&key);
                }
            }
            Judged::Refused => {}
            Judged::Panicked { spoilt } => self.panicked(key, spoilt, now),
        }
    }

    fn panicked(&mut self, key: EntityKey, spoilt: bool, now: Time) {
        let limits = &self.desk.common.limits;
        let fault = self.faults.entry(key.clone()).or_default();
        fault.panics += 1;
        if fault.panics >= limits.panics_max {
            fault.quarantined_until = Some(now.plus_ms(limits.quarantine_ms));
            self.desk.common.metrics.quarantined.inc();
            tracing::error!(kind = key.kind, id = %key.id, panics = fault.panics, "entity quarantined");
        }
        if spoilt && let Some(resident) = self.residents.remove(&key) {
            self.resident_bytes -= resident.size_bytes;
            for watcher in resident.watchers {
                self.desk.answer(watcher.reply, Err(AskError::Unknown));
            }
            self.start_loading(key, VecDeque::new(), true);
        }
    }

    /// A page of the owed index: entities that owe something from an earlier life. Each is brought into
    /// memory and everything it owes is sent.
    pub fn owed_page(&mut self, generation: u64, rows: Vec<(EntityKey, OwedRow)>, is_last: bool, now: Time) {
        if generation != self.desk.generation {
            return;
        }
        let next = rows.last().map(|(key, row)| (row.due_ms, key.clone()));
        for (key, _row) in rows {
            self.desk.resuming += 1;
            self.message(Envelope::internal(key, self.desk.slot, Body::Resume), now);
        }
        if is_last {
            self.desk.owed_read = true;
            self.desk.all_resumed();
        } else {
            self.desk.out.push(Output::ReadOwed { after: next });
        }
    }

    /// A page of the wake index.
    pub fn wake_page(&mut self, generation: u64, rows: Option<Vec<WakeRow>>, now: Time) {
        if generation != self.desk.generation {
            return;
        }
        match rows {
            Some(rows) => self.desk.alarms.read(rows),
            None => self.desk.alarms.reading_failed(),
        }
        self.tick(now);
    }

    /// Wakes the entities whose time has come.
    pub fn tick(&mut self, now: Time) {
        for key in self.desk.alarms.take_due(now.0) {
            self.message(Envelope::internal(key, self.desk.slot, Body::Wake), now);
        }
        self.read_wakes();
    }

    fn read_wakes(&mut self) {
        if let Some(after) = self.desk.alarms.begin_reading() {
            self.desk.out.push(Output::ReadWakes { after });
        }
    }

    /// When [`SlotCore::tick`] wants to be called.
    pub fn next_tick(&self) -> Option<Time> {
        self.desk.alarms.next_due_ms().map(Time)
    }

    /// Lets idle entities leave memory, and the least recently used ones beyond the byte budget.
    pub fn passivate(&mut self, now: Time) {
        let limits = self.desk.common.limits.clone();
        let durable_seq = self.desk.shared.durable_seq();
        let mut looked_at = 0;
        let mut stay = 0;
        while let Some((key, resident)) = self.residents.front() {
            let over_budget = self.resident_bytes > limits.resident_bytes_max;
            let idle = now.since_ms(resident.last_used) >= limits.idle_ms;
            if !(over_budget || idle) || looked_at > self.residents.len() + stay {
                return;
            }
            looked_at += 1;
            let key = key.clone();
            if !resident.may_leave(durable_seq) {
                stay += 1;
                if stay > PINNED_LOOKED_AT_MAX {
                    return;
                }
                self.residents.to_back(&key);
                continue;
            }
            let Some(mut resident) = self.residents.remove(&key) else { return };
            self.resident_bytes -= resident.size_bytes;
            if resident.wants_snapshot_on_leaving() {
                let snapshot = resident.snapshot(self.desk.slot, &key, now);
                self.desk.submit(Item::Snapshot(Box::new(snapshot)), Vec::new());
            }
        }
    }

    /// Ends the generation: everything in memory is thrown away, and those who wait are told. Messages
    /// that waited for an entity to load are returned, to be handled in the next generation.
    pub fn end(&mut self) -> Vec<Envelope> {
        for (_, resident) in self.residents.drain() {
            for watcher in resident.watchers {
                let error = if watcher.outcome.is_some() { AskError::Unknown } else { AskError::Unavailable };
                watcher.reply.send(Err(error));
            }
        }
        self.loading.drain().flat_map(|(_, waiting)| waiting).collect()
    }
}

/// Entities that may not leave are looked at no more than this often in one sweep.
const PINNED_LOOKED_AT_MAX: usize = 64;
