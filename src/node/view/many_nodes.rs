//! The cluster as a node's protocol sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::page::{Found, Glance, find};
use super::{CLUSTER, Own, known_node, known_slot, tell_of_load, tell_of_node, words};
use crate::actors::runtime::node_load::NodeLoad;
use crate::actors::values::Time;
use crate::cluster::NodeId;
use crate::cluster::protocol::commands::{self, Command};
use crate::cluster::protocol::inspect::SlotStatus;
use crate::cluster::protocol::membership::Member;
use crate::cluster::protocol::node::Protocol;
use crate::cluster::protocol::routing::Route;
use crate::cluster::protocol::types::Place;
use crate::http::answer::codes::Code;
use crate::http::operations::cluster::shapes::{
    Acted, Cluster, ClusterEvent, ClusterJob, ClusterJobKind, ClusterJobState, ClusterLease, ClusterNode,
    ClusterNodeState, ClusterPlan, ClusterSlot, ClusterSlotChange, ClusterStore, ClusterViewed, ClusterWire,
};
use crate::http::operations::cluster::{self, Action, Asked, ClusterView, SlotPage, SlotsAsked};
use crate::http::{Problem, Result};
use crate::node::cluster::{self as member, Membership};
use crate::persistence::membership::{NodeRow, Tables};

/// A drain's job is the node that drains: so any node can say how far it is.
const DRAIN: &str = "drain~";

/// A node that does not say by then how busy it is leaves nulls: a page is not to wait for the slowest.
const PATIENCE: Duration = Duration::from_millis(500);
/// Whoever looks again so soon sees what was answered last: a console that polls asks no node for each of its looks.
const REUSED_FOR: Duration = Duration::from_millis(250);

pub struct ManyNodes {
    membership: Membership,
    own: Own,
    /// How busy the other nodes said they are. Locked while they are asked, so that they are asked once.
    there: Mutex<Option<Heard>>,
}

/// What was answered, and when.
struct Heard {
    at: Instant,
    loads: Arc<BTreeMap<NodeId, NodeLoad>>,
}

impl ManyNodes {
    /// Other nodes that ask are told of this one from now on.
    pub fn new(membership: Membership, own: Own) -> Arc<ManyNodes> {
        let view = Arc::new(ManyNodes { membership, own, there: Mutex::default() });
        let told = Arc::downgrade(&view);
        view.membership.forwarder.tell_load(Box::new(move || Some(told.upgrade()?.load())));
        view
    }

    fn load(&self) -> NodeLoad {
        self.own.load(self.membership.links())
    }

    /// How busy the other live nodes are, as far as they say so in time.
    async fn loads_there(&self) -> Result<Arc<BTreeMap<NodeId, NodeLoad>>> {
        let mut heard = self.there.lock().await;
        if let Some(Heard { at, loads }) = &*heard
            && at.elapsed() < REUSED_FOR
        {
            return Ok(loads.clone());
        }
        let me = self.membership.node.clone();
        let others = self.look(move |protocol, _| {
            let members = protocol.view().members().map(|member| &member.row.id);
            members.filter(|id| **id != me && protocol.view().is_live(id)).cloned().collect()
        });
        let loads = Arc::new(self.membership.forwarder.loads(others.await?, PATIENCE).await);
        *heard = Some(Heard { at: Instant::now(), loads: loads.clone() });
        Ok(loads)
    }

