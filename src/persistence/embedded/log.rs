//! The log: what makes a commit durable. Each group commit appends a few *parts* under ascending
//! numbers (`L` and the number, big-endian); they are the journal for good, not only until a checkpoint.
//!
//! A part is 16 bytes of header and the content: format (1 byte), kind of group (1), flags (2: bit 0 says
//! that the content goes on where the previous part's ended), index of the part in its group (4), number
//! of parts in the group (4), crc32c of all the rest (4). Records lie one behind the other and cross from
//! one part to the next only when they are longer than a part, so that reading one reads one value.
//!
//! A crash leaves whole groups only: the parts of one are inserted atomically. A gap in the numbers or
//! a part whose checksum fails is damage, and is reported as such.

use std::sync::Arc;

use super::disk::Disk;
use super::engine::Value;
use crate::persistence::frame::{FrameError, frame_len};
use crate::persistence::{EntityKey, Epoch, Record, Slot, StoreError};

const FORMAT: u8 = 1;
const PART_HEADER: usize = 16;
const CHECKSUM_AT: usize = 12;
/// How much room a new part gets at once: most are no longer.
const PART_LIKELY: usize = 4_096;
const CONTINUES: u16 = 1;

const RECORDS: u8 = 1;
const CLAIMS: u8 = 2;
const FORGET: u8 = 3;

/// Where a record begins: number of the part, and offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub part: u64,
    pub offset: u16,
}

/// A slot's change of owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub slot: Slot,
    pub epoch: Epoch,
    pub owner: String,
}

/// What a group of parts says.
pub enum Group {
    Records(Vec<(Record, Place)>),
    Claims(Vec<Claim>),
    /// Receipts that expired before this time are forgotten.
    Forget(i64),
}

fn part_key(number: u64) -> Vec<u8> {
    let mut key = vec![b'L'];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Parts of one group in the making.
pub struct Writer {
    kind: u8,
    first: u64,
    /// The length of a part at most.
    part_max: usize,
    parts: Vec<Vec<u8>>,
}

impl Writer {
    fn new(kind: u8, first: u64, part_max: usize) -> Writer {
        Writer { kind, first, part_max, parts: Vec::new() }
    }

    /// Lays records into parts numbered from `first`, and says where each one lies.
    pub fn of_records(records: &[Arc<Record>], first: u64, part_max: usize) -> (Writer, Vec<Place>) {
        let mut writer = Writer::new(RECORDS, first, part_max);
        let places = records.iter().map(|record| writer.put_record(record)).collect();
        (writer, places)
    }

    pub fn of_claims(claims: &[Claim], first: u64, part_max: usize) -> Writer {
        let mut writer = Writer::new(CLAIMS, first, part_max);
        for claim in claims {
            let (_, part) = writer.part_with_room(12 + claim.owner.len());
            part.extend_from_slice(&claim.slot.to_le_bytes());
            part.extend_from_slice(&claim.epoch.to_le_bytes());
            part.extend_from_slice(&(claim.owner.len() as u16).to_le_bytes());
            part.extend_from_slice(claim.owner.as_bytes());
        }
        writer
    }

    pub fn of_forget(before_ms: i64, first: u64, part_max: usize) -> Writer {
        let mut writer = Writer::new(FORGET, first, part_max);
        writer.part_with_room(8).1.extend_from_slice(&before_ms.to_le_bytes());
        writer
    }

    fn start_part(&mut self, flags: u16) -> &mut Vec<u8> {
        let mut part = Vec::with_capacity(self.part_max.min(PART_LIKELY));
        part.push(FORMAT);
        part.push(self.kind);
        part.extend_from_slice(&flags.to_le_bytes());
        part.extend_from_slice(&(self.parts.len() as u32).to_le_bytes());
        part.extend_from_slice(&[0; 8]); // number of parts and checksum: see `write`
        self.parts.push(part);
        self.parts.last_mut().expect("one was pushed")
    }

    /// The part that takes the next `len` bytes in one piece, and its number.
    fn part_with_room(&mut self, len: usize) -> (u64, &mut Vec<u8>) {
        if self.parts.last().is_none_or(|part| part.len() + len > self.part_max) {
            self.start_part(0);
        }
        let number = self.first + self.parts.len() as u64 - 1;
        (number, self.parts.last_mut().expect("there is a part"))
    }

    fn put_record(&mut self, record: &Record) -> Place {
        let len = record.encoded_len();
        let room = self.part_max - PART_HEADER;
        if len <= room {
            let (number, part) = self.part_with_room(len);
            let place = Place { part: number, offset: part.len() as u16 };
            record.encode_into(part);
            return place;
        }
        let place = Place { part: self.first + self.parts.len() as u64, offset: PART_HEADER as u16 };
        for (index, piece) in record.encode().chunks(room).enumerate() {
            self.start_part(if index == 0 { 0 } else { CONTINUES }).extend_from_slice(piece);
        }
        place
    }

    /// Writes the group; the answer is the number of its last part. Durable after the next sync.
    pub fn write(mut self, disk: &Disk) -> Result<u64, StoreError> {
        let count = self.parts.len() as u32;
        for part in &mut self.parts {
            part[8..12].copy_from_slice(&count.to_le_bytes());
            let checksum = checksum_of(part);
            part[CHECKSUM_AT..PART_HEADER].copy_from_slice(&checksum.to_le_bytes());
        }
        match self.parts.as_slice() {
            [] => {}
            [only] => disk.insert(&part_key(self.first), only)?,
            _ => {
                let numbered = (self.first..).zip(self.parts);
                disk.insert_all(numbered.map(|(number, part)| (part_key(number), part)))?;
            }
        }
        Ok(self.first + u64::from(count) - 1)
    }
}

fn checksum_of(part: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&part[..CHECKSUM_AT]), &part[PART_HEADER..])
}

