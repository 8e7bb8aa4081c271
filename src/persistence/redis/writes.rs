//! What a commit comes to in one group of slots: what is written, gathered by what it is written with, so that the
//! script has one command of Redis for each sort and not for each record.
//!
//! Rows of the indexes go from what they were before the commit to what they are after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::keys::{self, IDS, OWED, OWED_RECEIPTS, SNAPSHOT_SEQS, SNAPSHOTS, SPANS, WAKES};
use crate::persistence::bytes::{FrameError, Reader, checked, put_owed_row, put_u32};
use crate::persistence::{EntityKey, Origin, OwedRow, Receipt, Record, Slot, Snapshot, StoreError};

/// Arguments of one command within a script: well below what fits on Lua's stack. Even, since some come in pairs.
const ARGUMENTS_MAX: usize = 2_000;
/// Clients' receipts expire by such spans of time, and are forgotten when all of one has passed.
pub(super) const SPAN_MS: i64 = 30 * 60 * 1_000;

#[derive(Default)]
pub(super) struct Writes {
    /// Fields, each with its value.
    fields: Vec<Vec<u8>>,
    fields_gone: Vec<Vec<u8>>,
    /// Lists of sequences, each with what is added.
    seqs: Vec<Vec<u8>>,
    /// Of an index: rows that go, and scores and rows that come.
    gone: BTreeMap<String, Vec<Vec<u8>>>,
    come: BTreeMap<String, Vec<Vec<u8>>>,
    /// Names of clients' receipts, by slot and the span that they expire in.
    expire: BTreeMap<(Slot, i64), Vec<Vec<u8>>>,
    /// A slot, and from and below which to forget an entity's receipts of a sender.
    forget: Vec<[Vec<u8>; 3]>,
    snapshots: Vec<[Vec<u8>; 4]>,
}

impl Writes {
    pub fn field(&mut self, name: Vec<u8>, value: impl Into<Vec<u8>>) {
        self.fields.extend([name, value.into()]);
    }

    /// A slot's records.
    pub fn records(&mut self, slot: Slot, records: &[Arc<Record>]) {
        self.indexes(slot, records);
        let mut seqs: BTreeMap<&EntityKey, Vec<u8>> = BTreeMap::new();
        for record in records {
            self.field(keys::record_field(slot, record.seq), record.encode());
            seqs.entry(&record.key).or_default().extend_from_slice(&record.seq.to_be_bytes());
            if let Some(receipt) = &record.receipt {
                self.receipt(record, receipt);
            }
        }
        self.seqs.extend(seqs.into_iter().flat_map(|(key, seqs)| [keys::seqs(slot, key), seqs]));
    }

    pub fn snapshot(&mut self, snapshot: &Snapshot) {
        let (slot, seq) = (snapshot.slot.to_string().into(), snapshot.seq.to_string().into());
        self.snapshots.push([slot, keys::entity(&snapshot.key), seq, snapshot.encode()]);
    }

    /// An entity that has its first record, perhaps.
    pub fn entity(&mut self, slot: Slot, key: &EntityKey) {
        self.comes(slot, IDS, keys::entity(key));
    }

    fn comes(&mut self, slot: Slot, index: &str, row: Vec<u8>) {
        self.come.entry(keys::beside(slot, index)).or_default().extend([b"0".to_vec(), row]);
    }

    fn indexes(&mut self, slot: Slot, records: &[Arc<Record>]) {
        let mut owed: BTreeMap<&EntityKey, (Option<i64>, Option<&OwedRow>)> = BTreeMap::new();
        let mut wakes: BTreeMap<&EntityKey, (Option<i64>, Option<i64>)> = BTreeMap::new();
        for record in records {
            if let Some(change) = &record.owed {
                owed.entry(&record.key).or_insert((change.before_due_ms, None)).1 = change.after.as_ref();
            }
            if let Some(change) = &record.wake {
                wakes.entry(&record.key).or_insert((change.before_ms, None)).1 = change.after_ms;
            }
        }
        for (key, (before, after)) in owed {
            self.row(slot, OWED, key, before, after.map(|row| row.due_ms));
            match after {
                Some(row) => self.field(keys::owed_field(slot, key), owed_row(row)),
                None if before.is_some() => self.fields_gone.push(keys::owed_field(slot, key)),
                None => {}
            }
        }
        for (key, (before, after)) in wakes {
            self.row(slot, WAKES, key, before, after);
        }
    }

