//! What the journal needs of an embedded key-value store, and the two that give it.
//!
//! An engine keeps values under keys, in the order of the keys. A write is visible at once and durable after
//! [`Engine::sync`]; several that were written together are there together or not at all, whatever crash comes.
//! After a failure nobody knows what an engine holds: [`super::disk`] uses it no more.
//!
//! Nothing outside of this folder names sled or fjall.

mod fjall;
mod fjall_files;
mod fjall_tail;
mod sled;

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::options::EmbeddedOptions;
pub use super::options::EngineKind;
use crate::persistence::StoreError;

/// Why an engine did not do what it was asked: one line.
#[derive(Debug)]
pub enum Failure {
    /// What it has read is not what it wrote. Elsewhere it goes on.
    Damaged(String),
    /// Nobody knows what it holds now.
    Failed(String),
}

pub trait Engine: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Failure>;

    /// Keys and values from `start` up to and without `end`, ascending, at most `limit`. Both ends have the same
    /// first byte, or `end` is the next one alone.
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<(Value, Value)>, Failure>;

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;

    /// Writes all of them or, should a crash come, none.
    fn insert_all(&self, values: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Failure>;

    /// Removes keys; a crash may leave any of them.
    fn remove_all(&self, keys: &[Value]) -> Result<(), Failure>;

    /// Removes all of them or, should a crash come, none. For few keys: others may wait.
    fn remove_together(&self, keys: Vec<Vec<u8>>) -> Result<(), Failure>;

    /// Makes everything durable that was written before. Never repeated after an error: the kernel may have
    /// dropped what it could not write.
    fn sync(&self) -> Result<(), Failure>;
}

/// What an engine gave: it may lie in its cache.
#[derive(Debug, Clone)]
pub enum Value {
    Sled(::sled::IVec),
    Fjall(::fjall::Slice),
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Value::Sled(value) => value,
            Value::Fjall(value) => value,
        }
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value::Sled(bytes.into())
    }
}

impl EngineKind {
    pub const ALL: [EngineKind; 2] = [EngineKind::Sled, EngineKind::Fjall];

    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Sled => "sled",
            EngineKind::Fjall => "fjall",
        }
    }

    pub fn named(name: &str) -> Option<EngineKind> {
        EngineKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The longest value that the engine bears.
    pub fn value_max(self) -> usize {
        match self {
            EngineKind::Sled => sled::VALUE_MAX,
            EngineKind::Fjall => fjall::VALUE_MAX,
        }
    }

    /// Whether the directory belongs to this engine.
    pub fn is_in(self, dir: &Path) -> bool {
        dir.join(self.mark()).exists()
    }

    /// What is there when a directory belongs to this engine.
    fn mark(self) -> &'static str {
        match self {
            EngineKind::Sled => sled::DATA_FILE,
            EngineKind::Fjall => fjall::FOLDER,
        }
    }

    /// Opens what lies in `dir`. `None`: nothing was created there yet, or not to the end.
    pub fn open(self, dir: &Path, options: &EmbeddedOptions) -> Result<Option<Box<dyn Engine>>, StoreError> {
        for other in EngineKind::ALL {
            if other != self && other.is_in(dir) {
                let (dir, other, wanted) = (dir.display(), other.name(), self.name());
                let why = format!("the store in {dir} was created with {other}, and the configuration says {wanted}");
                return Err(StoreError::Fatal(why));
            }
        }
        match self {
            EngineKind::Sled => sled::open(dir, options),
            EngineKind::Fjall => fjall::open(dir, options),
        }
    }

    /// Creates a store that holds one value, for good: no power cut takes it away again. One that comes before
    /// the end leaves what [`EngineKind::open`] takes for nothing.
    pub fn create(
        self,
        dir: &Path,
        options: &EmbeddedOptions,
        key: &[u8],
        value: &[u8],
    ) -> Result<Box<dyn Engine>, StoreError> {
        match self {
            EngineKind::Sled => sled::create(dir, options, key, value),
            EngineKind::Fjall => fjall::create(dir, options, key, value),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Damaged(why) => StoreError::Damaged(why),
            Failure::Failed(why) => StoreError::Fatal(why),
        }
    }
}

fn cannot(what: &str, path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Fatal(format!("cannot {what} {}: {error}", path.display()))
}

/// What an engine cannot make sense of.
pub fn nonsense(dir: &Path, engine: EngineKind, why: impl std::fmt::Display) -> StoreError {
    let (dir, engine) = (dir.display(), engine.name());
    StoreError::Damaged(format!("the files in {dir} make no sense to {engine} ({why}). Restore a backup"))
}

/// Makes a folder durable: the files in it and below, their names, and its own name.
fn sync_folder(dir: &Path) -> std::io::Result<()> {
    sync_below(dir)?;
    let absolute: PathBuf = fs::canonicalize(dir)?;
    match absolute.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn sync_below(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => sync_below(&entry.path())?,
            kind if kind.is_file() => File::open(entry.path())?.sync_all()?,
            _ => {}
        }
    }
    File::open(dir)?.sync_all()
}
