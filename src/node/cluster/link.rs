//! The network of a node with a link: what comes over it goes to the forwarder and to the protocol, and back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::heard::Heard;
use super::network::{Network, Peer};
use crate::actors::runtime::forwarding::Forwarder;
use crate::actors::runtime::forwarding::carrier::{Carrier, NotAnswered, Outcome};
use crate::cluster::NodeId;
use crate::cluster::link::{
    self, Arrivals, AskFailure, Link, LinkError, LinkSettings, LinkStatus, NotTaken, ReplyHandle,
};
use crate::cluster::protocol::messages::{Input, Message};

/// A link, and whom its arrivals are for.
pub struct LinkNetwork {
    link: Link,
    door: Arc<Door>,
}

/// Until a node attends, nobody is connected to, and who connects finds nobody.
#[derive(Default)]
struct Door(OnceLock<Inside>);

struct Inside {
    forwarder: Arc<Forwarder>,
    heard: mpsc::UnboundedSender<Heard>,
    messages: mpsc::Sender<Input>,
}

impl LinkNetwork {
    pub async fn start(settings: LinkSettings) -> Result<Arc<LinkNetwork>, LinkError> {
        let door = Arc::new(Door::default());
        let link = Link::start(settings, door.clone()).await?;
        Ok(Arc::new(LinkNetwork { link, door }))
    }

    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Arrivals for Door {
    fn asked(&self, _: &NodeId, request: Bytes, reply: ReplyHandle) {
        if let Some(inside) = self.0.get() {
            inside.forwarder.arrived(&request, Box::new(|answer| reply.send(answer.into())));
        }
    }

    fn told(&self, from: &NodeId, message: Bytes) {
        if let (Some(inside), Some(message)) = (self.0.get(), Message::decode(&message)) {
            // Full: the sender finds out, and the tables say what is so.
            let _ = inside.messages.try_send(Input::Received { from: from.clone(), message });
        }
    }

    fn link_up(&self, peer: &NodeId) {
        self.tell(Input::LinkUp { peer: peer.clone() });
    }

    fn link_down(&self, peer: &NodeId) {
        self.tell(Input::LinkDown { peer: peer.clone() });
    }
}

impl Door {
    fn tell(&self, input: Input) {
        if let Some(inside) = self.0.get() {
            let _ = inside.heard.send(Heard::Input(input)); // the driver has ended
        }
    }
}

impl Network for LinkNetwork {
    fn attend(
        &self,
        _: NodeId,
        forwarder: Arc<Forwarder>,
        heard: mpsc::UnboundedSender<Heard>,
        messages: mpsc::Sender<Input>,
    ) {
        let _ = self.door.0.set(Inside { forwarder, heard, messages }); // a node attends once
        // Somebody may have connected before.
        for status in self.link.statuses().into_iter().filter(|status| status.state == link::LinkState::Up) {
            self.door.link_up(&status.peer);
        }
    }

    fn set_peers(&self, peers: Vec<Peer>) {
        let peer = |Peer { id, address }| link::Peer { id, address };
        self.link.set_peers(peers.into_iter().map(peer).collect());
    }

    fn tell(&self, to: &NodeId, message: Vec<u8>) {
        self.link.tell(to, message.into());
    }

    fn carrier(self: Arc<Self>) -> Arc<dyn Carrier> {
        self
    }

    fn is_up(&self, peer: &NodeId) -> bool {
        self.link.is_up(peer)
    }

    fn links(&self) -> Vec<LinkStatus> {
        self.link.statuses()
    }
}

impl Carrier for LinkNetwork {
    fn reaches(&self, to: &NodeId) -> bool {
        self.link.is_up(to)
    }

    fn ask(&self, to: &NodeId, request: Vec<u8>, within: Duration, outcome: Outcome) {
        let told = |answer: Result<Bytes, AskFailure>| {
            outcome(answer.map(|answer| answer.to_vec()).map_err(|failure| match failure {
                AskFailure::NotTaken(NotTaken::Busy | NotTaken::PeerBusy) => NotAnswered::Busy,
                AskFailure::NotTaken(NotTaken::TooLarge) => NotAnswered::TooLarge,
                AskFailure::NotTaken(_) => NotAnswered::NotSent,
                AskFailure::Lost | AskFailure::ReplyTooLarge => NotAnswered::Lost,
            }));
        };
        self.link.ask(to, request.into(), within, told);
    }
}
