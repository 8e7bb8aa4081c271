//! Clusters of three to seven nodes under everything that can go wrong, by seed. After each step: whoever may answer for a
//! slot is its owner in the store. After a quiet time: every slot has a live owner, the plan has nothing left to do, nothing
//! moves any more, and every request of every node is served.
//!
//! `SOUK_SIM_SEED=7` runs one seed and prints what happened; `SOUK_SIM_SEEDS=1000` runs so many.

use super::world::{Chances, Mutation, World};
use crate::cluster::NodeId;
use crate::cluster::protocol::messages::Input;
use crate::cluster::protocol::types::{Place, Slot, WishChange, Wishes};

const LEASE_MS: u64 = 2_000;
const CHAOS_MS: i64 = 60_000;
const QUIET_MS: i64 = 40_000;
/// Seeds that have found something. 692: a node was lost by a read that began before it came back and was given a slot.
const FOUND: [u64; 1] = [692];

struct Run {
    world: World,
    incarnations: u32,
    slots: u16,
}

fn chances(world: &mut World) -> Chances {
    let mut most = |most: i64| world.random.between(0, most) as u64;
    Chances {
        message_lost: most(80),
        message_twice: most(80),
        message_ms_max: 1 + most(20) as i64,
        request_lost: most(30),
        answer_lost: most(40),
        call_late: most(20),
        answer_slow: most(40),
        message_late: most(20),
        call_ms_max: 1 + most(40) as i64,
        stop_ms_max: 1 + most(100) as i64,
    }
}

impl Run {
    fn new(seed: u64, mutation: Option<Mutation>) -> Run {
        let mut world = World::new(seed, 1, LEASE_MS, Chances::default());
        let slots = world.random.between(16, 64) as u16;
        world.store = super::store::Store::new(slots);
        world.store.fences = mutation != Some(Mutation::NoFencing);
        world.mutation = mutation;
        world.settings.moves_max = world.random.between(1, 8) as usize;
        world.chances = chances(&mut world);
        let mut run = Run { world, incarnations: 0, slots };
        for name in 0..run.world.random.between(3, 7) {
            run.start(name as usize);
            let pause = run.world.random.between(0, 500);
            run.world.run(pause);
        }
        run
    }

    fn start(&mut self, name: usize) {
        let random = &mut self.world.random;
        let (offset, drift) = (random.between(0, 1_000_000), random.between(-20_000, 20_000));
        let weight = random.between(1, 3) as u32;
        let name = format!("{}#{}", (b'a' + name as u8) as char, self.incarnations);
        self.incarnations += 1;
        self.world.start(&name, weight, (1, 1), offset, drift);
    }

    fn ids(&self) -> Vec<NodeId> {
        self.world.nodes.keys().cloned().collect()
    }

    fn any_node(&mut self) -> Option<NodeId> {
        let ids = self.ids();
        self.world.random.any(&ids)
    }

    fn chaos(&mut self) {
        let end = self.world.now + CHAOS_MS;
        while self.world.now < end {
            let pause = self.world.random.between(10, 600);
            self.world.run(pause);
            for _ in 0..4 {
                let slot = self.any_slot();
                if let Some(node) = self.any_node() {
                    self.world.ask(&node, slot, 3_000);
                }
            }
            self.something_goes_wrong();
        }
    }

    fn any_slot(&mut self) -> Slot {
        self.world.random.between(0, i64::from(self.slots) - 1) as Slot
    }

    fn something_goes_wrong(&mut self) {
        let Some(node) = self.any_node() else { return self.start(0) };
        let slot = self.any_slot();
        match self.world.random.between(0, 20) {
            0 if self.world.nodes.len() > 1 => {
                self.world.count("nodes killed");
                self.world.kill(&node);
            }
            1 | 2 if self.world.nodes.len() < 7 => {
                let name = self.world.random.between(0, 6) as usize;
                self.start(name);
            }
            3 | 4 => {
                self.world.count("nodes paused");
                self.world.pause(&node);
            }
            5..=8 => self.ids().iter().for_each(|node| self.world.resume(node)),
            9 => {
                let (ms, random) = (LEASE_MS as i64 * 2, &mut self.world.random);
                let until = self.world.now + random.between(10, ms);
                if random.chance(500) {
                    self.world.stalled_until = until
                } else {
                    self.world.read_only_until = until
                }
                self.world.count("stalls of the store");
            }
            10 => {
                if let Some(other) = self.any_node() {
                    self.world.cuts.insert((node, other));
                    self.world.count("links cut");
                }
            }
            11 | 12 => self.world.cuts.clear(),
            13 if self.world.nodes.len() > 2 => {
                let by = self.world.random.between(0, 5_000);
                self.world.stop(&node, by);
                self.world.count("nodes told to stop");
            }
            14 | 15 => self.operator(&node, slot),
            16 | 17 => {
                let until = self.world.now + self.world.random.between(10, LEASE_MS as i64 * 2);
                self.world.cut_off.insert(node, until);
                self.world.count("nodes cut off from the store");
            }
            _ => self.world.raise(&node, slot),
        }
    }

