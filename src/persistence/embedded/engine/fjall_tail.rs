//! The torn end of fjall's journal.
//!
//! A power cut leaves of the last unsynced writes any sectors in any order. fjall cuts its journal off at the first
//! entry that it cannot read, but where all entries can be read and their checksum is wrong, it refuses to open, and
//! where a torn length is absurd, it believes it. So what is no whole batch is found here first, and the journal cut
//! off where the last whole one ends, as fjall means to do.
//!
//! Whether what is lost so was ever acknowledged, the log's numbers and the witness tell afterwards, as they do with
//! sled. One thing can be told here: a journal that fjall has closed (there is a later one) was made durable before,
//! so that one is never torn, and what cannot be read in it is damage.
//!
//! A journal (`N.jnl`) is batches, and zeros up to its allotted length. A batch: 1, count (4 bytes), sequence (8);
//! for each item 2, kind (1), compression (1), keyspace (8), length of key (2), of value (4), as stored (4), key,
//! value; and 3, the checksum of the items (8), `FJL` 3. This is fjall 3's, whose version is pinned.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::{EngineKind, cannot, nonsense};
use crate::persistence::StoreError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: &[u8] = b"FJL\x03";
const ITEM_HEAD: usize = 20;
/// No item is larger: what says so is torn.
const ITEM_MAX: usize = 1 << 20;
/// No sequence is higher (no checksum covers it). fjall asserts that it is below 2^63 when it gives out the next.
const SEQUENCE_MAX: u64 = 1 << 56;

/// Cuts the last journal off behind its last whole batch; refuses damage in the others.
pub fn cut_torn_end(folder: &Path) -> Result<(), StoreError> {
    let journals = journals(folder).map_err(|error| cannot("read", folder, error))?;
    let Some(((_, last), closed)) = journals.split_last() else { return Ok(()) };
    for (_, path) in closed {
        let (whole, rest) = measure(path).map_err(|error| cannot("read", path, error))?;
        if rest != Rest::Zeros {
            let why = format!("{}: no whole batch from byte {whole}", path.display());
            return Err(nonsense(folder, EngineKind::Fjall, why));
        }
    }
    let (whole, rest) = measure(last).map_err(|error| cannot("read", last, error))?;
    if rest == Rest::Torn {
        tracing::info!(journal = %last.display(), whole, "the journal's torn end is cut off");
        let cut = File::options().write(true).open(last).and_then(|file| {
            file.set_len(whole)?;
            file.sync_all()
        });
        cut.map_err(|error| cannot("write", last, error))?;
    }
    Ok(())
}

/// By number.
fn journals(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort_unstable();
    Ok(journals)
}

#[derive(Debug, PartialEq, Eq)]
enum Rest {
    /// Or nothing.
    Zeros,
    Torn,
}

/// Where a journal's last whole batch ends, and what is behind it.
fn measure(path: &Path) -> io::Result<(u64, Rest)> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut whole = 0;
    let mut item = Vec::new();
    loop {
        match batch(&mut reader, &mut item) {
            Ok(Some(len)) => whole += len,
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    let mut rest = File::open(path)?;
    io::Seek::seek(&mut rest, io::SeekFrom::Start(whole))?;
    let mut rest = BufReader::with_capacity(1 << 18, rest);
    loop {
        let buffer = io::BufRead::fill_buf(&mut rest)?;
        if buffer.is_empty() {
            return Ok((whole, Rest::Zeros));
        }
        if buffer.iter().any(|byte| *byte != 0) {
            return Ok((whole, Rest::Torn));
        }
        let len = buffer.len();
        io::BufRead::consume(&mut rest, len);
    }
}

/// The length of the next batch; `None` when it is none.
fn batch(reader: &mut impl Read, item: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let [tag] = array(reader)?;
    let count = array(reader)?;
    let sequence = u64::from_le_bytes(array(reader)?);
    if tag != START || sequence > SEQUENCE_MAX {
        return Ok(None);
    }
    let mut len = 13;
    let mut checksum = Xxh3::new();
    for _ in 0..u32::from_le_bytes(count) {
        item.clear();
        item.push(array::<1>(reader)?[0]);
        if item[0] != ITEM {
            return Ok(None);
        }
        let head = array::<ITEM_HEAD>(reader)?;
        item.extend_from_slice(&head);
        let [_, _, _, _, _, _, _, _, _, _, key @ .., _, _, _, _, v0, v1, v2, v3] = head;
        let content = usize::from(u16::from_le_bytes(key)) + u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        if content > ITEM_MAX {
            return Ok(None);
        }
        item.resize(1 + ITEM_HEAD + content, 0);
        reader.read_exact(&mut item[1 + ITEM_HEAD..])?;
        checksum.update(item);
        len += item.len() as u64;
    }
    let [tag, sum @ .., t0, t1, t2, t3] = array::<13>(reader)?;
    let is_whole = tag == END && u64::from_le_bytes(sum) == checksum.digest() && [t0, t1, t2, t3] == TRAILER;
    Ok(is_whole.then_some(len + 13))
}

fn array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::fjall::{FOLDER, create, open};
    use super::*;
    use crate::config::Config;
    use crate::persistence::embedded::EngineKind;

    /// Any change of any byte of fjall's last write is a torn end, and what came before is there.
    #[test]
    fn a_torn_end_is_cut_off_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let options = Config::default().store.tuning().embedded(EngineKind::Fjall, 8);
        let engine = create(dir.path(), &options, b"Mmeta", b"1").expect("a store");
        let folder = dir.path().join(FOLDER);
        let journal = folder.join("0.jnl");
        let measured = |path: &Path| measure(path).expect("it can be read");
        engine.insert(b"La", b"first").expect("insert");
        engine.sync().expect("sync");
        let (before, _) = measured(&journal);
        engine.insert_all(vec![(b"Lb".to_vec(), vec![7; 700]), (b"Lc".to_vec(), vec![8; 9])]).expect("insert");
        engine.sync().expect("sync");
        drop(engine);
        let (after, rest) = measured(&journal);
        assert!(before > 0 && after > before + 700 && rest == Rest::Zeros, "{before} {after} {rest:?}");
        let bytes = fs::read(&journal).expect("the journal")[..after as usize].to_vec();
        let torn_at = |at: usize| {
            let mut torn = bytes.clone();
            torn[at] ^= 0x40;
            fs::write(&journal, torn).expect("it is written");
            measured(&journal)
        };
        // The sequence is all that no checksum covers: it may be any.
        for at in
            (before as usize..after as usize).filter(|at| !(before as usize + 5..before as usize + 13).contains(at))
        {
            assert_eq!(torn_at(at), (before, Rest::Torn), "byte {at}");
        }
        for at in [before as usize + 300, after as usize - 20] {
            torn_at(at);
            let engine = open(dir.path(), &options).expect("it opens").expect("it is there");
            assert_eq!(engine.get(b"La").expect("get").as_deref(), Some(&b"first"[..]));
            assert!(engine.get(b"Lb").expect("get").is_none() && engine.get(b"Lc").expect("get").is_none());
        }
        // With a later journal it is damage, and left as it is.
        torn_at(after as usize - 20);
        fs::write(folder.join("1.jnl"), []).expect("a later journal");
        let why = open(dir.path(), &options).map(drop).expect_err("damage").to_string();
        assert!(why.contains(&format!("no whole batch from byte {before}")), "{why}");
        assert_eq!(fs::metadata(&journal).expect("the journal").len(), after);
    }
}
