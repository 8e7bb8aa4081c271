//! What operators see of the cluster.

use axum::extract::State;

use super::shapes::{Cluster, ClusterJob, ClusterNode, ClusterPlan, ClusterSlot, ClusterSlotState};
use super::{SlotPage, SlotsAsked};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::request::caller::Admin;
use crate::http::request::lists::PageParameters;
use crate::http::request::query::{List, Listing, NoFilter, Page};
use crate::http::{Edge, Path, Read, Reply};

/// The cluster as the answering node sees it: its nodes, its store, and whether all is where it should be.
#[utoipa::path(get, path = "/v1/admin/cluster", tag = "operators", responses((status = 200, body = Cluster)))]
pub async fn cluster(State(edge): State<Edge>, _: Admin, _: Read) -> Result<Reply<Cluster>> {
    edge.cluster.cluster().await.map(Reply::ok)
}

/// The list of slots.
pub struct Slots;

impl Listing for Slots {
    type Filter = NoFilter;
    const PARAMETERS: &'static [&'static str] = &["owner", "state"];
}

/// The slots, ascending: who owns each, at which epoch, and how it stands.
#[utoipa::path(get, path = "/v1/admin/cluster/slots", tag = "operators",
    params(PageParameters,
        ("owner" = Option<String>, Query, description = "Id of a node, or its name where one live node has it"),
        ("state" = Option<ClusterSlotState>, Query)),
    responses((status = 200, body = Page<ClusterSlot>), outcomes::AdminList, outcomes::Refused))]
pub async fn slots(State(edge): State<Edge>, _: Admin, list: List<Slots>) -> Result<Reply<Page<ClusterSlot>>> {
    let owner = match list.parameter("owner") {
        Some(called) => Some(edge.cluster.node(called).await?.id),
        None => None,
    };
    let state = list.parameter("state").map(state_of).transpose()?;
    let after = list.after.as_deref().map(|slot| slot.parse().map_err(|_| Code::InvalidCursor)).transpose()?;
    let asked = SlotsAsked { after, limit: list.limit, owner, state, with_total: list.with_total };
    let SlotPage { slots, has_more, total } = edge.cluster.slots(asked).await?;
    let next = slots.last().filter(|_| has_more).map(|last| last.slot.to_string());
    Ok(list.page(&edge, slots, next, total))
}

fn state_of(word: &str) -> Result<ClusterSlotState> {
    let unknown = || Problem::new(Code::InvalidParameter).detail("state: expected the state of a slot.");
    serde_json::from_value(word.into()).map_err(|_| unknown())
}

/// A slot, with what the answering node has seen of its owners.
#[utoipa::path(get, path = "/v1/admin/cluster/slots/{n}", tag = "operators", params(("n" = u64, Path)),
    responses((status = 200, body = ClusterSlot)))]
pub async fn slot(State(edge): State<Edge>, _: Admin, Path(slot): Path<u64>, _: Read) -> Result<Reply<ClusterSlot>> {
    edge.cluster.slot(slot).await.map(Reply::ok)
}

/// A node, by its id, or by its name where one live node has it.
#[utoipa::path(get, path = "/v1/admin/cluster/nodes/{id}", tag = "operators", params(("id" = String, Path)),
    responses((status = 200, body = ClusterNode), outcomes::Refused))]
pub async fn node(
    State(edge): State<Edge>,
    _: Admin,
    Path(called): Path<String>,
    _: Read,
) -> Result<Reply<ClusterNode>> {
    edge.cluster.node(&called).await.map(Reply::ok)
}

/// What is to be done now so that every slot is where it should be, and what is not done, and why.
#[utoipa::path(get, path = "/v1/admin/cluster/plan", tag = "operators", responses((status = 200, body = ClusterPlan)))]
pub async fn plan(State(edge): State<Edge>, _: Admin, _: Read) -> Result<Reply<ClusterPlan>> {
    edge.cluster.plan().await.map(Reply::ok)
}

/// How far a drain is: what `Location` of its answer names. Any node can be asked.
#[utoipa::path(get, path = "/v1/admin/cluster/jobs/{id}", tag = "operators", params(("id" = String, Path)),
    responses((status = 200, body = ClusterJob)))]
pub async fn job(State(edge): State<Edge>, _: Admin, Path(id): Path<String>, _: Read) -> Result<Reply<ClusterJob>> {
    edge.cluster.job(&id).await.map(Reply::ok)
}
