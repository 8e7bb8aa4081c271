//! Runs: the derived index as sorted, immutable entries on disk.
//!
//! A run is written once, from one memtable or by merging older runs, and never changed. Its entries lie
//! in blocks (`I` run, block; [`block`](super::block)). Its footer (`J` run, part; each part crc32c and content) holds the
//! first key of every block, and a Bloom filter over entities and receipts, so that asking for what is not
//! there costs no read. Both stay in memory: some 20 bits an entry.
//!
//! A run counts from the moment that the manifest names it. A crash before leaves blocks of a run that
//! nobody names: they are removed at the next opening.

use std::sync::Arc;

use super::block::{Block, Malformed};
use super::disk::Disk;
use super::entry::{self, Item, put_varint, take_varint};
use crate::persistence::StoreError;

/// Room for entries in a block: what every engine takes as a value, and no more, for a block is read as a whole and
/// its checksum with it. The largest entry (a list of places under a long id) fits.
const BLOCK_MAX: usize = 5_632 - 4;
const BLOOM_BITS_PER_KEY: usize = 10;
const BLOOM_PROBES: u64 = 6;

pub struct Run {
    pub id: u64,
    /// How often its entries were merged.
    pub level: u8,
    pub entries: u64,
    pub blocks: u32,
    pub footer_parts: u32,
    /// The first key of every block.
    fences: Vec<Box<[u8]>>,
    bloom: Bloom,
}

fn run_key(tag: u8, run: u64, index: u32) -> Vec<u8> {
    [&[tag][..], &run.to_be_bytes(), &index.to_be_bytes()].concat()
}

/// Removes what is stored of a run.
pub fn remove(disk: &Disk, run: u64) -> Result<(), StoreError> {
    for tag in [b'I', b'J'] {
        disk.remove_range(&run_key(tag, run, 0), &run_key(tag, run + 1, 0))?;
    }
    Ok(())
}

/// The number of the first run at or behind `run` of which anything is stored.
pub fn first_stored(disk: &Disk, run: u64) -> Result<Option<u64>, StoreError> {
    let first = |tag: u8| {
        let found = disk.scan(&run_key(tag, run, 0), &[tag + 1], 1)?;
        let number = found.first().and_then(|(key, _)| key.get(1..)?.first_chunk().copied());
        Ok::<_, StoreError>(number.map(u64::from_be_bytes))
    };
    Ok([first(b'I')?, first(b'J')?].into_iter().flatten().min())
}

fn damaged(run: u64, what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("index run {run}: {what}"))
}

/// Splits the checksum off a block or a part of a footer.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (checksum, content) = bytes.split_first_chunk()?;
    (u32::from_le_bytes(*checksum) == crc32c::crc32c(content)).then_some(content)
}

/// Which keys the filter knows: an entity's head, and its receipts.
fn is_filtered(key: &[u8]) -> bool {
    entry::entity_prefix_len(key).and_then(|len| key.get(len)).is_some_and(|tag| *tag != entry::PLACES)
}

/// A set that may say yes wrongly (1 in 100) and never no.
struct Bloom {
    bits: Vec<u8>,
}

impl Bloom {
    fn for_keys(keys: usize) -> Bloom {
        Bloom { bits: vec![0; (keys * BLOOM_BITS_PER_KEY).div_ceil(8).max(8)] }
    }

    /// Stored, so it never changes: FNV-1a, and murmur's finish to spread it.
    pub fn hash(key: &[u8]) -> u64 {
        let fnv = key
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }

    fn probes(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let bits = self.bits.len() as u64 * 8;
        let step = (hash >> 32) | 1;
        (0..BLOOM_PROBES).map(move |n| (hash.wrapping_add(n.wrapping_mul(step)) % bits) as usize)
    }

    fn add(&mut self, hash: u64) {
        for bit in self.probes(hash) {
            self.bits[bit / 8] |= 1 << (bit % 8);
        }
    }

