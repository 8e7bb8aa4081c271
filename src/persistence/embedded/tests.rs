//! What an embedded store finds when it is opened after a crash or after damage. (That it survives being
//! killed is tested with a real process, in `tests/store_crash.rs`.)

use std::path::Path;

use super::disk::Disk;
use super::log::Writer;
use super::run::RunWriter;
use super::*;
use crate::config::Config;
use crate::persistence::conformance::{Rig, SLOTS, Scribe, key};
use crate::persistence::{NodeState, Payload, Snapshot, Store};

struct Folder(tempfile::TempDir, EngineKind);

impl Folder {
    fn new(engine: EngineKind) -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"), engine)
    }
    fn options(&self) -> EmbeddedOptions {
        Config::default().store.tuning().embedded(self.1, SLOTS)
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn disk(&self) -> Disk {
        Disk::open(self.path(), &self.options()).expect("the store opens")
    }
    fn journal(&self) -> Result<EmbeddedJournal, StoreError> {
        EmbeddedJournal::open(self.path(), self.options())
    }
    /// Flips a bit in the middle of every value under a prefix; there must be one.
    fn flip_bits(&self, prefix: u8) {
        let disk = self.disk();
        let stored = disk.scan(&[prefix], &[prefix + 1], usize::MAX).expect("scan");
        assert!(!stored.is_empty());
        for (key, value) in stored {
            let mut value = value.to_vec();
            let middle = value.len() / 2;
            value[middle] ^= 0x10;
            disk.insert(&key, &value).expect("insert");
        }
        disk.close();
    }
}

#[async_trait]
impl Rig for Folder {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.journal().expect("the store opens"))
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

/// A store with ten records of an entity, closed (everything in runs) or dropped (everything in the log).
async fn written(engine: EngineKind, closed: bool) -> (Folder, Vec<Record>) {
    let folder = Folder::new(engine);
    let mut scribe = Scribe::open(&folder).await;
    let records: Vec<Record> = (0..10).map(|_| scribe.record(0, "a")).collect();
    for record in &records {
        scribe.commit(std::slice::from_ref(record)).await;
    }
    if closed {
        scribe.journal.close().await.expect("close");
    }
    (folder, records)
}

