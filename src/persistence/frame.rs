//! The bytes of records and snapshots: a fixed, hand-written envelope of ours around payloads of the
//! codec, so that the codec can be replaced and no type name or discriminant of the compiler is stored.
//!
//! All integers are little-endian. The header is 48 bytes:
//!
//! | at | size | what |
//! | --- | --- | --- |
//! | 0 | 1 | format of the envelope: 1 |
//! | 1 | 1 | codec of the payloads: 1 is bincode 2, standard configuration |
//! | 2 | 2 | type number: 1 a record, 2 a snapshot |
//! | 4 | 2 | version of that type's body: 1; a snapshot that says until when it is incomplete: 2 |
//! | 6 | 2 | flags: which optional parts the body has |
//! | 8 | 8 | epoch (a snapshot: 0) |
//! | 16 | 8 | time, milliseconds since 1970 |
//! | 24 | 16 | request id (a snapshot: zeros) |
//! | 40 | 4 | length of the body |
//! | 44 | 4 | crc32c of everything else: header before this field, and body |
//!
//! Whoever reads trusts nothing: every length is checked against what is there before a byte is copied
//! or memory is taken, and the checksum is verified before the body is looked at. These bytes outlive
//! every process: a new layout takes a new version, old ones are read for ever (golden bytes below).

pub use super::bytes::FrameError;
use super::bytes::*;
use super::record::{EntityKey, Origin, OwedChange, Receipt, Record, RequestBytes, Snapshot, WakeChange};

const FORMAT: u8 = 1;
const CODEC: u8 = 1;
const RECORD: u16 = 1;
const SNAPSHOT: u16 = 2;
const VERSION: u16 = 1;
/// Of a snapshot with [`snapshot_flag::ELSEWHERE`]; all others are written as before.
const SNAPSHOT_VERSION_2: u16 = 2;

/// Bytes of the header in front of every body.
pub const HEADER_BYTES: usize = 48;
const LENGTH_AT: usize = 40;
const CHECKSUM_AT: usize = 44;

/// The largest encoded record. One command's effect is small; this only stops runaways.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// The largest encoded snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;
/// The longest entity id: ids are names, and part of every index key.
pub const ID_BYTES_MAX: usize = 512;
/// Most events of one record, and most items of one owed row.
pub const ITEMS_MAX: usize = u16::MAX as usize;

/// What the flags of a record say is in its body.
mod record_flag {
    pub const RECEIPT: u16 = 1 << 0;
    pub const RECEIPT_OWED: u16 = 1 << 1;
    pub const OWED: u16 = 1 << 2;
    pub const OWED_BEFORE: u16 = 1 << 3;
    pub const OWED_AFTER: u16 = 1 << 4;
    pub const WAKE: u16 = 1 << 5;
    pub const WAKE_BEFORE: u16 = 1 << 6;
    pub const WAKE_AFTER: u16 = 1 << 7;
    pub const ALL: u16 = (1 << 8) - 1;
}

/// What the flags of a snapshot say is in its body.
mod snapshot_flag {
    pub const RECEIPTS_COMPLETE: u16 = 1 << 0;
    pub const OWED: u16 = 1 << 1;
    pub const WAKE: u16 = 1 << 2;
    pub const ALL_V1: u16 = (1 << 3) - 1;
    /// From version 2 on: until when receipts that are not in it may be asked for.
    pub const ELSEWHERE: u16 = 1 << 3;
    pub const ALL_V2: u16 = (1 << 4) - 1;
}

impl Record {
    /// Whether the record can be stored at all. The text says why not.
    pub fn check(&self) -> Result<(), String> {
        check_key(&self.key)?;
        let owed_items = self.owed.as_ref().and_then(|c| c.after.as_ref()).map_or(&[][..], |row| &row.items);
        if self.events.len() > ITEMS_MAX || owed_items.len() > ITEMS_MAX {
            return Err(format!("more than {ITEMS_MAX} events or owed requests in one record"));
        }
        if owed_items.iter().any(|item| item.key.len() > usize::from(u16::MAX)) {
            return Err("the key of an owed request is too long".to_owned());
        }
        match self.encoded_len() {
            len if len > RECORD_BYTES_MAX => Err(format!("a record of {len} bytes: at most {RECORD_BYTES_MAX}")),
            _ => Ok(()),
        }
    }

