//! The witness: a file of 20 bytes beside sled's (`souk.end`) that says up to which part of the log commits were
//! acknowledged. sled takes damage near the end of its file for the torn end of a crash, and cuts off what comes
//! behind without a word; a store of which everything is damaged opens as an empty one. Nothing inside sled's file
//! can tell that from the truth, so this stands outside of it.
//!
//! It is written after a commit has become durable and before anybody is answered, and is not synced with it: that
//! costs two system calls. So it never says more than the log holds, whatever crash comes; after a power cut it may
//! say less, by what the kernel had not yet written back (half a minute). It is synced when a store is opened and
//! closed, and with each checkpoint; and when it is made, before there is a store: it is whole from then on, for
//! what is written over it is less than a sector.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::persistence::StoreError;

pub const FILE: &str = "souk.end";
const MAGIC: &[u8; 8] = b"souk-end";
const LEN: usize = 20;

pub struct Witness(File);

impl Witness {
    /// Opens the witness of a store, or makes one, and says which part of the log was the last. `None`: there was no
    /// witness, or one that a power cut has met while the store was created. Where there is no store yet
    /// (`has_store`), that is what one is that cannot be read.
    pub fn open(dir: &Path, has_store: bool) -> Result<(Witness, Option<u64>), StoreError> {
        let path = dir.join(FILE);
        let failed = |error: io::Error| StoreError::Fatal(format!("cannot read {}: {error}", path.display()));
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let last_part = decode(&bytes);
        if last_part.is_none() && has_store && bytes.iter().any(|byte| *byte != 0) {
            return Err(StoreError::Damaged(format!(
                "{FILE}, which says where the log ended, does not match its checksum. Restore a backup (or delete \
                 it, to go on with what the log holds)"
            )));
        }
        Ok((Witness(file), last_part))
    }

    /// Notes that everything up to a part of the log is durable.
    pub fn note(&self, last_part: u64) -> io::Result<()> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&encode(last_part))
    }

    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Refuses a log that ends before what was acknowledged.
pub fn check(noted: Option<u64>, last_part: u64) -> Result<(), StoreError> {
    match noted {
        Some(noted) if noted > last_part => Err(StoreError::Damaged(format!(
            "the log ends at part {last_part}, and commits up to part {noted} were acknowledged: its end is lost. \
             Restore a backup (or delete {FILE}, to go on without what is lost)"
        ))),
        _ => Ok(()),
    }
}

fn encode(last_part: u64) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&last_part.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let last_part = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    (bytes == encode(last_part)).then_some(last_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_reads_back_and_a_flipped_bit_is_detected() {
        let bytes = encode(1 << 40);
        assert_eq!(decode(&bytes), Some(1 << 40));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
        assert!((0..LEN).all(|len| decode(&bytes[..len]).is_none()));
    }

    #[test]
    fn only_a_log_that_is_too_short_is_refused() {
        assert!(check(None, 0).is_ok() && check(Some(3), 3).is_ok() && check(Some(3), 4).is_ok());
        let why = check(Some(4), 3).expect_err("part 4 is lost").to_string();
        assert!(why.contains("ends at part 3, and commits up to part 4 were acknowledged"), "{why}");
    }
}
