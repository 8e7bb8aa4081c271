//! fjall's files besides its journal, looked at before fjall reads them.
//!
//! fjall's checksums cover all of them, but lsm-tree does not look at each before it believes what it reads: a
//! damaged count in a version file makes it ask for gigabytes, which aborts the process, and a failed assertion in
//! the middle of its opening aborts it too (a lock is poisoned, and a destructor trips over that). So whatever decides
//! how much is read, and from where, is checked here first. What remains is blocks, which fjall checks itself.
//!
//! - `keyspaces/N/current` names the version: its number (8 bytes), the checksum of the whole file `vN` (16, XXH3),
//!   and the checksum's kind (1, always 0).
//! - `vN` lists, in its section `tables`, the levels (1 byte how many), in each the runs (1), in each the tables (4),
//!   of 33 bytes: number (8), kind of checksum (1), checksum (16), sequence (8).
//! - `tables/N` and `vN` are archives (`sfa` 1.0): sections, their list, a trailer. The list: `TOC!`, how many (4), for
//!   each where it begins (8), its length (8), the length of its name (2), the name. The trailer: `SFA!` 1 0, the
//!   list's checksum (16), where it begins (8), its length (8).
//!
//! A table that the version does not name may be torn: a crash has left it, and fjall removes it unread. A keyspace
//! without `current` is damage: fjall would begin it anew, or remove it. All numbers are little-endian. This is
//! fjall 3's, whose version is pinned.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{EngineKind, cannot, nonsense};
use crate::persistence::StoreError;

const CURRENT_BYTES: usize = 25;
const TRAILER_BYTES: u64 = 38;
const TRAILER_HEAD: &[u8] = b"SFA!\x01\x00";
const LIST_HEAD: &[u8] = b"TOC!";
/// An archive has about ten sections with short names.
const LIST_BYTES_MAX: u64 = 1 << 16;
/// A hundred thousand tables, each of 64 MiB.
const TABLES_BYTES_MAX: u64 = 4 << 20;

/// Refuses what would lead fjall astray.
pub fn check(folder: &Path) -> Result<(), StoreError> {
    let damaged = |path: &Path, what: &str| {
        let path = path.strip_prefix(folder).unwrap_or(path).display();
        nonsense(folder, EngineKind::Fjall, format!("{path}: {what}"))
    };
    if !folder.join("version").exists() {
        return Err(damaged(&folder.join("version"), "it is missing"));
    }
    let keyspaces = folder.join("keyspaces");
    let entries = fs::read_dir(&keyspaces).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(&keyspaces, "it is missing"),
        _ => cannot("read", &keyspaces, error),
    })?;
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_file() {
            continue; // fjall passes over it too
        }
        if name.to_str().and_then(|name| name.parse::<u64>().ok()).is_none() {
            return Err(damaged(&path, "it is no keyspace"));
        }
        check_keyspace(&path).map_err(|fault| match fault {
            Fault::Damaged(what) => damaged(&path, &what),
            Fault::Failed(error) => cannot("read", &path, error),
        })?;
    }
    Ok(())
}

enum Fault {
    /// In which file, and what.
    Damaged(String),
    /// The disk's, or the system's.
    Failed(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Damaged("it ends too early".to_owned()),
            io::ErrorKind::NotFound => Fault::Damaged("it is missing".to_owned()),
            _ => Fault::Failed(error),
        }
    }
}

fn damage<T>(what: &str) -> Result<T, Fault> {
    Err(Fault::Damaged(what.to_owned()))
}

/// Says of a fault in which file it is.
fn in_file<T>(name: &str, checked: Result<T, Fault>) -> Result<T, Fault> {
    checked.map_err(|fault| match fault {
        Fault::Damaged(what) => Fault::Damaged(format!("{name}: {what}")),
        failed @ Fault::Failed(_) => failed,
    })
}

