//! Deterministic simulation of a node: the real slots, the real journal writer and the real entities, over
//! a simulated store, network, payment provider and clock. A seed decides everything: how many slots and
//! clients there are, what they do, what fails, and which of all steps that are possible comes next.
//!
//! After every step the invariants are checked; each has a name that is a sentence. When one breaks, the
//! seed is printed with the command that replays it alone, and the trace of what happened.
//!
//! - `SOUK_SIM_SEEDS=n` runs n seeds (a long run: a million), `SOUK_SIM_FROM=x` where they begin;
//! - `SOUK_SIM_SEED=x` runs one, and prints its trace whatever comes of it.
//!
//! Slots and deliveries run here as they do in a node, by the same state machines; what is not here are the actors that
//! carry these out, and real stores, which have their conformance suite and the crash tests.

mod age;
mod answers;
mod chaos;
mod clients;
mod dispatch;
mod handle;
mod history;
mod journal;
mod link;
mod moving;
mod mutations;
mod node;
mod provider;
mod random;
mod rest;
mod shop;
mod spoilt;
mod task;
#[path = "../support/watchdog.rs"]
mod watchdog;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use mutations::Mutation;
use world::World;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub invariant: &'static str,
    pub detail: String,
}

/// What a seed came to: how often what happened.
pub type Summary = BTreeMap<&'static str, u64>;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the last panic on this thread said.
pub fn last_panic() -> String {
    LAST_PANIC.with_borrow(String::clone)
}

/// Panics are caught, by the slot or here, and told in the report: they are not printed as they happen.
fn keep_panics() {
    std::panic::set_hook(Box::new(|info| LAST_PANIC.with_borrow_mut(|last| *last = info.to_string())));
}

/// Runs one seed from its beginning to its rest.
fn run(seed: u64, mutation: Option<Mutation>, trace: Option<Arc<Mutex<Vec<String>>>>) -> Result<Summary, Broken> {
    let _noted = watchdog::note(format!("seed {seed}"));
    let whole = || {
        let mut world = World::new(seed, mutation, trace);
        for _ in 0..world.chaos.steps {
            world.steps += 1;
            world.live()?;
        }
        world.come_to_rest()
    };
    catch_unwind(AssertUnwindSafe(whole))
        .unwrap_or_else(|_| Err(Broken { invariant: "nothing panics", detail: last_panic() }))
}

fn replay_command(seed: u64) -> String {
    format!("SOUK_SIM_SEED={seed} cargo test --test simulation seeds -- --nocapture")
}

/// The end of a failing seed's trace, from a second run: it is the same, or that is a fault too.
fn report(seed: u64, broken: &Broken) -> String {
    const LINES: usize = 150;
    let trace = Arc::new(Mutex::new(Vec::new()));
    let again = run(seed, None, Some(trace.clone()));
    let trace = trace.lock();
    let lines = trace[trace.len().saturating_sub(LINES)..].join("\n");
    let same = if again.as_ref().err() == Some(broken) { "" } else { "\nTHE SECOND RUN WENT OTHERWISE" };
    format!(
        "\n{lines}\n\nseed {seed} breaks: {}\n  {}{same}\nreplay: {}\n",
        broken.invariant,
        broken.detail,
        replay_command(seed)
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds run side by side on two threads, until one fails.
fn run_seeds(
    first: u64,
    count: u64,
    on: impl Fn(u64) -> Result<Summary, String> + Sync,
) -> Result<Vec<Summary>, String> {
    let next = AtomicU64::new(first);
    let failure = Mutex::new(None);
    let summaries = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while failure.lock().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match on(seed) {
                        Ok(summary) => summaries.lock().push(summary),
                        Err(why) => *failure.lock() = Some(why),
                    }
                }
            });
        }
    });
    match failure.into_inner() {
        Some(why) => Err(why),
        None => Ok(summaries.into_inner()),
    }
}

#[test]
fn seeds() {
    keep_panics();
    if let Some(seed) = number("SOUK_SIM_SEED") {
        let trace = Arc::new(Mutex::new(Vec::new()));
        let result = run(seed, None, Some(trace.clone()));
        println!("{}", trace.lock().join("\n"));
        match result {
            Ok(summary) => return println!("seed {seed} holds: {summary:?}"),
            Err(broken) => panic!("seed {seed} breaks: {}\n  {}", broken.invariant, broken.detail),
        }
    }
    let (first, count) = (number("SOUK_SIM_FROM").unwrap_or(1), number("SOUK_SIM_SEEDS").unwrap_or(1_000));
    let started = Instant::now();
    let on = |seed| run(seed, None, None).map_err(|broken| report(seed, &broken));
    match run_seeds(first, count, on) {
        Err(why) => {
            println!("{why}");
            panic!("a seed fails: see above");
        }
        Ok(summaries) => {
            let mut all = Summary::new();
            for (what, count) in summaries.into_iter().flatten() {
                *all.entry(what).or_default() += count;
            }
            println!("{count} seeds in {:.1?}", started.elapsed());
            all.iter().for_each(|(what, count)| println!("{count:>9} {what}"));
            // What never happened was not tested.
            let missing: Vec<_> =
                rest::EXPECTED.iter().filter(|what| all.get(**what).is_none_or(|count| *count == 0)).collect();
            assert!(missing.is_empty() || count < 1_000, "never happened: {missing:?}");
        }
    }
}

/// A seed says the same twice: else a failing one could not be replayed.
#[test]
fn a_seed_is_a_whole_run() {
    keep_panics();
    for seed in 1..=5 {
        let traces = [(); 2].map(|()| {
            let trace = Arc::new(Mutex::new(Vec::new()));
            let summary = run(seed, None, Some(trace.clone()));
            (summary, trace.lock().clone())
        });
        for (a, b) in traces[0].1.iter().zip(&traces[1].1) {
            assert_eq!(a, b, "seed {seed}");
        }
        assert_eq!(traces[0].0, traces[1].0, "seed {seed}");
    }
}

/// Each mutation is found within some seeds; what found it is printed.
#[test]
fn every_mutation_is_caught() {
    keep_panics();
    const SEEDS: u64 = 400;
    let mut escaped = Vec::new();
    for mutation in Mutation::ALL {
        let started = Instant::now();
        let caught = (1..=SEEDS).find_map(|seed| run(seed, Some(mutation), None).err().map(|broken| (seed, broken)));
        match caught {
            Some((seed, broken)) => {
                println!("{mutation:?}: seed {seed} breaks {:?} after {:.1?}", broken.invariant, started.elapsed());
            }
            None => escaped.push(mutation),
        }
        assert!(started.elapsed() < Duration::from_secs(600), "{mutation:?} takes too long to find");
    }
    assert!(escaped.is_empty(), "not caught: {escaped:?}");
}
