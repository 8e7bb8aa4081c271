//! Every backend against the conformance suite, and what the faulty one injects.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;

use super::conformance::{self, Rig, SLOTS, Scribe, key};
use super::embedded::{EmbeddedJournal, EngineKind};
use super::faulty::{Call, Fault, Faulty, Rates};
use super::memory::Memory;
use super::{Batch, Journal, Refusal, Store, StoreError};
use crate::config::Config;

struct MemoryRig(Memory);

#[async_trait]
impl Rig for MemoryRig {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        Some(self.open().await)
    }
}

struct FaultyRig(Memory);

#[async_trait]
impl Rig for FaultyRig {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Faulty::new(self.0.clone()))
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        Some(self.open().await)
    }
}

struct EmbeddedRig {
    dir: tempfile::TempDir,
    engine: EngineKind,
    checkpoint_records: usize,
}

impl EmbeddedRig {
    fn new(engine: EngineKind, checkpoint_records: usize) -> EmbeddedRig {
        EmbeddedRig { dir: tempfile::tempdir().expect("a temporary folder"), engine, checkpoint_records }
    }
}

#[async_trait]
impl Rig for EmbeddedRig {
    async fn open(&self) -> Arc<dyn Store> {
        let EmbeddedRig { engine, checkpoint_records, .. } = *self;
        let mut options = Config::default().store.tuning().embedded(engine, SLOTS);
        options.embedded.checkpoint_records = checkpoint_records;
        Arc::new(EmbeddedJournal::open(self.dir.path(), options).expect("the store opens"))
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

crate::journal_conformance!(memory, || MemoryRig(Memory::new(SLOTS)));
crate::journal_conformance!(faulty_without_faults, || FaultyRig(Memory::new(SLOTS)));
// With the index in memory, and with one that is written down and merged all the time.
crate::journal_conformance!(sled, || EmbeddedRig::new(EngineKind::Sled, 50_000));
crate::journal_conformance!(sled_with_checkpoints, || EmbeddedRig::new(EngineKind::Sled, 3));
crate::journal_conformance!(fjall, || EmbeddedRig::new(EngineKind::Fjall, 50_000));
crate::journal_conformance!(fjall_with_checkpoints, || EmbeddedRig::new(EngineKind::Fjall, 3));

async fn faulty() -> (Arc<Faulty<Memory>>, Scribe) {
    let memory = Memory::new(SLOTS);
    let faulty = Arc::new(Faulty::new(memory.clone()));
    let scribe = Scribe::open(&MemoryRig(memory)).await;
    (faulty, scribe)
}

#[tokio::test]
async fn each_fault_is_what_it_says() {
    let (faulty, mut scribe) = faulty().await;
    let batch = |record: &super::Record| Batch::of("scribe", [record.clone()]);
    let first = scribe.record(0, "a");
    for (fault, is_written) in [
        (Fault::FailBefore, false),
        (Fault::Lost, false),
        (Fault::Late, false),
        (Fault::Fenced, false),
        (Fault::FailAfter, true),
    ] {
        faulty.fail_next(Call::Append, fault);
        let answer = faulty.append(batch(&first)).await;
        match fault {
            Fault::FailBefore => assert!(matches!(answer, Err(StoreError::Unavailable(_)))),
            Fault::Lost | Fault::Late | Fault::FailAfter => assert!(matches!(answer, Err(StoreError::Unknown(_)))),
            Fault::Fenced => assert_eq!(answer.expect("refused"), [(0, Refusal::Fenced { current: 2 })]),
            Fault::Denied | Fault::Slow { .. } | Fault::Duplicate | Fault::Damaged | Fault::Fatal => {
                unreachable!("not in the list")
            }
        }
        assert_eq!(scribe.feed(0).await.len(), usize::from(is_written), "{fault:?}");
    }
    let late = faulty.deliver_late().await.expect("it arrives");
    assert!(matches!(late[..], [ref refused] if matches!(refused[..], [(0, Refusal::Conflict(_))])), "{late:?}");
    let second = scribe.record(0, "a");
    faulty.fail_at(Call::Append, 6, Fault::Duplicate);
    assert_eq!(faulty.append(batch(&second)).await.expect("the first delivery"), vec![]);
    assert_eq!(scribe.feed(0).await, [first, second]);
    faulty.fail_next(Call::Read, Fault::Fatal);
    assert!(matches!(faulty.load(0, &key("a")).await, Err(StoreError::Fatal(_))));
    assert!(matches!(faulty.heads().await, Err(StoreError::Fatal(_))), "fatal is for good");
    assert_eq!((faulty.calls(Call::Append), faulty.injected().len()), (6, 7));
}

#[tokio::test]
async fn a_slow_call_dropped_before_its_work_has_written_nothing() {
    let (faulty, mut scribe) = faulty().await;
    let record = scribe.record(0, "a");
    let batch = Batch::of("scribe", [record]);
    for (fault, is_written) in [
        (Fault::Slow { before_ms: 60_000, after_ms: 0 }, false),
        (Fault::Slow { before_ms: 0, after_ms: 60_000 }, true),
    ] {
        faulty.fail_next(Call::Append, fault);
        assert!(faulty.append(batch.clone()).now_or_never().is_none(), "it takes its time");
        assert_eq!(scribe.feed(0).await.len(), usize::from(is_written), "{fault:?}");
    }
}

#[tokio::test]
async fn a_seed_means_the_same_faults_every_time() {
    let rates = Rates { fail_before: 100, fail_after: 100, lost: 50, slow: 100, duplicate: 50, ..Rates::default() };
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let faulty = Faulty::seeded(Memory::new(SLOTS), seed, rates);
        for _ in 0..200 {
            let _ = faulty.append(Batch::default()).await;
        }
        runs.push(faulty.injected());
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!((40..120).contains(&runs[0].len()), "{} of 200 and 80 expected", runs[0].len());
}

/// What the other test starts: each process has a store of its own in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the processes that the other test starts"]
async fn contender() {
    if let Some(part) = conformance::Part::from_environment() {
        assert_eq!(part.store, "memory");
        part.play(Arc::new(Memory::new(SLOTS))).await;
    }
}

/// No store can be shared here; that processes start, tell and are killed shows all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_contend_and_are_heard() {
    let acks = conformance::run_processes("persistence::tests::contender", "memory").await;
    assert!(acks.len() > 1_000, "{}", acks.len());
}
