//! All links of a node: who is linked, and what becomes of what comes.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::super::ownership::NodeId;
use super::arrivals::{Arrivals, ReplyHandle};
use super::carrier::Carrier;
use super::connection::{Asker, Connection, Left, no_link};
use super::counters::Counters;
use super::frame::link_of;
use super::hello::{Hello, Refusal};
use super::outcome::{AskFailure, EndWhy};
use super::pairing::{Pairs, Standing};
use super::session::Output;
use super::settings::LinkSettings;

/// How long a peer that is in no list may be linked: whoever has just joined is listed at the next read.
const UNLISTED_MAX: Duration = Duration::from_secs(10);

pub struct Links {
    pub settings: LinkSettings,
    /// Where others reach this node.
    pub advertise: String,
    pub counters: Arc<Counters>,
    pub arrivals: Arc<dyn Arrivals>,
    began: Instant,
    carrier: OnceLock<Carrier>,
    pairs: Mutex<Pairs>,
    /// Every connection, by the number that its frames bear.
    numbers: RwLock<HashMap<u64, Arc<Connection>>>,
    /// Those that requests can be sent over.
    up: RwLock<HashMap<NodeId, Arc<Connection>>>,
    /// Who should be linked, by the last list, and where each is reached.
    listed: Mutex<BTreeMap<NodeId, String>>,
    /// Told whenever a link begins or ends.
    pub changed: Notify,
    is_stopping: AtomicBool,
}

