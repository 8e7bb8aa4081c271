//! What a slot does, without I/O: every function takes an input and the time, and leaves outputs.

mod operating;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hashlink::{DefaultHashBuilder, LinkedHashMap};

use super::SlotShared;
use super::memory::Holding;
use super::message::OwedPage;
use super::output::Outputs;
use super::outstanding::Outstanding;
use super::question::{Lookup, Question};
use super::receipts::Kept;
use super::resident::{Resident, Watcher};
use super::state::{Common, Judged, LookedUp, SlotState};
use crate::actors::runtime::envelope::{AskError, Body, Envelope, Reply, Residence};
use crate::actors::values::Time;
use crate::persistence::{EntityKey, Epoch, Record, SlotHead, WakeRow};

/// One that found no store, or an entity in quarantine, after this.
const STORE_AGAIN_MS: u64 = 1_000;
/// Pages of the owed and wake indexes are read on only while fewer entities are being loaded.
const PACED_LOADING_MAX: usize = 64;
/// Entities that may not leave memory are looked at no more often than this in one sweep.
const PINNED_LOOKED_AT_MAX: usize = 64;

/// Panics of one entity in a row, and until when it is left alone.
#[derive(Default)]
struct Fault {
    panics: u32,
    quarantined_until: Option<Time>,
}

pub struct SlotCore {
    residents: LinkedHashMap<EntityKey, Resident>,
    loading: HashMap<EntityKey, VecDeque<Envelope>, DefaultHashBuilder>,
    faults: HashMap<EntityKey, Fault, DefaultHashBuilder>,
    /// Answers to what entities in memory owed, as they came in this turn: those of one entity are judged together.
    answers: LinkedHashMap<EntityKey, Vec<Envelope>>,
    holding: Holding,
    /// Where the owed index is to be read on; `None`: it is being read, or has been.
    owed_next: Option<Option<(i64, EntityKey)>>,
    state: SlotState,
}

impl SlotCore {
    /// A slot that begins a generation on top of what is durable.
    pub fn new(shared: Arc<SlotShared>, common: Arc<Common>, generation: u64, head: &SlotHead) -> SlotCore {
        *shared.outstanding() = Outstanding::default();
        shared.views.clear();
        shared.set_durable_seq(head.seq);
        let mut core = SlotCore {
            residents: LinkedHashMap::new(),
            loading: HashMap::default(),
            faults: HashMap::default(),
            answers: LinkedHashMap::new(),
            holding: Holding::new(common.memory.clone()),
            owed_next: Some(None),
            state: SlotState::new(shared, common, generation, head),
        };
        core.read_on();
        core
    }

    /// Takes the outputs that have gathered: the end of a turn.
    pub fn outputs(&mut self, now: Time) -> Outputs {
        while let Some((key, answers)) = self.answers.pop_front() {
            self.judge_answers(key, answers, now);
        }
        self.state.take_outputs()
    }
    pub fn resident_count(&self) -> usize {
        self.residents.len()
    }
    pub fn resident_bytes(&self) -> usize {
        self.holding.true_bytes()
    }
    /// The number of the last record that was decided.
    pub fn decided_seq(&self) -> u64 {
        self.state.decided_seq()
    }
    /// Whether [`SlotCore::passivate`] is to make room.
    pub fn is_over_budget(&self) -> bool {
        self.holding.is_over()
    }
    pub fn outstanding_count(&self) -> usize {
        self.state.shared().outstanding().len()
    }

    /// How many requests have been owed for too long.
    pub fn overdue_count(&self, now: Time) -> usize {
        let overdue_ms = i64::try_from(self.state.common().limits.owed_overdue_ms).unwrap_or(i64::MAX);
        let before = Time(now.0.saturating_sub(overdue_ms));
        self.state.shared().outstanding().owed_since_before(before).count()
    }

    /// What is decided from now on is written at this epoch.
    pub fn raise_epoch(&mut self, epoch: Epoch) {
        self.state.raise_epoch(epoch);
    }

    /// A message for one of the slot's entities. Answers wait for more of them, until the entity gets another
    /// message or the turn ends.
    pub fn message(&mut self, envelope: Envelope, now: Time) {
        if matches!(envelope.body, Body::Answered { .. }) && self.residents.contains_key(&envelope.key) {
            self.answers.entry(envelope.key.clone()).or_insert_with(Vec::new).push(envelope);
            return;
        }
        if let Some(answers) = self.answers.remove(&envelope.key) {
            self.judge_answers(envelope.key.clone(), answers, now);
        }
        self.admit(envelope, now);
    }

