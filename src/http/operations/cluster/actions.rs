//! What operators may wish of the cluster. Each is so at once for whoever reads the store, and what follows from it (slots
//! that move) takes its time: `/v1/admin/cluster` says how far it is.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::shapes::{Acted, ClusterJob};
use super::{Action, Asked};
use crate::http::answer::outcomes;
use crate::http::answer::problem::Result;
use crate::http::request::caller::Admin;
use crate::http::request::json::{self, Prose};
use crate::http::{Edge, Path, Reply, Write};

/// The longest reason, in characters: what the store keeps of it, however many bytes a character has.
const REASON_MAX: usize = 250;

/// How an action is asked for.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterWish {
    /// Only say what would follow, and do nothing.
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = Option<bool>)]
    dry_run: bool,
    /// Why, for other operators.
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = Option<String>, max_length = 250)]
    reason: Prose<REASON_MAX>,
}

/// Where a slot is to go.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterMove {
    /// Id of a node, or its name where one live node has it.
    to: String,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = Option<bool>)]
    dry_run: bool,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = Option<String>, max_length = 250)]
    reason: Prose<REASON_MAX>,
}

/// Where a slot is to stay.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterPin {
    /// Id of a node, or its name where one live node has it. Where it is, when it is not given.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>)]
    to: Option<String>,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = Option<bool>)]
    dry_run: bool,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = Option<String>, max_length = 250)]
    reason: Prose<REASON_MAX>,
}

async fn act(edge: &Edge, admin: &Admin, action: Action, is_dry: bool, reason: &Prose<REASON_MAX>) -> Result<Acted> {
    let asked = Asked { by: admin.0.user.to_string(), reason: reason.0.clone(), is_dry };
    let acted = edge.cluster.act(action.clone(), asked).await;
    let outcome = match &acted {
        Ok(acted) if acted.changed => "done",
        Ok(_) => "unchanged",
        Err(problem) => problem.code().slug(),
    };
    tracing::info!({ user.id = %admin.0.user, ?action, is_dry, outcome }, "an administrator acts on the cluster");
    acted
}

/// A node gets no slots any more. What it has stays.
#[utoipa::path(post, path = "/v1/admin/cluster/nodes/{id}/cordon", tag = "operators", request_body = ClusterWish,
    params(("id" = String, Path)), responses((status = 200, body = Acted), outcomes::AdminChange))]
pub async fn cordon(
    State(edge): State<Edge>,
    admin: Admin,
    Path(node): Path<String>,
    write: Write<ClusterWish>,
) -> Result<Reply<Acted>> {
    let ClusterWish { dry_run, reason } = &write.body;
    act(&edge, &admin, Action::Cordon { node }, *dry_run, reason).await.map(Reply::ok)
}

/// A node gets no slots any more, and gives away what it has. 202 when that begins: `Location` says how far it is. 200
/// when it does so already, and for a dry run.
#[utoipa::path(post, path = "/v1/admin/cluster/nodes/{id}/drain", tag = "operators", request_body = ClusterWish,
    params(("id" = String, Path)),
    responses((status = 202, body = ClusterJob), (status = 200, body = Acted), outcomes::AdminChange))]
pub async fn drain(
    State(edge): State<Edge>,
    admin: Admin,
    Path(node): Path<String>,
    write: Write<ClusterWish>,
) -> Result<Response> {
    let ClusterWish { dry_run, reason } = &write.body;
    let acted = act(&edge, &admin, Action::Drain { node }, *dry_run, reason).await?;
    Ok(match acted.job {
        Some(job) if acted.changed => {
            let location = format!("/v1/admin/cluster/jobs/{}", utf8_percent_encode(&job.id, NON_ALPHANUMERIC));
            Reply::accepted(location, job).into_response()
        }
        job => Reply::ok(Acted { job, ..acted }).into_response(),
    })
}

/// A node is given slots again: the end of a cordon, and of a drain.
#[utoipa::path(post, path = "/v1/admin/cluster/nodes/{id}/uncordon", tag = "operators", request_body = ClusterWish,
    params(("id" = String, Path)), responses((status = 200, body = Acted), outcomes::AdminChange))]
pub async fn uncordon(
    State(edge): State<Edge>,
    admin: Admin,
    Path(node): Path<String>,
    write: Write<ClusterWish>,
) -> Result<Reply<Acted>> {
    let ClusterWish { dry_run, reason } = &write.body;
    act(&edge, &admin, Action::Uncordon { node }, *dry_run, reason).await.map(Reply::ok)
}

/// Moves a slot to a node. It stays there for as long as that node lives, or until it is unpinned.
#[utoipa::path(post, path = "/v1/admin/cluster/slots/{n}/move", tag = "operators", request_body = ClusterMove,
    params(("n" = u64, Path)), responses((status = 200, body = Acted), outcomes::AdminChange))]
pub async fn move_slot(
    State(edge): State<Edge>,
    admin: Admin,
    Path(slot): Path<u64>,
    write: Write<ClusterMove>,
) -> Result<Reply<Acted>> {
    let ClusterMove { to, dry_run, reason } = &write.body;
    act(&edge, &admin, Action::Move { slot, to: to.clone() }, *dry_run, reason).await.map(Reply::ok)
}

/// Keeps a slot on the node of this name, whichever incarnation that is, against the plan and until it is unpinned.
#[utoipa::path(post, path = "/v1/admin/cluster/slots/{n}/pin", tag = "operators", request_body = ClusterPin,
    params(("n" = u64, Path)), responses((status = 200, body = Acted), outcomes::AdminChange))]
pub async fn pin(
    State(edge): State<Edge>,
    admin: Admin,
    Path(slot): Path<u64>,
    write: Write<ClusterPin>,
) -> Result<Reply<Acted>> {
    let ClusterPin { to, dry_run, reason } = &write.body;
    act(&edge, &admin, Action::Pin { slot, to: to.clone() }, *dry_run, reason).await.map(Reply::ok)
}

/// Lets the plan decide where a slot is: the end of a pin, and of a move.
#[utoipa::path(post, path = "/v1/admin/cluster/slots/{n}/unpin", tag = "operators", request_body = ClusterWish,
    params(("n" = u64, Path)), responses((status = 200, body = Acted), outcomes::AdminChange))]
pub async fn unpin(
    State(edge): State<Edge>,
    admin: Admin,
    Path(slot): Path<u64>,
    write: Write<ClusterWish>,
) -> Result<Reply<Acted>> {
    let ClusterWish { dry_run, reason } = &write.body;
    act(&edge, &admin, Action::Unpin { slot }, *dry_run, reason).await.map(Reply::ok)
}
