//! Chaos: real nodes over a real store, clients who note what they ask and are told, and faults that strike one after the other.
//!
//! ```text
//!   clients ──▶ balancer ──▶ nodes (processes) ──way──▶ store
//!      │                        └────way────┘             ways can be cut, processes killed and halted
//!   histories ──▶ checker: is there an order that fits?
//!   attempts  ──▶ measure ──▶ report
//! ```
//!
//! A run is made of a seed: it says which faults there are, whom they strike and what clients ask. (When things happen the
//! machine decides, so the same seed is the same kind of trouble, and not the same run.) At the end the histories are judged,
//! the books must balance, and `souk store check` reads the whole store.
//!
//! `faults` is what goes wrong, `clients/` who asks for what, `models` what one copy would answer.

mod balancer;
mod books;
mod checker;
mod checker_tests;
mod clients;
mod cluster;
mod faults;
mod history;
mod measure;
mod models;
mod report;
mod run;
mod way;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cluster::{Settings, StoreKind};
use faults::Fault;
use report::{Report, Round};
use run::{Faults, Plan};

/// What is set for a run by hand. `scripts/chaos` sets it.
const MINUTES: &str = "SOUK_CHAOS_MINUTES";
const SEED: &str = "SOUK_CHAOS_SEED";
const STORE: &str = "SOUK_CHAOS_STORE";
const FOLDER: &str = "SOUK_CHAOS_REPORT";
const LEASE: &str = "SOUK_CHAOS_LEASE_MS";
/// Each round has a store of its own, and a seed that is the one before it and one.
const ROUND: Duration = Duration::from_secs(4 * 60);

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str, or: u64) -> u64 {
    set(name).map_or(or, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, and not {text:?}")))
}

fn about(plan: &Plan, again: String) -> Vec<(&'static str, String)> {
    let Settings { store, lease_ms, deadline_ms } = &plan.settings;
    let build = if cfg!(debug_assertions) { "without optimisation" } else { "with optimisation" };
    vec![
        ("store", store.name().to_owned()),
        ("cluster.lease_ms", lease_ms.to_string()),
        ("http.request_deadline_ms", deadline_ms.to_string()),
        ("souk was built", build.to_owned()),
        ("the same again", again),
    ]
}

/// Runs one, and keeps what shows why where something is wrong.
fn round(plan: &Plan, folder: &std::path::Path) -> Round {
    let outcome = run::run(plan.clone());
    let round = Round::of(&outcome);
    if !round.wrong.is_empty() || !round.broken_bars().is_empty() {
        report::keep_evidence(&outcome, folder);
    }
    round
}

/// Every kind of fault once: each in the company that it needs. From one node to three, to five, to two.
#[test]
fn a_cluster_bears_every_kind_of_fault_and_every_answer_fits() {
    let faults = vec![
        Fault::Grow,
        Fault::Kill,
        Fault::Pause,
        Fault::CutFromPeers,
        Fault::CutFromStore,
        Fault::CutFromBoth,
        Fault::StoreHalted,
        Fault::StoreRestarted,
        Fault::RollingRestart,
        Fault::KilledInItsDrain,
        Fault::HotSlotMoves,
        Fault::Grow,
        Fault::KilledInAnothersDrain,
        Fault::Shrink,
    ];
    let settings = Settings { store: StoreKind::Postgres, lease_ms: 2_000, deadline_ms: 20_000 };
    let plan = Plan { seed: number(SEED, 11), settings, faults: Faults::Fixed(faults) };
    let folder = set(FOLDER).map_or(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos"), PathBuf::from);
    let round = round(&plan, &folder);
    let (wrong, broken) = (round.wrong.clone(), round.broken_bars());
    let again = format!("{SEED}={} cargo test --test once chaos::a_cluster_bears", plan.seed);
    Report { about: about(&plan, again), rounds: vec![round] }.write(&folder);
    assert!(wrong.is_empty() && broken.is_empty(), "{wrong:#?}\n{broken:#?}\nmore in {}", folder.display());
}

/// What `scripts/chaos` runs.
#[test]
#[ignore = "runs for as long as it is told to: see scripts/chaos"]
fn for_as_long_as_asked() {
    let (minutes, first) = (number(MINUTES, 10), number(SEED, u64::from(rand::random::<u32>())));
    let store = StoreKind::named(&set(STORE).unwrap_or_else(|| "postgres".to_owned()));
    let settings = Settings { store, lease_ms: number(LEASE, 2_000), deadline_ms: 8_000 };
    let folder = PathBuf::from(set(FOLDER).expect("a folder for the report"));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let plan = Plan { seed: first, settings, faults: Faults::Random(ROUND) };
    let again = format!("scripts/chaos --minutes {minutes} --seed {first} --store {}", store.name());
    let mut report = Report { about: about(&plan, again), rounds: Vec::new() };
    while Instant::now() < until {
        let seed = first + report.rounds.len() as u64;
        let time = ROUND.min(until - Instant::now()).max(Duration::from_secs(30));
        println!("round {}, seed {seed}", report.rounds.len() + 1);
        let round = round(&Plan { seed, faults: Faults::Random(time), ..plan.clone() }, &folder);
        println!("wrong: {:#?}\nbars that were not kept: {:#?}", round.wrong, round.broken_bars());
        report.rounds.push(round);
        report.write(&folder); // what there is stays, should the next round not end
    }
    let is_well = |round: &Round| round.wrong.is_empty() && round.broken_bars().is_empty();
    assert!(report.rounds.iter().all(is_well), "see {}", folder.join("report.html").display());
}