impl Links {
    pub fn new(settings: LinkSettings, advertise: String, arrivals: Arc<dyn Arrivals>) -> Arc<Links> {
        Arc::new(Links {
            pairs: Mutex::new(Pairs::new(settings.node.clone())),
            settings,
            advertise,
            counters: Arc::default(),
            arrivals,
            began: Instant::now(),
            carrier: OnceLock::new(),
            numbers: RwLock::default(),
            up: RwLock::default(),
            listed: Mutex::default(),
            changed: Notify::new(),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// Once, before anything else.
    pub fn carry_by(&self, carrier: Carrier) {
        assert!(self.carrier.set(carrier).is_ok(), "a node has one carrier");
    }
    pub fn carrier(&self) -> &Carrier {
        self.carrier.get().expect("the carrier starts before the links")
    }

    /// What this node says of itself on a new connection, which it calls `number`.
    pub fn hello(&self, number: u64, previous: u64) -> Hello {
        let settings = &self.settings;
        Hello {
            node: settings.node.clone(),
            name: settings.name.clone(),
            address: self.advertise.clone(),
            cluster: settings.cluster.clone(),
            versions: settings.versions,
            number,
            previous,
            actor: self.carrier().actor(),
            window: settings.limits.window,
            message_max_bytes: settings.limits.message_max_bytes as u32,
        }
    }

    /// Decides about connections, under one lock.
    pub fn pairs<R>(&self, decide: impl FnOnce(&mut Pairs) -> R) -> R {
        decide(&mut self.pairs.lock())
    }

    /// A peer has connected and proven itself: whether its connection becomes the link.
    pub fn accept(&self, number: u64, peer: &Hello) -> Result<Arc<Connection>, Refusal> {
        if self.is_stopping() {
            return Err(Refusal::Stopping);
        }
        if let Some(refusal) = Refusal::between(&self.hello(number, 0), peer) {
            return Err(refusal);
        }
        let replaced = self.pairs(|pairs| pairs.accept(&peer.node, number, peer.number, peer.previous))?;
        if let Some(Standing { number, .. }) = replaced {
            let connection = self.numbers.read().get(&number).cloned();
            if let Some(connection) = connection {
                self.end(&connection, EndWhy::Replaced);
            }
        }
        Ok(self.connection(number, peer))
    }

    /// A connection that is agreed on. Its frames may come from now on.
    pub fn connection(&self, number: u64, peer: &Hello) -> Arc<Connection> {
        let LinkSettings { limits, pulse, .. } = self.settings;
        let connection = Connection::new(peer.clone(), number, limits, pulse, self.counters.clone(), self.began);
        let connection = Arc::new(connection);
        self.numbers.write().insert(number, connection.clone());
        connection
    }

    /// Frames can be sent: the link is made, unless it has ended already.
    pub fn made(&self, connection: &Arc<Connection>) -> bool {
        let peer = &connection.peer.node;
        let counts = self.pairs(|pairs| {
            let counts = !connection.is_finished() && pairs.up(peer, connection.number);
            if counts {
                self.up.write().insert(peer.clone(), connection.clone());
            }
            counts
        });
        if counts {
            self.counters.links_made.one();
            connection.announce_up(|| self.arrivals.link_up(peer));
            tracing::info!(peer.id = %peer, peer.address = connection.peer.address, "linked to a node");
            self.changed.notify_waiters();
        }
        counts
    }

    /// The link or the connection ends. Everybody who waits is told. Further calls do nothing.
    pub fn end(&self, connection: &Arc<Connection>, why: EndWhy) {
        let Some(left) = connection.finish() else { return };
        let peer = &connection.peer.node;
        let was_up = self.pairs(|pairs| {
            pairs.ended(peer, connection.number);
            let mut up = self.up.write();
            let is_this = up.get(peer).is_some_and(|other| Arc::ptr_eq(other, connection));
            if is_this {
                up.remove(peer);
            }
            is_this
        });
        self.numbers.write().remove(&connection.number);
        if was_up {
            self.counters.links_ended.one();
            tracing::info!(peer.id = %peer, reason = %why, "the link to a node has ended");
        }
        self.deliver(connection, left);
        connection.announce_down(|| self.arrivals.link_down(peer));
        self.changed.notify_waiters();
    }

    /// A frame has come, from whomever.
    pub fn take(&self, frame: Bytes) {
        let connection = link_of(&frame).and_then(|number| self.numbers.read().get(&number).cloned());
        let Some(connection) = connection else { return }; // of a link that has ended
        connection.announce_up(|| self.arrivals.link_up(&connection.peer.node));
        let now = connection.now();
        let (is_corked, left) = connection.act(|session, outputs| {
            session.receive(frame, now, outputs);
            // What is answered at once leaves in one frame.
            let asks = outputs.iter().any(|output| matches!(output, Output::Asked { .. }));
            if asks {
                session.cork()
            } else {
                session.send(outputs)
            }
            asks
        });
        let uncork = is_corked.then_some(Uncork(&connection));
        self.deliver(&connection, left);
        drop(uncork);
    }

    /// Hands over what a frame has brought. Who panics loses what it was given, and nothing else.
    pub fn deliver(&self, connection: &Arc<Connection>, outputs: Left) {
        let from = &connection.peer.node;
        for output in outputs {
            let hand_over = AssertUnwindSafe(|| match output {
                Output::Frame(_) => None, // sent already
                Output::Asked { id, request } => {
                    self.arrivals.asked(from, request, ReplyHandle::over(connection.clone(), id));
                    None
                }
                Output::Told(message) => {
                    self.arrivals.told(from, message);
                    None
                }
                Output::Outcome(asker, outcome) => {
                    asker.tell(outcome);
                    None
                }
                Output::End(why) => Some(why),
            });
            match std::panic::catch_unwind(hand_over) {
                Ok(Some(why)) => {
                    if matches!(why, EndWhy::Malformed | EndWhy::Gap | EndWhy::Flood) {
                        tracing::error!(peer.id = %from, reason = %why, "a node does not keep to the rules of the link");
                    }
                    self.end(connection, why);
                }
                Ok(None) => {}
                Err(_) => tracing::error!(peer.id = %from, "what a node sent made its receiver panic"),
            }
        }
    }

    pub fn ask(
        &self,
        to: &NodeId,
        request: Bytes,
        within: Duration,
        outcome: impl FnOnce(Result<Bytes, AskFailure>) + Send + 'static,
    ) {
        let asker = Asker::new(&self.counters, outcome);
        let connection = self.linked(to);
        match connection {
            Some(connection) if !self.is_stopping() => connection.ask(asker, request, within),
            Some(_) | None => no_link(asker, self.is_stopping()),
        }
    }

    pub fn tell(&self, to: &NodeId, message: Bytes) {
        match self.linked(to) {
            Some(connection) => connection.tell(message),
            None => self.counters.tells_dropped.one(),
        }
    }

    /// Time passes for every connection.
    pub fn tick(&self) {
        for connection in self.connections() {
            let (now, heard) = (connection.now(), connection.heard.load(Ordering::Relaxed));
            let (_, left) = connection.act(|session, outputs| session.tick(now, heard, outputs));
            self.deliver(&connection, left);
        }
    }

    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.numbers.read().values().cloned().collect()
    }
    /// The links, by their peers.
    pub fn all_linked(&self) -> BTreeMap<NodeId, Arc<Connection>> {
        self.up.read().iter().map(|(peer, connection)| (peer.clone(), connection.clone())).collect()
    }
    pub fn linked(&self, peer: &NodeId) -> Option<Arc<Connection>> {
        self.up.read().get(peer).cloned()
    }

    /// This is who lives. Links to others end.
    pub fn list(&self, peers: BTreeMap<NodeId, String>) {
        let before = std::mem::replace(&mut *self.listed.lock(), peers.clone());
        for connection in self.connections() {
            let peer = &connection.peer.node;
            let is_new = !before.contains_key(peer) && connection.made.elapsed() < UNLISTED_MAX;
            if !peers.contains_key(peer) && !is_new {
                self.end(&connection, EndWhy::NotListed);
            }
        }
    }
    pub fn listed(&self) -> BTreeMap<NodeId, String> {
        self.listed.lock().clone()
    }

    pub fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }
}

/// Lets go of what was held back while a frame was handed over, even where that panicked.
struct Uncork<'a>(&'a Connection);

impl Drop for Uncork<'_> {
    fn drop(&mut self) {
        self.0.act(|session, outputs| session.uncork(outputs));
    }
}