    /// How many bytes [`Record::encode_into`] appends.
    pub fn encoded_len(&self) -> usize {
        let receipt = self.receipt.as_ref().map_or(0, receipt_len);
        let events: usize = self.events.iter().map(payload_len).sum();
        let owed = self
            .owed
            .as_ref()
            .map_or(0, |change| change.before_due_ms.map_or(0, |_| 8) + change.after.as_ref().map_or(0, owed_row_len));
        let wake = self.wake.map_or(0, |change| change.before_ms.map_or(0, |_| 8) + change.after_ms.map_or(0, |_| 8));
        HEADER_BYTES + 2 + 8 + 8 + key_len(&self.key) + receipt + 2 + events + owed + wake
    }

    /// Appends the record's frame. The record has passed [`Record::check`].
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        use record_flag as flag;
        let set = |bit: u16, on: bool| if on { bit } else { 0 };
        let flags = set(flag::RECEIPT, self.receipt.is_some())
            | set(flag::RECEIPT_OWED, matches!(&self.receipt, Some(Receipt { origin: Origin::Owed { .. }, .. })))
            | set(flag::OWED, self.owed.is_some())
            | set(flag::OWED_BEFORE, self.owed.as_ref().is_some_and(|change| change.before_due_ms.is_some()))
            | set(flag::OWED_AFTER, self.owed.as_ref().is_some_and(|change| change.after.is_some()))
            | set(flag::WAKE, self.wake.is_some())
            | set(flag::WAKE_BEFORE, self.wake.is_some_and(|change| change.before_ms.is_some()))
            | set(flag::WAKE_AFTER, self.wake.is_some_and(|change| change.after_ms.is_some()));
        let start = out.len();
        put_header(out, RECORD, VERSION, flags, self.epoch, self.at_ms, &self.request);
        put_u16(out, self.slot);
        put_u64(out, self.seq);
        put_u64(out, self.version);
        put_key(out, &self.key);
        if let Some(receipt) = &self.receipt {
            put_receipt(out, receipt);
        }
        put_u16(out, self.events.len() as u16);
        for event in &self.events {
            put_payload(out, event);
        }
        if let Some(change) = &self.owed {
            change.before_due_ms.iter().for_each(|due_ms| put_i64(out, *due_ms));
            change.after.iter().for_each(|row| put_owed_row(out, row));
        }
        if let Some(change) = self.wake {
            change.before_ms.iter().for_each(|due_ms| put_i64(out, *due_ms));
            change.after_ms.iter().for_each(|due_ms| put_i64(out, *due_ms));
        }
        seal(out, start);
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out
    }

    /// Reads a frame that is all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Record, FrameError> {
        let (record, used) = Record::decode_first(bytes)?;
        match bytes.len() - used {
            0 => Ok(record),
            left => Err(FrameError::LeftOver { at: used, left }),
        }
    }

    /// Reads the frame at the beginning of `bytes`; answers how long it is, too.
    pub fn decode_first(bytes: &[u8]) -> Result<(Record, usize), FrameError> {
        use record_flag as flag;
        let (header, mut body) = open(bytes, RECORD, &[(VERSION, flag::ALL)], RECORD_BYTES_MAX)?;
        let has = |bit: u16| header.flags & bit != 0;
        let slot = body.u16("slot")?;
        let seq = body.u64("slot sequence")?;
        let version = body.u64("entity version")?;
        let key = body.key()?;
        let receipt = if has(flag::RECEIPT) { Some(body.receipt(has(flag::RECEIPT_OWED))?) } else { None };
        let count = usize::from(body.u16("number of events")?);
        let mut events = Vec::with_capacity(body.plausible(count, PAYLOAD_FIXED));
        for _ in 0..count {
            events.push(body.payload()?);
        }
        let owed = if has(flag::OWED) {
            let before_due_ms = if has(flag::OWED_BEFORE) { Some(body.i64("owed row before")?) } else { None };
            let after = if has(flag::OWED_AFTER) { Some(body.owed_row()?) } else { None };
            Some(OwedChange { before_due_ms, after })
        } else {
            None
        };
        let wake = if has(flag::WAKE) {
            let before_ms = if has(flag::WAKE_BEFORE) { Some(body.i64("wake row before")?) } else { None };
            let after_ms = if has(flag::WAKE_AFTER) { Some(body.i64("wake row after")?) } else { None };
            Some(WakeChange { before_ms, after_ms })
        } else {
            None
        };
        let used = body.finish()?;
        let Header { epoch, at_ms, request, .. } = header;
        Ok((Record { slot, seq, epoch, key, version, at_ms, request, receipt, events, owed, wake }, used))
    }
}

