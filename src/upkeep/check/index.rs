//! The indexes against what the feeds said: who owes, who is to be woken, which entities there are.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::walk::{Seen, name};
use super::{Asked, Findings, whole};
use crate::persistence::{EntityKey, OwedRow, Slot, StoreError};
use crate::upkeep::PAGE;

/// Listed ids of a kind that are looked up when its list is wrong.
const LOOKED_UP_MAX: u64 = 100_000;

type Place = (i64, EntityKey);

/// Holds a slot's owed rows against the feed's; the answer is how many there are.
pub async fn owed(
    asked: &Asked<'_>,
    slot: Slot,
    entities: &BTreeMap<EntityKey, Seen>,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let rows = entities.iter().filter_map(|(key, seen)| Some((key, seen.owed.as_ref()?)));
    let mut expected: BTreeMap<Place, &OwedRow> = rows.map(|(key, row)| ((row.due_ms, key.clone()), row)).collect();
    let count = expected.len() as u64;
    let mut after: Option<Place> = None;
    loop {
        let Some(page) = whole(asked.store.owed(slot, after.clone(), PAGE).await, findings, "owed index")? else {
            return Ok(count);
        };
        let is_last = page.len() < PAGE;
        for (key, row) in page {
            let place = (row.due_ms, key);
            if after.as_ref().is_some_and(|after| *after >= place) {
                findings.tell("owed index", "is out of order");
                return Ok(count);
            }
            if expected.remove(&place).is_none_or(|expected| *expected != row) {
                let what = format_args!("the owed index has it at {} with what it does not owe", row.due_ms);
                findings.tell(name(asked, &place.1), what);
            }
            after = Some(place);
        }
        if is_last {
            break;
        }
    }
    for (due_ms, key) in expected.into_keys() {
        findings.tell(name(asked, &key), format_args!("owes since {due_ms}, and the owed index does not say so"));
    }
    Ok(count)
}

/// The same for wakes.
pub async fn wakes(
    asked: &Asked<'_>,
    slot: Slot,
    entities: &BTreeMap<EntityKey, Seen>,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let rows = entities.iter().filter_map(|(key, seen)| Some((seen.wake_ms?, key.clone())));
    let mut expected: std::collections::BTreeSet<Place> = rows.collect();
    let count = expected.len() as u64;
    let mut after: Option<Place> = None;
    loop {
        let Some(page) = whole(asked.store.wakes(slot, after.clone(), PAGE).await, findings, "wake index")? else {
            return Ok(count);
        };
        let is_last = page.len() < PAGE;
        for row in page {
            let place = (row.due_ms, row.key);
            if after.as_ref().is_some_and(|after| *after >= place) {
                findings.tell("wake index", "is out of order");
                return Ok(count);
            }
            if !expected.remove(&place) {
                let what = format_args!("the wake index has it at {}, and its records do not", place.0);
                findings.tell(name(asked, &place.1), what);
            }
            after = Some(place);
        }
        if is_last {
            break;
        }
    }
    for (due_ms, key) in expected {
        findings
            .tell(name(asked, &key), format_args!("is to be woken at {due_ms}, and the wake index has no such row"));
    }
    Ok(count)
}

/// A set of ids, in a few bytes: their number and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    count: u64,
    sum: u128,
}

impl Tally {
    pub fn add(&mut self, id: &str) {
        let hash = Sha256::digest(id.as_bytes());
        let (first, _) = hash.split_first_chunk().expect("32 bytes");
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(*first));
    }
}

/// What the lists of entities must hold, by kind.
#[derive(Default)]
pub struct Lists(BTreeMap<u8, Tally>);

impl Lists {
    pub fn add(&mut self, kind: u8, tally: Tally) {
        let known = self.0.entry(kind).or_default();
        known.count += tally.count;
        known.sum = known.sum.wrapping_add(tally.sum);
    }
}

/// Holds the list of each kind against what the feeds of all slots had.
pub async fn lists(asked: &Asked<'_>, expected: &Lists, findings: &mut Findings) -> Result<(), StoreError> {
    for kind in 0..=u8::MAX {
        let place = asked.kinds.by_number(kind).map_or_else(|| format!("kind {kind}"), |spec| spec.name().to_owned());
        let place = format!("list of {place}");
        let Some(listed) = list(asked, kind, false, &place, findings).await? else { continue };
        let fed = expected.0.get(&kind).copied().unwrap_or_default();
        if listed == fed {
            continue;
        }
        let (listed, fed) = (listed.count, fed.count);
        findings.tell(&place, format_args!("has {listed} entities, and not the {fed} of the slots' feeds"));
        if listed <= LOOKED_UP_MAX {
            list(asked, kind, true, &place, findings).await?;
        }
    }
    Ok(())
}

/// Reads a list; if wished, tells of each entity that has no record. `None`: it is damaged, which was told.
async fn list(
    asked: &Asked<'_>,
    kind: u8,
    look_up: bool,
    place: &str,
    findings: &mut Findings,
) -> Result<Option<Tally>, StoreError> {
    let mut tally = Tally::default();
    let mut after: Option<String> = None;
    loop {
        let page = asked.store.entities(kind, after.as_deref(), PAGE).await;
        let Some(page) = whole(page, findings, place)? else { return Ok(None) };
        for id in &page {
            if after.as_deref().is_some_and(|after| after >= &**id) {
                findings.tell(place, format_args!("is out of order at {id}"));
                return Ok(None);
            }
            tally.add(id);
            after = Some(id.to_string());
            if look_up {
                let key = EntityKey { kind, id: id.clone() };
                let slot = (asked.slot_of)(kind, id, asked.store.slots());
                let records = whole(asked.store.records(slot, &key, 0, 1).await, findings, place)?;
                if records.is_some_and(|records| records.is_empty()) {
                    findings.tell(place, format_args!("names {id}, which has no record"));
                }
            }
        }
        if page.len() < PAGE {
            return Ok(Some(tally));
        }
    }
}
