//! What a node alone knows of how busy it is: what another node asks it for, so that an operator sees the whole cluster
//! wherever he asks.
//!
//! Numbers with a fraction are counted in a smaller unit, so that all are integers.

use serde::{Deserialize, Serialize};

use crate::coded_enum;
use crate::persistence::Slot;

/// No more of the reason of a quarantine is told. (All slots of the largest store, each in quarantine, fit into one message.)
const REASON_BYTES_MAX: usize = 64;

/// A node, as it sees itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// Entities in its memory.
    pub residents: u64,
    pub resident_bytes: u64,
    /// Requests that it has answered, at the rate of the last seconds. `None`: it serves not long enough to say.
    pub requests_per_10s: Option<u64>,
    /// Commands that wait in front of its slots.
    pub queue_depth: u64,
    /// For how long it may still speak for its slots.
    pub margin_ms: u64,
    pub links: Vec<LinkLoad>,
    /// Of each slot that it has; at most as many as the store has.
    pub slots: Vec<SlotLoad>,
}

/// A link of the node to another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkLoad {
    /// The other node's id.
    pub peer: String,
    pub state: LinkWord,
    /// How long the last heartbeat took there and back.
    pub rtt_us: Option<u64>,
    /// Frames that may be sent now.
    pub credit: u64,
    /// Frames sent and received, at the rate of the last seconds.
    pub frames_per_10s: Option<u64>,
}

coded_enum! {
    /// How a link is.
    pub enum LinkWord {
        Up = 1 "up",
        Connecting = 2 "connecting",
        Down = 3 "down",
    }
}

/// A slot of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotLoad {
    pub slot: Slot,
    pub queue_depth: u64,
    /// Entities in memory, and the bytes that they take, about.
    pub residents: u64,
    pub resident_bytes: u64,
    pub decided_seq: u64,
    pub durable_seq: u64,
    pub restarts: u32,
    /// What is damaged in its stored data, cut off where it is long.
    pub quarantined: Option<String>,
}

impl NodeLoad {
    /// As it fits into a message.
    pub fn bounded(mut self) -> NodeLoad {
        for reason in self.slots.iter_mut().filter_map(|slot| slot.quarantined.as_mut()) {
            let end = (0..=REASON_BYTES_MAX).rev().find(|end| reason.is_char_boundary(*end));
            reason.truncate(end.unwrap_or(0));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::runtime::wire::{NodeAnswer, WireVersion, encode_node_answer};
    use crate::cluster::link::Limits;

    #[test]
    fn a_node_all_of_whose_slots_are_damaged_fits_into_a_message() {
        let slot = |slot| SlotLoad {
            slot,
            queue_depth: u64::from(u32::MAX),
            residents: u64::from(u32::MAX),
            resident_bytes: u64::MAX,
            decided_seq: u64::MAX,
            durable_seq: u64::MAX,
            restarts: u32::MAX,
            quarantined: Some("what is damaged: \u{e9}".repeat(100)),
        };
        let link = |node| LinkLoad {
            peer: format!("a-node-of-a-long-name-{node}#0a1b2c3d"),
            state: LinkWord::Connecting,
            rtt_us: Some(u64::MAX),
            credit: u64::MAX,
            frames_per_10s: Some(u64::MAX),
        };
        let (slots, links) = ((0..32_768).map(slot).collect(), (0..1_000).map(link).collect());
        let load = NodeLoad { slots, links, ..NodeLoad::default() };
        let load = load.bounded();
        let reason = load.slots[0].quarantined.as_deref().expect("a reason");
        assert!(reason.len() <= REASON_BYTES_MAX && reason.starts_with("what is damaged"));
        let bytes = encode_node_answer(NodeAnswer::Load(load), WireVersion::OURS).expect("it may cross");
        assert!(bytes.len() < Limits::DEFAULT.message_max_bytes, "{} bytes", bytes.len());
    }
}
