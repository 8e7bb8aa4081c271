//! `/v1/admin/audit`: who did what, when, from where, and what came of it.
//!
//! The log is an entity for each day ([`crate::actors::audit`]), and its events are what is listed: from the journal, so any
//! node can be asked. An action is written before it is done and when it is done ([`recording`]); it is listed once it has
//! ended. One whose node or client went away ends by itself, with an outcome that is not known.
//!
//! The order is that of the ends. What was listed stays where it is, and new entries come behind it: an entry's id is a
//! cursor for ever.

pub mod actions;
pub mod log;
pub mod recording;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::actors::audit::types::{self as audit, Act, Audit, Day, Ending, Event};
use crate::actors::entity::Kind;
use crate::actors::runtime::client::Happened;
use crate::actors::runtime::slot::actor::now;
use crate::actors::values::{Invalid, Time, UserId};
use crate::http::answer::problem::Result;
use crate::http::answer::{outcomes, schema};
use crate::http::request::caller::Admin;
use crate::http::request::lists::PageParameters;
use crate::http::request::parameters::invalid;
use crate::http::request::query::{List, Listing, NoFilter, Page};
use crate::http::{Edge, Read, Reply};

/// Events that one request looks at: a page may have fewer entries than were asked for, and others behind it.
const LOOKED_AT_MAX: usize = 4_096;
/// So long after midnight, and more, something of the day before may end.
const LATE_MS: i64 = 3_600_000;
/// Events that are read at once.
const READ_AT_ONCE: usize = 256;

/// Where an entry stands: its day, its version there, and its place among the events of that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    day: Day,
    version: u64,
    nth: usize,
}

impl Place {
    /// Before everything of a day: versions begin with 1.
    fn before(day: Day) -> Place {
        Place { day, version: 0, nth: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { day, version, nth } = self;
        if *nth == 0 { write!(f, "{day}.{version}") } else { write!(f, "{day}.{version}.{nth}") }
    }
}

impl FromStr for Place {
    type Err = Invalid;
    fn from_str(text: &str) -> std::result::Result<Place, Invalid> {
        let wrong = Invalid("expected the id of an entry, such as 2026-11-27.12");
        let (day, rest) = text.split_once('.').ok_or(wrong.clone())?;
        let (version, nth) = rest.split_once('.').unwrap_or((rest, "0"));
        let numbers = version.parse().ok().zip(nth.parse().ok());
        let (version, nth) = numbers.ok_or(wrong)?;
        Ok(Place { day: day.parse()?, version, nth })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done, or was so already.
    Done,
    /// It was refused, and nothing was done.
    Refused,
    Failed,
    /// Whether it was done is not known: the node or the client went away before it had ended.
    Unknown,
}

/// What somebody did, or was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Behind it the list goes on with `after`.
    #[schema(example = "2026-11-27.12")]
    id: String,
    /// When it ended.
    #[schema(value_type = schema::Time)]
    at: Time,
    #[schema(value_type = schema::Time)]
    asked_at: Time,
    /// The user. Null: whoever has the machine, by the command line or the settings.
    #[schema(value_type = Option<String>)]
    actor: Option<UserId>,
    #[schema(example = "cluster.node.drain")]
    action: String,
    /// What it was about, as it was named.
    #[schema(example = "node-1")]
    subject: String,
    /// What the request said beside that: of actions on the cluster, on consumers, on entities, and of roles; up to 1,024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<Said>,
    /// The client's address.
    address: Option<String>,
    /// The node that was asked.
    node: String,
    request_id: String,
    outcome: AuditOutcome,
    /// The status of the answer; null where there was none.
    status: Option<u16>,
    /// The code of the problem that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// The body of a request: an object, or the text of one that was refused because it was none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Said {
    Object(BTreeMap<String, Value>),
    Text(String),
}

impl Said {
    fn of(text: String) -> Said {
        serde_json::from_str(&text).map_or(Said::Text(text), Said::Object)
    }
}

impl AuditEntry {
    fn of(place: Place, at: Time, act: Act, asked_at: Time, ending: Ending) -> AuditEntry {
        let Act { actor, action, subject, said, address, node, request } = act;
        let outcome = match ending.outcome {
            audit::AuditOutcome::Done => AuditOutcome::Done,
            audit::AuditOutcome::Refused => AuditOutcome::Refused,
            audit::AuditOutcome::Failed => AuditOutcome::Failed,
            audit::AuditOutcome::Unknown => AuditOutcome::Unknown,
        };
        AuditEntry {
            id: place.to_string(),
            at,
            asked_at,
            actor,
            action,
            subject,
            said: said.map(Said::of),
            address,
            node,
            request_id: ending.request.unwrap_or(request),
            outcome,
            status: ending.status,
            code: ending.code,
        }
    }
}

/// The audit log; `after` is where it starts.
pub struct Entries;

impl Listing for Entries {
    type Filter = NoFilter;
    const PARAMETERS: &'static [&'static str] = &["after", "actor", "action"];
}

/// What is looked for.
struct Wanted {
    /// Only what ended later than this.
    later_than: Option<Time>,
    actor: Option<UserId>,
    action: Option<String>,
}

impl Wanted {
    fn is(&self, act: &Act, at: Time) -> bool {
        let below =
            |word: &str| act.action.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.later_than.is_none_or(|than| at > than)
            && self.actor.is_none_or(|actor| act.actor == Some(actor))
            && self.action.as_deref().is_none_or(below)
    }
}

