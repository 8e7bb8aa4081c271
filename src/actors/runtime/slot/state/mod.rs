//! Where commands are judged: the slot's own state, apart from the entities that it hosts.

mod answered;
mod answers;
mod deciding;

use std::collections::HashMap;
use std::sync::Arc;

use super::alarms::Alarms;
use super::dispatch::Dispatch;
use super::message::Back;
use super::output::{Output, Outputs};
use super::outstanding::{Debt, Partner};
use super::question::Question;
use super::receipts::Kept;
use super::resident::Resident;
use super::{Memory, SlotLimits, SlotShared};
use crate::actors::entity::Target;
use crate::actors::kinds::Kinds;
use crate::actors::policy::Policy;
use crate::actors::runtime::envelope::{AskError, Body, Envelope, Keep};
use crate::actors::runtime::writer::{Effect, Item, QueueBudget};
use crate::actors::values::Time;
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Epoch, OwedRow, Record, Slot, SlotHead, WakeRow};
use deciding::Work;

/// A message of the runtime that found no room comes again after this time.
const ROOM_AGAIN_MS: u64 = 100;

/// What every slot of a node has in common.
pub struct Common {
    pub kinds: &'static Kinds,
    pub policy: Arc<Policy>,
    pub limits: SlotLimits,
    pub memory: Arc<Memory>,
    pub budget: Arc<QueueBudget>,
    pub metrics: Arc<Metrics>,
}

/// The slot's own state.
pub(super) struct SlotState {
    slot: Slot,
    epoch: Epoch,
    generation: u64,
    next_seq: u64,
    shared: Arc<SlotShared>,
    common: Arc<Common>,
    /// Per sending slot, the highest watermark that it has told.
    senders: HashMap<Slot, u64>,
    /// The ticket of the next look-up in the index of receipts.
    next_lookup: u64,
    /// Entities of an earlier life whose owed requests are about to be sent again, with their numbers.
    resuming: HashMap<EntityKey, Vec<u64>>,
    alarms: Alarms,
    out: Outputs,
}

/// How the judging of a command went.
pub(super) enum Judged {
    Fine,
    /// Not even tried.
    Refused,
    /// `spoilt`: the panic came while the state was being changed.
    Panicked {
        spoilt: bool,
    },
}

/// What the index of receipts has said of a request.
pub(super) enum LookedUp {
    NotYet,
    Never,
    Found(Kept),
}

impl SlotState {
    /// Of a slot that begins a generation on top of what is durable.
    pub fn new(shared: Arc<SlotShared>, common: Arc<Common>, generation: u64, head: &SlotHead) -> SlotState {
        SlotState {
            slot: shared.slot,
            epoch: head.epoch,
            generation,
            next_seq: head.seq + 1,
            shared,
            common,
            senders: HashMap::new(),
            next_lookup: 0,
            resuming: HashMap::new(),
            alarms: Alarms::unread(),
            out: Outputs::default(),
        }
    }
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// What is decided from now on is written at this epoch.
    pub fn raise_epoch(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }
    /// The number of the last record that was decided.
    pub fn decided_seq(&self) -> u64 {
        self.next_seq - 1
    }
    pub fn shared(&self) -> &SlotShared {
        &self.shared
    }
    pub fn common(&self) -> &Arc<Common> {
        &self.common
    }
    /// Takes what has gathered to be done.
    pub fn take_outputs(&mut self) -> Outputs {
        std::mem::take(&mut self.out)
    }
    pub fn ask(&mut self, question: Question) {
        self.out.others.push(Output::Ask { generation: self.generation, question });
    }
    /// A message of the runtime that cannot be handled now comes again after this time.
    pub fn later(&mut self, envelope: Envelope, after_ms: u64) {
        let what = Back::Again(Box::new(envelope));
        self.out.others.push(Output::After { generation: self.generation, after_ms, what });
    }
    /// A message of the runtime to one of the slot's entities.
    pub fn internal(&self, key: EntityKey, body: Body) -> Envelope {
        Envelope::internal(key, self.slot, body)
    }
    pub fn wakes_read(&mut self, rows: Vec<WakeRow>) {
        self.alarms.read(rows);
    }
    /// Takes the entities whose time has come.
    pub fn take_due(&mut self, now: Time) -> Vec<EntityKey> {
        self.alarms.take_due(now.0)
    }
    pub fn next_due(&self) -> Option<Time> {
        self.alarms.next_due_ms().map(Time)
    }
    /// Reads the wake index on, if what is known of it has run out.
    pub fn read_wakes_on(&mut self) {
        if let Some(after) = self.alarms.begin_reading() {
            self.ask(Question::ReadWakes { after });
        }
    }

