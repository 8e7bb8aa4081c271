//! Whether an entity is what its events say: they are replayed from the first, and the state in memory and the snapshot are
//! compared with what they come to.
//!
//! The state comes from the slot that has the entity, wherever that is; the events and the snapshot come from the store. It
//! changes nothing but that the entity is in memory afterwards. Whole stores at rest are verified by `upkeep`.

use serde::Serialize;
use serde_json::Value;

use super::envelope::{AskError, Reply, Residence};
use super::erased::{AnyState, KindSpec};
use super::history::{apply, ask_error};
use super::marks::Marks;
use crate::persistence::{EntityKey, Journal, Payload, Record, Slot, Snapshot, StoreError};

/// Records that are read at once.
const PAGE: usize = 256;
/// Places at which two states differ that are told.
const PLACES_MAX: usize = 20;

/// What was found of an entity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// Whether everything that was compared agrees, and nothing is wrong.
    pub agrees: bool,
    /// The version to which the events were replayed.
    pub version: u64,
    /// Records of the entity, and events in them.
    pub records: u64,
    pub events: u64,
    /// The state that its slot serves.
    pub served: Compared,
    pub snapshot: Compared,
    /// Names of invariants that the replayed state breaks.
    pub violations: Vec<&'static str>,
    /// What is wrong with the records themselves.
    pub faults: Vec<String>,
}

/// How a state stands to what the events come to at its version.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Compared {
    /// There is none.
    None,
    Agrees {
        version: u64,
    },
    Differs {
        version: u64,
        /// JSON pointers into the state as operators see it; empty where what differs is not shown.
        at: Vec<String>,
    },
    /// It is of a version of the state that this node does not read, or too large to be brought here.
    NotCompared {
        version: u64,
    },
    /// It cannot be brought into memory.
    NotLoaded {
        why: String,
    },
}

/// A state that is to be compared, and what came of it.
struct Claim {
    version: u64,
    state: Option<(Payload, Value)>,
    compared: Option<Compared>,
}

impl Claim {
    fn of_snapshot(spec: &dyn KindSpec, snapshot: &Snapshot) -> Claim {
        let restored = spec.restore(&snapshot.state);
        let state = restored.map(|state| (state.snapshot(), state.json()));
        Claim { version: snapshot.version, state, compared: None }
    }

    fn of_served(spec: &dyn KindSpec, reply: &Reply, residence: &Residence) -> Claim {
        let payload = reply.state.as_ref().and_then(|state| spec.state_payload(state));
        let state = payload.map(|payload| (payload, residence.state.clone()));
        Claim { version: reply.version, state, compared: None }
    }

    /// The replay has come to a version. The first record of it counts: others of the same version have no events.
    fn meet(&mut self, version: u64, state: &dyn AnyState) {
        if version != self.version || self.compared.is_some() {
            return;
        }
        self.compared = Some(match &self.state {
            None => Compared::NotCompared { version },
            Some((payload, _)) if *payload == state.snapshot() => Compared::Agrees { version },
            Some((_, json)) => {
                let mut at = Vec::new();
                differences(json, &state.json(), String::new(), &mut at);
                Compared::Differs { version, at }
            }
        });
    }

    /// The end of the replay: a version that was never met is not in the journal.
    fn end(self, faults: &mut Vec<String>, what: &str) -> Compared {
        let Claim { version, compared, .. } = self;
        compared.unwrap_or_else(|| {
            faults.push(format!("the {what} is at version {version}, which the journal does not have"));
            Compared::Differs { version, at: Vec::new() }
        })
    }
}

