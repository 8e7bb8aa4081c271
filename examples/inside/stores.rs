//! Any store as a node uses it: appends through one task that commits what has gathered, and entities as they
//! are read back when they are needed again.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use serde_json::{Value, json};
use souk::config::Config;
use souk::persistence::open::Slots;
use souk::persistence::{Batch, EntityKey, Payload, Record, Snapshot, Store};
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::appending::{filler, noise, open, opened, record, slots_for};
use super::tally::{tally, told};

type Waiting = (Record, oneshot::Sender<()>);

/// Each writer has an entity of its own, alone in its slot; one task commits for all of them.
pub async fn gathered(options: Options) -> anyhow::Result<Value> {
    let store = opened(&options, slots_for(options.tasks)?).await?;
    let (sender, queue) = mpsc::channel(Config::default().journal.batch_records_max);
    let committer = tokio::spawn(commit(store.clone(), queue));
    let filler = filler(&options);
    let make = |task: usize| (sender.clone(), task as u16);
    let told = tally(options.tasks, options.time, make, move |(sender, slot), turn| async move {
        let (answer, answered) = oneshot::channel();
        sender.send((record(slot, turn + 1, filler), answer)).await?;
        answered.await?;
        Ok((sender, slot))
    })
    .await;
    drop(sender);
    committer.await??; // its failure is why the writers have failed
    store.close().await?;
    told
}

async fn commit(store: Arc<dyn Store>, mut queue: mpsc::Receiver<Waiting>) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    // As the node's writer takes at most.
    let gathered_max = Config::default().journal.batch_records_max;
    while queue.recv_many(&mut waiting, gathered_max).await > 0 {
        let (records, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let refused = store.append(Batch::of("bench", records)).await?;
        ensure!(refused.is_empty(), "appends were refused: {refused:?}");
        for answer in answers {
            // Nobody waits any more once the time is up.
            let _ = answer.send(());
        }
    }
    Ok(())
}

/// Records of each entity, and after how many of them its state was written down.
const HISTORY: u64 = 120;
const SNAPSHOT_AT: u64 = 100;
const STATE_BYTES: usize = 1_024;
/// Entities that are read back.
const LOADS: usize = 4_000;

/// Fills a store with `tasks` entities of a history that has a snapshot, opens it again, and loads entities as
/// the runtime does. What the store takes on the disk is for the caller to look at.
pub async fn filled(options: Options) -> anyhow::Result<Value> {
    let entities = options.tasks;
    let slots = 1_024;
    let store = opened(&options, slots).await?;
    let filler = filler(&options);
    let began = Instant::now();
    for version in 1..=HISTORY {
        let mut batch = Batch { owner: "bench".into(), ..Batch::default() };
        for entity in 0..entities {
            let slot = slot_of(entity, slots);
            // Entities of one slot take turns.
            let of_slot = (entities - usize::from(slot)).div_ceil(usize::from(slots)) as u64;
            let seq = (version - 1) * of_slot + (entity / usize::from(slots)) as u64 + 1;
            let record = Record { key: key(entity), version, ..record(slot, seq, filler) };
            if version == SNAPSHOT_AT {
                batch.snapshots.push(snapshot(&record).into());
            }
            batch.records.push(record.into());
        }
        let refused = store.append(batch).await?;
        ensure!(refused.is_empty(), "appends were refused: {refused:?}");
    }
    let fill_s = began.elapsed().as_secs_f64();
    store.close().await?;
    drop(store);

    let store = open(&options, Slots::Stored).await?;
    let mut latencies = Vec::with_capacity(LOADS);
    for turn in 0..LOADS {
        let entity = turn * 7_919 % entities; // a prime: near ones are not read together
        let (slot, key) = (slot_of(entity, slots), key(entity));
        let began = Instant::now();
        let history = store.load(slot, &key).await?;
        latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        ensure!(history.snapshot.is_some(), "{key:?} has no snapshot");
        ensure!(history.records.len() as u64 == HISTORY - SNAPSHOT_AT, "{key:?} has not all of its records");
    }
    store.close().await?;
    let records = entities as u64 * HISTORY;
    Ok(json!({"records": records, "fill_rate": records as f64 / fill_s, "load": told(latencies)}))
}

fn slot_of(entity: usize, slots: u16) -> u16 {
    (entity % usize::from(slots)) as u16
}

fn key(entity: usize) -> EntityKey {
    let EntityKey { kind, .. } = record(0, 1, 0).key;
    EntityKey { kind, id: format!("cart_{entity:026}").into() }
}

fn snapshot(record: &Record) -> Snapshot {
    let type_number = record.events.first().map_or(0, |event| event.type_number);
    Snapshot {
        slot: record.slot,
        key: record.key.clone(),
        seq: record.seq,
        version: record.version,
        at_ms: record.at_ms,
        state: Payload { type_number, version: 1, bytes: noise(record.seq, STATE_BYTES) },
        receipts: Vec::new(),
        receipts_elsewhere_until_ms: None,
        owed: None,
        wake_ms: None,
        watermarks: Vec::new(),
    }
}
