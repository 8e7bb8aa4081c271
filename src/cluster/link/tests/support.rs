//! Nodes on loopback, all in this process: each has its own link.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::super::arrivals::{Arrivals, ReplyHandle};
use super::super::handle::Link;
use super::super::secret::Secret;
use super::super::settings::{LinkSettings, Peer, pulse};
use crate::cluster::NodeId;

/// Long enough for a machine that is busy; nothing waits for its end unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a node's link has brought, in its order.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Up(NodeId),
    Down(NodeId),
    Told(NodeId, Bytes),
}

type Answer = dyn Fn(Bytes, ReplyHandle) + Send + Sync;

pub struct Recorder {
    events: mpsc::UnboundedSender<Event>,
    answer: Box<Answer>,
    /// How often each has happened: links made, links ended.
    links: watch::Sender<(usize, usize)>,
}

impl Arrivals for Recorder {
    fn asked(&self, _: &NodeId, request: Bytes, reply: ReplyHandle) {
        (self.answer)(request, reply);
    }
    fn told(&self, from: &NodeId, message: Bytes) {
        let _ = self.events.send(Event::Told(from.clone(), message));
    }
    fn link_up(&self, peer: &NodeId) {
        self.links.send_modify(|(up, _)| *up += 1);
        let _ = self.events.send(Event::Up(peer.clone()));
    }
    fn link_down(&self, peer: &NodeId) {
        self.links.send_modify(|(_, down)| *down += 1);
        let _ = self.events.send(Event::Down(peer.clone()));
    }
}

pub struct Node {
    pub id: NodeId,
    pub link: Link,
    events: mpsc::UnboundedReceiver<Event>,
    pub links: watch::Receiver<(usize, usize)>,
}

pub fn secret(secret: &str) -> Secret {
    Secret::new(secret.as_bytes()).expect("it is long enough")
}

pub fn settings(id: &str) -> LinkSettings {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let settings = LinkSettings::new(NodeId::of(id), listen, secret("the secret of the tests"), "store 1, 16 slots");
    LinkSettings { pulse: pulse(Duration::from_millis(100)), ..settings }
}

/// A node that sends each request back.
pub async fn echo(id: &str) -> Node {
    start(settings(id), |request, reply| reply.send(request)).await
}

pub async fn start(settings: LinkSettings, answer: impl Fn(Bytes, ReplyHandle) + Send + Sync + 'static) -> Node {
    let (events, received) = mpsc::unbounded_channel();
    let links = watch::Sender::new((0, 0));
    let watched = links.subscribe();
    let id = settings.node.clone();
    let recorder = Recorder { events, answer: Box::new(answer), links };
    let link = Link::start(settings, Arc::new(recorder)).await.expect("it starts");
    Node { id, link, events: received, links: watched }
}

impl Node {
    pub fn peer(&self) -> Peer {
        Peer { id: self.id.clone(), address: self.link.advertise().to_owned() }
    }

    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("something happens").expect("it lives")
    }

    pub async fn ask(&self, to: &Node, request: &'static [u8]) -> Result<Bytes, super::super::outcome::AskFailure> {
        self.link.request(&to.id, Bytes::from_static(request), PATIENCE).await
    }
}

/// Tells each node of all others, and waits until all are linked.
pub async fn link_all(nodes: &mut [&mut Node]) {
    let peers: Vec<Peer> = nodes.iter().map(|node| node.peer()).collect();
    for node in nodes.iter() {
        node.link.set_peers(peers.clone());
    }
    let others = nodes.len() - 1;
    for node in nodes.iter_mut() {
        for _ in 0..others {
            assert!(matches!(node.event().await, Event::Up(_)));
        }
    }
}