fn check_keyspace(folder: &Path) -> Result<(), Fault> {
    let (version, checksum) = in_file("current", current(&folder.join("current")))?;
    let name = format!("v{version}");
    let tables = in_file(&name, tables_of(&folder.join(&name), checksum))?;
    for table in tables {
        let name = format!("tables/{table}");
        let checked = File::open(folder.join(&name)).map_err(Fault::from).and_then(|mut file| sections(&mut file));
        in_file(&name, checked)?;
    }
    Ok(())
}

/// Which version is the current one, and the checksum of its file.
fn current(path: &Path) -> Result<(u64, u128), Fault> {
    let mut file = File::open(path)?;
    let bytes: [u8; CURRENT_BYTES] = array(&mut file)?;
    if file.read(&mut [0])? != 0 {
        return damage("it is too long");
    }
    let mut bytes = &bytes[..];
    let version = u64::from_le_bytes(array(&mut bytes)?);
    let checksum = u128::from_le_bytes(array(&mut bytes)?);
    if bytes == [0] { Ok((version, checksum)) } else { damage("it names a checksum of an unknown kind") }
}

/// The tables that a version names.
fn tables_of(path: &Path, checksum: u128) -> Result<Vec<u64>, Fault> {
    let mut file = File::open(path)?;
    let mut found = Xxh3::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            len => found.update(&buffer[..len]),
        }
    }
    if found.digest128() != checksum {
        return damage("its checksum is not the one that `current` names");
    }
    let sections = sections(&mut file)?;
    let Some(section) = sections.iter().find(|section| section.name == b"tables") else {
        return damage("it lists no tables");
    };
    if section.len > TABLES_BYTES_MAX {
        return damage("its list of tables is too long");
    }
    file.seek(SeekFrom::Start(section.at))?;
    let mut list = file.take(section.len);
    let mut tables = Vec::new();
    for _ in 0..array::<1>(&mut list)?[0] {
        for _ in 0..array::<1>(&mut list)?[0] {
            // As many as it says, or it ends too early.
            for _ in 0..u32::from_le_bytes(array(&mut list)?) {
                let [number @ .., _, _, _, _, _, _, _, _, _] = array::<17>(&mut list)?;
                array::<16>(&mut list)?;
                tables.push(u64::from_le_bytes(number));
            }
        }
    }
    Ok(tables)
}

struct Section {
    name: Vec<u8>,
    at: u64,
    len: u64,
}

/// An archive's sections; each lies before the list of them.
fn sections(file: &mut File) -> Result<Vec<Section>, Fault> {
    let Some(trailer_at) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else {
        return damage("it is shorter than its trailer");
    };
    file.seek(SeekFrom::Start(trailer_at))?;
    if array::<6>(file)? != TRAILER_HEAD {
        return damage("it has no trailer");
    }
    let checksum = u128::from_le_bytes(array(file)?);
    let list_at = u64::from_le_bytes(array(file)?);
    let Some(list_bytes) = trailer_at.checked_sub(list_at).filter(|bytes| *bytes <= LIST_BYTES_MAX) else {
        return damage("its trailer names no list of its sections");
    };
    let mut list = vec![0; list_bytes as usize];
    file.seek(SeekFrom::Start(list_at))?;
    file.read_exact(&mut list)?;
    if xxh3_128(&list) != checksum {
        return damage("the checksum of the list of its sections is wrong");
    }
    let mut list = &list[..];
    if array::<4>(&mut list)? != LIST_HEAD {
        return damage("it has no list of its sections");
    }
    let mut sections = Vec::new();
    for _ in 0..u32::from_le_bytes(array(&mut list)?) {
        let at = u64::from_le_bytes(array(&mut list)?);
        let len = u64::from_le_bytes(array(&mut list)?);
        let mut name = vec![0; usize::from(u16::from_le_bytes(array(&mut list)?))];
        list.read_exact(&mut name)?;
        if at.checked_add(len).is_none_or(|end| end > list_at) {
            return damage("a section lies outside of it");
        }
        sections.push(Section { name, at, len });
    }
    Ok(sections)
}

fn array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "fjall_files_tests.rs"]
mod tests;
