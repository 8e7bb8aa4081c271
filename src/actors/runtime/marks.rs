//! Marks in the past of entities: where a replay may begin, so that the next one does not begin at the first record
//! again.
//!
//! A repeat of a keyed request is answered with the state that the entity had then, which is replayed from the
//! journal. At the end of each page of records the state is kept here. Only durable records are read, and none is
//! ever changed; a mark is used only while its record is in the journal, because a store that fails over may lose its
//! last ones. Nothing here outlives the process.

use std::collections::BTreeMap;

use hashlink::LinkedHashMap;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::actors::values::Time;
use crate::persistence::{EntityKey, Payload, Record};

/// Memory for all marks, in bytes: beyond, the entities that were asked for least recently lose theirs.
const MARKS_BYTES_MAX: usize = 8 << 20;
/// A state larger than this is not kept, in bytes: a few would fill everything.
const STATE_BYTES_MAX: usize = 1 << 20;
/// Marks of one entity; beyond, they stand twice as far apart.
const ENTITY_MARKS_MAX: usize = 128;
/// What a mark takes beside its state, with its share of the maps, in bytes, rounded up.
const MARK_OVERHEAD_BYTES: usize = 256;
/// So many replays that read many records run at a time; others wait for their turn.
const LONG_REPLAYS_MAX: usize = 4;

/// An entity after one of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub version: u64,
    pub at: Time,
    /// With the checksum, which record it is. (A store that has lost records may have others at their sequences, even of
    /// the same epoch.)
    pub seq: u64,
    checksum: u64,
    /// `None`: only the place is known.
    pub state: Option<Payload>,
}

impl Mark {
    /// The mark after `record`.
    pub fn after(record: &Record, state: Option<Payload>) -> Mark {
        Mark { version: record.version, at: Time(record.at_ms), seq: record.seq, checksum: checksum(record), state }
    }

    /// Whether `record` is the one that it stands after.
    pub fn is_after(&self, record: &Record) -> bool {
        self.seq == record.seq && self.checksum == checksum(record)
    }

    fn size_bytes(&self) -> usize {
        MARK_OVERHEAD_BYTES + self.state.as_ref().map_or(0, |state| state.bytes.len())
    }
}

/// Of all that a record is. It does not outlive the process.
fn checksum(record: &Record) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&record.encode())
}

pub struct Marks {
    kept: Mutex<Kept>,
    long: Semaphore,
    records_read: IntCounter,
}

#[derive(Default)]
struct Kept {
    entities: LinkedHashMap<EntityKey, Line>,
    size_bytes: usize,
}

/// The marks of one entity by version.
#[derive(Default)]
struct Line {
    marks: BTreeMap<u64, Mark>,
    /// The least distance of two marks, in versions.
    apart: u64,
}

impl Marks {
    pub fn new(records_read: IntCounter) -> Marks {
        Marks { kept: Mutex::default(), long: Semaphore::new(LONG_REPLAYS_MAX), records_read }
    }

    /// For reading outside a node, which counts for nobody.
    pub fn alone() -> Marks {
        Marks::new(IntCounter::new("alone", "counts for nobody").expect("a valid name"))
    }

    /// Waits for a place among the long replays.
    pub async fn long_replay(&self) -> Option<SemaphorePermit<'_>> {
        self.long.acquire().await.ok() // it is never closed
    }

    pub fn count_read(&self, records: usize) {
        self.records_read.inc_by(records as u64);
    }

    /// The last mark with a state below this version.
    pub fn state_below(&self, key: &EntityKey, version: u64) -> Option<Mark> {
        let mut kept = self.kept.lock();
        let line = kept.entities.to_back(key)?;
        line.marks.range(..version).rev().map(|(_, mark)| mark).find(|mark| mark.state.is_some()).cloned()
    }

    /// The last mark below this version, with a state or without.
    pub fn place_below(&self, key: &EntityKey, version: u64) -> Option<Mark> {
        let mut kept = self.kept.lock();
        let line = kept.entities.to_back(key)?;
        line.marks.range(..version).next_back().map(|(_, mark)| Mark { state: None, ..*mark })
    }

    /// Keeps a mark, unless one that says as much is near.
    pub fn keep(&self, key: &EntityKey, mut mark: Mark) {
        mark.state = mark.state.filter(|state| state.bytes.len() <= STATE_BYTES_MAX);
        let kept = &mut *self.kept.lock();
        let line = kept.entities.entry(key.clone()).or_insert_with(Line::default);
        if !line.has_place_for(&mark) {
            return;
        }
        kept.size_bytes += mark.size_bytes();
        let replaced = line.marks.insert(mark.version, mark);
        kept.size_bytes -= replaced.map_or(0, |mark| mark.size_bytes());
        if line.marks.len() > ENTITY_MARKS_MAX {
            kept.size_bytes -= line.thin();
        }
        kept.entities.to_back(key);
        while kept.size_bytes > MARKS_BYTES_MAX {
            kept.make_room();
        }
    }

    /// Drops the marks of an entity: their records are not there any more.
    pub fn forget(&self, key: &EntityKey) {
        let kept = &mut *self.kept.lock();
        let gone = kept.entities.remove(key);
        kept.size_bytes -= gone.map_or(0, |line| line.size_bytes());
    }
}

