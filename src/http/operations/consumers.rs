//! `/v1/admin/consumers`: what follows the journal on this node, how far it is, and what an operator may tell it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;
use utoipa::ToSchema;

use crate::actors::feed::{self, ConsumerStatus, ReplayError};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Fault, Problem, Result};
use crate::http::request::caller::Admin;
use crate::http::request::json::{self, Nothing};
use crate::http::request::lists::{PageParameters, Unfiltered};
use crate::http::request::position::named;
use crate::http::request::query::{List, Page};
use crate::http::{Edge, Path, Reply, Write};

/// On how many nodes a consumer runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerSort {
    /// On every node, each for itself.
    Replicated,
    /// On one node at a time.
    Single,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerState {
    Running,
    Paused,
    /// It is being built anew. What it had is shown until then.
    Rebuilding,
    /// It, or a slot of it, cannot go on now. It is tried again by itself.
    Failing,
}

/// What follows the journal, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsumerView {
    #[schema(example = "catalogue")]
    name: &'static str,
    sort: ConsumerSort,
    state: ConsumerState,
    /// Records of the journal, of whatever kind, that it has not passed yet.
    lag_records: u64,
    /// For how long it has lacked a record that it follows, in milliseconds.
    lag_ms: u64,
    /// How many records of the journal it has passed.
    position: u64,
    /// The last failure, also when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl From<ConsumerStatus> for ConsumerView {
    fn from(status: ConsumerStatus) -> ConsumerView {
        ConsumerView {
            name: status.name,
            sort: match status.sort {
                feed::Sort::Replicated => ConsumerSort::Replicated,
                feed::Sort::Single => ConsumerSort::Single,
            },
            state: match status.state {
                feed::State::Running => ConsumerState::Running,
                feed::State::Paused => ConsumerState::Paused,
                feed::State::Rebuilding => ConsumerState::Rebuilding,
                feed::State::Failing => ConsumerState::Failing,
            },
            lag_records: status.lag_records,
            lag_ms: status.lag_ms,
            position: status.position,
            last_error: status.last_error.map(|error| error.to_string()),
        }
    }
}

/// What follows the journal on this node.
#[utoipa::path(get, path = "/v1/admin/consumers", tag = "operators", params(PageParameters),
    responses((status = 200, body = Page<ConsumerView>), outcomes::AdminList))]
pub async fn list(State(edge): State<Edge>, _: Admin, list: List<Unfiltered>) -> Result<Reply<Page<ConsumerView>>> {
    // A handful: every page holds them all.
    let consumers: Vec<_> = edge.projections.feed.statuses().into_iter().map(ConsumerView::from).collect();
    let total = consumers.len() as u64;
    Ok(list.page(&edge, consumers, None, Some(total)))
}

/// Pauses a consumer. It takes no more records, and what it has grows old. A restart of the node resumes it.
#[utoipa::path(post, path = "/v1/admin/consumers/{name}/pause", tag = "operators", params(("name" = String, Path)),
    responses((status = 200, body = ConsumerView), outcomes::AdminChange))]
pub async fn pause(
    State(edge): State<Edge>,
    _: Admin,
    Path(name): Path<String>,
    _: Write<Nothing>,
) -> Result<Reply<ConsumerView>> {
    edge.projections.feed.consumer(&name).ok_or(Code::NotFound)?.pause();
    shown(&edge, &name)
}

/// Resumes a consumer. It goes on where it was.
#[utoipa::path(post, path = "/v1/admin/consumers/{name}/resume", tag = "operators", params(("name" = String, Path)),
    responses((status = 200, body = ConsumerView), outcomes::AdminChange))]
pub async fn resume(
    State(edge): State<Edge>,
    _: Admin,
    Path(name): Path<String>,
    _: Write<Nothing>,
) -> Result<Reply<ConsumerView>> {
    edge.projections.feed.consumer(&name).ok_or(Code::NotFound)?.resume();
    shown(&edge, &name)
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// `beginning`, as when it is not given: everything is taken again, and a read model is built anew. Or what
    /// `Souk-Position` said, or several of these with commas between them: what follows these records in their slots is taken
    /// again.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, example = "beginning")]
    after: Option<String>,
}

/// Has a consumer take records again. A read model that begins anew is built from the entities as they are, and shows what
/// it has until then. A consumer that is paused begins when it is resumed.
#[utoipa::path(post, path = "/v1/admin/consumers/{name}/replay", tag = "operators", request_body = Replay,
    params(("name" = String, Path)), responses((status = 200, body = ConsumerView), outcomes::AdminChange))]
pub async fn replay(
    State(edge): State<Edge>,
    _: Admin,
    Path(name): Path<String>,
    write: Write<Replay>,
) -> Result<Reply<ConsumerView>> {
    let feed = &edge.projections.feed;
    let consumer = feed.consumer(&name).ok_or(Code::NotFound)?;
    match write.body.after.as_deref() {
        None | Some("beginning") => consumer.rebuild(),
        Some(text) => {
            let after = named([text], feed.slots()).map_err(|error| no_position(error.0))?;
            if after.is_empty() {
                return Err(no_position("neither beginning nor a position"));
            }
            let replay = timeout_at(write.deadline, feed.replay(consumer, &after)).await;
            replay.map_err(|_| Code::Unavailable)?.map_err(|error| match error {
                ReplayError::Unknown(_) => no_position("the journal does not have it"),
                ReplayError::Unread(error) => error.into(),
            })?;
        }
    }
    shown(&edge, &name)
}

fn no_position(why: &str) -> Problem {
    Problem::of_field(Fault::new(Code::InvalidValue, "/after").detail(why))
}

fn shown(edge: &Edge, name: &str) -> Result<Reply<ConsumerView>> {
    let status = edge.projections.feed.statuses().into_iter().find(|status| status.name == name);
    Ok(Reply::ok(status.ok_or(Code::NotFound)?.into()))
}
