//! Kills a process that writes to a store, again and again, and looks for every write that it had acknowledged: as it
//! is (recovery at any moment, in the middle of a group, a checkpoint or a merge, finds a whole and gapless store),
//! and after a power cut.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use souk::config::Config;
use souk::persistence::embedded::{EmbeddedJournal, EngineKind};
use souk::persistence::open::{Slots, StoreChoice, open};
use souk::persistence::{Batch, Record, Slot, Store, StoreError};

use super::history::{self, ENTITIES, key};
use super::powercut::{Left, PowerCut};
use super::process;
use super::stores::{Kind, TestStore, embedded};
use super::{chance, moment};

pub const SLOTS: Slot = 8;
const WRITERS: u16 = 8;
const KILLS: usize = 8;
/// That are cut, twice each.
const CREATIONS: usize = 30;
/// Homes, with ten cuts each.
fn homes(engine: EngineKind) -> usize {
    match engine {
        EngineKind::Sled => 4,
        EngineKind::Fjall => 3,
    }
}
/// Names the store to the process that is to be killed.
const ADDRESS: &str = "SOUK_TEST_CRASH_STORE";
const SCALE: &str = "SOUK_TEST_CRASH_SCALE";
const OWNER: &str = "child";

/// A store that is to be killed.
#[derive(Debug, Clone)]
pub struct Victim {
    address: String,
    /// How many times as long the records are.
    scale: usize,
}

impl Victim {
    pub fn of(address: &str) -> Victim {
        Victim { address: address.to_owned(), scale: 1 }
    }

    pub fn embedded(engine: EngineKind, folder: &Path) -> Victim {
        Victim::of(&embedded(engine, folder))
    }

