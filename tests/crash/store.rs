//! Kills a process that writes to a store, again and again, and looks for every write that it had acknowledged: as it
//! is (recovery at any moment, in the middle of a group, a checkpoint or a merge, finds a whole and gapless store),
//! and after a power cut.

use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use souk::persistence::embedded::{EmbeddedJournal, EmbeddedOptions, EngineKind};
use souk::persistence::{Batch, EntityKey, Journal, Payload, Record, Slot, StoreError, WakeChange};

use super::powercut::{Left, PowerCut};
use super::{chance, moment};

pub const SLOTS: Slot = 8;
const WRITERS: u16 = 8;
const KILLS: usize = 8;
/// Homes, with ten cuts each.
const CUTS: [(EngineKind, usize); 2] = [(EngineKind::Sled, 4), (EngineKind::Fjall, 3)];
/// Names the folder to the process that is to be killed.
const FOLDER: &str = "SOUK_TEST_CRASH_FOLDER";
const KIND: &str = "SOUK_TEST_CRASH_KIND";

/// A store that is to be killed.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub engine: EngineKind,
    /// How many times as long the records are.
    scale: usize,
}

impl Kind {
    pub const fn of(engine: EngineKind) -> Kind {
        Kind { engine, scale: 1 }
    }

    /// Small enough that checkpoints and merges, flushes and compactions go on all the time.
    pub fn try_open(self, folder: &Path) -> Result<EmbeddedJournal, StoreError> {
        let Kind { engine, scale } = self;
        let memtable_bytes = (scale.min(32) as u64) << 16;
        let options = EmbeddedOptions {
            engine,
            slots: SLOTS,
            checkpoint_records: 100,
            memtable_bytes,
            ..EmbeddedOptions::default()
        };
        EmbeddedJournal::open(folder, options)
    }

