//! Power cuts in the middle of a replay: what the server had not made durable is gone when it starts again.

use rand::Rng;
use rand::rngs::StdRng;
use souk::persistence::embedded::EngineKind;

use super::powercut::{Left, PowerCut};
use super::replaying::Replay;
use super::retail_sample::Sample;
use super::stores::Kind;
use super::{chance, launch, moment};

fn wanted(engine: EngineKind) -> usize {
    match engine {
        EngineKind::Sled => 12,
        EngineKind::Fjall => 5,
    }
}

#[test]
fn a_power_cut_at_any_moment_takes_nothing_that_was_acknowledged() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let mut chance = chance("power cuts");
    let (wanted, mut cuts) = (wanted(engine), 0);
    while cuts < wanted {
        cuts += cut_during_a_replay(engine, &mut chance, wanted - cuts);
    }
}

fn cut_during_a_replay(engine: EngineKind, chance: &mut StdRng, at_most: usize) -> usize {
    let dir = tempfile::tempdir().expect("a folder");
    let power = PowerCut::new(dir.path(), &dir.path().join("data"));
    let launch = launch(dir.path()).data(&dir.path().join("data")).engine(engine);
    let launch = power.environment().into_iter().fold(launch, |launch, (name, value)| launch.env(name, value));
    let mut server = launch.start();
    let sample = Sample { seed: chance.r#gen(), ..Sample::default() };
    let mut replay = Replay::start(&server.url, dir.path(), sample, &["--stock", "exact", "--clients", "16"]);
    let (mut cuts, mut done) = (0, 0);
    while cuts < at_most {
        done += chance.gen_range(1..25);
        if !replay.reaches(done) {
            break;
        }
        std::thread::sleep(moment(chance, 100));
        let launch = server.kill();
        let left = if chance.gen_bool(0.5) { Left::Nothing } else { Left::Some { seed: chance.r#gen() } };
        println!("power cut at {done} invoices, leaving {left:?}: {:?}", power.cut(left));
        server = launch.start();
        cuts += 1;
        done = replay.done();
    }
    replay.verified();
    assert!(server.stop().status.success());
    cuts
}
