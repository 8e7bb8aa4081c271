//! Which slots this node owns, and whether it still may speak for them.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

/// One incarnation of one process: a restart is a new node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// A new incarnation of the node that operators call `name`.
    pub fn incarnate(name: &str) -> NodeId {
        NodeId(format!("{name}#{:08x}", rand::random::<u32>()).into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The id, shared: each batch of the journal carries it.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Asked when a reply is released: a node that may have lost its slots keeps silent. Safety does not
/// rest on it (the store fences writes); it keeps stale reads from leaving.
pub trait Lease: Send + Sync + 'static {
    fn is_valid(&self) -> bool;
}

/// The lease of a node that shares its store with nobody: the store's lock is the lease.
pub struct SoleOwner;

impl Lease for SoleOwner {
    fn is_valid(&self) -> bool {
        true
    }
}

/// The slot map as this node knows it: the epoch of every slot that it owns.
pub struct Ownership {
    pub node: NodeId,
    epochs: RwLock<Vec<Option<u64>>>,
}

impl Ownership {
    pub fn new(node: NodeId, slots: u16) -> Ownership {
        Ownership { node, epochs: RwLock::new(vec![None; usize::from(slots)]) }
    }
    pub fn slots(&self) -> u16 {
        self.epochs.read().len() as u16
    }
    /// The epoch at which this node owns the slot; `None` while it does not.
    pub fn epoch(&self, slot: u16) -> Option<u64> {
        self.epochs.read().get(usize::from(slot)).copied().flatten()
    }
    pub fn set(&self, slot: u16, epoch: Option<u64>) {
        if let Some(entry) = self.epochs.write().get_mut(usize::from(slot)) {
            *entry = epoch;
        }
    }
}
