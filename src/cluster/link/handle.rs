//! What a node holds of its links.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::super::ownership::NodeId;
use super::arrivals::Arrivals;
use super::carrier::Carrier;
use super::counters::Counters;
use super::dialing::{keep_linked, take_connections};
use super::links::Links;
use super::outcome::{AskFailure, EndWhy};
use super::settings::{LinkError, LinkSettings, Peer};
use super::tls::Tls;

/// How long a node that stops waits for its answers to leave, and then for its peers to have heard of it.
const DRAIN: Duration = Duration::from_millis(1_000);
/// Several times in each heartbeat: deadlines are kept this exactly.
const TICKS_PER_HEARTBEAT: u32 = 10;

/// The links of a node. Clones are the same links.
#[derive(Clone)]
pub struct Link {
    links: Arc<Links>,
    address: SocketAddr,
    tasks: Arc<Tasks>,
}

/// Dropped with the last handle, it leaves nothing running.
struct Tasks {
    links: Arc<Links>,
    tls: Option<Tls>,
    /// The one that keeps the link to each peer, with the address that it connects to.
    dialers: Mutex<HashMap<NodeId, (String, JoinHandle<()>)>>,
    others: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let dialers = self.dialers.get_mut().drain().map(|(_, (_, task))| task);
        dialers.chain(self.others.get_mut().drain(..)).for_each(|task| task.abort());
        self.links.carrier().stop();
    }
}

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    Up,
    /// It is being made.
    Connecting,
    /// Nobody is to be linked there any more.
    Down,
}

/// A link as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkStatus {
    pub peer: NodeId,
    pub address: String,
    pub state: LinkState,
    /// How long the last heartbeat took there and back.
    pub rtt: Option<Duration>,
    /// Frames that may be sent now.
    pub credit: u64,
    /// Frames sent and received since the link was made.
    pub frames: u64,
    /// Requests to the peer without an outcome, and of the peer without a reply.
    pub asks: usize,
    pub open: usize,
    /// The oldest and the newest version of messages that the peer reads, while it is linked.
    pub versions: Option<(u16, u16)>,
}

