//! Making connections: the loop that connects to one peer, and the one that takes connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::super::ownership::NodeId;
use super::carrier::Passage;
use super::connection::Connection;
use super::handshake::{self, HandshakeError, Met};
use super::hello::Refusal;
use super::links::Links;
use super::outcome::EndWhy;
use super::settings::Peer;
use super::stream::{Channel, Stream};
use super::tls::Tls;

/// Between one try and the next: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);
/// A link that has lived so long was well: when it ends, the first try comes at once.
const STEADY: Duration = Duration::from_secs(2);
/// The node with the higher id leaves it to the other for so long to connect.
const DEFER: Duration = Duration::from_millis(300);
/// After the listener has failed, which is mostly for want of file descriptors.
const LISTENER_PAUSE: Duration = Duration::from_millis(50);

/// Sees to it that there is a link to the peer, until it is aborted.
pub async fn keep_linked(links: Arc<Links>, tls: Option<Tls>, peer: Peer) {
    let mut pause = PAUSE_MIN;
    let mut told = String::new();
    let mut linked: Option<Instant> = None;
    loop {
        let changed = links.changed.notified();
        if links.pairs(|pairs| pairs.standing(&peer.id)).is_some() {
            linked.get_or_insert_with(Instant::now);
            changed.await;
            continue;
        }
        if let Some(since) = linked.take() {
            if since.elapsed() >= STEADY {
                (pause, told) = (PAUSE_MIN, String::new());
            } else {
                rest(&mut pause).await;
            }
        }
        if links.settings.node > peer.id {
            let _ = timeout(DEFER, changed).await; // whether it came or not is seen below
        }
        if !links.pairs(|pairs| pairs.begin_dial(&peer.id)) {
            continue;
        }
        let dialing = Dialing { links: &links, peer: &peer.id };
        let dialed = timeout(links.settings.handshake, dial(&links, tls.as_ref(), &peer)).await;
        drop(dialing);
        let why = match dialed {
            Ok(Ok((stream, met, number))) => {
                make(&links, stream, met, number).await;
                continue;
            }
            Ok(Err(HandshakeError::Refused(refusal))) if refusal.is_ordinary() => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !why.is_empty() {
            links.counters.dials_failed.one();
        }
        // Once for each reason: what lasts is shown by the status of the link.
        if !why.is_empty() && why != told {
            tracing::warn!(peer.id = %peer.id, peer.address = peer.address, reason = why, "a node cannot be linked to");
            told = why;
        }
        rest(&mut pause).await;
    }
}

/// Waits before the next try, and the longer before the one after it. Not all nodes try at the same moment.
async fn rest(pause: &mut Duration) {
    let part = rand::thread_rng().gen_range(0.5..1.0);
    sleep(pause.mul_f64(part)).await;
    *pause = (*pause * 2).min(PAUSE_MAX);
}

/// A try to connect is no longer under way, however it ends.
struct Dialing<'a> {
    links: &'a Links,
    peer: &'a NodeId,
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.links.pairs(|pairs| pairs.end_dial(self.peer));
    }
}

async fn dial(links: &Arc<Links>, tls: Option<&Tls>, peer: &Peer) -> Result<(Stream, Met, u64), HandshakeError> {
    let stream = TcpStream::connect(&peer.address).await?;
    stream.set_nodelay(true)?;
    let (mut stream, channel) = match tls {
        None => (Stream::Plain(stream), Channel::default()),
        Some(tls) => {
            let host = peer.address.rsplit_once(':').map_or(peer.address.as_str(), |(host, _)| host);
            tls.connect(stream, host.trim_matches(['[', ']'])).await?
        }
    };
    let number = number();
    let met = handshake::dial(&mut stream, links.settings.secret.clone(), channel.bytes(), |found| {
        let ours = links.hello(number, 0);
        if found.node != peer.id && found.node != ours.node {
            return Err(Refusal::OtherNode { found: found.node.clone() });
        }
        if let Some(refusal) = Refusal::between(&ours, found) {
            return Err(refusal);
        }
        let previous = links.pairs(|pairs| pairs.dial_answered(&peer.id))?;
        Ok(links.hello(number, previous))
    })
    .await?;
    // While the try counts as under way: so that nothing comes in between.
    links.pairs(|pairs| pairs.dialed(&peer.id, number, met.peer.number)).map_err(HandshakeError::Refused)?;
    Ok((stream, met, number))
}

