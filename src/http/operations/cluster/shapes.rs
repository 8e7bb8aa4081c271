//! How the cluster looks in JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::values::Time;
use crate::http::answer::schema;

/// The whole on one page.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Cluster {
    #[schema(example = "souk")]
    pub name: &'static str,
    /// How many slots there are.
    pub slots: u16,
    pub store: ClusterStore,
    pub view: ClusterViewed,
    /// Every slot is where the plan wants it, and nothing is to be done.
    pub balanced: bool,
    /// The slots that are not where the plan wants them, and why they are to go, or cannot.
    pub out_of_plan: Vec<OutOfPlan>,
    pub wire: ClusterWire,
    pub nodes: Vec<ClusterNode>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterStore {
    #[schema(example = "postgres")]
    pub kind: &'static str,
    /// Whether this node's lease holds, which it has from the store; of a store in the process, whether it has not failed.
    pub healthy: bool,
}

/// What the answer rests on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterViewed {
    /// The number of the newest event that the answering node has seen. It begins anew with each incarnation of a node.
    pub version: u64,
    /// When the node has read the cluster's tables last.
    #[schema(value_type = schema::Time)]
    pub at: Time,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OutOfPlan {
    pub slot: u16,
    pub why: PlanWhy,
}

/// Versions of what nodes send each other.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterWire {
    /// What the answering node writes.
    pub writes: u16,
    /// The oldest and the newest that it reads.
    #[schema(value_type = Vec<u16>)]
    pub reads: (u16, u16),
}

/// Why a slot is to go somewhere, or cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanWhy {
    /// It has no owner.
    Unowned,
    /// Its owner is gone.
    OwnerGone,
    /// An operator wants it there.
    Placed,
    /// Its owner drains.
    Drain,
    /// Most other nodes cannot reach its owner.
    Isolated,
    /// Its owner has more than its share.
    Balance,
    /// No node can take it.
    NobodyCanTake,
    /// An operator wants it on a node that cannot have it now.
    CannotBePlaced,
    /// Moves to this node wait until it has been alive for a while.
    Settling,
    /// These moves of this node follow: only some are made at a time.
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterNodeState {
    /// In the list, and not yet ready for slots.
    Joining,
    Serving,
    /// It keeps its slots, and is given no others.
    Cordoned,
    /// It gives its slots away, and takes none.
    Draining,
    /// It has ended.
    Left,
    /// It has given no sign of life for the whole lease.
    Lost,
}

/// One incarnation of one process.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterNode {
    #[schema(example = "node-1#0a1b2c3d")]
    pub id: String,
    /// What operators call it; a restart keeps it.
    #[schema(example = "node-1")]
    pub name: String,
    /// Where clients reach it.
    pub http: String,
    /// Where other nodes reach it; empty for a node that serves alone.
    pub link: String,
    pub state: ClusterNodeState,
    /// Whether it is the node that answers.
    pub is_me: bool,
    /// The version of its program.
    pub version: String,
    /// The oldest and the newest version of messages that it reads.
    #[schema(value_type = Vec<u16>)]
    pub wire: (u16, u16),
    #[schema(value_type = Option<schema::Time>)]
    pub started_at: Option<Time>,
    pub lease: ClusterLease,
    /// How many slots it owns.
    pub slots: usize,
    /// Its share of the slots, beside those of the others.
    pub weight: u32,
    /// Where it stands, such as a zone of a data centre.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Entities in its memory. Null, as everything below but `unreachable`, for a node that is gone or did not say so in time,
    /// and as long as a node of the cluster reads only messages of version 1.
    pub residents: Option<i64>,
    pub resident_bytes: Option<i64>,
    /// Requests that it has answered in the last seconds, for each second.
    pub requests_per_s: Option<f64>,
    /// Commands that wait in front of its slots.
    pub queue_depth: Option<usize>,
    /// The nodes that it says it cannot reach.
    pub unreachable: Vec<String>,
    pub links: Option<Vec<ClusterLink>>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterLease {
    /// It grows with each renewal.
    pub counter: u64,
    /// For how long the node may still speak for its slots; null where the node has not said so, or needs no lease.
    pub margin_ms: Option<u64>,
    /// For how long the answering node has seen the counter stand still; null for a node that has left.
    pub age_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterLinkState {
    Up,
    Connecting,
    Down,
}

/// The link to another node.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterLink {
    /// The other node's id.
    pub peer: String,
    pub state: ClusterLinkState,
    /// How long the last heartbeat took there and back.
    pub rtt_ms: Option<f64>,
    /// Frames that may be sent now.
    pub credit: u64,
    /// Frames sent and received in the last seconds, for each second.
    pub frames_per_s: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterSlotState {
    /// It is served, by the node that answers or by another.
    Active,
    /// The node that answers is about to claim it.
    Claiming,
    /// The node that answers has it, and reads what it needs to serve it.
    Recovering,
    /// The node that answers has stopped it, or is about to, so that another can have it.
    HandingOver,
    /// It is another node's, and the node that answers knows no way there now: requests wait.
    Parked,
    /// It has no owner, or one that is gone.
    Unowned,
    /// The lease of the node that answers has lapsed: it serves nothing of the slot before it has claimed it again.
    Fenced,
}

/// A share of all entities, and who serves it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterSlot {
    pub slot: u16,
    /// Id of the node that owns it; null while nobody does.
    pub owner: Option<String>,
    pub epoch: u64,
    pub state: ClusterSlotState,
    /// Since when it has this owner; null where that was so before the answering node looked for the first time.
    #[schema(value_type = Option<schema::Time>)]
    pub since: Option<Time>,
    /// The name of the node that an operator has pinned it to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_to: Option<String>,
    /// Entities of it in memory; null, as are all numbers that follow but the pause, where its owner has not said so.
    pub residents: Option<u64>,
    /// Bytes that they take, about.
    pub resident_bytes: Option<u64>,
    /// Commands that wait in front of it.
    pub queue_depth: Option<usize>,
    /// The number of the last record that it has decided. What is beyond `durable_seq` is being written.
    pub decided_seq: Option<u64>,
    /// The number of its last durable record.
    pub durable_seq: Option<u64>,
    /// For how long it was served nowhere when the answering node gave it away last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pause_ms: Option<u64>,
    /// How often its actor has failed and was started again, in this process.
    pub restarts: Option<u32>,
    /// What is damaged in its stored data, as its owner says: while it is there, none of its entities is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// Only where one slot was asked for: what the answering node has seen of it, the newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<ClusterSlotChange>>,
}

