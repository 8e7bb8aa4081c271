//! `/v1/admin/cluster`: who is there, who owns which slot, what is planned; and what an operator may wish of it.
//!
//! Any node can be asked. It answers with what it sees itself, which may be some hundred milliseconds old, and it writes a
//! wish to the store, from where every node learns it. So an action that is asked for twice changes nothing the second time.
//!
//! Of values that only a node itself knows (its memory, its queues, its links) the others are asked. They are null where a node
//! does not say them in time.
//!
//! Architecture invariant: nothing here knows how nodes agree. [`ClusterView`] is what the node composes.

pub mod actions;
pub mod events;
pub mod reads;
pub mod shapes;

use async_trait::async_trait;

use crate::http::answer::problem::Result;
use shapes::{Acted, Cluster, ClusterEvent, ClusterJob, ClusterNode, ClusterPlan, ClusterSlot, ClusterSlotState};

/// What the node knows of its cluster, and can ask of it. A node or slot is named as the client has named it.
#[async_trait]
pub trait ClusterView: Send + Sync + 'static {
    async fn cluster(&self) -> Result<Cluster>;
    /// A page of the slots, without their history.
    async fn slots(&self, asked: SlotsAsked) -> Result<SlotPage>;
    /// One slot with its history. Errors: 404 `slot_not_found`.
    async fn slot(&self, slot: u64) -> Result<ClusterSlot>;
    /// Errors: 404 `node_not_found`, 409 `node_ambiguous`.
    async fn node(&self, called: &str) -> Result<ClusterNode>;
    async fn plan(&self) -> Result<ClusterPlan>;
    /// Errors: 404.
    async fn job(&self, id: &str) -> Result<ClusterJob>;
    /// Errors: the refusals of the cluster's protocol, and `store_is_local`.
    async fn act(&self, action: Action, asked: Asked) -> Result<Acted>;
    /// What tells this incarnation of the node from its others: numbers of events begin anew with each. Letters and digits.
    fn incarnation(&self) -> String;
    /// The events behind a number, at most so many, the oldest first. Where the oldest are not kept any more, those that are.
    fn events_after(&self, number: u64, limit: usize) -> Vec<ClusterEvent>;
    /// Returns when there are events behind a number.
    async fn news_after(&self, number: u64);
}

/// Which slots a page is to show.
#[derive(Debug, Clone)]
pub struct SlotsAsked {
    /// Only those behind this one.
    pub after: Option<u16>,
    /// At most so many.
    pub limit: usize,
    /// Only those of the node with this id.
    pub owner: Option<String>,
    pub state: Option<ClusterSlotState>,
    /// Whether all of them are to be counted.
    pub with_total: bool,
}

/// A page of slots, ascending.
pub struct SlotPage {
    pub slots: Vec<ClusterSlot>,
    pub has_more: bool,
    /// How many there are in all, if that was asked.
    pub total: Option<u64>,
}

/// What an operator wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Cordon { node: String },
    Drain { node: String },
    Uncordon { node: String },
    Move { slot: u64, to: String },
    Pin { slot: u64, to: Option<String> },
    Unpin { slot: u64 },
}

/// Who wishes it, and how.
#[derive(Debug, Clone)]
pub struct Asked {
    pub by: String,
    pub reason: String,
    /// Only say what would follow.
    pub is_dry: bool,
}
