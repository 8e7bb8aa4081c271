//! The files of a store: an engine ([`super::engine`]), the witness and the lock. It opens them or creates them, and
//! turns any error of the engine's into the end of the store: after one, nobody knows what the engine still holds,
//! so every later call answers [`StoreError::Fatal`].

use std::fs::{self, File};
use std::path::Path;
use std::sync::OnceLock;

use fs4::fs_std::FileExt;
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};

use super::engine::{Engine, EngineKind, Failure, Value};
use super::options::EmbeddedOptions;
use super::witness::{self, Witness};
use crate::persistence::{Slot, StoreError};

const LOCK_FILE: &str = "souk.lock";
const META_KEY: &[u8] = b"Mmeta";
const META_FORMAT: u8 = 1;
/// Keys that are removed together.
const REMOVED_TOGETHER: usize = 256;

/// The open files of a store.
pub struct Disk {
    /// `None` once closed.
    files: RwLock<Option<Files>>,
    /// The longest value.
    pub value_max: usize,
    failure: OnceLock<String>,
    /// The last part of the log, as the witness had it at opening.
    noted: Option<u64>,
}

struct Files {
    engine: Box<dyn Engine>,
    witness: Witness,
    /// Held until the store is closed: one process per directory. (Fields are dropped in this order.)
    _lock: File,
}

impl Disk {
    /// Opens the store in `dir`, or creates it.
    pub fn open(dir: &Path, options: &EmbeddedOptions) -> Result<Disk, StoreError> {
        let shown = dir.display();
        fs::create_dir_all(dir).map_err(|error| fatal(format!("cannot create the folder {shown}: {error}")))?;
        let lock = take_lock(dir)?;
        let opened = options.engine.open(dir, options)?;
        let (witness, noted) = Witness::open(dir, options.engine.is_in(dir))?;
        let engine = match opened {
            Some(engine) => {
                let meta = engine.get(META_KEY)?;
                let meta = meta.ok_or_else(|| fatal(format!("the store in {shown} was not written by souk")))?;
                check_meta(&meta, options.slots).map_err(|why| fatal(format!("the store in {shown} {why}")))?;
                engine
            }
            None => {
                // Something was acknowledged here: it is no new store, but one that has lost everything.
                witness::check(noted, 0)?;
                let made = witness.note(0).and_then(|()| witness.sync());
                made.map_err(|error| fatal(format!("writing {}: {error}", witness::FILE)))?;
                options.engine.create(dir, options, META_KEY, &new_meta(options.slots))?
            }
        };
        let files = RwLock::new(Some(Files { engine, witness, _lock: lock }));
        Ok(Disk { files, value_max: options.engine.value_max(), failure: OnceLock::new(), noted })
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

    /// Asks the engine; a failure is the last that is heard of it.
    fn ask<T>(&self, what: impl FnOnce(&dyn Engine) -> Result<T, Failure>) -> Result<T, StoreError> {
        let files = self.files()?;
        what(&*files.engine).map_err(|failure| match failure {
            Failure::Damaged(why) => StoreError::Damaged(why),
            Failure::Failed(why) => self.fail(why),
        })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.ask(|engine| engine.get(key))
    }

    /// Keys and values from `start` up to and without `end`, ascending, at most `limit`. Both ends have the same
    /// first byte, or `end` is the next one alone.
    pub fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<(Value, Value)>, StoreError> {
        debug_assert!(end.first() == start.first() || (end.len() == 1 && start[0] + 1 == end[0]));
        self.ask(|engine| engine.scan(start, end, limit))
    }

    fn debug_check(&self, value: &[u8]) {
        debug_assert!(value.len() <= self.value_max, "a value of {} bytes is too long for the engine", value.len());
    }

    /// Writes one value; it is durable after the next [`Disk::sync`].
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.debug_check(value);
        self.ask(|engine| engine.insert(key, value))
    }

