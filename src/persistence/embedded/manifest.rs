//! The manifest: one small value (`Mindex`) that says which runs make up the index and up to which part
//! of the log they go. Replacing it is what makes a checkpoint or a merge count, all at once.

use super::disk::Disk;
use super::entry::{put_varint, take_varint};
use super::run::Run;
use crate::persistence::StoreError;

const KEY: &[u8] = b"Mindex";
const FORMAT: u8 = 1;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The number that the next run gets.
    pub next_run: u64,
    /// The last part of the log that is in the runs.
    pub covers: u64,
    pub forget_before_ms: i64,
    /// From the newest to the oldest.
    pub runs: Vec<RunEntry>,
}

/// What must be known of a run to open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEntry {
    pub id: u64,
    pub level: u8,
    pub entries: u64,
    pub blocks: u32,
    pub footer_parts: u32,
}

impl RunEntry {
    pub fn of(run: &Run) -> RunEntry {
        let Run { id, level, entries, blocks, footer_parts, .. } = *run;
        RunEntry { id, level, entries, blocks, footer_parts }
    }

    pub fn open(&self, disk: &Disk) -> Result<Run, StoreError> {
        Run::open(disk, self.id, self.level, self.entries, self.blocks, self.footer_parts)
    }
}

impl Manifest {
    /// The stored manifest; an empty one before the first checkpoint.
    pub fn read(disk: &Disk) -> Result<Manifest, StoreError> {
        match disk.get(KEY)? {
            None => Ok(Manifest::default()),
            Some(stored) => Manifest::decode(&stored)
                .ok_or_else(|| StoreError::Damaged("the manifest of the index does not match its checksum".into())),
        }
    }

    pub fn write(&self, disk: &Disk) -> Result<(), StoreError> {
        disk.insert(KEY, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for field in [self.next_run, self.covers, self.forget_before_ms as u64, self.runs.len() as u64] {
            put_varint(&mut out, field);
        }
        for run in &self.runs {
            for field in [run.id, u64::from(run.level), run.entries, u64::from(run.blocks), u64::from(run.footer_parts)]
            {
                put_varint(&mut out, field);
            }
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn decode(stored: &[u8]) -> Option<Manifest> {
        let (fields, checksum) = stored.split_last_chunk()?;
        let (format, mut fields) = fields.split_first()?;
        let computed = crc32c::crc32c_append(crc32c::crc32c(&[*format]), fields);
        if *format != FORMAT || computed != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut next = || take_varint(&mut fields);
        let mut manifest =
            Manifest { next_run: next()?, covers: next()?, forget_before_ms: next()? as i64, runs: Vec::new() };
        for _ in 0..next()? {
            manifest.runs.push(RunEntry {
                id: next()?,
                level: u8::try_from(next()?).ok()?,
                entries: next()?,
                blocks: u32::try_from(next()?).ok()?,
                footer_parts: u32::try_from(next()?).ok()?,
            });
        }
        Some(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{Verdict, decoder};

    #[test]
    fn a_manifest_reads_back_and_a_flipped_bit_is_detected() {
        let run = RunEntry { id: 4, level: 1, entries: 1 << 40, blocks: 70_000, footer_parts: 3 };
        let manifest = Manifest { next_run: 5, covers: 999, forget_before_ms: -1, runs: vec![run] };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Some(manifest));
        for bit in 0..bytes.len() * 8 {
            let mut torn = bytes.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::decode(&torn), None, "bit {bit}");
        }
    }

    #[test]
    fn fuzz_manifest() {
        let run = RunEntry { id: 4, level: 1, entries: 1 << 40, blocks: 70_000, footer_parts: 3 };
        let full = Manifest { next_run: 5, covers: 999, forget_before_ms: -1, runs: vec![run; 3] };
        let judge = |bytes: &[u8]| {
            let fields = &bytes[..bytes.len().saturating_sub(4)];
            let sealed = [fields, &crc32c::crc32c(fields).to_le_bytes()].concat();
            match Manifest::decode(&sealed) {
                Some(read) => Verdict::accepted(Manifest::decode(&read.encode()) == Some(read), "it reads back"),
                None => Verdict::Refused,
            }
        };
        decoder("manifest", [Manifest::default().encode(), full.encode()], judge);
    }
}
