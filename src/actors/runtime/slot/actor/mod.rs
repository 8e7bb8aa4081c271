//! The ractor actor around the slot's core: it carries the outputs out, in tasks of their own where
//! they wait for something, and brings the results back as messages.

mod quarantine;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::SlotShared;
use super::alarms;
use super::claims::Claims;
use super::core::SlotCore;
use super::load::{fresh, load};
use super::message::{Damage, SlotMessage, Start};
use super::output::{Lookup, Output};
use super::recovery::{claim_again, look_again};
use super::resident::Resident;
use super::state::{Common, Dispatch};
use crate::actors::runtime::envelope::{AskError, Envelope};
use crate::actors::runtime::history::ask_error;
use crate::actors::runtime::writer::{EffectSink, Ended, Gathering};
use crate::actors::values::Time;
use crate::cluster::{Lease, Ownership};
use crate::persistence::{EntityKey, Epoch, Journal, SlotHead, StoreError};
use quarantine::Backoff;

/// Rows of the owed index read at once.
const OWED_PAGE: usize = 64;
/// After this time something that could not be done now is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a slot needs around it.
pub struct SlotSeat {
    pub shared: Arc<SlotShared>,
    pub common: Arc<Common>,
    pub journal: Arc<dyn Journal>,
    pub gathering: Arc<Gathering>,
    pub sink: Arc<dyn EffectSink>,
    pub ownership: Arc<Ownership>,
    pub lease: Arc<dyn Lease>,
    pub claims: Arc<Claims>,
    /// Of the whole node: each load takes a permit, so that slots that all begin anew do not ask the store for
    /// everything at once.
    pub loads: Arc<Semaphore>,
}

pub struct SlotActor;

pub struct SlotActorState {
    seat: SlotSeat,
    /// `None` while the slot recovers: it serves nothing, and its inbox fills. (In quarantine, it is emptied.)
    core: Option<SlotCore>,
    /// Messages from before the recovery.
    held: Vec<Envelope>,
    /// The epoch of the slot when it could not be claimed.
    unclaimed: Epoch,
    backoff: Backoff,
    timer: Option<(Time, JoinHandle<()>)>,
    /// What this slot has added to the node's gauges: entities, bytes, owed requests, overdue ones.
    gauged: [i64; 4],
    draining: bool,
}

/// The time of day, in milliseconds.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[async_trait::async_trait]
impl Actor for SlotActor {
    type Msg = SlotMessage;
    type State = SlotActorState;
    type Arguments = SlotSeat;

