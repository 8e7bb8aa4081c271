//! What a replay has done, in a file of JSON lines that is only ever added to.
//!
//! The first line holds the run id and the terms of the replay; then a line for each thing done. A crash
//! leaves at most a torn last line, which is cut off when the file is opened again; lines that the operating
//! system lost with it only mean that those invoices are asked again, with the keys they had.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::cli::Misuse;

/// Names a replay in idempotency keys and in the metadata of its orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl RunId {
    fn new() -> RunId {
        RunId(data_encoding::HEXLOWER.encode(&rand::random::<[u8; 8]>()))
    }

    /// The key of one step of one invoice: longer than the 22 characters that a guest's must have.
    pub fn key(&self, invoice: u32, step: &str) -> String {
        format!("replay-{}-{invoice}-{step}", self.0)
    }
}

/// What must be the same when a replay goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Of the file that is played.
    pub fingerprint: String,
    pub stock: String,
    pub invoices: usize,
    /// One client: the outcomes can be held against an oracle.
    pub sequential: bool,
    /// Many lines with each request. In files older than this: line by line.
    #[serde(default)]
    pub bulk: bool,
}

/// What an invoice came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Confirmed { order: String },
    Rejected { order: String, refusal: Refusal },
}

/// Why an order was rejected, as the customer was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub sku: Option<String>,
    pub available: Option<u64>,
    pub requested: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Begun { run: RunId, terms: Terms },
    Prepared,
    Played { invoice: u32, outcome: Outcome },
}

pub struct Log {
    run: RunId,
    prepared: bool,
    /// By invoice number, as found in the file.
    found: HashMap<u32, Outcome>,
    /// `None`: nothing is kept.
    file: Option<Mutex<File>>,
}

impl Log {
    /// Begins a replay, or goes on with the one in the file.
    pub fn open(path: Option<&Path>, terms: Terms) -> anyhow::Result<Log> {
        let Some(path) = path else {
            return Ok(Log { run: RunId::new(), prepared: false, found: HashMap::new(), file: None });
        };
        let context = || format!("state file {}", path.display());
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}: another replay is using it", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(context)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).with_context(context)?;
        file.seek(SeekFrom::End(0)).with_context(context)?;
        let mut log = Log { run: RunId::new(), prepared: false, found: HashMap::new(), file: Some(Mutex::new(file)) };
        if whole == 0 {
            log.write(&Record::Begun { run: log.run.clone(), terms })?;
        } else {
            log.replay(&text[..whole], &terms).with_context(context)?;
        }
        Ok(log)
    }

    fn replay(&mut self, text: &[u8], terms: &Terms) -> anyhow::Result<()> {
        for (index, line) in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let record = serde_json::from_slice(line).with_context(|| format!("line {}", index + 1))?;
            match record {
                Record::Begun { run, terms: begun } if index == 0 => {
                    if begun != *terms {
                        let why = "it belongs to a replay with other terms (file, --stock, --invoices, one client or many, --bulk)";
                        bail!(Misuse(format!("{why}: {begun:?}")));
                    }
                    self.run = run;
                }
                Record::Prepared if index > 0 => self.prepared = true,
                Record::Played { invoice, outcome } if index > 0 => {
                    self.found.insert(invoice, outcome);
                }
                Record::Begun { .. } | Record::Prepared | Record::Played { .. } => {
                    bail!("it is not the state of a replay")
                }
            }
        }
        Ok(())
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Whether catalogue and stock are as they must be: from then on they are not touched again.
    pub fn is_prepared(&self) -> bool {
        self.prepared
    }

    /// The outcome of an invoice, if it was in the file.
    pub fn found(&self, invoice: u32) -> Option<&Outcome> {
        self.found.get(&invoice)
    }

    pub fn prepared(&self) -> anyhow::Result<()> {
        self.write(&Record::Prepared)
    }

    pub fn played(&self, invoice: u32, outcome: &Outcome) -> anyhow::Result<()> {
        self.write(&Record::Played { invoice, outcome: outcome.clone() })
    }

    fn write(&self, record: &Record) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.lock().write_all(&line).context("writing the state file")
    }
}
