//! Appending: what a batch comes to in arguments of the script, and its answers in refusals.
//!
//! What a batch says of itself (that its records follow each other) is judged here, what it says of the store
//! in the script, and the first reason counts, as in [`crate::persistence::admission`].

use std::collections::{BTreeMap, HashMap};

use redis::{Cmd, Value};

use super::keys::{self, Keys};
use super::link::Trouble;
use super::scripts::{self, Name};
use super::values::{list, number, text};
use super::writes::Writes;
use crate::persistence::{Batch, EntityKey, Record, Refusal, Slot, Snapshot};

/// Records of one call of the script: while it runs, the server does nothing else.
const CALL_RECORDS_MAX: usize = 4_096;
/// No version is this.
const NO_VERSION: &str = "-";
/// In place of the sequence that a head must have: any is right, none is.
const ANY_SEQ: &str = "-";
const NO_SEQ: &str = "!";

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
        let arguments = group.arguments(owner, number);
        command.arg(arguments.len() + 1);
        arguments.iter().for_each(|argument| {
            command.arg(argument);
        });
    }
    command
}

/// What the script said of the slots of a call: place and reason of each that is refused.
pub(super) fn answers(groups: &[Group<'_>], answer: Value) -> Result<Vec<(Slot, Refusal)>, Trouble> {
    let odd = || Trouble::Failed("the append script answers in another language".to_owned());
    let mut answers = list(answer).map_err(|_| odd())?.into_iter();
    let mut refused = Vec::new();
    while let (Some(place), Some(why)) = (answers.next(), answers.next()) {
        let place: usize = number(place).map_err(|_| odd())?;
        let (group, why) = (groups.get(place).ok_or_else(odd)?, text(why).map_err(|_| odd())?);
        refused.push((group.slot, group.refusal(&why).ok_or_else(odd)?));
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

    /// What the script gets of this slot, as its head says.
    fn arguments(&self, owner: &str, number: &[u8; 16]) -> Vec<Vec<u8>> {
        let mut out: Vec<Vec<u8>> = Vec::with_capacity(16 + 8 * self.records.len());
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else {
            out.extend(["", "", "0"].map(Vec::from));
            Writes::of(&[], &self.snapshots).put(&mut out);
            return out;
        };
        let before = match (self.sound, first.seq.checked_sub(1)) {
            (0, _) => ANY_SEQ.to_owned(),
            (_, Some(before)) => before.to_string(),
            (_, None) => NO_SEQ.to_owned(),
        };
        out.push(format!("{}:{before}:{owner}", first.epoch).into());
        out.push(match self.wrong {
            None => Vec::new(),
            Some(Wrong::Epoch) => b"f".to_vec(),
            Some(Wrong::Refused(_)) => b"w".to_vec(),
        });
        out.push(self.entities.len().to_string().into());
        out.extend(self.entities.iter().map(|(first, _)| keys::version_field(&first.key)));
        out.extend(self.entities.iter().map(|(first, _)| {
            let before = first.version.checked_sub(raises(first));
            before.map_or(NO_VERSION.to_owned(), |before| before.to_string()).into_bytes()
        }));
        if self.wrong.is_none() {
            let mut writes = Writes::of(&self.records, &self.snapshots);
            writes.field(keys::HEAD, format!("{}:{}:{owner}", last.epoch, last.seq));
            writes.field(keys::COMMIT, [&number[..], last.at_ms.to_string().as_bytes()].concat());
            for (first, after) in &self.entities {
                writes.field(keys::version_field(&first.key), after.to_string());
            }
            writes.put(&mut out);
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
