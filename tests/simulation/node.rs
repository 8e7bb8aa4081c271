//! One incarnation of a node: the real slots and the real journal writer, without the actors around them. Slots are run
//! as their actors run them: a mailbox each, tasks that put their questions to the store, timers. Every mailbox, task
//! and timer is a place where the scheduler may choose what comes next; nothing here decides anything else.

mod spoiling;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use souk::actors::runtime::envelope::{AskError, Envelope, Reply};
use souk::actors::runtime::roster::{Ending, Roster, Step};
use souk::actors::runtime::slot::asking::Asking;
use souk::actors::runtime::slot::message::{SlotMessage, Start};
use souk::actors::runtime::slot::news::News;
use souk::actors::runtime::slot::output::{Output, Outputs};
use souk::actors::runtime::slot::shell::{Now, SlotContext, SlotShell};
use souk::actors::runtime::slot::{Claims, Common, Delivered, Dispatch, SlotShared};
use souk::actors::runtime::writer::{EffectSink, Ended, Gathering, WriterArguments, WriterLimits};
use souk::actors::values::Time;
use souk::cluster::{Lease, NodeId, Ownership};
use souk::config::Config;
use souk::persistence::{EntityKey, Journal, Record, Slot, SlotHead, StoreError};
use tokio::sync::{Semaphore, oneshot};

use crate::journal::SimJournal;
use crate::mutations::Mutation;
use crate::task::{Task, yield_once};

/// Rows of the owed index read at once: few, so that there are pages.
const OWED_PAGE: usize = 3;
/// Entities that are loaded at once: few, so that some wait.
const LOADS_MAX: usize = 4;
/// Reads of indexes at once: more than there can be, so that none waits.
const INDEX_READS_MAX: usize = 1_000;

/// What the writer and the slots let out.
#[derive(Default)]
pub struct SimSink(Mutex<VecDeque<Out>>);

pub enum Out {
    Dispatch(Dispatch),
    Ended { slot: Slot, generation: u64, why: Ended },
    StoreFailed,
}

impl EffectSink for SimSink {
    fn dispatch(&self, dispatch: Dispatch) {
        self.0.lock().push_back(Out::Dispatch(dispatch));
    }
    fn committed(&self, _records: Vec<Arc<Record>>) {}
    fn ended(&self, slot: Slot, generation: u64, why: Ended) {
        self.0.lock().push_back(Out::Ended { slot, generation, why });
    }
    fn reroute(&self, envelope: Envelope) {
        envelope.reply.send(Err(AskError::Unavailable)); // there is no other node
    }
    fn news(&self, _slot: Slot, news: News) {
        if let News::IsAnothers { .. } = news {
            self.0.lock().push_back(Out::StoreFailed);
        }
    }
    fn store_failed(&self, _error: StoreError) {
        self.0.lock().push_back(Out::StoreFailed);
    }
}

/// A lease that can be in doubt.
pub struct SimLease(pub std::sync::atomic::AtomicBool);