    fn operator(&mut self, node: &NodeId, slot: Slot) {
        let change = match self.world.random.between(0, 6) {
            0 => WishChange::Cordon(node.clone()),
            1 => WishChange::Drain(node.clone()),
            2 | 3 => WishChange::Uncordon(node.clone()),
            4 => WishChange::Place(slot, Place::Moved(node.clone())),
            5 => WishChange::Place(slot, Place::Pinned(node.as_str()[..1].into())),
            _ => WishChange::Unplace(slot),
        };
        self.world.wish(node, change);
        self.world.count("wishes of operators");
    }

    /// Everything is well again, and stays so.
    fn quiet(&mut self) {
        let world = &mut self.world;
        world.chances = Chances { message_ms_max: 3, call_ms_max: 5, stop_ms_max: 10, ..Chances::default() };
        world.cuts.clear();
        world.cut_off.clear();
        (world.stalled_until, world.read_only_until) = (0, 0);
        world.store.wishes = Wishes::default();
        for node in self.ids() {
            self.world.resume(&node);
        }
        if self.world.nodes.is_empty() {
            self.start(0);
        }
        self.world.run(QUIET_MS);
        self.world.stop_counting();
        self.a_node_dies();
        self.world.run(QUIET_MS);
    }

    /// To the clients of the others, the death of a node shows as latency, and not as errors.
    fn a_node_dies(&mut self) {
        let Some(node) = self.any_node().filter(|_| self.world.nodes.len() > 1) else { return };
        self.world.kill(&node);
        let mut asked = 0;
        for _ in 0..20 {
            for node in self.ids() {
                for _ in 0..8 {
                    let slot = self.any_slot();
                    self.world.ask(&node, slot, 6_000);
                    asked += 1;
                }
            }
            self.world.run(100);
        }
        self.world.run(7_000);
        if (self.world.served, self.world.late) != (asked, 0) {
            let (served, late) = (self.world.served, self.world.late);
            self.world.violations.push(format!("a node died: of {asked} requests {served} were served, {late} late"));
        }
    }

    fn check_that_all_is_well(&mut self) {
        let mut wrong = Vec::new();
        let world = &mut self.world;
        for (slot, head) in world.store.slots.iter().enumerate() {
            let is_live = head.owner.as_ref().is_some_and(|owner| world.nodes.contains_key(owner));
            if !is_live || !head.owner.as_ref().is_some_and(|owner| world.serves(owner, slot as Slot)) {
                wrong.push(format!("slot {slot} of {:?} is served by nobody", head.owner));
            }
        }
        for (id, node) in &world.nodes {
            if !node.protocol.plan().is_done() {
                wrong.push(format!("{id} has something left to do: {:?}", node.protocol.plan()));
            }
            let share = node.protocol.plan().shares.get(id);
            if share.is_none_or(|share| share.has != share.wants) {
                wrong.push(format!("{id} has and should have {share:?}"));
            }
        }
        let before = world.store.slots.clone();
        world.run(10_000);
        if world.store.slots != before {
            wrong.push("slots move though nothing changes".to_owned());
        }
        if world.waiting() > 0 {
            wrong.push(format!("{} requests wait for ever", world.waiting()));
        }
        let (served, dropped) = (world.served, world.dropped);
        let ids: Vec<NodeId> = world.nodes.keys().cloned().collect();
        for id in &ids {
            (0..self.slots).for_each(|slot| world.ask(id, slot, 1_000));
        }
        world.run(2_000);
        let asked = ids.len() as u64 * u64::from(self.slots);
        if world.served - served != asked || dropped > 0 {
            wrong.push(format!("of {asked} requests {} were served, {dropped} dropped", world.served - served));
        }
        self.world.violations.extend(wrong);
    }
}

