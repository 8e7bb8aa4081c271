//! A block of a run, read forward.
//!
//! It is a value of the engine: crc32c (4 bytes), then entries as varints (bytes shared with the key before, further bytes,
//! 0 for void or 1 + length of the value), the further bytes of the key, and the value. Most reads want one entry
//! of hundreds, so an entry is made only of what somebody takes.

use std::ops::Range;

use super::engine::Value;
use super::entry::{Item, take_varint};

/// The bytes are no entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Entries, and a place at one of them, or before the first.
pub struct Block {
    stored: Value,
    /// Where the next entry begins.
    next: usize,
    key: Vec<u8>,
    value: Option<Range<usize>>,
}

impl Block {
    /// `stored`: with entries from this byte on. It is before the first of them.
    pub fn new(stored: Value, entries: usize) -> Block {
        Block { stored, next: entries, key: Vec::new(), value: None }
    }

    /// Goes to the next entry; whether there is one.
    pub fn step(&mut self) -> Result<bool, Malformed> {
        if self.next >= self.stored.len() {
            return Ok(false);
        }
        self.read().map(|()| true).ok_or(Malformed)
    }

    fn read(&mut self) -> Option<()> {
        let mut bytes = self.stored.get(self.next..)?;
        let shared = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let further = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let value = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let (suffix, rest) = bytes.split_at_checked(further)?;
        let (_, behind) = rest.split_at_checked(value.saturating_sub(1))?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        let (begins, ends) = (self.stored.len() - rest.len(), self.stored.len() - behind.len());
        self.value = (value > 0).then_some(begins..ends);
        self.next = ends;
        Some(())
    }

    /// Goes to the first entry at or behind a key; whether there is one.
    pub fn seek(&mut self, key: &[u8]) -> Result<bool, Malformed> {
        while self.step()? {
            if self.key.as_slice() >= key {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// `None`: it is void.
    pub fn value(&self) -> Option<Vec<u8>> {
        self.value.clone().and_then(|range| self.stored.get(range)).map(<[u8]>::to_vec)
    }

    /// The entry that it is at.
    pub fn item(&self) -> Item {
        Item { key: self.key.clone(), value: self.value() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{Verdict, decoder};

    const BLOCK: &[u8] = b"\x00\x03\x03abc12\x02\x01\x00d\x03\x00\x01";

    fn block(bytes: &[u8]) -> Block {
        Block::new(Value::Sled(bytes.into()), 0)
    }

    #[test]
    fn a_key_is_found_between_the_others_or_what_follows_it() {
        for (sought, found) in [("", "abc"), ("abc", "abc"), ("abca", "abd"), ("abd", "abd")] {
            let mut block = block(BLOCK);
            assert!(block.seek(sought.as_bytes()).expect("it is well"), "{sought}");
            assert_eq!(block.key(), found.as_bytes(), "{sought}");
        }
        let mut sought = block(BLOCK);
        assert_eq!((sought.seek(b"abe"), sought.step()), (Ok(false), Ok(false)));
    }

    #[test]
    fn fuzz_blocks() {
        decoder("run-block", [BLOCK.to_vec()], |bytes| {
            let (mut block, mut entries) = (block(bytes), 0);
            loop {
                match block.step() {
                    Ok(true) => entries += 1,
                    Ok(false) => return Verdict::accepted(entries <= bytes.len(), "three bytes for each at least"),
                    Err(Malformed) => return Verdict::Refused,
                }
            }
        });
    }
}
