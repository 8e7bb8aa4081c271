//! fjall, in the folder `fjall` of the store's directory.
//!
//! Three keyspaces, so that what is written once is never written again: the log's keys only ascend, and tables
//! whose keys do not overlap are moved from level to level, not merged. Beside the log lie the index (written in
//! bulk, removed in bulk) and the rest (small values that are replaced).
//!
//! What a write to fjall means is chosen here, for by itself it means nothing durable: writes stay in its buffer
//! (`manual_journal_persist`) until [`Engine::sync`] writes them out and calls `fdatasync`. fjall itself makes its
//! journal durable before it begins the next one, and before it writes a table from what the journal holds.
//!
//! Four things are not left to fjall:
//! - Creating. It is made in `fjall.new`, made durable in full, and only then renamed: fjall refuses to open, and to
//!   create again, what a crash has left of its own creation.
//! - The torn end of its journal: see [`super::fjall_tail`].
//! - Whether its other files can be believed: see [`super::fjall_files`].
//! - `clear()`, which is never called.

use std::fs;
use std::path::Path;

use fjall::{Database, Error, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode};

use super::{Engine, EngineKind, Failure, Value, cannot, fjall_files, fjall_tail, nonsense, sync_folder};
use crate::persistence::StoreError;
use crate::persistence::embedded::options::EmbeddedOptions;

/// A place in a part of the log is 16 bits; more than this a read of one record would not want to fetch.
pub const VALUE_MAX: usize = 16_384;
pub const FOLDER: &str = "fjall";
const UNFINISHED: &str = "fjall.new";
/// So much of the journal may wait for the slowest keyspace's tables. All of it is read at opening.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

struct Fjall {
    db: Database,
    log: Keyspace,
    index: Keyspace,
    rest: Keyspace,
}

pub fn open(dir: &Path, options: &EmbeddedOptions) -> Result<Option<Box<dyn Engine>>, StoreError> {
    let folder = dir.join(FOLDER);
    if !folder.exists() {
        return Ok(None);
    }
    fjall_files::check(&folder)?;
    fjall_tail::cut_torn_end(&folder)?;
    open_in(&folder, options).map(|fjall| Some(Box::new(fjall) as Box<dyn Engine>))
}

pub fn create(dir: &Path, options: &EmbeddedOptions, key: &[u8], value: &[u8]) -> Result<Box<dyn Engine>, StoreError> {
    let (unfinished, folder) = (dir.join(UNFINISHED), dir.join(FOLDER));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(|error| cannot("remove", &unfinished, error))?;
    }
    let fjall = open_in(&unfinished, options)?;
    fjall.insert(key, value).and_then(|()| fjall.sync())?;
    drop(fjall);
    let made = sync_folder(&unfinished).and_then(|()| fs::rename(&unfinished, &folder));
    made.and_then(|()| sync_folder(dir)).map_err(|error| cannot("create", &folder, error))?;
    open_in(&folder, options).map(|fjall| Box::new(fjall) as Box<dyn Engine>)
}

/// Opens or creates the database.
fn open_in(folder: &Path, options: &EmbeddedOptions) -> Result<Fjall, StoreError> {
    let opened = || {
        let db = Database::builder(folder)
            .cache_size(options.fjall.cache_bytes)
            .manual_journal_persist(true)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            // One, or the other does nothing but wait for it, busily. What there is to do is little.
            .worker_threads(1)
            .open()?;
        let keyspace = |name| {
            let settings = || {
                let settings = KeyspaceCreateOptions::default().manual_journal_persist(true);
                settings.max_memtable_size(options.fjall.memtable_bytes)
            };
            db.keyspace(name, settings)
        };
        let (log, index, rest) = (keyspace("log")?, keyspace("index")?, keyspace("rest")?);
        Ok(Fjall { db, log, index, rest })
    };
    opened().map_err(|error| match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) if !is_short(&error) => {
            StoreError::Fatal(format!("fjall cannot open {}: {error}", folder.display()))
        }
        Error::Locked => StoreError::Fatal(format!("{} is open in another process", folder.display())),
        error => nonsense(folder, EngineKind::Fjall, error),
    })
}

/// Whether a read has met the end of a file, or what cannot be: damage, and no failure of the disk.
fn is_short(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | NotFound)
}

fn failure(error: Error) -> Failure {
    Failure::Failed(match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => format!("fjall: {error}"),
        Error::Poisoned => "fjall: a write or a thread of its own has failed before; its log lines say why".to_owned(),
        error => format!("fjall: {error:?}"),
    })
}

/// Of a read: what it has read may be damaged, without any harm to the rest.
fn read_failure(error: Error) -> Failure {
    use LsmError::{ChecksumMismatch, InvalidHeader, InvalidTag, InvalidTrailer};
    match error {
        Error::Storage(ChecksumMismatch { .. } | InvalidHeader(_) | InvalidTag(_) | InvalidTrailer) => {
            Failure::Damaged(format!("a block of fjall's cannot be read: {error:?}"))
        }
        error => failure(error),
    }
}

impl Fjall {
    fn keyspace(&self, key: &[u8]) -> &Keyspace {
        match key.first() {
            Some(b'L') => &self.log,
            Some(b'I' | b'J') => &self.index,
            _ => &self.rest,
        }
    }
}

impl Engine for Fjall {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Failure> {
        self.keyspace(key).get(key).map(|value| value.map(Value::Fjall)).map_err(read_failure)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<(Value, Value)>, Failure> {
        let read =
            |guard: fjall::Guard| guard.into_inner().map(|(key, value)| (Value::Fjall(key), Value::Fjall(value)));
        self.keyspace(start).range(start..end).take(limit).map(|guard| read(guard).map_err(read_failure)).collect()
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.keyspace(key).insert(key, value).map_err(failure)
    }

    fn insert_all(&self, values: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Failure> {
        let mut batch = self.db.batch();
        for (key, value) in values {
            batch.insert(self.keyspace(&key), key, value);
        }
        batch.commit().map_err(failure)
    }

    fn remove_all(&self, keys: &[Value]) -> Result<(), Failure> {
        let mut batch = self.db.batch();
        for key in keys {
            batch.remove(self.keyspace(key), &key[..]);
        }
        batch.commit().map_err(failure)
    }

    fn remove_together(&self, keys: Vec<Vec<u8>>) -> Result<(), Failure> {
        let mut batch = self.db.batch();
        for key in keys {
            batch.remove(self.keyspace(&key), key);
        }
        batch.commit().map_err(failure)
    }

    fn sync(&self) -> Result<(), Failure> {
        self.db.persist(PersistMode::SyncData).map_err(failure)
    }
}
