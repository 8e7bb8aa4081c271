//! What carries requests to other nodes: the cluster's link, or a test.

use std::time::Duration;

use crate::cluster::NodeId;

/// Called exactly once, on any thread: it must not block.
pub type Outcome = Box<dyn FnOnce(Result<Vec<u8>, NotAnswered>) + Send>;

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnswered {
    /// It has certainly not left this node: there is no link to that one now.
    NotSent,
    /// It has certainly not left this node: too much waits for the link already.
    Busy,
    /// It has certainly not left this node: no link carries as much.
    TooLarge,
    /// It may have arrived.
    Lost,
}

pub trait Carrier: Send + Sync + 'static {
    /// Whether there is a link to this node now.
    fn reaches(&self, to: &NodeId) -> bool;
    /// Brings the request to this node, and its answer back, within this time.
    fn ask(&self, to: &NodeId, request: Vec<u8>, within: Duration, outcome: Outcome);
}