    /// Judges a message that may change the entity.
    pub fn judge(&mut self, resident: &mut Resident, envelope: Envelope, now: Time, looked_up: LookedUp) -> Judged {
        let asks_nothing_new = match envelope.body {
            Body::Resume => !resident.wakes_too_late(),
            Body::Repeat { .. } => true,
            Body::Command { .. } | Body::Answered { .. } | Body::Wake => false,
            Body::Read { .. } | Body::Inspect | Body::Operate(_) => false,
        };
        if !self.common.budget.has_space() && !asks_nothing_new {
            if envelope.body.is_internal() {
                self.later(envelope, ROOM_AGAIN_MS);
            } else {
                self.busy(envelope.reply);
            }
            return Judged::Refused;
        }
        match envelope.body {
            Body::Command { keep, if_version, .. } => {
                if let Some(Keep::Owed { slot, watermark, .. }) = keep {
                    let known = self.senders.entry(slot).or_default();
                    *known = watermark.max(*known);
                }
                let at_ms = now.max(resident.at).0;
                if let Some(keep) = keep
                    && let Some(kept) = known_receipt(resident, &envelope, &looked_up, at_ms)
                {
                    self.repeat(resident, kept, keep, envelope);
                    return Judged::Refused;
                }
                if let Some(error) = self.answered_long_ago(resident, keep) {
                    self.answer(envelope.reply, Err(error));
                    return Judged::Refused;
                }
                if self.has_no_place(resident, keep, at_ms) {
                    self.busy(envelope.reply);
                    return Judged::Refused;
                }
                if matches!(keep, Some(Keep::Client { .. })) {
                    if resident.receipts.is_crowded(&self.common.limits.receipts) {
                        self.busy(envelope.reply);
                        return Judged::Refused;
                    }
                    if must_look_up(resident, &envelope, &looked_up, at_ms) {
                        self.find_receipt(resident, envelope);
                        return Judged::Refused;
                    }
                }
                if if_version.is_some_and(|version| version != resident.version) {
                    let stale = AskError::StaleVersion { current: resident.version };
                    self.answer_durably(resident.seq, envelope.reply, Err(stale));
                    return Judged::Refused;
                }
                self.command(resident, envelope, now)
            }
            Body::Answered { .. } => self.answered(resident, envelope, now),
            Body::Wake => self.wake(resident, envelope, now),
            Body::Resume => {
                self.resume(resident, &envelope.key);
                // An older program may have wanted to be woken later in the same state, or not at all.
                self.move_wake_row(resident, &envelope.key, false, now);
                Judged::Fine
            }
            Body::Repeat { .. } => {
                self.answer_repeat(resident, envelope, looked_up, now);
                Judged::Refused
            }
            Body::Read { .. } | Body::Inspect | Body::Operate(_) => Judged::Refused,
        }
    }

    fn answered_long_ago(&self, resident: &Resident, keep: Option<Keep>) -> Option<AskError> {
        let Some(Keep::Owed { slot, number, .. }) = keep else { return None };
        let known = self.senders.get(&slot).copied().unwrap_or(0).max(resident.receipts.dropped_below(slot));
        (number < known).then_some(AskError::AnsweredLongAgo)
    }

    /// Whether the receipt of this request, if it is an owed one, has no place. The one that holds its sender's
    /// watermark back always has: what is kept here may be waiting for just that.
    fn has_no_place(&self, resident: &mut Resident, keep: Option<Keep>, now_ms: i64) -> bool {
        let Some(Keep::Owed { number, watermark, .. }) = keep else { return false };
        if number <= watermark {
            return false;
        }
        let watermark_of = |slot| self.senders.get(&slot).copied().unwrap_or(0);
        let is_full = resident.receipts.is_full_of_owed(&self.common.limits.receipts, now_ms, watermark_of);
        if is_full {
            self.common.metrics.receipts_full.inc();
        }
        is_full
    }

    fn command(&mut self, resident: &mut Resident, envelope: Envelope, now: Time) -> Judged {
        let Envelope { key, request, caller, want_state, body, reply, .. } = envelope;
        let Body::Command { command, keep, wait, .. } = body else { return Judged::Refused };
        let work = Work { request, caller, keep, wait, rearm: false, want_state, reply };
        self.work(resident, key, command, work, now)
    }