/// Where the list starts, and what it is to have.
fn wanted(list: &List<Entries>) -> Result<(Option<Place>, Wanted)> {
    let why = "expected the id of an entry, such as 2026-11-27.12, or a time such as 2026-11-27T00:00:00Z";
    let (place, later_than) = match list.parameter("after") {
        None => (None, None),
        Some(text) => match (text.parse::<Place>(), text.parse::<Time>()) {
            (Ok(place), _) => (Some(place), None),
            (Err(_), Ok(time)) => (Some(Place::before(Day::of(time))), Some(time)),
            (Err(_), Err(_)) => return Err(invalid("after", why)),
        },
    };
    let place = list.after.as_deref().and_then(|cursor| cursor.parse().ok()).or(place);
    let action = list.parameter("action").map(str::to_owned);
    Ok((place, Wanted { later_than, actor: list.parsed("actor")?, action }))
}

/// What staff did and was refused, in the order in which it ended. Every request that would change something below
/// `/v1/admin` is in it, but dry runs and what guests and customers try. A page may have fewer entries than `limit`, even
/// none, and others behind it: `has_more` says so.
#[utoipa::path(get, path = "/v1/admin/audit", tag = "operators",
    params(PageParameters,
        ("after" = Option<String>, Query, description = "The id of an entry, or a time: what ended later"),
        ("actor" = Option<String>, Query, description = "Id of a user"),
        ("action" = Option<String>, Query, description = "Such as cluster.node.drain; cluster has all below it")),
    responses((status = 200, body = Page<AuditEntry>), outcomes::AdminList))]
pub async fn list(
    State(edge): State<Edge>,
    _: Admin,
    list: List<Entries>,
    read: Read,
) -> Result<Reply<Page<AuditEntry>>> {
    let (place, wanted) = wanted(&list)?;
    let mut looking = Looking { edge: &edge, read, wanted, limit: list.limit, left: LOOKED_AT_MAX, found: Vec::new() };
    let next = looking.look(place).await?;
    let found = looking.found;
    Ok(list.page(&edge, found, next.map(|place| place.to_string()), None))
}

/// A look through the log.
struct Looking<'a> {
    edge: &'a Edge,
    read: Read,
    wanted: Wanted,
    limit: usize,
    /// Events that may still be looked at.
    left: usize,
    found: Vec<AuditEntry>,
}

impl Looking<'_> {
    /// Gathers entries from behind this place. The answer is where to go on, if there may be more.
    async fn look(&mut self, start: Option<Place>) -> Result<Option<Place>> {
        let mut place = match start {
            Some(place) => place,
            None => match self.day_after(None).await? {
                Some(day) => Place::before(day),
                None => return Ok(None),
            },
        };
        while self.left > 0 {
            let limit = READ_AT_ONCE.min(self.left);
            // The version of the place itself may have further events.
            let (day, after) = (place.day, place.version.saturating_sub(1));
            let page = self.edge.client.happened::<Audit>(&day, after, limit, self.read.deadline).await?;
            let is_end = page.len() < limit;
            self.left -= page.len();
            for Happened { version, at, events } in page {
                for (nth, event) in events.into_iter().enumerate() {
                    let here = Place { day, version, nth };
                    if here <= place {
                        continue;
                    }
                    if !self.take(here, at, event) {
                        return Ok(Some(place));
                    }
                    place = here;
                }
            }
            if is_end {
                match self.day_after(Some(day)).await? {
                    Some(next) if self.has_ended(day).await? => place = Place::before(next),
                    Some(_) | None => return Ok(None),
                }
            }
        }
        Ok(Some(place))
    }

    /// `false`: it belongs to the next page.
    fn take(&mut self, place: Place, at: Time, event: Event) -> bool {
        let Event::Ended { act, asked_at, ending, .. } = event else { return true };
        if !self.wanted.is(&act, at) {
            return true;
        }
        let has_room = self.found.len() < self.limit;
        if has_room {
            self.found.push(AuditEntry::of(place, at, act, asked_at, ending));
        }
        has_room
    }

    /// Whether nothing comes any more behind what the day has. Nobody is shown the next day before: he would miss it.
    async fn has_ended(&self, day: Day) -> Result<bool> {
        if day < Day::of(Time(now().0.saturating_sub(LATE_MS))) {
            return Ok(true);
        }
        let view = self.edge.client.read::<Audit>(&day, self.read.deadline).await?;
        Ok(view.state.open.is_empty())
    }

    /// The next day that has anything.
    async fn day_after(&self, day: Option<Day>) -> Result<Option<Day>> {
        let after = day.map(|day| day.to_string());
        let ids = self.edge.client.ids(Audit::NAME, after.as_deref(), 1, self.read.deadline).await?;
        Ok(ids.first().and_then(|id| id.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        let place = |text: &str| text.parse::<Place>().map(|place| (place.version, place.nth, place.to_string()));
        assert_eq!(place("2026-11-27.12"), Ok((12, 0, "2026-11-27.12".to_owned())));
        assert_eq!(place("2026-11-27.12.3"), Ok((12, 3, "2026-11-27.12.3".to_owned())));
        for wrong in ["", "2026-11-27", "2026-11-27.x", "12", "2026-13-01.1", "2026-11-27.1.x"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_word_has_what_is_below_it() {
        let act = |action: &str| Act {
            actor: None,
            action: action.into(),
            subject: String::new(),
            said: None,
            address: None,
            node: String::new(),
            request: String::new(),
        };
        let wanted = |word: &str| Wanted { later_than: None, actor: None, action: Some(word.into()) };
        let drain = act("cluster.node.drain");
        for word in ["cluster.node.drain", "cluster.node", "cluster"] {
            assert!(wanted(word).is(&drain, Time::ZERO), "{word}");
        }
        for word in ["cluster.node.dra", "clu", "node", "cluster.node.drain.x"] {
            assert!(!wanted(word).is(&drain, Time::ZERO), "{word}");
        }
    }
}
