//! How a consumer stands: what those who wait for it and operators see, and how they tell it what they want.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::consumer::{Consumer, Sort};
use super::position::Position;
use super::tail::Tail;
use super::taken::Kinds;
use crate::persistence::Slot;

/// A consumer and how it stands. It outlives the actor that runs it.
pub struct Progress {
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) kinds: Kinds,
    /// The notices of records that it follows, counted; and the last of them that it has served.
    told: AtomicU64,
    served: AtomicU64,
    /// Of each slot, the sequence of the last record that it has taken.
    reached: Vec<AtomicU64>,
    /// There are records that it follows. It takes its time.
    pub(super) news: Notify,
    /// Somebody waits.
    pub(super) urgent: Notify,
    /// An operator wants something.
    pub(super) control: Notify,
    /// Counts its steps, for those who wait.
    turns: watch::Sender<u64>,
    condition: Mutex<Condition>,
}

struct Condition {
    mode: Mode,
    is_paused: bool,
    is_rebuild_wanted: bool,
    /// The slots in which it is to go back, and to where.
    replays: BTreeMap<Slot, Position>,
    /// Slots that cannot be read, and why.
    failing: BTreeMap<Slot, Arc<str>>,
    last_error: Option<Arc<str>>,
    /// Since when it lacks something.
    behind_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Rebuilding,
    Running,
    /// It failed, and is tried again.
    Stuck,
}

/// How a consumer stands, as operators name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    Paused,
    Rebuilding,
    /// It, or some slots of it, cannot go on now. It is tried again by itself.
    Failing,
}

impl State {
    pub const fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Rebuilding => "rebuilding",
            State::Failing => "failing",
        }
    }
}

/// What an operator sees of a consumer.
#[derive(Debug, Clone)]
pub struct ConsumerStatus {
    pub name: &'static str,
    pub sort: Sort,
    pub state: State,
    /// Records of the journal, of whatever kind, that it has not passed yet.
    pub lag_records: u64,
    /// For how long it has lacked a record of a kind that it follows.
    pub lag_ms: u64,
    /// Records of the journal that it has passed.
    pub position: u64,
    /// Slots that it cannot read now.
    pub slots_failing: usize,
    /// The last failure, also when it is over.
    pub last_error: Option<Arc<str>>,
}

impl Progress {
    pub(super) fn new(consumer: Arc<dyn Consumer>, slots: Slot) -> Progress {
        let condition = Condition {
            mode: Mode::Rebuilding,
            is_paused: false,
            is_rebuild_wanted: false,
            replays: BTreeMap::new(),
            failing: BTreeMap::new(),
            last_error: None,
            behind_since: Some(Instant::now()),
        };
        Progress {
            kinds: Kinds::of(&*consumer),
            consumer,
            told: AtomicU64::new(1), // what there is at the start
            served: AtomicU64::new(0),
            reached: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            news: Notify::new(),
            urgent: Notify::new(),
            control: Notify::new(),
            turns: watch::Sender::new(0),
            condition: Mutex::new(condition),
        }
    }

