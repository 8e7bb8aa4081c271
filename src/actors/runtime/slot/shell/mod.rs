//! The life of a slot, without I/O: a message in, outputs out as plain values, and no clock but the one that is told.
//! The actor of a node ([`super::actor`]) and the simulation both run this, and neither decides anything.
//!
//! A slot is in one of these phases:
//!
//! | phase | it ends |
//! | --- | --- |
//! | idle: it has not begun, or its store has failed. Nothing is done | with `Begin`, or with `Leave` |
//! | serving: a core judges messages | with the end of its generation, with damage, or with `Leave` |
//! | recovering: the inbox fills. What its last generation handed over settles, then the slot is claimed | when it is claimed, or with `Leave` |
//! | recovering in quarantine: callers are told that the data is damaged; after a pause the damaged place is read again | when that has succeeded and the slot is claimed |
//! | leaving: the inbox is closed, the memory given up; what was handed over settles | when it has |
//! | left | never: a slot that comes back is a new one |
//!
//! **What may cross, and why it does no harm.** Everything that the slot sets going (a load, a page, a claim, a pause)
//! comes back as a message with the slot's generation, and a generation's number is never used twice. One check, here, is
//! what all of it rests on: what comes back from an earlier generation is not taken.
//!
//! - *A load of an earlier generation.* Its state may rest on records that were refused since. Not taken; the entity is
//!   loaded anew for whoever asks.
//! - *A look-up of an earlier generation* carries a caller's command with it. The answer is not taken, but the command is
//!   kept: nobody has judged it, so the present generation does, as if it had just come.
//! - *A message of the runtime that comes again* (an answer, a wake) is not taken either: what it is about is read from
//!   the indexes by each generation.
//! - *A claim of an earlier recovery* (the writer failed meanwhile, so the recovery began anew) may be made at the
//!   store after the later one. Then the slot serves at an epoch that is over: its first append is refused, and
//!   it recovers once more. Nobody waits for the old claim, so it is not made again.
//! - *The end of a generation, told twice*: by the writer when a commit fails, by the supervisor when the writer
//!   fails. The second is of a generation that is not the present one any more, or it begins the recovery anew.
//! - *A tick that was on its way when its generation ended* finds nothing due, and has the next one set again.
//! - *A poke while the slot recovers* does nothing: when it serves again it looks into the inbox itself. Pushed between
//!   that look and the next turn, a message brings a poke of its own: the queue remembers whether one is on its way.
//! - *`Leave` at any moment.* The generation is over at once, so nothing of it is taken afterwards, nobody sends what it
//!   owes, and a claim on its way finds nobody. What it had handed to the writer was decided in good faith and is
//!   committed, with its answers. Only when that has settled is the slot said to have left: whoever claims it then
//!   finds all of it, and if it did not (the store has lost the outcome) its claim fences what is still on its way.
//! - *An answer to what an entity owes, for a slot that has left,* finds the inbox closed and is dropped. The request is
//!   owed still, so the next owner sends it again, under the same id, and gets the same answer.

mod recovery;

use std::sync::Arc;

use tokio::time::Instant;

use super::SlotShared;
use super::core::SlotCore;
use super::gauges::Gauges;
use super::load::fresh;
use super::message::{Back, SlotMessage, Start};
use super::news::News;
use super::output::{Output, Outputs};
use super::question::{Damage, Question};
use super::state::Common;
use crate::actors::runtime::envelope::{AskError, Envelope};
use crate::actors::runtime::writer::Ended;
use crate::actors::values::Time;
use crate::cluster::{Lease, Ownership};
use crate::persistence::{Epoch, Journal, SlotHead, StoreError};
use recovery::{Backoff, Recovery};

/// After this time a page of an index that could not be read is asked for again.
const PAGE_AGAIN_MS: u64 = 1_000;

/// What a slot knows of the node around it. Nothing of it is waited for.
pub struct SlotContext {
    pub shared: Arc<SlotShared>,
    pub common: Arc<Common>,
    pub ownership: Arc<Ownership>,
    pub lease: Arc<dyn Lease>,
    /// Asked only whether it has anything of an entity, which it knows without looking.
    pub journal: Arc<dyn Journal>,
}

/// The time of a message: of day, and on the clock of deadlines.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub time: Time,
    pub instant: Instant,
}

pub struct SlotShell {
    context: SlotContext,
    phase: Phase,
    /// Messages of callers from before the recovery.
    held: Vec<Envelope>,
    backoff: Backoff,
    /// The tick that is on its way.
    tick_at: Option<Time>,
    gauges: Gauges,
    out: Outputs,
}