impl Lease for SimLease {
    fn is_valid(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a slot lives, or would.
struct Seat {
    shared: Arc<SlotShared>,
    asking: Arc<Asking>,
    /// `None`: there is no actor.
    shell: Option<SlotShell>,
    mail: VecDeque<SlotMessage>,
    tasks: Vec<Task<Option<SlotMessage>>>,
    tick: Option<Time>,
    /// Its actor has failed, and is to be started again.
    is_down: bool,
    /// It has left before: only a mutation wants to know.
    has_left: bool,
}

enum Timer {
    Back { slot: usize, message: SlotMessage },
    Resend(Dispatch),
}

/// A step of the node itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStep {
    /// A slot takes the next message from its mailbox.
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
    pub id: NodeId,
    seats: Vec<Seat>,
    roster: Roster,
    journal: SimJournal,
    common: Arc<Common>,
    gathering: Arc<Gathering>,
    writer: Arc<WriterArguments>,
    committing: Option<Task<()>>,
    writer_down: bool,
    sink: Arc<SimSink>,
    lease: Arc<SimLease>,
    ownership: Arc<Ownership>,
    /// Questions of slot actors that have ended meanwhile: nobody waits for them, but they go on.
    orphans: Vec<Task<Option<SlotMessage>>>,
    timers: Vec<(Time, Timer)>,
    /// The store must not be used any more: the node ends.
    pub has_failed: bool,
    mutation: Option<Mutation>,
    /// What [`Mutation::ViewNotHidden`] shows.
    stale: Mutex<BTreeMap<EntityKey, Reply>>,
}

pub struct NodeConfig {
    pub id: NodeId,
    pub common: Arc<Common>,
    pub inbox_max: usize,
    pub batch_max: usize,
    pub mutation: Option<Mutation>,
}

impl Node {
    /// Begins to serve slots that have been claimed, as `Prepared::start` does.
    pub fn start(config: NodeConfig, journal: SimJournal, heads: Vec<SlotHead>, lease: Arc<SimLease>) -> Node {
        let NodeConfig { id, common, inbox_max, batch_max, mutation } = config;
        let shared: Vec<_> = (0..journal.slots()).map(|slot| SlotShared::new(slot, inbox_max)).collect();
        let gathering = Gathering::new(common.budget.clone());
        let sink = Arc::new(SimSink::default());
        let dyn_journal: Arc<dyn Journal> = Arc::new(journal.clone());
        let writer = Arc::new(WriterArguments {
            gathering: gathering.clone(),
            owner: id.shared(),
            journal: dyn_journal.clone(),
            lease: lease.clone(),
            slots: shared.clone(),
            sink: sink.clone(),
            limits: WriterLimits { batch_records_max: batch_max, ..Config::default().journal },
            metrics: common.metrics.clone(),
            sleep: |_| Box::pin(yield_once()),
        });
        let (claims, loads) = (Claims::new(dyn_journal.clone(), id.shared()), Arc::new(Semaphore::new(LOADS_MAX)));
        let index_reads = Arc::new(Semaphore::new(INDEX_READS_MAX));
        let seat = |shared: Arc<SlotShared>| Seat {
            asking: Arc::new(Asking {
                shared: shared.clone(),
                kinds: common.kinds,
                receipts: common.limits.receipts,
                journal: dyn_journal.clone(),
                gathering: gathering.clone(),
                claims: claims.clone(),
                loads: loads.clone(),
                index_reads: index_reads.clone(),
                owed_page: OWED_PAGE,
            }),
            shared,
            shell: None,
            mail: VecDeque::new(),
            tasks: Vec::new(),
            tick: None,
            is_down: false,
            has_left: false,
        };
        let mut node = Node {
            seats: shared.into_iter().map(seat).collect(),
            roster: Roster::default(),
            ownership: Arc::new(Ownership::new(id.clone(), journal.slots())),
            id,
            journal,
            common,
            gathering,
            writer,
            committing: None,
            writer_down: false,
            sink,
            lease,
            orphans: Vec::new(),
            timers: Vec::new(),
            has_failed: false,
            mutation,
            stale: Mutex::default(),
        };
        for (slot, head) in (0..).zip(heads) {
            node.take(slot, head);
        }
        node
    }

    pub fn shared(&self, slot: Slot) -> &Arc<SlotShared> {
        &self.seats[usize::from(slot)].shared
    }

    /// As `Router::send` does.
    pub fn send(&mut self, envelope: Envelope) {
        let Some(envelope) = self.show_stale(envelope) else { return };
        let slot = envelope.slot;
        match self.shared(slot).deliver(envelope, &*self.lease, &self.common.metrics) {
            Delivered::Poke => self.cast(slot, SlotMessage::Poke),
            Delivered::Done => {}
            Delivered::NotHere(envelope) => envelope.reply.send(Err(AskError::Unavailable)),
        }
    }

