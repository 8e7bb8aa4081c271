//! Where what comes over the links goes.

use bytes::Bytes;

use super::super::ownership::NodeId;
use super::connection::Connection;
use std::sync::Arc;

/// What a node does with what its peers send. Called on the link's tasks, one call after the other for each peer: it must not
/// block, and what takes longer is handed on.
pub trait Arrivals: Send + Sync + 'static {
    /// A peer asks. `reply` is answered once, from anywhere, at any time. Dropped unanswered, it tells the asker that nobody
    /// knows what became of the request.
    fn asked(&self, from: &NodeId, request: Bytes, reply: ReplyHandle);
    /// A message of the cluster's protocol.
    fn told(&self, from: &NodeId, message: Bytes);
    /// The peer can be reached. It is called before anything else of the link.
    fn link_up(&self, peer: &NodeId);
    /// It cannot be reached any more. What came last may still be handed over while this is called.
    fn link_down(&self, peer: &NodeId);
}

/// Answers one request of a peer. When its link has ended, the answer goes nowhere: the asker knows since then that the
/// outcome is unknown.
pub struct ReplyHandle(Option<Way>);

enum Way {
    Link(Arc<Connection>, u64),
    Elsewhere(Box<dyn FnOnce(Option<Bytes>) + Send>),
}

impl ReplyHandle {
    pub(super) fn over(connection: Arc<Connection>, id: u64) -> ReplyHandle {
        ReplyHandle(Some(Way::Link(connection, id)))
    }

    /// One without a link, for whoever answers requests of other sorts in the same way. It gets nothing when it is dropped
    /// unanswered.
    pub fn to(answer: impl FnOnce(Option<Bytes>) + Send + 'static) -> ReplyHandle {
        ReplyHandle(Some(Way::Elsewhere(Box::new(answer))))
    }

    /// Gives the request back: for certain, nothing was done about it and nothing will be. The asker gets
    /// [`NotTaken::PeerRefused`](super::NotTaken::PeerRefused) and may ask somebody else at once.
    pub fn refuse(mut self) {
        match self.0.take() {
            Some(Way::Link(connection, id)) => connection.leave_unanswered(id, true),
            Some(Way::Elsewhere(answer)) => answer(None),
            None => {}
        }
    }

    /// Does not block.
    pub fn send(mut self, reply: Bytes) {
        match self.0.take() {
            Some(Way::Link(connection, id)) => connection.reply(id, reply),
            Some(Way::Elsewhere(answer)) => answer(Some(reply)),
            None => {}
        }
    }
}

impl Drop for ReplyHandle {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Way::Link(connection, id)) => connection.leave_unanswered(id, false),
            Some(Way::Elsewhere(answer)) => answer(None),
            None => {}
        }
    }
}