enum Phase {
    Idle,
    Serving(Box<SlotCore>),
    Recovering(Recovery),
    Leaving,
    Left,
}

impl SlotShell {
    /// A slot that waits to be told to begin.
    pub fn new(context: SlotContext) -> SlotShell {
        let gauges = Gauges::new(context.common.metrics.clone());
        let (held, out) = (Vec::new(), Outputs::default());
        SlotShell { context, phase: Phase::Idle, held, backoff: Backoff::default(), tick_at: None, gauges, out }
    }

    /// Takes a message, and says what is to be done.
    pub fn handle(&mut self, message: SlotMessage, now: Now) -> Outputs {
        match message {
            SlotMessage::Begin(start) => self.begin(*start, now),
            SlotMessage::Poke => self.turn(now),
            SlotMessage::Tick => {
                self.tick_at = None;
                if let Phase::Serving(core) = &mut self.phase {
                    core.tick(now.time);
                }
            }
            SlotMessage::Keep(epoch) => self.keep(epoch),
            SlotMessage::Passivate => {
                if let Phase::Serving(core) = &mut self.phase {
                    core.passivate(now.time);
                    self.gauges.set(core, now.time);
                }
            }
            SlotMessage::Leave => self.leave(),
            SlotMessage::Ended { generation, why } => self.ended(generation, why, now),
            SlotMessage::Back { generation, what } if generation == self.context.shared.generation() => {
                self.back(*what, now);
            }
            SlotMessage::Back { what, .. } => self.back_too_late(*what, now),
        }
        self.finish(now);
        std::mem::take(&mut self.out)
    }

