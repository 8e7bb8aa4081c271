//! A place in the journal as an opaque text that a client can hand on.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use super::Invalid;

/// A record of a slot: a list that waits for it shows what the record says. The first character of the text is the
/// version of its form; behind it are slot, sequence and epoch, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPosition {
    pub slot: u16,
    pub seq: u64,
    /// That of the slot when this was told: the record is of this one, or an earlier one.
    pub epoch: u64,
}

const FORM: &str = "1";
const BYTES: usize = 2 + 8 + 8;

impl fmt::Display for JournalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BYTES];
        bytes[..2].copy_from_slice(&self.slot.to_be_bytes());
        bytes[2..10].copy_from_slice(&self.seq.to_be_bytes());
        bytes[10..].copy_from_slice(&self.epoch.to_be_bytes());
        write!(f, "{FORM}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for JournalPosition {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<JournalPosition, Invalid> {
        let invalid = || Invalid("not a position that was answered here");
        let bytes = BASE64URL_NOPAD.decode(text.strip_prefix(FORM).ok_or_else(invalid)?.as_bytes());
        let bytes: [u8; BYTES] = bytes.ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(invalid)?;
        let [s0, s1, numbers @ ..] = bytes;
        let number = |at: usize| numbers[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let position = JournalPosition { slot: u16::from_be_bytes([s0, s1]), seq: number(0), epoch: number(8) };
        if position.seq == 0 { Err(invalid()) } else { Ok(position) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_of_a_position_never_changes() {
        let position = JournalPosition { slot: 258, seq: 3, epoch: 4 };
        assert_eq!(position.to_string(), "1AQIAAAAAAAAAAwAAAAAAAAAE");
    }

    proptest! {
        #[test]
        fn a_position_reads_back(slot: u16, seq in 1..=u64::MAX, epoch: u64) {
            let position = JournalPosition { slot, seq, epoch };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn what_reads_was_written_so(text in "[01]?[A-Za-z0-9_=-]{0,30}") {
            if let Ok(position) = text.parse::<JournalPosition>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let nothing = JournalPosition { slot: 1, seq: 0, epoch: 1 }.to_string();
        for text in ["", "1", "2AQIAAAAAAAAAAwAAAAAAAAAE", "1AQIAAAAAAAAAAwAAAAAAAAA", "42", nothing.as_str()] {
            assert!(text.parse::<JournalPosition>().is_err(), "{text}");
        }
    }
}