fn damaged(number: u64, why: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("log part {number}: {why}"))
}

/// The fields of a part's header that a reader needs.
struct PartHeader {
    kind: u8,
    continues: bool,
    index: u32,
    count: u32,
}

fn open_part(number: u64, part: &[u8]) -> Result<PartHeader, StoreError> {
    let Some((header, _)) = part.split_first_chunk::<PART_HEADER>() else {
        return Err(damaged(number, format_args!("{} bytes are too few", part.len())));
    };
    let [format, kind, f0, f1, i0, i1, i2, i3, c0, c1, c2, c3, s0, s1, s2, s3] = *header;
    let (stored, computed) = (u32::from_le_bytes([s0, s1, s2, s3]), checksum_of(part));
    if stored != computed {
        return Err(damaged(number, format_args!("the checksum is {computed:08x} and should be {stored:08x}")));
    }
    if format != FORMAT {
        return Err(damaged(number, format_args!("no reader for format {format}")));
    }
    let continues = u16::from_le_bytes([f0, f1]) & CONTINUES != 0;
    let (index, count) = (u32::from_le_bytes([i0, i1, i2, i3]), u32::from_le_bytes([c0, c1, c2, c3]));
    Ok(PartHeader { kind, continues, index, count })
}

/// Reads records back. It keeps the part that it read last: neighbours often lie in one.
pub struct Reader<'a> {
    disk: &'a Disk,
    last: Option<(u64, Value)>,
}

