//! kill -9 in the middle of a replay: of the server, while it serves and while it starts, of the replay itself, and of
//! the server of a shared store, with souk or under it. Where several nodes serve, one of them is killed each time.

use rand::Rng;
use rand::rngs::StdRng;
use souk::persistence::embedded::EngineKind;

use super::process::Process;
use super::replaying::Replay;
use super::retail_sample::Sample;
use super::stores::{Kind, TestStore};
use super::{chance, configured, moment};
use crate::entrance::Entrance;
use crate::nodes;

/// On a shared store souk waits out the lease of the one that was killed: few kills, each of several seconds.
fn wanted(kind: Kind) -> usize {
    match kind {
        Kind::Embedded(EngineKind::Sled) => 22,
        Kind::Embedded(EngineKind::Fjall) => 6,
        Kind::Postgres | Kind::Redis => 9,
    }
}

/// How long a start takes, at most: anywhere within it may be its end.
fn start_ms(kind: Kind) -> u64 {
    if kind.is_shared() { 7_000 } else { 600 }
}

/// What dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Souk,
    /// The store's server, and souk lives on.
    Store,
    Both,
}

#[test]
fn a_server_that_is_killed_at_any_moment_loses_and_doubles_nothing() {
    let mut chance = chance("kills");
    let (wanted, mut kills) = (wanted(Kind::chosen()), 0);
    while kills < wanted {
        kills += killed_during_a_replay(&mut chance, kills..wanted);
    }
}

/// Kills until the replay has ended, or these blows have fallen; then everything must be as if nothing had been.
fn killed_during_a_replay(chance: &mut StdRng, blows: std::ops::Range<usize>) -> usize {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = TestStore::alone(dir.path());
    let mut nodes = nodes::serve(nodes::chosen(), &store, dir.path(), configured);
    let entrance = Entrance::before(nodes.iter().map(|node| node.url.as_str()));
    let sample = Sample { seed: chance.r#gen(), ..Sample::default() };
    let mut replay = Replay::start(&entrance.url, dir.path(), sample, &["--stock", "exact", "--clients", "16"]);
    let (mut kills, mut done) = (0, 0);
    for number in blows {
        done += chance.gen_range(1..20);
        if !replay.reaches(done) {
            break;
        }
        std::thread::sleep(moment(chance, 100));
        let client_dies = chance.gen_ratio(1, 4);
        if client_dies {
            replay.kill();
        }
        let all = if store.kind.is_shared() { &[Blow::Souk, Blow::Store, Blow::Both][..] } else { &[Blow::Souk] };
        let blow = all[number % all.len()];
        println!("{blow:?} at {done} invoices");
        let struck = nodes.remove(chance.gen_range(0..nodes.len()));
        nodes.push(strike(blow, struck, &mut store, chance));
        if client_dies {
            replay.resume();
        }
        kills += 1;
        done = replay.done();
    }
    replay.verified();
    for node in nodes {
        assert!(node.stop().status.success());
    }
    kills
}

fn strike(blow: Blow, server: Process, store: &mut TestStore, chance: &mut StdRng) -> Process {
    if blow != Blow::Souk {
        store.kill_server();
    }
    if blow == Blow::Store {
        store.start_server();
        return server;
    }
    let launch = server.kill();
    if blow == Blow::Both {
        store.start_server();
    }
    if chance.gen_ratio(1, 4) {
        launch.start_and_kill(moment(chance, start_ms(store.kind)));
    }
    launch.start()
}