    fn begin(&mut self, start: Start, now: Now) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        let shared = &self.context.shared;
        shared.inbox.open();
        shared.resume();
        self.out.others.push(Output::News(News::Opened));
        match start {
            Start::Claimed(head) if head.epoch > shared.epoch() => {
                shared.next_generation();
                self.serve(&head, now);
            }
            // At an epoch that this process has known before: see `Self::claimed`.
            Start::Claimed(_) => self.recover(None),
            Start::Given(epoch) if epoch > shared.epoch() => {
                shared.next_generation();
                self.phase = Phase::Recovering(Recovery::default());
                self.ask(Question::ReadHead);
            }
            Start::Given(_) => self.recover(None),
            Start::Unclaimed(epoch) => {
                shared.saw_epoch(epoch);
                self.recover(None);
            }
            Start::Recover => {
                shared.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                self.end_generation();
                self.recover(None);
            }
        }
    }

    /// The slot was suspended, and is this node's at this epoch. What is in flight at the epoch before is refused; then the
    /// generation ends as after any refusal.
    fn keep(&mut self, epoch: Epoch) {
        let SlotContext { shared, ownership, .. } = &self.context;
        match &mut self.phase {
            Phase::Serving(core) => {
                core.raise_epoch(epoch);
                ownership.set(shared.slot, Some(epoch));
                shared.saw_epoch(epoch);
            }
            Phase::Recovering(_) => shared.saw_epoch(epoch),
            Phase::Idle => {
                shared.saw_epoch(epoch);
                shared.inbox.open();
                self.recover(None);
            }
            Phase::Leaving | Phase::Left => return,
        }
        let shared = &self.context.shared;
        // First, so that nobody takes the time of the suspension for one in which the slot did nothing.
        if shared.inbox.repoke() {
            self.out.others.push(Output::Poke);
        }
        shared.resume();
    }

    /// Takes what has gathered in the inbox.
    fn turn(&mut self, now: Now) {
        match &mut self.phase {
            // What it decided now would be refused, with all that it has in memory. It looks again when it goes on.
            Phase::Serving(_) if self.context.shared.is_suspended() => {}
            Phase::Serving(core) => {
                let SlotContext { shared, common, .. } = &self.context;
                if let Some(waited) = shared.inbox.has_waited(now.instant) {
                    common.metrics.queue_seconds.observe(waited.as_secs_f64());
                }
                let (batch, again) = shared.inbox.drain(common.limits.turn_messages_max);
                for envelope in batch {
                    judge(core, envelope, now);
                }
                if core.is_over_budget() {
                    core.passivate(now.time);
                }
                if again {
                    self.out.others.push(Output::Poke);
                }
            }
            Phase::Recovering(recovery) if recovery.is_quarantine() => self.turn_away(),
            Phase::Recovering(_) | Phase::Idle | Phase::Leaving | Phase::Left => {}
        }
    }

    /// What this generation has set going comes back.
    fn back(&mut self, what: Back, now: Now) {
        match &mut self.phase {
            Phase::Serving(core) => match what {
                Back::Loaded { key, result } => core.loaded(key, *result, now.time),
                Back::ReceiptFound { lookup, found } => core.receipt_found(*lookup, *found, now.time),
                Back::OwedRead { page: Ok(page), .. } => core.owed_page(page, now.time),
                Back::WakesRead { rows: Ok(rows), .. } => core.wake_page(rows, now.time),
                Back::OwedRead { after, page: Err(error) } => {
                    let again = Question::ReadOwed { after: after.clone() };
                    self.page_not_read(Damage::Owed(after), again, error, now);
                }
                Back::WakesRead { after, rows: Err(error) } => {
                    let again = Question::ReadWakes { after: after.clone() };
                    self.page_not_read(Damage::Wakes(after), again, error, now);
                }
                Back::Again(envelope) => core.message(*envelope, now.time),
                Back::Ask(question) => self.ask(question),
                Back::Settled | Back::LookedAgain(_) | Back::HeadRead(_) | Back::Claimed { .. } => {}
            },
            Phase::Recovering(_) => self.recovered_so_far(what, now),
            Phase::Leaving => {
                if let Back::Settled = what {
                    self.left();
                }
            }
            Phase::Idle | Phase::Left => {}
        }
    }

    /// What an earlier generation has set going comes back. Of all that only a caller's message counts: it was never
    /// judged.
    fn back_too_late(&mut self, what: Back, now: Now) {
        let Back::ReceiptFound { lookup, .. } = what else { return };
        match &mut self.phase {
            Phase::Serving(core) => judge(core, lookup.envelope, now),
            Phase::Recovering(recovery) => {
                let is_quarantine = recovery.is_quarantine();
                self.held.push(lookup.envelope);
                if is_quarantine {
                    self.turn_away();
                }
            }
            Phase::Idle | Phase::Leaving | Phase::Left => self.out.others.push(Output::Reroute(lookup.envelope)),
        }
    }

    /// A page of an index could not be read.
    fn page_not_read(&mut self, damage: Damage, again: Question, error: StoreError, now: Now) {
        let slot = self.context.shared.slot;
        match error {
            StoreError::Damaged(why) => self.quarantine(damage, &why, now),
            StoreError::Fatal(_) => self.fail(error),
            StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                tracing::warn!(slot, %error, "{} cannot be read", damage.place());
                self.after(PAGE_AGAIN_MS, Back::Ask(again));
            }
        }
    }

    /// The writer could not make a generation's records durable.
    fn ended(&mut self, generation: u64, why: Ended, now: Now) {
        let lives = matches!(self.phase, Phase::Serving(_) | Phase::Recovering(_));
        // Also while it recovers: then the writer has failed meanwhile, and the recovery begins anew.
        if generation != self.context.shared.generation() || !lives {
            return;
        }
        tracing::warn!(slot = self.context.shared.slot, generation, why = why.word(), "generation ended");
        if let Ended::Damaged(why) = why {
            self.quarantine(Damage::Append, &why, now);
        } else {
            self.leave_core();
            self.recover(None);
        }
    }

    /// Begins to serve the present generation.
    fn serve(&mut self, head: &SlotHead, now: Now) {
        let SlotContext { shared, common, ownership, .. } = &self.context;
        shared.saw_epoch(head.epoch);
        ownership.set(shared.slot, Some(head.epoch));
        let mut core = Box::new(SlotCore::new(shared.clone(), common.clone(), shared.generation(), head));
        for envelope in self.held.drain(..) {
            judge(&mut core, envelope, now);
        }
        if shared.inbox.repoke() {
            self.out.others.push(Output::Poke);
        }
        self.phase = Phase::Serving(core);
        self.out.others.push(Output::News(News::Serves(head.epoch)));
        self.end_quarantine();
    }

    /// Throws the generation's memory away, and keeps the messages of callers for the next one.
    fn leave_core(&mut self) {
        if let Phase::Serving(core) = &mut self.phase {
            let (waiting, last) = core.end();
            self.held.extend(waiting);
            self.out.append(last);
        }
        (self.phase, self.tick_at) = (Phase::Idle, None);
    }

    /// Takes nothing any more, has those who wait brought to where the slot lives next, and lets what is in flight settle.
    fn leave(&mut self) {
        if matches!(self.phase, Phase::Leaving | Phase::Left) {
            return;
        }
        self.close();
        let ended = self.context.shared.generation();
        self.context.shared.next_generation();
        self.phase = Phase::Leaving;
        self.ask(Question::Settle { generation: ended });
    }

    /// Gives everything up. What waits goes to where the slot lives next; what the runtime itself has sent comes again there
    /// from the indexes.
    fn close(&mut self) {
        let waiting = self.context.shared.close();
        self.leave_core();
        let waiting = waiting.into_iter().chain(self.held.drain(..));
        let of_callers = waiting.filter(|envelope| !envelope.body.is_internal());
        self.out.others.extend(of_callers.map(Output::Reroute));
    }

    /// Another node has the slot.
    fn give_up(&mut self, owner: String, epoch: Epoch) {
        tracing::warn!(slot = self.context.shared.slot, owner, epoch, "another node has the slot");
        self.close();
        self.out.others.push(Output::News(News::IsAnothers { owner, epoch }));
    }

    fn left(&mut self) {
        let SlotContext { shared, common, ownership, .. } = &self.context;
        let withheld = shared.forget();
        common.metrics.entities_withheld.sub(i64::try_from(withheld).unwrap_or(i64::MAX));
        ownership.set(shared.slot, None);
        if ownership.end_quarantine(shared.slot) {
            common.metrics.slots_quarantined.dec();
        }
        self.phase = Phase::Left;
        self.out.others.push(Output::Left);
    }

    /// The store must not be used any more: the slot does nothing until it is told to leave.
    fn fail(&mut self, error: StoreError) {
        tracing::error!(slot = self.context.shared.slot, %error, "the slot cannot go on");
        self.close();
        self.out.others.push(Output::StoreFailed(error));
    }

    /// Has the writer refuse what the present generation still hands over.
    fn end_generation(&mut self) {
        let (slot, generation) = (self.context.shared.slot, self.context.shared.generation());
        self.out.others.push(Output::EndGeneration { slot, generation, why: Ended::Unknown });
    }

    fn ask(&mut self, question: Question) {
        let generation = self.context.shared.generation();
        self.out.others.push(Output::Ask { generation, question });
    }

    fn after(&mut self, after_ms: u64, what: Back) {
        let generation = self.context.shared.generation();
        self.out.others.push(Output::After { generation, after_ms, what });
    }

    /// Takes what the core wants done, until it wants nothing more.
    fn finish(&mut self, now: Now) {
        while let Phase::Serving(core) = &mut self.phase {
            let mut wanted = core.outputs(now.time);
            if wanted.is_empty() {
                break;
            }
            let untouched = self.context.take_untouched(&mut wanted);
            self.context.release(&mut wanted);
            self.out.append(wanted);
            for question in untouched {
                if let Question::Load { key, .. } = question
                    && let Some(spec) = self.context.common.kinds.by_number(key.kind)
                {
                    let resident = fresh(spec, &key);
                    core.loaded(key, resident, now.time);
                }
            }
        }
        if let Phase::Serving(core) = &self.phase
            && let Some(next) = core.next_tick()
            && self.tick_at.is_none_or(|at| next < at)
        {
            self.tick_at = Some(next);
            self.out.others.push(Output::TickAt(next));
        }
        let core = match &self.phase {
            Phase::Serving(core) => Some(&**core),
            Phase::Idle | Phase::Recovering(_) | Phase::Leaving | Phase::Left => None,
        };
        self.context.shared.reading.show(core, self.context.shared.durable_seq());
    }
}

