//! Appending: what a batch comes to in arguments of the script, and its answers in refusals.
//!
//! What a batch says of itself (that its records follow each other) is judged here, what it says of the store
//! in the script, and the first reason counts, as in [`crate::persistence::admission`].

use std::collections::{BTreeMap, HashMap};

use redis::{Cmd, Value};

use super::keys::{self, Keys, OWED, WAKES};
use super::link::Trouble;
use super::scripts::{self, Name};
use super::values::{list, text};
use crate::persistence::bytes::{put_owed_row, put_u32};
use crate::persistence::{Batch, EntityKey, Origin, OwedRow, Record, Refusal, Slot, Snapshot, StoreError};

/// Records of one call of the script: while it runs, the server does nothing else.
const CALL_RECORDS_MAX: usize = 4_096;
/// No version and no sequence is this.
const NONE: &str = "-";

/// What of a batch is one slot's.
#[derive(Default)]
pub(super) struct Group<'a> {
    slot: Slot,
    records: Vec<&'a Record>,
    snapshots: Vec<&'a Snapshot>,
    /// How many of the records follow each other, and why the next one does not.
    sound: usize,
    wrong: Option<Wrong>,
    /// In the order of their first records: that one, and the version that the last one makes.
    entities: Vec<(&'a Record, u64)>,
}

enum Wrong {
    /// A record is of another epoch than those before it.
    Epoch,
    Refused(Refusal),
}

/// Splits a batch by slots. Those that the store does not have are refused at once.
pub(super) fn group(batch: &Batch, slots: Slot) -> (Vec<Group<'_>>, BTreeMap<Slot, Refusal>) {
    let mut groups: BTreeMap<Slot, Group<'_>> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for record in &batch.records {
        if record.slot >= slots {
            let why = Refusal::Rejected(format!("the store has no slot {}", record.slot));
            refused.insert(record.slot, why);
            continue;
        }
        groups.entry(record.slot).or_default().records.push(record);
    }
    for snapshot in batch.snapshots.iter().filter(|snapshot| snapshot.slot < slots && snapshot.check().is_ok()) {
        groups.entry(snapshot.slot).or_default().snapshots.push(snapshot);
    }
    let judged = groups.into_iter().map(|(slot, mut group)| {
        group.slot = slot;
        group.judge();
        group
    });
    (judged.collect(), refused)
}

/// The calls that a batch takes: one for all slots where one server has them, else one for each.
pub(super) fn calls<'g, 'a>(groups: &'g [Group<'a>], is_cluster: bool) -> Vec<&'g [Group<'a>]> {
    let mut calls = Vec::new();
    let (mut start, mut records) = (0, 0);
    for (n, group) in groups.iter().enumerate() {
        let full = is_cluster || records + group.records.len() > CALL_RECORDS_MAX;
        if n > start && full {
            calls.push(&groups[start..n]);
            (start, records) = (n, 0);
        }
        records += group.records.len();
    }
    if start < groups.len() {
        calls.push(&groups[start..]);
    }
    calls
}

