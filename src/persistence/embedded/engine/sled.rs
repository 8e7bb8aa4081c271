//! sled, in one tree, in the store's directory itself.
//!
//! Durable means `flush()` and then `sync_data()` on a second handle of the `db` file: `flush()` alone
//! writes back without an fsync, and a power cut then takes acknowledged data (measured; sled issues 1351
//! and 1452).
//!
//! sled opens with the last of its own checkpoints, which it writes at each opening; it takes one for the last that a
//! crash has cut off (`snap.N.generating`), and then refuses to open. So those are removed first: the one before, or
//! none, is as good.
//!
//! A store is made in `sled.new`, made durable in full, and only then its files are moved here, the one that marks a store
//! last: sled refuses to open what a crash has left of its own creation.
//!
//! No value is longer than [`VALUE_MAX`]. sled keeps up to 17 neighbours in one page, and a page larger
//! than a quarter of a 512 KiB segment goes to a blob file, which nobody fsyncs.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use fs4::fs_std::FileExt;
use sled::{Batch, Config, Db, Error, Mode};

use super::{Engine, EngineKind, Failure, Value, cannot, nonsense, sync_folder};
use crate::persistence::StoreError;
use crate::persistence::embedded::options::EmbeddedOptions;

/// The longest value: 17 of them, 4 more that raced in, and their keys stay below 128 KiB.
pub const VALUE_MAX: usize = 5_632;
pub const DATA_FILE: &str = "db";
const UNFINISHED: &str = "sled.new";
/// What the name of sled's own checkpoints begins with. It opens the latest, whatever store that is of.
const CHECKPOINT: &str = "snap.";
const HALF_CHECKPOINT: &str = ".generating";
/// How often sled writes back and collects garbage by itself.
const FLUSH_EVERY_MS: u64 = 500;
/// sled gives its file free a moment after its last handle is gone.
const REOPEN_WAIT: Duration = Duration::from_secs(10);

struct Sled {
    db: Db,
    data: File,
}

pub fn open(dir: &Path, options: &EmbeddedOptions) -> Result<Option<Box<dyn Engine>>, StoreError> {
    if !dir.join(DATA_FILE).exists() {
        return Ok(None);
    }
    remove_checkpoints(dir, HALF_CHECKPOINT).map_err(|error| cannot("clear up", dir, error))?;
    let db = open_db(dir, options)?;
    if db.is_empty() { Ok(None) } else { with_data(dir, db).map(Some) }
}

pub fn create(dir: &Path, options: &EmbeddedOptions, key: &[u8], value: &[u8]) -> Result<Box<dyn Engine>, StoreError> {
    let unfinished = dir.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot("remove", &unfinished, error)),
        _ => {}
    }
    let db = open_db(&unfinished, options)?;
    db.insert(key, value).and_then(|_| db.flush()).map_err(failure)?;
    drop(db);
    await_end(&unfinished).and_then(|()| move_files(&unfinished, dir)).map_err(|error| cannot("create", dir, error))?;
    with_data(dir, open_db(dir, options)?)
}

/// Removes the checkpoints whose name ends so.
fn remove_checkpoints(dir: &Path, ending: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(CHECKPOINT.as_bytes()) && name.ends_with(ending.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Waits until sled, which was dropped, has let go of its file: until then it may write.
fn await_end(dir: &Path) -> io::Result<()> {
    let file = File::open(dir.join(DATA_FILE))?;
    let started = Instant::now();
    while !FileExt::try_lock_exclusive(&file)? {
        if started.elapsed() > REOPEN_WAIT {
            return Err(io::Error::other("sled does not let go of its file"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn move_files(from: &Path, to: &Path) -> io::Result<()> {
    sync_folder(from)?;
    remove_checkpoints(to, "")?; // what an earlier try has left
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name != DATA_FILE {
            fs::rename(from.join(&name), to.join(&name))?;
        }
    }
    sync_folder(to)?;
    fs::rename(from.join(DATA_FILE), to.join(DATA_FILE))?;
    fs::remove_dir_all(from)?;
    sync_folder(to)
}

fn with_data(dir: &Path, db: Db) -> Result<Box<dyn Engine>, StoreError> {
    let path = dir.join(DATA_FILE);
    let data = File::open(&path).map_err(|error| cannot("make durable", &path, error))?;
    Ok(Box::new(Sled { db, data }))
}

fn open_db(dir: &Path, options: &EmbeddedOptions) -> Result<Db, StoreError> {
    let config = Config::new()
        .path(dir)
        .cache_capacity(options.sled.cache_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .mode(Mode::HighThroughput);
    let started = Instant::now();
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // We hold the directory's lock, so this is only our own last handle going away.
            Err(Error::Io(error))
                if error.to_string().contains("could not acquire lock") && started.elapsed() < REOPEN_WAIT =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error @ (Error::Corruption { .. } | Error::Unsupported(_))) => {
                return Err(nonsense(dir, EngineKind::Sled, error));
            }
            Err(error) => return Err(StoreError::Fatal(format!("sled cannot open {}: {error}", dir.display()))),
        }
    }
}

fn failure(error: Error) -> Failure {
    Failure::Failed(format!("sled: {error}"))
}

impl Engine for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Failure> {
        self.db.get(key).map(|value| value.map(Value::Sled)).map_err(failure)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<(Value, Value)>, Failure> {
        let found = self.db.range(start..end).take(limit);
        found.map(|pair| pair.map(|(key, value)| (Value::Sled(key), Value::Sled(value))).map_err(failure)).collect()
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.db.insert(key, value).map(drop).map_err(failure)
    }

    fn insert_all(&self, values: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Failure> {
        let mut batch = Batch::default();
        values.into_iter().for_each(|(key, value)| batch.insert(key, value));
        self.db.apply_batch(batch).map_err(failure)
    }

    fn remove_all(&self, keys: &[Value]) -> Result<(), Failure> {
        keys.iter().try_for_each(|key| self.db.remove(&key[..]).map(drop)).map_err(failure)
    }

    fn remove_together(&self, keys: Vec<Vec<u8>>) -> Result<(), Failure> {
        let mut batch = Batch::default();
        keys.into_iter().for_each(|key| batch.remove(key));
        self.db.apply_batch(batch).map_err(failure)
    }

    fn sync(&self) -> Result<(), Failure> {
        self.db.flush().map_err(failure)?;
        self.data.sync_data().map_err(|error| Failure::Failed(format!("fsync: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::persistence::embedded::EngineKind;

    #[test]
    fn values_cannot_become_blob_files() {
        let page_max = 512 * 1024 / 4 - 52;
        assert!(VALUE_MAX * 21 + 21 * 600 < page_max + 4096, "21 neighbours with long keys fit a page");
    }

    #[test]
    fn a_checkpoint_that_was_cut_off_is_in_nobodys_way() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = Config::default().store.tuning().embedded(EngineKind::Sled, 8);
        drop(create(dir.path(), &options, b"key", b"value").expect("a store"));
        std::fs::write(dir.path().join("snap.FFFFFFFFFFFFFFFF.generating"), b"half").expect("a file");
        let opened = open(dir.path(), &options).expect("it opens").expect("there is one");
        assert_eq!(opened.get(b"key").expect("read").as_deref(), Some(&b"value"[..]));
    }
}