    fn row(&mut self, slot: Slot, index: &str, key: &EntityKey, before: Option<i64>, after: Option<i64>) {
        if before == after {
            return;
        }
        if let Some(due_ms) = before {
            self.gone.entry(keys::beside(slot, index)).or_default().push(keys::due(due_ms, key));
        }
        if let Some(due_ms) = after {
            self.comes(slot, index, keys::due(due_ms, key));
        }
    }

    fn receipt(&mut self, record: &Record, receipt: &Receipt) {
        let name = keys::receipt(&record.key, &record.request);
        let field = keys::receipt_field(record.slot, &name);
        match receipt.origin {
            Origin::Client { expires_ms } => {
                let span = expires_ms.div_euclid(SPAN_MS);
                self.field(field, format!("{}:{span}", record.seq));
                self.expire.entry((record.slot, span)).or_default().push(name);
            }
            Origin::Owed { slot, number, watermark } => {
                self.field(field, record.seq.to_string());
                let from = |number| keys::owed_receipt(&record.key, slot, number);
                self.comes(record.slot, OWED_RECEIPTS, [from(number), record.request.to_vec()].concat());
                // Not its own, though its number be below its watermark: it is a receipt to be found.
                let below = keys::excluding(&from(watermark.min(number)));
                self.forget.push([record.slot.to_string().into(), keys::including(&from(0)), below]);
            }
        }
    }

    /// The keys beside the group that are read or written, each once, by the ends of their names.
    pub fn beside(&self) -> BTreeSet<Vec<u8>> {
        let mut keys: BTreeSet<Vec<u8>> = self.seqs.iter().step_by(2).cloned().collect();
        keys.extend(self.gone.keys().chain(self.come.keys()).map(|index| index.clone().into_bytes()));
        let mut add = |slot: &str, end: &str| keys.insert(format!(":{slot}:{end}").into_bytes());
        for (slot, span) in self.expire.keys() {
            add(&slot.to_string(), SPANS);
            add(&slot.to_string(), &format!("{SPANS}:{span}"));
        }
        for [slot, ..] in &self.forget {
            add(&String::from_utf8_lossy(slot), OWED_RECEIPTS);
        }
        for [slot, ..] in &self.snapshots {
            add(&String::from_utf8_lossy(slot), SNAPSHOTS);
            add(&String::from_utf8_lossy(slot), SNAPSHOT_SEQS);
        }
        keys
    }

    /// Adds the arguments of the script, as its head lists them.
    pub fn put(self, out: &mut Vec<Vec<u8>>) {
        let mut command = |letter: &str, lead: &[Vec<u8>], arguments: Vec<Vec<u8>>| {
            let mut arguments = arguments.into_iter();
            while arguments.len() > 0 {
                let count = arguments.len().min(ARGUMENTS_MAX);
                out.push(letter.into());
                out.push((lead.len() + count).to_string().into());
                out.extend_from_slice(lead);
                out.extend(arguments.by_ref().take(count));
            }
        };
        command("h", &[], self.fields);
        command("e", &[], self.seqs);
        command("d", &[], self.fields_gone);
        for (index, rows) in self.gone {
            command("-", &[index.into()], rows);
        }
        for (index, rows) in self.come {
            command("+", &[index.into()], rows);
        }
        for ((slot, span), names) in self.expire {
            command("x", &[slot.to_string().into(), span.to_string().into()], names);
        }
        for range in self.forget {
            command("q", &[], range.into());
        }
        for snapshot in self.snapshots {
            command("p", &[], snapshot.into());
        }
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
    let read = || -> Result<OwedRow, FrameError> {
        let mut reader = Reader { bytes: checked(bytes)?, at: 0 };
        let row = reader.owed_row()?;
        reader.finish()?;
        Ok(row)
    };
    read().map_err(|error| error.damaged_at(format!("an owed row of slot {slot}")))
}
