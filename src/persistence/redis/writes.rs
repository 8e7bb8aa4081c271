//! What the records and snapshots of one slot in a commit come to: what is written for them, gathered by what it
//! is written with, so that the script has one command of Redis for each sort and not for each record.
//!
//! Rows of the indexes go from what they were before the commit to what they are after it.

use std::collections::BTreeMap;

use super::keys::{self, OWED, OWED_RECEIPTS, WAKES};
use crate::persistence::bytes::{FrameError, Reader, put_owed_row, put_u32};
use crate::persistence::{EntityKey, Origin, OwedRow, Receipt, Record, Slot, Snapshot, StoreError};

/// Arguments of one command within a script: well below what fits on Lua's stack. Even, since some come in pairs.
const ARGUMENTS_MAX: usize = 2_000;
/// Clients' receipts expire by such spans of time, and are forgotten when all of one has passed.
pub(super) const SPAN_MS: i64 = 30 * 60 * 1_000;

#[derive(Default)]
pub(super) struct Writes {
    /// Fields of the head, each with its value.
    fields: Vec<Vec<u8>>,
    fields_gone: Vec<Vec<u8>>,
    /// Entities, each with the sequences of its records.
    seqs: Vec<Vec<u8>>,
    /// Of an index: rows that go, and scores and rows that come.
    gone: BTreeMap<&'static str, Vec<Vec<u8>>>,
    come: BTreeMap<&'static str, Vec<Vec<u8>>>,
    /// Names of clients' receipts, by the span that they expire in.
    expire: BTreeMap<i64, Vec<Vec<u8>>>,
    /// From and below which to forget an entity's receipts of a sender.
    forget: Vec<[Vec<u8>; 2]>,
    snapshots: Vec<[Vec<u8>; 3]>,
}

impl Writes {
    pub fn of(records: &[&Record], snapshots: &[&Snapshot]) -> Writes {
        let mut writes = Writes::default();
        writes.indexes(records);
        let mut seqs: BTreeMap<&EntityKey, Vec<u8>> = BTreeMap::new();
        for record in records {
            writes.field(keys::record_field(record.seq), record.encode());
            seqs.entry(&record.key).or_default().extend_from_slice(&record.seq.to_be_bytes());
            if let Some(receipt) = &record.receipt {
                writes.receipt(record, receipt);
            }
        }
        writes.seqs = seqs.into_iter().flat_map(|(key, seqs)| [keys::entity(key), seqs]).collect();
        writes.snapshots = snapshots
            .iter()
            .map(|snapshot| [keys::entity(&snapshot.key), snapshot.seq.to_string().into(), snapshot.encode()])
            .collect();
        writes
    }

    pub fn field(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.fields.extend([name.into(), value.into()]);
    }

    fn indexes(&mut self, records: &[&Record]) {
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
            self.row(OWED, key, before, after.map(|row| row.due_ms));
            match after {
                Some(row) => self.field(keys::owed_field(key), owed_row(row)),
                None if before.is_some() => self.fields_gone.push(keys::owed_field(key)),
                None => {}
            }
        }
        for (key, (before, after)) in wakes {
            self.row(WAKES, key, before, after);
        }
    }

    fn row(&mut self, index: &'static str, key: &EntityKey, before: Option<i64>, after: Option<i64>) {
        if before == after {
            return;
        }
        if let Some(due_ms) = before {
            self.gone.entry(index).or_default().push(keys::due(due_ms, key));
        }
        if let Some(due_ms) = after {
            self.come.entry(index).or_default().extend([b"0".to_vec(), keys::due(due_ms, key)]);
        }
    }

    fn receipt(&mut self, record: &Record, receipt: &Receipt) {
        let name = keys::receipt(&record.key, &record.request);
        match receipt.origin {
            Origin::Client { expires_ms } => {
                let span = expires_ms.div_euclid(SPAN_MS);
                self.field(keys::receipt_field(&name), format!("{}:{span}", record.seq));
                self.expire.entry(span).or_default().push(name);
            }
            Origin::Owed { slot, number, watermark } => {
                self.field(keys::receipt_field(&name), record.seq.to_string());
                let from = |number| keys::owed_receipt(&record.key, slot, number);
                let member = [from(number), record.request.to_vec()].concat();
                self.come.entry(OWED_RECEIPTS).or_default().extend([b"0".to_vec(), member]);
                // Not its own, though its number be below its watermark: it is a receipt to be found.
                let below = keys::excluding(&from(watermark.min(number)));
                self.forget.push([keys::including(&from(0)), below]);
            }
        }
    }

    /// Adds the arguments of the script, as its head lists them.
    pub fn put(self, out: &mut Vec<Vec<u8>>) {
        let mut command = |letter: &str, lead: Option<&[u8]>, arguments: Vec<Vec<u8>>| {
            let mut arguments = arguments.into_iter();
            while arguments.len() > 0 {
                let count = arguments.len().min(ARGUMENTS_MAX);
                out.push(letter.into());
                out.push((count + usize::from(lead.is_some())).to_string().into());
                out.extend(lead.map(<[u8]>::to_vec));
                out.extend(arguments.by_ref().take(count));
            }
        };
        command("h", None, self.fields);
        command("e", None, self.seqs);
        command("d", None, self.fields_gone);
        for (index, rows) in self.gone {
            command("-", Some(index.as_bytes()), rows);
        }
        for (index, rows) in self.come {
            command("+", Some(index.as_bytes()), rows);
        }
        for (span, names) in self.expire {
            command("x", Some(span.to_string().as_bytes()), names);
        }
        for range in self.forget {
            command("q", None, range.into());
        }
        for snapshot in self.snapshots {
            command("p", None, snapshot.into());
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
