//! Transcripts: each file of `scripts/` is one scenario. Commands stand above `---`, and what the nodes did below it. The file is
//! the test: it is run, and has to come out as it is. `SOUK_STORIES=write` writes what comes out; read it before you keep it.

use std::path::PathBuf;

use super::world::{Chances, World};
use crate::cluster::NodeId;
use crate::cluster::protocol::commands::Command;
use crate::cluster::protocol::plan::{Move, Plan};

macro_rules! stories {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            story(stringify!($name));
        }
    )* };
}

stories! {
    unknown_owner join hand_off drain rolling_restart node_lost node_paused node_back store_stalled two_claim_at_once
    receiver_dies giver_dies transfer_of_unknown_outcome cordon_pin_move link_down upgrade slot_too_slow drained
}

fn story(name: &str) {
    // The sources lie where they were built, or where the tests are run.
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cluster/protocol/tests/scripts");
    let folder = std::env::var("SOUK_STORIES_IN").map_or(folder, PathBuf::from);
    let path = folder.join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let told = tell(&text);
    if std::env::var("SOUK_STORIES").is_ok_and(|what| what == "write") {
        std::fs::write(&path, &told).expect("written");
    }
    assert!(told == text, "{name} comes out otherwise:\n{told}");
}

/// Runs the commands of a script. The answer is the script with what came out.
fn tell(text: &str) -> String {
    let mut world = World::new(1, 6, 2_000, Chances::default());
    world.is_told = true;
    let mut told = Vec::new();
    let mut is_output = false;
    for line in text.lines() {
        match line {
            "---" => {
                is_output = true;
                told.push(line.to_owned());
                told.append(&mut world.said);
            }
            "" => {
                is_output = false;
                told.push(String::new());
            }
            _ if is_output => {}
            comment if comment.starts_with('#') => told.push(comment.to_owned()),
            command => {
                told.push(command.to_owned());
                obey(&mut world, command);
            }
        }
    }
    assert_eq!(world.violations, Vec::<String>::new());
    told.join("\n") + "\n"
}

/// `2s` or `500ms`.
fn time(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).expect("a unit"));
    let number: i64 = number.parse().expect("a number");
    match unit {
        "s" => number * 1_000,
        "ms" => number,
        other => panic!("{other} is no unit"),
    }
}

fn obey(world: &mut World, command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let node = |at: usize| NodeId::of(words[at]);
    let slot = |at: usize| words[at].parse().expect("a slot");
    match words[0] {
        "start" => words[1..].iter().for_each(|name| start(world, name)),
        "run" => world.run(time(words[1])),
        "kill" => world.kill(&node(1)),
        "pause" => world.pause(&node(1)),
        "resume" => world.resume(&node(1)),
        "stop" => world.stop(&node(1), time(words[2])),
        "cut" => {
            world.cuts.insert((node(1), node(2)));
        }
        "heal" => world.cuts.clear(),
        "stall" => world.stalled_until = world.now + time(words[1]),
        "read-only" => world.read_only_until = world.now + time(words[1]),
        "lose-answer" => world.lose_next_transfer = Some(true),
        "lose-request" => world.lose_next_transfer = Some(false),
        "late-transfer" => world.delay_next_transfer = time(words[1]),
        "stops-take" => world.stops_take = time(words[1]),
        "lingers" => world.lingers = time(words[1]),
        "ask" => world.ask(&node(1), slot(2), 5_000),
        "owners" => {
            let owners = world.store.owners();
            world.said.extend(owners);
        }
        "plan" => {
            let plan = world.nodes[&node(1)].protocol.plan().clone();
            world.said.push(shown(&plan));
        }
        "operator" => operator(world, &words[1..]),
        other => panic!("{other} is no command"),
    }
}

/// `a`, or `a*2` for a node of weight 2, or `a:1-2` for one that reads versions 1 to 2.
fn start(world: &mut World, name: &str) {
    let (name, reads) = name.split_once(':').unwrap_or((name, "1-1"));
    let (name, weight) = name.split_once('*').unwrap_or((name, "1"));
    let (oldest, newest) = reads.split_once('-').expect("two versions");
    let number = |text: &str| text.parse().expect("a number");
    world.start(name, u32::from(number(weight)), (number(oldest), number(newest)), 0, 0);
}

/// `operator a drain b`, with `dry` behind it where nothing is to be done.
fn operator(world: &mut World, words: &[&str]) {
    let (asked, words) = (NodeId::of(words[0]), &words[1..]);
    let name = |at: usize| words[at].to_owned();
    let slot = |at: usize| words[at].parse().expect("a slot");
    let command = match words[0] {
        "cordon" => Command::Cordon { node: name(1) },
        "drain" => Command::Drain { node: name(1) },
        "uncordon" => Command::Uncordon { node: name(1) },
        "move" => Command::Move { slot: slot(1), to: name(2) },
        "pin" => Command::Pin { slot: slot(1), to: words.get(2).filter(|to| **to != "dry").map(|to| (*to).to_owned()) },
        "unpin" => Command::Unpin { slot: slot(1) },
        other => panic!("{other} is no command of operators"),
    };
    match world.nodes[&asked].protocol.judge(&command) {
        Err(refused) => world.say(format!("refused: {}", refused.code())),
        Ok(judged) => {
            let what = if judged.change.is_some() { "to be done" } else { "it is so already" };
            world.say(format!("{what} {}", moves(&judged.moves)).trim_end().to_owned());
            if let Some(change) = judged.change
                && words.last() != Some(&"dry")
            {
                world.wish(&asked, change);
            }
        }
    }
}

fn moves(moves: &[Move]) -> String {
    moves.iter().map(|one| format!("{}>{} ({:?})", one.slot, one.to, one.why)).collect::<Vec<_>>().join(" ")
}

fn shown(plan: &Plan) -> String {
    let claims = plan.claims.iter().map(|claim| format!("{}+{} ({:?})", claim.slot, claim.to, claim.why));
    let refusals = plan.refusals.iter().map(|refusal| format!("{refusal:?}"));
    let all: Vec<String> = claims.chain([moves(&plan.moves)]).chain(refusals).filter(|part| !part.is_empty()).collect();
    if all.is_empty() { "nothing to do".to_owned() } else { all.join("; ") }
}
