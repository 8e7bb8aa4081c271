//! The world around the node: a store and a provider that outlive it, clients, a network that loses,
//! doubles and delays, a clock, and the scheduler that chooses what happens next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use souk::actors::kinds;
use souk::actors::policy::{
    CartPolicy, OrderPolicy, PaymentPolicy, Policy, ReservationPolicy, SessionPolicy, StockPolicy,
};
use souk::actors::runtime::envelope::{AskError, Body, Envelope, Keep, Reply, ReplyTo};
use souk::actors::runtime::slot::shell::Now;
use souk::actors::runtime::slot::{Common, Memory, ReceiptLimits, SlotLimits};
use souk::actors::runtime::writer::QueueBudget;
use souk::actors::values::Time;
use souk::cluster::{NodeId, slot_of};
use souk::config::Config;
use souk::metrics::Metrics;
use souk::persistence::{Journal, Slot};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::age::Refusals;
use crate::answers::{Answers, Question};
use crate::chaos::Chaos;
use crate::dispatch::Sending;
use crate::handle::{Ask, Handle, Town};
use crate::history::History;
use crate::journal::SimJournal;
use crate::mutations::Mutation;
use crate::node::{Node, NodeConfig, SimLease};
use crate::provider::Provider;
use crate::random::Random;
use crate::spoilt::{self, Nature};
use crate::task::Task;
use crate::{Broken, Summary, clients, link, shop};

/// Somebody who waits for an answer of the node.
pub struct Waiting {
    pub question: Question,
    pub answer: oneshot::Receiver<Result<Reply, AskError>>,
    pub to: To,
}

pub enum To {
    Client(futures::channel::oneshot::Sender<Result<Reply, AskError>>),
    Delivery(u64),
}

pub struct World {
    pub random: Random,
    pub chaos: Chaos,
    pub now: Time,
    pub journal: SimJournal,
    pub provider: Provider,
    pub node: Option<Node>,
    pub lease: Arc<SimLease>,
    pub metrics: Arc<Metrics>,
    pub history: History,
    pub answers: Answers,
    pub refusals: Refusals,
    pub town: Arc<Mutex<Town>>,
    pub clients: Vec<Task<()>>,
    pub waiting: Vec<Waiting>,
    /// Messages on their way to a slot.
    pub wire: Vec<Envelope>,
    pub deliveries: BTreeMap<u64, Sending>,
    pub next_delivery: u64,
    pub mutation: Option<Mutation>,
    pub steps: u64,
    /// How often what happened.
    pub happened: Summary,
    /// Slots that have been told to leave.
    pub leaving: Vec<(Slot, oneshot::Receiver<()>)>,
    /// The clock of deadlines at [`DAWN`].
    dawn: Instant,
    incarnations: u64,
    /// When the node was started, in steps.
    started_at: u64,
    common: Arc<Common>,
    trace: Option<Arc<Mutex<Vec<String>>>>,
}

/// How long an entity is left alone that has panicked again and again.
pub const QUARANTINE_MS: u64 = 1_000;
/// The time at which every simulation begins.
const DAWN: Time = Time(1_700_000_000_000);

