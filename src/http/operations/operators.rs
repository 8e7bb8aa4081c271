//! `/v1/admin/entities` and `/v1/admin/attention`: what operators see of the machinery. Secrets are redacted by the values
//! themselves.

use std::str::FromStr;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::runtime::client::{Inspection, OwedStep};
use crate::actors::runtime::history::JournalEntry;
use crate::actors::runtime::history::StateAt;
use crate::actors::runtime::overdue::{Overdue, Place};
use crate::actors::runtime::slot::actor::now;
use crate::actors::values::Time;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::answer::schema;
use crate::http::request::caller::Admin;
use crate::http::request::lists::{PageParameters, Unfiltered};
use crate::http::request::query::{List, Listing, NoFilter, Page, Query};
use crate::http::{Edge, Path, Read, Reply};

/// An entity with everything that its node knows of it: owner node, slot, epoch, version, state, whether
/// it was in memory, last activity, what it owes, when it wakes; and of its slot, where the node that is asked has it, restarts
/// and queue depth (else null).
#[utoipa::path(get, path = "/v1/admin/entities/{kind}/{id}", tag = "operators",
    params(("kind" = String, Path), ("id" = String, Path)), responses((status = 200, body = serde_json::Value)))]
pub async fn inspect(
    State(edge): State<Edge>,
    _: Admin,
    Path((kind, id)): Path<(String, String)>,
    read: Read,
) -> Result<Reply<Inspection>> {
    let inspection = edge.client.inspect(&kind, &id, read.deadline).await?.ok_or(Code::NotFound)?;
    let version = inspection.version;
    Ok(Reply::ok(inspection).version_of_whole(version))
}

/// The history of an entity; `after` is the version behind which it starts.
pub struct Journal;

impl Listing for Journal {
    type Filter = NoFilter;
    const PARAMETERS: &'static [&'static str] = &["after"];
}

/// A version of an entity: an int64, as the OpenAPI document has it.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "u64")]
struct Version(u64);

const NO_VERSION: &str = "it is not a version";

impl TryFrom<u64> for Version {
    type Error = &'static str;

    fn try_from(number: u64) -> std::result::Result<Version, Self::Error> {
        if i64::try_from(number).is_ok() { Ok(Version(number)) } else { Err(NO_VERSION) }
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Version, Self::Err> {
        Version::try_from(text.parse::<u64>().map_err(|_| NO_VERSION)?)
    }
}

/// An entity's history, the oldest first.
#[utoipa::path(get, path = "/v1/admin/entities/{kind}/{id}/journal", tag = "operators",
    params(("kind" = String, Path), ("id" = String, Path), ("after" = Option<u64>, Query)),
    responses((status = 200, body = Page<serde_json::Value>)))]
pub async fn journal(
    State(edge): State<Edge>,
    _: Admin,
    Path((kind, id)): Path<(String, String)>,
    list: List<Journal>,
) -> Result<Reply<Page<JournalEntry>>> {
    let Version(start) = list.parsed("after")?.unwrap_or_default();
    let after = list.after.as_deref().and_then(|position| position.parse().ok()).unwrap_or(start);
    let mut entries = edge.client.journal(&kind, &id, after, list.limit + 1).await?;
    if entries.is_empty() && after == 0 {
        return Err(Code::NotFound.into());
    }
    let more = entries.len() > list.limit;
    entries.truncate(list.limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.version.to_string());
    Ok(list.page(&edge, entries, next, None))
}

/// A step that has been owed for too long.
#[derive(Serialize, ToSchema)]
pub struct OverdueView {
    /// Who owes it: what `/v1/admin/entities/{kind}/{id}` shows.
    kind: &'static str,
    id: String,
    /// Its name for the step, such as `capture`.
    step: String,
    /// Who has to answer: `gateway payments`, or kind and id of an entity. None where only the entity that owes it
    /// knows, and it cannot be loaded.
    waiting_for: Option<String>,
    /// Since when. After a restart: since when the entity has owed anything without a break, which is never too late.
    #[schema(value_type = schema::Time)]
    since: Time,
    /// How often it was sent since the entity's slot began.
    attempts: u32,
    /// Why the last of these attempts failed.
    last_error: Option<String>,
}

impl From<Overdue> for OverdueView {
    fn from(Overdue { kind, id, owed, .. }: Overdue) -> OverdueView {
        let OwedStep { step, waiting_for, since, attempts, last_error } = owed;
        OverdueView { kind, id: id.to_string(), step, waiting_for, since, attempts, last_error }
    }
}

/// What waits for a person: steps that have been owed for longer than `slots.owed_overdue_ms`, the oldest first.
#[utoipa::path(get, path = "/v1/admin/attention", tag = "operators", params(PageParameters),
    responses((status = 200, body = Page<OverdueView>)))]
pub async fn attention(
    State(edge): State<Edge>,
    _: Admin,
    list: List<Unfiltered>,
    read: Read,
) -> Result<Reply<Page<OverdueView>>> {
    let after: Option<Place> = list.after.as_deref().and_then(|position| position.parse().ok());
    let overdue_ms = i64::try_from(edge.config.slots.owed_overdue_ms).unwrap_or(i64::MAX);
    let before = Time(now().0.saturating_sub(overdue_ms));
    let mut overdue = edge.client.overdue(before, after, list.limit + 1, read.deadline).await?;
    let more = overdue.steps.len() > list.limit;
    overdue.steps.truncate(list.limit);
    let next = overdue.steps.last().filter(|_| more).map(|step| step.place.to_string());
    let steps = overdue.steps.into_iter().map(OverdueView::from).collect();
    Ok(list.page(&edge, steps, next, Some(overdue.total as u64)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    at: Option<Version>,
}

#[derive(Serialize, ToSchema)]
pub struct StateView {
    kind: String,
    id: String,
    version: u64,
    #[schema(value_type = Object)]
    state: serde_json::Value,
}

/// An entity's state at a version, or now. Of a version beyond the end of its journal the 404 says where that ends.
#[utoipa::path(get, path = "/v1/admin/entities/{kind}/{id}/state", tag = "operators",
    params(("kind" = String, Path), ("id" = String, Path), ("at" = Option<u64>, Query)),
    responses((status = 200, body = StateView)))]
pub async fn state(
    State(edge): State<Edge>,
    _: Admin,
    Path((kind, id)): Path<(String, String)>,
    Query(At { at }): Query<At>,
) -> Result<Reply<StateView>> {
    let (version, state) = match edge.client.state_at(&kind, &id, at.map(|Version(at)| at)).await? {
        StateAt::Found { version, state } => (version, state),
        StateAt::Absent => return Err(Code::NotFound.into()),
        StateAt::Beyond { last } => {
            let detail = format!("The journal of {kind} {id} ends at version {last}.");
            return Err(Problem::new(Code::NotFound).detail(detail));
        }
    };
    Ok(Reply::ok(StateView { kind, id, version, state }).version(version))
}