impl SlotContext {
    /// Takes out the loads of entities that nobody has ever touched: there is nothing to load.
    fn take_untouched(&self, wanted: &mut Outputs) -> Vec<Question> {
        let is_untouched = |output: &mut Output| match output {
            Output::Ask { question: Question::Load { key, settle: false }, .. } => {
                self.common.kinds.by_number(key.kind).is_some() && self.journal.has_nothing(self.shared.slot, key)
            }
            _ => false,
        };
        let taken = wanted.others.extract_if(.., is_untouched);
        let question = |output| match output {
            Output::Ask { question, .. } => Some(question),
            _ => None,
        };
        taken.filter_map(question).collect()
    }

    /// Who may have lost the slot keeps to himself what he knows of it.
    fn release(&self, wanted: &mut Outputs) {
        if self.shared.may_answer(&*self.lease) {
            return;
        }
        for output in &mut wanted.others {
            if let Output::Answer(_, answer) = output
                && answer.as_ref().map_or_else(AskError::rests_on_state, |_| true)
            {
                *answer = Err(AskError::Unknown);
            }
        }
    }
}

/// Has a message judged, unless its caller has stopped waiting.
fn judge(core: &mut SlotCore, envelope: Envelope, now: Now) {
    if envelope.deadline < now.instant && !envelope.body.is_internal() {
        envelope.reply.send(Err(AskError::DeadlinePassed));
    } else {
        core.message(envelope, now.time);
    }
}
