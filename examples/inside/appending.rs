//! Appending: to the journal in a store, and to a plain file with group commit, by as many writers and with
//! records of the same size.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use souk::config::Config;
use souk::persistence::open::{self, Slots, StoreChoice};
use souk::persistence::{Batch, EntityKey, Payload, Record, Store};
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::tally::tally;

/// As a cart's.
const KIND: u8 = 3;

/// A new store, all of whose slots are the bench's.
pub async fn opened(options: &Options, slots: u16) -> anyhow::Result<Arc<dyn Store>> {
    let store = open(options, Slots::Configured(slots)).await?;
    let claims: Vec<_> = (0..slots).map(|slot| (slot, 0)).collect();
    for claim in store.claim("bench", &claims).await? {
        claim.context("a new store has no owner")?;
    }
    Ok(store)
}

pub async fn open(options: &Options, slots: Slots) -> anyhow::Result<Arc<dyn Store>> {
    let choice = match &options.url {
        Some(url) => url.parse().map_err(anyhow::Error::msg)?,
        None => StoreChoice::Embedded { engine: options.engine, dir: options.data.clone() },
    };
    Ok(open::open(&Config::default().settings_of(choice, slots)).await?)
}

/// Slots enough for each writer to have one of its own.
pub fn slots_for(writers: usize) -> anyhow::Result<u16> {
    Ok(u16::try_from(writers.next_power_of_two().max(1_024))?)
}

/// Each writer has an entity of its own, alone in its slot, and appends a record at a time.
pub async fn journal(options: Options) -> anyhow::Result<Value> {
    let journal = opened(&options, slots_for(options.tasks)?).await?;
    let filler = filler(&options);
    let make = |task: usize| (journal.clone(), task as u16);
    let told = tally(options.tasks, options.time, make, move |(journal, slot), turn| async move {
        let batch = Batch::of("bench", [record(slot, turn + 1, filler)]);
        let refused = journal.append(batch).await?;
        ensure!(refused.is_empty(), "an append was refused: {refused:?}");
        Ok((journal, slot))
    })
    .await?;
    journal.close().await?;
    Ok(told)
}

/// What the events must be so that a record is as long as was asked for.
pub fn filler(options: &Options) -> usize {
    options.bytes.saturating_sub(record(0, 1, 0).encoded_len())
}

/// A record of the entity that is alone in its slot.
pub fn record(slot: u16, seq: u64, filler: usize) -> Record {
    Record {
        slot,
        seq,
        epoch: 1,
        key: EntityKey { kind: KIND, id: format!("cart_{slot:026}").into() },
        version: seq,
        at_ms: 1_700_000_000_000,
        request: (u128::from(slot) << 64 | u128::from(seq)).to_be_bytes(),
        receipt: None,
        events: vec![Payload { type_number: u16::from(KIND) * 256 + 1, version: 1, bytes: noise(seq, filler) }],
        owed: None,
        wake: None,
    }
}

/// Bytes that no store makes smaller.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        // xorshift
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// One thread writes what has gathered, makes it durable, and answers: the least that a journal can do.
pub async fn file(options: Options) -> anyhow::Result<Value> {
    std::fs::create_dir_all(&options.data)?;
    let mut file = File::create(options.data.join("plain.log"))?;
    let (sender, mut queue) = mpsc::channel::<(Vec<u8>, oneshot::Sender<bool>)>(4_096);
    let committer = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        while let Some((record, answer)) = queue.blocking_recv() {
            bytes.extend(record);
            waiting.push(answer);
            while let Ok((record, answer)) = queue.try_recv() {
                bytes.extend(record);
                waiting.push(answer);
            }
            file.write_all(&bytes)?;
            file.sync_data()?;
            bytes.clear();
            for answer in waiting.drain(..) {
                // Nobody waits any more once the time is up.
                let _ = answer.send(true);
            }
        }
        Ok(())
    });
    let bytes = options.bytes;
    let make = |_| sender.clone();
    let told = tally(options.tasks, options.time, make, move |sender, _| async move {
        let (answer, answered) = oneshot::channel();
        sender.send((vec![7; bytes], answer)).await?;
        answered.await?;
        Ok(sender)
    })
    .await?;
    drop(sender);
    match committer.join() {
        Ok(done) => done?,
        Err(_) => bail!("the committer has panicked"),
    }
    Ok(told)
}