    fn may_have(&self, hash: u64) -> bool {
        self.probes(hash).all(|bit| self.bits[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

/// A key to look up in several runs, hashed once.
pub struct Wanted<'a> {
    key: &'a [u8],
    hash: u64,
}

impl<'a> Wanted<'a> {
    /// `key` is an entity's head or receipt.
    pub fn new(key: &'a [u8]) -> Wanted<'a> {
        debug_assert!(is_filtered(key));
        Wanted { key, hash: Bloom::hash(key) }
    }
}

impl Run {
    /// Whether the run may have the key: a matter of memory, not of the disk.
    pub fn may_have(&self, wanted: &Wanted<'_>) -> bool {
        self.bloom.may_have(wanted.hash)
    }

    pub fn get(&self, disk: &Disk, wanted: &Wanted<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.may_have(wanted) {
            return Ok(None);
        }
        let Some(number) = self.block_of(wanted.key) else { return Ok(None) };
        let mut block = self.read_block(disk, number)?;
        let is_found = block.seek(wanted.key).map_err(|Malformed| self.malformed(number))?;
        Ok(if is_found && block.key() == wanted.key { block.value() } else { None })
    }

    /// The block that has the key if any does.
    fn block_of(&self, key: &[u8]) -> Option<u32> {
        self.fences.partition_point(|fence| **fence <= *key).checked_sub(1).map(|block| block as u32)
    }

    fn read_block(&self, disk: &Disk, number: u32) -> Result<Block, StoreError> {
        let wrong = |why: &str| damaged(self.id, format_args!("block {number}: {why}"));
        let stored = disk.get(&run_key(b'I', self.id, number))?.ok_or_else(|| wrong("it is missing"))?;
        let entries = checked(&stored).ok_or_else(|| wrong("the checksum does not match"))?;
        let begin = stored.len() - entries.len();
        Ok(Block::new(stored, begin))
    }

    fn malformed(&self, block: u32) -> StoreError {
        damaged(self.id, format_args!("block {block}: its entries are malformed"))
    }

    /// Opens a run that the manifest names.
    pub fn open(disk: &Disk, id: u64, level: u8, entries: u64, blocks: u32, parts: u32) -> Result<Run, StoreError> {
        let mut footer = Vec::new();
        for part in 0..parts {
            let wrong = |why: &str| damaged(id, format_args!("part {part} of the footer: {why}"));
            let stored = disk.get(&run_key(b'J', id, part))?.ok_or_else(|| wrong("it is missing"))?;
            footer.extend_from_slice(checked(&stored).ok_or_else(|| wrong("the checksum does not match"))?);
        }
        let (fences, bloom) = read_footer(&footer, blocks).ok_or_else(|| damaged(id, "the footer is malformed"))?;
        Ok(Run { id, level, entries, blocks, footer_parts: parts, fences, bloom })
    }
}

fn read_footer(mut bytes: &[u8], blocks: u32) -> Option<(Vec<Box<[u8]>>, Bloom)> {
    let mut fences = Vec::new();
    for _ in 0..blocks {
        let len = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let (fence, rest) = bytes.split_at_checked(len)?;
        fences.push(fence.into());
        bytes = rest;
    }
    (bytes.len() >= 8).then(|| (fences, Bloom { bits: bytes.to_vec() }))
}

/// Writes a run, entry by entry in the order of the keys.
pub struct RunWriter<'a> {
    disk: &'a Disk,
    run: Run,
    block: Vec<u8>,
    last_key: Vec<u8>,
}

impl<'a> RunWriter<'a> {
    /// `entries_max` is how many entries there will be at most.
    pub fn new(disk: &'a Disk, id: u64, level: u8, entries_max: usize) -> RunWriter<'a> {
        let bloom = Bloom::for_keys(entries_max);
        let run = Run { id, level, entries: 0, blocks: 0, footer_parts: 0, fences: Vec::new(), bloom };
        RunWriter { disk, run, block: Vec::new(), last_key: Vec::new() }
    }

    /// Blocks written so far.
    pub fn blocks(&self) -> u32 {
        self.run.blocks
    }

    pub fn add(&mut self, item: &Item) -> Result<(), StoreError> {
        let value_len = item.value.as_ref().map_or(0, Vec::len);
        // Three varints of at most 3 bytes each: no key or value reaches 2 MiB.
        if !self.block.is_empty() && self.block.len() + item.key.len() + value_len + 9 > BLOCK_MAX {
            self.end_block()?;
        }
        let shared = if self.block.is_empty() {
            self.run.fences.push(item.key.as_slice().into());
            0
        } else {
            item.key.iter().zip(&self.last_key).take_while(|(a, b)| a == b).count()
        };
        put_varint(&mut self.block, shared as u64);
        put_varint(&mut self.block, (item.key.len() - shared) as u64);
        put_varint(&mut self.block, item.value.as_ref().map_or(0, |value| value.len() as u64 + 1));
        self.block.extend_from_slice(&item.key[shared..]);
        self.block.extend_from_slice(item.value.as_deref().unwrap_or_default());
        self.last_key.clone_from(&item.key);
        self.run.entries += 1;
        if is_filtered(&item.key) {
            self.run.bloom.add(Bloom::hash(&item.key));
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        let entries = std::mem::take(&mut self.block);
        self.put(b'I', self.run.blocks, &entries)?;
        self.run.blocks += 1;
        Ok(())
    }

    fn put(&self, tag: u8, index: u32, content: &[u8]) -> Result<(), StoreError> {
        let value = [&crc32c::crc32c(content).to_le_bytes()[..], content].concat();
        self.disk.insert(&run_key(tag, self.run.id, index), &value)
    }

    /// Writes what is left and the footer. The run is not durable yet.
    pub fn finish(mut self) -> Result<Run, StoreError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let mut footer = Vec::new();
        for fence in &self.run.fences {
            put_varint(&mut footer, fence.len() as u64);
            footer.extend_from_slice(fence);
        }
        footer.extend_from_slice(&self.run.bloom.bits);
        for part in footer.chunks(BLOCK_MAX) {
            self.put(b'J', self.run.footer_parts, part)?;
            self.run.footer_parts += 1;
        }
        Ok(self.run)
    }
}

/// Reads a run forward.
pub struct RunScan<'a> {
    disk: &'a Disk,
    run: Arc<Run>,
    next_block: u32,
    block: Option<Block>,
    /// Whether the entry that the block is at was not given yet.
    is_at_next: bool,
}

impl<'a> RunScan<'a> {
    /// Begins at the first entry at or behind `start`.
    pub fn new(disk: &'a Disk, run: Arc<Run>, start: &[u8]) -> Result<RunScan<'a>, StoreError> {
        let number = run.block_of(start).unwrap_or(0);
        let mut block = if number < run.blocks { Some(run.read_block(disk, number)?) } else { None };
        let is_at_next = match &mut block {
            Some(block) => block.seek(start).map_err(|Malformed| run.malformed(number))?,
            None => false,
        };
        Ok(RunScan { disk, run, next_block: number + 1, block, is_at_next })
    }

    pub fn next(&mut self) -> Result<Option<Item>, StoreError> {
        loop {
            if let Some(block) = &mut self.block
                && (std::mem::take(&mut self.is_at_next)
                    || block.step().map_err(|Malformed| self.run.malformed(self.next_block - 1))?)
            {
                return Ok(Some(block.item()));
            }
            if self.next_block >= self.run.blocks {
                return Ok(None);
            }
            self.block = Some(self.run.read_block(self.disk, self.next_block)?);
            self.next_block += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{Verdict, decoder};

    #[test]
    fn a_block_is_a_value_of_every_engine() {
        for engine in crate::persistence::embedded::EngineKind::ALL {
            assert!(BLOCK_MAX + 4 <= engine.value_max(), "{engine:?}");
        }
    }

    #[test]
    fn fuzz_footers() {
        let footer = b"\x03abc\x02de12345678".to_vec();
        decoder("run-footer", [footer], |bytes| match read_footer(bytes, 2).or_else(|| read_footer(bytes, u32::MAX)) {
            Some((fences, bloom)) => {
                let _ = bloom.may_have(Bloom::hash(b"key")); // it can be asked
                Verdict::accepted(bytes.len() >= fences.len() + 8, "a byte for each fence, and the filter")
            }
            None => Verdict::Refused,
        });
    }
}