    fn judge_answers(&mut self, key: EntityKey, mut answers: Vec<Envelope>, now: Time) {
        // The entity may have left memory since, or be left alone: then each goes its own way.
        let apart = answers.len() == 1
            || !self.residents.contains_key(&key)
            || answers.iter().any(|envelope| self.quarantined(envelope, now).is_some());
        if apart {
            answers.drain(..).for_each(|envelope| self.admit(envelope, now));
            return;
        }
        self.judging(&key, now, |state, resident| state.answered_together(resident, &key, answers, now));
    }

    fn admit(&mut self, envelope: Envelope, now: Time) {
        if let Body::Operate(operation) = envelope.body {
            return self.operate(operation, envelope, now);
        }
        let internal = envelope.body.is_internal();
        if let Some(until) = self.quarantined(&envelope, now) {
            return if internal {
                self.state.later(envelope, until.since_ms(now).max(STORE_AGAIN_MS))
            } else {
                self.state.answer(envelope.reply, Err(AskError::Quarantined))
            };
        }
        if let Some(waiting) = self.loading.get_mut(&envelope.key) {
            if waiting.len() >= self.state.common().limits.loading_messages_max && !internal {
                return self.state.busy(envelope.reply);
            }
            waiting.push_back(envelope);
            return;
        }
        if self.residents.contains_key(&envelope.key) {
            return self.handle(envelope, now, true);
        }
        if self.loading.len() >= self.state.common().limits.loading_entities_max && !internal {
            return self.state.busy(envelope.reply);
        }
        let key = envelope.key.clone();
        self.start_loading(key, VecDeque::from([envelope]), false);
    }

    fn start_loading(&mut self, key: EntityKey, waiting: VecDeque<Envelope>, settle: bool) {
        self.loading.insert(key.clone(), waiting);
        self.state.ask(Question::Load { key, settle });
    }

    /// Until when the entity is left alone, if this message would run its code.
    fn quarantined(&self, envelope: &Envelope, now: Time) -> Option<Time> {
        let runs = matches!(envelope.body, Body::Command { .. }) || envelope.body.is_internal();
        if runs && self.state.shared().withholds(&envelope.key) {
            return Some(now.plus_ms(STORE_AGAIN_MS));
        }
        let until = self.faults.get(&envelope.key)?.quarantined_until?;
        (runs && now < until).then_some(until)
    }

    /// An entity has been loaded, or could not be.
    pub fn loaded(&mut self, key: EntityKey, result: Result<Resident, AskError>, now: Time) {
        let waiting = self.loading.remove(&key).unwrap_or_default();
        match result {
            Ok(mut resident) => {
                resident.last_used = now;
                self.holding.resize(0, resident.size_bytes);
                self.residents.insert(key, resident);
                for envelope in waiting {
                    self.message_after_load(envelope, now);
                }
            }
            Err(error) => self.not_loaded(&key, waiting, error, now),
        }
        self.read_on();
    }

