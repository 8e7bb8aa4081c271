//! An entity's past, read from the journal: bringing it into memory, time travel, and its history as
//! operators see it. All of it runs off the slot's own time.

use serde::Serialize;
use tokio::sync::SemaphorePermit;

use crate::persistence::{EntityKey, Journal, Record, Slot, StoreError};

use super::envelope::AskError;
use super::erased::{AnyState, KindSpec};
use super::marks::{Mark, Marks};
use crate::actors::values::{RequestId, Time};

/// One version of an entity's history.
#[derive(Debug, Clone, Serialize)]
pub struct JournalEntry {
    pub version: u64,
    pub at: Time,
    pub request_id: RequestId,
    /// Each `{"type": ..., "data": ...}`.
    pub events: Vec<serde_json::Value>,
}

/// Rows per page of an entity's records.
const PAGE: usize = 256;
/// Whoever reads more pages than these waits for a place among the long replays.
const SHORT_PAGES_MAX: usize = 4;
/// With a mark so few versions below the wanted one nobody looks whether a snapshot is nearer.
const NEAR: u64 = 2 * PAGE as u64;

/// How far to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To this version, or the last one.
    Version(u64),
    /// To the first version from this one on at which the entity is settled, or the last one.
    SettledFrom(u64),
}

/// A past state.
pub struct Past {
    pub state: Box<dyn AnyState>,
    pub version: u64,
    pub at: Time,
}

/// What an entity was at a version, in JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum StateAt {
    Found {
        version: u64,
        state: serde_json::Value,
    },
    /// It never got that far: `last` is the version at which its journal ends.
    Beyond {
        last: u64,
    },
    /// Nobody has ever touched the entity, or there is no such version: the first one is 1.
    Absent,
}

impl StateAt {
    /// What has come of a replay to version `wanted`, or to the last one.
    pub fn of(past: &Past, wanted: Option<u64>) -> StateAt {
        match (past.version, wanted) {
            (0, _) => StateAt::Absent,
            (last, Some(wanted)) if last < wanted => StateAt::Beyond { last },
            (version, _) => StateAt::Found { version, state: past.state.json() },
        }
    }
}

impl Until {
    fn version(self) -> u64 {
        match self {
            Until::Version(version) | Until::SettledFrom(version) => version,
        }
    }

    fn is_reached(self, past: &Past) -> bool {
        match self {
            Until::Version(version) => past.version >= version,
            Until::SettledFrom(version) => past.version >= version && past.state.settled(),
        }
    }
}

/// Replays an entity: from a mark below the version, from its snapshot where that is not too new, else from its
/// first record. What it passes is marked for the next replay.
pub async fn replay(
    journal: &dyn Journal,
    spec: &dyn KindSpec,
    slot: Slot,
    key: &EntityKey,
    until: Until,
    marks: &Marks,
) -> Result<Past, AskError> {
    let (mut past, after_seq) = start(journal, spec, slot, key, until.version(), marks).await?;
    let mut pages = Pages { journal, slot, key, marks, after_seq, read: 0, place: None };
    while !until.is_reached(&past) {
        let page = pages.next().await?;
        for record in &page {
            apply(&mut *past.state, record)?;
            past.version = record.version;
            past.at = Time(record.at_ms);
            if until.is_reached(&past) {
                return Ok(past);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => marks.keep(key, Mark::after(last, Some(past.state.snapshot()))),
            _ => break,
        }
    }
    Ok(past)
}

/// Where a replay begins: at what is nearest below the version, and the sequence of its last record.
async fn start(
    journal: &dyn Journal,
    spec: &dyn KindSpec,
    slot: Slot,
    key: &EntityKey,
    wanted: u64,
    marks: &Marks,
) -> Result<(Past, u64), AskError> {
    let mark = marks.state_below(key, wanted);
    let mark = still_there(journal, slot, key, mark, marks).await?;
    let marked = mark.and_then(|Mark { version, at, seq, state, .. }| {
        let past = Past { state: spec.restore(&state?)?, version, at };
        Some((past, seq))
    });
    let marked = match marked {
        Some(near) if wanted - near.0.version <= NEAR => return Ok(near),
        Some(_) | None => marked,
    };
    let marked_version = marked.as_ref().map_or(0, |(past, _)| past.version);
    let history = journal.load(slot, key).await.map_err(ask_error)?;
    marks.count_read(history.records.len());
    let is_nearer = |version: u64| version <= wanted && version > marked_version;
    let restored = history.snapshot.filter(|snapshot| is_nearer(snapshot.version)).and_then(|snapshot| {
        let past = Past { state: spec.restore(&snapshot.state)?, version: snapshot.version, at: Time(snapshot.at_ms) };
        Some((past, snapshot.seq))
    });
    let fresh = || (Past { state: spec.fresh(), version: 0, at: Time::ZERO }, 0);
    Ok(restored.or(marked).unwrap_or_else(fresh))
}

/// The mark, if the journal still has its record.
async fn still_there(
    journal: &dyn Journal,
    slot: Slot,
    key: &EntityKey,
    mark: Option<Mark>,
    marks: &Marks,
) -> Result<Option<Mark>, AskError> {
    let Some(mark) = mark else { return Ok(None) };
    // By its place in the slot: no store need look through the entity's history for it.
    let found = journal.feed(slot, mark.seq.saturating_sub(1), 1).await.map_err(ask_error)?;
    marks.count_read(found.len());
    if found.first().is_some_and(|record| mark.is_after(record)) {
        return Ok(Some(mark));
    }
    marks.forget(key);
    Ok(None)
}

/// The records of an entity, a page at a time.
struct Pages<'a> {
    journal: &'a dyn Journal,
    slot: Slot,
    key: &'a EntityKey,
    marks: &'a Marks,
    after_seq: u64,
    read: usize,
    /// Among the long replays, from the time on when this is one.
    place: Option<SemaphorePermit<'a>>,
}

