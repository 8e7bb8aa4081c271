//! One entity by itself: its records against the feed's, its snapshot, receipts and index rows against what its
//! events come to.

use super::walk::{Seen, checksum, name};
use super::{Asked, Counts, Findings, whole};
use crate::actors::runtime::erased::{AnyState, KindSpec};
use crate::actors::values::Time;
use crate::persistence::{EntityKey, History, Origin, OwedRow, Record, Slot, Snapshot, StoreError};
use crate::upkeep::PAGE;

/// An entity while it is replayed.
struct Replayed<'a> {
    spec: Option<&'a dyn KindSpec>,
    /// `None` once an event could not be read.
    state: Option<Box<dyn AnyState>>,
    records: u64,
    checksum: u32,
    last_seq: u64,
    owed: Option<OwedRow>,
    wake_ms: Option<i64>,
    snapshot: Option<Snapshot>,
    /// What a load gives behind the snapshot, and whether it says that there is more.
    tail: std::collections::VecDeque<Record>,
    tail_has_more: bool,
    tail_from: u64,
}

pub async fn check(
    asked: &Asked<'_>,
    slot: Slot,
    key: &EntityKey,
    seen: &Seen,
) -> Result<(Counts, Findings), StoreError> {
    let mut findings = Findings::of(slot);
    let mut counts = Counts::default();
    let place = name(asked, key);
    if asked.store.has_nothing(slot, key) {
        findings.tell(&place, "the store says that it has no record");
    }
    let Some(history) = whole(asked.store.load(slot, key).await, &mut findings, &place)? else {
        return Ok((counts, findings));
    };
    counts.snapshots = u64::from(history.snapshot.is_some());
    counts.snapshots_unused = history.snapshot.iter().filter(|snapshot| !is_read(asked, snapshot)).count() as u64;
    let mut replayed = Replayed::begin(asked, key, history);
    if replayed.spec.is_none() {
        findings.tell(&place, format_args!("this souk knows no kind {}: is it older than the store?", key.kind));
    }
    loop {
        let page = asked.store.records(slot, key, replayed.last_seq, PAGE).await;
        let Some(page) = whole(page, &mut findings, &place)? else { return Ok((counts, findings)) };
        for record in page.iter().take_while(|record| record.seq <= seen.last_seq) {
            if record.seq <= replayed.last_seq || record.key != *key || record.slot != slot {
                findings.tell(&place, format_args!("its records are out of order at sequence {}", record.seq));
                return Ok((counts, findings));
            }
            counts.events += record.events.len() as u64;
            replayed.apply(record, &place, &mut findings);
            counts.receipts += receipt(asked, slot, record, seen, &place, &mut findings).await?;
        }
        if page.len() < PAGE || page.last().is_some_and(|last| last.seq >= seen.last_seq) {
            break;
        }
    }
    replayed.end(seen, &place, &mut findings);
    Ok((counts, findings))
}

fn is_read(asked: &Asked<'_>, snapshot: &Snapshot) -> bool {
    asked.kinds.by_number(snapshot.key.kind).is_some_and(|spec| spec.restore(&snapshot.state).is_some())
}

/// Looks for a receipt, if it must be there; the answer is how many were looked for.
async fn receipt(
    asked: &Asked<'_>,
    slot: Slot,
    record: &Record,
    seen: &Seen,
    place: &str,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let Some(receipt) = &record.receipt else { return Ok(0) };
    let may_be_forgotten = match receipt.origin {
        Origin::Client { expires_ms } => expires_ms <= asked.now_ms,
        Origin::Owed { slot: sender, number, .. } => {
            seen.watermarks.iter().any(|(slot, watermark)| *slot == sender && *watermark > number)
        }
    };
    if may_be_forgotten {
        return Ok(0);
    }
    let found = asked.store.find_receipt(slot, &record.key, &record.request).await;
    let Some(found) = whole(found, findings, place)? else { return Ok(1) };
    let fits = |found: &Record| {
        let same = (&found.key, found.request) == (&record.key, record.request);
        same && found.receipt.is_some() && (found.seq > record.seq || found == record)
    };
    match found {
        Some(found) if fits(&found) => {}
        Some(found) => {
            let (at, instead) = (record.seq, found.seq);
            findings.tell(place, format_args!("the receipt of sequence {at} is sought, and {instead} is found"));
        }
        None => findings.tell(place, format_args!("the receipt of sequence {} is not found", record.seq)),
    }
    Ok(1)
}

