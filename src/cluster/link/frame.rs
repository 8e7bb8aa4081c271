//! The bytes of a frame: what one node's link hands to another's at once.
//!
//! ```text
//! frame   link u64 | format u8 | number u64 | taken u64 | part*          (fixed numbers are little-endian)
//! part    BEAT n | ECHO n | BYE | TELL body | REQUEST id body | REPLY id body | NACK id why | MORE lane page
//! body    total | page       the whole message's length, and as much of it as this frame has
//! page    here | bytes       (n, id, total and here are LEB128)
//! ```
//!
//! `link` is the number that the receiver gave to this connection in the handshake, so a frame of a link that has ended is
//! known as such. `number` counts the frames that use credit, from 1 without a gap; a frame with number 0 uses none, and has
//! only BEAT, ECHO and BYE. `taken` is the number of the last such frame that the sender has taken off the wire: it gives
//! credit back. A message that does not fit goes on in the next frames, as MORE of its lane: a lane has one message under way
//! at most, so the receiver puts together at most one for each.
//!
//! What comes in is checked to the last byte, and nothing is allocated that bytes do not fill.

use bytes::Bytes;

/// The most that a frame has, header included. More would make others wait behind it.
pub const FRAME_MAX: usize = 256 * 1024;
pub const HEADER: usize = 25;
/// The most that a part has besides its bytes: kind, id, total and here.
pub const PART_MAX: usize = 1 + 3 * VARINT_MAX;
const VARINT_MAX: usize = 10;
/// What this build writes and reads. The handshake agrees on it; see [`super::hello`].
pub const FORMAT: u8 = 1;

const BEAT: u8 = 1;
const ECHO: u8 = 2;
const BYE: u8 = 3;
const TELL: u8 = 4;
const REQUEST: u8 = 5;
const REPLY: u8 = 6;
const NACK: u8 = 7;
const MORE: u8 = 8;

/// The ways that messages take beside each other. Within one their order is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Tell,
    Request,
    Reply,
}

impl Lane {
    pub const ALL: [Lane; 3] = [Lane::Tell, Lane::Request, Lane::Reply];

    fn code(self) -> u8 {
        match self {
            Lane::Tell => 0,
            Lane::Request => 1,
            Lane::Reply => 2,
        }
    }
    fn of(code: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.code() == code)
    }
}

/// Why a request has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nack {
    /// Nobody has seen it: as many as the receiver takes are open.
    Busy,
    /// Nobody has seen it: the receiver is going.
    Stopping,
    /// It was handed over, and nobody will answer it.
    Unanswered,
    /// It was answered by more than the link carries.
    ReplyTooLarge,
    /// It was handed over, and given back untouched.
    Refused,
}

impl Nack {
    const ALL: [Nack; 5] = [Nack::Busy, Nack::Stopping, Nack::Unanswered, Nack::ReplyTooLarge, Nack::Refused];

    fn code(self) -> u8 {
        match self {
            Nack::Busy => 0,
            Nack::Stopping => 1,
            Nack::Unanswered => 2,
            Nack::ReplyTooLarge => 3,
            Nack::Refused => 4,
        }
    }
    fn of(code: u8) -> Option<Nack> {
        Nack::ALL.into_iter().find(|why| why.code() == code)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub link: u64,
    pub number: u64,
    pub taken: u64,
}

/// What a frame is made of. `total` is the length of the whole message; where `page` is shorter, more of it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Are you there? Answered by an echo.
    Beat(u64),
    Echo(u64),
    /// The sender ends the link, on purpose.
    Bye,
    Tell {
        total: usize,
        page: Bytes,
    },
    Request {
        id: u64,
        total: usize,
        page: Bytes,
    },
    Reply {
        id: u64,
        total: usize,
        page: Bytes,
    },
    Nack {
        id: u64,
        why: Nack,
    },
    More {
        lane: Lane,
        page: Bytes,
    },
}

/// The bytes are no frame. Whoever sent them is not to be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame")]
pub struct Malformed;

