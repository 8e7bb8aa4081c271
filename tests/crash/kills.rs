//! kill -9 in the middle of a replay: of the server, while it serves and while it starts, and of the replay itself.

use rand::Rng;
use rand::rngs::StdRng;
use souk::persistence::embedded::EngineKind;

use super::replaying::Replay;
use super::retail_sample::Sample;
use super::{chance, launch, moment};

const KILLS: [(EngineKind, usize); 2] = [(EngineKind::Sled, 22), (EngineKind::Fjall, 6)];

#[test]
fn a_server_that_is_killed_at_any_moment_loses_and_doubles_nothing() {
    let mut chance = chance("kills");
    for (engine, wanted) in KILLS {
        let mut kills = 0;
        while kills < wanted {
            kills += killed_during_a_replay(engine, &mut chance, wanted - kills);
        }
    }
}

/// Kills until the replay has ended, or `at_most` times; then everything must be as if nothing had been.
fn killed_during_a_replay(engine: EngineKind, chance: &mut StdRng, at_most: usize) -> usize {
    let dir = tempfile::tempdir().expect("a folder");
    let mut server = launch(dir.path(), &dir.path().join("data")).engine(engine).start();
    let sample = Sample { seed: chance.r#gen(), ..Sample::default() };
    println!("{engine:?}");
    let mut replay = Replay::start(&server.url, dir.path(), sample, &["--stock", "exact", "--clients", "16"]);
    let mut kills = 0;
    let mut done = 0;
    while kills < at_most {
        done += chance.gen_range(1..20);
        if !replay.reaches(done) {
            break;
        }
        std::thread::sleep(moment(chance, 100));
        let launch = server.kill();
        let client_dies = chance.gen_ratio(1, 4);
        if client_dies {
            replay.kill();
        }
        if chance.gen_ratio(1, 4) {
            launch.start_and_kill(moment(chance, 600));
        }
        server = launch.start();
        if client_dies {
            replay.resume();
        }
        kills += 1;
        done = replay.done();
    }
    replay.verified();
    assert!(server.stop().status.success());
    kills
}
