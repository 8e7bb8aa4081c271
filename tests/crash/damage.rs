//! Files that were damaged while nobody looked: bits flipped, sectors overwritten, tails cut off. What is served
//! afterwards is right, or the store says that it is damaged. It is never wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use souk::persistence::StoreError;
use souk::persistence::embedded::EngineKind;

use super::ledger::Writers;
use super::store::{Acknowledged, Fault, Victim, verify, write_and_kill};
use super::stores::Kind;
use super::{chance, launch};
use crate::folders;

/// How long an opening or a verification may take before it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a store is damaged, and one under a node.
fn rounds(engine: EngineKind) -> (usize, usize) {
    match engine {
        EngineKind::Sled => (120, 8),
        EngineKind::Fjall => (60, 4),
    }
}

/// Those with anything in them.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path()) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if fs::metadata(&path).is_ok_and(|of| of.len() > 0) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Where the data is: sled's file, fjall's journals and tables.
fn is_main(path: &Path) -> bool {
    let is_in = |folder: &str| path.parent().is_some_and(|parent| parent.ends_with(folder));
    path.ends_with("db") || path.extension().is_some_and(|of| of == "jnl") || is_in("tables")
}

/// Where and how the files of a store are damaged.
fn harm(folder: &Path, chance: &mut StdRng) -> String {
    let files = files_below(folder);
    let mains: Vec<&PathBuf> = files.iter().filter(|path| is_main(path)).collect();
    let path = if chance.gen_bool(0.8) {
        mains[chance.gen_range(0..mains.len())]
    } else {
        &files[chance.gen_range(0..files.len())]
    };
    let bytes = fs::read(path).expect("a file of the store");
    let file = fs::File::options().write(true).open(path).expect("a file of the store");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let near_end = used.saturating_sub(20_000);
    let at = if chance.gen_bool(0.3) { chance.gen_range(near_end..used) } else { chance.gen_range(0..used) };
    let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let overwrite = |length: usize, with: &mut dyn FnMut(u8) -> u8| {
        let changed: Vec<u8> = bytes[at..bytes.len().min(at + length)].iter().map(|byte| with(*byte)).collect();
        file.write_all_at(&changed, at as u64).expect("it is written");
    };
    match chance.gen_range(0..6) {
        0 | 1 => {
            let bit = 1 << chance.gen_range(0..8);
            overwrite(1, &mut |byte| byte ^ bit);
            format!("{name}: bit {bit:#x} flipped in byte {at} of {used}")
        }
        2 => {
            overwrite(512, &mut |_| 0);
            format!("{name}: 512 bytes zeroed from {at} of {used}")
        }
        3 => {
            overwrite(4_096, &mut |_| chance.r#gen());
            format!("{name}: garbage in 4 KiB from {at} of {used}")
        }
        4 => {
            file.set_len(at as u64).expect("it is cut off");
            format!("{name}: cut off at {at} of {used}")
        }
        _ => {
            let from = chance.gen_range(0..used);
            let other: Vec<u8> = bytes[from..used.min(from + 512)].to_vec();
            file.write_all_at(&other, at as u64).expect("it is written");
            format!("{name}: 512 bytes from {from} written over {at} of {used}")
        }
    }
}

/// Opens and reads everything; a panic of the engine's counts as told.
async fn judge(victim: Victim, acknowledged: &Acknowledged) -> Result<(), Fault> {
    let acknowledged = acknowledged.clone();
    let told = |error: tokio::task::JoinError| Fault::Told(StoreError::Fatal(format!("panicked: {error}")));
    let judged = tokio::spawn(async move {
        let journal = victim.try_open().await?;
        let verdict = verify(&victim, &*journal, &acknowledged).await;
        let _ = journal.close().await; // it may have failed
        verdict
    });
    match tokio::time::timeout(PATIENCE, judged).await {
        Ok(judged) => judged.map_err(told)?,
        Err(_) => Err(Fault::Wrong("it hangs".to_owned())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_serves_what_is_right_or_says_that_it_is_damaged() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let mut chance = chance("damage");
    let (rounds, _) = rounds(engine);
    let home = tempfile::tempdir().expect("a folder");
    let (whole, copied) = (home.path().join("whole"), home.path().join("copied"));
    let victim = Victim::embedded(engine, &whole);
    let mut acknowledged = write_and_kill(&victim, 600, &[]);
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for round in 0..rounds {
        if round == rounds / 3 {
            // From here on one that was closed well: everything is in the index.
            victim.try_open().await.expect("opens").close().await.expect("close");
        }
        if round == 2 * rounds / 3 {
            acknowledged = write_and_kill(&victim, 300, &[]);
        }
        folders::copy(&whole, &copied);
        let what = harm(&copied, &mut chance);
        let verdict = match judge(Victim::embedded(engine, &copied), &acknowledged).await {
            Ok(()) => "right".to_owned(),
            Err(Fault::Told(error)) => kind_of(&error.to_string()),
            Err(Fault::Wrong(why)) => {
                wrong.push(format!("round {round}: {what}: {why}"));
                "WRONG".to_owned()
            }
        };
        *told.entry(verdict).or_default() += 1;
    }
    for (verdict, count) in &told {
        println!("{count:4} {}: {verdict}", engine.name());
    }
    assert!(wrong.is_empty(), "{engine:?} served wrong:\n{}", wrong.join("\n"));
    assert!(told.len() > 2, "the damage was met");
}

/// A message without its numbers.
fn kind_of(message: &str) -> String {
    let message: String = message.chars().filter(|c| !c.is_ascii_digit()).take(110).collect();
    message.lines().next().unwrap_or_default().to_owned()
}

/// What the tests above rest on: without the witness an engine opens a store that has lost its end, and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_witness_the_loss_of_the_end_would_go_unnoticed() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let file = match engine {
        EngineKind::Sled => "db",
        EngineKind::Fjall => "fjall/0.jnl",
    };
    let home = tempfile::tempdir().expect("a folder");
    let (whole, copied) = (home.path().join("whole"), home.path().join("copied"));
    let acknowledged = write_and_kill(&Victim::embedded(engine, &whole), 50, &[]);
    for with_witness in [true, false] {
        folders::copy(&whole, &copied);
        let data = fs::File::options().write(true).open(copied.join(file)).expect("the engine's file");
        let used = fs::read(copied.join(file)).expect("it").iter().rposition(|byte| *byte != 0).expect("something");
        data.set_len(used as u64 / 2).expect("half of it is lost");
        if !with_witness {
            fs::remove_file(copied.join("souk.end")).expect("the witness");
        }
        match judge(Victim::embedded(engine, &copied), &acknowledged).await {
            Err(Fault::Told(StoreError::Damaged(why))) if with_witness => {
                assert!(why.contains("end is lost"), "{why}");
            }
            Err(Fault::Wrong(why)) if !with_witness => assert!(why.contains("was acknowledged"), "{why}"),
            other => panic!("{engine:?} with the witness: {with_witness}: {other:?}"),
        }
    }
}

/// fjall takes damage in the middle of its journal for the torn end of a crash, and cuts off what comes behind it
/// (its issue 311). The witness tells, wherever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_middle_of_fjalls_journal_is_told() {
    let Some(engine @ EngineKind::Fjall) = Kind::chosen().engine() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let (whole, copied) = (home.path().join("whole"), home.path().join("copied"));
    let acknowledged = write_and_kill(&Victim::embedded(engine, &whole), 20, &[]);
    let journal = Path::new("fjall").join("0.jnl");
    let bytes = fs::read(whole.join(&journal)).expect("fjall's journal");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("something");
    for tenth in 1..10 {
        folders::copy(&whole, &copied);
        let file = fs::File::options().write(true).open(copied.join(&journal)).expect("fjall's journal");
        file.write_all_at(&[0xff; 32], (used * tenth / 10) as u64).expect("damage");
        match judge(Victim::embedded(engine, &copied), &acknowledged).await {
            Err(Fault::Told(StoreError::Damaged(why))) => assert!(why.contains("end is lost"), "{tenth}: {why}"),
            // What was written last may be nothing that was acknowledged: blocks of a run that no manifest names.
            Ok(()) if tenth > 5 => {}
            other => panic!("{tenth}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_damaged_files_serves_what_is_right_or_says_that_they_are_damaged() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let mut chance = chance("damage under a node");
    let (_, rounds) = rounds(engine);
    let home = tempfile::tempdir().expect("a folder");
    let (whole, copied) = (home.path().join("whole"), home.path().join("copied"));
    let server = launch(home.path()).data(&whole).engine(engine).start();
    let writers = Writers::start(&server.url, 8, 1);
    writers.reach(300).await;
    drop(server.kill());
    let ledger = writers.finish().await;
    for _ in 0..rounds {
        folders::copy(&whole, &copied);
        let what = harm(&copied, &mut chance);
        let verdict = match launch(home.path()).data(&copied).engine(engine).try_start() {
            Ok(server) => {
                format!("{} of {} carts unreadable", ledger.told_of_by(&server.url).await, ledger.carts.len())
            }
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(1), "{what}\n{}", ended.log);
                let last = ended.log.lines().last().unwrap_or_default().to_owned();
                assert!(
                    last.starts_with("souk: ") && (last.contains("damaged") || last.contains(engine.name())),
                    "{last}"
                );
                last
            }
        };
        println!("{what}: {verdict}");
    }
}
