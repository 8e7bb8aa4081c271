//! What the cluster's endpoints show of a node that is alone.

use std::sync::Arc;

use crate::cluster::Ownership;
use crate::http::{ClusterNode, ClusterSlot, ClusterView};

/// Every slot is this node's.
pub struct OneNode {
    pub ownership: Arc<Ownership>,
    pub name: String,
}

impl ClusterView for OneNode {
    fn nodes(&self) -> Vec<ClusterNode> {
        vec![ClusterNode {
            id: self.ownership.node.to_string(),
            name: self.name.clone(),
            address: None,
            state: "serving".into(),
            this: true,
            slots_owned: self.slots().iter().filter(|slot| slot.owner.is_some()).count(),
        }]
    }

    fn slots(&self) -> Vec<ClusterSlot> {
        let quarantined = self.ownership.quarantined().borrow().clone();
        let of = |slot| {
            let epoch = self.ownership.epoch(slot);
            ClusterSlot {
                slot,
                owner: epoch.map(|_| self.ownership.node.to_string()),
                epoch: epoch.unwrap_or(0),
                quarantined: quarantined.get(&slot).map(|why| why.to_string()),
            }
        };
        (0..self.ownership.slots()).map(of).collect()
    }
}
