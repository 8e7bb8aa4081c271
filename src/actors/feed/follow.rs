//! What a consumer's actor does all its life: takes what is new, and rests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Feed;
use super::consumer::{Batch, ConsumerError, SlotBatch};
use super::position::Position;
use super::progress::{Mode, Progress};
use super::reader::{READS_AT_ONCE, TakeError};
use super::reads::Reads;
use super::tail::Look;
use super::taken::{Taken, Wanted};
use crate::actors::runtime::pauses::Pauses;
use crate::persistence::{Slot, StoreError};

/// The rest before news is looked at, unless somebody waits: this long at least, and so many times the work that it
/// follows, up to a bound. Under load records are so taken more at a time, and following takes a small part of a
/// processor.
const PACE: Duration = Duration::from_millis(25);
const RESTS_PER_WORK: u32 = 32;
const PACE_MAX: Duration = Duration::from_millis(100);
/// The same when somebody waits: those who come together are served together.
const PACE_WHEN_URGENT: Duration = Duration::from_millis(1);
/// The longest rest. Records of kinds that nobody follows give no notice; they are passed over in time.
const REST_MAX: Duration = Duration::from_millis(250);
/// The records, and about the bytes, that a consumer is given at once.
const BATCH: Wanted = Wanted { records: 4_096, bytes: 8 << 20 };
/// After a failure, of a slot or of the consumer.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(250), Duration::from_secs(10));

pub(super) struct Follow {
    feed: Arc<Feed>,
    progress: Arc<Progress>,
    /// `None` until the consumer has been asked for them, or has been built.
    positions: Option<Vec<Position>>,
    rebuild: Option<Reason>,
    failing: BTreeMap<Slot, Failing>,
    reads: Reads,
    /// When it last rested until something else than a read ended.
    rested_at: Instant,
    /// When it last looked which slots are behind; and whether it is to look again at once.
    looked_at: Instant,
    is_look_due: bool,
}

/// A batch that grows.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    records: usize,
    bytes: usize,
}

impl Gathered {
    fn take(&mut self, taken: Taken) {
        self.records += taken.records.len();
        self.bytes += taken.bytes;
        self.batch.slots.push(taken.into_batch());
    }

    fn is_full(&self) -> bool {
        self.records >= BATCH.records || self.bytes >= BATCH.bytes
    }
}

/// A slot that cannot be read.
struct Failing {
    again_at: Instant,
    pauses: Pauses,
}

/// Why a consumer is built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It has no positions.
    New,
    Mismatch,
    Asked,
}

impl Reason {
    const fn word(self) -> &'static str {
        match self {
            Reason::New => "new",
            Reason::Mismatch => "mismatch",
            Reason::Asked => "asked",
        }
    }
}

impl Follow {
    pub fn new(feed: Arc<Feed>, progress: Arc<Progress>) -> Follow {
        progress.forget_failing_slots();
        let (now, reads) = (Instant::now(), Reads::new(feed.clone(), progress.clone()));
        Follow {
            feed,
            progress,
            positions: None,
            rebuild: None,
            failing: BTreeMap::new(),
            reads,
            rested_at: now,
            looked_at: now,
            is_look_due: true,
        }
    }

    /// Follows until the feed is stopped. A stop in the middle of `apply` is a crash to the consumer: it has taken the
    /// batch, or it has not.
    pub async fn run(mut self) {
        let stopped = self.feed.stopped.clone();
        stopped.run_until_cancelled(self.run_for_ever()).await;
    }