impl Line {
    /// A mark with a state may stand next to, or replace, one without.
    fn has_place_for(&self, mark: &Mark) -> bool {
        let (from, to) = (mark.version.saturating_sub(self.apart), mark.version.saturating_add(self.apart));
        let mut near = self.marks.range(from..=to).map(|(_, near)| near);
        !near.any(|near| {
            let distance = near.version.abs_diff(mark.version);
            (near.state.is_some() || mark.state.is_none()) && (distance < self.apart || distance == 0)
        })
    }

    /// Doubles the distance, and returns what the dropped marks took.
    fn thin(&mut self) -> usize {
        let (first, last) = (self.marks.first_key_value(), self.marks.last_key_value());
        let span = first.zip(last).map_or(0, |((first, _), (last, _))| last - first);
        self.apart = (self.apart * 2).max(span / ENTITY_MARKS_MAX as u64 + 1);
        let (mut last_kept, mut gone_bytes) = (None, 0);
        let apart = self.apart;
        self.marks.retain(|version, mark| {
            let stays = last_kept.is_none_or(|last| version - last >= apart);
            if stays {
                last_kept = Some(*version)
            } else {
                gone_bytes += mark.size_bytes()
            }
            stays
        });
        gone_bytes
    }

    fn size_bytes(&self) -> usize {
        self.marks.values().map(Mark::size_bytes).sum()
    }
}

impl Kept {
    /// The entity that was asked for least recently loses its marks; where it is the only one, it keeps some.
    fn make_room(&mut self) {
        if self.entities.len() > 1 {
            let oldest = self.entities.pop_front();
            self.size_bytes -= oldest.map_or(0, |(_, line)| line.size_bytes());
        } else if let Some(line) = self.entities.values_mut().next() {
            self.size_bytes -= line.thin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> EntityKey {
        EntityKey { kind: 1, id: id.into() }
    }

    fn mark(version: u64, state_bytes: Option<usize>) -> Mark {
        let state = state_bytes.map(|size| Payload { type_number: 1, version: 1, bytes: vec![0; size] });
        Mark { version, at: Time(0), seq: version * 2, checksum: version, state }
    }

    /// What is counted is what is there.
    fn size_of(marks: &Marks) -> usize {
        let kept = marks.kept.lock();
        assert_eq!(kept.size_bytes, kept.entities.values().map(Line::size_bytes).sum::<usize>());
        kept.size_bytes
    }

    #[test]
    fn marks_stay_below_the_limit_and_the_last_asked_for_stay() {
        let marks = Marks::alone();
        for n in 0..100_u64 {
            marks.keep(&key(&n.to_string()), mark(256, Some(STATE_BYTES_MAX / 2)));
            assert!(marks.state_below(&key("0"), 300).is_some(), "it is asked for each time");
            assert!(size_of(&marks) <= MARKS_BYTES_MAX);
        }
        assert_eq!(marks.state_below(&key("1"), 300), None);
        assert!(marks.state_below(&key("99"), 300).is_some());
        marks.forget(&key("99"));
        assert_eq!(marks.state_below(&key("99"), 300), None);
        size_of(&marks);
    }

    #[test]
    fn one_entity_with_large_states_stays_below_the_limit_too() {
        let marks = Marks::alone();
        for n in 1..=200 {
            marks.keep(&key("large"), mark(n * 256, Some(STATE_BYTES_MAX)));
            assert!(size_of(&marks) <= MARKS_BYTES_MAX);
        }
        assert!(marks.state_below(&key("large"), 200 * 256).is_some());
        marks.keep(&key("giant"), mark(256, Some(STATE_BYTES_MAX + 1)));
        assert_eq!(marks.state_below(&key("giant"), 300), None);
        assert!(marks.place_below(&key("giant"), 300).is_some(), "its place is known");
    }

    #[test]
    fn the_marks_of_a_very_long_history_stand_evenly() {
        let marks = Marks::alone();
        const VERSIONS: u64 = 1_000_000;
        for version in (256..VERSIONS).step_by(256) {
            marks.keep(&key("long"), mark(version, Some(10)));
        }
        for version in (20_000..VERSIONS).step_by(10_000) {
            let found = marks.state_below(&key("long"), version).expect("a mark");
            assert!(version - found.version <= VERSIONS / 50, "{version}: {}", found.version);
        }
        assert!(size_of(&marks) <= (ENTITY_MARKS_MAX + 1) * (MARK_OVERHEAD_BYTES + 10));
    }

    #[test]
    fn a_mark_with_a_state_replaces_one_without() {
        let marks = Marks::alone();
        marks.keep(&key("a"), mark(256, None));
        assert_eq!((marks.state_below(&key("a"), 257), marks.place_below(&key("a"), 256)), (None, None));
        assert_eq!(marks.place_below(&key("a"), 257), Some(mark(256, None)));
        marks.keep(&key("a"), mark(256, Some(10)));
        marks.keep(&key("a"), mark(256, None));
        assert_eq!(marks.state_below(&key("a"), 257), Some(mark(256, Some(10))));
        size_of(&marks);
    }
}