/// Runs one seed. The answer is what was wrong.
fn run(seed: u64, mutation: Option<Mutation>, is_told: bool) -> World {
    let mut run = Run::new(seed, mutation);
    run.world.is_told = is_told;
    run.chaos();
    if run.world.violations.is_empty() {
        run.quiet();
        run.check_that_all_is_well();
    }
    run.world
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn clusters_come_through_whatever_goes_wrong() {
    if let Some(seed) = setting("SOUK_SIM_SEED") {
        let world = run(seed, None, true);
        println!("{}\n{}", world.said.join("\n"), world.store.owners().join("\n"));
        assert_eq!(world.violations.first(), None, "seed {seed}");
        return;
    }
    let mut counts = std::collections::BTreeMap::new();
    let (mut served, mut late) = (0, 0);
    for seed in FOUND.into_iter().chain(0..setting("SOUK_SIM_SEEDS").unwrap_or(16)) {
        let world = run(seed, None, false);
        assert_eq!(world.violations.first(), None, "SOUK_SIM_SEED={seed}");
        served += world.chaos.0;
        late += world.chaos.1;
        world.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_insert(0) += count);
    }
    println!("{served} requests served, {late} too late; {counts:?}");
    assert!(served > late, "most are served even so");
    for what in ["claims", "transfers", "nodes killed", "nodes paused", "calls made late", "stalls of the store"] {
        assert!(counts.contains_key(what), "{what}: it was not tried");
    }
}

/// What a driver, a runtime or a store might get wrong shows within a few seeds. (That a node ignores the term in which it
/// accepted a slot shows in none of a hundred: the model beside this finds it.)
#[test]
fn what_would_break_it_is_caught() {
    use Mutation::*;
    // Each with a seed that catches it; where the protocol has changed since, others are tried.
    let all = [
        (ClaimsBeforeTheEnd, 0),
        (LeaseFromTheAnswer, 8),
        (NoSuspension, 0),
        (HandsOverWithoutStopping, 0),
        (NoFencing, 0),
        (UnknownIsNotDone, 12),
        (StaleReads, 0),
        (ReadsTheNodesFirst, 0),
        (PlansDisagree, 2),
        (ForgetsWhoWaits, 0),
        (NeverCorrects, 0),
    ];
    let mut missed = Vec::new();
    for (mutation, known) in all {
        let seeds = [known].into_iter().chain(0..setting("SOUK_SIM_SEEDS").unwrap_or(100));
        let caught = |seed| Some((seed, run(seed, Some(mutation), false).violations.first()?.clone()));
        match seeds.into_iter().find_map(caught) {
            Some((seed, why)) => println!("{mutation:?}: seed {seed}: {why}"),
            None => missed.push(mutation),
        }
    }
    assert_eq!(missed, []);
}

/// The store stalls, or takes no writes, for longer than the lease; the nodes are well. The answer is whether every slot stays
/// where it is.
fn stall(seed: u64, mutation: Option<Mutation>) -> bool {
    let mut run = Run::new(seed, mutation);
    run.world.chances = Chances { message_ms_max: 10, call_ms_max: 40, stop_ms_max: 10, ..Chances::default() };
    run.world.run(20_000);
    let owners = |world: &World| world.store.slots.iter().map(|head| head.owner.clone()).collect::<Vec<_>>();
    let before = owners(&run.world);
    let until = run.world.now + LEASE_MS as i64 + run.world.random.between(0, 8_000);
    if run.world.random.chance(500) {
        run.world.stalled_until = until;
    } else {
        run.world.read_only_until = until;
    }
    run.world.run(30_000);
    assert_eq!(run.world.violations.first(), None, "seed {seed}");
    owners(&run.world) == before
}

#[test]
fn a_store_that_stalls_makes_nobody_evict_anybody() {
    (0..20).for_each(|seed| assert!(stall(seed, None), "seed {seed}"));
    assert!((0..20).any(|seed| !stall(seed, Some(Mutation::WatchesThroughGaps))), "the mutation is caught");
}

impl World {
    /// What comes after the chaos is counted by itself.
    pub fn stop_counting(&mut self) {
        self.chaos = (self.served, self.late);
        (self.served, self.late) = (0, 0);
    }

    /// An operator's wish is written, and the node that was asked is told.
    pub fn wish(&mut self, asked: &NodeId, change: WishChange) {
        self.store.wishes.apply(&change);
        self.give(asked, Input::Wished { change });
    }

    pub fn stop(&mut self, node: &NodeId, within: i64) {
        let by = self.clock(node).plus(std::time::Duration::from_millis(within as u64));
        self.say(format!("{node} is to stop"));
        self.give(node, Input::Stop { by });
    }
}
