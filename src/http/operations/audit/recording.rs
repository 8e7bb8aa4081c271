//! The layer in front of the admin routes: what staff asks for is in the log before a handler sees it.
//!
//! Reads are let through, and so is what the handlers refuse without looking further: guests, and customers, of whom anybody
//! can make as many as he likes. A dry run is not recorded.
//!
//! Where the log cannot be written, nothing is done: 503. What a cluster is mended with is done all the same, within
//! [`MENDING_WAITS`]; then the line that the log lacks is in the process's own log, and `souk_audit_unrecorded` counts it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::Instant;

use super::actions::Recorded;
use super::log::{self, Begun};
use crate::actors::audit::types::{Act, AuditOutcome, Ending};
use crate::actors::runtime::client::{AskError, answerer};
use crate::actors::values::{Role, UserId};
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::request::caller::Who;
use crate::http::request::context::Context;

/// The longest that an action which mends waits for the log.
const MENDING_WAITS: Duration = Duration::from_secs(2);
/// The longest that an answer waits until its outcome is in the log.
const END_WITHIN: Duration = Duration::from_secs(2);
/// What may pass beside the time of the handler itself before an action lapses.
const LAPSES_AFTER: Duration = Duration::from_secs(10);
/// The longest subject that is kept, and the longest body. Bytes.
const SUBJECT_MAX: usize = 256;
const BODY_MAX: usize = 1_024;

/// An action that is being carried out.
struct Acting {
    context: std::sync::Arc<Context>,
    act: Act,
    /// `None`: the log could not be written.
    begun: Option<Begun>,
}

pub async fn recorded(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match begin(&edge, request).await {
        Err(problem) => problem.into_response(),
        Ok((request, None)) => next.run(request).await,
        Ok((request, Some(acting))) => {
            let response = next.run(request).await;
            let ending = ending(&acting, &response);
            end(&edge, acting, ending).await;
            response
        }
    }
}

/// The request as the handler is to see it, and the action, if it is one that is recorded.
async fn begin(edge: &Edge, request: Request) -> Result<(Request, Option<Acting>)> {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let action = path.and_then(|path| Recorded::of(&parts.method, path.as_str()));
    let Some(action) = action else { return Ok((Request::from_parts(parts, body), None)) };
    let who = Who::from_request_parts(&mut parts, edge).await?;
    let staff = who.user().filter(|_| who.has_role(Role::Admin) || who.has_role(Role::Seller));
    let Some(actor) = staff else { return Ok((Request::from_parts(parts, body), None)) };
    // The front layer has read it whole, within its limits.
    let body = body.collect().await.map_err(|_| Code::BadRequest)?.to_bytes();
    let acting = if action.mends && is_dry(&body) {
        None
    } else {
        Some(Acting::begin(edge, action, actor, &mut parts, &body).await?)
    };
    Ok((Request::from_parts(parts, Body::from(body)), acting))
}

/// Whether the body says `dry_run`, and nothing else of that name. A route that knows no dry run refuses the member.
fn is_dry(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Wish {
        dry_run: bool,
    }
    // Derived parsers would take a list for a struct. No handler does.
    body.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<Wish>(body).is_ok_and(|wish| wish.dry_run)
}

/// The beginning of a text, of at most so many bytes.
fn clipped(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].to_owned()
}

