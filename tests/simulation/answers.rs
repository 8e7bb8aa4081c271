//! What the node has told anybody, and whether it could stand by it.

use std::collections::HashMap;

use souk::actors::entity::{Kind, Outcome};
use souk::actors::kinds::Kinds;
use souk::actors::runtime::envelope::{Keep, Reply};
use souk::actors::runtime::erased::Erased;
use souk::actors::sku::types::{Rejection, StockUnit};
use souk::actors::values::RequestId;
use souk::persistence::{EntityKey, RequestBytes};

use crate::Broken;
use crate::history::{History, Past, ops_of};

/// A question that somebody waits to have answered.
#[derive(Clone)]
pub struct Question {
    pub key: EntityKey,
    pub request: RequestId,
    pub keep: Option<Keep>,
    /// A question after the stored outcome of an earlier one.
    pub is_repeat: bool,
    /// The highest version that anybody had been told when it was asked.
    pub floor: u64,
    /// Whether somebody had been given the outcome of this request when it was asked.
    pub was_told: bool,
    /// Asked at rest: the answer must be the last durable version.
    pub exact: bool,
}

#[derive(Default)]
pub struct Answers {
    first: HashMap<(EntityKey, RequestBytes), Erased>,
    floors: HashMap<EntityKey, u64>,
    pub count: u64,
}

fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { invariant, detail: detail() }) }
}

impl Answers {
    pub fn floor(&self, key: &EntityKey) -> u64 {
        self.floors.get(key).copied().unwrap_or(0)
    }

    /// Whether the outcome of a request was given to anybody.
    pub fn was_told(&self, key: &EntityKey, request: RequestId) -> bool {
        self.first.contains_key(&(key.clone(), request.0))
    }

    /// Judges an answer at the moment at which it leaves.
    pub fn judge(
        &mut self,
        question: &Question,
        reply: &Reply,
        history: &History,
        kinds: &Kinds,
    ) -> Result<(), Broken> {
        self.count += 1;
        let key = &question.key;
        let durable = history.version(key);
        let what = || format!("{}/{} version {}, durable {durable}", key.kind, key.id, reply.version);
        ensure(reply.version <= durable, "no answer leaves before what it is based on is durable", what)?;
        if let (Some(state), Some(past)) = (&reply.state, history.past(key)) {
            let told = (ops_of(key.kind).state_bytes)(state);
            let stored = past.stored(reply.version).map(|payload| payload.bytes.clone());
            ensure(told == stored, "an answer shows the durable state at its version", || {
                format!("{}: {:?}", what(), past.json())
            })?;
        }
        let is_fresh = !reply.replayed;
        ensure(!is_fresh || reply.version >= question.floor, "an answer is no older than one given before", || {
            format!("{}, told before {}", what(), question.floor)
        })?;
        ensure(!question.exact || !is_fresh || reply.version == durable, "at rest the last version is served", what)?;
        let floor = self.floors.entry(key.clone()).or_default();
        *floor = reply.version.max(*floor);
        match &reply.outcome {
            Some(outcome) => self.judge_outcome(question, outcome, reply, history, kinds),
            None if question.is_repeat => {
                // One that was given since does not count: the question may have been judged before it.
                ensure(!question.was_told, "an answer that was given is never forgotten", what)
            }
            None => Ok(()),
        }
    }

    fn judge_outcome(
        &mut self,
        question: &Question,
        outcome: &Erased,
        reply: &Reply,
        history: &History,
        kinds: &Kinds,
    ) -> Result<(), Broken> {
        let key = &question.key;
        let ops = ops_of(key.kind);
        let past = history.past(key);
        judge_refusal(key, outcome, reply, past)?;
        if question.keep.is_none() && !question.is_repeat {
            return Ok(());
        }
        let shown = || format!("{}/{} {:?}: {}", key.kind, key.id, question.request, (ops.show_outcome)(outcome));
        let forgettable = reply.version == 0 || (ops.is_momentary)(outcome);
        let unkept = forgettable && matches!(question.keep, Some(Keep::Client { .. }));
        let stored = past.and_then(|past| past.receipts.get(&question.request.0));
        match stored.map(|(_, payload)| kinds.by_number(key.kind).map(|spec| spec.outcome(payload))) {
            Some(Some(Ok(stored))) => {
                ensure((ops.same_outcome)(&stored, outcome), "the outcome told is the outcome kept", shown)?;
            }
            Some(_) => return Err(Broken { invariant: "every kept outcome can be read", detail: shown() }),
            None => ensure(unkept, "an outcome is kept durably before it is told", shown)?,
        }
        if unkept && stored.is_none() {
            return Ok(());
        }
        let before = self.first.entry((key.clone(), question.request.0)).or_insert_with(|| outcome.clone());
        ensure((ops.same_outcome)(before, outcome), "the same question never gets two answers", || {
            format!("{} and before {}", shown(), (ops.show_outcome)(before))
        })
    }
}

/// A refusal for want of stock is only given when there is none.
fn judge_refusal(key: &EntityKey, outcome: &Erased, reply: &Reply, past: Option<&Past>) -> Result<(), Broken> {
    if key.kind != StockUnit::NUMBER {
        return Ok(());
    }
    let Some(Err(Rejection::InsufficientStock { available, requested })) = outcome.downcast_ref::<Outcome<StockUnit>>()
    else {
        return Ok(());
    };
    let there = past.and_then(|past| past.then::<StockUnit>(reply.version)).map_or(0, |state| state.available());
    ensure(there < *requested && *available >= there, "nobody is refused what is available", || {
        format!("{}: {requested} wanted, {available} said, {there} there", key.id)
    })
}