/// A frame that is being filled.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// `room`: about how much it will have.
    pub fn new(header: Header, room: usize) -> Writer {
        let mut bytes = Vec::with_capacity(HEADER + room.min(FRAME_MAX - HEADER));
        bytes.extend_from_slice(&header.link.to_le_bytes());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&header.number.to_le_bytes());
        bytes.extend_from_slice(&header.taken.to_le_bytes());
        Writer(bytes)
    }

    /// How many bytes a page can still have. An echo still finds room behind it.
    pub fn room(&self) -> usize {
        (FRAME_MAX - 2 * PART_MAX).saturating_sub(self.0.len())
    }
    /// What it has besides its header.
    pub fn filled(&self) -> usize {
        self.0.len() - HEADER
    }
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    pub fn beat(&mut self, number: u64) {
        self.0.push(BEAT);
        self.varint(number);
    }
    pub fn echo(&mut self, number: u64) {
        self.0.push(ECHO);
        self.varint(number);
    }
    pub fn bye(&mut self) {
        self.0.push(BYE);
    }
    pub fn tell(&mut self, total: usize, page: &[u8]) {
        self.0.push(TELL);
        self.body(total, page);
    }
    pub fn request(&mut self, id: u64, total: usize, page: &[u8]) {
        self.0.push(REQUEST);
        self.varint(id);
        self.body(total, page);
    }
    pub fn reply(&mut self, id: u64, total: usize, page: &[u8]) {
        self.0.push(REPLY);
        self.varint(id);
        self.body(total, page);
    }
    pub fn nack(&mut self, id: u64, why: Nack) {
        self.0.push(NACK);
        self.varint(id);
        self.0.push(why.code());
    }
    pub fn more(&mut self, lane: Lane, page: &[u8]) {
        self.0.push(MORE);
        self.0.push(lane.code());
        self.page(page);
    }

    fn body(&mut self, total: usize, page: &[u8]) {
        self.varint(total as u64);
        self.page(page);
    }
    fn page(&mut self, page: &[u8]) {
        self.varint(page.len() as u64);
        self.0.extend_from_slice(page);
    }
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The link number of a frame, to find whose it is before anything else of it is read.
pub fn link_of(frame: &[u8]) -> Option<u64> {
    frame.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A frame that is being read: its header, and then its parts.
pub struct Reader {
    pub header: Header,
    frame: Bytes,
    /// How far it has been read.
    at: usize,
}

impl Reader {
    pub fn new(frame: Bytes) -> Result<Reader, Malformed> {
        if frame.len() > FRAME_MAX {
            return Err(Malformed);
        }
        let number_at = |at: usize| -> Result<u64, Malformed> {
            let bytes = frame.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or(Malformed)?;
            Ok(u64::from_le_bytes(*bytes))
        };
        let header = Header { link: number_at(0)?, number: number_at(9)?, taken: number_at(17)? };
        if frame[8] != FORMAT {
            return Err(Malformed);
        }
        Ok(Reader { header, frame, at: HEADER })
    }

    /// The next part; none at the end of the frame.
    pub fn next_part(&mut self) -> Result<Option<Part>, Malformed> {
        if self.at == self.frame.len() {
            return Ok(None);
        }
        let part = match self.byte()? {
            BEAT => Part::Beat(self.varint()?),
            ECHO => Part::Echo(self.varint()?),
            BYE => Part::Bye,
            TELL => {
                let (total, page) = self.body()?;
                Part::Tell { total, page }
            }
            REQUEST => {
                let id = self.varint()?;
                let (total, page) = self.body()?;
                Part::Request { id, total, page }
            }
            REPLY => {
                let id = self.varint()?;
                let (total, page) = self.body()?;
                Part::Reply { id, total, page }
            }
            NACK => Part::Nack { id: self.varint()?, why: Nack::of(self.byte()?).ok_or(Malformed)? },
            MORE => {
                let lane = Lane::of(self.byte()?).ok_or(Malformed)?;
                let page = self.page()?;
                // A page that brings nothing would never bring a message to its end.
                if page.is_empty() {
                    return Err(Malformed);
                }
                Part::More { lane, page }
            }
            _ => return Err(Malformed),
        };
        Ok(Some(part))
    }

    fn body(&mut self) -> Result<(usize, Bytes), Malformed> {
        let total = self.size()?;
        let page = self.page()?;
        if page.len() > total { Err(Malformed) } else { Ok((total, page)) }
    }

    /// A small page is copied: who keeps it for long must not keep the whole frame in memory.
    fn page(&mut self) -> Result<Bytes, Malformed> {
        let here = self.size()?;
        let end = self.at.checked_add(here).filter(|end| *end <= self.frame.len()).ok_or(Malformed)?;
        let range = self.at..end;
        self.at = end;
        let is_much_of_it = here.saturating_mul(4) >= self.frame.len();
        Ok(if is_much_of_it { self.frame.slice(range) } else { Bytes::copy_from_slice(&self.frame[range]) })
    }

    fn size(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.frame.get(self.at).ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for at in 0..VARINT_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has one bit of the 64; and only the shortest spelling is one.
            if (at == VARINT_MAX - 1 && bits > 1) || (at > 0 && byte == 0) {
                return Err(Malformed);
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}
