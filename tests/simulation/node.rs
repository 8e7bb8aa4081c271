//! One incarnation of a node: the real slots, the real journal writer and the real loading of entities,
//! without the actors around them. What `slot::actor`, `runtime` and `dispatcher` do between them is done
//! here, one step at a time: every mailbox, task and timer is a place where the scheduler may choose.

mod asking;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use souk::actors::runtime::envelope::{AskError, Body, Envelope, Reply, ReplyTo};
use souk::actors::runtime::slot::core::SlotCore;
use souk::actors::runtime::slot::output::{Lookup, Output};
use souk::actors::runtime::slot::{Common, Dispatch, Resident, SlotShared, fresh};
use souk::actors::runtime::writer::{
    Effect, EffectSink, Ended, Gathering, Item, Submission, WriterArguments, WriterLimits,
};
use souk::actors::values::Time;
use souk::cluster::Lease;
use souk::config::Config;
use souk::metrics::Metrics;
use souk::persistence::{EntityKey, Epoch, Journal, OwedRow, Record, Refusal, Slot, SlotHead, StoreError, WakeRow};

use crate::journal::SimJournal;
use crate::mutations::Mutation;
use crate::task::{Task, yield_once};

/// What the runtime waits before it tries something again, in milliseconds (see `slot::actor`).
const AGAIN_MS: u64 = 1_000;
/// Rows of the wake index read at once: what the slot's alarms expect.
const WAKE_PAGE: usize = 64;
/// Rows of the owed index read at once: few, so that there are pages.
const OWED_PAGE: usize = 3;

/// What the writer lets out.
#[derive(Default)]
pub struct SimSink(Mutex<VecDeque<Out>>);

pub enum Out {
    Dispatch(Dispatch),
    Ended { slot: Slot, generation: u64 },
}

impl EffectSink for SimSink {
    fn dispatch(&self, dispatch: Dispatch) {
        self.0.lock().push_back(Out::Dispatch(dispatch));
    }
    fn changed(&self, _keys: Vec<EntityKey>) {}
    fn readable_again(&self) {}
    fn ended(&self, slot: Slot, generation: u64, _why: Ended) {
        self.0.lock().push_back(Out::Ended { slot, generation });
    }
    fn store_failed(&self, error: StoreError) {
        panic!("the simulated store never fails for good: {error}");
    }
}

/// A lease that can be in doubt.
pub struct SimLease(pub std::sync::atomic::AtomicBool);

impl Lease for SimLease {
    fn is_valid(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What comes to a slot besides messages for its entities.
enum Mail {
    Loaded { generation: u64, key: EntityKey, result: Box<Result<Resident, AskError>> },
    ReceiptFound { generation: u64, lookup: Box<Lookup>, found: Box<Result<Option<Record>, AskError>> },
    OwedPage { generation: u64, rows: Vec<(EntityKey, OwedRow)>, is_last: bool },
    WakePage { generation: u64, rows: Option<Vec<WakeRow>> },
    Again { generation: u64, envelope: Box<Envelope> },
    Ended { generation: u64 },
    Recovered { generation: u64, head: SlotHead },
}

struct Seat {
    shared: Arc<SlotShared>,
    core: Option<SlotCore>,
    held: Vec<Envelope>,
    mail: VecDeque<Mail>,
    tasks: Vec<Task<Mail>>,
    /// The slot's actor has failed and has not been started again.
    down: bool,
}

enum Timer {
    Again { slot: usize, generation: u64, envelope: Box<Envelope> },
    Resend(Dispatch),
}

/// A step of the node itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStep {
    /// A slot takes messages from its inbox.
    Turn(usize),
    /// A slot takes the next thing from its mailbox.
    Mail(usize),
    /// A task of a slot goes on.
    Task(usize, usize),
    /// A wake is due.
    Tick(usize),
    Timer(usize),
    Writer,
    /// A slot whose actor failed is started again.
    Restart(usize),
    StartWriter,
}

pub struct Node {
    pub name: String,
    seats: Vec<Seat>,
    journal: SimJournal,
    common: Arc<Common>,
    gathering: Arc<Gathering>,
    writer: Arc<WriterArguments>,
    committing: Option<Task<()>>,
    writer_down: bool,
    sink: Arc<SimSink>,
    lease: Arc<SimLease>,
    /// Recoveries of slot actors that have failed meanwhile: nobody waits for them, but they go on.
    orphans: Vec<Task<Mail>>,
    epochs: Vec<Epoch>,
    timers: Vec<(Time, Timer)>,
    turn_max: usize,
    mutation: Option<Mutation>,
    /// What [`Mutation::ViewNotHidden`] shows.
    stale: Mutex<BTreeMap<EntityKey, Reply>>,
}

pub struct NodeConfig {
    pub name: String,
    pub common: Arc<Common>,
    pub inbox_max: usize,
    pub batch_max: usize,
    pub mutation: Option<Mutation>,
}

impl Node {
    /// Claims every slot and begins to serve, as `Prepared::start` does.
    pub fn start(
        config: NodeConfig,
        journal: SimJournal,
        heads: Vec<SlotHead>,
        lease: Arc<SimLease>,
        metrics: Arc<Metrics>,
        now: Time,
    ) -> Node {
        let NodeConfig { name, common, inbox_max, batch_max, mutation } = config;
        let shared: Vec<_> = (0..journal.slots()).map(|slot| SlotShared::new(slot, inbox_max)).collect();
        let gathering = Gathering::new(common.room.clone());
        let sink = Arc::new(SimSink::default());
        let writer = Arc::new(WriterArguments {
            gathering: gathering.clone(),
            owner: name.as_str().into(),
            journal: Arc::new(journal.clone()),
            lease: lease.clone(),
            slots: shared.clone(),
            sink: sink.clone(),
            limits: WriterLimits { batch_records_max: batch_max, ..Config::default().journal },
            metrics,
            sleep: |_| Box::pin(yield_once()),
        });
        let seat = |shared| Seat {
            shared,
            core: None,
            held: Vec::new(),
            mail: VecDeque::new(),
            tasks: Vec::new(),
            down: false,
        };
        let mut node = Node {
            name,
            seats: shared.into_iter().map(seat).collect(),
            journal,
            turn_max: common.limits.turn_messages_max,
            common,
            gathering,
            writer,
            committing: None,
            writer_down: false,
            sink,
            lease,
            orphans: Vec::new(),
            epochs: heads.iter().map(|head| head.epoch).collect(),
            timers: Vec::new(),
            mutation,
            stale: Mutex::default(),
        };
        for (slot, head) in heads.iter().enumerate() {
            let generation = node.seats[slot].shared.next_generation();
            node.serve(slot, generation, head, now);
        }
        node
    }