/// Verifies an entity. `served`: what its slot has answered, or why it could not.
pub async fn verify(
    journal: &dyn Journal,
    spec: &dyn KindSpec,
    slot: Slot,
    key: &EntityKey,
    snapshot: Result<Option<Snapshot>, StoreError>,
    served: Result<Reply, AskError>,
    marks: &Marks,
) -> Result<Verification, AskError> {
    let mut replay = Replay { state: spec.fresh(), version: 0, records: 0, events: 0, faults: Vec::new() };
    let snapshot = match snapshot {
        Err(StoreError::Damaged(why)) => replay.cannot_go_on(format!("the snapshot cannot be read: {why}")),
        snapshot => snapshot.map_err(ask_error)?,
    };
    let mut snapshot = snapshot.as_ref().map(|snapshot| Claim::of_snapshot(spec, snapshot));
    let mut loaded = match &served {
        Ok(reply) => reply.residence.as_deref().map(|residence| Claim::of_served(spec, reply, residence)),
        Err(_) => None,
    };
    // What came behind what is compared is of no interest. Where nothing is served, everything is.
    let until = loaded.as_ref().map(|served| served.version.max(snapshot.as_ref().map_or(0, |it| it.version)));
    let compared = [&mut snapshot, &mut loaded].into_iter().flatten();
    compared.for_each(|claim| claim.meet(0, &*replay.state));
    let _place = marks.long_replay().await;
    let mut after_seq = 0;
    'pages: loop {
        let page = match journal.records(slot, key, after_seq, PAGE).await {
            Err(StoreError::Damaged(why)) => {
                let why = format!("the records behind sequence {after_seq} cannot be read: {why}");
                replay.cannot_go_on(why).unwrap_or_default()
            }
            page => page.map_err(ask_error)?,
        };
        marks.count_read(page.len());
        for record in &page {
            if until.is_some_and(|until| record.version > until) || !replay.take(record) {
                break 'pages;
            }
            for claim in [&mut snapshot, &mut loaded].into_iter().flatten() {
                claim.meet(replay.version, &*replay.state);
            }
            after_seq = record.seq;
        }
        if page.len() < PAGE {
            break;
        }
    }
    let Replay { state, version, records, events, mut faults } = replay;
    let snapshot = snapshot.map_or(Compared::None, |claim| claim.end(&mut faults, "snapshot"));
    let served = match (loaded, served) {
        (Some(claim), _) => claim.end(&mut faults, "state that is served"),
        (None, Err(error)) => Compared::NotLoaded { why: error.to_string() },
        (None, Ok(_)) => Compared::None,
    };
    let violations = state.violations();
    let is_well = |compared: &Compared| !matches!(compared, Compared::Differs { .. } | Compared::NotLoaded { .. });
    let agrees = is_well(&served) && is_well(&snapshot) && violations.is_empty() && faults.is_empty();
    Ok(Verification { agrees, version, records, events, served, snapshot, violations, faults })
}

struct Replay {
    state: Box<dyn AnyState>,
    version: u64,
    records: u64,
    events: u64,
    faults: Vec<String>,
}

impl Replay {
    /// Notes what is wrong, in the place of what is missing.
    fn cannot_go_on<T>(&mut self, why: String) -> Option<T> {
        self.faults.push(why);
        None
    }

    /// `false`: it cannot go on.
    fn take(&mut self, record: &Record) -> bool {
        let expected = self.version + u64::from(!record.events.is_empty());
        if record.version != expected {
            let (seq, version) = (record.seq, record.version);
            self.faults.push(format!("the record at sequence {seq} has version {version}, not {expected}"));
        }
        if apply(&mut *self.state, record).is_err() {
            self.faults.push(format!("an event of version {} cannot be read", record.version));
            return false;
        }
        self.records += 1;
        self.events += record.events.len() as u64;
        self.version = record.version;
        self.faults.len() < PLACES_MAX
    }
}

/// The places at which two values differ, at most so many.
fn differences(one: &Value, other: &Value, place: String, found: &mut Vec<String>) {
    if one == other || found.len() >= PLACES_MAX {
        return;
    }
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
            for name in names {
                let at = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                let null = &Value::Null;
                differences(one.get(name).unwrap_or(null), other.get(name).unwrap_or(null), at, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (n, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, format!("{place}/{n}"), found);
            }
        }
        (one, other) if one != other => found.push(place),
        (_, _) => {}
    }
}

#[cfg(test)]
#[path = "verifying_tests.rs"]
mod tests;
