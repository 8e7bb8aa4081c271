//! Where commands are judged: the slot's own state, apart from the entities that it hosts.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::alarms::Alarms;
use super::output::{Output, ROOM_AGAIN_MS};
use super::outstanding::{Debt, Partner};
use super::receipts::Kept;
use super::resident::{Resident, Watcher};
use super::{Memory, SlotLimits, SlotShared};
use crate::actors::entity::{Caller, Ctx, Target};
use crate::actors::kinds::Kinds;
use crate::actors::policy::Policy;
use crate::actors::runtime::envelope::{AskError, Body, Envelope, Keep, ReplyTo, Wait};
use crate::actors::runtime::erased::{Decided, Erased};
use crate::actors::runtime::writer::{Effect, Item, Room};
use crate::actors::values::{RequestId, Time};
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Epoch, Origin, OwedChange, OwedRow, Payload, Receipt, Record, Slot, WakeChange};

/// What every slot of a node has in common.
pub struct Common {
    pub kinds: &'static Kinds,
    pub policy: Arc<Policy>,
    pub limits: SlotLimits,
    pub memory: Arc<Memory>,
    pub room: Arc<Room>,
    pub metrics: Arc<Metrics>,
}

/// An owed request on its way.
#[derive(Clone)]
pub struct Dispatch {
    pub from: EntityKey,
    pub slot: Slot,
    pub generation: u64,
    pub number: u64,
    pub key: String,
    pub to: Target,
    /// How often it was answered without being settled.
    pub attempt: u32,
}