    fn open(self, folder: &Path) -> EmbeddedJournal {
        self.try_open(folder).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// As a word of the environment.
    fn word(self) -> String {
        format!("{}*{}", self.engine.name(), self.scale)
    }

    fn of_word(word: &str) -> Option<Kind> {
        let (engine, scale) = word.split_once('*')?;
        Some(Kind { engine: EngineKind::named(engine)?, scale: scale.parse().ok()? })
    }

    fn record(self, slot: Slot, epoch: u64, seq: u64) -> Record {
        record(self.scale, slot, epoch, seq, seq.div_ceil(5), seq % 5)
    }
}

fn record(scale: usize, slot: Slot, epoch: u64, seq: u64, version: u64, entity: u64) -> Record {
    Record {
        slot,
        seq,
        epoch,
        key: EntityKey { kind: 10, id: format!("{slot}-{entity}").into() },
        version,
        at_ms: seq as i64,
        request: [slot as u8; 16],
        receipt: None,
        events: vec![Payload { type_number: 1, version: 1, bytes: vec![seq as u8; (seq % 700) as usize * scale] }],
        owed: None,
        wake: Some(WakeChange { before_ms: (version > 1).then(|| version as i64 - 1), after_ms: Some(version as i64) }),
    }
}

/// The process that is killed: each slot has a writer, which says on stdout what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the process that the other test kills"]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let kind = std::env::var(KIND).ok().and_then(|word| Kind::of_word(&word)).expect("which store");
    let journal = Arc::new(kind.open(Path::new(&folder)));
    let heads = journal.heads().await.expect("heads");
    let wanted: Vec<_> = (0..).zip(heads.iter().map(|head| head.epoch)).collect();
    journal.claim("child", &wanted).await.expect("claim");
    let writers =
        (0..WRITERS).map(|slot| tokio::spawn(write(kind, journal.clone(), slot, heads[usize::from(slot)].seq)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
}

/// Appends to a slot until killed; entity n of a slot gets each fifth record.
async fn write(kind: Kind, journal: Arc<EmbeddedJournal>, slot: Slot, mut seq: u64) {
    let epoch = journal.heads().await.expect("heads")[usize::from(slot)].epoch;
    loop {
        let records = (1..=1 + seq % 4).map(|n| kind.record(slot, epoch, seq + n));
        let batch = Batch { owner: "child".into(), records: records.collect(), snapshots: Vec::new() };
        seq += batch.records.len() as u64;
        assert_eq!(journal.append(batch).await.expect("append"), vec![]);
        // One write, so that the kill leaves no half line.
        let line = format!("acknowledged {slot} {epoch} {seq}\n");
        std::io::stdout().write_all(line.as_bytes()).expect("stdout");
    }
}

/// The last acknowledged epoch and sequence of each slot.
pub type Acknowledged = Vec<(u64, u64)>;

fn start(kind: Kind, folder: &Path, environment: &[(&'static str, String)]) -> Child {
    let this = std::env::current_exe().expect("the test's own binary");
    Command::new(this)
        .args(["--exact", "store::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(KIND, kind.word())
        .envs(environment.iter().cloned())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child process")
}

/// Lets the child write so many batches, kills it, and answers what was acknowledged.
pub fn write_and_kill(kind: Kind, folder: &Path, lines: usize, environment: &[(&'static str, String)]) -> Acknowledged {
    let mut child = start(kind, folder, environment);
    let mut acknowledged = vec![(0, 0); usize::from(SLOTS)];
    let mut note = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| !word.ends_with("acknowledged")).skip(1);
        let mut next = || words.next().and_then(|word| word.parse::<u64>().ok());
        if let (Some(slot), Some(epoch), Some(seq)) = (next(), next(), next()) {
            acknowledged[slot as usize] = (epoch, seq);
            return true;
        }
        false
    };
    let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut seen = 0;
    while seen < lines {
        seen += usize::from(note(&stdout.next().expect("the child writes until it is killed")));
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    for line in stdout {
        note(&line);
    }
    acknowledged
}

/// What is the matter with a store.
#[derive(Debug)]
pub enum Fault {
    /// It says so itself.
    Told(StoreError),
    /// It answers, and the answer is wrong.
    Wrong(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Told(error)
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: impl FnOnce() -> String, found: &T, expected: &T) -> Result<(), Fault> {
    if found == expected { Ok(()) } else { Err(Fault::Wrong(format!("{}: not as it was written", what()))) }
}

/// Every acknowledged record is there, and everything that is derived from the records fits to them.
pub async fn verify(kind: Kind, journal: &EmbeddedJournal, acknowledged: &Acknowledged) -> Result<(), Fault> {
    let heads = journal.heads().await?;
    for (slot, (epoch, seq)) in (0..SLOTS).zip(acknowledged) {
        let head = &heads[usize::from(slot)];
        if head.seq < *seq || head.epoch < *epoch {
            let (found, found_epoch) = (head.seq, head.epoch);
            let why = format!("slot {slot} ends at {found_epoch}/{found}, and {epoch}/{seq} was acknowledged");
            return Err(Fault::Wrong(why));
        }
        verify_slot(kind, journal, slot, head.seq).await?;
    }
    let (ids, slots) =
        (journal.entities(10, None, usize::MAX).await?, heads.iter().filter(|head| head.seq >= 5).count());
    if ids.len() < slots * 5 { Err(Fault::Wrong(format!("{} entities are listed", ids.len()))) } else { Ok(()) }
}

/// Every record is there, in the feed and under its entity, and each entity has the one wake row.
async fn verify_slot(kind: Kind, journal: &EmbeddedJournal, slot: Slot, last_seq: u64) -> Result<(), Fault> {
    let feed = journal.feed(slot, 0, usize::MAX).await?;
    equal(|| format!("the length of the feed of slot {slot}"), &(feed.len() as u64), &last_seq)?;
    for (seq, found) in (1..).zip(&feed) {
        let expected = kind.record(slot, found.epoch, seq);
        equal(|| format!("record {seq} of slot {slot}"), found, &expected)?;
    }
    let wakes = journal.wakes(slot, None, usize::MAX).await?;
    for entity in 0..5 {
        let key = EntityKey { kind: 10, id: format!("{slot}-{entity}").into() };
        let expected: Vec<Record> = feed.iter().filter(|record| record.key == key).cloned().collect();
        let records = journal.records(slot, &key, 0, usize::MAX).await?;
        equal(|| format!("records of {key:?}"), &records, &expected)?;
        let loaded = journal.load(slot, &key).await?.records;
        equal(|| format!("the beginning of {key:?}"), &loaded.as_slice(), &&expected[..loaded.len()])?;
        let due: Vec<i64> = wakes.iter().filter(|row| row.key == key).map(|row| row.due_ms).collect();
        let version = records.last().map(|record| record.version as i64);
        equal(|| format!("wakes of {key:?}"), &due, &Vec::from_iter(version))?;
    }
    if wakes.len() > 5 { Err(Fault::Wrong(format!("{} wakes in slot {slot}", wakes.len()))) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_store_has_every_acknowledged_record() {
    for engine in EngineKind::ALL {
        let kind = Kind::of(engine);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for round in 0..KILLS {
            let acknowledged = write_and_kill(kind, folder.path(), 150 + round * 170, &[]);
            let journal = kind.open(folder.path());
            let verified = verify(kind, &journal, &acknowledged).await;
            verified.unwrap_or_else(|fault| panic!("{kind:?}, round {round}: {fault:?}"));
            let heads = journal.heads().await.expect("heads");
            assert!(heads.iter().all(|head| head.epoch == round as u64 + 1), "round {round}: one claim each");
            // Sometimes closed well, sometimes dropped, before the next child comes.
            if round % 3 == 0 {
                journal.close().await.expect("close");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_a_store_has_every_acknowledged_record() {
    let mut chance = chance("power cuts of a store");
    for (engine, homes) in CUTS {
        let mut taken = 0;
        for _ in 0..homes {
            let home = tempfile::tempdir().expect("a temporary folder");
            taken += cut(Kind::of(engine), home.path(), 10, 1..400, &mut chance).await;
        }
        assert!(taken > 0, "the cuts of {engine:?} took something");
    }
}

/// fjall begins its journal anew after 64 MB, and removes those whose content is in tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_fjall_goes_on_through_its_journals() {
    let mut chance = chance("power cuts and journals");
    let kind = Kind { engine: EngineKind::Fjall, scale: 1_000 };
    let home = tempfile::tempdir().expect("a temporary folder");
    cut(kind, home.path(), 5, 100..120, &mut chance).await;
    let begun = std::fs::read_dir(home.path().join("data/fjall")).expect("fjall's folder").flatten();
    let journals: Vec<_> =
        begun.map(|entry| entry.file_name()).filter(|name| name.as_encoded_bytes().ends_with(b".jnl")).collect();
    println!("journals: {journals:?}");
    assert!(journals.iter().any(|name| name != "0.jnl"), "there was a second journal: {journals:?}");
}

/// The answer is how many bytes the cuts took.
async fn cut(kind: Kind, home: &Path, rounds: usize, lines: Range<usize>, chance: &mut StdRng) -> u64 {
    let data = home.join("data");
    let power = PowerCut::new(home, &data);
    // The first cut comes while the store is being created.
    start_and_kill(kind, &data, &power, moment(chance, 200));
    power.cut(Left::Some { seed: chance.r#gen() });
    let mut taken = 0;
    for round in 0..rounds {
        let acknowledged = write_and_kill(kind, &data, chance.gen_range(lines.clone()), &power.environment());
        let left = if chance.gen_bool(0.5) { Left::Nothing } else { Left::Some { seed: chance.r#gen() } };
        let lost = power.cut(left);
        let which = || format!("{kind:?}, round {round}, {left:?}, {lost:?}");
        let journal = kind.try_open(&data).unwrap_or_else(|error| panic!("{}: {error}", which()));
        let verified = verify(kind, &journal, &acknowledged).await;
        verified.unwrap_or_else(|fault| panic!("{}: {fault:?}", which()));
        taken += lost.bytes;
    }
    taken
}

fn start_and_kill(kind: Kind, data: &Path, power: &PowerCut, after: std::time::Duration) {
    let mut child = start(kind, data, &power.environment());
    std::thread::sleep(after);
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// The model of a power cut is worth something: where fdatasync does nothing, the loss is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fdatasync_a_power_cut_takes_what_was_acknowledged() {
    for engine in EngineKind::ALL {
        assert!(loses_without_fdatasync(Kind::of(engine)).await, "{engine:?} has lost nothing in five power cuts");
    }
}

async fn loses_without_fdatasync(kind: Kind) -> bool {
    let home = tempfile::tempdir().expect("a temporary folder");
    let data = home.path().join("data");
    let power = PowerCut::new(home.path(), &data);
    let mut environment = power.environment();
    environment.push(("POWERCUT_DEAF", "1".to_owned()));
    for round in 0..5 {
        let acknowledged = write_and_kill(kind, &data, 200, &environment);
        power.cut(Left::Nothing);
        let verdict = match kind.try_open(&data) {
            Ok(journal) => verify(kind, &journal, &acknowledged).await,
            Err(error) => Err(error.into()),
        };
        match verdict {
            Err(_) => return true,
            Ok(()) => println!("{kind:?}: round {round} happened to lose nothing"),
        }
    }
    false
}
