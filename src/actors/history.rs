//! An entity's past, read from the journal: bringing it into memory, time travel, and its history as
//! operators see it. All of it runs off the slot's own time.

use crate::persistence::{EntityKey, Journal, Record, Slot, StoreError};

use super::client::JournalEntry;
use super::envelope::AskError;
use super::erased::{AnyState, KindSpec};
use super::values::{RequestId, Time};

/// Rows per page of an entity's records.
const PAGE: usize = 256;

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

/// Replays an entity: from its snapshot where that is not too new, else from its first record.
pub async fn replay(
    journal: &dyn Journal,
    spec: &dyn KindSpec,
    slot: Slot,
    key: &EntityKey,
    until: Until,
) -> Result<Past, AskError> {
    let (Until::Version(wanted) | Until::SettledFrom(wanted)) = until;
    let snapshot = journal.load(slot, key).await.map_err(ask_error)?.snapshot;
    let restored = snapshot.filter(|snapshot| snapshot.version <= wanted).and_then(|snapshot| {
        let past = Past { state: spec.restore(&snapshot.state)?, version: snapshot.version, at: Time(snapshot.at_ms) };
        Some((past, snapshot.seq))
    });
    let (mut past, mut after_seq) =
        restored.unwrap_or_else(|| (Past { state: spec.fresh(), version: 0, at: Time::ZERO }, 0));
    loop {
        let page = journal.records(slot, key, after_seq, PAGE).await.map_err(ask_error)?;
        for record in &page {
            let reached = match until {
                Until::Version(version) => record.version > version,
                Until::SettledFrom(version) => past.version >= version && past.state.settled(),
            };
            if reached {
                return Ok(past);
            }
            apply(&mut *past.state, record)?;
            past.version = record.version;
            past.at = Time(record.at_ms);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after_seq = last.seq,
            _ => return Ok(past),
        }
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
) -> Result<Vec<JournalEntry>, AskError> {
    let mut entries = Vec::new();
    let mut after_seq = 0;
    loop {
        let page = journal.records(slot, key, after_seq, PAGE).await.map_err(ask_error)?;
        for record in page.iter().filter(|r| !r.events.is_empty() && r.version > after_version) {
            if entries.len() == limit {
                return Ok(entries);
            }
            let events = record.events.iter().map(|e| spec.event_json(e)).collect::<Result<_, _>>();
            entries.push(JournalEntry {
                version: record.version,
                at: Time(record.at_ms),
                request_id: RequestId(record.request),
                events: events.map_err(|_| AskError::Damaged)?,
            });
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after_seq = last.seq,
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