    pub fn shared(&self, slot: Slot) -> &Arc<SlotShared> {
        &self.seats[usize::from(slot)].shared
    }

    /// Answers a read with what its slot shows, as the router does.
    pub fn read(&self, envelope: Envelope) -> Option<Envelope> {
        if !self.lease.is_valid() {
            return Some(envelope);
        }
        let shared = self.shared(envelope.slot);
        if self.mutation != Some(Mutation::ViewNotHidden) || !matches!(envelope.body, Body::Read { .. }) {
            return shared.read(envelope);
        }
        let (reply, mut shown) = ReplyTo::channel();
        let body = envelope.body.clone();
        shared.read(Envelope { reply, ..Envelope::internal(envelope.key.clone(), envelope.slot, body) });
        let mut stale = self.stale.lock();
        if let Ok(Ok(shown)) = shown.try_recv() {
            stale.entry(envelope.key.clone()).or_insert(shown);
        }
        match stale.get(&envelope.key) {
            Some(shown) => envelope.reply.send(Ok(shown.clone())),
            None => return Some(envelope),
        }
        None
    }

    /// What can happen now.
    pub fn steps(&self, now: Time) -> Vec<NodeStep> {
        let mut steps = Vec::new();
        for (slot, seat) in self.seats.iter().enumerate() {
            if seat.down {
                steps.push(NodeStep::Restart(slot));
                continue;
            }
            if !seat.mail.is_empty() {
                steps.push(NodeStep::Mail(slot));
            }
            steps.extend((0..seat.tasks.len()).filter(|i| seat.tasks[*i].is_awake()).map(|i| NodeStep::Task(slot, i)));
            let Some(core) = &seat.core else { continue };
            if !seat.shared.inbox.is_empty() {
                steps.push(NodeStep::Turn(slot));
            }
            if core.next_tick().is_some_and(|due| due <= now) {
                steps.push(NodeStep::Tick(slot));
            }
        }
        let orphans = (0..self.orphans.len()).filter(|i| self.orphans[*i].is_awake());
        steps.extend(orphans.map(|i| NodeStep::Task(self.seats.len(), i)));
        steps.extend((0..self.timers.len()).filter(|i| self.timers[*i].0 <= now).map(NodeStep::Timer));
        match &self.committing {
            _ if self.writer_down => steps.push(NodeStep::StartWriter),
            Some(task) if task.is_awake() => steps.push(NodeStep::Writer),
            None if !self.gathering.is_empty() => steps.push(NodeStep::Writer),
            Some(_) | None => {}
        }
        steps
    }

    /// The next time at which something can happen by itself.
    pub fn next_due(&self) -> Option<Time> {
        let ticks = self.seats.iter().filter_map(|seat| seat.core.as_ref()?.next_tick());
        ticks.chain(self.timers.iter().map(|(due, _)| *due)).min()
    }

