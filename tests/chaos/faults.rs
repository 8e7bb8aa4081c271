//! What goes wrong, and how it is made to. Each fault ends when all slots are served again by those that should, and is
//! followed by a while in which all is well.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::cluster::{SLOTS, WITHIN};
use super::run::Run;
use super::way::Cut;

/// Requests that are decided before a fault, and once its victim is replaced.
const SOME: usize = 60;
const FEW: usize = 25;

/// In words that a report shows.
macro_rules! faults {
    ($($name:ident $words:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($name),* }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$name),*];

            pub fn words(self) -> &'static str {
                match self { $(Fault::$name => $words),* }
            }
        }
    };
}

faults! {
    Kill "a node is killed",
    Pause "a node is halted for longer than its lease, and goes on",
    CutFromPeers "a node is cut off from the others, not from the store",
    CutFromStore "a node is cut off from the store, not from the others",
    CutFromBoth "a node is cut off from the others and from the store",
    StoreHalted "the store stands still for longer than the lease",
    StoreRestarted "the store is killed and started again",
    RollingRestart "each node is stopped and started, one after the other",
    Grow "two nodes are added",
    Shrink "nodes are stopped until two are left, two of them at once",
    KilledInItsDrain "a node is killed in the middle of its own drain",
    KilledInAnothersDrain "a node is killed in the middle of the drain of another",
    HotSlotMoves "the hot slot is moved from node to node",
}

impl Fault {
    /// An operator does it, and no client may notice.
    pub fn is_planned(self) -> bool {
        match self {
            Fault::RollingRestart | Fault::Grow | Fault::Shrink | Fault::HotSlotMoves => true,
            Fault::Kill
            | Fault::Pause
            | Fault::CutFromPeers
            | Fault::CutFromStore
            | Fault::CutFromBoth
            | Fault::StoreHalted
            | Fault::StoreRestarted
            | Fault::KilledInItsDrain
            | Fault::KilledInAnothersDrain => false,
        }
    }

    /// Nobody but the clients of the nodes that it strikes may be refused anything.
    pub fn spares_others(self) -> bool {
        self.is_planned()
            || match self {
                Fault::Kill | Fault::Pause | Fault::KilledInItsDrain | Fault::KilledInAnothersDrain => true,
                Fault::CutFromPeers
                | Fault::CutFromStore
                | Fault::CutFromBoth
                | Fault::StoreHalted
                | Fault::StoreRestarted
                | Fault::RollingRestart
                | Fault::Grow
                | Fault::Shrink
                | Fault::HotSlotMoves => false,
            }
    }

    /// So many nodes are to run before.
    fn needs(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Fault::Grow => 1..=3,
            Fault::Shrink => 4..=5,
            Fault::CutFromPeers | Fault::CutFromBoth | Fault::KilledInAnothersDrain => 3..=5,
            Fault::Kill
            | Fault::Pause
            | Fault::CutFromStore
            | Fault::StoreHalted
            | Fault::StoreRestarted
            | Fault::RollingRestart
            | Fault::KilledInItsDrain
            | Fault::HotSlotMoves => 2..=5,
        }
    }

    /// One of those that so many nodes can bear.
    pub fn any(random: &mut StdRng, running: usize) -> Fault {
        let possible: Vec<Fault> =
            Fault::ALL.iter().copied().filter(|fault| fault.needs().contains(&running)).collect();
        *possible.choose(random).expect("some fault")
    }
}

/// A fault that was.
#[derive(Debug, Clone)]
pub struct Happened {
    pub fault: Fault,
    /// The numbers of the nodes that it struck.
    pub victims: Vec<usize>,
    /// By the clients' clock.
    pub began: u64,
    pub ended: u64,
    /// Until all slots were served by others, where some had been lost.
    pub fail_over: Option<Duration>,
}

/// Does it, and waits until all is well again.
pub fn strike(run: &mut Run, fault: Fault) {
    let running = run.cluster.running();
    assert!(fault.needs().contains(&running.len()), "{fault:?} with {} nodes", running.len());
    run.go_on(SOME);
    let began = run.now_us();
    println!("{:>8.1} s  {}", began as f64 / 1e6, fault.words());
    let mut order = running;
    order.shuffle(&mut run.random);
    let (victims, fail_over) = match fault {
        Fault::Kill => killed(run, order[0]),
        Fault::Pause => paused(run, order[0]),
        Fault::CutFromPeers => cut(run, order[0], &[Way::Peers]),
        Fault::CutFromStore => cut(run, order[0], &[Way::Store]),
        Fault::CutFromBoth => cut(run, order[0], &[Way::Peers, Way::Store]),
        Fault::StoreHalted => store_halted(run, order),
        Fault::StoreRestarted => store_restarted(run, order),
        Fault::RollingRestart => rolling_restart(run, &order),
        Fault::Grow => grow(run),
        Fault::Shrink => shrink(run, &order),
        Fault::KilledInItsDrain => killed_in_its_drain(run, order[0]),
        Fault::KilledInAnothersDrain => killed_in_anothers_drain(run, order[0], order[1]),
        Fault::HotSlotMoves => hot_slot_moves(run, &order),
    };
    run.cluster.settle();
    run.happened.push(Happened { fault, victims, began, ended: run.now_us(), fail_over });
}

