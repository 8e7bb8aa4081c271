//! How a command becomes a record: the entity decides, its events are applied, and what follows is handed over at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Judged, SlotState};
use crate::actors::entity::{Caller, Ctx};
use crate::actors::runtime::envelope::{AskError, Keep, ReplyTo, Wait};
use crate::actors::runtime::erased::{Decided, Erased};
use crate::actors::runtime::slot::dispatch::Dispatch;
use crate::actors::runtime::slot::outstanding::{Debt, Partner};
use crate::actors::runtime::slot::resident::{Resident, Watcher};
use crate::actors::runtime::writer::{Effect, Item};
use crate::actors::values::{RequestId, Time};
use crate::persistence::{EntityKey, Origin, OwedChange, Payload, Receipt, Record, WakeChange};

/// Who asked for what is decided, and how it is answered.
pub(super) struct Work {
    pub request: RequestId,
    pub caller: Caller,
    pub keep: Option<Keep>,
    pub wait: Wait,
    /// The wake row's time has come: it moves in any case.
    pub rearm: bool,
    pub want_state: bool,
    pub reply: ReplyTo,
}

impl Work {
    /// What the runtime itself asks for, at this version of the entity.
    pub fn own(key: &EntityKey, version: u64, cause: &str, rearm: bool) -> Work {
        let parts: [&[u8]; 4] = [&[key.kind], key.id.as_bytes(), cause.as_bytes(), &version.to_be_bytes()];
        let request = RequestId::of("own", &parts);
        let (caller, wait, reply) = (Caller::System, Wait::Durable, ReplyTo::nobody());
        Work { request, caller, keep: None, wait, rearm, want_state: false, reply }
    }
}

impl SlotState {
    /// Decides, applies, and hands the record over.
    pub(super) fn work(
        &mut self,
        resident: &mut Resident,
        key: EntityKey,
        command: Erased,
        work: Work,
        now: Time,
    ) -> Judged {
        let at = now.max(resident.at);
        let Work { request, caller, keep, rearm, .. } = work;
        let ctx = Ctx { now: at, request, caller, version: resident.version, policy: self.common.policy.clone() };
        let decided = match catch_unwind(AssertUnwindSafe(|| resident.state.decide(command, &ctx))) {
            Ok(Some(decided)) => decided,
            Ok(None) => {
                self.answer(work.reply, Err(AskError::UnknownKind));
                return Judged::Refused;
            }
            Err(_panic) => return self.panicked(work.reply, false),
        };
        if !decided.payloads.is_empty() {
            self.shared.views.hide(&key, resident);
        }
        match catch_unwind(AssertUnwindSafe(|| self.apply(resident, &key, &decided, at, rearm, keep.is_some()))) {
            Ok(applied) => {
                self.conclude(resident, key, work, decided, applied, at);
                Judged::Fine
            }
            Err(_panic) => self.panicked(work.reply, true),
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
        work: Work,
        decided: Decided,
        mut applied: Applied,
        at: Time,
    ) {
        let Work { request, keep, wait, want_state, reply, .. } = work;
        let Decided { payloads, outcome, accepted, momentary, .. } = decided;
        let refused_by_nobody = resident.version == 0 && !accepted;
        let receipt = match (keep, applied.outcome.take()) {
            // A refusal by an entity that does not exist leaves nothing behind: anyone can ask for those.
            (Some(Keep::Client { .. }), _) if refused_by_nobody || momentary => None,
            (Some(keep), Some(outcome)) => Some(receipt(keep, request, outcome, at)),
            (Some(_), None) | (None, _) => None,
        };
        let is_recorded = !payloads.is_empty() || receipt.is_some() || applied.wake.is_some();
        let version = resident.version + u64::from(!payloads.is_empty());
        let seq = if is_recorded { self.next_seq } else { resident.seq };
        let watcher = Watcher { reply, outcome: Some(outcome), version, seq, replayed: false, want_state };
        let wait = if accepted { wait } else { Wait::Durable };
        if !is_recorded {
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
        (resident.version, resident.seq, resident.at) = (version, seq, at);
        resident.watchers.retain(|watcher| !watcher.reply.is_closed());
        resident.watchers.push(watcher);
        if applied.settled {
            release(resident, 0, &mut effects);
        } else if wait == Wait::Durable {
            release(resident, resident.watchers.len() - 1, &mut effects);
        }
        let Applied { owed, wake, .. } = applied;
        let record = Record { request: request.0, events: payloads, receipt, owed, wake, ..self.blank_record(key, at) };
        self.record(resident, record, effects);
    }

    /// The slot's next record, of this entity, with nothing in it.
    pub(super) fn blank_record(&self, key: EntityKey, at: Time) -> Record {
        Record {
            slot: self.slot,
            seq: self.next_seq,
            epoch: self.epoch,
            key,
            version: 0,
            at_ms: at.0,
            request: RequestId::default().0,
            receipt: None,
            events: Vec::new(),
            owed: None,
            wake: None,
        }
    }

    /// Hands a record over, which brings the entity to its version.
    pub(super) fn record(&mut self, resident: &mut Resident, mut record: Record, effects: Vec<Effect>) {
        let at = Time(record.at_ms);
        self.next_seq += 1;
        record.version = resident.version;
        (resident.seq, resident.at) = (record.seq, at);
        resident.bytes_since_snapshot += record.events.iter().map(|event| event.bytes.len()).sum::<usize>();
        if let Some(receipt) = &record.receipt {
            resident.receipts.insert(record.request, resident.version, receipt.clone());
            let limits = &self.common.limits.receipts;
            if resident.receipts.wants_sweep(limits) {
                let senders = &self.senders;
                resident.receipts.sweep(limits, at.0, |slot| senders.get(&slot).copied().unwrap_or(0));
            }
        }
        if let Some(wake) = &record.wake {
            self.alarms.set(&record.key, wake.after_ms);
        }
        let key = record.key.clone();
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
    pub(in crate::actors::runtime::slot) fn snapshot(&mut self, resident: &mut Resident, key: &EntityKey, at: Time) {
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

fn receipt(keep: Keep, request: RequestId, outcome: Payload, at: Time) -> Receipt {
    let (origin, fingerprint) = match keep {
        Keep::Client { fingerprint, keep_ms } => (Origin::Client { expires_ms: at.plus_ms(keep_ms).0 }, fingerprint),
        Keep::Owed { slot, number, watermark } => (Origin::Owed { slot, number, watermark }, request.0),
    };
    Receipt { origin, fingerprint, outcome }
}
