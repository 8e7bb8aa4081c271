//! How bad this world is, and the scheduler's choice of what happens next.
//!
//! Every seed draws its own weights: in one world the store is slow and the clients are quick, in another
//! the process dies again and again. Worlds that are each extreme in some way find more than one that is a
//! little of everything.

use futures::FutureExt;
use souk::persistence::{Journal, Slot};

use crate::Broken;
use crate::journal::Fate;
use crate::node::NodeStep;
use crate::random::Random;
use crate::spoilt;
use crate::world::{QUARANTINE_MS, To, World};

pub struct Chaos {
    /// Off while the world comes to rest.
    pub is_on: bool,
    weights: [u64; KINDS],
    /// Of a thousand appends, how many go wrong.
    failing_appends: u64,
    failing_reads: u64,
    slow_loads: u64,
    pub lost_messages: u64,
    pub doubled_messages: u64,
    /// Of a thousand steps, how many are disasters.
    disasters: u64,
    /// Of a thousand calls of entity code, how many panic.
    pub panics: u64,
    /// Of a thousand chances to leave, how many a slot takes.
    leaves: u64,
    pub steps: u64,
    pub queue_records_max: usize,
    pub inbox: usize,
    pub batch: usize,
}

/// Kinds of steps.
const KINDS: usize = 10;
const NODE: usize = 0;
const APPEND: usize = 1;
const LATE: usize = 2;
const WIRE: usize = 3;
const DELIVERY: usize = 4;
const CALL: usize = 5;
const CLIENT: usize = 6;
const TIME: usize = 7;
const UPKEEP: usize = 8;
const HELD: usize = 9;

/// Of a thousand questions of clients at which nothing else can happen, after how many time passes.
const TIME_PASSES_BETWEEN_QUESTIONS: u64 = 20;

impl Chaos {
    pub fn new(random: &mut Random) -> Chaos {
        let mut weights = [0; KINDS];
        for weight in &mut weights {
            *weight = *random.pick(&[1, 3, 10]);
        }
        weights[NODE] = *random.pick(&[10, 20, 40]);
        weights[UPKEEP] = 1;
        weights[HELD] = *random.pick(&[1, 3]);
        Chaos {
            is_on: true,
            weights,
            failing_appends: *random.pick(&[0, 10, 50, 200]),
            failing_reads: *random.pick(&[0, 0, 20, 100]),
            slow_loads: *random.pick(&[0, 0, 100, 300]),
            lost_messages: *random.pick(&[0, 10, 50]),
            doubled_messages: *random.pick(&[0, 10, 100]),
            disasters: *random.pick(&[0, 1, 3, 10]),
            panics: *random.pick(&[0, 0, 0, 0, 2, 10, 150]),
            leaves: *random.pick(&[0, 0, 200, 1_000]),
            steps: random.between(500, 3_000),
            queue_records_max: random.between(2, 40) as usize,
            inbox: random.between(4, 32) as usize,
            batch: random.between(1, 16) as usize,
        }
    }
}

impl World {
    /// One step of a world in which everything goes on and anything may fail.
    pub fn live(&mut self) -> Result<(), Broken> {
        self.journal.set_failing_reads(self.chaos.failing_reads);
        self.journal.set_slow_loads(self.chaos.slow_loads);
        if self.random.chance(self.chaos.disasters) {
            self.disaster();
            return self.follow_up();
        }
        let node_steps = self.node_steps();
        let in_flight = self.journal.in_flight();
        let late = self.journal.late_count();
        let deliveries = self.open_deliveries();
        let calls = self.open_calls();
        let clients: Vec<usize> = (0..self.clients.len()).filter(|i| self.clients[*i].is_awake()).collect();
        let held = self.journal.held();
        let there = [
            node_steps.len(),
            in_flight.len(),
            late,
            self.wire.len(),
            deliveries.len(),
            calls.len(),
            clients.len(),
            1,
            1,
            held.len(),
        ];
        let mut weights = self.chaos.weights;
        for (weight, count) in weights.iter_mut().zip(there) {
            *weight *= u64::from(count > 0);
        }
        let kind = self.random.weighted(&weights);
        let index = self.random.below(there[kind]);
        match kind {
            NODE => self.step_node(node_steps[index]),
            APPEND => self.append(in_flight[index]),
            LATE => self.arrive_late(index),
            WIRE => self.arrive(index),
            DELIVERY => self.deliver(deliveries[index]),
            CALL => self.call(calls[index])?,
            CLIENT => self.step_client(clients[index]),
            TIME => self.pass_time(),
            UPKEEP => self.upkeep(),
            HELD => self.let_go(held[index]),
            _ => {}
        }
        self.follow_up()
    }

