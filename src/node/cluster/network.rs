//! The way to other nodes, as the driver sees it: the link over the network, or nothing where a node has none.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::heard::Heard;
use crate::actors::runtime::forwarding::Forwarder;
use crate::actors::runtime::forwarding::carrier::{Carrier, NotAnswered, Outcome};
use crate::cluster::NodeId;
use crate::cluster::link::LinkStatus;
use crate::cluster::protocol::messages::Input;

/// Another node, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: NodeId,
    pub address: String,
}

pub trait Network: Send + Sync + 'static {
    /// From now on arrivals go to this node: requests to the forwarder; links that come and go to the driver, and so do
    /// messages of the protocol, where there is room.
    fn attend(
        &self,
        me: NodeId,
        forwarder: Arc<Forwarder>,
        heard: mpsc::UnboundedSender<Heard>,
        messages: mpsc::Sender<Input>,
    );
    /// Who else lives, by the node list.
    fn set_peers(&self, peers: Vec<Peer>);
    /// Sends a message of the protocol. It need not arrive.
    fn tell(&self, to: &NodeId, message: Vec<u8>);
    fn carrier(self: Arc<Self>) -> Arc<dyn Carrier>;
    /// Whether the peer can be reached now.
    fn is_up(&self, peer: &NodeId) -> bool;
    /// The links, for operators.
    fn links(&self) -> Vec<LinkStatus> {
        Vec::new()
    }
}

/// A node without a link.
pub struct NoNetwork;

impl Network for NoNetwork {
    fn attend(&self, _: NodeId, _: Arc<Forwarder>, _: mpsc::UnboundedSender<Heard>, _: mpsc::Sender<Input>) {}
    fn set_peers(&self, _: Vec<Peer>) {}
    fn tell(&self, _: &NodeId, _: Vec<u8>) {}
    fn carrier(self: Arc<Self>) -> Arc<dyn Carrier> {
        self
    }
    fn is_up(&self, _: &NodeId) -> bool {
        false
    }
}

impl Carrier for NoNetwork {
    fn reaches(&self, _: &NodeId) -> bool {
        false
    }
    fn ask(&self, _: &NodeId, _: Vec<u8>, _: Duration, outcome: Outcome) {
        outcome(Err(NotAnswered::NotSent));
    }
}