/// The command of one call. `number` is the batch's own, so that it is known when it comes a second time.
pub(super) fn command(owner: &str, number: &[u8; 16], groups: &[Group<'_>], keys: &Keys) -> Cmd {
    let mut command = scripts::call(Name::Append, groups.len());
    groups.iter().for_each(|group| {
        command.arg(keys.head(group.slot));
    });
    command.arg(owner).arg(number);
    for group in groups {
        let arguments = group.arguments();
        command.arg(arguments.0.len() + 1);
        arguments.0.iter().for_each(|argument| {
            command.arg(argument);
        });
    }
    command
}

/// What the script said of each slot of a call.
pub(super) fn answers(groups: &[Group<'_>], answer: Value) -> Result<Vec<(Slot, Refusal)>, Trouble> {
    let odd = || Trouble::Failed("the append script answers in another language".to_owned());
    let answers = list(answer).map_err(|_| odd())?;
    if answers.len() != groups.len() {
        return Err(odd());
    }
    let mut refused = Vec::new();
    for (group, answer) in groups.iter().zip(answers) {
        let answer = text(answer).map_err(|_| odd())?;
        if answer != "ok" {
            refused.push((group.slot, group.refusal(&answer).ok_or_else(odd)?));
        }
    }
    Ok(refused)
}

/// A whole slot that the server that has it would not take: nothing of it was written.
pub(super) fn unavailable(groups: &[Group<'_>], why: &str) -> Vec<(Slot, Refusal)> {
    groups.iter().map(|group| (group.slot, Refusal::Rejected(format!("unavailable: {why}")))).collect()
}

impl<'a> Group<'a> {
    /// Finds the first record that does not follow those before it.
    fn judge(&mut self) {
        let mut places: HashMap<&EntityKey, usize> = HashMap::with_capacity(self.records.len());
        for n in 0..self.records.len() {
            let record = self.records[n];
            if let Err(wrong) = self.follow(n, record, &mut places) {
                self.wrong = Some(wrong);
                return;
            }
            self.sound = n + 1;
        }
    }

    fn follow(
        &mut self,
        n: usize,
        record: &'a Record,
        places: &mut HashMap<&'a EntityKey, usize>,
    ) -> Result<(), Wrong> {
        if record.epoch != self.records[0].epoch {
            return Err(Wrong::Epoch);
        }
        record.check().map_err(|why| Wrong::Refused(Refusal::Rejected(why)))?;
        if n > 0 {
            let next = self.records[n - 1].seq.saturating_add(1);
            if record.seq != next {
                return Err(Wrong::Refused(out_of_sequence(record, next)));
            }
        }
        match places.get(&record.key) {
            Some(place) => {
                let next = self.entities[*place].1.saturating_add(raises(record));
                if record.version != next {
                    return Err(Wrong::Refused(out_of_version(record, next)));
                }
                self.entities[*place].1 = next;
            }
            None => {
                places.insert(&record.key, self.entities.len());
                self.entities.push((record, record.version));
            }
        }
        Ok(())
    }

    fn arguments(&self) -> Arguments {
        let mut out = Arguments::default();
        let Some(first) = self.records.first() else {
            ["", "", "", "", "", "0"].into_iter().for_each(|none| out.put(none));
            self.snapshots.iter().for_each(|snapshot| out.snapshot(snapshot));
            return out;
        };
        let last = self.records[self.records.len() - 1];
        out.put(first.epoch.to_string());
        match (self.sound, first.seq.checked_sub(1)) {
            (0, _) => out.put(""),
            (_, Some(before)) => out.put(before.to_string()),
            (_, None) => out.put(NONE),
        }
        out.put(last.seq.to_string());
        out.put(last.at_ms.to_string());
        out.put(match self.wrong {
            None => "",
            Some(Wrong::Epoch) => "f",
            Some(Wrong::Refused(_)) => "w",
        });
        out.put(self.entities.len().to_string());
        for (first, after) in &self.entities {
            out.put(keys::entity(&first.key));
            out.put(first.version.checked_sub(raises(first)).map_or(NONE.to_owned(), |before| before.to_string()));
            out.put(after.to_string());
        }
        if self.wrong.is_none() {
            self.records.iter().for_each(|record| out.record(record));
            self.snapshots.iter().for_each(|snapshot| out.snapshot(snapshot));
        }
        out
    }

    fn refusal(&self, answer: &str) -> Option<Refusal> {
        let (kind, rest) = (answer.get(..1)?, answer.get(1..)?);
        match kind {
            "f" => Some(Refusal::Fenced { current: rest.parse().ok()? }),
            "s" => Some(out_of_sequence(self.records.first()?, rest.parse::<u64>().ok()?.saturating_add(1))),
            "v" => {
                let (place, present) = rest.split_once(':')?;
                let (record, _) = self.entities.get(place.parse::<usize>().ok()?)?;
                Some(out_of_version(record, present.parse::<u64>().ok()?.saturating_add(raises(record))))
            }
            "w" => match self.wrong.as_ref()? {
                Wrong::Refused(refusal) => Some(refusal.clone()),
                Wrong::Epoch => None,
            },
            _ => None,
        }
    }
}

/// By how much a record raises its entity's version.
fn raises(record: &Record) -> u64 {
    u64::from(!record.events.is_empty())
}

fn out_of_sequence(record: &Record, next: u64) -> Refusal {
    Refusal::Conflict(format!("slot {}: sequence {} where {next} is next", record.slot, record.seq))
}

fn out_of_version(record: &Record, next: u64) -> Refusal {
    let EntityKey { kind, id } = &record.key;
    Refusal::Conflict(format!("entity {kind}/{id}: version {} where {next} is next", record.version))
}

/// Arguments of the script, as its head lists them.
#[derive(Default)]
struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    fn put(&mut self, argument: impl Into<Vec<u8>>) {
        self.0.push(argument.into());
    }

    fn record(&mut self, record: &Record) {
        let key = &record.key;
        self.put("r");
        self.put(keys::entity(key));
        self.put(record.seq.to_string());
        self.put(record.encode());
        self.receipt(record);
        if let Some(change) = &record.owed {
            if let Some(due_ms) = change.before_due_ms {
                self.row("-", OWED, due_ms, key);
            }
            match &change.after {
                Some(row) => {
                    self.row("+", OWED, row.due_ms, key);
                    self.put("d");
                    self.put(keys::entity(key));
                    self.put(owed_row(row));
                }
                None => {
                    self.put("D");
                    self.put(keys::entity(key));
                }
            }
        }
        if let Some(change) = record.wake {
            if let Some(due_ms) = change.before_ms {
                self.row("-", WAKES, due_ms, key);
            }
            if let Some(due_ms) = change.after_ms {
                self.row("+", WAKES, due_ms, key);
            }
        }
    }

    fn row(&mut self, change: &str, index: &str, due_ms: i64, key: &EntityKey) {
        self.put(change);
        self.put(index);
        self.put(keys::due(due_ms, key));
    }

    fn receipt(&mut self, record: &Record) {
        let Some(receipt) = &record.receipt else { return };
        let name = keys::receipt(&record.key, &record.request);
        match receipt.origin {
            Origin::Client { expires_ms } => {
                self.put("c");
                self.put(name);
                self.put(record.seq.to_string());
                self.put(expires_ms.to_string());
            }
            Origin::Owed { slot, number, watermark } => {
                let from = |number| keys::owed_receipt(&record.key, slot, number);
                self.put("o");
                self.put(name);
                self.put(record.seq.to_string());
                self.put([from(number), record.request.to_vec()].concat());
                // Not its own, though its number be below its watermark: it is a receipt to be found.
                self.put(keys::including(&from(0)));
                self.put(keys::excluding(&from(watermark.min(number))));
            }
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        self.put("p");
        self.put(keys::entity(&snapshot.key));
        self.put(snapshot.seq.to_string());
        self.put(snapshot.encode());
    }
}

/// The bytes of a row of the owed index, with a checksum.
fn owed_row(row: &OwedRow) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_owed_row(&mut bytes, row);
    let checksum = crc32c::crc32c(&bytes);
    put_u32(&mut bytes, checksum);
    bytes
}

/// Reads what [`owed_row`] gave.
pub(super) fn owed_row_of(bytes: &[u8], slot: Slot) -> Result<OwedRow, StoreError> {
    use crate::persistence::bytes::{FrameError, Reader};
    let read = || {
        let whole = Reader { bytes, at: 0 };
        whole.need(4, "checksum")?;
        let (body, checksum) = bytes.split_at(bytes.len() - 4);
        let expected = Reader { bytes: checksum, at: 0 }.u32("checksum")?;
        let found = crc32c::crc32c(body);
        if found != expected {
            return Err(FrameError::Checksum { expected, found });
        }
        let mut reader = Reader { bytes: body, at: 0 };
        let row = reader.owed_row()?;
        reader.finish()?;
        Ok(row)
    };
    read().map_err(|error| error.damaged_at(format!("an owed row of slot {slot}")))
}
