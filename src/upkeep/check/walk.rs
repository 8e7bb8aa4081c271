//! The feed of a slot, from its first record to its head.

use std::collections::BTreeMap;

use super::{Asked, Findings, whole};
use crate::persistence::{EntityKey, Origin, OwedRow, Record, Slot, SlotHead, StoreError};
use crate::upkeep::PAGE;

/// So many problems of one feed are told: what follows the first is mostly the same.
const TOLD_MAX: usize = 20;

/// What a feed said.
pub struct Walked {
    pub records: u64,
    pub entities: BTreeMap<EntityKey, Seen>,
    /// Up to the head, with nothing that could not be read.
    pub is_whole: bool,
}

/// Where an entity stands by the feed.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub version: u64,
    pub last_seq: u64,
    pub records: u64,
    /// Over the bytes of all its records.
    pub checksum: u32,
    at_ms: i64,
    pub owed: Option<OwedRow>,
    pub wake_ms: Option<i64>,
    /// Per sending slot, the highest watermark that its receipts carry.
    pub watermarks: Vec<(Slot, u64)>,
}

/// Adds a record to the checksum of those before it.
pub fn checksum(so_far: u32, record: &Record) -> u32 {
    crc32c::crc32c_append(so_far, &record.encode())
}

/// An entity as people name it.
pub fn name(asked: &Asked<'_>, key: &EntityKey) -> String {
    match asked.kinds.by_number(key.kind) {
        Some(spec) => format!("{}/{}", spec.name(), key.id),
        None => format!("{}/{}", key.kind, key.id),
    }
}

pub async fn walk(
    asked: &Asked<'_>,
    slot: Slot,
    head: &SlotHead,
    findings: &mut Findings,
) -> Result<Walked, StoreError> {
    let mut walked = Walked { records: 0, entities: BTreeMap::new(), is_whole: true };
    let mut last = Last { seq: 0, epoch: 0, at_ms: 0 };
    while last.seq < head.seq && walked.is_whole {
        let page = asked.store.feed(slot, last.seq, PAGE).await;
        let Some(page) = whole(page, findings, format_args!("feed after sequence {}", last.seq))? else {
            walked.is_whole = false;
            break;
        };
        let before = last.seq;
        // What was written since the head was read is not looked at.
        for record in page.iter().take_while(|record| record.seq <= head.seq) {
            let is_next = record.seq == last.seq + 1;
            judge(asked, slot, head, record, &mut last, &mut walked, findings);
            if !is_next || findings.problems.len() >= TOLD_MAX {
                walked.is_whole = false;
                break;
            }
        }
        if walked.is_whole && last.seq == before {
            findings.tell_for_good("feed", format_args!("ends at sequence {before}, and the head says {}", head.seq));
            walked.is_whole = false;
        }
    }
    if walked.is_whole && last.at_ms != head.at_ms {
        findings.tell_for_good(
            "head",
            format_args!("the last record is of {}, and the head says {}", last.at_ms, head.at_ms),
        );
    }
    if walked.is_whole {
        let more = whole(asked.store.feed(slot, head.seq, 1).await, findings, "feed behind the head")?;
        if more.is_some_and(|page| !page.is_empty()) {
            findings.tell("head", format_args!("says that sequence {} is the last, and there is more", head.seq));
        }
    }
    Ok(walked)
}

/// The record before.
struct Last {
    seq: u64,
    epoch: u64,
    at_ms: i64,
}

fn judge(
    asked: &Asked<'_>,
    slot: Slot,
    head: &SlotHead,
    record: &Record,
    last: &mut Last,
    walked: &mut Walked,
    findings: &mut Findings,
) {
    let Record { seq, epoch, key, .. } = record;
    let place = || format!("sequence {seq}, {}", name(asked, key));
    if *seq != last.seq + 1 {
        findings.tell_for_good("feed", format_args!("sequence {seq} where {} is next", last.seq + 1));
    }
    if *epoch < last.epoch || *epoch == 0 || *epoch > head.epoch {
        let (before, head) = (last.epoch, head.epoch);
        findings.tell_for_good(place(), format_args!("epoch {epoch} after epoch {before}, and the slot is at {head}"));
    }
    let belongs = (asked.slot_of)(key.kind, &key.id, asked.store.slots());
    if record.slot != slot || belongs != slot {
        findings.tell_for_good(place(), format_args!("says slot {}, and belongs into slot {belongs}", record.slot));
    }
    if let Err(why) = record.check() {
        findings.tell_for_good(place(), why);
    }
    let seen = walked.entities.entry(key.clone()).or_default();
    let next = seen.version + u64::from(!record.events.is_empty());
    if record.version != next {
        findings.tell_for_good(place(), format_args!("version {} where {next} is next", record.version));
    }
    if record.at_ms < seen.at_ms {
        findings.tell_for_good(place(), "its time is before that of the entity's last record");
    }
    if let Some(change) = &record.owed {
        let before = seen.owed.as_ref().map(|row| row.due_ms);
        if change.before_due_ms != before {
            let said = change.before_due_ms;
            findings.tell_for_good(place(), format_args!("changes an owed row at {said:?}, and it is at {before:?}"));
        }
        seen.owed.clone_from(&change.after);
    }
    if let Some(change) = record.wake {
        let (said, before) = (change.before_ms, seen.wake_ms);
        if said != before {
            findings.tell_for_good(place(), format_args!("changes a wake row at {said:?}, and it is at {before:?}"));
        }
        seen.wake_ms = change.after_ms;
    }
    seen.note(record);
    walked.records += 1;
    *last = Last { seq: *seq, epoch: *epoch, at_ms: record.at_ms };
}

impl Seen {
    fn note(&mut self, record: &Record) {
        self.version = record.version;
        self.last_seq = record.seq;
        self.at_ms = record.at_ms;
        self.records += 1;
        self.checksum = checksum(self.checksum, record);
        let Some(receipt) = &record.receipt else { return };
        if let Origin::Owed { slot, watermark, .. } = receipt.origin {
            match self.watermarks.iter_mut().find(|(sender, _)| *sender == slot) {
                Some((_, known)) => *known = watermark.max(*known),
                None => self.watermarks.push((slot, watermark)),
            }
        }
    }
}