    pub async fn try_open(&self) -> Result<Arc<dyn Store>, StoreError> {
        let choice = self.address.parse().expect("an address");
        let StoreChoice::Embedded { engine, dir } = choice else {
            return open(&Config::default().settings_of(choice, Slots::Configured(SLOTS))).await;
        };
        // Small enough that checkpoints and merges, flushes and compactions go on all the time.
        let memtable_bytes = (self.scale.min(32) as u64) << 16;
        let mut options = Config::default().store.tuning().embedded(engine, SLOTS);
        options.embedded.checkpoint_records = 100;
        options.fjall.memtable_bytes = memtable_bytes;
        let opened = tokio::task::spawn_blocking(move || EmbeddedJournal::open(&dir, options)).await;
        Ok(Arc::new(opened.map_err(|error| StoreError::Fatal(format!("panicked: {error}")))??))
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    fn record(&self, slot: Slot, epoch: u64, seq: u64) -> Record {
        history::record(slot, epoch, seq, (seq % 700) as usize * self.scale)
    }
}

/// The process that is killed: each slot has a writer, which says on stdout what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the process that the other test kills"]
async fn child() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let scale = std::env::var(SCALE).ok().and_then(|scale| scale.parse().ok()).expect("how long the records are");
    let victim = Victim { address, scale };
    let journal = victim.open().await;
    claim_all(&*journal).await;
    let heads = journal.heads().await.expect("heads");
    let writers = (0..WRITERS)
        .map(|slot| tokio::spawn(write(victim.clone(), journal.clone(), slot, heads[usize::from(slot)].seq)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
}

async fn claim_all(journal: &dyn Store) {
    let heads = journal.heads().await.expect("heads");
    let wanted: Vec<_> = (0..).zip(heads.iter().map(|head| head.epoch)).collect();
    journal.claim(OWNER, &wanted).await.expect("claim");
}

/// Appends to a slot until killed.
async fn write(victim: Victim, journal: Arc<dyn Store>, slot: Slot, mut seq: u64) {
    let epoch = journal.heads().await.expect("heads")[usize::from(slot)].epoch;
    loop {
        let records = (1..=1 + seq % 4).map(|n| victim.record(slot, epoch, seq + n));
        let batch = Batch::of(OWNER, records);
        seq += batch.records.len() as u64;
        assert_eq!(journal.append(batch).await.expect("append"), vec![]);
        // One write, so that the kill leaves no half line.
        let line = format!("acknowledged {slot} {epoch} {seq}\n");
        std::io::stdout().write_all(line.as_bytes()).expect("stdout");
    }
}

/// The last acknowledged epoch and sequence of each slot.
pub type Acknowledged = Vec<(u64, u64)>;

type Environment = [(&'static str, String)];

/// The process that is killed.
struct Writing {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    acknowledged: Acknowledged,
}

impl Writing {
    fn start(victim: &Victim, environment: &Environment) -> Writing {
        let mut command = process::mortal(std::env::current_exe().expect("the test's own binary"), "KILL");
        let (_, here) = module_path!().split_once("::").expect("a module of the test binary");
        command.args(["--exact", &format!("{here}::child"), "--ignored", "--nocapture"]).env(ADDRESS, &victim.address);
        command.env(SCALE, victim.scale.to_string()).envs(environment.iter().cloned());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process::spawn(command);
        let said = BufReader::new(child.stdout.take().expect("piped")).lines();
        Writing { child, said, acknowledged: vec![(0, 0); usize::from(SLOTS)] }
    }

    /// Notes what it says next: whether something was acknowledged. `None`: it has ended.
    fn note(&mut self) -> Option<bool> {
        let line = self.said.next()?.ok()?;
        let mut words = line.split_whitespace().skip_while(|word| !word.ends_with("acknowledged")).skip(1);
        let mut next = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(slot), Some(epoch), Some(seq)) = (next(), next(), next()) else { return Some(false) };
        self.acknowledged[slot as usize] = (epoch, seq);
        Some(true)
    }

    /// Waits until so many batches are acknowledged.
    fn reach(&mut self, batches: usize) {
        let mut seen = 0;
        while seen < batches {
            let Some(acknowledged) = self.note() else { panic!("the child does not write:\n{}", self.why()) };
            seen += usize::from(acknowledged);
        }
    }

    /// What it said when it ended by itself.
    fn why(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        said
    }

    fn kill(mut self) -> Acknowledged {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        while self.note().is_some() {}
        self.acknowledged
    }
}

/// Lets a child write so many batches, kills it, and answers what was acknowledged.
pub fn write_and_kill(victim: &Victim, batches: usize, environment: &Environment) -> Acknowledged {
    let mut writing = Writing::start(victim, environment);
    writing.reach(batches);
    writing.kill()
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
pub async fn verify(victim: &Victim, journal: &dyn Store, acknowledged: &Acknowledged) -> Result<(), Fault> {
    let heads = journal.heads().await?;
    for (slot, (epoch, seq)) in (0..SLOTS).zip(acknowledged) {
        let head = &heads[usize::from(slot)];
        if head.seq < *seq || head.epoch < *epoch {
            let (found, found_epoch) = (head.seq, head.epoch);
            let why = format!("slot {slot} ends at {found_epoch}/{found}, and {epoch}/{seq} was acknowledged");
            return Err(Fault::Wrong(why));
        }
        verify_slot(victim, journal, slot, head.seq).await?;
    }
    let (ids, slots) = (
        journal.entities(history::KIND, None, usize::MAX).await?,
        heads.iter().filter(|head| head.seq >= ENTITIES).count(),
    );
    if ids.len() < slots * ENTITIES as usize {
        Err(Fault::Wrong(format!("{} entities are listed", ids.len())))
    } else {
        Ok(())
    }
}

/// Every record is there, in the feed and under its entity, and each entity has the one owed and the one wake row.
async fn verify_slot(victim: &Victim, journal: &dyn Store, slot: Slot, last_seq: u64) -> Result<(), Fault> {
    let feed = journal.feed(slot, 0, usize::MAX).await?;
    equal(|| format!("the length of the feed of slot {slot}"), &(feed.len() as u64), &last_seq)?;
    for (seq, found) in (1..).zip(&feed) {
        let expected = victim.record(slot, found.epoch, seq);
        equal(|| format!("record {seq} of slot {slot}"), found, &expected)?;
    }
    let (mut wakes, mut owed) = (Vec::new(), Vec::new());
    for entity in 0..ENTITIES {
        let key = key(slot, entity);
        let expected: Vec<Record> = feed.iter().filter(|record| record.key == key).cloned().collect();
        let records = journal.records(slot, &key, 0, usize::MAX).await?;
        equal(|| format!("records of {key:?}"), &records, &expected)?;
        let loaded = journal.load(slot, &key).await?.records;
        equal(|| format!("the beginning of {key:?}"), &loaded.as_slice(), &&expected[..loaded.len()])?;
        let Some(last) = records.last() else { continue };
        wakes.push((last.at_ms, key.clone()));
        owed.push((last.at_ms, key));
    }
    for due in [&mut wakes, &mut owed] {
        due.sort();
    }
    let found = journal.wakes(slot, None, usize::MAX).await?;
    equal(|| format!("wakes of slot {slot}"), &found.into_iter().map(|row| (row.due_ms, row.key)).collect(), &wakes)?;
    let found = journal.owed(slot, None, usize::MAX).await?;
    equal(|| format!("what slot {slot} owes"), &found.into_iter().map(|(key, row)| (row.due_ms, key)).collect(), &owed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_store_has_every_acknowledged_record() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut store = TestStore::alone(home.path());
    let victim = Victim::of(&store.address);
    let mut claims = 0;
    for round in 0..KILLS {
        let mut writing = Writing::start(&victim, &[]);
        writing.reach(150 + round * 170);
        // Its server dies before it, or not at all.
        let server_dies = store.kind.is_shared() && round % 2 == 1;
        if server_dies {
            store.kill_server();
        }
        let acknowledged = writing.kill();
        if server_dies {
            store.start_server();
        }
        let journal = victim.open().await;
        claims += 1;
        if store.kind.is_shared() {
            // What the child had sent may be written still, until somebody claims.
            claim_all(&*journal).await;
            claims += 1;
        }
        let verified = verify(&victim, &*journal, &acknowledged).await;
        verified.unwrap_or_else(|fault| panic!("{victim:?}, round {round}: {fault:?}"));
        let heads = journal.heads().await.expect("heads");
        assert!(heads.iter().all(|head| head.epoch == claims), "round {round}: {claims} claims");
        // Sometimes closed well, sometimes dropped, before the next child comes.
        if round % 3 == 0 {
            journal.close().await.expect("close");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_a_store_has_every_acknowledged_record() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let mut chance = chance("power cuts of a store");
    let mut taken = 0;
    for _ in 0..homes(engine) {
        let home = tempfile::tempdir().expect("a temporary folder");
        taken += cut(engine, 1, home.path(), 10, 1..400, &mut chance).await;
    }
    assert!(taken > 0, "the cuts took something");
}

/// Nothing was acknowledged, and nothing that was left may be in the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_in_its_creation_a_store_is_created_again() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let mut chance = chance("power cuts of a creation");
    for round in 0..CREATIONS {
        let home = tempfile::tempdir().expect("a temporary folder");
        let data = home.path().join("data");
        let (victim, power) = (Victim::embedded(engine, &data), PowerCut::new(home.path(), &data));
        let mut cuts = Vec::new();
        let mut acknowledged = vec![(0, 0); usize::from(SLOTS)];
        // The second one meets what the first one has left.
        for _ in 0..2 {
            let writing = Writing::start(&victim, &power.environment());
            std::thread::sleep(moment(&mut chance, 100));
            let told = writing.kill();
            acknowledged.iter_mut().zip(told).for_each(|(known, told)| *known = told.max(*known));
            cuts.push(power.cut(Left::Some { seed: chance.r#gen() }));
        }
        let which = || format!("{engine:?}, round {round}, {cuts:?}");
        let journal = victim.try_open().await.unwrap_or_else(|error| panic!("{}: {error}", which()));
        let verified = verify(&victim, &*journal, &acknowledged).await;
        verified.unwrap_or_else(|fault| panic!("{}: {fault:?}", which()));
    }
}

/// fjall begins its journal anew after 64 MB, and removes those whose content is in tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_fjall_goes_on_through_its_journals() {
    let Some(engine @ EngineKind::Fjall) = Kind::chosen().engine() else { return };
    let mut chance = chance("power cuts and journals");
    let home = tempfile::tempdir().expect("a temporary folder");
    cut(engine, 1_000, home.path(), 5, 100..120, &mut chance).await;
    let begun = std::fs::read_dir(home.path().join("data/fjall")).expect("fjall's folder").flatten();
    let journals: Vec<_> =
        begun.map(|entry| entry.file_name()).filter(|name| name.as_encoded_bytes().ends_with(b".jnl")).collect();
    println!("journals: {journals:?}");
    assert!(journals.iter().any(|name| name != "0.jnl"), "there was a second journal: {journals:?}");
}

/// The answer is how many bytes the cuts took.
async fn cut(
    engine: EngineKind,
    scale: usize,
    home: &Path,
    rounds: usize,
    batches: Range<usize>,
    chance: &mut StdRng,
) -> u64 {
    let data = home.join("data");
    let victim = Victim { scale, ..Victim::embedded(engine, &data) };
    let power = PowerCut::new(home, &data);
    // The first cut comes while the store is being created.
    let writing = Writing::start(&victim, &power.environment());
    std::thread::sleep(moment(chance, 200));
    writing.kill();
    power.cut(Left::Some { seed: chance.r#gen() });
    let mut taken = 0;
    for round in 0..rounds {
        let acknowledged = write_and_kill(&victim, chance.gen_range(batches.clone()), &power.environment());
        let left = if chance.gen_bool(0.5) { Left::Nothing } else { Left::Some { seed: chance.r#gen() } };
        let lost = power.cut(left);
        let which = || format!("{victim:?}, round {round}, {left:?}, {lost:?}");
        let journal = victim.try_open().await.unwrap_or_else(|error| panic!("{}: {error}", which()));
        let verified = verify(&victim, &*journal, &acknowledged).await;
        verified.unwrap_or_else(|fault| panic!("{}: {fault:?}", which()));
        taken += lost.bytes;
    }
    taken
}

/// The model of a power cut is worth something: where fdatasync does nothing, the loss is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fdatasync_a_power_cut_takes_what_was_acknowledged() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let home = tempfile::tempdir().expect("a temporary folder");
    let data = home.path().join("data");
    let victim = Victim::embedded(engine, &data);
    let power = PowerCut::new(home.path(), &data);
    let mut environment = power.environment();
    environment.push(("POWERCUT_DEAF", "1".to_owned()));
    for round in 0..5 {
        let acknowledged = write_and_kill(&victim, 200, &environment);
        power.cut(Left::Nothing);
        let verdict = match victim.try_open().await {
            Ok(journal) => verify(&victim, &*journal, &acknowledged).await,
            Err(error) => Err(error.into()),
        };
        match verdict {
            Err(_) => return,
            Ok(()) => println!("{engine:?}: round {round} happened to lose nothing"),
        }
    }
    panic!("{engine:?} has lost nothing in five power cuts");
}