    pub fn name(&self) -> &'static str {
        self.consumer.name()
    }

    pub(super) fn follows(&self, kind: u8) -> bool {
        self.kinds.has(kind)
    }

    /// Waits until everything is in that the feed knew of when this was called. `false`: it is not, because the
    /// consumer does not run now, or because `within` has passed.
    pub async fn caught_up(&self, within: Duration) -> bool {
        let wanted = self.told.load(Ordering::Acquire);
        self.wait(within, || self.served.load(Ordering::Acquire) >= wanted).await
    }

    /// The same for a record.
    pub async fn reached(&self, slot: Slot, seq: u64, within: Duration) -> bool {
        let Some(reached) = self.reached.get(usize::from(slot)) else { return false };
        self.wait(within, || reached.load(Ordering::Acquire) >= seq).await
    }

    /// Returns when it runs, and records can be waited for.
    pub async fn running(&self) {
        let mut turns = self.turns.subscribe();
        while !self.is_moving() && turns.changed().await.is_ok() {}
    }

    async fn wait(&self, within: Duration, is_there: impl Fn() -> bool) -> bool {
        if is_there() {
            return true;
        }
        let mut turns = self.turns.subscribe();
        let waiting = async {
            while !is_there() {
                if !self.is_moving() {
                    return false;
                }
                self.urgent.notify_one();
                if turns.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        timeout(within, waiting).await.unwrap_or(false)
    }

    /// Stops to take records, after those that it has taken.
    pub fn pause(&self) {
        self.want(|condition| condition.is_paused = true);
    }

    pub fn resume(&self) {
        self.want(|condition| condition.is_paused = false);
    }

    /// Gives up what it has, and begins anew. Where it is paused, once it is resumed.
    pub fn rebuild(&self) {
        self.want(|condition| condition.is_rebuild_wanted = true);
    }

    /// Goes back to these positions, where it is behind them, and takes again what follows. Where it is paused, once it is
    /// resumed.
    pub(super) fn replay(&self, from: Vec<(Slot, Position)>) {
        self.want(|condition| {
            for (slot, position) in from {
                let earliest = condition.replays.entry(slot).or_insert(position);
                if position.seq < earliest.seq {
                    *earliest = position;
                }
            }
        });
        self.tell(); // who waits now waits for this too
    }

    fn want(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.condition.lock());
        self.control.notify_one();
        self.turn();
    }

    pub(super) fn is_paused(&self) -> bool {
        self.condition.lock().is_paused
    }

    pub(super) fn take_rebuild(&self) -> bool {
        std::mem::take(&mut self.condition.lock().is_rebuild_wanted)
    }

    pub(super) fn replays(&self) -> BTreeMap<Slot, Position> {
        self.condition.lock().replays.clone()
    }

    /// It has gone back there. What has been wanted since stays.
    pub(super) fn replayed(&self, from: &BTreeMap<Slot, Position>) {
        self.condition.lock().replays.retain(|slot, position| from.get(slot) != Some(position));
    }

    /// Whether it should not be built further.
    pub(super) fn is_stopped(&self) -> bool {
        let condition = self.condition.lock();
        condition.is_paused || condition.is_rebuild_wanted
    }

    /// Whether it should not go on as it does.
    pub(super) fn is_interrupted(&self) -> bool {
        let condition = self.condition.lock();
        condition.is_paused || condition.is_rebuild_wanted || !condition.replays.is_empty()
    }

    fn is_moving(&self) -> bool {
        let condition = self.condition.lock();
        condition.mode == Mode::Running && !condition.is_paused
    }

    /// There are records that it follows.
    pub(super) fn tell(&self) {
        self.told.fetch_add(1, Ordering::AcqRel);
        self.condition.lock().behind_since.get_or_insert_with(Instant::now);
        self.news.notify_one();
    }

    /// The last notice until now: to be asked before the heads are looked at.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// Everything is in that a notice told of, and was there at `began`.
    pub(super) fn served(&self, notice: u64, began: Instant) {
        self.served.fetch_max(notice, Ordering::AcqRel);
        let mut condition = self.condition.lock();
        condition.behind_since = (self.told() != notice).then_some(began);
        drop(condition);
        self.turn();
    }

    pub(super) fn moved(&self, slot: Slot, position: &Position) {
        if let Some(reached) = self.reached.get(usize::from(slot)) {
            reached.store(position.seq, Ordering::Release);
        }
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        if std::mem::replace(&mut self.condition.lock().mode, mode) != mode {
            self.turn();
        }
    }

    /// It has failed as a whole.
    pub(super) fn failed(&self, error: Arc<str>) {
        {
            let mut condition = self.condition.lock();
            condition.mode = Mode::Stuck;
            condition.last_error = Some(error);
        }
        self.turn();
    }

    /// A slot cannot be read. Whether it is the only one.
    pub(super) fn slot_failed(&self, slot: Slot, error: Arc<str>) -> bool {
        let mut condition = self.condition.lock();
        condition.last_error = Some(error.clone());
        condition.failing.insert(slot, error);
        condition.failing.len() == 1
    }

    pub(super) fn slot_is_well(&self, slot: Slot) {
        self.condition.lock().failing.remove(&slot);
    }

    pub(super) fn forget_failing_slots(&self) {
        self.condition.lock().failing.clear();
    }

    /// It has made a step: who waits looks again.
    pub(super) fn turn(&self) {
        self.turns.send_modify(|turns| *turns += 1);
    }

    pub(super) fn status(&self, tail: &Tail) -> ConsumerStatus {
        let reached = self.reached.iter().map(|reached| reached.load(Ordering::Acquire));
        let (position, lag_records) = reached
            .zip(tail.heads())
            .fold((0, 0), |(position, lag), (reached, head)| (position + reached, lag + head.saturating_sub(reached)));
        let condition = self.condition.lock();
        let state = match condition.mode {
            _ if condition.is_paused => State::Paused,
            Mode::Rebuilding => State::Rebuilding,
            Mode::Stuck => State::Failing,
            Mode::Running if condition.failing.is_empty() => State::Running,
            Mode::Running => State::Failing,
        };
        let lag = condition.behind_since.map_or(Duration::ZERO, |since| since.elapsed());
        ConsumerStatus {
            name: self.name(),
            sort: self.consumer.sort(),
            state,
            lag_records,
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
            position,
            slots_failing: condition.failing.len(),
            last_error: condition.last_error.clone(),
        }
    }
}
