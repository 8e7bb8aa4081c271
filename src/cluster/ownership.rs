//! Which slots this node owns, and whether it still may speak for them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

/// One incarnation of one process: a restart is a new node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// A new incarnation of the node that operators call `name`.
    pub fn incarnate(name: &str) -> NodeId {
        NodeId(format!("{name}#{:08x}", rand::random::<u32>()).into())
    }
    /// The node that the store or a peer calls so.
    pub fn of(id: &str) -> NodeId {
        NodeId(id.into())
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

/// The slot map as this node knows it: the epoch of every slot that it owns, and which of them it cannot serve.
pub struct Ownership {
    pub node: NodeId,
    epochs: RwLock<Vec<Option<u64>>>,
    /// Slots whose stored data is damaged, each with what was found.
    quarantined: watch::Sender<BTreeMap<u16, Arc<str>>>,
}

impl Ownership {
    pub fn new(node: NodeId, slots: u16) -> Ownership {
        let quarantined = watch::Sender::default();
        Ownership { node, epochs: RwLock::new(vec![None; usize::from(slots)]), quarantined }
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
    /// The slots in quarantine, now and whenever that changes.
    pub fn quarantined(&self) -> watch::Receiver<BTreeMap<u16, Arc<str>>> {
        self.quarantined.subscribe()
    }
    pub fn is_quarantined(&self, slot: u16) -> bool {
        self.quarantined.borrow().contains_key(&slot)
    }
    /// The slot is not served, because of this. Says whether it was, until now.
    pub fn quarantine(&self, slot: u16, why: &str) -> bool {
        let mut is_new = false;
        self.quarantined.send_modify(|slots| is_new = slots.insert(slot, why.into()).is_none());
        is_new
    }
    /// The slot is served. Says whether it was not, until now.
    pub fn end_quarantine(&self, slot: u16) -> bool {
        self.quarantined.send_if_modified(|slots| slots.remove(&slot).is_some())
    }
}