impl Link {
    /// Listens, and takes connections. Connects to nobody before [`Link::set_peers`].
    pub async fn start(settings: LinkSettings, arrivals: Arc<dyn Arrivals>) -> Result<Link, LinkError> {
        let tls = settings.tls.as_ref().map(Tls::read).transpose()?;
        let unusable = |error| LinkError::Listen { address: settings.listen, error };
        let listener = TcpListener::bind(settings.listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let advertise = if settings.advertise.is_empty() { address.to_string() } else { settings.advertise.clone() };
        let every = settings.pulse.heartbeat / TICKS_PER_HEARTBEAT;
        let links = Links::new(settings, advertise, arrivals);
        let taking = Arc::downgrade(&links);
        let take = move |frame| {
            if let Some(links) = taking.upgrade() {
                links.take(frame);
            }
        };
        links.carry_by(Carrier::start(take).await.map_err(|error| LinkError::Actors(error.to_string()))?);
        let accepting = tokio::spawn(take_connections(links.clone(), tls.clone(), listener));
        let ticking = tokio::spawn(tick(links.clone(), every));
        let others = Mutex::new(vec![accepting, ticking]);
        let tasks = Arc::new(Tasks { links: links.clone(), tls, dialers: Mutex::default(), others });
        Ok(Link { links, address, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Where others reach this node: what belongs into the node list.
    pub fn advertise(&self) -> &str {
        &self.links.advertise
    }

    /// These are the others that live. Each is connected to, again and again, until there is a link; links to those that are
    /// not in the list any more end. (A node that connected before it was listed has ten seconds to be.)
    pub fn set_peers(&self, peers: Vec<Peer>) {
        let me = &self.links.settings.node;
        let listed: BTreeMap<NodeId, String> =
            peers.into_iter().filter(|peer| peer.id != *me).map(|peer| (peer.id, peer.address)).collect();
        let mut dialers = self.tasks.dialers.lock();
        if self.links.is_stopping() {
            return;
        }
        dialers.retain(|id, (address, task)| {
            let stays = listed.get(id) == Some(address) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for (id, address) in &listed {
            dialers.entry(id.clone()).or_insert_with(|| {
                let peer = Peer { id: id.clone(), address: address.clone() };
                let task = keep_linked(self.links.clone(), self.tasks.tls.clone(), peer);
                (address.clone(), tokio::spawn(task))
            });
        }
        drop(dialers);
        self.links.list(listed);
    }

    /// Asks a peer. `outcome` is called exactly once: at once, on this thread, where the request cannot even wait; otherwise
    /// on a task of the link, where it must not block. It does not take longer than `within`, and a tick.
    pub fn ask(
        &self,
        to: &NodeId,
        request: Bytes,
        within: Duration,
        outcome: impl FnOnce(Result<Bytes, AskFailure>) + Send + 'static,
    ) {
        self.links.ask(to, request, within, outcome);
    }

    /// The same, to be awaited. Dropped, the request goes on all the same.
    pub async fn request(&self, to: &NodeId, request: Bytes, within: Duration) -> Result<Bytes, AskFailure> {
        let (told, outcome) = oneshot::channel();
        self.ask(to, request, within, move |outcome| {
            let _ = told.send(outcome); // who has given up does not listen
        });
        outcome.await.unwrap_or(Err(AskFailure::Lost))
    }

    /// Tells a peer. It need not arrive: it is dropped, and counted, while the link is down or full.
    pub fn tell(&self, to: &NodeId, message: Bytes) {
        self.links.tell(to, message);
    }

    pub fn is_up(&self, peer: &NodeId) -> bool {
        self.links.linked(peer).is_some()
    }

    /// Every peer that is listed or linked, in the order of their ids.
    pub fn statuses(&self) -> Vec<LinkStatus> {
        let listed = self.links.listed();
        let connections = self.links.all_linked();
        let peers: BTreeSet<&NodeId> = listed.keys().chain(connections.keys()).collect();
        let status = |peer: &NodeId| {
            let connection = connections.get(peer);
            let vitals = connection.map(|connection| connection.vitals()).unwrap_or_default();
            let address = listed.get(peer).or(connection.map(|connection| &connection.peer.address));
            let state = match connection {
                Some(_) => LinkState::Up,
                None if self.links.is_stopping() => LinkState::Down,
                None => LinkState::Connecting,
            };
            LinkStatus {
                peer: peer.clone(),
                address: address.cloned().unwrap_or_default(),
                state,
                rtt: vitals.rtt,
                credit: vitals.credit,
                frames: vitals.frames,
                asks: vitals.asks,
                open: vitals.open,
                versions: connection.map(|connection| connection.peer.versions),
            }
        };
        peers.into_iter().map(status).collect()
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.links.counters
    }

    /// Ends all links: takes nothing new, lets open requests be answered, bounded, and says goodbye. Requests of this node
    /// that have no outcome by then are lost.
    pub async fn stop(&self) {
        self.links.begin_stop();
        // First the listener: whoever starts next may want its port.
        let others: Vec<_> = self.tasks.others.lock().drain(..).collect();
        for task in others {
            task.abort();
            let _ = task.await; // it was told to end
        }
        for (_, (_, task)) in self.tasks.dialers.lock().drain() {
            task.abort();
        }
        let connections = self.links.connections();
        for connection in &connections {
            connection.act(|session, _| session.stop_taking());
        }
        let mut ticks = tokio::time::interval(self.links.settings.pulse.heartbeat / TICKS_PER_HEARTBEAT);
        let until = Instant::now() + DRAIN;
        while !connections.iter().all(|connection| connection.is_drained()) && Instant::now() < until {
            ticks.tick().await;
            self.links.tick();
        }
        for connection in &connections {
            connection.act(|session, outputs| session.say_bye(outputs));
        }
        // A peer that has heard it closes the connection.
        let until = Instant::now() + DRAIN;
        loop {
            let changed = self.links.changed.notified();
            if self.links.connections().is_empty() || timeout_at(until, changed).await.is_err() {
                break;
            }
        }
        for connection in self.links.connections() {
            self.links.end(&connection, EndWhy::Stopping);
        }
        self.links.carrier().stop();
    }
}

async fn tick(links: Arc<Links>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        links.tick();
    }
}
