//! What a node's links count, all of them together.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters: their names from the fields, their help texts from the comments.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ $field:ident,)*) => {
        /// Numbers that only grow, since the node's start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $field: Counter,)*
        }

        impl Counters {
            /// Name, help text and value of each.
            pub fn each(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($field), concat!($($help),+).trim(), self.$field.get())),*]
            }
        }
    };
}

counters! {
    /// Frames sent to other nodes.
    frames_sent,
    /// Bytes of these frames.
    bytes_sent,
    /// Frames that came from other nodes.
    frames_received,
    /// Bytes of these frames.
    bytes_received,
    /// Requests sent to other nodes.
    requests_sent,
    /// Requests that came from other nodes.
    requests_received,
    /// Times that something had to wait because two frames to its node were under way.
    credit_waits,
    /// Requests refused at once because too many to their node were waiting.
    asks_busy,
    /// Requests of other nodes given back: too many of theirs were open, or nobody could take them.
    requests_refused,
    /// Requests that no outcome was ever given for. Must stay 0.
    requests_dropped,
    /// Requests whose outcome nobody knows, because their link ended or their time was up.
    asks_lost,
    /// Requests handed over and never answered.
    requests_unanswered,
    /// Replies that came when nobody waited for them any more.
    replies_late,
    /// Messages of the cluster's protocol dropped because their link was down or full.
    tells_dropped,
    /// Links made to other nodes.
    links_made,
    /// Links that ended.
    links_ended,
    /// Links ended because nothing came for too long.
    links_silent,
    /// Connections that did not prove that they are another node of this cluster, or were not needed.
    handshakes_refused,
    /// Connections of this node to others that did not become a link.
    dials_failed,
    /// Connections that both nodes agreed on and that did not become a link.
    carries_failed,
}

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }
    pub fn one(&self) {
        self.add(1);
    }
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
