//! Whether a history is linearizable: whether there is one order of all calls, in which each takes effect at one moment between
//! its beginning and its answer, and the answers are those of one copy that nobody shares.
//!
//! The search is Wing and Gong's with Lowe's memory: at each step a call is chosen that may come next (none that is left was
//! answered before it began), the model judges it, and what was reached before is not tried again. Two things keep it
//! short. A look that fits is taken at once: whatever order there is, it may come first in it, because it changes nothing. And calls
//! that were answered soonest are tried first, which is mostly right.
//!
//! A call without an answer may have taken effect at any time after it began, or never.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What one copy does.
pub trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Op: Clone + Debug;

    /// The state after the operation; none where it cannot have gone so.
    fn step(state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether the operation never changes anything, in no state.
    fn is_look(op: &Self::Op) -> bool;
}

/// An operation as a client saw it.
#[derive(Debug, Clone)]
pub struct Call<Op> {
    pub client: usize,
    /// By the clock of all clients.
    pub began: u64,
    /// None: there was no answer.
    pub ended: Option<u64>,
    /// The call, by its place in the history, that this one follows: both are parts of one request.
    pub after: Option<usize>,
    pub op: Op,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// There is no such order. The longest one that was found, by places in the history, and the state it leads to.
    Refused {
        placed: Vec<usize>,
        state: String,
    },
    /// More was tried than there is time for.
    Undecided,
}

/// Beyond this the search is given up. A history of some thousand calls takes about as many.
const TRIED_MAX: usize = 2_000_000;

/// How far an order has come.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Reached<S> {
    /// All answered calls before this place are in it.
    first: u32,
    /// Places of answered calls beyond that are in it, ascending.
    ahead: Vec<u32>,
    /// Places of unanswered calls that are in it, ascending.
    open: Vec<u32>,
    state: S,
}

/// A history, sorted by when its calls began.
struct Search<'a, M: Model> {
    history: &'a [Call<M::Op>],
    /// The calls that were answered, and those that were not, by their place in the history.
    answered: Vec<usize>,
    open: Vec<usize>,
    /// Where each call of the history stands in one of the two.
    places: Vec<u32>,
}

pub fn check<M: Model>(start: M::State, history: &[Call<M::Op>]) -> Verdict {
    let search = Search::<M>::new(history);
    let start = Reached { first: 0, ahead: Vec::new(), open: Vec::new(), state: start };
    let (mut tried, mut longest) = (HashSet::new(), start.clone());
    let mut next = vec![start];
    while let Some(reached) = next.pop() {
        if reached.first as usize == search.answered.len() {
            return Verdict::Linearizable;
        }
        if reached.length() > longest.length() {
            longest = reached.clone();
        }
        let further = search.further(&reached);
        if !tried.insert(reached) {
            continue;
        }
        if tried.len() > TRIED_MAX {
            return Verdict::Undecided;
        }
        next.extend(further);
    }
    Verdict::Refused { placed: search.placed(&longest), state: format!("{:?}", longest.state) }
}

impl<S> Reached<S> {
    fn length(&self) -> usize {
        self.first as usize + self.ahead.len()
    }

    fn has(&self, place: u32) -> bool {
        place < self.first || self.ahead.binary_search(&place).is_ok()
    }
}

impl<'a, M: Model> Search<'a, M> {
    fn new(history: &'a [Call<M::Op>]) -> Search<'a, M> {
        let mut all: Vec<usize> = (0..history.len()).collect();
        all.sort_by_key(|at| history[*at].began);
        let (answered, open): (Vec<usize>, Vec<usize>) = all.into_iter().partition(|at| history[*at].ended.is_some());
        let mut places = vec![0; history.len()];
        for calls in [&answered, &open] {
            for (place, at) in (0..).zip(calls) {
                places[*at] = place;
            }
        }
        Search { history, answered, open, places }
    }

    /// What may come next, the most likely last.
    fn further(&self, reached: &Reached<M::State>) -> Vec<Reached<M::State>> {
        let mut soonest = u64::MAX;
        let mut waiting = Vec::new();
        for place in reached.first..self.answered.len() as u32 {
            let call = &self.history[self.answered[place as usize]];
            if call.began > soonest {
                break;
            }
            if !reached.has(place) {
                let ended = call.ended.unwrap_or(u64::MAX);
                soonest = soonest.min(ended);
                waiting.push((ended, place));
            }
        }
        waiting.retain(|(_, place)| self.history[self.answered[*place as usize]].began <= soonest);
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        let mut further = Vec::new();
        for (place, at) in (0..).zip(&self.open) {
            let call = &self.history[*at];
            if call.began > soonest {
                break;
            }
            if let Err(slot) = reached.open.binary_search(&place)
                && let Some(state) = self.judged(reached, call)
            {
                let mut open = reached.open.clone();
                open.insert(slot, place);
                further.push(Reached { open, state, ..reached.clone() });
            }
        }
        for (_, place) in waiting {
            let call = &self.history[self.answered[place as usize]];
            let Some(state) = self.judged(reached, call) else { continue };
            let with = self.with(reached, place, state);
            if M::is_look(&call.op) {
                return vec![with];
            }
            further.push(with);
        }
        further
    }

    fn judged(&self, reached: &Reached<M::State>, call: &Call<M::Op>) -> Option<M::State> {
        let follows = call.after.is_none_or(|before| {
            let place = self.places[before];
            match self.history[before].ended {
                Some(_) => reached.has(place),
                None => reached.open.binary_search(&place).is_ok(),
            }
        });
        if follows { M::step(&reached.state, &call.op) } else { None }
    }

    fn with(&self, reached: &Reached<M::State>, place: u32, state: M::State) -> Reached<M::State> {
        let Reached { mut first, mut ahead, open, .. } = reached.clone();
        let slot = ahead.partition_point(|other| *other < place);
        ahead.insert(slot, place);
        let run = (first..).zip(&ahead).take_while(|(next, place)| next == *place).count();
        ahead.drain(..run);
        first += run as u32;
        Reached { first, ahead, open, state }
    }

    fn placed(&self, reached: &Reached<M::State>) -> Vec<usize> {
        let answered =
            (0..reached.first).chain(reached.ahead.iter().copied()).map(|place| self.answered[place as usize]);
        answered.chain(reached.open.iter().map(|place| self.open[*place as usize])).collect()
    }
}