impl Pages<'_> {
    /// The next page. One that is not full is the last.
    async fn next(&mut self) -> Result<Vec<Record>, AskError> {
        if self.read == SHORT_PAGES_MAX {
            self.place = self.marks.long_replay().await;
        }
        let page = self.journal.records(self.slot, self.key, self.after_seq, PAGE).await.map_err(ask_error)?;
        self.read += 1;
        self.marks.count_read(page.len());
        self.after_seq = page.last().map_or(self.after_seq, |last| last.seq);
        Ok(page)
    }
}

/// Applies a record's events.
pub fn apply(state: &mut dyn AnyState, record: &Record) -> Result<(), AskError> {
    for event in &record.events {
        state.replay(event, Time(record.at_ms)).map_err(|error| {
            tracing::error!(
                kind = record.key.kind, id = %record.key.id, slot = record.slot, seq = record.seq, %error,
                "a stored event cannot be read"
            );
            AskError::Damaged
        })?;
    }
    Ok(())
}

/// The history of an entity, one entry a version.
pub async fn entries(
    journal: &dyn Journal,
    spec: &dyn KindSpec,
    slot: Slot,
    key: &EntityKey,
    after_version: u64,
    limit: usize,
    marks: &Marks,
) -> Result<Vec<JournalEntry>, AskError> {
    let entry = |record: &Record| {
        let events = record.events.iter().map(|e| spec.event_json(e)).collect::<Result<_, _>>();
        Ok(JournalEntry {
            version: record.version,
            at: Time(record.at_ms),
            request_id: RequestId(record.request),
            events: events.map_err(|_| AskError::Damaged)?,
        })
    };
    versions(journal, slot, key, after_version, limit, marks, entry).await
}

/// The records of an entity that have events, behind a version, each as `entry` shows it.
pub async fn versions<T>(
    journal: &dyn Journal,
    slot: Slot,
    key: &EntityKey,
    after_version: u64,
    limit: usize,
    marks: &Marks,
    entry: impl Fn(&Record) -> Result<T, AskError>,
) -> Result<Vec<T>, AskError> {
    let mut entries = Vec::new();
    // Every record above the version comes after those below it.
    let place = still_there(journal, slot, key, marks.place_below(key, after_version), marks).await?;
    let after_seq = place.map_or(0, |mark| mark.seq);
    let mut pages = Pages { journal, slot, key, marks, after_seq, read: 0, place: None };
    loop {
        let page = pages.next().await?;
        for record in page.iter().filter(|r| !r.events.is_empty() && r.version > after_version) {
            if entries.len() == limit {
                return Ok(entries);
            }
            entries.push(entry(record)?);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => marks.keep(key, Mark::after(last, None)),
            _ => return Ok(entries),
        }
    }
}

/// What a store's trouble means to someone who only read.
pub fn ask_error(error: StoreError) -> AskError {
    match error {
        StoreError::Damaged(what) => {
            tracing::error!(what, "stored data is damaged");
            AskError::Damaged
        }
        StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Fatal(_) => AskError::Unavailable,
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
pub(super) mod tests;