    fn wake(&mut self, resident: &mut Resident, envelope: Envelope, now: Time) -> Judged {
        const AGAIN_MS: u64 = 1_000;
        let key = envelope.key;
        let Some(spec) = self.common.kinds.by_number(key.kind) else { return Judged::Refused };
        // Whatever happens below, the entity is looked at again.
        self.alarms.set(&key, Some(now.plus_ms(AGAIN_MS).0));
        let due = resident.state.wake_at().is_some_and(|at| at <= now);
        let judged = match spec.wake() {
            Some(command) if due => {
                let work = Work::own(&key, resident.version, "wake", true);
                self.work(resident, key.clone(), command, work, now)
            }
            Some(_) | None => {
                self.move_wake_row(resident, &key, true, now);
                Judged::Fine
            }
        };
        if matches!(judged, Judged::Fine) && resident.state.wake_at().is_none_or(|at| at > now) {
            self.alarms.set(&key, resident.wake_row_ms);
        }
        judged
    }

    /// A record of a wake row that moves, if it does, and of nothing else. `rearm`: a wake came early.
    fn move_wake_row(&mut self, resident: &mut Resident, key: &EntityKey, rearm: bool, now: Time) {
        if let Some(wake) = resident.wake_change(rearm) {
            let record = Record { wake: Some(wake), ..self.blank_record(key.clone(), now.max(resident.at)) };
            self.record(resident, record, Vec::new());
        }
    }

    /// Sends everything again that the entity owes. What it owes *now* counts, not the row that was read
    /// from the index: it may have been answered since.
    fn resume(&mut self, resident: &mut Resident, key: &EntityKey) {
        let owes = resident.state.owed();
        let mut outstanding = self.shared.outstanding();
        let read = self.resuming.remove(key).into_iter().flatten();
        read.filter(|number| !resident.owes(*number)).for_each(|number| outstanding.was_not_owed(number));
        let Some(row) = &resident.owed else { return };
        let mut sends = Vec::new();
        for owed in owes {
            if let Some(item) = row.items.iter().find(|item| item.key == owed.key) {
                let debt = Debt::new(key, &item.key, Partner::from(&owed.to), Time(row.due_ms));
                outstanding.add(item.number, debt);
                sends.push(Effect::Dispatch(self.dispatch(key, item.number, owed.key, owed.to)));
            }
        }
        drop(outstanding);
        self.submit(Item::Barrier, sends);
    }

    /// A row of the owed index. Until the entity has resumed, and for ever if its stored data is damaged, what it owes
    /// holds the watermark back.
    pub fn about_to_resume(&mut self, key: &EntityKey, row: &OwedRow) {
        let numbers: Vec<u64> = row.items.iter().map(|item| item.number).collect();
        let mut outstanding = self.shared.outstanding();
        for item in &row.items {
            outstanding.add_unknown(item.number, Debt::new(key, &item.key, Partner::Unknown, Time(row.due_ms)));
        }
        self.resuming.insert(key.clone(), numbers);
    }

    /// The entity could not be loaded.
    pub fn not_resumed(&self, key: &EntityKey, error: &AskError) {
        let Some(numbers) = self.resuming.get(key) else { return };
        let mut outstanding = self.shared.outstanding();
        for number in numbers {
            outstanding.failed(*number, format!("it cannot be loaded: {error}").into());
        }
    }

    fn dispatch(&self, from: &EntityKey, number: u64, key: String, to: Target) -> Dispatch {
        Dispatch { from: from.clone(), slot: self.slot, generation: self.generation, number, key, to, attempt: 0 }
    }
}

/// The receipt with which this request is answered again: it is in memory, or the index has found it.
fn known_receipt(resident: &Resident, envelope: &Envelope, looked_up: &LookedUp, at_ms: i64) -> Option<Kept> {
    let in_memory = resident.receipts.get(&envelope.request.0, at_ms).cloned();
    in_memory.or_else(|| match looked_up {
        LookedUp::Found(kept) => Some(kept.clone()).filter(|kept| kept.is_valid(at_ms)),
        LookedUp::NotYet | LookedUp::Never => None,
    })
}

/// Whether only the index knows if the request, of which no receipt is in memory, was seen.
fn must_look_up(resident: &Resident, envelope: &Envelope, looked_up: &LookedUp, at_ms: i64) -> bool {
    matches!(looked_up, LookedUp::NotYet) && resident.receipts.may_be_elsewhere(&envelope.request.0, at_ms)
}