    fn run_for_ever(&mut self) -> BoxFuture<'_, ()> {
        let run = async {
            let mut pauses = PAUSES;
            loop {
                match self.step().await {
                    Ok(()) => {
                        pauses = PAUSES;
                        self.rest().await;
                    }
                    Err(error) => {
                        self.feed.metrics.consumer_failures.with_label_values(&[self.progress.name()]).inc();
                        let pause = pauses.take();
                        let (consumer, retry_ms) = (self.progress.name(), pause.as_millis());
                        tracing::warn!(consumer, %error, retry_ms, "a consumer of the feed failed");
                        self.progress.failed(error.0);
                        tokio::select! { () = sleep(pause) => {} () = self.progress.control.notified() => {} }
                    }
                }
            }
        };
        run.boxed()
    }

    async fn step(&mut self) -> Result<(), ConsumerError> {
        if self.progress.take_rebuild() {
            self.rebuild = Some(Reason::Asked);
        }
        if self.progress.is_paused() {
            self.reads.clear();
            return Ok(());
        }
        if self.positions.is_none() && self.rebuild.is_none() {
            self.place().await?;
        }
        if let Some(reason) = self.rebuild {
            self.build(reason).await?;
        }
        let Some(mut positions) = self.positions.take() else { return Ok(()) };
        let outcome = match self.go_back(&mut positions).await {
            Ok(()) => self.round(&mut positions).await,
            Err(error) => Err(error),
        };
        // After a failure it is not known what the consumer has kept: it is asked.
        self.positions = outcome.is_ok().then_some(positions);
        if self.positions.is_none() || self.rebuild.is_some() {
            self.reads.clear();
        }
        outcome
    }

    /// Asks the consumer where it stands, and looks whether the journal agrees.
    async fn place(&mut self) -> Result<(), ConsumerError> {
        let slots = usize::from(self.feed.reader.journal.slots());
        let Some(positions) = self.progress.consumer.load().await?.filter(|kept| kept.len() == slots) else {
            self.rebuild = Some(Reason::New);
            return Ok(());
        };
        let reader = &self.feed.reader;
        reader.look().await.map_err(ConsumerError::of)?;
        let proofs = (0..).zip(positions.clone());
        let proofs = proofs.map(|(slot, position)| async move { reader.prove(slot, &position).await });
        let mut proofs = futures::stream::iter(proofs).buffered(READS_AT_ONCE);
        while let Some(proof) = proofs.next().await {
            match proof {
                // A slot that is damaged is looked at again when the consumer goes on in it.
                Ok(()) | Err(TakeError::Store(StoreError::Damaged(_))) => {}
                Err(error @ TakeError::Mismatch { .. }) => {
                    drop(proofs);
                    self.mismatched(&error);
                    return Ok(());
                }
                Err(TakeError::Store(error)) => return Err(ConsumerError::of(error)),
            }
        }
        drop(proofs);
        self.placed(positions);
        Ok(())
    }

    fn mismatched(&mut self, error: &TakeError) {
        tracing::error!(consumer = self.progress.name(), %error, "a consumer is built anew");
        self.rebuild = Some(Reason::Mismatch);
        self.feed.reader.forget();
    }

    fn placed(&mut self, positions: Vec<Position>) {
        (0..).zip(&positions).for_each(|(slot, position)| self.progress.moved(slot, position));
        self.positions = Some(positions);
        self.progress.set_mode(Mode::Running);
    }

    async fn build(&mut self, reason: Reason) -> Result<(), ConsumerError> {
        self.positions = None;
        self.reads.clear();
        self.failing.clear();
        self.progress.forget_failing_slots();
        self.progress.set_mode(Mode::Rebuilding);
        self.feed.metrics.consumer_rebuilds.with_label_values(&[self.progress.name(), reason.word()]).inc();
        let (notice, began) = (self.progress.told(), Instant::now());
        let build = async {
            let heads = self.feed.reader.heads().await.map_err(ConsumerError::of)?;
            let follows_from_heads = heads.clone();
            let positions = self.progress.consumer.rebuild(heads).await?;
            Ok::<_, ConsumerError>((positions == follows_from_heads, positions))
        };
        let (is_there, positions) = tokio::select! {
            built = build => built?,
            () = stopped(&self.progress) => return Ok(()),
        };
        if positions.len() != usize::from(self.feed.reader.journal.slots()) {
            return Err(ConsumerError::of("it was built for another number of slots"));
        }
        self.rebuild = None;
        self.placed(positions);
        if is_there && !self.progress.is_interrupted() {
            self.progress.served(notice, began);
        }
        tracing::info!(consumer = self.progress.name(), reason = reason.word(), "a consumer has been built");
        Ok(())
    }

    /// Goes back where an operator wants it. The consumer keeps the earlier positions before anything else is taken.
    async fn go_back(&mut self, positions: &mut [Position]) -> Result<(), ConsumerError> {
        let replays = self.progress.replays();
        if replays.is_empty() {
            return Ok(());
        }
        let is_ahead =
            |slot: Slot, to: &Position| positions.get(usize::from(slot)).is_some_and(|position| position.seq > to.seq);
        let back = replays.iter().filter(|(slot, to)| is_ahead(**slot, to));
        let slots: Vec<SlotBatch> =
            back.map(|(slot, to)| SlotBatch { slot: *slot, records: Vec::new(), position: *to }).collect();
        if !slots.is_empty() {
            let batch = Batch { slots };
            self.progress.consumer.apply(&batch).await?;
            self.reads.clear(); // of where it was
            batch.move_positions(positions);
            batch.slots.iter().for_each(|slot| self.progress.moved(slot.slot, &slot.position));
            let (consumer, slots) = (self.progress.name(), batch.slots.len());
            tracing::info!(consumer, slots, "a consumer takes records again");
        }
        self.progress.replayed(&replays);
        Ok(())
    }

    /// Takes what is new, until nothing is or somebody wants something else. What is written meanwhile is for the next
    /// round, so that one ends.
    async fn round(&mut self, positions: &mut [Position]) -> Result<(), ConsumerError> {
        let (notice, began) = (self.progress.told(), Instant::now());
        loop {
            self.take_read(positions).await?;
            self.reads.start(positions);
            if self.rebuild.is_some() || self.progress.is_interrupted() {
                return Ok(());
            }
            // While slots are being read, it is not looked after each page whether others are behind too.
            let is_due = std::mem::take(&mut self.is_look_due) || self.looked_at + PACE <= Instant::now();
            if !is_due && !self.reads.is_empty() {
                return Ok(());
            }
            self.looked_at = Instant::now();
            let is_there_more = self.take_new(positions).await?;
            self.reads.start(positions);
            if !is_there_more {
                break;
            }
            self.is_look_due = true;
        }
        self.progress.consumer.turn().await?;
        self.progress.set_mode(Mode::Running);
        // Where it is to go back first, that is not served.
        if self.reads.is_empty() && !self.progress.is_interrupted() {
            self.progress.served(notice, began);
        }
        Ok(())
    }

    /// Takes what the tail has of the slots that are behind. Those that it does not serve are to be read. Whether the tail
    /// had more of one than its share.
    async fn take_new(&mut self, positions: &mut [Position]) -> Result<bool, ConsumerError> {
        let mut gathered = Gathered::default();
        let (mut is_there_more, now) = (false, Instant::now());
        for slot in 0..self.feed.reader.journal.slots() {
            let Some(position) = positions.get(usize::from(slot)).copied() else { break };
            let head = self.feed.reader.tail.head(slot);
            if head == position.seq {
                self.is_well(slot);
                continue;
            }
            let waits = || self.failing.get(&slot).is_some_and(|failing| now < failing.again_at);
            if self.reads.holds(slot) || waits() {
                continue;
            }
            match self.feed.reader.tail.look(slot, &position, false, &self.progress.kinds, Wanted::SHARE) {
                Look::Taken(taken) => {
                    is_there_more |= taken.position.seq < head;
                    gathered.take(taken);
                }
                Look::Unproven | Look::Missing => self.reads.put(slot),
            }
            if gathered.is_full() {
                self.apply(std::mem::take(&mut gathered), positions).await?;
            }
        }
        self.apply(gathered, positions).await?;
        Ok(is_there_more)
    }

    /// Takes what has been read of the journal, one batch at most. Meanwhile the next slots are read.
    async fn take_read(&mut self, positions: &mut [Position]) -> Result<(), ConsumerError> {
        let mut gathered = Gathered::default();
        while !gathered.is_full() {
            let Some(read) = self.reads.ready() else { break };
            let (slot, read) = read?;
            match read {
                Ok(Some(taken)) => gathered.take(taken),
                Ok(None) => self.slot_waits(slot),
                Err(TakeError::Store(error)) => self.slot_failed(slot, &error),
                Err(error @ TakeError::Mismatch { .. }) => {
                    self.mismatched(&error);
                    return Ok(());
                }
            }
            self.reads.start(positions);
        }
        self.apply(gathered, positions).await
    }

    async fn apply(&mut self, gathered: Gathered, positions: &mut [Position]) -> Result<(), ConsumerError> {
        let Gathered { batch, records, .. } = gathered;
        if batch.slots.is_empty() {
            return Ok(());
        }
        self.progress.consumer.apply(&batch).await?;
        batch.move_positions(positions);
        for taken in &batch.slots {
            self.progress.moved(taken.slot, &taken.position);
            self.is_well(taken.slot);
            if self.reads.holds(taken.slot) {
                if self.feed.reader.tail.head(taken.slot) == taken.position.seq {
                    self.reads.release(taken.slot);
                } else {
                    self.reads.put(taken.slot);
                }
            }
        }
        self.progress.turn();
        self.feed.metrics.consumer_records.with_label_values(&[self.progress.name()]).inc_by(records as u64);
        Ok(())
    }

    fn is_well(&mut self, slot: Slot) {
        if self.failing.remove(&slot).is_some() {
            self.progress.slot_is_well(slot);
        }
    }

    /// A slot is tried again after a pause.
    fn slot_waits(&mut self, slot: Slot) {
        self.reads.release(slot);
        let now = Instant::now();
        let failing = self.failing.entry(slot).or_insert(Failing { again_at: now, pauses: PAUSES });
        failing.again_at = now + failing.pauses.take();
    }

    fn slot_failed(&mut self, slot: Slot, error: &StoreError) {
        self.slot_waits(slot);
        let error: Arc<str> = format!("slot {slot}: {error}").into();
        if self.progress.slot_failed(slot, error.clone()) {
            tracing::warn!(consumer = self.progress.name(), %error, "a consumer cannot read a slot, and goes on with others");
        }
    }

    /// Rests until there is something to do.
    async fn rest(&mut self) {
        let progress = &*self.progress;
        self.is_look_due = true;
        if progress.is_paused() {
            return progress.control.notified().await;
        }
        if self.rebuild.is_some() || progress.is_interrupted() {
            return;
        }
        let waiting = self.failing.iter().filter(|(slot, _)| !self.reads.holds(**slot));
        let again_at = waiting.map(|(_, failing)| failing.again_at).min();
        let pace = (self.rested_at.elapsed() * RESTS_PER_WORK).clamp(PACE, PACE_MAX);
        tokio::select! {
            () = news(progress, pace) => {}
            () = urgent(progress, self.rested_at + PACE_WHEN_URGENT) => {}
            () = progress.control.notified() => {}
            () = sleep_until(again_at.unwrap_or_else(Instant::now)), if again_at.is_some() => {}
            () = self.reads.readable() => {
                self.is_look_due = false;
                return;
            }
        }
        self.rested_at = Instant::now();
    }
}

/// Returns a while after there is news, or when it is time to look anyway.
async fn news(progress: &Progress, pace: Duration) {
    let _ = timeout(REST_MAX, progress.news.notified()).await; // late or not: then it looks
    sleep(pace).await;
}

/// Returns when somebody waits, and not before a time.
async fn urgent(progress: &Progress, not_before: Instant) {
    progress.urgent.notified().await;
    sleep_until(not_before).await;
}

/// Returns when a consumer should not be built further.
async fn stopped(progress: &Progress) {
    while !progress.is_stopped() {
        progress.control.notified().await;
    }
}