impl ClusterSlot {
    /// Of which nothing else is known.
    pub fn new(slot: u16, owner: Option<String>, epoch: u64, state: ClusterSlotState) -> ClusterSlot {
        ClusterSlot {
            slot,
            owner,
            epoch,
            state,
            since: None,
            pinned_to: None,
            residents: None,
            resident_bytes: None,
            queue_depth: None,
            decided_seq: None,
            durable_seq: None,
            last_pause_ms: None,
            restarts: None,
            quarantined: None,
            history: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterSlotChangeWhy {
    /// It had no owner, or one that was gone.
    Claimed,
    /// Its owner gave it away.
    Moved,
    /// Another node took it from the one that answers.
    Fenced,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterSlotChange {
    #[schema(value_type = schema::Time)]
    pub at: Time,
    pub epoch: u64,
    /// Whose it was from then on; null where the answering node did not learn it at that time.
    pub owner: Option<String>,
    pub why: ClusterSlotChangeWhy,
    /// For how long it was served nowhere, where the answering node gave it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
}

/// What is to be done now, by what the answering node sees. Every node comes to the same.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct ClusterPlan {
    /// Slots that go from one node to another; at most `cluster.moves_max` of each node at a time.
    pub moves: Vec<PlannedMove>,
    /// Slots without an owner, or whose owner is gone, and who is to claim them.
    pub claims: Vec<PlannedClaim>,
    /// What is not done now, and why.
    pub refusals: Vec<PlanRefusal>,
    pub shares: Vec<ClusterShare>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlannedMove {
    pub slot: u16,
    pub from: String,
    pub to: String,
    pub why: PlanWhy,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlannedClaim {
    pub slot: u16,
    pub to: String,
    pub why: PlanWhy,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlanRefusal {
    pub why: PlanWhy,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How many moves this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves: Option<usize>,
}

/// What a node has, and what it should have.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterShare {
    pub node: String,
    pub has: usize,
    pub wants: usize,
}

/// What has come of an action.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Acted {
    /// Whether anything was changed: not where it was so already, and not by a dry run.
    pub changed: bool,
    pub dry_run: bool,
    /// The moves of slots that follow, or would.
    pub moves: Vec<PlannedMove>,
    /// Of a drain: how far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<ClusterJob>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterJobKind {
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterJobState {
    Running,
    /// The node owns nothing any more.
    Done,
    /// It is not made in this version: a hand-over that does not succeed is tried again.
    Failed,
    /// Nobody wishes it any more.
    Cancelled,
}

/// Something that takes a while. Every node computes it from what the store has.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterJob {
    #[schema(example = "drain~node-1#0a1b2c3d")]
    pub id: String,
    pub kind: ClusterJobKind,
    pub state: ClusterJobState,
    /// Slots that were handed over; null where the answering node did not see the beginning.
    pub done: Option<usize>,
    /// Slots that were to be handed over; null as `done`.
    pub total: Option<usize>,
    /// Slots that the node still owns.
    pub remaining: usize,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterEventType {
    NodeJoined,
    NodeLeft,
    NodeLost,
    NodeBack,
    /// A slot without an owner, or whose owner is gone, has one.
    SlotClaimed,
    SlotMoved,
    /// Everything that a slot of the answering node needs has been read.
    SlotRecovered,
    /// The answering node had the slot, and another took it.
    SlotFenced,
    /// The answering node has given up to hand a slot over, and goes on serving it.
    HandOffGivenUp,
    PlanChanged,
    DrainStarted,
    DrainDone,
    Cordoned,
    Uncordoned,
    Pinned,
    Unpinned,
    VersionChanged,
}

/// What has happened: the `data` of an event of the stream.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterEvent {
    /// It is in the event's id.
    #[serde(skip)]
    #[schema(ignore)]
    pub number: u64,
    /// It is the event's name.
    #[serde(skip)]
    #[schema(ignore)]
    pub r#type: ClusterEventType,
    #[schema(value_type = schema::Time)]
    pub at: Time,
    /// Id of the node that it is about: of a slot, its owner from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Of a slot that was moved: id of the node that had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Why a hand-over was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// Of a plan: how many slots are to be claimed, and moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves: Option<usize>,
    /// The version that is written from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<u16>,
}

impl ClusterEvent {
    pub fn new(number: u64, at: Time, r#type: ClusterEventType) -> ClusterEvent {
        let (node, slot, epoch, from, why) = (None, None, None, None, None);
        ClusterEvent { number, r#type, at, node, slot, epoch, from, why, claims: None, moves: None, writes: None }
    }
}
