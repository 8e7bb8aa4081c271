//! The bytes of [`Message`]s. They outlive no process, but nodes of two versions speak them with each other: a number means the
//! same for ever, and who meets one that he does not know passes over the message (none is needed).
//!
//! A code, the slot (u16) and the epoch (u64), both little-endian; then, where the message has one, the term (u64). What later
//! versions add comes behind that, and is passed over by those who do not know it.

use super::messages::Message;
use super::types::{Epoch, Slot};

const OFFER: u8 = 1;
const ACCEPT: u8 = 2;
const DECLINE: u8 = 3;
const TRANSFERRED: u8 = 4;
/// Transferred without having been accepted.
const TRANSFERRED_UNASKED: u8 = 5;
const LOOK: u8 = 6;

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let (code, slot, epoch, term) = match self {
            Message::Offer { slot, epoch } => (OFFER, *slot, *epoch, None),
            Message::Accept { slot, epoch, term } => (ACCEPT, *slot, *epoch, Some(*term)),
            Message::Decline { slot, epoch } => (DECLINE, *slot, *epoch, None),
            Message::Transferred { slot, epoch, term: Some(term) } => (TRANSFERRED, *slot, *epoch, Some(*term)),
            Message::Transferred { slot, epoch, term: None } => (TRANSFERRED_UNASKED, *slot, *epoch, None),
            Message::Look => (LOOK, 0, 0, None),
        };
        let mut out = vec![code];
        out.extend_from_slice(&slot.to_le_bytes());
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend(term.into_iter().flat_map(u64::to_le_bytes));
        out
    }

    /// `None`: not a message, or one of a later version.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let (code, bytes) = bytes.split_first()?;
        let (slot, bytes) = bytes.split_first_chunk()?;
        let (epoch, bytes) = bytes.split_first_chunk()?;
        let (slot, epoch) = (Slot::from_le_bytes(*slot), Epoch::from_le_bytes(*epoch));
        let term = bytes.first_chunk().map(|term| u64::from_le_bytes(*term));
        Some(match *code {
            OFFER => Message::Offer { slot, epoch },
            ACCEPT => Message::Accept { slot, epoch, term: term? },
            DECLINE => Message::Decline { slot, epoch },
            TRANSFERRED => Message::Transferred { slot, epoch, term: Some(term?) },
            TRANSFERRED_UNASKED => Message::Transferred { slot, epoch, term: None },
            LOOK => Message::Look,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> [Message; 6] {
        let (slot, epoch) = (258, 3);
        [
            Message::Offer { slot, epoch },
            Message::Accept { slot, epoch, term: 4 },
            Message::Decline { slot, epoch },
            Message::Transferred { slot, epoch, term: Some(5) },
            Message::Transferred { slot, epoch, term: None },
            Message::Look,
        ]
    }

    #[test]
    fn their_bytes_are_frozen() {
        let bytes = all().map(|message| message.encode());
        assert_eq!(bytes[0], [1, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[1], [2, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[2], [3, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[3], [4, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[4], [5, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[5], [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes.map(|bytes| Message::decode(&bytes)), all().map(Some));
    }

    #[test]
    fn what_later_versions_add_is_passed_over() {
        for message in all() {
            assert_eq!(Message::decode(&[message.encode(), vec![9; 8]].concat()), Some(message));
        }
        assert_eq!(Message::decode(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None, "a message that is not known");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(bytes: Vec<u8>) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }
    }
}