    pub fn step(&mut self, step: NodeStep, now: Time) {
        match step {
            NodeStep::Turn(slot) => self.turn(slot, now),
            NodeStep::Mail(slot) => self.mail(slot, now),
            NodeStep::Task(slot, index) if slot == self.seats.len() => {
                if self.orphans[index].step().is_some() {
                    drop(self.orphans.remove(index));
                }
            }
            NodeStep::Task(slot, index) => {
                let seat = &mut self.seats[slot];
                if let Some(mail) = seat.tasks[index].step() {
                    drop(seat.tasks.remove(index));
                    seat.mail.push_back(mail);
                }
            }
            NodeStep::Tick(slot) => {
                if let Some(core) = &mut self.seats[slot].core {
                    core.tick(now);
                }
                self.carry_out(slot, now);
            }
            NodeStep::Timer(index) => match self.timers.remove(index).1 {
                Timer::Again { slot, generation, envelope } => {
                    self.seats[slot].mail.push_back(Mail::Again { generation, envelope });
                }
                Timer::Resend(dispatch) => self.sink.dispatch(dispatch),
            },
            NodeStep::Writer => {
                let writer = self.writer.clone();
                let task =
                    self.committing.get_or_insert_with(|| Task::new(async move { writer.commit_gathered().await }));
                if task.step().is_some() {
                    self.committing = None;
                }
            }
            NodeStep::Restart(slot) => {
                self.seats[slot].down = false;
                let shared = &self.seats[slot].shared;
                shared.restarts.fetch_add(1, Ordering::Relaxed);
                let before = shared.generation();
                self.gathering.end_generation(shared.slot, before, Ended::Unknown);
                self.recover(slot, before);
            }
            NodeStep::StartWriter => self.writer_down = false,
        }
    }

    /// What the writer has let out since the last call. Endings go to their slots.
    pub fn take_dispatches(&mut self) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        for out in std::mem::take(&mut *self.sink.0.lock()) {
            match out {
                Out::Dispatch(dispatch) => dispatches.push(dispatch),
                Out::Ended { slot, generation } => {
                    self.seats[usize::from(slot)].mail.push_back(Mail::Ended { generation });
                }
            }
        }
        dispatches
    }

    pub fn passivate(&mut self, slot: usize, now: Time) {
        if let Some(core) = &mut self.seats[slot].core {
            core.passivate(now);
            self.carry_out(slot, now);
        }
    }

    /// The slot's actor fails: all that it had in memory is gone.
    pub fn fail_slot(&mut self, slot: usize) {
        let seat = &mut self.seats[slot];
        let recovering = seat.core.is_none();
        (seat.core, seat.down) = (None, true);
        seat.held.clear();
        seat.mail.clear();
        let tasks = std::mem::take(&mut seat.tasks);
        if recovering {
            self.orphans.extend(tasks);
        }
    }

    /// The writer's actor fails, as `runtime` sees it.
    pub fn fail_writer(&mut self) {
        self.committing = None;
        self.journal.writer_crashed();
        self.writer_down = true;
        for seat in &mut self.seats {
            let generation = seat.shared.generation();
            self.gathering.end_generation(seat.shared.slot, generation, Ended::Unknown);
            if !seat.down {
                seat.mail.push_back(Mail::Ended { generation });
            }
        }
    }

    pub fn is_writer_down(&self) -> bool {
        self.writer_down
    }

    /// `SlotActorState::turn`.
    fn turn(&mut self, slot: usize, now: Time) {
        let seat = &mut self.seats[slot];
        let Some(core) = &mut seat.core else { return };
        let (batch, _again) = seat.shared.inbox.drain(self.turn_max);
        for envelope in batch {
            core.message(envelope, now);
        }
        if core.is_over_budget() {
            core.passivate(now);
        }
        self.carry_out(slot, now);
    }

    /// `SlotActor::handle`.
    fn mail(&mut self, slot: usize, now: Time) {
        let seat = &mut self.seats[slot];
        let Some(mail) = seat.mail.pop_front() else { return };
        match (mail, &mut seat.core) {
            (Mail::Ended { generation }, core) if generation == seat.shared.generation() => {
                if let Some(mut core) = core.take() {
                    let mut held = core.end();
                    held.sort_by(|a, b| a.key.cmp(&b.key)); // in no order otherwise: each entity's stay in theirs
                    seat.held.extend(held);
                }
                return self.recover(slot, generation);
            }
            (Mail::Recovered { generation, head }, None) if generation == seat.shared.generation() => {
                return self.serve(slot, generation, &head, now);
            }
            (Mail::ReceiptFound { lookup, .. }, None) => seat.held.push(lookup.envelope),
            (_, None) | (Mail::Ended { .. } | Mail::Recovered { .. }, Some(_)) => {}
            (Mail::Again { generation, envelope }, Some(core)) => {
                if generation == core.generation() {
                    core.message(*envelope, now);
                }
            }
            (Mail::Loaded { generation, key, result }, Some(core)) => core.loaded(generation, key, *result, now),
            (Mail::ReceiptFound { generation, lookup, found }, Some(core)) => {
                core.receipt_found(generation, *lookup, *found, now);
            }
            (Mail::OwedPage { generation, rows, is_last }, Some(core)) => {
                core.owed_page(generation, rows, is_last, now)
            }
            (Mail::WakePage { generation, rows }, Some(core)) => core.wake_page(generation, rows, now),
        }
        self.carry_out(slot, now);
    }