impl Acting {
    /// Errors: it is not to be done, because the log cannot be written.
    async fn begin(edge: &Edge, action: &Recorded, actor: UserId, parts: &mut Parts, body: &Bytes) -> Result<Acting> {
        let context = Context::from_parts(parts)?;
        // What cannot be read names nothing, and the handler says so.
        let named = RawPathParams::from_request_parts(parts, edge).await.ok();
        let subject: Vec<&str> = named.iter().flatten().map(|(_, value)| value).collect();
        let said = std::str::from_utf8(body).ok().map(str::trim).filter(|text| !text.is_empty());
        let act = Act {
            actor: Some(actor),
            action: action.word.to_owned(),
            subject: clipped(&subject.join("/"), SUBJECT_MAX),
            said: said.filter(|text| action.keeps_body && text.len() <= BODY_MAX).map(str::to_owned),
            address: context.origin.address.map(|address| address.to_string()),
            node: edge.client.node().to_string(),
            request: context.request_id(),
        };
        let token = context.random;
        let within = Duration::from_millis(edge.config.http.handler_timeout_ms) + LAPSES_AFTER;
        // Half of the time is the action's.
        let half = Instant::now() + context.deadline.saturating_duration_since(Instant::now()) / 2;
        let deadline = if action.mends { half.min(Instant::now() + MENDING_WAITS) } else { half };
        let begun = match log::begin(&edge.client, token, act.clone(), within, deadline).await {
            Ok(begun) => Some(begun),
            Err(error) if action.mends => {
                unrecorded(edge, &act, None, &error);
                None
            }
            Err(error) => return Err(not_begun(error)),
        };
        answerer::forget();
        Ok(Acting { context, act, begun })
    }
}

/// Nothing was done: whatever kept the log from being written, the same request may be sent again.
fn not_begun(error: AskError) -> Problem {
    match error {
        AskError::Busy { .. } => error.into(),
        error => {
            tracing::warn!(%error, "the audit log cannot be written: an administrator's request is refused");
            Problem::new(Code::Unavailable).detail("The audit log cannot be written now. Nothing was done.")
        }
    }
}

/// What came of an action goes into the log, also when its client has gone meanwhile.
async fn end(edge: &Edge, acting: Acting, ending: Ending) {
    let Some(begun) = acting.begun else {
        let outcome = ending.outcome.word();
        tracing::warn!({ action = acting.act.action, outcome }, "an action that the audit log lacks has ended");
        return;
    };
    let edge = edge.clone();
    let told = tokio::spawn(async move {
        let deadline = Instant::now() + END_WITHIN;
        if let Err(error) = log::end(&edge.client, &begun, ending.clone(), deadline).await {
            unrecorded(&edge, &acting.act, Some(&ending), &error);
        }
    });
    let _ = told.await; // it does not panic, and if it did there would be nothing more to do
}

fn ending(acting: &Acting, response: &Response) -> Ending {
    let problem = response.extensions().get::<Problem>().map(Problem::code);
    let status = problem.map_or(response.status(), Code::status);
    let outcome = match problem {
        Some(Code::OutcomeUnknown | Code::DeadlinePassed | Code::RequestInProgress) => AuditOutcome::Unknown,
        Some(_) | None if status.is_server_error() => AuditOutcome::Failed,
        Some(_) | None if status.is_client_error() => AuditOutcome::Refused,
        Some(_) | None => AuditOutcome::Done,
    };
    let request = acting.context.request_id();
    Ending {
        outcome,
        status: Some(status.as_u16()),
        code: problem.map(|code| code.slug().to_owned()),
        request: Some(request).filter(|request| *request != acting.act.request),
    }
}

/// The line that the log lacks.
fn unrecorded(edge: &Edge, act: &Act, ending: Option<&Ending>, error: &AskError) {
    edge.metrics.audit_unrecorded.inc();
    let actor = act.actor.map(|user| user.to_string()).unwrap_or_default();
    let Act { action, subject, request, .. } = act;
    let outcome = ending.map_or("begun", |ending| ending.outcome.word());
    tracing::error!({ user.id = actor, action, subject, request, outcome, %error }, "the audit log lacks an action");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_says_so_in_its_body() {
        assert!(is_dry(br#"{"dry_run": true, "reason": "a test"}"#));
        for not_dry in ["", "{}", "true", r#"{"dry_run": "true"}"#, r#"{"dry_run": false}"#, r#"[true]"#] {
            assert!(!is_dry(not_dry.as_bytes()), "{not_dry}");
        }
        assert!(!is_dry(br#"{"dry_run": true, "dry_run": false}"#));
    }

    #[test]
    fn a_text_is_clipped_between_characters() {
        assert_eq!((clipped("aé", 2).as_str(), clipped("aé", 3).as_str()), ("a", "aé"));
    }
}
