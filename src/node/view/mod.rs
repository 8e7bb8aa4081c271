//! What the cluster's endpoints show, of a node that has its store to itself ([`OneNode`]) and of one that shares it
//! ([`ManyNodes`]).

mod many_nodes;
mod one_node;
mod page;
mod rates;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::actors::runtime::node_load::{LinkLoad, NodeLoad, SlotLoad};
use crate::actors::runtime::{Runtime, Slots};
use crate::cluster::link::LinkStatus;
use crate::cluster::{NodeId, Ownership};
use crate::http::answer::codes::Code;
use crate::http::operations::cluster::shapes::{ClusterLink, ClusterNode, ClusterSlot, ClusterSlotState};
use crate::http::{Problem, Result};
use crate::metrics::Metrics;
use crate::persistence::StoreError;

pub use many_nodes::ManyNodes;
pub use one_node::OneNode;
pub use rates::Rates;

/// What operators call a cluster. There is one for each store, so it needs no name to tell it from others.
const CLUSTER: &str = "souk";

/// What a process knows of itself.
#[derive(Clone)]
pub struct Own {
    /// The kind of its store.
    pub store: &'static str,
    /// The oldest and the newest version of messages that it says it reads.
    pub reads: (u16, u16),
    ownership: Arc<Ownership>,
    slots: Slots,
    metrics: Arc<Metrics>,
    failed: watch::Receiver<Option<StoreError>>,
    rates: Arc<Rates>,
}

impl Own {
    pub fn new(
        store: &'static str,
        reads: (u16, u16),
        runtime: &Runtime,
        metrics: Arc<Metrics>,
        rates: Arc<Rates>,
    ) -> Own {
        let (ownership, slots, failed) = (runtime.ownership.clone(), runtime.slots(), runtime.failed());
        Own { store, reads, ownership, slots, metrics, failed, rates }
    }

    fn quarantined(&self) -> BTreeMap<u16, Arc<str>> {
        self.ownership.quarantined().borrow().clone()
    }

    /// How busy it is, with these links.
    fn load(&self, links: Vec<LinkStatus>) -> NodeLoad {
        let quarantined = self.quarantined();
        let slots = (0..self.ownership.slots()).filter_map(|slot| self.load_of_slot(slot, &quarantined));
        let slots: Vec<SlotLoad> = slots.collect();
        let link = |status: LinkStatus| LinkLoad {
            frames_per_10s: self.rates.frames_per_s(status.peer.as_str()).map(per_10s),
            peer: status.peer.to_string(),
            state: words::link_word(status.state),
            rtt_us: status.rtt.and_then(|rtt| u64::try_from(rtt.as_micros()).ok()),
            credit: status.credit,
        };
        let gauge = |value: i64| u64::try_from(value).unwrap_or(0);
        NodeLoad {
            residents: gauge(self.metrics.resident_entities.get()),
            resident_bytes: gauge(self.metrics.resident_bytes.get()),
            requests_per_10s: self.rates.requests_per_s().map(per_10s),
            queue_depth: slots.iter().map(|slot| slot.queue_depth).sum(),
            margin_ms: gauge(self.metrics.lease_margin_ms.get()),
            links: links.into_iter().map(link).collect(),
            slots,
        }
    }

    /// `None`: the slot does not live here.
    fn load_of_slot(&self, slot: u16, quarantined: &BTreeMap<u16, Arc<str>>) -> Option<SlotLoad> {
        let reading = self.slots.reading(slot)?;
        Some(SlotLoad {
            slot,
            queue_depth: reading.queue_depth as u64,
            residents: reading.residents,
            resident_bytes: reading.resident_bytes,
            decided_seq: reading.decided_seq,
            durable_seq: reading.durable_seq,
            restarts: reading.restarts,
            quarantined: quarantined.get(&slot).map(|why| why.to_string()),
        })
    }

    /// Adds to the shape of a slot of this node what it knows of it.
    fn tell_of_slot(&self, slot: &mut ClusterSlot, quarantined: &BTreeMap<u16, Arc<str>>) {
        if let Some(load) = self.load_of_slot(slot.slot, quarantined) {
            tell_of_load(slot, &load);
        }
        slot.quarantined = quarantined.get(&slot.slot).map(|why| why.to_string());
    }

    /// How a slot of this node stands, which stands so for the cluster.
    fn state_of_slot(&self, slot: u16, state: ClusterSlotState) -> ClusterSlotState {
        let is_whole = self.ownership.epoch(slot).is_some() || self.ownership.is_quarantined(slot);
        if state == ClusterSlotState::Active && !is_whole { ClusterSlotState::Recovering } else { state }
    }
}

/// Rates are told with one digit after the point.
fn per_10s(per_s: f64) -> u64 {
    (per_s * 10.0).round() as u64
}

fn per_s(per_10s: u64) -> f64 {
    per_10s as f64 / 10.0
}

/// Adds to a node's shape what it says of itself.
fn tell_of_node(node: &mut ClusterNode, load: &NodeLoad) {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    node.residents = Some(gauge(load.residents));
    node.resident_bytes = Some(gauge(load.resident_bytes));
    node.requests_per_s = load.requests_per_10s.map(per_s);
    node.queue_depth = usize::try_from(load.queue_depth).ok();
    node.lease.margin_ms = Some(load.margin_ms);
    let link = |link: &LinkLoad| ClusterLink {
        peer: link.peer.clone(),
        state: words::link_state(link.state),
        rtt_ms: link.rtt_us.map(|us| us as f64 / 1_000.0),
        credit: link.credit,
        frames_per_s: link.frames_per_10s.map(per_s),
    };
    node.links = Some(load.links.iter().map(link).collect());
}

/// Adds to the shape of a slot what its node says of it.
fn tell_of_load(slot: &mut ClusterSlot, load: &SlotLoad) {
    slot.queue_depth = usize::try_from(load.queue_depth).ok();
    slot.residents = Some(load.residents);
    slot.resident_bytes = Some(load.resident_bytes);
    slot.decided_seq = Some(load.decided_seq);
    slot.durable_seq = Some(load.durable_seq);
    slot.restarts = Some(load.restarts);
    slot.quarantined.clone_from(&load.quarantined);
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
            wire: (1, 2),
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