    /// `SlotActorState::serve`.
    fn serve(&mut self, slot: usize, generation: u64, head: &SlotHead, now: Time) {
        self.epochs[slot] = head.epoch;
        let seat = &mut self.seats[slot];
        let mut core = SlotCore::new(seat.shared.clone(), self.common.clone(), generation, head);
        for envelope in seat.held.drain(..) {
            core.message(envelope, now);
        }
        seat.core = Some(core);
        seat.shared.inbox.reopen();
        self.carry_out(slot, now);
    }

    /// `SlotActorState::recover`.
    fn recover(&mut self, slot: usize, ended: u64) {
        let seat = &mut self.seats[slot];
        let generation = seat.shared.next_generation();
        let (journal, gathering, owner) = (self.journal.clone(), self.gathering.clone(), self.name.clone());
        let (number, mut epoch) = (seat.shared.slot, self.epochs[slot]);
        seat.tasks.push(Task::new(async move {
            gathering.settle(number, ended).await;
            loop {
                match journal.claim(&owner, &[(number, epoch)]).await.map(|mut heads| heads.pop()) {
                    Ok(Some(Ok(head))) => return Mail::Recovered { generation, head },
                    Ok(Some(Err(Refusal::Fenced { current }))) => epoch = current,
                    Ok(Some(Err(_)) | None) | Err(_) => {}
                }
                yield_once().await;
            }
        }));
    }

    /// `SlotActorState::carry_out`.
    fn carry_out(&mut self, slot: usize, now: Time) {
        let Some(core) = &mut self.seats[slot].core else { return };
        let (outputs, generation) = (core.outputs(now), core.generation());
        let mut others = Vec::new();
        let mut submissions = Vec::new();
        for output in outputs {
            match output {
                Output::Submit(submission) => submissions.push(self.mutate(slot, submission)),
                other => others.push(other),
            }
        }
        self.gathering.submit(submissions);
        let mut untouched = Vec::new();
        for output in others {
            match output {
                Output::Submit(_) => {}
                Output::Answer(reply, Ok(_)) if !self.lease.is_valid() => reply.send(Err(AskError::Unknown)),
                Output::Answer(reply, answer) => reply.send(answer),
                Output::Load { key, settle: false } if self.journal.has_nothing(slot as Slot, &key) => {
                    untouched.push(key)
                }
                Output::Load { key, settle } => self.load(slot, generation, key, settle),
                Output::FindReceipt(lookup) => self.find_receipt(slot, generation, lookup),
                Output::ReadOwed { after } => self.read_owed(slot, generation, after),
                Output::ReadWakes { after } => self.read_wakes(slot, generation, after),
                Output::Resend(dispatch) => {
                    let pause_ms = (AGAIN_MS << (dispatch.attempt.clamp(1, 16) - 1)).min(60_000);
                    self.timers.push((now.plus_ms(pause_ms), Timer::Resend(dispatch)));
                }
                Output::Later { envelope, after_ms } => {
                    let again = Timer::Again { slot, generation, envelope: Box::new(envelope) };
                    self.timers.push((now.plus_ms(after_ms), again));
                }
            }
        }
        for key in untouched {
            let spec = self.common.kinds.by_number(key.kind).ok_or(AskError::UnknownKind);
            let result = spec.and_then(|spec| fresh(spec, &key));
            if let Some(core) = &mut self.seats[slot].core {
                core.loaded(generation, key, result, now);
            }
            self.carry_out(slot, now);
        }
    }

    fn mutate(&self, slot: usize, mut submission: Submission) -> Submission {
        match self.mutation {
            Some(Mutation::ReadBeforeCommit) => {
                if let Item::Record(record) = &submission.item {
                    self.seats[slot].shared.set_durable_seq(record.seq);
                }
            }
            Some(Mutation::ReplyBeforeCommit) => {
                let (replies, others) =
                    submission.effects.into_iter().partition(|effect| matches!(effect, Effect::Reply(..)));
                submission.effects = others;
                let replies: Vec<Effect> = replies;
                for effect in replies {
                    if let Effect::Reply(to, reply) = effect {
                        to.send(reply);
                    }
                }
            }
            Some(_) | None => {}
        }
        submission
    }
}
