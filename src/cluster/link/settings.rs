//! What a node's link is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::ownership::NodeId;
use super::limits::Limits;
use super::secret::Secret;
use super::session::Pulse;

/// What this node is to others, and how its links behave.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    pub node: NodeId,
    /// What operators call it.
    pub name: String,
    /// Where it takes connections. Port 0: a free one.
    pub listen: SocketAddr,
    /// Where others reach it, `host:port`. Empty: where it listens.
    pub advertise: String,
    pub secret: Secret,
    /// Mutual TLS between nodes; none: plain TCP.
    pub tls: Option<TlsFiles>,
    /// The oldest and the newest version of messages that this node reads. Two nodes without a common one are not linked.
    pub versions: (u16, u16),
    /// Which cluster this is, in at most 256 bytes: which store, and into how many slots it is divided. Nodes that say
    /// something else are refused.
    pub cluster: String,
    pub pulse: Pulse,
    /// How long a connection may take from its beginning until the link is made.
    pub handshake: Duration,
    /// Connections that have not proven themselves, at once. One more, and the oldest is closed.
    pub handshakes_max: usize,
    pub limits: Limits,
}

impl LinkSettings {
    /// Everything that has a good default has it.
    pub fn new(node: NodeId, listen: SocketAddr, secret: Secret, cluster: &str) -> LinkSettings {
        LinkSettings {
            name: node.as_str().to_owned(),
            node,
            listen,
            advertise: String::new(),
            secret,
            tls: None,
            versions: (1, 1),
            cluster: cluster.to_owned(),
            pulse: pulse(Duration::from_millis(250)),
            handshake: Duration::from_secs(2),
            handshakes_max: 64,
            limits: Limits::DEFAULT,
        }
    }
}

/// A peer is gone when four heartbeats have brought nothing.
pub fn pulse(heartbeat: Duration) -> Pulse {
    Pulse { heartbeat, dead_after: heartbeat * 4 }
}

/// Files in PEM. The same certificate serves both ends: it names this node's `advertise` host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that sign the nodes' certificates.
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Another node, as the node list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: NodeId,
    /// `host:port`
    pub address: String,
}

/// Why a node's link cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cluster.listen: {address} cannot be listened on: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("cluster.tls: {0}")]
    Tls(String),
    #[error("the actors of the link did not start: {0}")]
    Actors(String),
}
