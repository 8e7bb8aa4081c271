//! The derived index as its readers see it: the memtable that is being filled, the one that is being
//! written down, and the runs, newest first. Every read looks at all three and takes them at one moment.

use std::sync::Arc;

use hashlink::LruCache;
use parking_lot::{Condvar, Mutex, RwLock};

use super::disk::Disk;
use super::entry::{self, ReceiptRef, SeqPlace, take_varint};
use super::log::Reader;
use super::members::Members;
use super::memtable::Memtable;
use super::run::{Run, RunScan, Wanted};
use super::snapshots;
use crate::persistence::{EntityKey, History, Record, RequestBytes, Slot, SlotHead, StoreError};

/// Records in the first page of a load.
const LOAD_PAGE: usize = 256;

pub struct Index {
    pub disk: Disk,
    pub layers: RwLock<Layers>,
    /// Versions of entities that were lately loaded or written: what `append` compares with, without
    /// reading the disk.
    versions: Mutex<LruCache<EntityKey, u64>>,
    pub turn: Mutex<Turn>,
    pub turned: Condvar,
}

pub struct Layers {
    pub active: Memtable,
    pub frozen: Option<Arc<Frozen>>,
    /// From the newest to the oldest.
    pub runs: Runs,
    pub heads: Vec<SlotHead>,
    pub members: Members,
    /// Clients' receipts that expired before this are forgotten.
    pub forget_before_ms: i64,
    /// Grows whenever entries move from one layer to the next.
    pub generation: u64,
}

pub type Runs = Arc<Vec<Arc<Run>>>;

/// A full memtable, while it is written down.
pub struct Frozen {
    pub table: Memtable,
    /// The log's last part that is in the table or in a run.
    pub covers: u64,
    pub forget_before_ms: i64,
}

/// What the committer wants of the thread that writes checkpoints.
#[derive(Default)]
pub struct Turn {
    /// Write down what is frozen without pauses, and merge nothing more: the store is closing.
    pub hurry: bool,
    /// Go when nothing is frozen.
    pub finish: bool,
    /// Go at once.
    pub stop: bool,
}

/// Ends the store when its thread panics: what that thread knew is lost, and others may wait for it.
pub struct MarkPanic {
    pub index: Arc<Index>,
    pub thread: &'static str,
}

impl Drop for MarkPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.index.disk.fail(format!("{} has panicked", self.thread));
            self.index.announce(|turn| turn.stop = true);
        }
    }
}

/// What memory alone can say about an entity.
pub enum Presence {
    /// It has no record.
    Absent,
    /// It has records, or may have.
    Likely,
}

impl Index {
    pub fn new(disk: Disk, layers: Layers, versions_max: usize) -> Index {
        let versions = Mutex::new(LruCache::new(versions_max));
        Index { disk, layers: RwLock::new(layers), versions, turn: Mutex::default(), turned: Condvar::new() }
    }

    /// Wakes whoever waits for a turn.
    pub fn announce(&self, change: impl FnOnce(&mut Turn)) {
        change(&mut self.turn.lock());
        self.turned.notify_all();
    }

    /// An entity's version, for the committer alone: its cache is ahead of what is durable.
    pub fn version(&self, key: &EntityKey) -> Result<u64, StoreError> {
        if let Some(version) = self.versions.lock().get(key) {
            return Ok(*version);
        }
        let version = self.stored_version(key)?;
        self.versions.lock().insert(key.clone(), version);
        Ok(version)
    }

