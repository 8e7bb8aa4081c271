//! `GET /v1/admin/cluster/events`: what happens in the cluster, as the answering node sees it, as a stream of events
//! (`text/event-stream`).
//!
//! A stream keeps nothing of its own: it takes from what the node keeps, a few at a time, as its reader takes them. So a slow
//! reader costs nothing, and one that is too slow misses the oldest. It ends when the node stops; and after
//! [`STREAM_AT_MOST`], so that a reader shows again that he may read. Whoever comes back with `Last-Event-ID` misses nothing
//! that is still kept.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ClusterView;
use super::shapes::{ClusterEvent, ClusterEventType};
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::request::caller::Admin;
use crate::http::request::query::Query;

/// Streams that are open at once on a node. Operators are few.
const STREAMS_MAX: usize = 64;
/// Events taken at a time.
const TAKEN: usize = 64;
/// A comment that shows that the stream lives, where nothing happens.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// After this the reader comes again.
const STREAM_AT_MOST: Duration = Duration::from_secs(600);
/// A reader that lost the stream waits so long. Milliseconds.
const COME_BACK_MS: u64 = 1_000;
/// Said once, when everything that was kept has been told.
const UP_TO_DATE: &str = ": up to date\n\n";

/// What all streams of a node share.
pub struct Streams {
    places: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams { places: Arc::new(Semaphore::new(STREAMS_MAX)), stopping: CancellationToken::new() }
    }
}

impl Streams {
    /// The server stops: every stream ends, also one that is just being opened.
    pub fn end(&self) {
        self.stopping.cancel();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    types: Option<String>,
}

/// What happens in the cluster, as it happens: nodes that come and go, slots that move, what operators wish. A stream begins
/// with the oldest event that the node keeps, or behind `Last-Event-ID`. It may end at any time: come back with that.
#[utoipa::path(get, path = "/v1/admin/cluster/events", tag = "operators",
    params(
        ("types" = Option<String>, Query, description = "The types that are wanted, with commas between them; all when it is not given"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has")),
    responses((status = 200, body = ClusterEvent, content_type = "text/event-stream")))]
pub async fn events(
    State(edge): State<Edge>,
    _: Admin,
    Query(Wanted { types }): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response> {
    let types = types.as_deref().map(wanted).transpose()?;
    let incarnation = edge.cluster.incarnation();
    let after = match headers.get("last-event-id") {
        Some(id) => behind(id, &incarnation)?,
        None => 0,
    };
    let place = edge.event_streams.places.clone().try_acquire_owned().map_err(|_| Code::Overloaded)?;
    let reading = Reading {
        cluster: edge.cluster.clone(),
        stopping: edge.event_streams.stopping.clone(),
        incarnation,
        types,
        after,
        until: Instant::now() + STREAM_AT_MOST,
        is_up_to_date: false,
        taken: VecDeque::from([format!("retry: {COME_BACK_MS}\n\n")]),
        _place: place,
    };
    let body = stream::unfold(reading, |mut reading| async move {
        let text = reading.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), reading))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Errors: 400 for a word that is no type.
fn wanted(words: &str) -> Result<Vec<ClusterEventType>> {
    let known = |word: &str| serde_json::from_value(word.into());
    let unknown = |word| Problem::new(Code::InvalidParameter).detail(format!("types: there is no {word}."));
    words.split(',').map(str::trim).map(|word| known(word).map_err(|_| unknown(word))).collect()
}

/// The number that a cursor names. One of another incarnation of the node, or of another node, is before everything.
fn behind(id: &HeaderValue, incarnation: &str) -> Result<u64> {
    let cursor = id.to_str().ok().and_then(|text| text.rsplit_once('-'));
    let cursor = cursor.and_then(|(of, number)| Some((of, number.parse().ok()?)));
    let unreadable = || Problem::new(Code::InvalidHeader).detail("Last-Event-ID: expected the id of an event.");
    let (of, number) = cursor.ok_or_else(unreadable)?;
    Ok(if of == incarnation { number } else { 0 })
}

/// A stream, as far as it is.
struct Reading {
    cluster: Arc<dyn ClusterView>,
    stopping: CancellationToken,
    incarnation: String,
    types: Option<Vec<ClusterEventType>>,
    /// The number of the last event that was taken.
    after: u64,
    until: Instant,
    is_up_to_date: bool,
    /// What is to be sent next.
    taken: VecDeque<String>,
    _place: OwnedSemaphorePermit,
}

impl Reading {
    /// What is sent next. `None`: the stream ends.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.stopping.is_cancelled() {
                return None;
            }
            if let Some(text) = self.taken.pop_front() {
                return Some(text);
            }
            let kept = self.cluster.events_after(self.after, TAKEN);
            if kept.is_empty() {
                if !std::mem::replace(&mut self.is_up_to_date, true) {
                    return Some(UP_TO_DATE.to_owned());
                }
                tokio::select! {
                    biased;
                    () = self.stopping.cancelled() => return None,
                    () = sleep_until(self.until) => return None,
                    () = self.cluster.news_after(self.after) => {}
                    () = sleep(ALIVE_EVERY) => return Some(": alive\n\n".to_owned()),
                }
            }
            self.take(kept);
        }
    }

    fn take(&mut self, events: Vec<ClusterEvent>) {
        for event in events {
            self.after = event.number;
            if self.types.as_ref().is_none_or(|types| types.contains(&event.r#type)) {
                self.taken.push_back(written(&self.incarnation, &event));
            }
        }
    }
}

/// An event as it is sent. JSON has no line breaks.
fn written(incarnation: &str, event: &ClusterEvent) -> String {
    let word = serde_json::to_value(event.r#type).ok();
    let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("id: {incarnation}-{}\nevent: {word}\ndata: {data}\n\n", event.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::values::Time;

    #[test]
    fn a_cursor_of_another_incarnation_is_before_everything() {
        let after = |text: &'static str| behind(&HeaderValue::from_static(text), "0a1b2c3d").map_err(|why| why.code());
        assert_eq!((after("0a1b2c3d-17"), after("ffffffff-17")), (Ok(17), Ok(0)));
        assert_eq!((after("17"), after("0a1b2c3d-x")), (Err(Code::InvalidHeader), Err(Code::InvalidHeader)));
    }

    #[test]
    fn types_are_words_with_commas_between_them() {
        use ClusterEventType::{NodeLost, SlotMoved};
        assert_eq!(wanted("node_lost, slot_moved").map_err(|why| why.code()), Ok(vec![NodeLost, SlotMoved]));
        assert_eq!(wanted("node_found").map_err(|why| why.code()), Err(Code::InvalidParameter));
    }

    #[test]
    fn an_event_is_three_lines() {
        let event = ClusterEvent { slot: Some(3), ..ClusterEvent::new(7, Time::ZERO, ClusterEventType::Pinned) };
        assert_eq!(
            written("0a1b2c3d", &event),
            "id: 0a1b2c3d-7\nevent: pinned\ndata: {\"at\":\"1970-01-01T00:00:00.000Z\",\"slot\":3}\n\n"
        );
    }
}