    async fn pre_start(&self, _: ActorRef<SlotMessage>, seat: SlotSeat) -> Result<SlotActorState, ActorProcessingErr> {
        Ok(SlotActorState {
            seat,
            core: None,
            held: Vec::new(),
            unclaimed: 0,
            backoff: Backoff::default(),
            timer: None,
            gauged: [0; 4],
            draining: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SlotMessage>,
        message: SlotMessage,
        state: &mut SlotActorState,
    ) -> Result<(), ActorProcessingErr> {
        let now = now();
        if matches!(message, SlotMessage::Tick) {
            state.timer = None;
        }
        match (message, &mut state.core) {
            (SlotMessage::Drain(done), _) => {
                state.drain(done);
                return Ok(());
            }
            (SlotMessage::Begin(start), _) => {
                if !state.draining {
                    state.begin(&myself, start);
                }
                return Ok(());
            }
            // Also while it recovers: then the writer failed meanwhile, and the recovery begins anew.
            (SlotMessage::Ended { generation, why }, _)
                if generation == state.seat.shared.generation() && !state.draining =>
            {
                tracing::warn!(slot = state.seat.shared.slot, generation, why = why.word(), "generation ended");
                if let Ended::Damaged(why) = why {
                    state.quarantine(&myself, generation, Damage::Append, &why);
                } else {
                    state.leave_core();
                    state.recover(&myself, generation, None);
                }
                return Ok(());
            }
            (SlotMessage::Damaged { generation, damage, why }, _)
                if generation == state.seat.shared.generation() && !state.draining =>
            {
                state.quarantine(&myself, generation, damage, &why);
                return Ok(());
            }
            (SlotMessage::Poke, None) if state.seat.ownership.is_quarantined(state.seat.shared.slot) => {
                state.turn_away();
                return Ok(());
            }
            (SlotMessage::Recovered { generation, head }, None)
                if generation == state.seat.shared.generation() && !state.draining =>
            {
                state.serve(&myself, generation, &head);
                return Ok(());
            }
            (SlotMessage::ReceiptFound { lookup, .. }, None) if !state.draining => state.held.push(lookup.envelope),
            (_, None) => {}
            (SlotMessage::Ended { .. } | SlotMessage::Recovered { .. } | SlotMessage::Damaged { .. }, Some(_)) => {}
            (SlotMessage::Poke, Some(_)) => state.turn(&myself, now),
            (SlotMessage::Again { generation, envelope }, Some(core)) => {
                if generation == core.generation() {
                    core.message(*envelope, now);
                }
            }
            (SlotMessage::Loaded { generation, key, result }, Some(core)) => core.loaded(generation, key, *result, now),
            (SlotMessage::ReceiptFound { generation, lookup, found }, Some(core)) => {
                core.receipt_found(generation, *lookup, *found, now)
            }
            (SlotMessage::OwedPage { generation, rows, is_last }, Some(core)) => {
                core.owed_page(generation, rows, is_last, now)
            }
            (SlotMessage::WakePage { generation, rows }, Some(core)) => core.wake_page(generation, rows, now),
            (SlotMessage::Tick, Some(core)) => core.tick(now),
            (SlotMessage::Passivate, Some(core)) => {
                core.passivate(now);
                state.gauge(now);
            }
        }
        state.carry_out(&myself, now);
        Ok(())
    }
}

impl Drop for SlotActorState {
    fn drop(&mut self) {
        let metrics = &self.seat.common.metrics;
        metrics.resident_entities.sub(self.gauged[0]);
        metrics.resident_bytes.sub(self.gauged[1]);
        metrics.owed_outstanding.sub(self.gauged[2]);
        metrics.owed_overdue.sub(self.gauged[3]);
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
    }
}

impl SlotActorState {
    fn begin(&mut self, myself: &ActorRef<SlotMessage>, start: Start) {
        let SlotSeat { shared, gathering, .. } = &self.seat;
        match start {
            Start::Claimed(head) => {
                let generation = shared.next_generation();
                self.serve(myself, generation, &head);
            }
            Start::Recover => {
                shared.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let before = shared.generation();
                gathering.end_generation(shared.slot, before, Ended::Unknown);
                self.recover(myself, before, None);
            }
            Start::Damaged { epoch, why } => {
                self.unclaimed = epoch;
                let before = shared.generation();
                self.quarantine(myself, before, Damage::Claim, &why);
            }
        }
    }

    /// Takes what has gathered in the inbox.
    fn turn(&mut self, myself: &ActorRef<SlotMessage>, now: Time) {
        let Some(core) = &mut self.core else { return };
        let limits = &self.seat.common.limits;
        let (batch, again) = self.seat.shared.inbox.drain(limits.turn_messages_max);
        let instant = Instant::now();
        for envelope in batch {
            if envelope.deadline < instant && !envelope.body.is_internal() {
                envelope.reply.send(Err(AskError::DeadlinePassed));
            } else {
                core.message(envelope, now);
            }
        }
        if core.is_over_budget() {
            core.passivate(now);
        }
        if again {
            let _ = myself.cast(SlotMessage::Poke); // to oneself: it can fail only while stopping
        }
    }

    /// Throws the generation's memory away, and keeps the messages of callers for the next one.
    fn leave_core(&mut self) {
        if let Some(mut core) = self.core.take() {
            self.held.extend(core.end());
        }
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
    }

    /// Takes nothing any more, answers those who wait, and tells when what is in flight has settled.
    fn drain(&mut self, done: oneshot::Sender<()>) {
        let SlotSeat { shared, gathering, .. } = &self.seat;
        let (slot, generation, gathering) = (shared.slot, shared.generation(), gathering.clone());
        let waiting = shared.close();
        self.draining = true;
        self.leave_core();
        for envelope in waiting.into_iter().chain(self.held.drain(..)) {
            envelope.reply.send(Err(AskError::Unavailable));
        }
        tokio::spawn(async move {
            gathering.settle(slot, generation).await;
            let _ = done.send(()); // nobody may be left to wait for it
        });
    }

    /// Begins to serve a generation.
    fn serve(&mut self, myself: &ActorRef<SlotMessage>, generation: u64, head: &SlotHead) {
        let SlotSeat { shared, common, ownership, .. } = &self.seat;
        ownership.set(shared.slot, Some(head.epoch));
        self.end_quarantine();
        let now = now();
        let mut core = SlotCore::new(shared.clone(), common.clone(), generation, head);
        for envelope in self.held.drain(..) {
            core.message(envelope, now);
        }
        self.core = Some(core);
        if shared.inbox.reopen() {
            let _ = myself.cast(SlotMessage::Poke); // to oneself: it can fail only while stopping
        }
        self.carry_out(myself, now);
    }

    /// Raises the slot's epoch, which waits for or fences whatever is still in flight, and reads what
    /// is durable. Until then the slot serves nothing. `again`: after this pause, and only if the damage is gone.
    fn recover(&mut self, myself: &ActorRef<SlotMessage>, ended: u64, again: Option<(Damage, Duration)>) {
        let SlotSeat { shared, journal, gathering, ownership, sink, claims, .. } = &self.seat;
        let generation = shared.next_generation();
        let (sink, claims) = (sink.clone(), claims.clone());
        let (slot, journal, gathering) = (shared.slot, journal.clone(), gathering.clone());
        let epoch = ownership.epoch(slot).unwrap_or(self.unclaimed);
        let myself = myself.clone();
        tokio::spawn(async move {
            gathering.settle(slot, ended).await;
            let (damage, pause) = again.unwrap_or((Damage::Claim, Duration::ZERO));
            tokio::time::sleep(pause).await;
            let (damage, claimed) = match look_again(&*journal, slot, &damage).await {
                Ok(()) => (Damage::Claim, claim_again(&claims, slot, epoch).await),
                Err(error) => (damage, Err(error)),
            };
            let message = match claimed {
                Ok(head) => SlotMessage::Recovered { generation, head },
                Err(StoreError::Damaged(why)) => SlotMessage::Damaged { generation, damage, why },
                Err(error) => {
                    tracing::error!(slot, %error, "the slot cannot recover");
                    sink.store_failed(error);
                    let nobody_waits = oneshot::channel().0;
                    SlotMessage::Drain(nobody_waits)
                }
            };
            let _ = myself.cast(message); // gone: the node stops
        });
    }

    /// Carries out what the core wants done, until it wants nothing more.
    fn carry_out(&mut self, myself: &ActorRef<SlotMessage>, now: Time) {
        while let Some(core) = &mut self.core {
            let (outputs, generation) = (core.outputs(now), core.generation());
            if outputs.is_empty() {
                let next_tick = core.next_tick();
                return self.set_timer(myself, next_tick, now);
            }
            let untouched = self.carry(myself, generation, outputs);
            let Some(core) = &mut self.core else { return };
            for (key, resident) in untouched {
                core.loaded(generation, key, resident, now);
            }
        }
    }

    /// Carries outputs out. Entities that were never touched need no loading: they are returned.
    fn carry(
        &self,
        myself: &ActorRef<SlotMessage>,
        generation: u64,
        outputs: Vec<Output>,
    ) -> Vec<(EntityKey, Result<Resident, AskError>)> {
        let mut untouched = Vec::new();
        // Submissions first: loads and page reads wait for what is in front of them in the writer's queue.
        let (submissions, others): (Vec<_>, Vec<_>) =
            outputs.into_iter().partition(|output| matches!(output, Output::Submit(_)));
        let submissions = submissions.into_iter().filter_map(|output| match output {
            Output::Submit(submission) => Some(submission),
            _ => None,
        });
        self.seat.gathering.submit(submissions);
        let lease_is_valid = self.seat.lease.is_valid();
        for output in others {
            match output {
                Output::Submit(_) => {}
                Output::Answer(reply, answer) => {
                    let may_be_stale = answer.as_ref().map_or_else(AskError::rests_on_state, |_| true);
                    reply.send(if may_be_stale && !lease_is_valid { Err(AskError::Unknown) } else { answer });
                }
                Output::Load { key, settle } => match self.untouched(&key, settle) {
                    Some(resident) => untouched.push((key, resident)),
                    None => self.load(myself, generation, key, settle),
                },
                Output::FindReceipt(lookup) => self.find_receipt(myself, generation, lookup),
                Output::ReadOwed { after } => self.read_owed(myself, generation, after),
                Output::ReadWakes { after } => self.read_wakes(myself, generation, after),
                Output::Resend(dispatch) => self.resend(dispatch),
                Output::Later { envelope, after_ms } => {
                    let again = move || SlotMessage::Again { generation, envelope: Box::new(envelope) };
                    drop(myself.send_after(Duration::from_millis(after_ms), again));
                }
            }
        }
        untouched
    }

    fn untouched(&self, key: &EntityKey, settle: bool) -> Option<Result<Resident, AskError>> {
        let SlotSeat { shared, common, journal, .. } = &self.seat;
        let spec = common.kinds.by_number(key.kind)?;
        (!settle && journal.has_nothing(shared.slot, key)).then(|| fresh(spec, key))
    }

    /// Brings the node's gauges up to date with this slot.
    fn gauge(&mut self, now: Time) {
        let Some(core) = &self.core else { return };
        let counts = [core.resident_count(), core.resident_bytes(), core.outstanding_count(), core.overdue_count(now)];
        let metrics = &self.seat.common.metrics;
        let gauges =
            [&metrics.resident_entities, &metrics.resident_bytes, &metrics.owed_outstanding, &metrics.owed_overdue];
        for ((gauge, count), gauged) in gauges.into_iter().zip(counts).zip(&mut self.gauged) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            gauge.add(count - *gauged);
            *gauged = count;
        }
    }

    fn set_timer(&mut self, myself: &ActorRef<SlotMessage>, next: Option<Time>, now: Time) {
        let Some(next) = next else { return };
        if self.timer.as_ref().is_some_and(|(at, _)| *at <= next) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
        let after = Duration::from_millis(next.since_ms(now).clamp(1, 24 * 3_600_000));
        let myself = myself.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = myself.cast(SlotMessage::Tick); // gone: its successor reads the index
        });
        self.timer = Some((next, timer));
    }

    fn load(&self, myself: &ActorRef<SlotMessage>, generation: u64, key: EntityKey, settle: bool) {
        let SlotSeat { shared, common, journal, gathering, loads, .. } = &self.seat;
        let loads = loads.clone();
        let (shared, kinds, journal, gathering) = (shared.clone(), common.kinds, journal.clone(), gathering.clone());
        let (slot, receipts) = (shared.slot, common.limits.receipts);
        let myself = myself.clone();
        tokio::spawn(async move {
            if settle {
                gathering.settle(slot, generation).await;
            }
            // Whoever has a place waits for the store alone, which bounds its reads. (It is never closed.)
            let _permit = loads.acquire().await;
            if shared.generation() != generation {
                return; // nobody waits for it any more
            }
            let result = match kinds.by_number(key.kind) {
                Some(spec) => {
                    // A panic of entity code must not leave those hanging who wait for it.
                    let loading = AssertUnwindSafe(load(&*journal, spec, slot, &key, &receipts)).catch_unwind();
                    loading.await.unwrap_or(Err(AskError::Panicked))
                }
                None => Err(AskError::UnknownKind),
            };
            let _ = myself.cast(SlotMessage::Loaded { generation, key, result: Box::new(result) }); // gone: nobody waits
        });
    }

    fn find_receipt(&self, myself: &ActorRef<SlotMessage>, generation: u64, lookup: Lookup) {
        let SlotSeat { shared, journal, gathering, .. } = &self.seat;
        let (slot, journal, gathering, myself) = (shared.slot, journal.clone(), gathering.clone(), myself.clone());
        tokio::spawn(async move {
            gathering.settle(slot, generation).await; // the receipt itself may be in flight
            let Envelope { key, request, .. } = &lookup.envelope;
            // However it ends it is told: until then the entity stays in memory.
            let finding = AssertUnwindSafe(journal.find_receipt(slot, key, &request.0)).catch_unwind();
            let found = finding.await.map_or(Err(AskError::Unavailable), |found| found.map_err(ask_error));
            let (lookup, found) = (Box::new(lookup), Box::new(found));
            let _ = myself.cast(SlotMessage::ReceiptFound { generation, lookup, found }); // gone: nobody waits
        });
    }

    fn read_owed(&self, myself: &ActorRef<SlotMessage>, generation: u64, after: Option<(i64, EntityKey)>) {
        let SlotSeat { shared, journal, sink, .. } = &self.seat;
        let (slot, journal, sink, myself) = (shared.slot, journal.clone(), sink.clone(), myself.clone());
        tokio::spawn(async move {
            let message = loop {
                match journal.owed(slot, after.clone(), OWED_PAGE).await {
                    Ok(rows) => {
                        let is_last = rows.len() < OWED_PAGE;
                        break SlotMessage::OwedPage { generation, rows, is_last };
                    }
                    Err(StoreError::Damaged(why)) => {
                        break SlotMessage::Damaged { generation, damage: Damage::Owed(after), why };
                    }
                    Err(error @ StoreError::Fatal(_)) => return sink.store_failed(error),
                    Err(error @ (StoreError::Unavailable(_) | StoreError::Unknown(_))) => {
                        tracing::warn!(slot, %error, "the owed index cannot be read");
                    }
                }
                tokio::time::sleep(AGAIN).await;
            };
            let _ = myself.cast(message); // gone: its successor reads again
        });
    }

    fn read_wakes(&self, myself: &ActorRef<SlotMessage>, generation: u64, after: (i64, EntityKey)) {
        let SlotSeat { shared, journal, gathering, .. } = &self.seat;
        let (slot, journal, gathering, myself) = (shared.slot, journal.clone(), gathering.clone(), myself.clone());
        tokio::spawn(async move {
            gathering.settle(slot, generation).await;
            let message = match journal.wakes(slot, Some(after.clone()), alarms::PAGE).await {
                Ok(rows) => SlotMessage::WakePage { generation, rows: Some(rows) },
                Err(StoreError::Damaged(why)) => SlotMessage::Damaged { generation, damage: Damage::Wakes(after), why },
                Err(error) => {
                    tracing::warn!(slot, %error, "the wake index cannot be read");
                    tokio::time::sleep(AGAIN).await;
                    SlotMessage::WakePage { generation, rows: None }
                }
            };
            let _ = myself.cast(message); // gone: its successor reads again
        });
    }

    fn resend(&self, dispatch: Dispatch) {
        let sink = self.seat.sink.clone();
        self.seat.common.metrics.owed_resent.inc();
        const RESEND_MAX: Duration = Duration::from_secs(60);
        let pause = (AGAIN * 2u32.saturating_pow(dispatch.attempt.clamp(1, 16) - 1)).min(RESEND_MAX);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            sink.dispatch(dispatch);
        });
    }
}