    /// Without an actor the message is lost.
    fn cast(&mut self, slot: Slot, message: SlotMessage) {
        let seat = &mut self.seats[usize::from(slot)];
        if seat.shell.is_some() {
            seat.mail.push_back(message);
        }
    }

    /// What can happen now.
    pub fn steps(&self, now: Time) -> Vec<NodeStep> {
        let mut steps = Vec::new();
        for (slot, seat) in self.seats.iter().enumerate() {
            if seat.is_down {
                steps.push(NodeStep::Restart(slot));
            }
            if !seat.mail.is_empty() {
                steps.push(NodeStep::Mail(slot));
            }
            steps.extend((0..seat.tasks.len()).filter(|i| seat.tasks[*i].is_awake()).map(|i| NodeStep::Task(slot, i)));
            if seat.tick.is_some_and(|due| due <= now) {
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
        let ticks = self.seats.iter().filter_map(|seat| seat.tick);
        ticks.chain(self.timers.iter().map(|(due, _)| *due)).min()
    }

    pub fn step(&mut self, step: NodeStep, now: Now) {
        match step {
            NodeStep::Mail(slot) => self.mail(slot, now),
            NodeStep::Task(slot, index) if slot == self.seats.len() => {
                if self.orphans[index].step().is_some() {
                    drop(self.orphans.remove(index));
                }
            }
            NodeStep::Task(slot, index) => {
                let seat = &mut self.seats[slot];
                if let Some(message) = seat.tasks[index].step() {
                    drop(seat.tasks.remove(index));
                    seat.mail.extend(message);
                }
            }
            NodeStep::Tick(slot) => {
                let seat = &mut self.seats[slot];
                seat.tick = None;
                seat.mail.push_back(SlotMessage::Tick);
            }
            NodeStep::Timer(index) => match self.timers.remove(index).1 {
                Timer::Back { slot, message } => self.seats[slot].mail.push_back(message),
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
                let seat = &mut self.seats[slot];
                seat.is_down = false;
                let steps = self.roster.restart(slot as Slot, seat.shell.is_some());
                self.supervise(steps);
            }
            NodeStep::StartWriter => self.writer_down = false,
        }
    }

    /// What was let out since the last call. Endings go to their slots.
    pub fn take_dispatches(&mut self) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        let all = std::mem::take(&mut *self.sink.0.lock());
        for out in all {
            match out {
                Out::Dispatch(dispatch) => dispatches.push(dispatch),
                Out::Ended { slot, generation, why } => self.cast(slot, SlotMessage::Ended { generation, why }),
                Out::StoreFailed => self.has_failed = true,
            }
        }
        dispatches
    }

    pub fn passivate(&mut self, slot: usize) {
        self.cast(slot as Slot, SlotMessage::Passivate);
    }

    /// Whether a slot lives here, or is about to leave.
    pub fn has(&self, slot: Slot) -> bool {
        self.roster.has(slot)
    }

    /// Whether a slot is on its way out, and has not been given back meanwhile.
    pub fn is_leaving(&self, slot: Slot) -> bool {
        self.roster.is_leaving(slot)
    }

    /// A slot that has been claimed comes, as `Runtime::take` has it.
    pub fn take(&mut self, slot: Slot, head: SlotHead) {
        let steps = self.roster.take(slot, Start::Claimed(head));
        self.supervise(steps);
    }

    /// A slot is told to leave, as `Runtime::leave` does it.
    pub fn leave(&mut self, slot: Slot) -> oneshot::Receiver<()> {
        let (done, left) = oneshot::channel();
        let steps = self.roster.leave(slot, done);
        self.supervise(steps);
        left
    }

    /// As the supervisor does.
    fn supervise(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            match step {
                Step::Start(slot, start) => {
                    let context = SlotContext {
                        shared: self.shared(slot).clone(),
                        common: self.common.clone(),
                        ownership: self.ownership.clone(),
                        lease: self.lease.clone(),
                        journal: Arc::new(self.journal.clone()),
                    };
                    self.seats[usize::from(slot)].shell = Some(SlotShell::new(context));
                    if let Some(start) = start {
                        self.cast(slot, SlotMessage::Begin(Box::new(start)));
                        self.cast(slot, SlotMessage::Poke);
                    }
                }
                Step::Leave(slot) => self.cast(slot, SlotMessage::Leave),
                Step::RestartLater(slot) => self.seats[usize::from(slot)].is_down = true,
                Step::IsAway(told) => {
                    for told in told {
                        let _ = told.send(());
                    }
                }
            }
        }
    }

