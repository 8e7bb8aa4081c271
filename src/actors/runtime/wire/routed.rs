//! What comes back to the node that has sent a request: the answer, and from how far; or that another node has the slot.
//! It stands around the bytes of a [`Response`](super::Response), and is read before anybody knows whose answer it is.
//!
//! A code (1: an answer, 2: another node has it), the slot's epoch (u64, little-endian), and the rest: the bytes of the
//! response, or the owner's id as text.

use super::WireError;
use crate::persistence::Epoch;
use crate::persistence::membership::TEXT_BYTES_MAX;

const ANSWER: u8 = 1;
const NOT_OWNER: u8 = 2;
const HEAD: usize = 1 + 8;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Routed<'a> {
    /// The slot's owner has answered, at this epoch of the slot.
    Answer { epoch: Epoch, response: &'a [u8] },
    /// The node that was asked knows this one to have the slot. Nothing was done.
    NotOwner { owner: &'a str, epoch: Epoch },
}

impl Routed<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let (code, epoch, rest) = match self {
            Routed::Answer { epoch, response } => (ANSWER, epoch, *response),
            Routed::NotOwner { owner, epoch } => (NOT_OWNER, epoch, owner.as_bytes()),
        };
        let mut out = Vec::with_capacity(HEAD + rest.len());
        out.push(code);
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend_from_slice(rest);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Routed<'_>, WireError> {
        let malformed = |why: &str| WireError::Malformed(why.to_owned());
        let ([code, epoch @ ..], rest) = bytes.split_first_chunk::<HEAD>().ok_or_else(|| malformed("cut off"))?;
        let epoch = Epoch::from_le_bytes(*epoch);
        match *code {
            ANSWER => Ok(Routed::Answer { epoch, response: rest }),
            NOT_OWNER => {
                let owner = std::str::from_utf8(rest).ok().filter(|id| !id.is_empty() && id.len() <= TEXT_BYTES_MAX);
                Ok(Routed::NotOwner { owner: owner.ok_or_else(|| malformed("not the id of a node"))?, epoch })
            }
            code => Err(WireError::Unknown { code, version: 0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn its_bytes_are_frozen() {
        let answer = Routed::Answer { epoch: 258, response: b"xy" };
        assert_eq!(answer.encode(), [1, 2, 1, 0, 0, 0, 0, 0, 0, b'x', b'y']);
        let not_owner = Routed::NotOwner { owner: "a#1", epoch: 1 };
        assert_eq!(not_owner.encode(), [2, 1, 0, 0, 0, 0, 0, 0, 0, b'a', b'#', b'1']);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(bytes: Vec<u8>) {
            if let Ok(routed) = Routed::decode(&bytes) {
                prop_assert_eq!(routed.encode(), bytes);
            }
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for bytes in [&[][..], &[1, 0, 0], &[3; 9], &[2, 0, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0xff]] {
            assert!(Routed::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