impl World {
    pub fn new(seed: u64, mutation: Option<Mutation>, trace: Option<Arc<Mutex<Vec<String>>>>) -> World {
        let mut random = Random::new(seed);
        let chaos = Chaos::new(&mut random);
        // What is durable is judged by the kinds as they are; who panics is only in the node's way.
        let (kinds, judges) = match mutation {
            Some(Mutation::ReservationReleasedTwice) => {
                let twice = spoilt::kinds(Nature::ReleasesTwice);
                (twice, twice)
            }
            Some(Mutation::ClaimKeepsPieces) => {
                let keeping = spoilt::kinds(Nature::KeepsPieces);
                (keeping, keeping)
            }
            Some(Mutation::RefusedForYounger) => (spoilt::kinds(Nature::RefusesForYounger), kinds::all()),
            Some(_) | None if chaos.panics > 0 => (spoilt::kinds(Nature::Panics), kinds::all()),
            Some(_) | None => (kinds::all(), kinds::all()),
        };
        spoilt::set_dice(chaos.panics, random.split());
        let slots = random.between(3, 8) as Slot;
        let metrics = Arc::new(Metrics::new());
        let shipped = Config::default();
        let limits = SlotLimits {
            turn_messages_max: random.between(1, 6) as usize,
            loading_messages_max: random.between(2, 8) as usize,
            loading_entities_max: random.between(2, 8) as usize,
            idle_ms: random.between(5, 400),
            resident_bytes_max: random.between(1, 64) as usize * 1_024 * usize::from(slots),
            snapshot_events: random.between(1, 8),
            receipts: ReceiptLimits {
                clients_max: random.between(1, 12) as usize,
                owed_max: random.between(2, 24) as usize,
                swept_from: random.between(2, 24) as usize,
                filters_max: *random.pick(&[0, 1]),
                lookups_max: random.between(1, 4) as usize,
            },
            panics_max: 3,
            quarantine_ms: QUARANTINE_MS,
            ..shipped.slots
        };
        let policy = Policy {
            cart: CartPolicy { ttl_ms: random.between(5_000, 60_000) },
            reservation: ReservationPolicy { ttl_ms: random.between(300, 5_000) },
            payment: PaymentPolicy { timeout_ms: random.between(200, 3_000) },
            order: OrderPolicy { decide_ms: random.between(3_500, 9_000) },
            auth: SessionPolicy { refresh_ttl_ms: random.between(1_000, 60_000), refresh_grace_ms: 200 },
            stock: StockPolicy { low_at: 2 },
        };
        let common = Arc::new(Common {
            kinds,
            policy: Arc::new(policy),
            memory: Memory::new(limits.resident_bytes_max, usize::from(slots)),
            limits,
            budget: Arc::new(QueueBudget::new(random.between(4, 40) as usize, 1 << 20)),
            metrics: metrics.clone(),
        });
        let town = Arc::new(Mutex::new(Town::new(random.split())));
        let shoppers = random.between(2, 5) as usize;
        let clients = (0..2 + shoppers)
            .map(|number| match number {
                0 | 1 => Task::new(clients::merchant(Handle::new(number, town.clone()))),
                _ => Task::new(clients::shopper(Handle::new(number, town.clone()))),
            })
            .collect();
        let journal = SimJournal::new(slots, random.split(), mutation);
        let mut world = World {
            random,
            chaos,
            now: DAWN,
            journal,
            provider: Provider::default(),
            node: None,
            lease: Arc::new(SimLease(AtomicBool::new(true))),
            metrics,
            history: History::new(judges),
            answers: Answers::default(),
            refusals: Refusals::default(),
            town,
            clients,
            waiting: Vec::new(),
            wire: Vec::new(),
            deliveries: BTreeMap::new(),
            next_delivery: 0,
            mutation,
            steps: 0,
            happened: Summary::new(),
            leaving: Vec::new(),
            dawn: Instant::now(),
            incarnations: 0,
            started_at: 0,
            common,
            trace,
        };
        world.start_node();
        world
    }

    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.lock().push(format!("{:>6} +{:>6} ms  {}", self.steps, self.now.since_ms(DAWN), line()));
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// A new process on what is durable.
    pub fn start_node(&mut self) {
        self.incarnations += 1;
        self.started_at = self.steps;
        let name = format!("node-{}", self.incarnations);
        let store = self.journal.durable();
        let heads = store.heads().now_or_never().and_then(Result::ok).expect("memory has its heads");
        let wanted: Vec<_> = heads.iter().enumerate().map(|(slot, head)| (slot as Slot, head.epoch)).collect();
        let id = NodeId::incarnate(&name);
        let claimed = store.claim(id.as_str(), &wanted).now_or_never().and_then(Result::ok).expect("memory is claimed");
        let heads = claimed.into_iter().map(|head| head.expect("nobody else claims")).collect();
        self.say(|| format!("{name} starts"));
        let config = NodeConfig {
            id,
            // What the last process had on its way is gone with it.
            common: Arc::new(Common {
                kinds: self.common.kinds,
                policy: self.common.policy.clone(),
                memory: Memory::new(self.common.limits.resident_bytes_max, wanted.len()),
                limits: self.common.limits.clone(),
                budget: Arc::new(QueueBudget::new(self.chaos.queue_records_max, 1 << 20)),
                metrics: self.metrics.clone(),
            }),
            inbox_max: self.chaos.inbox,
            batch_max: self.chaos.batch,
            mutation: self.mutation,
        };
        self.node = Some(Node::start(config, self.journal.clone(), heads, self.lease.clone()));
    }

