//! What a node bears, on the real binary: to be killed at any moment, a power cut, a full disk, damaged files, a
//! second process, and to be stopped under load. Everything that was acknowledged is there afterwards, or the node
//! says that it is not.
//!
//! Everything runs on the store that `SOUK_TEST_STORE` names (see `stores`). Where that is a shared one its server is
//! killed, too; and power cuts, full disks and damaged files are the server's affair: those tests pass without doing
//! anything then.
//!
//! Moments are chosen by chance. The seed is printed; `CRASH_SEED=N` asks for the same choices again (what the
//! processes were doing at those moments is theirs).

mod completions;
mod damage;
mod disk_full;
mod kills;
mod ledger;
mod power_cut;
mod processes;
mod store;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::process::Launch;
use crate::{history, powercut, process, replaying, retail_sample, small_disk, stores};

/// Chance, with its seed on standard output.
fn chance(test: &str) -> StdRng {
    let given = std::env::var("CRASH_SEED").ok().map(|seed| seed.parse().expect("CRASH_SEED is a number"));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos().into();
    let seed: u64 = given.unwrap_or_else(now);
    println!("{test}: CRASH_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// How long nothing is done before the next blow: not to wait for something, but to strike anywhere.
fn moment(chance: &mut StdRng, at_most_ms: u64) -> Duration {
    Duration::from_micros(chance.gen_range(0..at_most_ms * 1_000))
}

fn launch(home: &Path) -> Launch {
    configured(Launch::new(home))
}

fn configured(launch: Launch) -> Launch {
    // A payment that is asked just before each of several kills must not time out on a slow machine.
    let launch = launch.administered().env("SOUK_PAYMENT__TIMEOUT_MS", "50000");
    launch.env("SOUK_LOG__FILTER", "error")
}