/// The slot's own state.
pub(super) struct SlotState {
    pub slot: Slot,
    pub epoch: Epoch,
    pub generation: u64,
    pub next_seq: u64,
    pub shared: Arc<SlotShared>,
    pub common: Arc<Common>,
    /// Per sending slot, the highest watermark that it has told.
    pub senders: HashMap<Slot, u64>,
    /// The ticket of the next look-up in the index of receipts.
    pub next_lookup: u64,
    /// Entities of an earlier life whose owed requests are about to be sent again, with their numbers.
    pub resuming: HashMap<EntityKey, Vec<u64>>,
    pub alarms: Alarms,
    pub out: Vec<Output>,
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

/// A command that has passed every check and is to be decided.
pub(super) struct Work {
    command: Erased,
    request: RequestId,
    caller: Caller,
    keep: Option<Keep>,
    wait: Wait,
    /// The wake row's time has come: it moves in any case.
    rearm: bool,
    want_state: bool,
    reply: ReplyTo,
}

/// What goes into a record, beside what the slot and the entity bring.
#[derive(Default)]
struct Entry {
    request: RequestId,
    at: Time,
    events: Vec<Payload>,
    receipt: Option<Receipt>,
    owed: Option<OwedChange>,
    wake: Option<WakeChange>,
}

impl SlotState {
    /// Judges a message that may change the entity.
    pub fn judge(&mut self, resident: &mut Resident, envelope: Envelope, now: Time, looked_up: LookedUp) -> Judged {
        let asks_nothing_new = match envelope.body {
            Body::Resume => !resident.wakes_too_late(),
            Body::Repeat { .. } => true,
            Body::Command { .. } | Body::Answered { .. } | Body::Wake | Body::Read { .. } | Body::Inspect => false,
        };
        if !self.common.room.has_space() && !asks_nothing_new {
            if envelope.body.is_internal() {
                self.out.push(Output::Later { envelope, after_ms: ROOM_AGAIN_MS });
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
            Body::Read { .. } | Body::Inspect => Judged::Refused,
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
        let work = Work { command, request, caller, keep, wait, rearm: false, want_state, reply };
        self.work(resident, key, work, now)
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
                let work = self.own_work(&key, resident.version, command, "wake", true);
                self.work(resident, key.clone(), work, now)
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
            let entry = Entry { at: now.max(resident.at), wake: Some(wake), ..Entry::default() };
            self.record(resident, key.clone(), entry, Vec::new());
        }
    }

    pub(super) fn own_work(&self, key: &EntityKey, version: u64, command: Erased, cause: &str, rearm: bool) -> Work {
        let parts: [&[u8]; 4] = [&[key.kind], key.id.as_bytes(), cause.as_bytes(), &version.to_be_bytes()];
        let request = RequestId::of("own", &parts);
        let (caller, wait, reply) = (Caller::System, Wait::Durable, ReplyTo::nobody());
        Work { command, request, caller, keep: None, wait, rearm, want_state: false, reply }
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

    pub(super) fn dispatch(&self, from: &EntityKey, number: u64, key: String, to: Target) -> Dispatch {
        Dispatch { from: from.clone(), slot: self.slot, generation: self.generation, number, key, to, attempt: 0 }
    }

    /// Decides, applies, and hands the record over.
    pub(super) fn work(&mut self, resident: &mut Resident, key: EntityKey, work: Work, now: Time) -> Judged {
        let Work { command, request, caller, keep, wait, rearm, want_state, reply } = work;
        let at = now.max(resident.at);
        let ctx = Ctx { now: at, request, caller, version: resident.version, policy: self.common.policy.clone() };
        let decided = match catch_unwind(AssertUnwindSafe(|| resident.state.decide(command, &ctx))) {
            Ok(Some(decided)) => decided,
            Ok(None) => {
                self.answer(reply, Err(AskError::UnknownKind));
                return Judged::Refused;
            }
            Err(_panic) => return self.panicked(reply, false),
        };
        if !decided.payloads.is_empty() {
            self.shared.views.hide(&key, resident);
        }
        match catch_unwind(AssertUnwindSafe(|| self.apply(resident, &key, &decided, at, rearm, keep.is_some()))) {
            Ok(applied) => {
                let conclusion = Conclusion { request, keep, wait, want_state, reply };
                self.conclude(resident, key, conclusion, decided, applied, at);
                Judged::Fine
            }
            Err(_panic) => self.panicked(reply, true),
        }
    }

    fn panicked(&mut self, reply: ReplyTo, spoilt: bool) -> Judged {
        self.answer(reply, Err(AskError::Panicked));
        Judged::Panicked { spoilt }
    }

    /// Applies the events to the state, and finds what else follows from them.
    fn apply(
        &self,
        resident: &mut Resident,
        key: &EntityKey,
        decided: &Decided,
        at: Time,
        rearm: bool,
        keep: bool,
    ) -> Applied {
        resident.state.evolve(&*decided.events, at);
        let mut applied = Applied {
            settled: resident.state.settled(),
            outcome: keep.then(|| (decided.encode_outcome)(&decided.outcome)),
            ..Applied::default()
        };
        if !decided.payloads.is_empty() {
            if let Some(diff) = resident.owed_change(self.next_seq, at) {
                applied.owed = Some(diff.change);
                applied.gone = diff.gone;
                applied.newly =
                    diff.newly.into_iter().map(|(n, owed)| self.dispatch(key, n, owed.key, owed.to)).collect();
            }
            for violation in resident.state.violations() {
                self.common.metrics.violations.with_label_values(&[violation]).inc();
                tracing::error!(kind = key.kind, id = %key.id, violation, "an invariant is broken");
                debug_assert!(false, "{violation}");
            }
        }
        if !decided.payloads.is_empty() || rearm {
            applied.wake = resident.wake_change(rearm);
        }
        applied
    }

    /// Makes the record, if there is anything to record, and answers once it is durable. Runs no code of
    /// the entity before the record is handed over: a panic could leave half of it behind.
    fn conclude(
        &mut self,
        resident: &mut Resident,
        key: EntityKey,
        conclusion: Conclusion,
        decided: Decided,
        mut applied: Applied,
        at: Time,
    ) {
        let Conclusion { request, keep, wait, want_state, reply } = conclusion;
        let Decided { payloads, outcome, accepted, momentary, .. } = decided;
        let refused_by_nobody = resident.version == 0 && !accepted;
        let receipt = match (keep, applied.outcome.take()) {
            // A refusal by an entity that does not exist leaves nothing behind: anyone can ask for those.
            (Some(Keep::Client { .. }), _) if refused_by_nobody || momentary => None,
            (Some(keep), Some(outcome)) => Some(receipt(keep, request, outcome, at)),
            (Some(_), None) | (None, _) => None,
        };
        let watcher = Watcher { reply, outcome: Some(outcome), replayed: false, want_state };
        let wait = if accepted { wait } else { Wait::Durable };
        if payloads.is_empty() && receipt.is_none() && applied.wake.is_none() {
            return self.answer_as(resident, watcher, wait == Wait::Durable || applied.settled);
        }
        if applied.owed.is_some() {
            let mut outstanding = self.shared.outstanding();
            applied.gone.iter().for_each(|number| outstanding.answered_by(self.next_seq, *number));
            for Dispatch { number, key: step, to, .. } in &applied.newly {
                outstanding.add(*number, Debt::new(&key, step, Partner::from(to), at));
            }
        }
        let mut effects: Vec<Effect> = applied.newly.drain(..).map(Effect::Dispatch).collect();
        let version = resident.version + u64::from(!payloads.is_empty());
        (resident.version, resident.at) = (version, at);
        resident.watchers.retain(|watcher| !watcher.reply.is_closed());
        resident.watchers.push(watcher);
        if applied.settled {
            release(resident, 0, &mut effects);
        } else if wait == Wait::Durable {
            release(resident, resident.watchers.len() - 1, &mut effects);
        }
        let Applied { owed, wake, .. } = applied;
        self.record(resident, key, Entry { request, at, events: payloads, receipt, owed, wake }, effects);
    }

    fn record(&mut self, resident: &mut Resident, key: EntityKey, entry: Entry, effects: Vec<Effect>) {
        let Entry { request, at, events, receipt, owed, wake } = entry;
        let seq = self.next_seq;
        self.next_seq += 1;
        (resident.seq, resident.at) = (seq, at);
        resident.bytes_since_snapshot += events.iter().map(|event| event.bytes.len()).sum::<usize>();
        if let Some(receipt) = &receipt {
            resident.receipts.insert(request.0, resident.version, receipt.clone());
            let limits = &self.common.limits.receipts;
            if resident.receipts.wants_sweep(limits) {
                let senders = &self.senders;
                resident.receipts.sweep(limits, at.0, |slot| senders.get(&slot).copied().unwrap_or(0));
            }
        }
        if let Some(wake) = &wake {
            self.alarms.set(&key, wake.after_ms);
        }
        let record = Record {
            slot: self.slot,
            seq,
            epoch: self.epoch,
            key: key.clone(),
            version: resident.version,
            at_ms: at.0,
            request: request.0,
            receipt,
            events,
            owed,
            wake,
        };
        self.submit(Item::Record(Arc::new(record)), effects);
        self.after_record(resident, &key, at);
    }

    /// Now that the record is handed over, the entity's own code may run again.
    fn after_record(&mut self, resident: &mut Resident, key: &EntityKey, at: Time) {
        const MEASURED_EACH_UP_TO: u64 = 8;
        if resident.version <= MEASURED_EACH_UP_TO || resident.seq.is_multiple_of(16) {
            resident.measure(key);
        }
        if resident.wants_snapshot(self.common.limits.snapshot_events, at) {
            self.snapshot(resident, key, at);
        }
    }

    /// Hands a snapshot over, unless it is larger than a store takes. Without it the entity is only loaded more slowly
    /// the next time.
    pub fn snapshot(&mut self, resident: &mut Resident, key: &EntityKey, at: Time) {
        let snapshot = resident.snapshot(self.slot, key, at);
        match snapshot.check() {
            Ok(()) => self.submit(Item::Snapshot(Arc::new(snapshot)), Vec::new()),
            Err(why) => {
                // Tried again once as much has come since.
                resident.snapshot_bytes = snapshot.encoded_len();
                self.common.metrics.snapshots_too_large.inc();
                let receipts = snapshot.receipts.len();
                tracing::warn!(kind = key.kind, id = %key.id, why, receipts, "no snapshot is kept of an entity");
            }
        }
    }
}

/// The receipt with which this request is answered again: it is in memory, or the index has found it.
pub(super) fn known_receipt(
    resident: &Resident,
    envelope: &Envelope,
    looked_up: &LookedUp,
    at_ms: i64,
) -> Option<Kept> {
    let in_memory = resident.receipts.get(&envelope.request.0, at_ms).cloned();
    in_memory.or_else(|| match looked_up {
        LookedUp::Found(kept) => Some(kept.clone()).filter(|kept| kept.is_valid(at_ms)),
        LookedUp::NotYet | LookedUp::Never => None,
    })
}

/// Whether only the index knows if the request, of which no receipt is in memory, was seen.
pub(super) fn must_look_up(resident: &Resident, envelope: &Envelope, looked_up: &LookedUp, at_ms: i64) -> bool {
    matches!(looked_up, LookedUp::NotYet) && resident.receipts.may_be_elsewhere(&envelope.request.0, at_ms)
}

/// Lets the watchers from `first` on be answered with the record that is being made.
fn release(resident: &mut Resident, first: usize, effects: &mut Vec<Effect>) {
    for watcher in resident.watchers.split_off(first) {
        let reply = resident.reply(watcher.outcome, watcher.want_state, watcher.replayed);
        effects.push(Effect::Reply(watcher.reply, Ok(reply)));
    }
}

/// What applying the events brought.
#[derive(Default)]
struct Applied {
    settled: bool,
    /// The outcome as a receipt keeps it, if one is wanted.
    outcome: Option<Payload>,
    owed: Option<OwedChange>,
    wake: Option<WakeChange>,
    /// Numbers that are no longer owed.
    gone: Vec<u64>,
    /// What is newly owed.
    newly: Vec<Dispatch>,
}

/// How a decided command is answered.
struct Conclusion {
    request: RequestId,
    keep: Option<Keep>,
    wait: Wait,
    want_state: bool,
    reply: ReplyTo,
}

fn receipt(keep: Keep, request: RequestId, outcome: Payload, at: Time) -> Receipt {
    let (origin, fingerprint) = match keep {
        Keep::Client { fingerprint, keep_ms } => (Origin::Client { expires_ms: at.plus_ms(keep_ms).0 }, fingerprint),
        Keep::Owed { slot, number, watermark } => (Origin::Owed { slot, number, watermark }, request.0),
    };
    Receipt { origin, fingerprint, outcome }
}
