//! Every file of a small store is damaged in many places. The store opens and serves what is right, or it says that it
//! is damaged; it never aborts, and it never asks for memory that it cannot need.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::Failure;
use super::super::fjall::{create, open};
use super::*;
use crate::config::Config;
use crate::persistence::embedded::{EmbeddedOptions, EngineKind, FjallSettings};

/// Set in the process in which the damage is done: a store, whole.
const STORE: &str = "SOUK_TEST_FJALL_STORE";
const ADDRESS_SPACE_BYTES: u64 = 4 << 30;
/// Fewer places than that are all tried.
const PLACES: usize = 24;
const ITEMS: u32 = 1_200;
const HERE: &str = "persistence::embedded::engine::fjall_files::tests";

fn options() -> EmbeddedOptions {
    let mut options = Config::default().store.tuning().embedded(EngineKind::Fjall, 8);
    options.fjall = FjallSettings { cache_bytes: 1 << 20, memtable_bytes: 64 << 10 };
    options
}

fn key(n: u32) -> Vec<u8> {
    // In all three keyspaces.
    let part = [b'L', b'I', b'M'][n as usize % 3];
    [&[part], &n.to_be_bytes()[..]].concat()
}

fn value(n: u32) -> Vec<u8> {
    vec![n as u8; 300]
}

/// A store with tables in each keyspace, and something in its journal.
fn write(dir: &Path) {
    let engine = create(dir, &options(), b"Mmeta", b"1").expect("a store");
    for n in 0..ITEMS {
        engine.insert(&key(n), &value(n)).expect("insert");
    }
    engine.sync().expect("sync");
    let has_tables = |keyspace: &str| {
        let tables = dir.join("fjall/keyspaces").join(keyspace).join("tables");
        fs::read_dir(tables).is_ok_and(|mut tables| tables.next().is_some())
    };
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !["0", "1", "2", "3"].iter().all(|keyspace| has_tables(keyspace)) {
        assert!(std::time::Instant::now() < until, "fjall writes no tables");
        std::thread::sleep(Duration::from_millis(5)); // its own thread writes them, and tells nobody
    }
    drop(engine);
}

/// The files of a store without the zeros at their ends, and their lengths.
type Files = BTreeMap<PathBuf, (Vec<u8>, u64)>;

fn files_of(root: &Path, folder: &Path, files: &mut Files) {
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path()) {
        if path.is_dir() {
            files_of(root, &path, files);
        } else {
            let mut bytes = fs::read(&path).expect("a file");
            let len = bytes.len() as u64;
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            files.insert(path.strip_prefix(root).expect("below").to_owned(), (bytes, len));
        }
    }
}

fn lay_out(files: &Files, root: &Path) {
    let _ = fs::remove_dir_all(root); // the first time there is none
    for (path, (bytes, len)) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
        File::options().write(true).open(&path).and_then(|file| file.set_len(*len)).expect("its length");
    }
    for keyspace in 0..4 {
        fs::create_dir_all(root.join(format!("fjall/keyspaces/{keyspace}/tables"))).expect("a folder");
    }
}