impl Snapshot {
    /// Whether the snapshot can be stored at all. The text says why not.
    pub fn check(&self) -> Result<(), String> {
        check_key(&self.key)?;
        let owed_items = self.owed.as_ref().map_or(&[][..], |row| &row.items);
        if owed_items.len() > ITEMS_MAX || owed_items.iter().any(|item| item.key.len() > usize::from(u16::MAX)) {
            return Err("the owed row is too long".to_owned());
        }
        match self.encoded_len() {
            len if len > SNAPSHOT_BYTES_MAX => Err(format!("a snapshot of {len} bytes: at most {SNAPSHOT_BYTES_MAX}")),
            _ => Ok(()),
        }
    }

    /// Whether a store takes it; if not the log says why. (Slots ask before they hand one over.)
    pub fn fits(&self) -> bool {
        let checked = self.check();
        if let Err(why) = &checked {
            tracing::warn!(kind = self.key.kind, id = %self.key.id, why, "a snapshot was dropped");
        }
        checked.is_ok()
    }

    /// How many bytes [`Snapshot::encode`] gives.
    pub fn encoded_len(&self) -> usize {
        let receipts: usize = self.receipts.iter().map(|(_, _, receipt)| 16 + 8 + 1 + receipt_len(receipt)).sum();
        HEADER_BYTES
            + (2 + 8 + 8)
            + key_len(&self.key)
            + payload_len(&self.state)
            + (4 + receipts)
            + (4 + self.watermarks.len() * 10)
            + self.owed.as_ref().map_or(0, owed_row_len)
            + self.wake_ms.map_or(0, |_| 8)
            + self.known_elsewhere_ms().map_or(0, |_| 8)
    }

    /// Until when receipts that are not in it may be asked for, if there are such and it is known.
    fn known_elsewhere_ms(&self) -> Option<i64> {
        self.receipts_elsewhere_until_ms.filter(|until_ms| *until_ms < i64::MAX)
    }

    /// The snapshot's frame. The snapshot has passed [`Snapshot::check`].
    pub fn encode(&self) -> Vec<u8> {
        use snapshot_flag as flag;
        let set = |bit: u16, on: bool| if on { bit } else { 0 };
        let elsewhere = self.known_elsewhere_ms();
        let flags = set(flag::RECEIPTS_COMPLETE, self.receipts_elsewhere_until_ms.is_none())
            | set(flag::ELSEWHERE, elsewhere.is_some())
            | set(flag::OWED, self.owed.is_some())
            | set(flag::WAKE, self.wake_ms.is_some());
        let mut out = Vec::with_capacity(self.encoded_len());
        let version = if elsewhere.is_some() { SNAPSHOT_VERSION_2 } else { VERSION };
        put_header(&mut out, SNAPSHOT, version, flags, 0, self.at_ms, &[0; 16]);
        put_u16(&mut out, self.slot);
        put_u64(&mut out, self.seq);
        put_u64(&mut out, self.version);
        put_key(&mut out, &self.key);
        put_payload(&mut out, &self.state);
        put_u32(&mut out, self.receipts.len() as u32);
        for (request, version, receipt) in &self.receipts {
            out.extend_from_slice(request);
            put_u64(&mut out, *version);
            out.push(u8::from(matches!(receipt.origin, Origin::Owed { .. })));
            put_receipt(&mut out, receipt);
        }
        put_u32(&mut out, self.watermarks.len() as u32);
        for (slot, watermark) in &self.watermarks {
            put_u16(&mut out, *slot);
            put_u64(&mut out, *watermark);
        }
        self.owed.iter().for_each(|row| put_owed_row(&mut out, row));
        self.wake_ms.iter().for_each(|due_ms| put_i64(&mut out, *due_ms));
        elsewhere.iter().for_each(|until_ms| put_i64(&mut out, *until_ms));
        seal(&mut out, 0);
        out
    }

    /// Reads a frame that is all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, FrameError> {
        use snapshot_flag as flag;
        let flags = [(VERSION, flag::ALL_V1), (SNAPSHOT_VERSION_2, flag::ALL_V2)];
        let (header, mut body) = open(bytes, SNAPSHOT, &flags, SNAPSHOT_BYTES_MAX)?;
        let has = |bit: u16| header.flags & bit != 0;
        let slot = body.u16("slot")?;
        let seq = body.u64("slot sequence")?;
        let version = body.u64("entity version")?;
        let key = body.key()?;
        let state = body.payload()?;
        let receipts = body.receipts()?;
        let watermarks = body.watermarks()?;
        let owed = if has(flag::OWED) { Some(body.owed_row()?) } else { None };
        let wake_ms = if has(flag::WAKE) { Some(body.i64("wake time")?) } else { None };
        // Before version 2 only was said that there are some.
        let receipts_elsewhere_until_ms = match (has(flag::RECEIPTS_COMPLETE), has(flag::ELSEWHERE)) {
            (_, true) => Some(body.i64("expiry of receipts elsewhere")?),
            (true, false) => None,
            (false, false) => Some(i64::MAX),
        };
        let used = body.finish()?;
        if used < bytes.len() {
            return Err(FrameError::LeftOver { at: used, left: bytes.len() - used });
        }
        Ok(Snapshot {
            slot,
            key,
            seq,
            version,
            at_ms: header.at_ms,
            state,
            receipts,
            receipts_elsewhere_until_ms,
            watermarks,
            owed,
            wake_ms,
        })
    }
}