impl<'a> Reader<'a> {
    pub fn new(disk: &'a Disk) -> Reader<'a> {
        Reader { disk, last: None }
    }

    /// A part as it is stored. Whoever needs more of it than whole records verifies its checksum.
    fn part(&mut self, number: u64) -> Result<Value, StoreError> {
        if let Some((last, part)) = &self.last
            && *last == number
        {
            return Ok(part.clone());
        }
        let part = self.disk.get(&part_key(number))?.ok_or_else(|| damaged(number, "it is missing"))?;
        self.last = Some((number, part.clone()));
        Ok(part)
    }

    /// The record at a place, which must be the one that the index says is there.
    pub fn record(
        &mut self,
        place: Place,
        slot: Slot,
        key: Option<&EntityKey>,
        seq: u64,
    ) -> Result<Record, StoreError> {
        let record = self.record_any(place)?;
        if record.slot == slot && record.seq == seq && key.is_none_or(|key| *key == record.key) {
            return Ok(record);
        }
        let (found_slot, found_seq, offset) = (record.slot, record.seq, place.offset);
        let why =
            format!("byte {offset}: slot {found_slot} sequence {found_seq}, where {slot} sequence {seq} should be");
        Err(damaged(place.part, why))
    }

    /// Whatever record is at a place.
    pub fn record_any(&mut self, place: Place) -> Result<Record, StoreError> {
        let part = self.part(place.part)?;
        let first = part.get(usize::from(place.offset)..).unwrap_or_default();
        // Its own checksum vouches for it: that of all the part would be calculated again for each record that others
        // have between theirs.
        match Record::decode_first(first) {
            Ok((record, _)) => Ok(record),
            Err(_) => self.long_record(place, &part),
        }
    }

    /// A record that is longer than what is left of its part, or why there is none.
    fn long_record(&mut self, place: Place, part: &Value) -> Result<Record, StoreError> {
        let wrong = |error: FrameError| damaged(place.part, format_args!("byte {}: {error}", place.offset));
        open_part(place.part, part)?;
        let first = part.get(usize::from(place.offset)..).unwrap_or_default();
        let needed = frame_len(first).map_err(wrong)?;
        if needed <= first.len() {
            return Record::decode(&first[..needed]).map_err(wrong);
        }
        let mut frame = first.to_vec();
        let mut number = place.part;
        while frame.len() < needed {
            number += 1;
            let next = self.part(number)?;
            if !open_part(number, &next)?.continues {
                return Err(damaged(number, "it should go on with a long record and does not"));
            }
            let missing = needed - frame.len();
            frame.extend_from_slice(&next[PART_HEADER..next.len().min(PART_HEADER + missing)]);
        }
        Record::decode(&frame).map_err(wrong)
    }
}

/// Parts read at once while replaying.
const REPLAY_PAGE: usize = 64;

/// Reads every group behind part `after` and hands it to `apply`, with the number of its last part.
pub fn replay(
    disk: &Disk,
    after: u64,
    mut apply: impl FnMut(Group, u64) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    if after > 0 && disk.get(&part_key(after))?.is_none() {
        return Err(damaged(after, "it is missing, and the index covers it"));
    }
    let mut last = after;
    let mut group: Vec<Value> = Vec::new();
    loop {
        let page = disk.scan(&part_key(last + 1), b"M", REPLAY_PAGE)?;
        for (key, part) in &page {
            let number = last + 1;
            if key[..] != part_key(number) {
                return Err(damaged(number, "it is missing, and later ones are there"));
            }
            let header = open_part(number, part)?;
            if header.index as usize != group.len() {
                return Err(damaged(number, format_args!("index {} where {} is next", header.index, group.len())));
            }
            group.push(part.clone());
            last = number;
            if header.index + 1 == header.count {
                let first = last + 1 - group.len() as u64;
                apply(read_group(header.kind, first, &group)?, last)?;
                group.clear();
            }
        }
        if page.is_empty() {
            break;
        }
    }
    match group.len() {
        0 => Ok(last),
        parts => Err(damaged(last, format_args!("the log ends after {parts} parts of an unfinished group"))),
    }
}

fn read_group(kind: u8, first: u64, parts: &[Value]) -> Result<Group, StoreError> {
    match kind {
        RECORDS => read_records(first, parts).map(Group::Records),
        CLAIMS => read_claims(first, parts).map(Group::Claims),
        FORGET => {
            let time = parts.first().and_then(|part| part[PART_HEADER..].try_into().ok());
            time.map(|bytes| Group::Forget(i64::from_le_bytes(bytes))).ok_or_else(|| damaged(first, "it holds no time"))
        }
        other => Err(damaged(first, format_args!("no reader for groups of kind {other}"))),
    }
}

fn read_records(first: u64, parts: &[Value]) -> Result<Vec<(Record, Place)>, StoreError> {
    let mut records = Vec::new();
    let (mut index, mut offset) = (0, PART_HEADER);
    while let Some(part) = parts.get(index) {
        let number = first + index as u64;
        let wrong = |error: FrameError| damaged(number, format_args!("byte {offset}: {error}"));
        if offset == part.len() {
            (index, offset) = (index + 1, PART_HEADER);
            continue;
        }
        let place = Place { part: number, offset: offset as u16 };
        let rest = &part[offset..];
        let needed = frame_len(rest).map_err(wrong)?;
        if needed <= rest.len() {
            records.push((Record::decode(&rest[..needed]).map_err(wrong)?, place));
            offset += needed;
            continue;
        }
        let mut frame = rest.to_vec();
        while frame.len() < needed {
            index += 1;
            let next = parts.get(index).ok_or_else(|| damaged(number, "a long record is cut off"))?;
            offset = next.len().min(PART_HEADER + needed - frame.len());
            frame.extend_from_slice(&next[PART_HEADER..offset]);
        }
        let decoded = Record::decode(&frame);
        records.push((decoded.map_err(|error| damaged(number, error))?, place));
    }
    Ok(records)
}

fn read_claims(first: u64, parts: &[Value]) -> Result<Vec<Claim>, StoreError> {
    let mut claims = Vec::new();
    for (number, part) in (first..).zip(parts) {
        let mut rest = &part[PART_HEADER..];
        while !rest.is_empty() {
            let (claim, left) = read_claim(rest).ok_or_else(|| damaged(number, "a claim is cut off"))?;
            claims.push(claim);
            rest = left;
        }
    }
    Ok(claims)
}

fn read_claim(bytes: &[u8]) -> Option<(Claim, &[u8])> {
    let (slot, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (owner, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    let owner = String::from_utf8(owner.to_vec()).ok()?;
    Some((Claim { slot: Slot::from_le_bytes(*slot), epoch: Epoch::from_le_bytes(*epoch), owner }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{Verdict, decoder};

    /// A group of one part, sealed: so that what is inside is reached.
    #[test]
    fn fuzz_log_groups() {
        let claims =
            [Claim { slot: 7, epoch: 3, owner: "node".into() }, Claim { slot: 8, epoch: 1, owner: String::new() }];
        let writers = [Writer::of_claims(&claims, 1, 999), Writer::of_forget(-5, 1, 999)];
        let seeds = writers.map(|writer| [&[writer.kind], &writer.parts[0][PART_HEADER..]].concat());
        let record = data_encoding::HEXLOWER.decode(
            b"01010100010000000100000000000000ffffffffffffffff000000000000000000000000000000001800000001ebefd5\
              000001000000000000000100000000000000010100780000",
        );
        let record = [&[RECORDS][..], &record.expect("hexadecimal digits")].concat();
        decoder("log-group", seeds.into_iter().chain([record]), |bytes| {
            let Some((kind, content)) = bytes.split_first() else { return Verdict::Refused };
            let halves = content.split_at(content.len() / 2);
            let part = |content: &[u8]| Value::from([&[0; PART_HEADER][..], content].concat());
            // In two parts as well: a record may go on in the next one.
            let _ = read_group(*kind, 1, &[part(halves.0), part(halves.1)]);
            match read_group(*kind, 1, &[part(content)]) {
                Ok(_) => Verdict::Accepted,
                Err(_) => Verdict::Refused,
            }
        });
        decoder("log-part", [vec![FORMAT; 40]], |bytes| {
            let _ = open_part(1, bytes);
            Verdict::Accepted
        });
    }
}
