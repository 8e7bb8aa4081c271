//! Answers to what an entity owes.
//!
//! A process that owes many requests at once gets their answers in bursts, as the commits of others release
//! them. Those that wait in one turn are judged together, in one record, where the entity knows how
//! ([`Entity::answered_together`](crate::actors::entity::Entity::answered_together)).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Judged, ROOM_AGAIN_MS, SlotState, Work};
use crate::actors::entity::Answer;
use crate::actors::runtime::envelope::{Body, Envelope};
use crate::actors::runtime::slot::dispatch::Dispatch;
use crate::actors::runtime::slot::output::Output;
use crate::actors::runtime::slot::resident::Resident;
use crate::actors::values::Time;
use crate::persistence::EntityKey;

/// What was answered and is owed all the same is sent again after this time, and each time after twice as long.
const RESEND_FIRST_MS: u64 = 1_000;
const RESEND_MAX_MS: u64 = 60_000;

/// One answer to the request `number`, which is owed under `key`.
struct Answered {
    number: u64,
    key: String,
    answer: Answer,
    attempt: u32,
}

impl SlotState {
    /// One answer.
    pub(super) fn answered(&mut self, resident: &mut Resident, envelope: Envelope, now: Time) -> Judged {
        let entity = envelope.key.clone();
        let Some(answered) = still_owed(resident, envelope) else { return Judged::Fine };
        self.judge_one(resident, &entity, answered, now)
    }

    /// Several answers to one entity.
    pub(in crate::actors::runtime::slot) fn answered_together(
        &mut self,
        resident: &mut Resident,
        entity: &EntityKey,
        envelopes: Vec<Envelope>,
        now: Time,
    ) -> Judged {
        if !self.common.budget.has_space() {
            envelopes.into_iter().for_each(|envelope| self.later(envelope, ROOM_AGAIN_MS));
            return Judged::Refused;
        }
        let mut answers: Vec<Answered> = Vec::with_capacity(envelopes.len());
        for answered in envelopes.into_iter().filter_map(|envelope| still_owed(resident, envelope)) {
            if answers.iter().all(|other| other.number != answered.number) {
                answers.push(answered);
            }
        }
        let read: Vec<(&str, &Answer)> = answers.iter().map(|one| (one.key.as_str(), &one.answer)).collect();
        let understood = match read.len() {
            0 | 1 => Ok(None),
            _ => catch_unwind(AssertUnwindSafe(|| resident.state.answered_together(&read))),
        };
        let judged = match understood {
            Ok(Some(command)) => {
                let work = Work::own(entity, resident.version, read[0].0, false);
                self.work(resident, entity.clone(), command, work, now)
            }
            Ok(None) => return self.one_by_one(resident, entity, answers, now),
            Err(_panic) => Judged::Panicked { spoilt: false },
        };
        self.ask_again(resident, entity, answers, judged)
    }

    fn one_by_one(&mut self, resident: &mut Resident, entity: &EntityKey, answers: Vec<Answered>, now: Time) -> Judged {
        let mut judged = Judged::Fine;
        let mut answers = answers.into_iter();
        while let Some(answered) = answers.next() {
            if resident.owes(answered.number) {
                judged = self.judge_one(resident, entity, answered, now);
            }
            if matches!(judged, Judged::Panicked { .. }) {
                return self.ask_again(resident, entity, answers.collect(), judged);
            }
        }
        judged
    }

    fn judge_one(&mut self, resident: &mut Resident, entity: &EntityKey, answered: Answered, now: Time) -> Judged {
        let understood = catch_unwind(AssertUnwindSafe(|| resident.state.answered(&answered.key, &answered.answer)));
        let judged = match understood {
            Ok(Some(command)) => {
                let work = Work::own(entity, resident.version, &answered.key, false);
                self.work(resident, entity.clone(), command, work, now)
            }
            Ok(None) => Judged::Fine,
            Err(_panic) => Judged::Panicked { spoilt: false },
        };
        self.ask_again(resident, entity, vec![answered], judged)
    }

    /// What was answered and is owed still is sent again after a while.
    fn ask_again(&mut self, resident: &Resident, entity: &EntityKey, answers: Vec<Answered>, judged: Judged) -> Judged {
        if matches!(judged, Judged::Panicked { spoilt: true }) {
            return judged; // once it is loaded again, everything it owes is sent again
        }
        let mut unsettled: Vec<Answered> = answers;
        unsettled.retain(|answered| resident.owes(answered.number));
        if !unsettled.is_empty() {
            let mut owes = resident.state.owed();
            for answered in unsettled {
                if let Some(at) = owes.iter().position(|owed| owed.key == answered.key) {
                    let owed = owes.swap_remove(at);
                    self.shared.failed(self.generation, answered.number, "answered, and owed all the same".into());
                    let dispatch = self.dispatch(entity, answered.number, owed.key, owed.to);
                    self.common.metrics.owed_resent.inc();
                    let after_ms = (RESEND_FIRST_MS << answered.attempt.min(16)).min(RESEND_MAX_MS);
                    let dispatch = Dispatch { attempt: answered.attempt.saturating_add(1), ..dispatch };
                    self.out.others.push(Output::Resend { dispatch, after_ms });
                }
            }
        }
        judged
    }
}

/// The answer, unless it comes to something that is not owed any more.
fn still_owed(resident: &Resident, envelope: Envelope) -> Option<Answered> {
    let Body::Answered { number, key, answer, attempt } = envelope.body else { return None };
    resident.owes(number).then_some(Answered { number, key, answer, attempt })
}
