//! Files that were damaged while nobody looked: bits flipped, sectors overwritten, tails cut off. What is served
//! afterwards is right, or the store says that it is damaged. It is never wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use souk::persistence::{Journal, StoreError};

use super::ledger::Writers;
use super::store::{Acknowledged, Fault, try_open, verify, write_and_kill};
use super::{chance, launch};

const ROUNDS: usize = 120;
const NODE_ROUNDS: usize = 8;
/// How long an opening or a verification may take before it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to); // the first time there is none
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        match entry.file_type().expect("its type").is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy")),
        }
    }
}

/// Where and how the files of a store are damaged.
fn harm(folder: &Path, chance: &mut StdRng) -> String {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path()).collect();
    files.retain(|path| path.is_file() && fs::metadata(path).is_ok_and(|of| of.len() > 0));
    files.sort();
    let db = folder.join("db");
    let path = if chance.gen_bool(0.8) { &db } else { &files[chance.gen_range(0..files.len())] };
    let bytes = fs::read(path).expect("a file of the store");
    let file = fs::File::options().write(true).open(path).expect("a file of the store");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let near_end = used.saturating_sub(20_000);
    let at = if chance.gen_bool(0.3) { chance.gen_range(near_end..used) } else { chance.gen_range(0..used) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
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

/// Opens and reads everything; a panic of sled's counts as told.
async fn judge(folder: &Path, acknowledged: &Acknowledged) -> Result<(), Fault> {
    let (folder, acknowledged) = (folder.to_owned(), acknowledged.clone());
    let told = |error: tokio::task::JoinError| Fault::Told(StoreError::Fatal(format!("panicked: {error}")));
    let judged = tokio::spawn(async move {
        let opened = tokio::task::spawn_blocking(move || try_open(&folder)).await;
        let journal = opened.map_err(told)??;
        let verdict = verify(&journal, &acknowledged).await;
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
    let mut chance = chance("damage");
    let home = tempfile::tempdir().expect("a folder");
    let (whole, copied) = (home.path().join("whole"), home.path().join("copied"));
    let mut acknowledged = write_and_kill(&whole, 600, &[]);
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for round in 0..ROUNDS {
        if round == ROUNDS / 3 {
            // From here on one that was closed well: everything is in the index.
            try_open(&whole).expect("opens").close().await.expect("close");
        }
        if round == 2 * ROUNDS / 3 {
            acknowledged = write_and_kill(&whole, 300, &[]);
        }
        copy(&whole, &copied);
        let what = harm(&copied, &mut chance);
        let verdict = match judge(&copied, &acknowledged).await {
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
        println!("{count:4} {verdict}");
    }
    assert!(wrong.is_empty(), "served wrong:\n{}", wrong.join("\n"));
    assert!(told.len() > 2, "the damage was met");
}

/// A message without its numbers.
fn kind_of(message: &str) -> String {
    let message: String = message.chars().filter(|c| !c.is_ascii_digit()).take(110).collect();
    message.lines().next().unwrap_or_default().to_owned()
}

/// What the tests above rest on: without the witness sled opens a store that has lost its end, and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_witness_the_loss_of_the_end_would_go_unnoticed() {
    let home = tempfile::tempdir().expect("a folder");
    let (whole, copied) = (home.path().join("whole"), home.path().join("copied"));
    let acknowledged = write_and_kill(&whole, 50, &[]);
    for with_witness in [true, false] {
        copy(&whole, &copied);
        let db = fs::File::options().write(true).open(copied.join("db")).expect("sled's file");
        let used = fs::read(copied.join("db")).expect("it").iter().rposition(|byte| *byte != 0).expect("something");
        db.set_len(used as u64 / 2).expect("half of it is lost");
        if !with_witness {
            fs::remove_file(copied.join("souk.end")).expect("the witness");
        }
        match judge(&copied, &acknowledged).await {
            Err(Fault::Told(StoreError::Damaged(why))) if with_witness => assert!(why.contains("end is lost"), "{why}"),
            Err(Fault::Wrong(why)) if !with_witness => assert!(why.contains("was acknowledged"), "{why}"),
            other => panic!("with the witness: {with_witness}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_damaged_files_serves_what_is_right_or_says_that_they_are_damaged() {
    let mut chance = chance("damage under a node");
    let home = tempfile::tempdir().expect("a folder");
    let (whole, copied) = (home.path().join("whole"), home.path().join("copied"));
    let server = launch(home.path(), &whole).start();
    let writers = Writers::start(&server.url, 8, 1);
    writers.reach(300).await;
    drop(server.kill());
    let ledger = writers.finish().await;
    for _ in 0..NODE_ROUNDS {
        copy(&whole, &copied);
        let what = harm(&copied, &mut chance);
        let verdict = match launch(home.path(), &copied).try_start() {
            Ok(server) => {
                format!("{} of {} carts unreadable", ledger.told_of_by(&server.url).await, ledger.carts.len())
            }
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(1), "{what}\n{}", ended.log);
                let last = ended.log.lines().last().unwrap_or_default().to_owned();
                assert!(last.starts_with("souk: ") && (last.contains("damaged") || last.contains("sled")), "{last}");
                last
            }
        };
        println!("{what}: {verdict}");
    }
}