    /// Writes several values atomically.
    pub fn insert_all(&self, values: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<(), StoreError> {
        let values = values.inspect(|(_, value)| self.debug_check(value)).collect();
        self.ask(|engine| engine.insert_all(values))
    }

    /// Removes several keys atomically, as a write does: durable after the next sync.
    pub fn remove_together(&self, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
        self.ask(|engine| engine.remove_together(keys))
    }

    /// Removes every key from `start` up to and without `end`.
    pub fn remove_range(&self, start: &[u8], end: &[u8]) -> Result<(), StoreError> {
        let mut start = start.to_vec();
        loop {
            let page = self.scan(&start, end, REMOVED_TOGETHER)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            // Behind what was removed: an engine may have to step over it.
            start = [last, &[0][..]].concat();
            let keys: Vec<Value> = page.into_iter().map(|(key, _)| key).collect();
            self.ask(|engine| engine.remove_all(&keys))?;
        }
    }

    /// Makes everything durable that was written before.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.ask(|engine| engine.sync())
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

/// With how many slots the store in `dir` was created; `None`: there is none, and nothing was touched.
pub fn slots_of(dir: &Path, options: &EmbeddedOptions) -> Result<Option<Slot>, StoreError> {
    let something_is_there = EngineKind::ALL.into_iter().any(|engine| engine.is_in(dir));
    if !something_is_there && !dir.join(witness::FILE).exists() {
        return Ok(None);
    }
    let _lock = take_lock(dir)?;
    let Some(engine) = options.engine.open(dir, options)? else {
        witness::check(Witness::open(dir, options.engine.is_in(dir))?.1, 0)?;
        return Ok(None);
    };
    let shown = dir.display();
    let meta = engine.get(META_KEY)?.ok_or_else(|| fatal(format!("the store in {shown} was not written by souk")))?;
    stored_slots(&meta).map(Some).map_err(|why| fatal(format!("the store in {shown} {why}")))
}

fn fatal(why: String) -> StoreError {
    StoreError::Fatal(why)
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

fn new_meta(slots: Slot) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut meta = vec![META_FORMAT];
    meta.extend_from_slice(&slots.to_le_bytes());
    meta.extend_from_slice(&(now.as_millis() as i64).to_le_bytes());
    meta.extend_from_slice(&crc32c::crc32c(&meta).to_le_bytes());
    meta
}

/// Whether this souk, so configured, can go on with a store. The text ends a sentence.
fn check_meta(meta: &[u8], slots: Slot) -> Result<(), String> {
    match stored_slots(meta)? {
        stored if stored == slots => Ok(()),
        stored => Err(format!("was created with {stored} slots, and the configuration says {slots}")),
    }
}

/// The number of slots in a meta record, if this souk can go on with it. The text ends a sentence.
fn stored_slots(meta: &[u8]) -> Result<Slot, String> {
    let (fields, checksum) = meta.split_at(meta.len().saturating_sub(4));
    if crc32c::crc32c(fields).to_le_bytes() != checksum {
        return Err("is damaged: the checksum of its meta record does not match".to_owned());
    }
    match fields {
        [META_FORMAT, low, high, _created @ ..] => Ok(Slot::from_le_bytes([*low, *high])),
        [format, ..] => Err(format!("has format {format}, and this souk reads format {META_FORMAT}")),
        [] => Err("is damaged: its meta record is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::persistence::embedded::EngineKind;

    #[test]
    fn another_number_of_slots_is_refused_and_a_second_opener_too() {
        for engine in EngineKind::ALL {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let options = |slots| Config::default().store.tuning().embedded(engine, slots);
            let disk = Disk::open(dir.path(), &options(8)).expect("a new store");
            let second = Disk::open(dir.path(), &options(8)).map(drop).expect_err("it is open");
            assert!(second.to_string().contains("is open in another process"), "{second}");
            disk.close();
            let other = Disk::open(dir.path(), &options(9)).map(drop).expect_err("9 is not 8");
            assert!(other.to_string().contains("created with 8 slots, and the configuration says 9"), "{other}");
            Disk::open(dir.path(), &options(8)).map(drop).expect("reopens");
        }
    }

    #[test]
    fn the_other_engine_is_refused() {
        for (engine, other) in [(EngineKind::Sled, EngineKind::Fjall), (EngineKind::Fjall, EngineKind::Sled)] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let options = |engine| Config::default().store.tuning().embedded(engine, 8);
            Disk::open(dir.path(), &options(engine)).map(drop).expect("a new store");
            let refused = Disk::open(dir.path(), &options(other)).map(drop).expect_err("it is another's").to_string();
            let (engine_name, other_name) = (engine.name(), other.name());
            let why = format!("was created with {engine_name}, and the configuration says {other_name}");
            assert!(refused.contains(&why), "{refused}");
            Disk::open(dir.path(), &options(engine)).map(drop).expect("unharmed");
        }
    }

    /// A power cut while a store is created may tear the witness; later it cannot, and then that is damage.
    #[test]
    fn a_torn_witness_is_in_the_way_of_no_new_store() {
        for engine in EngineKind::ALL {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let options = Config::default().store.tuning().embedded(engine, 8);
            let torn = || fs::write(dir.path().join(witness::FILE), b"souk").expect("a file");
            torn();
            Disk::open(dir.path(), &options).map(drop).expect("a new store");
            Disk::open(dir.path(), &options).map(drop).expect("reopens");
            torn();
            let refused = Disk::open(dir.path(), &options).map(drop).expect_err("it is damaged").to_string();
            assert!(refused.contains("does not match its checksum"), "{refused}");
        }
    }

    /// What one engine keeps, all do: order, atomic groups, removal by range, and durability by closing.
    #[test]
    fn engines_keep_values_in_order() {
        for engine in EngineKind::ALL {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let options = Config::default().store.tuning().embedded(engine, 8);
            let disk = Disk::open(dir.path(), &options).expect("a new store");
            let key = |prefix: u8, n: u16| [&[prefix][..], &n.to_be_bytes()].concat();
            for prefix in *b"LIJSNW" {
                let values = (0..600u16).rev().map(|n| (key(prefix, n), vec![n as u8; disk.value_max]));
                disk.insert_all(values).expect("written");
                disk.remove_range(&key(prefix, 10), &key(prefix, 589)).expect("removed");
                disk.remove_together(vec![key(prefix, 589), key(prefix, 601)]).expect("removed, or not there");
            }
            disk.sync().expect("synced");
            disk.close();
            let disk = Disk::open(dir.path(), &options).expect("reopens");
            for prefix in *b"LIJSNW" {
                let found = disk.scan(&[prefix], &[prefix + 1], usize::MAX).expect("scanned");
                let numbers = (0..10).chain(590..600);
                assert_eq!(found.len(), 20);
                for (n, (found, value)) in numbers.zip(found) {
                    assert_eq!((&found[..], &value[..]), (&key(prefix, n)[..], &vec![n as u8; disk.value_max][..]));
                }
                let some = disk.scan(&key(prefix, 5), &key(prefix, 595), 7).expect("scanned");
                assert_eq!((&some[0].0[..], some.len()), (&key(prefix, 5)[..], 7));
            }
        }
    }

    #[test]
    fn after_a_failure_or_close_nothing_works() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = Config::default().store.tuning().embedded(EngineKind::Sled, 8);
        let disk = Disk::open(dir.path(), &options).expect("a new store");
        disk.insert(b"k", b"v").expect("works");
        disk.close();
        assert!(matches!(disk.get(b"k"), Err(StoreError::Fatal(why)) if why.contains("closed")));
        assert!(matches!(disk.fail("first".into()), StoreError::Fatal(why) if why == "first"));
        assert!(matches!(disk.fail("second".into()), StoreError::Fatal(why) if why == "first"));
        assert!(matches!(disk.sync(), Err(StoreError::Fatal(why)) if why == "first"));
    }
}