    /// Errors: 503 when the node has left the cluster.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Protocol, &Tables) -> T + Send + 'static) -> Result<T> {
        self.membership.look(look).await.ok_or_else(|| Problem::new(Code::Unavailable))
    }

    /// The nodes, without what only they themselves know.
    async fn listed_nodes(&self) -> Result<Vec<ClusterNode>> {
        let me = self.membership.node.clone();
        self.look(move |protocol, tables| nodes(protocol, tables, &me)).await
    }

    async fn nodes(&self) -> Result<Vec<ClusterNode>> {
        let loads = self.loads_there().await?;
        let mut nodes = self.listed_nodes().await?;
        for node in &mut nodes {
            if node.is_me {
                tell_of_node(node, &self.load());
            } else if words::is_live(node.state)
                && let Some(load) = loads.get(&NodeId::of(&node.id))
            {
                tell_of_node(node, load);
            }
        }
        Ok(nodes)
    }

    /// Adds to the shapes of slots, which ascend, what is known of them beside the protocol: here and by their owners.
    async fn tell_of_slots(&self, slots: &mut [ClusterSlot]) -> Result<()> {
        let quarantined = self.own.quarantined();
        for slot in slots.iter_mut() {
            if let Some((change, pause_ms)) = self.membership.events.history(|seen| seen.newest(slot.slot)) {
                let is_of_now = change.owner.as_ref().map(NodeId::as_str) == slot.owner.as_deref();
                slot.since = is_of_now.then_some(change.at);
                slot.last_pause_ms = pause_ms;
            }
            if slot.owner.as_deref() == Some(self.membership.node.as_str()) {
                self.own.tell_of_slot(slot, &quarantined);
            }
        }
        for (node, load) in &*self.loads_there().await? {
            for load in &load.slots {
                if let Ok(at) = slots.binary_search_by_key(&load.slot, |slot| slot.slot)
                    && slots[at].owner.as_deref() == Some(node.as_str())
                {
                    tell_of_load(&mut slots[at], load);
                }
            }
        }
        Ok(())
    }

    async fn job_of(&self, node: NodeId) -> Result<ClusterJob> {
        let (sought, events) = (node.clone(), self.membership.events.clone());
        let found = self.look(move |protocol, _| drain(protocol, &sought)).await?;
        let (state, remaining) = found.ok_or(Code::NotFound)?;
        let total = events.history(|seen| seen.drained_from(&node));
        Ok(ClusterJob {
            id: format!("{DRAIN}{node}"),
            kind: ClusterJobKind::Drain,
            state,
            done: total.map(|total| total.saturating_sub(remaining)),
            total,
            remaining,
            error: None,
        })
    }

    /// The command that an action is, with its slot as the store counts them.
    fn command(&self, action: Action) -> Result<Command> {
        let slot = |slot| known_slot(slot, self.own.ownership.slots());
        Ok(match action {
            Action::Cordon { node } => Command::Cordon { node },
            Action::Drain { node } => Command::Drain { node },
            Action::Uncordon { node } => Command::Uncordon { node },
            Action::Move { slot: number, to } => Command::Move { slot: slot(number)?, to },
            Action::Pin { slot: number, to } => Command::Pin { slot: slot(number)?, to },
            Action::Unpin { slot: number } => Command::Unpin { slot: slot(number)? },
        })
    }
}

#[async_trait]
impl ClusterView for ManyNodes {
    async fn cluster(&self) -> Result<Cluster> {
        let events = self.membership.events.clone();
        let (kind, reads) = (self.own.store, self.own.reads);
        let look = move |protocol: &Protocol, _: &Tables| {
            let plan = protocol.whole_plan();
            Cluster {
                name: CLUSTER,
                slots: u16::try_from(protocol.slots().count()).unwrap_or(u16::MAX),
                store: ClusterStore { kind, healthy: protocol.is_lease_valid() },
                view: ClusterViewed { version: events.newest(), at: events.read_at() },
                balanced: plan.is_done(),
                out_of_plan: words::out_of_plan(&plan),
                wire: ClusterWire { writes: protocol.writes(), reads },
                nodes: Vec::new(),
            }
        };
        let cluster = self.look(look).await?;
        Ok(Cluster { nodes: self.nodes().await?, ..cluster })
    }

    async fn slots(&self, asked: SlotsAsked) -> Result<SlotPage> {
        let own = self.own.clone();
        let look = move |protocol: &Protocol, _: &Tables| {
            let Found { slots, has_more, total } =
                find(&asked, own.ownership.slots(), |slot| glance(protocol, &own, slot));
            let slots = slots.into_iter().filter_map(|slot| shape(protocol, &own, slot)).collect();
            SlotPage { slots, has_more, total }
        };
        let mut page = self.look(look).await?;
        self.tell_of_slots(&mut page.slots).await?;
        Ok(page)
    }

    async fn slot(&self, slot: u64) -> Result<ClusterSlot> {
        let slot = known_slot(slot, self.own.ownership.slots())?;
        let own = self.own.clone();
        let found = self.look(move |protocol, _| shape(protocol, &own, slot)).await?;
        let mut found = found.ok_or(Code::SlotNotFound)?;
        self.tell_of_slots(std::slice::from_mut(&mut found)).await?;
        let change = |change: member::history::Change| ClusterSlotChange {
            at: change.at,
            epoch: change.epoch,
            owner: change.owner.map(|owner| owner.to_string()),
            why: words::change_why(change.why),
            pause_ms: change.pause_ms,
        };
        let history = self.membership.events.history(|seen| seen.of_slot(slot));
        Ok(ClusterSlot { history: Some(history.into_iter().map(change).collect()), ..found })
    }

    async fn node(&self, called: &str) -> Result<ClusterNode> {
        known_node(self.nodes().await?, called)
    }

    async fn plan(&self) -> Result<ClusterPlan> {
        // As everything is now, and not as it was when the node planned last.
        self.look(|protocol, _| words::plan(&protocol.whole_plan())).await
    }

    async fn job(&self, id: &str) -> Result<ClusterJob> {
        let node = id.strip_prefix(DRAIN).ok_or(Code::NotFound)?;
        self.job_of(NodeId::of(node)).await
    }

