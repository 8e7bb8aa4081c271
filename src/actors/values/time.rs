//! Times, and the short texts that times and ids are written as.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::Invalid;

/// A short ASCII text that is written without asking for memory.
#[derive(Default)]
pub(super) struct Written {
    bytes: [u8; 32],
    len: usize,
}

impl Written {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }
    /// The last `digits` decimal digits of a number.
    fn push_digits(&mut self, mut number: u32, digits: usize) {
        let end = self.len + digits;
        for place in self.bytes[self.len..end].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.len = end;
    }
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only ASCII is pushed")
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z. JSON: RFC 3339 with `Z` and milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

impl Time {
    pub const ZERO: Time = Time(0);

    pub fn plus_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this time; 0 when `earlier` is later.
    pub fn since_ms(self, earlier: Time) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl Time {
    /// As RFC 3339 has it, such as `2026-11-22T12:30:00.000Z`. Every answer shows times, so they are written
    /// digit by digit. `None` outside the years 0 to 9999, which have no such text.
    fn written(self) -> Option<Written> {
        let nanos = i128::from(self.0) * 1_000_000;
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        let year = u32::try_from(at.year()).ok().filter(|year| *year <= 9_999)?;
        let mut text = Written::default();
        for (number, digits, end) in [
            (year, 4, b'-'),
            (u32::from(u8::from(at.month())), 2, b'-'),
            (u32::from(at.day()), 2, b'T'),
            (u32::from(at.hour()), 2, b':'),
            (u32::from(at.minute()), 2, b':'),
            (u32::from(at.second()), 2, b'.'),
            (u32::from(at.millisecond()), 3, b'Z'),
        ] {
            text.push_digits(number, digits);
            text.push(&[end]);
        }
        Some(text)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written().ok_or(fmt::Error)?.as_str())
    }
}

impl FromStr for Time {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| Invalid("expected an RFC 3339 time such as 2026-11-22T12:30:00Z"))?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(Time).map_err(|_| Invalid("time out of range"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if !s.is_human_readable() {
            return s.serialize_i64(self.0);
        }
        let text = self.written().ok_or_else(|| ser::Error::custom("a time outside the years 0 to 9999"))?;
        s.serialize_str(text.as_str())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(de::Error::custom)
        } else {
            i64::deserialize(d).map(Time)
        }
    }
}
