//! A node that has its store to itself: every slot is its own, and nothing of that can be changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::page::{Found, Glance, find};
use super::{CLUSTER, Own, known_node, known_slot, tell_of_node};
use crate::actors::runtime::slot::actor::now;
use crate::actors::values::Time;
use crate::http::answer::codes::Code;
use crate::http::operations::cluster::shapes::{
    Acted, Cluster, ClusterEvent, ClusterJob, ClusterLease, ClusterNode, ClusterNodeState, ClusterPlan, ClusterShare,
    ClusterSlot, ClusterSlotState, ClusterStore, ClusterViewed, ClusterWire,
};
use crate::http::operations::cluster::{Action, Asked, ClusterView, SlotPage, SlotsAsked};
use crate::http::{Problem, Result};
use crate::persistence::membership::WEIGHT;

pub struct OneNode {
    pub own: Own,
    pub name: String,
    /// Where clients reach it.
    pub http: String,
    /// Where it stands.
    pub zone: String,
    pub started_at: Time,
}

impl OneNode {
    fn me(&self) -> ClusterNode {
        let mut me = ClusterNode {
            id: self.own.ownership.node.to_string(),
            name: self.name.clone(),
            http: self.http.clone(),
            link: String::new(),
            state: ClusterNodeState::Serving,
            is_me: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wire: self.own.reads,
            started_at: Some(self.started_at),
            lease: ClusterLease { counter: 0, margin_ms: None, age_ms: None },
            slots: (0..self.own.ownership.slots()).filter(|slot| self.own.ownership.epoch(*slot).is_some()).count(),
            weight: WEIGHT,
            zone: self.zone.clone(),
            residents: None,
            resident_bytes: None,
            requests_per_s: None,
            queue_depth: None,
            unreachable: Vec::new(),
            links: None,
        };
        tell_of_node(&mut me, &self.own.load(Vec::new()));
        me.lease.margin_ms = None; // it needs no lease
        me
    }

    /// A slot that is in quarantine, or reads what it needs, is this node's all the same.
    fn glance(&self, slot: u16) -> Glance {
        let ownership = &self.own.ownership;
        let owner = ownership.epoch(slot).map(|_| ownership.node.clone());
        Glance { owner, state: self.own.state_of_slot(slot, ClusterSlotState::Active) }
    }

    fn shape(&self, slot: u16, quarantined: &BTreeMap<u16, Arc<str>>) -> ClusterSlot {
        let Glance { owner, state } = self.glance(slot);
        let (owner, epoch) = (owner.map(|owner| owner.to_string()), self.own.ownership.epoch(slot).unwrap_or(0));
        let since = Some(self.started_at);
        let mut shape = ClusterSlot { since, ..ClusterSlot::new(slot, owner, epoch, state) };
        self.own.tell_of_slot(&mut shape, quarantined);
        shape
    }
}

#[async_trait]
impl ClusterView for OneNode {
    async fn cluster(&self) -> Result<Cluster> {
        Ok(Cluster {
            name: CLUSTER,
            slots: self.own.ownership.slots(),
            store: ClusterStore { kind: self.own.store, healthy: self.own.failed.borrow().is_none() },
            view: ClusterViewed { version: 0, at: now() },
            balanced: true,
            out_of_plan: Vec::new(),
            wire: ClusterWire { writes: self.own.reads.1, reads: self.own.reads },
            nodes: vec![self.me()],
        })
    }

    async fn slots(&self, asked: SlotsAsked) -> Result<SlotPage> {
        let Found { slots, has_more, total } = find(&asked, self.own.ownership.slots(), |slot| Some(self.glance(slot)));
        let quarantined = self.own.quarantined();
        let slots = slots.into_iter().map(|slot| self.shape(slot, &quarantined)).collect();
        Ok(SlotPage { slots, has_more, total })
    }

    async fn slot(&self, slot: u64) -> Result<ClusterSlot> {
        let slot = known_slot(slot, self.own.ownership.slots())?;
        Ok(ClusterSlot { history: Some(Vec::new()), ..self.shape(slot, &self.own.quarantined()) })
    }

    async fn node(&self, called: &str) -> Result<ClusterNode> {
        known_node(vec![self.me()], called)
    }

    async fn plan(&self) -> Result<ClusterPlan> {
        let slots = usize::from(self.own.ownership.slots());
        let share = ClusterShare { node: self.own.ownership.node.to_string(), has: slots, wants: slots };
        Ok(ClusterPlan { shares: vec![share], ..ClusterPlan::default() })
    }

    async fn job(&self, _: &str) -> Result<ClusterJob> {
        Err(Code::NotFound.into())
    }

    async fn act(&self, _: Action, _: Asked) -> Result<Acted> {
        let detail = "Its store is in its process: no other node can serve it.";
        Err(Problem::new(Code::StoreIsLocal).detail(detail))
    }

    fn incarnation(&self) -> String {
        super::incarnation(&self.own.ownership.node)
    }

    /// Nothing happens to a node that is alone.
    fn events_after(&self, _: u64, _: usize) -> Vec<ClusterEvent> {
        Vec::new()
    }

    async fn news_after(&self, _: u64) {
        std::future::pending().await
    }
}
