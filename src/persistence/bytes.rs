//! The parts that frames are made of: how integers, texts, payloads and receipts are put and read.
//! See [`super::frame`] for the whole.

use super::StoreError;
use super::record::{EntityKey, Origin, OwedItem, OwedRow, Payload, Receipt, RequestBytes, Slot};

/// Why bytes are not a frame. `at` counts bytes from the beginning of the frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("cut short: {what} at byte {at} needs {needed} bytes and {left} are left")]
    Short { what: &'static str, at: usize, needed: usize, left: usize },
    #[error("the checksum is {found:08x} and should be {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("no reader for {what} {found} at byte {at}: written by a newer souk, or damaged")]
    Unknown { what: &'static str, at: usize, found: u64 },
    #[error("{what} at byte {at} cannot be {found}")]
    Invalid { what: &'static str, at: usize, found: u64 },
    #[error("{left} bytes are left over behind byte {at}")]
    LeftOver { at: usize, left: usize },
}

impl FrameError {
    /// The store's error for a frame that lies at `place` (such as `batch 17`).
    pub fn damaged_at(&self, place: impl std::fmt::Display) -> StoreError {
        StoreError::Damaged(format!("{place}: {self}"))
    }
}

pub(super) const PAYLOAD_FIXED: usize = 2 + 2 + 4;
pub(super) const RECEIPT_FIXED: usize = 16 + PAYLOAD_FIXED + 8;
pub(super) const OWED_ITEM_FIXED: usize = 8 + 2;

pub(super) fn key_len(key: &EntityKey) -> usize {
    1 + 2 + key.id.len()
}
pub(super) fn payload_len(payload: &Payload) -> usize {
    PAYLOAD_FIXED + payload.bytes.len()
}
pub(super) fn receipt_len(receipt: &Receipt) -> usize {
    let origin = match receipt.origin {
        Origin::Client { .. } => 8,
        Origin::Owed { .. } => 2 + 8 + 8,
    };
    origin + 16 + payload_len(&receipt.outcome)
}
pub(super) fn owed_row_len(row: &OwedRow) -> usize {
    8 + 2 + row.items.iter().map(|item| OWED_ITEM_FIXED + item.key.len()).sum::<usize>()
}

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}
pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}
pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}
pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A text behind its length. (Whoever stores it has seen that it is short.)
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u16(out, text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

/// What stands before a checksum, crc32c, of all that.
pub(super) fn checked(bytes: &[u8]) -> Result<&[u8], FrameError> {
    Reader { bytes, at: 0 }.need(4, "checksum")?;
    let (body, checksum) = bytes.split_at(bytes.len() - 4);
    let expected = Reader { bytes: checksum, at: 0 }.u32("checksum")?;
    match crc32c::crc32c(body) {
        found if found == expected => Ok(body),
        found => Err(FrameError::Checksum { expected, found }),
    }
}

pub(super) fn put_key(out: &mut Vec<u8>, key: &EntityKey) {
    out.push(key.kind);
    put_u16(out, key.id.len() as u16);
    out.extend_from_slice(key.id.as_bytes());
}

pub(super) fn put_payload(out: &mut Vec<u8>, payload: &Payload) {
    put_u16(out, payload.type_number);
    put_u16(out, payload.version);
    put_u32(out, payload.bytes.len() as u32);
    out.extend_from_slice(&payload.bytes);
}

pub(super) fn put_receipt(out: &mut Vec<u8>, receipt: &Receipt) {
    match receipt.origin {
        Origin::Client { expires_ms } => put_i64(out, expires_ms),
        Origin::Owed { slot, number, watermark } => {
            put_u16(out, slot);
            put_u64(out, number);
            put_u64(out, watermark);
        }
    }
    out.extend_from_slice(&receipt.fingerprint);
    put_payload(out, &receipt.outcome);
}

pub(super) fn put_owed_row(out: &mut Vec<u8>, row: &OwedRow) {
    put_i64(out, row.due_ms);
    put_u16(out, row.items.len() as u16);
    for item in &row.items {
        put_u64(out, item.number);
        put_u16(out, item.key.len() as u16);
        out.extend_from_slice(item.key.as_bytes());
    }
}

/// Reads forward through a frame; `at` is the place of the next byte.
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn need(&self, needed: usize, what: &'static str) -> Result<(), FrameError> {
        match self.left() {
            left if left < needed => Err(FrameError::Short { what, at: self.at, needed, left }),
            _ => Ok(()),
        }
    }

    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], FrameError> {
        self.need(len, what)?;
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FrameError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, FrameError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }
    pub fn u16(&mut self, what: &'static str) -> Result<u16, FrameError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }
    pub fn u32(&mut self, what: &'static str) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }
    pub fn u64(&mut self, what: &'static str) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }
    pub fn i64(&mut self, what: &'static str) -> Result<i64, FrameError> {
        Ok(i64::from_le_bytes(self.array(what)?))
    }

    pub fn expect_u8(&mut self, what: &'static str, expected: u8) -> Result<(), FrameError> {
        let at = self.at;
        match self.u8(what)? {
            found if found == expected => Ok(()),
            found => Err(FrameError::Unknown { what, at, found: u64::from(found) }),
        }
    }

    pub fn expect_u16(&mut self, what: &'static str, expected: u16) -> Result<(), FrameError> {
        let at = self.at;
        match self.u16(what)? {
            found if found == expected => Ok(()),
            found => Err(FrameError::Unknown { what, at, found: u64::from(found) }),
        }
    }

    /// How many elements of at least `size` bytes to take memory for when `count` are announced: no
    /// more than can still come.
    pub fn plausible(&self, count: usize, size: usize) -> usize {
        count.min(self.left() / size)
    }

    pub fn text(&mut self, what: &'static str) -> Result<&'a str, FrameError> {
        let len = usize::from(self.u16(what)?);
        let at = self.at;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|error| FrameError::Invalid {
            what,
            at: at + error.valid_up_to(),
            found: u64::from(bytes.get(error.valid_up_to()).copied().unwrap_or_default()),
        })
    }

    pub fn key(&mut self) -> Result<EntityKey, FrameError> {
        let kind = self.u8("kind")?;
        let id = self.text("entity id")?.into();
        Ok(EntityKey { kind, id })
    }

    pub fn payload(&mut self) -> Result<Payload, FrameError> {
        let type_number = self.u16("payload type")?;
        let version = self.u16("payload version")?;
        let len = self.u32("payload length")? as usize;
        let bytes = self.take(len, "payload")?.to_vec();
        Ok(Payload { type_number, version, bytes })
    }

    pub fn receipt(&mut self, owed: bool) -> Result<Receipt, FrameError> {
        let origin = if owed {
            Origin::Owed {
                slot: self.u16("receipt slot")?,
                number: self.u64("receipt number")?,
                watermark: self.u64("receipt watermark")?,
            }
        } else {
            Origin::Client { expires_ms: self.i64("receipt expiry")? }
        };
        Ok(Receipt { origin, fingerprint: self.array("fingerprint")?, outcome: self.payload()? })
    }

    pub fn receipts(&mut self) -> Result<Vec<(RequestBytes, u64, Receipt)>, FrameError> {
        let count = self.u32("number of receipts")? as usize;
        let mut receipts = Vec::with_capacity(self.plausible(count, 16 + 8 + 1 + RECEIPT_FIXED));
        for _ in 0..count {
            let request = self.array("receipt request id")?;
            let version = self.u64("receipt entity version")?;
            let at = self.at;
            let owed = match self.u8("receipt origin")? {
                0 => false,
                1 => true,
                found => {
                    return Err(FrameError::Unknown { what: "receipt origin", at, found: u64::from(found) });
                }
            };
            receipts.push((request, version, self.receipt(owed)?));
        }
        Ok(receipts)
    }

    pub fn watermarks(&mut self) -> Result<Vec<(Slot, u64)>, FrameError> {
        let count = self.u32("number of watermarks")? as usize;
        let mut watermarks = Vec::with_capacity(self.plausible(count, 10));
        for _ in 0..count {
            watermarks.push((self.u16("watermark slot")?, self.u64("watermark")?));
        }
        Ok(watermarks)
    }

    pub fn owed_row(&mut self) -> Result<OwedRow, FrameError> {
        let due_ms = self.i64("owed row due")?;
        let count = usize::from(self.u16("number of owed requests")?);
        let mut items = Vec::with_capacity(self.plausible(count, OWED_ITEM_FIXED));
        for _ in 0..count {
            items.push(OwedItem { number: self.u64("owed number")?, key: self.text("owed key")?.to_owned() });
        }
        Ok(OwedRow { due_ms, items })
    }

    pub fn is_at_end(&self) -> bool {
        self.left() == 0
    }

    /// The frame's length, when everything was read.
    pub fn finish(self) -> Result<usize, FrameError> {
        match self.left() {
            0 => Ok(self.at),
            left => Err(FrameError::LeftOver { at: self.at, left }),
        }
    }
}