/// The connection that this node has made, and the peer has agreed to, becomes the link.
async fn make(links: &Arc<Links>, stream: Stream, met: Met, number: u64) {
    let connection = links.connection(number, &met.peer);
    carry(links, stream, met.cookie, connection, false).await;
}

/// Brings the link up, and sees to its end.
async fn carry(links: &Arc<Links>, stream: Stream, cookie: String, connection: Arc<Connection>, is_acceptor: bool) {
    let halves = stream.halves(connection.heard.clone());
    let (number, actor) = (connection.number, connection.peer.actor);
    let passage = Passage { halves, is_acceptor, cookie, number, actor };
    let mut opening = Opening { links, connection: Some(connection.clone()) };
    let Ok(Some(carried)) = timeout(links.settings.handshake, links.carrier().carry(passage)).await else {
        links.counters.carries_failed.one();
        return;
    };
    opening.connection = None;
    let ended = carried.ended();
    let left = connection.open(carried);
    let is_made = links.made(&connection);
    links.deliver(&connection, left);
    if !is_made {
        links.end(&connection, EndWhy::Replaced);
        return;
    }
    let links = links.clone();
    tokio::spawn(async move {
        ended.await;
        links.end(&connection, EndWhy::Closed);
    });
}

/// A number for a connection that nobody can guess. 0 is none.
fn number() -> u64 {
    rand::thread_rng().gen_range(1..=u64::MAX)
}

/// Takes connections until it is aborted.
pub async fn take_connections(links: Arc<Links>, tls: Option<Tls>, listener: TcpListener) {
    // Whoever has not proven itself can be closed at any time; the oldest is, when there are too many.
    let mut unproven: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the link cannot take connections");
                sleep(LISTENER_PAUSE).await;
                continue;
            }
        };
        unproven.retain(|handshake| !handshake.is_finished());
        while unproven.len() >= links.settings.handshakes_max {
            links.counters.handshakes_refused.one();
            unproven.pop_front().inspect(AbortHandle::abort);
        }
        unproven.push_back(tokio::spawn(answer(links.clone(), tls.clone(), stream)).abort_handle());
    }
}

/// Meets whoever has connected. What is met goes on in a task of its own, which nobody else's connection can end.
async fn answer(links: Arc<Links>, tls: Option<Tls>, stream: TcpStream) {
    let number = number();
    match timeout(links.settings.handshake, meet(&links, tls.as_ref(), stream, number)).await {
        Ok(Ok((stream, met, connection))) => {
            tokio::spawn(async move { carry(&links, stream, met.cookie, connection, true).await });
        }
        Ok(Err(HandshakeError::Refused(refusal))) => {
            links.counters.handshakes_refused.one();
            if !refusal.is_ordinary() {
                tracing::warn!(reason = %refusal, "a connection to the link was refused");
            }
        }
        // Anybody can connect: what strangers send is counted, and fills no log.
        Ok(Err(error)) => {
            links.counters.handshakes_refused.one();
            tracing::debug!(reason = %error, "a connection to the link was refused");
        }
        Err(_) => links.counters.handshakes_refused.one(),
    }
}

async fn meet(
    links: &Arc<Links>,
    tls: Option<&Tls>,
    stream: TcpStream,
    number: u64,
) -> Result<(Stream, Met, Arc<Connection>), HandshakeError> {
    stream.set_nodelay(true)?;
    let (mut stream, channel) = match tls {
        None => (Stream::Plain(stream), Channel::default()),
        Some(tls) => tls.accept(stream).await?,
    };
    let mut accepted = Opening { links, connection: None };
    let hello = links.hello(number, 0);
    let secret = links.settings.secret.clone();
    let met = handshake::accept(&mut stream, secret, channel.bytes(), &hello, |peer| {
        accepted.connection = Some(links.accept(number, peer)?);
        Ok(())
    })
    .await?;
    match accepted.connection.take() {
        Some(connection) => Ok((stream, met, connection)),
        None => Err(HandshakeError::NotLink),
    }
}

/// Ends a connection that comes to nothing, wherever its task stops.
struct Opening<'a> {
    links: &'a Links,
    connection: Option<Arc<Connection>>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.links.end(&connection, EndWhy::Closed);
        }
    }
}