    /// One step of a world in which nothing new is begun and nothing fails. `false`: nothing is left.
    pub fn settle(&mut self) -> Result<bool, Broken> {
        let node_steps = self.node_steps();
        let in_flight = self.journal.in_flight();
        let deliveries = self.open_deliveries();
        let calls = self.open_calls();
        let clients: Vec<usize> = (0..self.clients.len()).filter(|i| self.clients[*i].is_awake()).collect();
        let there =
            [node_steps.len(), in_flight.len(), 0, self.wire.len(), deliveries.len(), calls.len(), clients.len()];
        let nothing_can_happen = there.iter().all(|count| *count == 0);
        // A slot that waits for its time turns clients away, and these ask again at once: time must pass all the same.
        let only_clients_ask = [NODE, APPEND, DELIVERY, CALL].iter().all(|kind| there[*kind] == 0);
        if nothing_can_happen || only_clients_ask && self.random.chance(TIME_PASSES_BETWEEN_QUESTIONS) {
            let due = self.node.as_ref().and_then(|node| node.next_due()).into_iter().chain(self.next_delivery_due());
            match due.min() {
                Some(due) => {
                    self.now = due.max(self.now.plus_ms(1));
                    self.town.lock().now = self.now;
                    return Ok(true);
                }
                None if nothing_can_happen => return Ok(false),
                None => {}
            }
        }
        let weights: Vec<u64> = there.iter().map(|count| *count as u64).collect();
        let kind = self.random.weighted(&weights);
        let index = self.random.below(there[kind]);
        match kind {
            NODE => self.step_node(node_steps[index]),
            APPEND => self.journal.decide(in_flight[index], Fate::Complete),
            WIRE => self.arrive(index),
            DELIVERY => self.deliver(deliveries[index]),
            CALL => self.call(calls[index])?,
            CLIENT => self.step_client(clients[index]),
            _ => {}
        }
        self.follow_up()?;
        Ok(true)
    }

    /// Everything that can fail has failed: from here on the world is good.
    pub fn calm_down(&mut self) {
        self.say(|| "from here on nothing fails".into());
        self.chaos.is_on = false;
        self.journal.set_failing_reads(0);
        self.journal.set_slow_loads(0);
        self.journal.held().into_iter().for_each(|id| self.journal.let_go(id));
        self.set_lease(true);
        spoilt::rest_dice();
        self.now = self.now.plus_ms(QUARANTINE_MS);
        self.town.lock().draining = true;
        while self.journal.late_count() > 0 {
            self.journal.arrive_late(0);
        }
        if self.node.is_none() {
            self.start_node();
        }
        self.away().into_iter().for_each(|slot| self.come_back(slot));
    }

    fn node_steps(&self) -> Vec<NodeStep> {
        self.node.as_ref().map_or_else(Vec::new, |node| node.steps(self.now))
    }

    fn step_node(&mut self, step: NodeStep) {
        self.say(|| format!("{step:?}"));
        let now = self.clock();
        if let Some(node) = &mut self.node {
            node.step(step, now);
        }
    }

    fn step_client(&mut self, index: usize) {
        if self.clients[index].step().is_some() {
            drop(self.clients.remove(index));
        }
    }