    /// Those who wait are told; messages of the runtime come again, unless they would be in vain.
    fn not_loaded(&mut self, key: &EntityKey, waiting: VecDeque<Envelope>, error: AskError, now: Time) {
        if error == AskError::Panicked {
            self.panicked(key.clone(), false, now);
        }
        self.state.not_resumed(key, &error);
        for envelope in waiting {
            if !envelope.body.is_internal() {
                self.state.answer(envelope.reply, Err(error.clone()));
            } else if error != AskError::Damaged {
                self.state.later(envelope, STORE_AGAIN_MS);
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
    pub fn receipt_found(&mut self, lookup: Lookup, found: Result<Option<Record>, AskError>, now: Time) {
        let Lookup { ticket, envelope } = lookup;
        let resident = self.residents.get_mut(&envelope.key);
        // Loaded anew since: what was found, or not found, says nothing about what it keeps.
        if !resident.is_some_and(|resident| resident.receipts.end_lookup(ticket)) {
            return self.message(envelope, now);
        }
        match found {
            Err(error) => self.state.answer(envelope.reply, Err(error)),
            Ok(Some(Record { version, receipt: Some(receipt), .. })) => {
                self.judge(envelope, now, LookedUp::Found(Kept { version, receipt }));
            }
            Ok(Some(_) | None) => self.judge(envelope, now, LookedUp::Never),
        }
    }

    /// A message for an entity that is in memory.
    fn handle(&mut self, envelope: Envelope, now: Time, was_resident: bool) {
        match envelope.body {
            Body::Read { .. } | Body::Inspect => self.show(envelope, now, was_resident),
            Body::Command { .. } | Body::Answered { .. } | Body::Wake | Body::Resume | Body::Repeat { .. } => {
                self.judge(envelope, now, LookedUp::NotYet)
            }
            Body::Operate(operation) => self.operate(operation, envelope, now),
        }
    }

    /// Shows the entity; changes nothing.
    fn show(&mut self, envelope: Envelope, now: Time, was_resident: bool) {
        let panics = self.faults.get(&envelope.key).map_or(0, |fault| fault.panics);
        let Some(resident) = self.residents.to_back(&envelope.key) else { return };
        resident.last_used = now;
        let (key, state) = (envelope.key.clone(), &mut self.state);
        let shown = catch_unwind(AssertUnwindSafe(|| match envelope.body {
            Body::Read { wait } => {
                let Envelope { reply, want_state, .. } = envelope;
                if resident.seq <= state.shared().durable_seq() && !state.shared().views.shows(&key, resident) {
                    state.shared().views.show(&key, resident);
                }
                let (version, seq) = (resident.version, resident.seq);
                let watcher = Watcher { reply, outcome: None, version, seq, replayed: false, want_state };
                state.answer_when(resident, watcher, wait);
            }
            _ => {
                let known = |number| state.shared().outstanding().get(number).cloned();
                let owed = resident.owed_steps(state.common().kinds, &key, known);
                let residence = Residence { owed, ..resident.residence(state.epoch(), was_resident, panics) };
                let reply = resident.reply(None, envelope.want_state, false);
                let reply = Reply { residence: Some(Box::new(residence)), ..reply };
                state.answer_durably(resident.seq, envelope.reply, Ok(reply));
            }
        }));
        if shown.is_err() {
            self.panicked(key, false, now);
        }
    }

    /// Lets the entity judge a message.
    fn judge(&mut self, envelope: Envelope, now: Time, looked_up: LookedUp) {
        let key = envelope.key.clone();
        self.judging(&key, now, |state, resident| state.judge(resident, envelope, now, looked_up));
    }

    /// Lets the entity judge, if it is in memory, and deals with a panic of its code.
    fn judging(&mut self, key: &EntityKey, now: Time, judge: impl FnOnce(&mut SlotState, &mut Resident) -> Judged) {
        let Some(resident) = self.residents.to_back(key) else { return };
        resident.last_used = now;
        let size_before = resident.size_bytes;
        let state = &mut self.state;
        let judged = catch_unwind(AssertUnwindSafe(|| judge(state, resident)));
        self.holding.resize(size_before, resident.size_bytes);
        match judged.unwrap_or(Judged::Panicked { spoilt: true }) {
            Judged::Fine if self.faults.is_empty() => {}
            Judged::Fine => drop(self.faults.remove(key)),
            Judged::Refused => {}
            Judged::Panicked { spoilt } => self.panicked(key.clone(), spoilt, now),
        }
    }

    /// Entity code has panicked. What it may have spoilt is loaded again, and whatever the entity owes is
    /// sent again: the state that is thrown away may have hidden it.
    fn panicked(&mut self, key: EntityKey, spoilt: bool, now: Time) {
        let common = self.state.common().clone();
        common.metrics.panics.inc();
        let fault = self.faults.entry(key.clone()).or_default();
        fault.panics += 1;
        if fault.panics >= common.limits.panics_max {
            fault.quarantined_until = Some(now.plus_ms(common.limits.quarantine_ms));
            common.metrics.quarantined.inc();
            tracing::error!(kind = key.kind, id = %key.id, panics = fault.panics, "entity quarantined");
        }
        if spoilt && let Some(mut resident) = self.residents.remove(&key) {
            self.state.shared().views.hide(&key, &mut resident);
            self.holding.resize(resident.size_bytes, 0);
            for watcher in std::mem::take(&mut resident.watchers) {
                self.state.give_up(&resident, watcher);
            }
            let resume = self.state.internal(key.clone(), Body::Resume);
            self.start_loading(key, VecDeque::from([resume]), true);
        }
    }

    /// A page of the owed index: entities that owe something from an earlier life. Each is brought into
    /// memory and everything it owes is sent.
    pub fn owed_page(&mut self, page: OwedPage, now: Time) {
        let OwedPage { rows, is_last } = page;
        let next = rows.last().map(|(key, row)| (row.due_ms, key.clone()));
        for (key, row) in rows {
            self.state.about_to_resume(&key, &row);
            self.message(self.state.internal(key, Body::Resume), now);
        }
        if is_last {
            self.state.shared().outstanding().all_read();
        } else {
            self.owed_next = Some(next);
        }
        self.read_on();
    }

    /// A page of the wake index.
    pub fn wake_page(&mut self, rows: Vec<WakeRow>, now: Time) {
        self.state.wakes_read(rows);
        self.tick(now);
    }

    /// Wakes the entities whose time has come.
    pub fn tick(&mut self, now: Time) {
        for key in self.state.take_due(now) {
            self.message(self.state.internal(key, Body::Wake), now);
        }
        self.read_on();
    }

    /// Reads the indexes on, unless enough is being loaded already.
    fn read_on(&mut self) {
        if self.loading.len() >= PACED_LOADING_MAX {
            return;
        }
        if let Some(after) = self.owed_next.take() {
            self.state.ask(Question::ReadOwed { after });
        }
        self.state.read_wakes_on();
    }

    /// When [`SlotCore::tick`] wants to be called.
    pub fn next_tick(&self) -> Option<Time> {
        self.state.next_due()
    }

    /// Lets idle entities leave memory, and the least recently used ones beyond the node's byte budget.
    pub fn passivate(&mut self, now: Time) {
        let idle_ms = self.state.common().limits.idle_ms;
        let durable_seq = self.state.shared().durable_seq();
        let mut pinned = 0;
        while let Some((key, resident)) = self.residents.front() {
            // The one that was used last stays, however large: else it would be loaded for every message.
            let over_budget = self.residents.len() > 1 && self.is_over_budget();
            let idle = now.since_ms(resident.last_used) >= idle_ms;
            if !(over_budget || idle) || pinned > PINNED_LOOKED_AT_MAX.min(self.residents.len()) {
                break;
            }
            let key = key.clone();
            if self.state.shared().views.was_used(&key, resident) {
                if let Some(resident) = self.residents.to_back(&key) {
                    resident.last_used = now;
                }
            } else if resident.may_leave(durable_seq) {
                let wants_snapshot = resident.wants_snapshot_on_leaving();
                self.leave(&key, now, wants_snapshot);
            } else {
                pinned += 1;
                self.residents.to_back(&key);
            }
        }
        const FORGOTTEN_AFTER_MS: u64 = 600_000;
        self.faults.retain(|_, fault| fault.quarantined_until.is_none_or(|at| now.since_ms(at) < FORGOTTEN_AFTER_MS));
    }

    fn leave(&mut self, key: &EntityKey, now: Time, wants_snapshot: bool) {
        let Some(mut resident) = self.residents.remove(key) else { return };
        self.state.shared().views.hide(key, &mut resident);
        self.holding.resize(resident.size_bytes, 0);
        if wants_snapshot {
            let state = &mut self.state;
            // A panic leaves it without its snapshot: it is only loaded more slowly the next time.
            let _ = catch_unwind(AssertUnwindSafe(|| state.snapshot(&mut resident, key, now)));
        }
    }

    /// Ends the generation: everything in memory is thrown away, and those who wait are told. Messages
    /// of callers that waited for an entity to load are returned, to be handled in the next generation;
    /// the runtime's own come again from the indexes.
    pub fn end(&mut self) -> (Vec<Envelope>, Outputs) {
        self.state.shared().views.clear();
        for (_, mut resident) in self.residents.drain() {
            self.holding.resize(resident.size_bytes, 0);
            for watcher in std::mem::take(&mut resident.watchers) {
                self.state.give_up(&resident, watcher);
            }
        }
        let mut waiting: Vec<Envelope> = self.loading.drain().flat_map(|(_, waiting)| waiting).collect();
        waiting.retain(|envelope| !envelope.body.is_internal());
        waiting.sort_by(|a, b| a.key.cmp(&b.key)); // in no order otherwise; those of one entity stay in theirs
        (waiting, self.state.take_outputs())
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