    /// The time as the node's clocks show it.
    pub fn clock(&self) -> Now {
        let since = Duration::from_millis(self.now.since_ms(DAWN));
        Now { time: self.now, instant: self.dawn + since }
    }

    /// A node has its gateways before its first slot serves, as `Prepared::start` sees to it.
    pub fn has_gateways(&self) -> bool {
        const UNTIL_IT_IS_GIVEN: u64 = 1_000;
        self.mutation != Some(Mutation::GatewayAfterServing) || self.steps >= self.started_at + UNTIL_IT_IS_GIVEN
    }

    /// The process is killed: all its memory is gone, and so is what was on its way to it; only owed
    /// messages may have been on a wire, and still arrive.
    pub fn crash(&mut self) {
        self.say(|| "CRASH".into());
        self.node = None;
        self.leaving.clear();
        self.journal.sender_crashed();
        self.deliveries.clear();
        for waiting in std::mem::take(&mut self.waiting) {
            if let To::Client(client) = waiting.to {
                let _gone = client.send(Err(AskError::Unknown));
            }
        }
        let mut wire = std::mem::take(&mut self.wire);
        wire.retain(|envelope| is_repeatable(&envelope.body) && self.random.chance(300));
        for envelope in &mut wire {
            envelope.reply = ReplyTo::nobody();
        }
        self.wire = wire;
    }

    pub fn slot_of(&self, envelope_key: &souk::persistence::EntityKey) -> Slot {
        slot_of(envelope_key.kind, &envelope_key.id, self.journal.slots())
    }

    /// Puts a question on the wire.
    pub fn ask(&mut self, ask: Ask) {
        let Ask { key, request, caller, body, answer, label } = ask;
        self.say(|| format!("asks {}/{} {request}: {label:.300}", key.kind, key.id));
        let exact = label == AUDIT;
        let (reply, receiver) = ReplyTo::channel();
        let keep = if let Body::Command { keep, .. } = &body { *keep } else { None };
        let is_repeat = matches!(body, Body::Repeat { .. });
        let (floor, was_told) = (self.answers.floor(&key), self.answers.was_told(&key, request));
        let question = Question { floor, was_told, key: key.clone(), request, keep, is_repeat, exact };
        self.waiting.push(Waiting { question, answer: receiver, to: To::Client(answer) });
        let slot = self.slot_of(&key);
        let patience_ms = self.random.between(200, 20_000);
        let deadline = self.clock().instant + Duration::from_millis(patience_ms);
        self.wire.push(Envelope { key, slot, request, caller, deadline, want_state: true, body, reply });
    }

    /// A message reaches its slot, or nobody. It may be doubled on the way, if that is harmless.
    pub fn arrive(&mut self, index: usize) {
        let envelope = self.wire.remove(index);
        if self.chaos.is_on && self.random.chance(self.chaos.lost_messages) {
            self.count("messages lost");
            return self.say(|| format!("lost: {}", show(&envelope)));
        }
        if self.chaos.is_on && is_repeatable(&envelope.body) && self.random.chance(self.chaos.doubled_messages) {
            self.count("messages doubled");
            self.say(|| format!("doubled: {}", show(&envelope)));
            self.wire.push(doubled(&envelope));
        }
        if self.node.is_none() {
            return;
        }
        let envelope = link::asked(envelope);
        self.say(|| format!("arrives: {}", show(&envelope)));
        if let Some(node) = &mut self.node {
            node.send(envelope);
        }
    }

