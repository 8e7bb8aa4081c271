//! The feed: a store that has a history is opened again, and followed from its beginning to its end, as a consumer
//! does that begins anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};
use souk::actors::feed::{self, Consumer, ConsumerError, Feed, Position};
use souk::metrics::Metrics;
use souk::persistence::open::Slots;
use souk::persistence::{
    Batch, EntityKey, Origin, OwedChange, OwedItem, OwedRow, Payload, Receipt, Record, Slot, SlotHead, Store,
};
use tokio::task::JoinSet;

use super::Options;
use super::appending::{noise, open, opened};

const SLOTS: Slot = 1_024;
/// Records that one commit takes, as at a busy node: some of many slots.
const COMMIT: usize = 256;
/// An entity has so many records in the end, about.
const HISTORY: usize = 8;
/// Kinds, and bytes of what an event of each says: a cart's line, an order's step, a product, a SKU's reservation.
const KINDS: [(u8, &str, usize); 4] = [(10, "cart", 90), (11, "order", 180), (8, "product", 400), (9, "sku", 60)];

pub async fn feed(options: Options) -> anyhow::Result<Value> {
    let store = opened(&options, SLOTS).await?;
    let began = Instant::now();
    fill(&*store, options.records).await?;
    let filled_s = began.elapsed().as_secs_f64();
    store.close().await?;
    drop(store);

    let store = open(&options, Slots::Stored).await?;
    let heads: Arc<[SlotHead]> = store.heads().await?.into();
    let began = Instant::now();
    let mut readers = JoinSet::new();
    for reader in 0..options.tasks {
        readers.spawn(follow(
            store.clone(),
            heads.clone(),
            (reader..usize::from(SLOTS)).step_by(options.tasks),
            options.page,
        ));
    }
    let (mut records, mut bytes) = (0, 0);
    while let Some(read) = readers.join_next().await {
        let read = read??;
        (records, bytes) = (records + read.0, bytes + read.1);
    }
    let caught_up_s = began.elapsed().as_secs_f64();
    ensure!(records == options.records, "{records} records were read of {}", options.records);
    let consumed_s = consume(store.clone(), &heads, records).await?;
    store.close().await?;
    Ok(json!({
        "records": records,
        "bytes": bytes,
        "fill_rate": records as f64 / filled_s,
        "rate": records as f64 / caught_up_s,
        "consumer_rate": records as f64 / consumed_s,
    }))
}

/// A consumer of the feed, from empty until it has caught up; the answer is how long it took, in seconds.
async fn consume(store: Arc<dyn Store>, heads: &[SlotHead], records: usize) -> anyhow::Result<f64> {
    const BOUND: Duration = Duration::from_secs(3_600);
    let count = Arc::new(Count::default());
    let feed = Feed::new(store, Arc::new(Metrics::new()), vec![count.clone()]);
    let began = Instant::now();
    feed.start().await?;
    let progress = feed.consumer("count").context("the consumer is the feed's")?;
    for (slot, head) in (0..).zip(heads) {
        while !progress.reached(slot, head.seq, BOUND).await {
            ensure!(began.elapsed() < BOUND, "the consumer does not catch up");
            progress.running().await; // it has not begun yet
        }
    }
    let consumed_s = began.elapsed().as_secs_f64();
    feed.stop();
    let counted = count.0.load(Ordering::Relaxed);
    ensure!(counted == records, "the consumer was given {counted} records of {records}");
    Ok(consumed_s)
}

/// Counts every record.
#[derive(Default)]
struct Count(AtomicUsize);

#[async_trait]
impl Consumer for Count {
    fn name(&self) -> &'static str {
        "count"
    }
    fn follows(&self, _kind: u8) -> bool {
        true
    }
    async fn load(&self) -> Result<Option<Vec<Position>>, ConsumerError> {
        Ok(None)
    }
    async fn apply(&self, batch: &feed::Batch) -> Result<(), ConsumerError> {
        self.0.fetch_add(batch.records().count(), Ordering::Relaxed);
        Ok(())
    }
    async fn rebuild(&self, heads: Vec<Position>) -> Result<Vec<Position>, ConsumerError> {
        Ok(vec![Position::BEGINNING; heads.len()])
    }
}

/// Reads these slots to their heads, a page of each in turn; the answer is how many records there were, and their bytes.
async fn follow(
    store: Arc<dyn Store>,
    heads: Arc<[SlotHead]>,
    slots: impl Iterator<Item = usize>,
    page: usize,
) -> anyhow::Result<(usize, usize)> {
    let (mut records, mut bytes) = (0, 0);
    let mut behind: VecDeque<(usize, u64)> = slots.map(|slot| (slot, 0)).collect();
    while let Some((slot, mut seq)) = behind.pop_front() {
        if seq >= heads[slot].seq {
            continue;
        }
        for record in store.feed(slot as Slot, seq, page).await? {
            ensure!(record.seq == seq + 1, "slot {slot}: record {} comes after {seq}", record.seq);
            seq = record.seq;
            records += 1;
            bytes += record.encoded_len();
        }
        behind.push_back((slot, seq));
    }
    Ok((records, bytes))
}

async fn fill(store: &dyn Store, records: usize) -> anyhow::Result<()> {
    let entities = (records / HISTORY).max(1);
    let mut versions = vec![0_u32; entities];
    let mut seqs = vec![0_u64; usize::from(SLOTS)];
    let all: Vec<usize> = (0..records).collect();
    for numbers in all.chunks(COMMIT) {
        let records = numbers.iter().map(|number| {
            let entity = number.wrapping_mul(7_919) % entities; // a prime: neighbours are of different slots
            let slot = (entity % usize::from(SLOTS)) as Slot;
            let seq = &mut seqs[usize::from(slot)];
            *seq += 1;
            versions[entity] += 1;
            record(slot, *seq, entity, u64::from(versions[entity]))
        });
        let refused = store.append(Batch::of("bench", records)).await?;
        ensure!(refused.is_empty(), "appends were refused: {refused:?}");
    }
    Ok(())
}

/// What a command leaves: an event, most often the receipt of its request, sometimes something owed.
fn record(slot: Slot, seq: u64, entity: usize, version: u64) -> Record {
    let (kind, name, event_bytes) = KINDS[entity % KINDS.len()];
    let payload = |code: u16, bytes| Payload { type_number: u16::from(kind) * 256 + code, version: 1, bytes };
    let receipt = (!seq.is_multiple_of(4)).then(|| Receipt {
        origin: match seq % 4 {
            1 => Origin::Owed { slot: slot / 2, number: seq * 256, watermark: 0 },
            _ => Origin::Client { expires_ms: 1_700_086_400_000 },
        },
        fingerprint: [7; 16],
        outcome: payload(128, vec![1; 12]),
    });
    let owed =
        |number| OwedRow { due_ms: 1_700_000_005_000, items: vec![OwedItem { number, key: "reserve:TEE-M".into() }] };
    Record {
        slot,
        seq,
        epoch: 1,
        key: EntityKey { kind, id: format!("{name}_{entity:026}").into() },
        version,
        at_ms: 1_700_000_000_000 + seq as i64,
        request: (u128::from(slot) << 64 | u128::from(seq)).to_be_bytes(),
        receipt,
        events: vec![payload(1, noise(seq, event_bytes))],
        owed: (kind == 11).then(|| match version % 2 {
            1 => OwedChange { before_due_ms: None, after: Some(owed(seq * 256)) },
            _ => OwedChange { before_due_ms: Some(1_700_000_005_000), after: None },
        }),
        wake: None,
    }
}