    async fn act(&self, action: Action, asked: Asked) -> Result<Acted> {
        let drained = match &action {
            Action::Drain { node } => Some(known_node(self.listed_nodes().await?, node)?.id),
            Action::Cordon { .. }
            | Action::Uncordon { .. }
            | Action::Move { .. }
            | Action::Pin { .. }
            | Action::Unpin { .. } => None,
        };
        let cluster::Asked { by, reason, is_dry } = asked;
        let asked = member::Asked { by, reason, is_dry };
        let judged = self.membership.command(self.command(action)?, asked).await.map_err(words::problem)?;
        let commands::Judged { change, moves } = judged;
        let changed = change.is_some() && !is_dry;
        let job = match drained.filter(|_| !is_dry) {
            Some(node) => Some(self.job_of(NodeId::of(&node)).await?),
            None => None,
        };
        Ok(Acted { changed, dry_run: is_dry, moves: moves.iter().map(words::planned_move).collect(), job })
    }

    fn incarnation(&self) -> String {
        super::incarnation(&self.membership.node)
    }

    fn events_after(&self, number: u64, limit: usize) -> Vec<ClusterEvent> {
        self.membership.events.after(number, limit).into_iter().map(words::event).collect()
    }

    async fn news_after(&self, number: u64) {
        self.membership.events.wait_after(number, 1).await;
    }
}

/// How many slots each node owns.
fn owned(protocol: &Protocol) -> BTreeMap<NodeId, usize> {
    let mut owned = BTreeMap::new();
    for owner in protocol.slots().filter_map(|slot| protocol.slot(slot)?.owner) {
        *owned.entry(owner).or_default() += 1;
    }
    owned
}

fn nodes(protocol: &Protocol, tables: &Tables, me: &NodeId) -> Vec<ClusterNode> {
    let rows: BTreeMap<&str, &NodeRow> = tables.nodes.iter().map(|row| (row.id.as_str(), row)).collect();
    let owned = owned(protocol);
    let node = |member: &Member| {
        let row = rows.get(member.row.id.as_str());
        let text = |text: fn(&NodeRow) -> &String| row.map(|row| text(row).clone()).unwrap_or_default();
        let age = protocol.counter_stands_still(&member.row.id);
        ClusterNode {
            id: member.row.id.to_string(),
            name: member.row.name.to_string(),
            http: text(|row| &row.http),
            link: text(|row| &row.link),
            state: words::node_state(protocol.view(), member),
            is_me: member.row.id == *me,
            version: text(|row| &row.version),
            wire: member.row.reads,
            started_at: row.map(|row| row.started_at_ms).filter(|at| *at != 0).map(Time),
            lease: ClusterLease {
                counter: member.row.counter,
                margin_ms: None,
                age_ms: age.and_then(|age| u64::try_from(age.as_millis()).ok()),
            },
            slots: owned.get(&member.row.id).copied().unwrap_or(0),
            weight: member.row.weight,
            zone: text(|row| &row.zone),
            residents: None,
            resident_bytes: None,
            requests_per_s: None,
            queue_depth: None,
            unreachable: member.row.unreachable.iter().map(ToString::to_string).collect(),
            links: None,
        }
    };
    protocol.view().members().map(node).collect()
}

/// `None`: there is no such slot.
fn glance(protocol: &Protocol, own: &Own, slot: u16) -> Option<Glance> {
    let SlotStatus { owner, standing, .. } = protocol.slot(slot)?;
    let is_parked = matches!(protocol.route(slot), Some(Route::Park { .. }));
    let state = words::slot_state(standing, is_parked);
    let is_own = owner.as_ref() == Some(&own.ownership.node);
    Some(Glance { owner, state: if is_own { own.state_of_slot(slot, state) } else { state } })
}

/// A slot, as far as the protocol knows it. `None`: there is no such slot.
fn shape(protocol: &Protocol, own: &Own, slot: u16) -> Option<ClusterSlot> {
    let Glance { owner, state } = glance(protocol, own, slot)?;
    let pinned_to = match protocol.view().wishes().places.get(&slot) {
        Some(Place::Pinned(name)) => Some(name.to_string()),
        Some(Place::Moved(_)) | None => None,
    };
    let (owner, epoch) = (owner.map(|owner| owner.to_string()), protocol.slot(slot)?.epoch);
    Some(ClusterSlot { pinned_to, ..ClusterSlot::new(slot, owner, epoch, state) })
}

/// How a node's drain stands, and how many slots the node has. `None`: there is no such node.
fn drain(protocol: &Protocol, node: &NodeId) -> Option<(ClusterJobState, usize)> {
    let member = protocol.view().member(node)?;
    let remaining = owned(protocol).get(node).copied().unwrap_or(0);
    let state = match words::node_state(protocol.view(), member) {
        ClusterNodeState::Left | ClusterNodeState::Lost | ClusterNodeState::Draining if remaining == 0 => {
            ClusterJobState::Done
        }
        ClusterNodeState::Left | ClusterNodeState::Lost | ClusterNodeState::Draining => ClusterJobState::Running,
        ClusterNodeState::Joining | ClusterNodeState::Serving | ClusterNodeState::Cordoned => {
            ClusterJobState::Cancelled
        }
    };
    Some((state, remaining))
}