    fn append(&mut self, id: u64) {
        let fate = if self.random.chance(self.chaos.failing_appends) {
            match self.random.below(8) {
                0 | 1 => Fate::FailBefore,
                7 => Fate::Denied,
                2 => Fate::Lost { written: u64::MAX },
                3 => Fate::Lost { written: self.random.next() },
                4 => Fate::Late,
                5 => Fate::Twice,
                _ => Fate::RefuseOne,
            }
        } else {
            Fate::Complete
        };
        self.say(|| format!("append {id}: {fate:?}"));
        self.journal.decide(id, fate);
    }

    fn arrive_late(&mut self, index: usize) {
        self.say(|| "an append that was given up arrives".into());
        self.count("appends arrived late");
        self.journal.arrive_late(index);
    }

    fn let_go(&mut self, load: u64) {
        self.say(|| format!("what load {load} has read arrives"));
        self.count("slow loads");
        self.journal.let_go(load);
    }

    fn pass_time(&mut self) {
        let by_ms = match self.random.below(40) {
            0 => self.random.between(500, 6_000),
            _ => self.random.between(1, 40),
        };
        self.now = self.now.plus_ms(by_ms);
        self.town.lock().now = self.now;
    }

    /// What happens now and then in a healthy world.
    fn upkeep(&mut self) {
        match self.random.below(8) {
            0 | 1 => {
                let slot = self.random.below(usize::from(self.journal.slots()));
                self.say(|| format!("slot {slot} passivates"));
                if let Some(node) = &mut self.node {
                    node.passivate(slot);
                }
            }
            2 => {
                // A client has no patience, and asks again.
                let clients = |index: &usize| matches!(self.waiting[*index].to, To::Client(_));
                let waiting: Vec<usize> = (0..self.waiting.len()).filter(clients).collect();
                if let Some(index) = self.random.any(&waiting) {
                    self.say(|| format!("nobody waits any more for {}", self.waiting[index].question.request));
                    drop(self.waiting.remove(index));
                }
            }
            3 if self.random.chance(self.chaos.leaves) => {
                let slot = self.random.below(usize::from(self.journal.slots()));
                self.leave(slot as Slot);
            }
            3..=6 => {
                if let Some(slot) = self.random.any(&self.away()) {
                    self.come_back(slot);
                }
            }
            _ => {
                let pruned = self.journal.durable().prune_receipts(self.now.0, usize::MAX).now_or_never();
                self.say(|| format!("receipts pruned: {pruned:?}"));
            }
        }
    }

    fn disaster(&mut self) {
        if self.node.is_none() {
            return self.start_node();
        }
        let slot = self.random.below(usize::from(self.journal.slots()));
        match self.random.below(8) {
            0..=2 => {
                self.crash();
                self.count("crashes");
                if self.random.chance(500) {
                    self.start_node();
                }
            }
            3 => {
                self.say(|| format!("the actor of slot {slot} fails"));
                if let Some(node) = &mut self.node {
                    node.fail_slot(slot);
                    self.count("slots failed");
                }
            }
            4 => {
                self.say(|| "the writer fails".into());
                if let Some(node) = self.node.as_mut().filter(|node| !node.is_writer_down()) {
                    node.fail_writer();
                    self.count("writers failed");
                }
            }
            5 | 6 => {
                self.say(|| format!("somebody else claims slot {slot}"));
                self.count("slots fenced");
                self.claim_for_another(slot as Slot);
            }
            _ => {
                let valid = self.random.chance(500);
                self.say(|| format!("the lease is valid: {valid}"));
                self.set_lease(valid);
            }
        }
    }

    /// The slot's epoch goes up without the node's doing: for another, or by a claim of its own that it had given up.
    fn claim_for_another(&mut self, slot: Slot) {
        let own = self.node.as_ref().map(|node| node.id.clone()).filter(|_| self.random.chance(700));
        let owner = own.as_ref().map_or("somebody else", |id| id.as_str());
        self.claim(slot, owner);
    }
}
