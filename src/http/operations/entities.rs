//! `/v1/admin/entities`: what operators do with entities, whatever these are, and which there are.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::runtime::client::{Operated, Operation, Verified};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::request::caller::Admin;
use crate::http::request::json::Nothing;
use crate::http::request::lists::PageParameters;
use crate::http::request::query::{List, Listing, NoFilter, Page};
use crate::http::{Edge, Path, Read, Reply, Write};

/// An entity that somebody has touched.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntityName {
    #[schema(value_type = String, example = "TEE-M")]
    id: Arc<str>,
}

/// The entities of a kind; `after` is the id behind which the list starts.
pub struct Ids;

impl Listing for Ids {
    type Filter = NoFilter;
    const PARAMETERS: &'static [&'static str] = &["after"];
}

/// The ids of a kind, ascending: from the store, so of all nodes.
#[utoipa::path(get, path = "/v1/admin/entities/{kind}", tag = "operators",
    params(PageParameters, ("kind" = String, Path),
        ("after" = Option<String>, Query, description = "The id behind which the list starts")),
    responses((status = 200, body = Page<EntityName>), outcomes::AdminList))]
pub async fn list(
    State(edge): State<Edge>,
    _: Admin,
    Path(kind): Path<String>,
    list: List<Ids>,
    read: Read,
) -> Result<Reply<Page<EntityName>>> {
    let after = list.after.as_deref().or(list.parameter("after"));
    let mut ids = edge.client.ids(&kind, after, list.limit + 1, read.deadline).await?;
    let more = ids.len() > list.limit;
    ids.truncate(list.limit);
    let next = ids.last().filter(|_| more).map(|id| id.to_string());
    Ok(list.page(&edge, ids.into_iter().map(|id| EntityName { id }).collect(), next, None))
}

/// What has come of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntityOperated {
    kind: String,
    id: String,
    /// Whether anything was changed: not where it was so already.
    changed: bool,
}

async fn operate(
    edge: &Edge,
    (kind, id): (String, String),
    write: &Write<Nothing>,
    operation: Operation,
) -> Result<Reply<EntityOperated>> {
    let came = edge.client.operate(&kind, &id, operation, write.deadline).await?.ok_or(Code::NotFound)?;
    let changed = match (came, operation) {
        (Operated::Changed, _) => true,
        (Operated::Already, _) => false,
        (Operated::Busy, Operation::Quarantine) => return Err(Code::LimitReached.into()),
        (Operated::Busy, Operation::Passivate | Operation::Release) => {
            let why = "It owes something, or something of it is under way.";
            return Err(Problem::new(Code::EntityBusy).detail(why));
        }
    };
    Ok(Reply::ok(EntityOperated { kind, id, changed }))
}

/// Has an entity leave its node's memory, with a snapshot. It comes back when somebody asks for it.
#[utoipa::path(post, path = "/v1/admin/entities/{kind}/{id}/passivate", tag = "operators",
    params(("kind" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = EntityOperated), outcomes::AdminChange))]
pub async fn passivate(
    State(edge): State<Edge>,
    _: Admin,
    Path(name): Path<(String, String)>,
    write: Write<Nothing>,
) -> Result<Reply<EntityOperated>> {
    operate(&edge, name, &write, Operation::Passivate).await
}

/// Has an entity refuse commands, with 500 `entity_quarantined`, until it is released, its slot moves to another node, or the
/// node ends. It can be read, and what others owe it waits.
#[utoipa::path(post, path = "/v1/admin/entities/{kind}/{id}/quarantine", tag = "operators",
    params(("kind" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = EntityOperated), outcomes::AdminChange))]
pub async fn quarantine(
    State(edge): State<Edge>,
    _: Admin,
    Path(name): Path<(String, String)>,
    write: Write<Nothing>,
) -> Result<Reply<EntityOperated>> {
    operate(&edge, name, &write, Operation::Quarantine).await
}

/// Ends a quarantine, also one that the entity's panics have brought about.
#[utoipa::path(post, path = "/v1/admin/entities/{kind}/{id}/release", tag = "operators",
    params(("kind" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = EntityOperated), outcomes::AdminChange))]
pub async fn release(
    State(edge): State<Edge>,
    _: Admin,
    Path(name): Path<(String, String)>,
    write: Write<Nothing>,
) -> Result<Reply<EntityOperated>> {
    operate(&edge, name, &write, Operation::Release).await
}

/// Replays an entity's events from the first, and compares what they come to with the state that is served and with the
/// snapshot.
#[utoipa::path(post, path = "/v1/admin/entities/{kind}/{id}/verify", tag = "operators",
    params(("kind" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = serde_json::Value), outcomes::AdminChange))]
pub async fn verify(
    State(edge): State<Edge>,
    _: Admin,
    Path((kind, id)): Path<(String, String)>,
    write: Write<Nothing>,
) -> Result<Reply<Verified>> {
    Ok(Reply::ok(edge.client.verify(&kind, &id, write.deadline).await?.ok_or(Code::NotFound)?))
}