    /// Notes what was just written, before it is durable (when it never gets so, the store has failed).
    pub fn note_versions<'a>(&self, written: impl Iterator<Item = &'a Record>) {
        let mut versions = self.versions.lock();
        for record in written {
            match versions.get_mut(&record.key) {
                Some(version) => *version = record.version,
                None => drop(versions.insert(record.key.clone(), record.version)),
            }
        }
    }

    /// Notes what a reader has found, unless the committer may have gone on since.
    fn remember_version(&self, key: &EntityKey, version: u64, generation: u64) {
        let mut versions = self.versions.lock();
        let layers = self.layers.read();
        let written_since = layers.active.version(key).is_some() || layers.frozen_table().version(key).is_some();
        if !written_since && layers.generation == generation && !versions.contains_key(key) {
            versions.insert(key.clone(), version);
        }
    }

    fn stored_version(&self, key: &EntityKey) -> Result<u64, StoreError> {
        let runs = {
            let layers = self.layers.read();
            match layers.active.version(key).or_else(|| layers.frozen_table().version(key)) {
                Some(version) => return Ok(version),
                None => layers.runs.clone(),
            }
        };
        let head = entry::head_key(&entry::entity_prefix(key));
        let wanted = Wanted::new(&head);
        for run in runs.iter() {
            if let Some(value) = run.get(&self.disk, &wanted)? {
                return take_varint(&mut value.as_slice()).ok_or_else(|| malformed(&head));
            }
        }
        Ok(0)
    }

    /// Whether an entity has records, without reading the disk.
    pub fn presence(&self, key: &EntityKey) -> Presence {
        let head = entry::head_key(&entry::entity_prefix(key));
        let (runs, generation) = {
            let layers = self.layers.read();
            if layers.active.version(key).is_some() || layers.frozen_table().version(key).is_some() {
                return Presence::Likely;
            }
            (layers.runs.clone(), layers.generation)
        };
        let wanted = Wanted::new(&head);
        if runs.iter().any(|run| run.may_have(&wanted)) {
            return Presence::Likely;
        }
        self.remember_version(key, 0, generation);
        Presence::Absent
    }

    pub fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        let generation = self.layers.read().generation;
        let snapshot = snapshots::newest(&self.disk, key)?;
        let after_seq = snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        let mut records = self.records(slot, key, after_seq, LOAD_PAGE + 1)?;
        let more = records.len() > LOAD_PAGE;
        records.truncate(LOAD_PAGE);
        let version = match (records.last(), &snapshot) {
            _ if more => self.stored_version(key)?,
            (Some(last), _) => last.version,
            (None, Some(snapshot)) => snapshot.version,
            (None, None) => 0,
        };
        self.remember_version(key, version, generation);
        Ok(History { snapshot, records, more })
    }

    pub fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let places = self.places(key, after_seq, limit)?;
        let mut reader = Reader::new(&self.disk);
        places.into_iter().map(|(seq, place)| reader.record(place, slot, Some(key), seq)).collect()
    }

    fn places(&self, key: &EntityKey, after_seq: u64, limit: usize) -> Result<Vec<SeqPlace>, StoreError> {
        let (active, frozen, runs) = {
            let layers = self.layers.read();
            let active: Vec<SeqPlace> = layers.active.places(key, after_seq).iter().take(limit).copied().collect();
            (active, layers.frozen.clone(), layers.runs.clone())
        };
        let prefix = entry::entity_prefix(key);
        let head = entry::head_key(&prefix);
        let wanted = Wanted::new(&head);
        let start = entry::places_key(&prefix, after_seq.saturating_add(1));
        let lists = [prefix.as_slice(), &[entry::PLACES]].concat();
        let mut places = Vec::new();
        for run in runs.iter().rev().filter(|run| run.may_have(&wanted)) {
            let mut scan = RunScan::new(&self.disk, run.clone(), &start)?;
            while let Some(item) = scan.next()?.filter(|item| item.key.starts_with(&lists) && places.len() < limit) {
                let list = item.value.as_deref().and_then(entry::read_places).ok_or_else(|| malformed(&item.key))?;
                places.extend(list.into_iter().filter(|(seq, _)| *seq > after_seq));
            }
        }
        if let Some(frozen) = frozen {
            places.extend_from_slice(frozen.table.places(key, after_seq));
        }
        places.extend(active);
        places.truncate(limit);
        Ok(places)
    }

    pub fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let (active, frozen, runs, head_seq) = {
            let layers = self.layers.read();
            let head_seq = layers.heads.get(usize::from(slot)).map_or(0, |head| head.seq);
            if head_seq <= after_seq || limit == 0 {
                return Ok(Vec::new());
            }
            (layers.active.feed(slot, after_seq, limit), layers.frozen.clone(), layers.runs.clone(), head_seq)
        };
        let start = entry::feed_key(slot, after_seq + 1);
        let lists = &start[..3];
        let mut places: Vec<SeqPlace> = Vec::new();
        for run in runs.iter().rev() {
            if places.len() >= limit {
                break;
            }
            let mut scan = RunScan::new(&self.disk, run.clone(), &start)?;
            while let Some(item) = scan.next()?.filter(|item| item.key.starts_with(lists) && places.len() < limit) {
                let last_seq = entry::read_last_seq(&item.key).ok_or_else(|| malformed(&item.key))?;
                let list = item.value.as_deref().and_then(|value| entry::read_feed(last_seq, value));
                places
                    .extend(list.ok_or_else(|| malformed(&item.key))?.into_iter().filter(|(seq, _)| *seq > after_seq));
            }
        }
        if let Some(frozen) = frozen {
            places.extend(frozen.table.feed(slot, after_seq, limit));
        }
        places.extend(active);
        places.truncate(limit);
        let expected = usize::try_from(head_seq - after_seq).unwrap_or(usize::MAX).min(limit);
        if places.len() < expected || (after_seq + 1..).zip(&places).any(|(next, (seq, _))| next != *seq) {
            let why = format!("slot {slot}: a record between {after_seq} and {head_seq} is missing from the index");
            return Err(StoreError::Damaged(why));
        }
        let mut reader = Reader::new(&self.disk);
        places.into_iter().map(|(seq, place)| reader.record(place, slot, None, seq)).collect()
    }

    /// Whether memory alone can say that there is no receipt.
    pub fn has_no_receipt(&self, key: &EntityKey, request: &RequestBytes) -> bool {
        let layers = self.layers.read();
        if layers.memory_receipt(key, request).is_some() {
            return false;
        }
        let stored = entry::receipt_key(&entry::entity_prefix(key), request);
        let wanted = Wanted::new(&stored);
        !layers.runs.iter().any(|run| run.may_have(&wanted))
    }

    pub fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        let (in_memory, runs, forget_before_ms) = {
            let layers = self.layers.read();
            (layers.memory_receipt(key, request), layers.runs.clone(), layers.forget_before_ms)
        };
        let found = match in_memory {
            Some(found) => Some(found),
            None => self.run_receipt(&runs, key, request)?,
        };
        match found.filter(|receipt| !receipt.is_forgotten(forget_before_ms)) {
            Some(receipt) => Reader::new(&self.disk).record(receipt.place, slot, Some(key), receipt.seq).map(Some),
            None => Ok(None),
        }
    }

    fn run_receipt(
        &self,
        runs: &[Arc<Run>],
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<ReceiptRef>, StoreError> {
        let stored = entry::receipt_key(&entry::entity_prefix(key), request);
        let wanted = Wanted::new(&stored);
        for run in runs {
            if let Some(value) = run.get(&self.disk, &wanted)? {
                return entry::read_receipt(&value).map(Some).ok_or_else(|| malformed(&stored));
            }
        }
        Ok(None)
    }
}

impl Layers {
    /// The table that is being written down, or an empty one.
    pub fn frozen_table(&self) -> &Memtable {
        static EMPTY: std::sync::LazyLock<Memtable> = std::sync::LazyLock::new(Memtable::default);
        self.frozen.as_ref().map_or(&EMPTY, |frozen| &frozen.table)
    }

    fn memory_receipt(&self, key: &EntityKey, request: &RequestBytes) -> Option<ReceiptRef> {
        self.active.receipt(key, request).or_else(|| self.frozen_table().receipt(key, request))
    }
}

pub fn malformed(key: &[u8]) -> StoreError {
    StoreError::Damaged(format!("index entry {}: it is malformed", key.escape_ascii()))
}