impl<'a> Replayed<'a> {
    fn begin(asked: &Asked<'a>, key: &EntityKey, history: History) -> Replayed<'a> {
        let History { snapshot, records, more } = history;
        let spec = asked.kinds.by_number(key.kind);
        Replayed {
            spec,
            state: spec.map(KindSpec::fresh),
            records: 0,
            checksum: 0,
            last_seq: 0,
            owed: None,
            wake_ms: None,
            tail_from: snapshot.as_ref().map_or(0, |snapshot| snapshot.seq),
            snapshot,
            tail: records.into(),
            tail_has_more: more,
        }
    }

    fn apply(&mut self, record: &Record, place: &str, findings: &mut Findings) {
        let seq = record.seq;
        self.records += 1;
        self.checksum = checksum(self.checksum, record);
        self.last_seq = seq;
        if let Some(change) = &record.owed {
            self.owed.clone_from(&change.after);
        }
        if let Some(change) = record.wake {
            self.wake_ms = change.after_ms;
        }
        for event in &record.events {
            let Some(state) = &mut self.state else { break };
            if let Err(error) = state.replay(event, Time(record.at_ms)) {
                findings.tell(place, format_args!("an event of sequence {seq} cannot be read: {error}"));
                self.state = None;
            }
        }
        if let (Some(spec), Some(receipt)) = (self.spec, &record.receipt)
            && let Err(error) = spec.outcome(&receipt.outcome)
        {
            findings.tell(place, format_args!("the outcome of sequence {seq} cannot be read: {error}"));
        }
        if let Some(snapshot) = self.snapshot.take_if(|snapshot| snapshot.seq == seq) {
            self.compare(&snapshot, record, place, findings);
        }
        if seq > self.tail_from {
            match self.tail.pop_front() {
                Some(loaded) if loaded == *record => {}
                None if self.tail_has_more => {}
                Some(_) | None => findings.tell(place, format_args!("a load does not give sequence {seq}")),
            }
        }
    }

    /// A snapshot against what the events came to at its record.
    fn compare(&self, snapshot: &Snapshot, record: &Record, place: &str, findings: &mut Findings) {
        let seq = snapshot.seq;
        let mut differs = |what: &str| {
            findings.tell(place, format_args!("the snapshot at sequence {seq} has another {what} than its records"));
        };
        if snapshot.version != record.version {
            differs("version");
        }
        if snapshot.at_ms != record.at_ms {
            differs("time");
        }
        if snapshot.owed != self.owed {
            differs("owed row");
        }
        if snapshot.wake_ms != self.wake_ms {
            differs("wake row");
        }
        let Some((spec, state)) = self.spec.zip(self.state.as_ref()) else { return };
        // One of another version is not used, so it need not fit.
        let present = spec.fresh().snapshot();
        let is_present = (snapshot.state.type_number, snapshot.state.version) == (present.type_number, present.version);
        let agrees = match spec.restore(&snapshot.state) {
            Some(restored) => restored.snapshot() == state.snapshot(),
            None => !is_present,
        };
        if !agrees {
            differs("state");
        }
    }

    fn end(self, seen: &Seen, place: &str, findings: &mut Findings) {
        if (self.records, self.checksum) != (seen.records, seen.checksum) {
            let (listed, fed) = (self.records, seen.records);
            findings.tell(place, format_args!("its list has {listed} records, and not the {fed} of the slot's feed"));
            return;
        }
        if let Some(snapshot) = self.snapshot.filter(|snapshot| snapshot.seq <= seen.last_seq) {
            findings.tell(place, format_args!("its snapshot is of sequence {}, which is not its", snapshot.seq));
        }
        let Some(state) = self.state else { return };
        let owes: Vec<String> = state.owed().into_iter().map(|owed| owed.key).collect();
        let row = seen.owed.iter().flat_map(|row| row.items.iter().map(|item| &item.key));
        if !row.clone().eq(owes.iter()) {
            let row: Vec<&String> = row.collect();
            findings.tell(place, format_args!("owes {owes:?} by its state, and {row:?} by its last record"));
        }
        let wants = state.wake_at().map(|at| at.0);
        let is_early_enough = match (seen.wake_ms, wants) {
            (None, None) => true,
            (Some(row), Some(wants)) => row <= wants,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !is_early_enough {
            let row = seen.wake_ms;
            findings.tell(place, format_args!("is to be woken at {wants:?} by its state, and {row:?} by its records"));
        }
        for broken in state.violations() {
            findings.tell(place, format_args!("an invariant is broken: {broken}"));
        }
    }
}
