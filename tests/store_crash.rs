//! Kills a process that writes, again and again, and looks for every write that it had acknowledged.
//! The page cache survives a kill, so this says nothing about power cuts; it says that recovery at any
//! moment (in the middle of a group, a checkpoint, a merge) finds a whole and gapless store.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use souk::persistence::sled::{SledJournal, SledOptions};
use souk::persistence::{Batch, EntityKey, Journal, Payload, Record, Slot, WakeChange};

const SLOTS: Slot = 8;
const WRITERS: u16 = 8;
const ROUNDS: usize = 8;
/// Names the folder to the process that is to be killed.
const FOLDER: &str = "SOUK_TEST_CRASH_FOLDER";

/// Small enough that checkpoints and merges go on all the time.
fn open(folder: &Path) -> SledJournal {
    let options = SledOptions { slots: SLOTS, checkpoint_records: 100, ..SledOptions::default() };
    SledJournal::open(folder, options).expect("the store opens")
}

fn record(slot: Slot, epoch: u64, seq: u64, version: u64, entity: u64) -> Record {
    Record {
        slot,
        seq,
        epoch,
        key: EntityKey { kind: 10, id: format!("{slot}-{entity}").into() },
        version,
        at_ms: seq as i64,
        request: [slot as u8; 16],
        receipt: None,
        events: vec![Payload { type_number: 1, version: 1, bytes: vec![seq as u8; (seq % 700) as usize] }],
        owed: None,
        wake: Some(WakeChange { before_ms: (version > 1).then(|| version as i64 - 1), after_ms: Some(version as i64) }),
    }
}

/// The process that is killed: each slot has a writer, which says on stdout what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the process that the other test kills"]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let journal = Arc::new(open(Path::new(&folder)));
    let heads = journal.heads().await.expect("heads");
    let wanted: Vec<_> = (0..).zip(heads.iter().map(|head| head.epoch)).collect();
    journal.claim("child", &wanted).await.expect("claim");
    let writers = (0..WRITERS).map(|slot| tokio::spawn(write(journal.clone(), slot, heads[usize::from(slot)].seq)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
}

/// Appends to a slot until killed; entity n of a slot gets each fifth record.
async fn write(journal: Arc<SledJournal>, slot: Slot, mut seq: u64) {
    let epoch = journal.heads().await.expect("heads")[usize::from(slot)].epoch;
    loop {
        let records = (1..=1 + seq % 4).map(|n| {
            let seq = seq + n;
            record(slot, epoch, seq, seq.div_ceil(5), seq % 5)
        });
        let batch = Batch { records: records.collect(), snapshots: Vec::new() };
        seq += batch.records.len() as u64;
        assert_eq!(journal.append(batch).await.expect("append"), vec![]);
        // One write, so that the kill leaves no half line.
        let line = format!("acknowledged {slot} {epoch} {seq}\n");
        std::io::stdout().write_all(line.as_bytes()).expect("stdout");
    }
}

fn start(folder: &Path) -> Child {
    let this = std::env::current_exe().expect("the test's own binary");
    Command::new(this)
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child process")
}

/// Lets the child write some, kills it, and answers the last acknowledged epoch and sequence per slot.
fn write_and_kill(folder: &Path, lines: usize) -> Vec<(u64, u64)> {
    let mut child = start(folder);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_store_has_every_acknowledged_record() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for round in 0..ROUNDS {
        let acknowledged = write_and_kill(folder.path(), 150 + round * 170);
        let journal = open(folder.path());
        let heads = journal.heads().await.expect("heads");
        for (slot, (epoch, seq)) in (0..SLOTS).zip(acknowledged) {
            let head = &heads[usize::from(slot)];
            assert!(head.seq >= seq, "round {round}: slot {slot} ends at {} and {seq} was acknowledged", head.seq);
            assert!(head.epoch >= epoch && head.epoch == round as u64 + 1, "round {round}: epoch of slot {slot}");
            check_slot(&journal, slot, head.seq).await;
        }
        // Sometimes closed well, sometimes dropped, before the next child comes.
        if round % 3 == 0 {
            journal.close().await.expect("close");
        }
    }
}

/// Every record is there, in the feed and under its entity, and each entity has the one wake row.
async fn check_slot(journal: &SledJournal, slot: Slot, last_seq: u64) {
    let feed = journal.feed(slot, 0, usize::MAX).await.expect("feed");
    let expected = |seq: u64, epoch: u64| record(slot, epoch, seq, seq.div_ceil(5), seq % 5);
    assert_eq!(feed.len() as u64, last_seq);
    for (seq, found) in (1..).zip(&feed) {
        assert_eq!(*found, expected(seq, found.epoch));
    }
    let mut rows = 0;
    for entity in 0..5 {
        let key = EntityKey { kind: 10, id: format!("{slot}-{entity}").into() };
        let records = journal.records(slot, &key, 0, usize::MAX).await.expect("records");
        assert!(records.iter().eq(feed.iter().filter(|record| record.key == key)), "records of {key:?}");
        let wakes = journal.wakes(slot, None, usize::MAX).await.expect("wakes");
        let due: Vec<i64> = wakes.iter().filter(|row| row.key == key).map(|row| row.due_ms).collect();
        let version = records.last().map(|record| record.version as i64);
        assert_eq!(due, Vec::from_iter(version));
        rows = wakes.len();
    }
    assert!(rows <= 5);
}