/// The nodes that were struck, and how long it took until others had their slots.
type Struck = (Vec<usize>, Option<Duration>);

fn others(run: &Run, victims: &[usize]) -> Vec<usize> {
    run.cluster.running().into_iter().filter(|number| !victims.contains(number)).collect()
}

fn killed(run: &mut Run, victim: usize) -> Struck {
    run.cluster.kill(victim);
    let took = run.cluster.until_served_by(&others(run, &[victim]));
    run.go_on(FEW);
    run.cluster.start(&[victim]);
    (vec![victim], Some(took))
}

/// What it is asked while it is halted it must not answer from memory.
fn paused(run: &mut Run, victim: usize) -> Struck {
    run.cluster.process(victim).signal("STOP");
    let took = run.cluster.until_served_by(&others(run, &[victim]));
    run.go_on(FEW);
    run.probe(victim);
    run.cluster.process(victim).signal("CONT");
    (vec![victim], Some(took))
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Peers,
    Store,
}

fn cut(run: &mut Run, victim: usize, ways: &[Way]) -> Struck {
    let how = if run.random.gen_ratio(2, 3) { Cut::Silent } else { Cut::Reset };
    let gate = |run: &Run, way: &Way| match way {
        Way::Peers => run.cluster.to_peers.clone(),
        Way::Store => run.cluster.to_store.clone(),
    };
    ways.iter().for_each(|way| gate(run, way).cut(victim, how));
    run.probe(victim);
    let took = run.cluster.until_served_by(&others(run, &[victim]));
    run.go_on(FEW);
    run.probe(victim);
    ways.iter().for_each(|way| gate(run, way).mend(victim));
    (vec![victim], Some(took))
}

fn store_halted(run: &mut Run, nodes: Vec<usize>) -> Struck {
    run.cluster.halt_store();
    run.wait("no node is ready", WITHIN, run.cluster.balancer.until_none_is_ready());
    nodes.iter().for_each(|node| run.probe(*node));
    run.cluster.let_store_go_on();
    (nodes, None)
}

fn store_restarted(run: &mut Run, nodes: Vec<usize>) -> Struck {
    run.cluster.restart_store();
    run.go_on(FEW);
    (nodes, None)
}

fn rolling_restart(run: &mut Run, nodes: &[usize]) -> Struck {
    for node in nodes {
        run.stop(&[*node]);
        run.go_on(FEW);
        run.cluster.start(&[*node]);
        run.cluster.settle();
    }
    (Vec::new(), None)
}

fn grow(run: &mut Run) -> Struck {
    let added: Vec<usize> = run.cluster.idle().into_iter().take(2).collect();
    run.cluster.start(&added);
    (Vec::new(), None)
}

/// Down to two: one after the other, and the last two at once.
fn shrink(run: &mut Run, nodes: &[usize]) -> Struck {
    let (one_by_one, at_once) = nodes[2..].split_at(nodes.len() - 4);
    for node in one_by_one {
        run.stop(&[*node]);
    }
    run.stop(at_once);
    (Vec::new(), None)
}

fn killed_in_its_drain(run: &mut Run, victim: usize) -> Struck {
    begin_drain(run, victim);
    run.cluster.kill(victim);
    let took = run.cluster.until_served_by(&others(run, &[victim]));
    run.go_on(FEW);
    run.cluster.start(&[victim]);
    (vec![victim], Some(took))
}

fn killed_in_anothers_drain(run: &mut Run, drained: usize, victim: usize) -> Struck {
    begin_drain(run, drained);
    run.cluster.kill(victim);
    let took = run.cluster.until_served_by(&others(run, &[drained, victim]));
    run.ended_well(drained);
    run.go_on(FEW);
    run.cluster.start(&[drained, victim]);
    (vec![victim], Some(took))
}

/// Tells a node to stop, and waits until it has given some of its slots away.
fn begin_drain(run: &Run, node: usize) {
    let before = run.cluster.slots_of(&[node]);
    run.cluster.process(node).signal("TERM");
    run.cluster.until("it gives slots away", || run.cluster.slots_of(&[node]) < before);
}

fn hot_slot_moves(run: &mut Run, nodes: &[usize]) -> Struck {
    for node in nodes.iter().cycle().take(2 * nodes.len()) {
        run.move_hot_slot(*node);
        run.go_on(FEW / 2);
    }
    run.let_hot_slot_go();
    (Vec::new(), None)
}

#[test]
fn every_kind_has_its_words_and_fits_some_number_of_nodes() {
    for fault in Fault::ALL {
        assert!(!fault.words().is_empty() && fault.needs().all(|nodes| (1..=5).contains(&nodes)), "{fault:?}");
    }
    assert!(usize::from(SLOTS) > 5);
}