/// The length of the frame that begins with `bytes`, of which at least the header must be there; so
/// that a reader knows how much to gather. Not yet verified against the checksum.
pub fn frame_len(bytes: &[u8]) -> Result<usize, FrameError> {
    let mut reader = Reader { bytes, at: 0 };
    let header = reader.take(HEADER_BYTES, "header")?;
    let mut field = Reader { bytes: header, at: LENGTH_AT };
    let len = field.u32("length")? as usize;
    if len > SNAPSHOT_BYTES_MAX {
        return Err(FrameError::Invalid { what: "length", at: LENGTH_AT, found: len as u64 });
    }
    Ok(HEADER_BYTES + len)
}

fn check_key(key: &EntityKey) -> Result<(), String> {
    match key.id.len() {
        0 => Err("an entity without an id".to_owned()),
        len if len > ID_BYTES_MAX => Err(format!("an entity id of {len} bytes: at most {ID_BYTES_MAX}")),
        // Index keys end an id with a zero byte, so that ids sort as text.
        _ if key.id.as_bytes().contains(&0) => Err("an entity id with a zero byte".to_owned()),
        _ => Ok(()),
    }
}

fn put_header(
    out: &mut Vec<u8>,
    type_number: u16,
    version: u16,
    flags: u16,
    epoch: u64,
    at_ms: i64,
    request: &RequestBytes,
) {
    out.push(FORMAT);
    out.push(CODEC);
    put_u16(out, type_number);
    put_u16(out, version);
    put_u16(out, flags);
    put_u64(out, epoch);
    put_i64(out, at_ms);
    out.extend_from_slice(request);
    put_u32(out, 0); // length and checksum: see `seal`
    put_u32(out, 0);
}

/// Writes length and checksum of the frame that starts at `start` and ends with `out`.
fn seal(out: &mut [u8], start: usize) {
    let frame = &mut out[start..];
    let length = (frame.len() - HEADER_BYTES) as u32;
    frame[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum_of(frame);
    frame[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// The checksum of a whole frame: of everything but the checksum itself.
fn checksum_of(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..CHECKSUM_AT]), &frame[HEADER_BYTES..])
}

struct Header {
    flags: u16,
    epoch: u64,
    at_ms: i64,
    request: RequestBytes,
}

/// Verifies the frame at the beginning of `bytes` and gives its header and a reader of its body.
/// `versions`: those that can be read, each with the flags that it may have.
fn open<'a>(
    bytes: &'a [u8],
    type_number: u16,
    versions: &[(u16, u16)],
    bytes_max: usize,
) -> Result<(Header, Reader<'a>), FrameError> {
    let mut reader = Reader { bytes, at: 0 };
    reader.expect_u8("format", FORMAT)?;
    reader.expect_u8("codec", CODEC)?;
    reader.expect_u16("type number", type_number)?;
    let version = reader.u16("version")?;
    let known = versions.iter().find(|(known, _)| *known == version);
    let (_, flags) = known.ok_or(FrameError::Unknown { what: "version", at: 4, found: u64::from(version) })?;
    let found = reader.u16("flags")?;
    let epoch = reader.u64("epoch")?;
    let at_ms = reader.i64("time")?;
    let request = reader.array("request id")?;
    let length = reader.u32("length")? as usize;
    let expected = reader.u32("checksum")?;
    if length > bytes_max {
        return Err(FrameError::Invalid { what: "length", at: LENGTH_AT, found: length as u64 });
    }
    reader.need(length, "body")?;
    let frame = &bytes[..HEADER_BYTES + length];
    match checksum_of(frame) {
        computed if computed != expected => return Err(FrameError::Checksum { expected, found: computed }),
        _ => {}
    }
    if found & !flags != 0 {
        return Err(FrameError::Unknown { what: "flags", at: 6, found: u64::from(found) });
    }
    Ok((Header { flags: found, epoch, at_ms, request }, Reader { bytes: frame, at: HEADER_BYTES }))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
