//! What the cluster's endpoints show, of a node that has its store to itself ([`OneNode`]) and of one that shares it
//! ([`ManyNodes`]).

mod many_nodes;
mod one_node;
mod rates;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::actors::runtime::wire::WireVersion;
use crate::actors::runtime::{Runtime, Slots};
use crate::cluster::{NodeId, Ownership};
use crate::http::answer::codes::Code;
use crate::http::operations::cluster::shapes::{ClusterNode, ClusterSlot, ClusterSlotState};
use crate::http::{Problem, Result};
use crate::metrics::Metrics;
use crate::persistence::StoreError;

pub use many_nodes::ManyNodes;
pub use one_node::OneNode;
pub use rates::Rates;

/// What operators call a cluster. There is one for each store, so it needs no name to tell it from others.
const CLUSTER: &str = "souk";

/// The versions of messages that this program reads.
const READS: (u16, u16) = (WireVersion::FIRST.0, WireVersion::OURS.0);

/// What a process knows of itself.
#[derive(Clone)]
pub struct Own {
    /// The kind of its store.
    pub store: &'static str,
    ownership: Arc<Ownership>,
    slots: Slots,
    metrics: Arc<Metrics>,
    failed: watch::Receiver<Option<StoreError>>,
    rates: Arc<Rates>,
}

impl Own {
    pub fn new(store: &'static str, runtime: &Runtime, metrics: Arc<Metrics>, rates: Arc<Rates>) -> Own {
        let (ownership, slots, failed) = (runtime.ownership.clone(), runtime.slots(), runtime.failed());
        Own { store, ownership, slots, metrics, failed, rates }
    }

    fn quarantined(&self) -> BTreeMap<u16, Arc<str>> {
        self.ownership.quarantined().borrow().clone()
    }

    /// Adds to a node's shape what it knows of itself.
    fn tell_of_itself(&self, node: &mut ClusterNode) {
        let queued = (0..self.ownership.slots()).filter_map(|slot| self.slots.reading(slot));
        node.queue_depth = Some(queued.map(|reading| reading.queue_depth).sum());
        node.residents = Some(self.metrics.resident_entities.get());
        node.resident_bytes = Some(self.metrics.resident_bytes.get());
        node.requests_per_s = self.rates.requests_per_s();
    }

    /// Adds to the shape of a slot of this node what it knows of it.
    fn tell_of_slot(&self, slot: &mut ClusterSlot, quarantined: &BTreeMap<u16, Arc<str>>) {
        if let Some(reading) = self.slots.reading(slot.slot) {
            slot.queue_depth = Some(reading.queue_depth);
            slot.residents = Some(reading.residents);
            slot.resident_bytes = Some(reading.resident_bytes);
            slot.decided_seq = Some(reading.decided_seq);
            slot.durable_seq = Some(reading.durable_seq);
            slot.restarts = Some(reading.restarts);
        }
        slot.quarantined = quarantined.get(&slot.slot).map(|why| why.to_string());
        let is_whole = self.ownership.epoch(slot.slot).is_some() || slot.quarantined.is_some();
        if slot.state == ClusterSlotState::Active && !is_whole {
            slot.state = ClusterSlotState::Recovering;
        }
    }
}

/// What tells incarnations of a node apart, without its name: ids end with it.
fn incarnation(node: &NodeId) -> String {
    node.as_str().rsplit('#').next().unwrap_or_default().to_owned()
}

/// The slot that a client has named, among so many.
fn known_slot(slot: u64, slots: u16) -> Result<u16> {
    let known = u16::try_from(slot).ok().filter(|slot| *slot < slots);
    known.ok_or_else(|| Problem::new(Code::SlotNotFound).detail(format!("The slots are 0 to {}.", slots - 1)))
}

/// The node that a client calls so: by its id, or by its name where one live node has it (or, if none lives, one at all).
fn known_node(nodes: Vec<ClusterNode>, called: &str) -> Result<ClusterNode> {
    if let Some(node) = nodes.iter().find(|node| node.id == called) {
        return Ok(node.clone());
    }
    let named: Vec<ClusterNode> = nodes.into_iter().filter(|node| node.name == called).collect();
    let live: Vec<ClusterNode> = named.iter().filter(|node| words::is_live(node.state)).cloned().collect();
    let mut found = if live.is_empty() { named } else { live };
    match (found.pop(), found.pop()) {
        (Some(node), None) => Ok(node),
        (None, _) => Err(Problem::new(Code::NodeNotFound)),
        (Some(one), Some(other)) => {
            let detail = format!("Say which by its id, such as {} or {}.", other.id, one.id);
            Err(Problem::new(Code::NodeAmbiguous).detail(detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::values::Time;
    use crate::http::operations::cluster::shapes::{ClusterLease, ClusterNodeState};

    fn node(id: &str, state: ClusterNodeState) -> ClusterNode {
        ClusterNode {
            id: id.into(),
            name: id.split('#').next().unwrap_or_default().into(),
            http: String::new(),
            link: String::new(),
            state,
            is_me: false,
            version: String::new(),
            wire: READS,
            started_at: Some(Time::ZERO),
            lease: ClusterLease { counter: 0, margin_ms: None, age_ms: None },
            slots: 0,
            weight: 100,
            zone: String::new(),
            residents: None,
            resident_bytes: None,
            requests_per_s: None,
            queue_depth: None,
            unreachable: Vec::new(),
            links: None,
        }
    }

    #[test]
    fn a_node_is_called_by_its_id_or_by_a_name_that_one_live_node_has() {
        use ClusterNodeState::{Left, Lost, Serving};
        let nodes = || {
            vec![node("a#1", Lost), node("a#2", Serving), node("b#1", Left), node("c#1", Serving), node("c#2", Serving)]
        };
        let called = |called: &str| known_node(nodes(), called).map(|node| node.id).map_err(|problem| problem.code());
        for (name, id) in [("a#1", "a#1"), ("a", "a#2"), ("b", "b#1"), ("c#2", "c#2")] {
            assert_eq!(called(name), Ok(id.to_owned()), "{name}");
        }
        assert_eq!((called("c"), called("d")), (Err(Code::NodeAmbiguous), Err(Code::NodeNotFound)));
    }
}
