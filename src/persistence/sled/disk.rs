//! The only file that calls sled. It opens a store (creating it so that a power cut cannot take it
//! away), makes writes durable, and turns any error of sled's into the end of the store: after one, nobody
//! knows what sled still holds, so every later call answers [`StoreError::Fatal`].
//!
//! Durable means `flush()` and then `sync_data()` on a second handle of the `db` file: `flush()` alone
//! writes back without an fsync, and a power cut then takes acknowledged data (measured; sled issues 1351
//! and 1452).
//!
//! No value is longer than [`VALUE_MAX`]. sled keeps up to 17 neighbours in one page, and a page larger
//! than a quarter of a 512 KiB segment goes to a blob file, which nobody fsyncs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fs4::fs_std::FileExt;
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use sled::IVec;

use super::SledOptions;
use super::witness::{self, Witness};
use crate::persistence::{Slot, StoreError};

/// The longest value: 17 of them, 4 more that raced in, and their keys stay below 128 KiB.
pub const VALUE_MAX: usize = 5_632;

const LOCK_FILE: &str = "souk.lock";
const DATA_FILE: &str = "db";
const META_KEY: &[u8] = b"Mmeta";
const META_FORMAT: u8 = 1;
/// How often sled writes back and collects garbage by itself.
const FLUSH_EVERY_MS: u64 = 500;
/// sled gives its file free a moment after its last handle is gone.
const REOPEN_WAIT: Duration = Duration::from_secs(10);

/// The open files of a store.
pub struct Disk {
    /// `None` once closed.
    files: RwLock<Option<Files>>,
    failure: OnceLock<String>,
    /// The last part of the log, as the witness had it at opening.
    noted: Option<u64>,
}

struct Files {
    db: sled::Db,
    data: File,
    witness: Witness,
    /// Held until the store is closed: one process per directory.
    _lock: File,
}

impl Disk {
    /// Opens the store in `dir`, or creates it.
    pub fn open(dir: &Path, options: &SledOptions) -> Result<Disk, StoreError> {
        let shown = dir.display();
        fs::create_dir_all(dir).map_err(|error| fatal(format!("cannot create the folder {shown}: {error}")))?;
        let lock = take_lock(dir)?;
        let (witness, noted) = Witness::open(dir)?;
        let mut db = open_sled(dir, options)?;
        let stored = db.get(META_KEY).map_err(sled_error)?;
        match stored {
            Some(meta) => {
                check_meta(&meta, options.slots).map_err(|why| fatal(format!("the store in {shown} {why}")))?
            }
            None if db.is_empty() => {
                // Something was acknowledged here: it is no new store, but one that has lost everything.
                witness::check(noted, 0)?;
                db = create(dir, db, options)?;
            }
            None => return Err(fatal(format!("the store in {shown} was not written by souk"))),
        }
        let data = File::open(dir.join(DATA_FILE))
            .map_err(|error| fatal(format!("cannot open {shown}/{DATA_FILE} to make it durable: {error}")))?;
        let files = RwLock::new(Some(Files { db, data, witness, _lock: lock }));
        Ok(Disk { files, failure: OnceLock::new(), noted })
    }

    /// Whether the store can still be used.
    pub fn check(&self) -> Result<(), StoreError> {
        match self.failure.get() {
            Some(why) => Err(fatal(why.clone())),
            None => Ok(()),
        }
    }

    /// Ends the store: every later call answers this, or what ended it before.
    pub fn fail(&self, why: String) -> StoreError {
        if self.failure.set(why.clone()).is_ok() {
            tracing::error!(store.failure = %why, "the store failed and will not be used any more");
        }
        fatal(self.failure.get().cloned().unwrap_or(why))
    }

    fn files(&self) -> Result<MappedRwLockReadGuard<'_, Files>, StoreError> {
        self.check()?;
        RwLockReadGuard::try_map(self.files.read(), Option::as_ref).map_err(|_| fatal("the store is closed".to_owned()))
    }

    fn done<T>(&self, result: sled::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| self.fail(format!("sled: {error}")))
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let files = self.files()?;
        self.done(files.db.get(key))
    }

    /// Keys and values from `start` up to and without `end`, ascending, at most `limit`.
    pub fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<(IVec, IVec)>, StoreError> {
        let files = self.files()?;
        self.done(files.db.range(start..end).take(limit).collect())
    }

    /// Writes one value; it is durable after the next [`Disk::sync`].
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        debug_assert!(value.len() <= VALUE_MAX, "a value of {} bytes would end up in a blob file", value.len());
        let files = self.files()?;
        self.done(files.db.insert(key, value)).map(drop)
    }

    /// Writes several values atomically.
    pub fn insert_all(&self, values: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in values {
            debug_assert!(value.len() <= VALUE_MAX, "a value of {} bytes would end up in a blob file", value.len());
            batch.insert(key, value);
        }
        let files = self.files()?;
        self.done(files.db.apply_batch(batch))
    }

    /// Removes every key from `start` up to and without `end`.
    pub fn remove_range(&self, start: &[u8], end: &[u8]) -> Result<(), StoreError> {
        loop {
            let page = self.scan(start, end, 256)?;
            if page.is_empty() {
                return Ok(());
            }
            let files = self.files()?;
            for (key, _) in &page {
                self.done(files.db.remove(key))?;
            }
        }
    }

    /// Makes everything durable that was written before.
    pub fn sync(&self) -> Result<(), StoreError> {
        let files = self.files()?;
        self.done(files.db.flush())?;
        // Never retried: after a failed fsync the kernel may have dropped the pages.
        files.data.sync_data().map_err(|error| self.fail(format!("fsync: {error}")))
    }

    /// Refuses a log that ends before what was acknowledged, and takes note of one that does not. For good, but
    /// only as fast as that is cheap: see [`witness`].
    pub fn log_ends_at(&self, last_part: u64) -> Result<(), StoreError> {
        witness::check(self.noted, last_part)?;
        if self.noted.is_none() && last_part > 0 {
            tracing::warn!("the store has no {}: had it lost its end, nobody would notice", witness::FILE);
        }
        self.acknowledge(last_part)?;
        self.sync_witness()
    }

    /// Notes that the log up to this part is durable; to be called before anybody is told.
    pub fn acknowledge(&self, last_part: u64) -> Result<(), StoreError> {
        let files = self.files()?;
        files.witness.note(last_part).map_err(|error| self.fail(format!("writing {}: {error}", witness::FILE)))
    }

    pub fn sync_witness(&self) -> Result<(), StoreError> {
        let files = self.files()?;
        files.witness.sync().map_err(|error| self.fail(format!("fsync of {}: {error}", witness::FILE)))
    }

    /// Gives the files and the directory free.
    pub fn close(&self) {
        drop(self.files.write().take());
    }
}

