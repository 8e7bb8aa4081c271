//! What clients asked and were told, by the entity that it is about. Each entity's history is judged by itself: what is
//! linearizable for each is so for all.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;

use super::checker::{Call, Model, Verdict, check};

/// The clock of all clients.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now_us(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}

/// When a request was first sent, and when it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub began: u64,
    /// None: it never was.
    pub ended: Option<u64>,
}

/// All entities of one kind.
pub struct Histories<M: Model>(Mutex<BTreeMap<String, History<M>>>);

struct History<M: Model> {
    start: M::State,
    calls: Vec<Call<M::Op>>,
}

impl<M: Model> Default for Histories<M> {
    fn default() -> Self {
        Histories(Mutex::default())
    }
}

/// What was found about the entities of one kind.
#[derive(Debug, Default)]
pub struct Judged {
    pub entities: usize,
    pub calls: usize,
    /// Of them, those that were never answered.
    pub unanswered: usize,
    /// What is wrong, and the history that shows it.
    pub refused: Vec<(String, String)>,
}

impl<M: Model> Histories<M> {
    /// From now on calls of the entity are noted.
    pub fn begin(&self, entity: &str, start: M::State) {
        self.0.lock().insert(entity.to_owned(), History { start, calls: Vec::new() });
    }

    pub fn note(&self, entity: &str, client: usize, span: Span, op: M::Op) {
        self.note_parts(entity, client, span, [op]);
    }

    /// The parts of one request, each after the one before it.
    pub fn note_parts(&self, entity: &str, client: usize, span: Span, parts: impl IntoIterator<Item = M::Op>) {
        let mut histories = self.0.lock();
        let Some(history) = histories.get_mut(entity) else { return };
        let Span { began, ended } = span;
        let mut after = None;
        for op in parts {
            history.calls.push(Call { client, began, ended, after, op });
            after = Some(history.calls.len() - 1);
        }
    }

    /// How many calls of it have no answer. Each doubles what the checker may have to try.
    pub fn unanswered(&self, entity: &str) -> usize {
        self.0.lock().get(entity).map_or(0, |history| history.unanswered())
    }

    /// Of which entities there are histories.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    pub fn judge(&self, kind: &str) -> Judged {
        let mut judged = Judged::default();
        for (entity, history) in &*self.0.lock() {
            judged.entities += 1;
            judged.calls += history.calls.len();
            judged.unanswered += history.unanswered();
            match check::<M>(history.start.clone(), &history.calls) {
                Verdict::Linearizable => {}
                Verdict::Undecided => judged.refused.push((format!("{kind} {entity}: undecided"), history.told(&[]))),
                Verdict::Refused { placed, state } => {
                    let why = format!("{kind} {entity}: no order of its calls fits beyond {state}");
                    judged.refused.push((why, history.told(&placed)));
                }
            }
        }
        judged
    }
}

impl<M: Model> History<M> {
    fn unanswered(&self) -> usize {
        self.calls.iter().filter(|call| call.ended.is_none()).count()
    }

    /// The calls by when they began, for a reader; those that found a place are marked.
    fn told(&self, placed: &[usize]) -> String {
        let mut order: Vec<usize> = (0..self.calls.len()).collect();
        order.sort_by_key(|at| self.calls[*at].began);
        let mut text = format!("it began as {:?}\n", self.start);
        for at in order {
            let Call { client, began, ended, op, .. } = &self.calls[at];
            let (mark, ended) = (if placed.contains(&at) { ' ' } else { '!' }, ended.map_or(-1, |at| at as i64));
            text += &format!("{mark} {began:>12} to {ended:>12} us  client {client:>3}  {op:?}\n");
        }
        text
    }
}