    /// What follows from a step at once: durable records are noted, answers judged and handed over, and
    /// what wants to be sent put on its way.
    pub fn follow_up(&mut self) -> Result<(), Broken> {
        for (record, epoch) in self.journal.take_written() {
            self.say(|| {
                let events: Vec<u16> = record.events.iter().map(|event| event.type_number & 0xff).collect();
                let owed = record.owed.as_ref().map(|change| {
                    let items = change.after.iter().flat_map(|row| &row.items);
                    items.map(|item| format!("{}#{}", item.key, item.number)).collect::<Vec<_>>()
                });
                format!(
                    "durable: slot {} seq {} {}/{} version {} events {events:?} owes {owed:?}",
                    record.slot, record.seq, record.key.kind, record.key.id, record.version
                )
            });
            self.history.note(&record, epoch)?;
            shop::judge(&record, &self.history)?;
            self.refusals.judge(&record, &self.history)?;
        }
        self.take_answers()?;
        if let Some(node) = &mut self.node {
            for dispatch in node.take_dispatches() {
                self.dispatch(dispatch);
            }
        }
        self.end_if_the_store_has_failed();
        self.see_who_has_left();
        let outbox = std::mem::take(&mut self.town.lock().outbox);
        for ask in outbox {
            self.ask(ask);
        }
        if self.chaos.panics == 0 && self.metrics.panics.get() > 0 {
            return Err(Broken { invariant: "no entity panics", detail: crate::last_panic() });
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Result<(), Broken> {
        let mut index = 0;
        while index < self.waiting.len() {
            let answer = match self.waiting[index].answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => {
                    index += 1;
                    continue;
                }
                Err(oneshot::error::TryRecvError::Closed) => Err(AskError::Unknown),
                Ok(answer) => link::answered(&self.waiting[index].question.key, answer),
            };
            let Waiting { question, to, .. } = self.waiting.remove(index);
            self.say(|| {
                let answer = match &answer {
                    Ok(reply) => format!("version {} replayed {}", reply.version, reply.replayed),
                    Err(error) => format!("{error}"),
                };
                format!("answer of {}/{} to {}: {answer}", question.key.kind, question.key.id, question.request)
            });
            if let Ok(reply) = &answer {
                self.answers.judge(&question, reply, &self.history, kinds::all())?;
                if reply.replayed {
                    self.count("answers given again");
                }
            }
            match to {
                To::Client(client) => {
                    let _gave_up = client.send(answer);
                }
                To::Delivery(id) => self.delivered(id, answer)?,
            }
        }
        Ok(())
    }

    /// Every client has stopped, and nobody waits for anything.
    pub fn is_at_rest(&self) -> bool {
        self.clients.is_empty() && self.waiting.is_empty() && self.wire.is_empty() && self.deliveries.is_empty()
    }

    pub fn set_lease(&self, valid: bool) {
        self.lease.0.store(valid, Ordering::Relaxed);
    }
}

/// The label of questions at rest, which must be answered with the last version.
pub const AUDIT: &str = "audit";

/// Whether a second copy of the message does no harm.
fn is_repeatable(body: &Body) -> bool {
    matches!(body, Body::Command { keep: Some(_), .. } | Body::Read { .. } | Body::Repeat { .. })
}

fn doubled(envelope: &Envelope) -> Envelope {
    Envelope {
        key: envelope.key.clone(),
        slot: envelope.slot,
        request: envelope.request,
        caller: envelope.caller,
        deadline: envelope.deadline,
        want_state: envelope.want_state,
        body: envelope.body.clone(),
        reply: ReplyTo::nobody(),
    }
}

fn show(envelope: &Envelope) -> String {
    let what = match &envelope.body {
        Body::Command { keep: Some(Keep::Owed { slot, number, watermark }), .. } => {
            format!("owed #{number} of slot {slot} (watermark {watermark})")
        }
        Body::Command { .. } => "command".into(),
        Body::Read { .. } => "read".into(),
        Body::Repeat { .. } => "repeat".into(),
        Body::Answered { number, key, .. } => format!("answered {key}#{number}"),
        Body::Wake => "wake".into(),
        Body::Resume => "resume".into(),
        Body::Inspect => "inspect".into(),
        Body::Operate(operation) => operation.word().into(),
    };
    format!("{what} to {}/{} {}", envelope.key.kind, envelope.key.id, envelope.request)
}
