//! Several clients that take slots from each other and append as fast as they can; and what the store must
//! look like afterwards. The clients are tasks here, and processes in [`super::processes`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::history::Dice;
use super::{Rig, SLOTS, client_receipt, key, node, several};
use crate::persistence::{
    Batch, EntityKey, Epoch, OwedChange, OwedItem, OwedRow, Payload, Record, Refusal, RequestBytes, Slot, SlotHead,
    Store, StoreError, WakeChange,
};

/// What a contender was told of one record that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Acknowledged,
    /// For certain.
    Refused,
}

/// One record that a contender knows the outcome of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    pub told: Told,
    pub slot: Slot,
    pub seq: u64,
    pub epoch: Epoch,
    pub request: RequestBytes,
}

/// What of a slot whoever takes it has to know.
struct Taken {
    slot: Slot,
    head: SlotHead,
    versions: HashMap<EntityKey, u64>,
    /// Due times of each entity's rows.
    dues: HashMap<EntityKey, i64>,
}

/// Takes slots and appends to them, until it has done so `rounds` times. `tell` hears of each record of
/// which the store has said what became of it, as soon as it has.
pub async fn contend(store: Arc<dyn Store>, name: &str, rounds: usize, mut tell: impl FnMut(Ack)) {
    let mut dice = Dice(name.bytes().fold(17, |seed, byte| seed.wrapping_mul(131).wrapping_add(u64::from(byte))));
    let mut sent = 0;
    for attempt in 0.. {
        match store.join(&node(name)).await {
            Ok(_) => break, // a second time because the first one's outcome was unknown
            Err(error) if attempt < 100 => endure(&error),
            Err(error) => panic!("{name} cannot join: {error}"),
        }
    }
    for round in 0..rounds {
        // Two at a time, so that a batch holds slots of which one may be lost meanwhile.
        let first = dice.roll(u64::from(SLOTS)) as Slot;
        let mut held = Vec::new();
        for slot in [first, (first + 1) % SLOTS] {
            match take(&*store, name, slot).await {
                Ok(taken) => held.extend(taken),
                Err(error) => endure(&error),
            }
        }
        for _ in 0..2 + dice.roll(4) {
            let mut batch = Batch { owner: name.into(), ..Batch::default() };
            for taken in &mut held {
                for _ in 0..=dice.roll(3) {
                    sent += 1;
                    batch.records.push(taken.next(name, sent, dice.roll(3)).into());
                }
            }
            let records = batch.records.clone();
            match store.append(batch).await {
                Ok(refused) => {
                    for (_, why) in &refused {
                        assert!(matches!(why, Refusal::Fenced { .. }), "{name} is a good client, and got: {why}");
                    }
                    let is_refused = |slot: Slot| refused.iter().any(|(refused, _)| *refused == slot);
                    for record in records {
                        let Record { slot, seq, epoch, request, .. } = *record;
                        let told = if is_refused(slot) { Told::Refused } else { Told::Acknowledged };
                        tell(Ack { told, slot, seq, epoch, request });
                    }
                    held.retain(|taken| !is_refused(taken.slot));
                }
                Err(error) => {
                    endure(&error);
                    held.clear();
                }
            }
        }
        if round % 8 == 7 {
            give(&*store, name, &held, &mut dice).await;
        }
    }
}

/// A store with many clients may be out of order for a while; it may not be broken.
fn endure(error: &StoreError) {
    match error {
        StoreError::Unavailable(_) | StoreError::Unknown(_) => {}
        StoreError::Damaged(_) | StoreError::Fatal(_) => panic!("the store: {error}"),
    }
}

/// Takes a slot, and reads what it holds. `None`: somebody else was faster.
async fn take(store: &dyn Store, name: &str, slot: Slot) -> Result<Option<Taken>, StoreError> {
    let known = store.heads().await?[usize::from(slot)].epoch;
    let head = match store.claim(name, &[(slot, known)]).await?.remove(0) {
        Ok(head) => head,
        Err(Refusal::Fenced { .. }) => return Ok(None),
        Err(other) => panic!("a claim of {name}: {other}"),
    };
    assert!(head.epoch > known && head.owner.as_deref() == Some(name), "{head:?}");
    let feed = store.feed(slot, 0, usize::MAX).await?;
    let ours = feed.iter().take_while(|record| record.epoch < head.epoch).count();
    assert_eq!(
        ours as u64, head.seq,
        "slot {slot}: a claim answers with the last record there will be of earlier epochs"
    );
    let mut taken = Taken { slot, head, versions: HashMap::new(), dues: HashMap::new() };
    feed[..ours].iter().for_each(|record| taken.note(record));
    Ok(Some(taken))
}

/// Gives what it holds to some other member.
async fn give(store: &dyn Store, name: &str, held: &[Taken], dice: &mut Dice) {
    let members = match store.nodes().await {
        Ok(members) => members,
        Err(error) => return endure(&error),
    };
    let to = &members[dice.roll(members.len() as u64) as usize].id;
    let slots: Vec<_> = held.iter().map(|taken| (taken.slot, taken.head.epoch)).collect();
    match store.transfer(name, to, &slots).await {
        Ok(given) => {
            for (given, (_, epoch)) in given.into_iter().zip(slots) {
                match given {
                    Ok(head) => assert!(head.epoch > epoch && head.owner.as_ref() == Some(to), "{head:?}"),
                    Err(Refusal::Fenced { current }) => assert!(current > epoch),
                    Err(other) => panic!("a transfer of {name}'s: {other}"),
                }
            }
        }
        Err(error) => endure(&error),
    }
}