/// Whether all is there; an error says that the store is damaged. What is wrong panics.
fn judge(root: &Path, what: &str) -> Result<bool, String> {
    let opened = catch_unwind(AssertUnwindSafe(|| open(root, &options()))).map_err(|_| "it panicked".to_owned())?;
    let engine = match opened {
        Ok(engine) => engine.expect("there is a store"),
        Err(StoreError::Damaged(why)) => return Err(why),
        Err(error) => panic!("{what}: {error}"),
    };
    let read = |n: u32| match engine.get(&key(n)) {
        Ok(Some(found)) => {
            assert_eq!(found[..], value(n), "{what}: {n} is not what was written");
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(Failure::Damaged(why)) => Err(why),
        Err(Failure::Failed(why)) => Err(why),
    };
    (0..ITEMS).try_fold(true, |all, n| Ok(read(n)? && all))
}

/// Where a file of so many bytes is damaged: everywhere, or at its ends and somewhere.
fn places(len: usize, chance: &mut StdRng) -> Vec<usize> {
    if len <= PLACES {
        return (0..len).collect();
    }
    let near_end = len.saturating_sub(300);
    (0..PLACES).map(|n| if n % 2 == 0 { chance.gen_range(near_end..len) } else { chance.gen_range(0..len) }).collect()
}

#[test]
#[ignore = "runs in the process that the other test starts"]
fn damage_done() {
    let Some(store) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current: Some(ADDRESS_SPACE_BYTES), maximum }).expect("a limit");
    let mut files = Files::new();
    files_of(&store, &store, &mut files);
    let mut chance = StdRng::seed_from_u64(64);
    let copied = store.with_extension("copied");
    let (mut right, mut told) = (0, BTreeMap::<String, usize>::new());
    for (path, (bytes, _)) in &files {
        let is_journal = path.extension().is_some_and(|of| of == "jnl");
        let at = places(bytes.len(), &mut chance).into_iter();
        let harms: Vec<_> = at.flat_map(|at| [(at, Some(1 << chance.gen_range(0..8))), (at, None)]).collect();
        for (at, bit) in harms {
            let mut files = files.clone();
            let (bytes, len) = files.get_mut(path).expect("it is there");
            match bit {
                Some(bit) => bytes[at] ^= bit,
                None => {
                    bytes.truncate(at);
                    *len = at as u64;
                }
            }
            let what = format!("{}: byte {at}, {}", path.display(), if bit.is_some() { "flipped" } else { "the end" });
            // Said before, because an abort says nothing.
            println!("{what}");
            lay_out(&files, &copied);
            match judge(&copied, &what) {
                // What the journal has lost the witness tells, above the engine.
                Ok(is_all) => {
                    assert!(is_all || is_journal, "{what}: something is missing, and nothing is said");
                    right += 1;
                }
                Err(_) => *told.entry(path.display().to_string()).or_default() += 1,
            }
        }
    }
    println!("right {right}, told {told:?}");
    for file in ["fjall/keyspaces/1/current", "fjall/version"] {
        assert!(told.contains_key(file), "no damage of {file} was met: {told:?}");
    }
    assert!(right > 0);
}

#[test]
fn a_store_with_any_file_damaged_opens_or_says_so_and_never_aborts() {
    let home = tempfile::tempdir().expect("a folder");
    let store = home.path().join("store");
    fs::create_dir(&store).expect("a folder");
    write(&store);
    let mut child = Command::new(std::env::current_exe().expect("the test's own binary"));
    child.args(["--exact", &format!("{HERE}::damage_done"), "--ignored", "--nocapture"]).env(STORE, &store);
    let ended = child.output().expect("it runs");
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text[text.len().saturating_sub(3_000)..].to_owned()
    };
    assert!(ended.status.success(), "{}\n{}\n{}", ended.status, said(&ended.stdout), said(&ended.stderr));
    let ran = String::from_utf8_lossy(&ended.stdout).contains("right ");
    assert!(ran, "the child was not found:\n{}", said(&ended.stdout));
}

/// What made the process abort: a version file that asks for 64 GiB.
#[test]
fn a_damaged_version_file_is_told_by_its_name() {
    let home = tempfile::tempdir().expect("a folder");
    let store = home.path();
    write(store);
    assert!(check(&store.join(super::super::fjall::FOLDER)).is_ok(), "it is whole");
    let keyspace = store.join("fjall/keyspaces/1");
    let Ok((version, _)) = current(&keyspace.join("current")) else { panic!("no version") };
    let path = keyspace.join(format!("v{version}"));
    let whole = fs::read(&path).expect("the version");
    let mut file = File::open(&path).expect("the version");
    let Ok(sections) = sections(&mut file) else { panic!("no sections") };
    for section in &sections {
        for at in section.at..section.at + section.len {
            let mut damaged = whole.clone();
            damaged[at as usize] ^= 0x80;
            fs::write(&path, damaged).expect("it is written");
            let why = open(store, &options()).map(drop).expect_err("damage");
            assert!(matches!(&why, StoreError::Damaged(why) if why.contains(&format!("keyspaces/1: v{version}: "))));
        }
    }
}
