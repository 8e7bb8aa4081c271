//! How much a link may hold: nothing in it grows without a bound.

/// Per link, so a node has this once for each of its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest request or reply. It is put together in memory: one of each per link at most.
    pub message_max_bytes: usize,
    /// The largest message of the cluster's protocol.
    pub tell_max_bytes: usize,
    /// Frames under way in one direction. While two are under way, a third fills with what comes meanwhile: more would make
    /// frames smaller, and answers later.
    pub window: u8,
    /// Requests to the peer that have no outcome yet: more are refused with `Busy`.
    pub asks_max: usize,
    /// Bytes of requests that wait for credit: more are refused with `Busy`.
    pub queue_max_bytes: usize,
    /// Requests of the peer without a reply: more are refused. Twice `asks_max`, because the peer gives up some.
    pub open_max: usize,
    /// Bytes of replies that wait for credit. Beyond them no request is taken; replies always are, so they end.
    pub replies_max_bytes: usize,
    /// Messages of the protocol that wait for credit: more are dropped.
    pub tells_max: usize,
}

impl Limits {
    pub const DEFAULT: Limits = Limits {
        message_max_bytes: 4 << 20,
        tell_max_bytes: 64 << 10,
        window: 2,
        asks_max: 8_192,
        queue_max_bytes: 16 << 20,
        open_max: 16_384,
        replies_max_bytes: 16 << 20,
        tells_max: 1_024,
    };
}
