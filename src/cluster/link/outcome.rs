//! What becomes of a request to another node.

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    /// For certain, nobody on the other node has seen it, and nobody will: it may go elsewhere at once.
    #[error("the request was not taken: {0}")]
    NotTaken(NotTaken),
    /// It may have been taken, and may still be.
    #[error("nobody knows what became of the request")]
    Lost,
    /// It was taken and answered; the reply is larger than the link carries.
    #[error("the reply is larger than the link carries")]
    ReplyTooLarge,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There is no link to that node, or it has ended before the request left.
    #[error("there is no link to the node")]
    Down,
    /// As many requests to that node as may be are waiting or without a reply.
    #[error("too many requests to the node")]
    Busy,
    /// That node takes no more of this node's for now.
    #[error("the node takes no more requests for now")]
    PeerBusy,
    /// That node gave it back untouched: it has nobody who could take it.
    #[error("the node has nobody who takes the request")]
    PeerRefused,
    /// That node is stopping.
    #[error("the node is stopping")]
    PeerStopping,
    /// It is larger than the link carries.
    #[error("the request is larger than the link carries")]
    TooLarge,
    /// Its time was up before it left.
    #[error("the time was up before the request left")]
    Deadline,
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Why a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndWhy {
    /// The connection is closed or broken.
    #[error("the connection is closed")]
    Closed,
    /// Nothing has come for too long.
    #[error("nothing has come from the node for too long")]
    Silent,
    /// The peer said that it ends the link.
    #[error("the node ended the link")]
    Bye,
    /// The peer has made a new one, because it has lost this one.
    #[error("the node has connected anew")]
    Replaced,
    /// The node is not in the list of those that live.
    #[error("the node is not among those that live")]
    NotListed,
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
    /// What came is no frame.
    #[error("what came from the node is no frame")]
    Malformed,
    /// A frame is missing, or came twice.
    #[error("a frame of the node is missing")]
    Gap,
    /// The peer does not keep to its credit, or to what else it may.
    #[error("the node sends more than it may")]
    Flood,
}