    /// The slot's actor fails: all that it had in memory is gone.
    pub fn fail_slot(&mut self, slot: usize) {
        if self.seats[slot].shell.is_some() {
            self.actor_ends(slot, Ending::Failed);
        }
    }

    fn actor_ends(&mut self, slot: usize, ending: Ending) {
        let seat = &mut self.seats[slot];
        (seat.shell, seat.tick) = (None, None);
        seat.has_left |= ending == Ending::Left;
        seat.mail.clear();
        self.orphans.append(&mut seat.tasks);
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Back { slot: of, .. } if *of == slot));
        let step = self.roster.ended(slot as Slot, ending);
        self.supervise(step);
    }

    /// The writer's actor fails, as the supervisor sees it.
    pub fn fail_writer(&mut self) {
        self.committing = None;
        self.journal.writer_crashed();
        self.writer_down = true;
        for slot in 0..self.journal.slots() {
            let generation = self.shared(slot).generation();
            self.gathering.end_generation(slot, generation, Ended::Unknown);
            self.cast(slot, SlotMessage::Ended { generation, why: Ended::Unknown });
        }
    }

    pub fn is_writer_down(&self) -> bool {
        self.writer_down
    }

    /// A slot takes a message, and what it wants done is done.
    fn mail(&mut self, slot: usize, now: Now) {
        let Some(message) = self.seats[slot].mail.pop_front() else { return };
        let Some(message) = self.spoil_message(slot, message) else { return };
        let comes_back = matches!(message, SlotMessage::Begin(_)) && self.seats[slot].has_left;
        let Some(shell) = &mut self.seats[slot].shell else { return };
        let outputs = shell.handle(message, now);
        self.carry_out(slot, outputs, now.time);
        if comes_back && self.mutation == Some(Mutation::ReturnsClosed) {
            self.seats[slot].shared.close();
        }
    }

    fn carry_out(&mut self, slot: usize, outputs: Outputs, now: Time) {
        let submissions: Vec<_> = outputs.submissions.into_iter().map(|one| self.spoil_submission(slot, one)).collect();
        self.gathering.submit(submissions);
        for output in outputs.others {
            let Some(output) = self.spoil_output(output) else { continue };
            let seat = &mut self.seats[slot];
            match output {
                Output::Answer(reply, answer) => reply.send(answer),
                Output::Ask { generation, question } => {
                    let asking = seat.asking.clone();
                    seat.tasks.push(Task::new(async move {
                        let what = asking.ask(generation, question).await?;
                        Some(SlotMessage::Back { generation, what: Box::new(what) })
                    }));
                }
                Output::After { generation, after_ms, what } => {
                    let message = SlotMessage::Back { generation, what: Box::new(what) };
                    self.timers.push((now.plus_ms(after_ms), Timer::Back { slot, message }));
                }
                Output::Resend { dispatch, after_ms } => {
                    self.timers.push((now.plus_ms(after_ms), Timer::Resend(dispatch)));
                }
                Output::TickAt(at) => seat.tick = Some(at),
                Output::Poke => seat.mail.push_back(SlotMessage::Poke),
                Output::EndGeneration { slot, generation, why } => self.gathering.end_generation(slot, generation, why),
                Output::Reroute(envelope) => self.sink.reroute(envelope),
                Output::News(news) => self.sink.news(slot as Slot, news),
                Output::StoreFailed(error) => self.sink.store_failed(error),
                Output::Left => self.actor_ends(slot, Ending::Left),
            }
        }
    }
}