impl Taken {
    fn note(&mut self, record: &Record) {
        self.versions.insert(record.key.clone(), record.version);
        match record.owed.as_ref().and_then(|change| change.after.as_ref()) {
            Some(row) => self.dues.insert(record.key.clone(), row.due_ms),
            None => self.dues.remove(&record.key),
        };
    }

    /// The next record of some entity. Its owed row and its wake row are due at the same time.
    fn next(&mut self, name: &str, number: u64, choice: u64) -> Record {
        self.head.seq += 1;
        let entity = key(&format!("s{}-{choice}", self.slot));
        let mut request = [0; 16];
        let digest = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        request[..8].copy_from_slice(&digest.to_be_bytes());
        request[8..].copy_from_slice(&number.to_be_bytes());
        let before = self.dues.get(&entity).copied();
        let after = (!number.is_multiple_of(3)).then_some(self.head.seq as i64);
        let items = vec![OwedItem { number: self.head.seq * 256, key: name.to_owned() }];
        let record = Record {
            slot: self.slot,
            seq: self.head.seq,
            epoch: self.head.epoch,
            version: self.versions.get(&entity).copied().unwrap_or_default() + 1,
            key: entity,
            at_ms: self.head.at_ms + 1,
            request,
            receipt: Some(client_receipt(i64::MAX / 2)),
            events: vec![Payload { type_number: 0x0a01, version: 1, bytes: name.as_bytes().to_vec() }],
            owed: Some(OwedChange { before_due_ms: before, after: after.map(|due_ms| OwedRow { due_ms, items }) }),
            wake: Some(WakeChange { before_ms: before, after_ms: after }),
        };
        self.note(&record);
        record
    }
}

/// Holds the store against what the contenders were told. The answer is how many records there are.
pub async fn verify(store: &dyn Store, acks: &[Ack]) -> usize {
    let heads = store.heads().await.expect("heads");
    let mut total = 0;
    for slot in 0..SLOTS {
        let feed = store.feed(slot, 0, usize::MAX).await.expect("feed");
        total += feed.len();
        verify_slot(store, slot, &feed, &heads[usize::from(slot)]).await;
        let by_request: HashMap<RequestBytes, &Record> = feed.iter().map(|record| (record.request, record)).collect();
        assert_eq!(by_request.len(), feed.len(), "slot {slot}: nothing was written twice");
        for ack in acks.iter().filter(|ack| ack.slot == slot) {
            let place = by_request.get(&ack.request).map(|record| (record.seq, record.epoch));
            match ack.told {
                Told::Acknowledged => assert_eq!(place, Some((ack.seq, ack.epoch)), "lost: {ack:?}"),
                Told::Refused => assert_eq!(place, None, "refused, and written: {ack:?}"),
            }
        }
    }
    total
}

/// Sequences and versions without a gap, epochs that only grow, and indexes that say what the records say.
async fn verify_slot(store: &dyn Store, slot: Slot, feed: &[Record], head: &SlotHead) {
    let mut versions: HashMap<&EntityKey, u64> = HashMap::new();
    let mut dues: BTreeMap<&EntityKey, i64> = BTreeMap::new();
    let mut epoch = 0;
    for (seq, record) in (1..).zip(feed) {
        assert_eq!((record.slot, record.seq), (slot, seq));
        assert!(record.epoch >= epoch, "slot {slot}: epoch {} behind {epoch}", record.epoch);
        epoch = record.epoch;
        let version = versions.entry(&record.key).or_default();
        *version += 1;
        assert_eq!(record.version, *version, "slot {slot}, {:?}", record.key);
        match record.wake.and_then(|change| change.after_ms) {
            Some(due_ms) => dues.insert(&record.key, due_ms),
            None => dues.remove(&record.key),
        };
        let found = store.find_receipt(slot, &record.key, &record.request).await.expect("find_receipt");
        assert_eq!(found.as_ref(), Some(record));
    }
    assert_eq!(head.seq, feed.len() as u64, "slot {slot}");
    assert!(head.epoch >= epoch);
    let mut expected: Vec<(i64, EntityKey)> = dues.into_iter().map(|(key, due_ms)| (due_ms, key.clone())).collect();
    expected.sort();
    let owed = store.owed(slot, None, usize::MAX).await.expect("owed");
    assert_eq!(owed.into_iter().map(|(key, row)| (row.due_ms, key)).collect::<Vec<_>>(), expected, "slot {slot}");
    let wakes = store.wakes(slot, None, usize::MAX).await.expect("wakes");
    assert_eq!(wakes.into_iter().map(|row| (row.due_ms, row.key)).collect::<Vec<_>>(), expected, "slot {slot}");
}

pub async fn several_contend_for_every_slot(rig: &dyn Rig) {
    let store = rig.open().await;
    let contenders = several(rig, &store, 4).await.into_iter().enumerate().map(|(n, handle)| {
        tokio::spawn(async move {
            let mut acks = Vec::new();
            contend(handle, &format!("contender-{n}"), 25, |ack| acks.push(ack)).await;
            acks
        })
    });
    let mut acks = Vec::new();
    for contender in contenders.collect::<Vec<_>>() {
        acks.extend(contender.await.expect("a contender"));
    }
    let records = verify(&*store, &acks).await;
    let acknowledged = acks.iter().filter(|ack| ack.told == Told::Acknowledged).count();
    assert!(records >= acknowledged && acknowledged > 100, "{acknowledged} of {records}");
}