fn damage<T>(answer: Result<T, StoreError>) -> String {
    match answer.map(drop) {
        Err(StoreError::Damaged(why)) => why,
        other => panic!("damage should have been found: {other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_log_is_refused_while_it_is_replayed() {
    for engine in EngineKind::ALL {
        let (folder, _) = written(engine, false).await;
        folder.flip_bits(b'L');
        let why = damage(folder.journal());
        assert!(why.starts_with("log part 1: the checksum is"), "{why}");
    }
}

#[tokio::test]
async fn a_damaged_log_is_refused_where_it_is_read_and_the_rest_served() {
    for engine in EngineKind::ALL {
        let (folder, _) = written(engine, true).await;
        folder.flip_bits(b'L');
        let journal = folder.journal().expect("what is covered by the index is not replayed");
        for answer in [journal.feed(0, 3, 1).await, journal.records(0, &key("a"), 3, 1).await] {
            let why = damage(answer);
            assert!(why.starts_with("log part 5: the checksum is"), "{why}");
        }
        assert_eq!(journal.load(0, &key("b")).await.expect("a neighbour").records, vec![]);
    }
}

/// Records of one commit lie in one part of the log, and each vouches for itself.
#[tokio::test]
async fn a_damaged_record_is_refused_and_its_neighbours_in_the_log_are_served() {
    for engine in EngineKind::ALL {
        let folder = Folder::new(engine);
        let mut scribe = Scribe::open(&folder).await;
        let records = [scribe.record(0, "a"), scribe.record(0, "b")];
        scribe.commit(&records).await;
        scribe.journal.close().await.expect("close");
        drop(scribe);
        let disk = folder.disk();
        let (number, part) = disk.scan(b"L", b"M", 9).expect("the log").pop().expect("a part");
        let mut damaged = part.to_vec();
        *damaged.last_mut().expect("a byte") ^= 1;
        disk.insert(&number, &damaged).expect("damaged");
        disk.close();
        let journal = folder.journal().expect("what is covered by the index is not replayed");
        assert_eq!(journal.feed(0, 0, 1).await.expect("the first"), records[..1]);
        assert_eq!(journal.records(0, &key("a"), 0, 9).await.expect("the first"), records[..1]);
        for answer in [journal.feed(0, 1, 1).await, journal.records(0, &key("b"), 0, 9).await] {
            let why = damage(answer);
            assert!(why.starts_with("log part 2: the checksum is"), "{why}");
        }
    }
}

#[tokio::test]
async fn a_gap_in_the_log_is_refused() {
    for engine in EngineKind::ALL {
        for (closed, missing, found) in [
            (false, 4u64, "log part 4: it is missing, and later ones are there"),
            (true, 11, "log part 11: it is missing, and the index covers it"),
        ] {
            let (folder, _) = written(engine, closed).await;
            let disk = folder.disk();
            let key = |number: u64| [&b"L"[..], &number.to_be_bytes()].concat();
            disk.remove_range(&key(missing), &key(missing + 1)).expect("remove");
            disk.close();
            assert_eq!(damage(folder.journal()), found);
        }
    }
}

#[tokio::test]
async fn a_log_that_has_lost_its_end_is_refused() {
    for engine in EngineKind::ALL {
        for (closed, lost, found) in [
            (false, 10u64, "the log ends at part 10, and commits up to part 11 were acknowledged"),
            (false, 0, "the log ends at part 0, and commits up to part 11 were acknowledged"),
        ] {
            let (folder, _) = written(engine, closed).await;
            let disk = folder.disk();
            disk.remove_range(&[&b"L"[..], &(lost + 1).to_be_bytes()].concat(), b"M").expect("remove");
            disk.close();
            let why = damage(folder.journal());
            assert!(why.starts_with(found), "{why}");
        }
    }
}

/// sled opens a file that it cannot make anything of as an empty store.
#[tokio::test]
async fn what_sled_takes_for_empty_is_no_new_store() {
    let (folder, _) = written(EngineKind::Sled, true).await;
    let file = std::fs::File::options().write(true).open(folder.path().join("db")).expect("sled's file");
    file.set_len(0).expect("emptied");
    for snapshot in std::fs::read_dir(folder.path()).expect("the folder").flatten() {
        if snapshot.file_name().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(snapshot.path()).expect("removed");
        }
    }
    for _ in 0..2 {
        let why = damage(folder.journal());
        assert!(why.starts_with("the log ends at part 0, and commits up to part 11 were acknowledged"), "{why}");
    }
}

#[tokio::test]
async fn a_gap_in_a_slots_sequence_is_refused() {
    for engine in EngineKind::ALL {
        let (folder, records) = written(engine, false).await;
        let disk = folder.disk();
        let (writer, _) = Writer::of_records(&[Record { seq: 12, ..records[9].clone() }.into()], 12, disk.value_max);
        writer.write(&disk).expect("write");
        disk.close();
        assert_eq!(damage(folder.journal()), "log part 12: slot 0 has sequence 12 where Some(11) is next");
    }
}

#[tokio::test]
async fn a_damaged_index_is_refused() {
    for engine in EngineKind::ALL {
        let (folder, _) = written(engine, true).await;
        folder.flip_bits(b'I');
        let why = damage(folder.journal());
        assert_eq!(why, "index run 0: block 0: the checksum does not match");
        let (folder, _) = written(engine, true).await;
        folder.flip_bits(b'J');
        assert_eq!(damage(folder.journal()), "index run 0: part 0 of the footer: the checksum does not match");
        let (folder, _) = written(engine, true).await;
        let disk = folder.disk();
        let manifest = disk.get(b"Mindex").expect("get").expect("a manifest");
        disk.insert(b"Mindex", &manifest[..manifest.len() - 1]).expect("insert");
        disk.close();
        assert!(damage(folder.journal()).starts_with("the manifest"));
    }
}

#[tokio::test]
async fn what_a_crash_left_of_an_unfinished_run_is_removed() {
    for engine in EngineKind::ALL {
        let (folder, records) = written(engine, true).await;
        let disk = folder.disk();
        let item = entry::Item { key: b"X".to_vec(), value: Some(vec![1]) };
        for id in [1, 7] {
            let mut writer = RunWriter::new(&disk, id, 0, 1);
            writer.add(&item).expect("add");
            writer.finish().expect("finish");
        }
        disk.close();
        let journal = folder.journal().expect("opens");
        assert_eq!(journal.feed(0, 0, 100).await.expect("feed"), records);
        journal.close().await.expect("close");
        drop(journal);
        let disk = folder.disk();
        assert_eq!(run::first_stored(&disk, 1).expect("first_stored"), None);
    }
}

#[tokio::test]
async fn an_incomplete_snapshot_is_passed_over() {
    for engine in EngineKind::ALL {
        let folder = Folder::new(engine);
        let mut scribe = Scribe::open(&folder).await;
        let records: Vec<Record> = (0..4).map(|_| scribe.record(0, "a")).collect();
        let old = scribe.snapshot_at(&records[1]);
        scribe.commit_with(&records, std::slice::from_ref(&old)).await;
        let state = Payload { type_number: 1, version: 1, bytes: vec![9; 3 * engine.value_max()] };
        let new = Snapshot { state, ..scribe.snapshot_at(&records[3]) };
        drop(scribe);
        // A crash after the second of four parts.
        let disk = folder.disk();
        let prefix = [&[b'S', 10][..], b"a\0", &new.seq.to_be_bytes()].concat();
        for (part, bytes) in (0u32..2).zip(new.encode().chunks(disk.value_max)) {
            disk.insert(&[&prefix[..], &part.to_be_bytes()].concat(), bytes).expect("insert");
        }
        disk.close();
        let journal = folder.journal().expect("opens");
        let loaded = journal.load(0, &key("a")).await.expect("load");
        assert_eq!((loaded.snapshot, loaded.records), (Some(old), records[2..].to_vec()));
    }
}

#[tokio::test]
async fn no_value_becomes_a_blob_file_of_sleds() {
    let folder = Folder::new(EngineKind::Sled);
    let mut scribe = Scribe::open(&folder).await;
    for round in 0..30u64 {
        let mut batch: Vec<Record> = (0..40).map(|n| scribe.record(0, &format!("e{round}-{n}"))).collect();
        for (n, record) in batch.iter_mut().enumerate() {
            record.events[0].bytes = vec![n as u8; n * 400];
        }
        let snapshots: Vec<Snapshot> = batch.iter().map(|record| scribe.snapshot_at(record)).collect();
        scribe.commit_with(&batch, &snapshots).await;
    }
    scribe.journal.close().await.expect("close");
    let blobs = std::fs::read_dir(folder.path().join("blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "blob files are not made durable");
}

#[tokio::test]
async fn a_store_that_is_open_or_closed_says_so() {
    for engine in EngineKind::ALL {
        let (folder, _) = written(engine, false).await;
        let journal = folder.journal().expect("opens");
        let second = folder.journal().map(drop).expect_err("it is open");
        assert!(second.to_string().contains("is open in another process"), "{second}");
        assert!(second.to_string().contains(&folder.path().display().to_string()), "{second}");
        journal.close().await.expect("close");
        let closed = journal.append(Batch::default()).await.expect_err("it is closed");
        assert!(matches!(closed, StoreError::Fatal(_)), "{closed}");
        assert!(matches!(journal.feed(0, 0, 1).await, Err(StoreError::Fatal(_))));
        folder.journal().map(drop).expect("it was released, though the old handle is still there");
    }
}

#[tokio::test]
async fn after_a_failure_everything_answers_fatal() {
    for engine in EngineKind::ALL {
        let (folder, records) = written(engine, false).await;
        let journal = folder.journal().expect("opens");
        journal.index.disk.fail("fsync: the disk is gone".to_owned());
        let batch = Batch::of("scribe", [Record { seq: 11, version: 11, ..records[9].clone() }]);
        let is_fatal = |error: &StoreError| matches!(error, StoreError::Fatal(why) if why == "fsync: the disk is gone");
        assert!(journal.append(batch).await.is_err_and(|error| is_fatal(&error)));
        assert!(journal.load(0, &key("new")).await.is_err_and(|error| is_fatal(&error)));
        assert!(journal.heads().await.is_err_and(|error| is_fatal(&error)));
        assert!(journal.claim("x", &[(0, 1)]).await.is_err_and(|error| is_fatal(&error)));
        assert!(journal.close().await.is_err_and(|error| is_fatal(&error)));
    }
}

/// fjall makes nothing anew beside its folder, and opens one without a journal as an empty store.
#[tokio::test]
async fn what_fjall_has_lost_makes_no_new_store() {
    for lost in ["fjall", "fjall/0.jnl"] {
        let (folder, _) = written(EngineKind::Fjall, true).await;
        let path = folder.path().join(lost);
        if path.is_dir() {
            std::fs::remove_dir_all(path).expect("removed")
        } else {
            std::fs::remove_file(path).expect("removed")
        }
        let refused = folder.journal().map(drop).expect_err("everything is lost").to_string();
        let known = ["the log ends at part 0, and commits up to part 11 were acknowledged", "was not written by souk"];
        assert!(known.iter().any(|why| refused.contains(why)), "{lost}: {refused}");
    }
}

/// A crash anywhere in the creation leaves what the next opening takes for nothing.
#[tokio::test]
async fn a_store_of_fjalls_that_was_not_made_to_the_end_is_made_again() {
    for left in ["", "lock", "0.jnl", "keyspaces/0/tables/1"] {
        let folder = Folder::new(EngineKind::Fjall);
        let path = folder.path().join("fjall.new").join(left);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        match left {
            "" => std::fs::create_dir(path).expect("a folder"),
            _ => std::fs::write(path, b"half").expect("a file"),
        }
        let journal = folder.journal().expect("it is made");
        journal.close().await.expect("close");
        drop(journal);
        folder.journal().map(drop).expect("and there for good");
    }
}

/// A row may be longer than a value, and shorter again.
#[tokio::test]
async fn the_node_list_survives_and_is_refused_when_damaged() {
    for engine in EngineKind::ALL {
        let folder = Folder::new(engine);
        let mut row = NodeRow {
            id: "a#1".into(),
            name: "a".into(),
            http: "h:1".into(),
            link: "l:1".into(),
            reads: (1, 1),
            writes: 1,
            lease: 0,
            state: NodeState::Joining,
            unreachable: Vec::new(),
            ..NodeRow::default()
        };
        let journal = folder.journal().expect("opens");
        journal.join(&NodeRow { id: "a".into(), ..row.clone() }).await.expect("answers").expect("joins");
        journal.join(&row).await.expect("answers").expect("joins");
        for unreachable in [600, 900, 3] {
            row.unreachable = (0..unreachable).map(|n| format!("{n:030}")).collect();
            row.lease = journal.renew(&row).await.expect("answers").expect("renews");
            let renewed_at_once =
                journal.renew(&NodeRow { lease: row.lease + 1, ..row.clone() }).await.expect("answers");
            assert!(matches!(renewed_at_once, Err(Refusal::Conflict(_))), "{renewed_at_once:?}");
        }
        drop(journal);
        let journal = folder.journal().expect("opens");
        let nodes = journal.nodes().await.expect("nodes");
        assert_eq!((nodes.len(), &nodes[0].id[..], &nodes[1]), (2, "a", &row));
        journal.leave("a#1").await.expect("answers").expect("leaves");
        drop(journal);
        let journal = folder.journal().expect("opens");
        assert_eq!(journal.nodes().await.expect("nodes")[1].state, NodeState::Left);
        assert_eq!(journal.claim("a#1", &[(0, 0)]).await.expect("answers"), [Err(Refusal::NotMember("a#1".into()))]);
        drop(journal);
        folder.flip_bits(b'N');
        assert!(damage(folder.journal()).starts_with("row Na of the node list"));
    }
}

/// Its sender has a place, and the committer ends before the job is in it.
#[tokio::test]
async fn a_job_that_comes_while_the_committer_ends_is_answered() {
    let folder = Folder::new(EngineKind::Sled);
    let journal = folder.journal().expect("the store opens");
    let place = journal.jobs.as_ref().expect("it is open").reserve().await.expect("a place");
    journal.close().await.expect("close");
    journal.jobs.as_ref().expect("it is open").closed().await;
    let (answer, answered) = oneshot::channel();
    place.send(Job::DropSnapshots { answer });
    answered.await.expect_err("nobody answers any more");
    assert!(matches!(journal.drop_snapshots().await, Err(StoreError::Fatal(_))));
}