fn fatal(why: String) -> StoreError {
    StoreError::Fatal(why)
}

fn sled_error(error: sled::Error) -> StoreError {
    fatal(format!("sled: {error}"))
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| fatal(format!("cannot open {}: {error}", path.display())))?;
    match FileExt::try_lock_exclusive(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(fatal(format!("the store in {} is open in another process", dir.display()))),
        Err(error) => Err(fatal(format!("cannot lock {}: {error}", path.display()))),
    }
}

fn open_sled(dir: &Path, options: &SledOptions) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(options.cache_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .mode(sled::Mode::HighThroughput);
    let started = Instant::now();
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // We hold the directory's lock, so this is only our own last handle going away.
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && started.elapsed() < REOPEN_WAIT =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error @ (sled::Error::Corruption { .. } | sled::Error::Unsupported(_))) => {
                let why = format!("the files in {} make no sense to sled ({error}). Restore a backup", dir.display());
                return Err(StoreError::Damaged(why));
            }
            Err(error) => return Err(fatal(format!("sled cannot open {}: {error}", dir.display()))),
        }
    }
}

/// Creates a store for good: what it consists of is made durable file by file, and then the names of
/// those files, before anything is promised on top. A crash before the end leaves an empty store, which
/// is created again.
fn create(dir: &Path, db: sled::Db, options: &SledOptions) -> Result<sled::Db, StoreError> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut meta = vec![META_FORMAT];
    meta.extend_from_slice(&options.slots.to_le_bytes());
    meta.extend_from_slice(&(now.as_millis() as i64).to_le_bytes());
    meta.extend_from_slice(&crc32c::crc32c(&meta).to_le_bytes());
    db.insert(META_KEY, meta).map_err(sled_error)?;
    db.flush().map_err(sled_error)?;
    drop(db);
    sync_folder(dir).map_err(|error| fatal(format!("cannot make {} durable: {error}", dir.display())))?;
    open_sled(dir, options)
}

fn sync_folder(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()?;
    let absolute: PathBuf = fs::canonicalize(dir)?;
    match absolute.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Whether this souk, so configured, can go on with a store. The text ends a sentence.
fn check_meta(meta: &[u8], slots: Slot) -> Result<(), String> {
    let (fields, checksum) = meta.split_at(meta.len().saturating_sub(4));
    if crc32c::crc32c(fields).to_le_bytes() != checksum {
        return Err("is damaged: the checksum of its meta record does not match".to_owned());
    }
    match fields {
        [META_FORMAT, low, high, _created @ ..] => match Slot::from_le_bytes([*low, *high]) {
            stored if stored == slots => Ok(()),
            stored => Err(format!("was created with {stored} slots, and the configuration says {slots}")),
        },
        [format, ..] => Err(format!("has format {format}, and this souk reads format {META_FORMAT}")),
        [] => Err("is damaged: its meta record is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_become_blob_files() {
        let page_max = 512 * 1024 / 4 - 52;
        assert!(VALUE_MAX * 21 + 21 * 600 < page_max + 4096, "21 neighbours with long keys fit a page");
    }

    #[test]
    fn another_number_of_slots_is_refused_and_a_second_opener_too() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = SledOptions { slots: 8, ..SledOptions::default() };
        let disk = Disk::open(dir.path(), &options).expect("a new store");
        let second = Disk::open(dir.path(), &options).map(drop).expect_err("it is open");
        assert!(second.to_string().contains("is open in another process"), "{second}");
        disk.close();
        let other = Disk::open(dir.path(), &SledOptions { slots: 9, ..options }).map(drop).expect_err("9 is not 8");
        assert!(other.to_string().contains("created with 8 slots, and the configuration says 9"), "{other}");
        Disk::open(dir.path(), &SledOptions { slots: 8, ..SledOptions::default() }).map(drop).expect("reopens");
    }

    #[test]
    fn after_a_failure_or_close_nothing_works() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::open(dir.path(), &SledOptions::default()).expect("a new store");
        disk.insert(b"k", b"v").expect("works");
        disk.close();
        assert!(matches!(disk.get(b"k"), Err(StoreError::Fatal(why)) if why.contains("closed")));
        assert!(matches!(disk.fail("first".into()), StoreError::Fatal(why) if why == "first"));
        assert!(matches!(disk.fail("second".into()), StoreError::Fatal(why) if why == "first"));
        assert!(matches!(disk.sync(), Err(StoreError::Fatal(why)) if why == "first"));
    }
}
