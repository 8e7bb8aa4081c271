//! What handlers take: [`Path`] with ids that have been parsed, and the two kinds of request, [`Read`] and [`Write`].
//!
//! A `Write` is everything that a command needs beside its content: who asks, the request's identity
//! and what is kept of its outcome, the deadline, `If-Match`. It asks entities on the caller's behalf.

use std::ops::Deref;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use tokio::time::Instant;

use super::caller::Who;
use super::conditional::Named;
use super::context::Context;
use super::idempotency::{self, Key, Optional, Rule};
use super::json::{self, Nothing};
use super::prefer;
use super::query;
use crate::actors::entity::Kind;
use crate::actors::runtime::client::{Answered, AskError, Asking, Keyed, Wait};
use crate::actors::values::{RequestId, Slug};
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};

/// Path parameters, parsed. Errors: 404 for a text that is not an id of the right kind, because it names nothing.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Edge> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Path<T>> {
        match axum::extract::Path::<T>::from_request_parts(parts, edge).await {
            Ok(axum::extract::Path(path)) => Ok(Path(path)),
            Err(_) => Err(Code::NotFound.into()),
        }
    }
}

/// A product or category in a path: by its id, or by its slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdOrSlug<Id> {
    Id(Id),
    Slug(Slug),
}

impl<'de, Id: FromStr> Deserialize<'de> for IdOrSlug<Id> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A slug has no underscore, an id always has one: nothing is both.
        text.parse().map(IdOrSlug::Id).or_else(|_| text.parse().map(IdOrSlug::Slug)).map_err(de::Error::custom)
    }
}

/// A request that changes nothing.
#[derive(Debug, Clone)]
pub struct Read {
    pub who: Who,
    pub deadline: Instant,
}

impl FromRequestParts<Edge> for Read {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Read> {
        query::none_left(parts)?;
        let who = Who::from_request_parts(parts, edge).await?;
        Ok(Read { who, deadline: Context::from_parts(parts)?.deadline })
    }
}

/// A request that may change something, with its body. `R` says what the route asks of the idempotency
/// key: [`Optional`], [`Required`](idempotency::Required) or [`Money`](idempotency::Money).
#[derive(Debug)]
pub struct Write<B = Nothing, R: Rule = Optional> {
    pub who: Who,
    pub body: B,
    pub deadline: Instant,
    /// The identity: ids of what the request creates are derived from it.
    pub request: RequestId,
    pub if_match: IfMatch,
    /// `Prefer: return=minimal`.
    pub minimal: bool,
    keyed: Option<Keyed>,
    rule: std::marker::PhantomData<R>,
}

/// What `If-Match` asks of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IfMatch {
    #[default]
    Absent,
    /// `*`
    Any,
    /// One of these, in ascending order. Empty when the tags are none of ours: then nothing matches.
    Versions(Vec<u64>),
}

/// A version that no entity has: for an `If-Match` that cannot match.
const NEVER: u64 = u64::MAX;

impl IfMatch {
    /// The version to send with a command, if it follows from the header alone. `None` where several versions are
    /// named: an entity compares with one, so its present version must be read first (see [`IfMatch::at`]).
    pub fn decided(&self) -> Option<Option<u64>> {
        match self {
            IfMatch::Absent | IfMatch::Any => Some(None),
            IfMatch::Versions(versions) => match versions[..] {
                [] => Some(Some(NEVER)),
                [version] => Some(Some(version)),
                _ => None,
            },
        }
    }

    /// The version to send with a command to an entity that is at version `now`.
    pub fn at(&self, now: u64) -> Option<u64> {
        match self {
            IfMatch::Absent | IfMatch::Any => None,
            IfMatch::Versions(versions) => Some(if versions.contains(&now) { now } else { NEVER }),
        }
    }

    /// Whether a command that was sent with version `asked` to an entity that is at `now` is to be sent again with
    /// `now`: that version is named too, so the precondition has held all the time. Versions only grow, so this ends
    /// with the list.
    pub fn goes_on(&self, asked: Option<u64>, now: u64) -> bool {
        matches!(self, IfMatch::Versions(versions) if versions.contains(&now)) && asked.is_some_and(|asked| asked < now)
    }
}

impl<B, R: Rule> Write<B, R> {
    /// How a command of this request is sent to an entity that must be at `if_version`. At most one command for each
    /// entity.
    pub fn asking(&self, if_version: Option<u64>, wait: Wait) -> Asking {
        Asking {
            request: self.request,
            keyed: self.keyed,
            caller: self.who.caller(),
            deadline: self.deadline,
            if_version,
            wait,
        }
    }

    /// Asks an entity on behalf of this request.
    ///
    /// Errors: those of [`AskError`]; when the deadline passes although the entity has taken the command
    /// (its process still runs), 409 `request_in_progress`.
    pub async fn ask<K: Kind>(&self, edge: &Edge, id: &K::Id, command: K::Command, wait: Wait) -> Result<Answered<K>> {
        let mut if_version = match self.if_match.decided() {
            Some(if_version) => if_version,
            None => self.if_match.at(edge.client.read::<K>(id, self.deadline).await?.version),
        };
        loop {
            match edge.client.ask::<K>(id, command.clone(), self.asking(if_version, wait)).await {
                Ok(answered) => return Ok(answered),
                Err(AskError::StaleVersion { current }) if self.if_match.goes_on(if_version, current) => {
                    if_version = Some(current);
                }
                Err(AskError::DeadlinePassed) => return Err(self.late::<K>(edge, id).await),
                Err(AskError::Unknown) if self.keyed.is_none() => return Err(unknown()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The problem at the deadline. A request that the entity has taken is in progress.
    async fn late<K: Kind>(&self, edge: &Edge, id: &K::Id) -> Problem {
        let Some(keyed) = &self.keyed else { return unknown() };
        let moment = Instant::now() + std::time::Duration::from_millis(50);
        let taken = edge.client.repeat::<K>(id, self.request, keyed.fingerprint, Wait::Durable, moment).await;
        match taken {
            Ok(Some(_)) => Problem::new(Code::RequestInProgress).retry_after_s(1),
            Ok(None) | Err(_) => AskError::DeadlinePassed.into(),
        }
    }

    /// The outcome of this request, if it was given before: to look at before side reads are done.
    /// Without a key there is none.
    pub async fn repeat<K: Kind>(&self, edge: &Edge, id: &K::Id, wait: Wait) -> Result<Option<Answered<K>>> {
        let Some(keyed) = &self.keyed else { return Ok(None) };
        match edge.client.repeat::<K>(id, self.request, keyed.fingerprint, wait, self.deadline).await {
            Ok(outcome) => Ok(outcome),
            Err(AskError::DeadlinePassed) => Err(self.late::<K>(edge, id).await),
            Err(error) => Err(error.into()),
        }
    }

    /// The same request under the identity of its `n`th try.
    pub fn attempt(&self, n: u32) -> Self
    where
        B: Clone,
    {
        Write {
            who: self.who.clone(),
            body: self.body.clone(),
            request: self.request.attempt(n),
            if_match: self.if_match.clone(),
            ..*self
        }
    }

    /// Whether its outcome is kept for a repeat.
    pub fn is_keyed(&self) -> bool {
        self.keyed.is_some()
    }

    /// Errors: 428 when the request has no `If-Match`.
    pub fn must_match(&self) -> Result<()> {
        if self.if_match == IfMatch::Absent { Err(Code::PreconditionRequired.into()) } else { Ok(()) }
    }
}

/// For a request without a key: sent again it might be done twice.
fn unknown() -> Problem {
    Problem::new(Code::OutcomeUnknown)
        .not_retryable()
        .detail("Look before you send it again; an Idempotency-Key helps.")
}

impl<B: DeserializeOwned + Send, R: Rule> FromRequest<Edge> for Write<B, R> {
    type Rejection = Problem;

    async fn from_request(request: Request, edge: &Edge) -> Result<Write<B, R>> {
        let (mut parts, body) = request.into_parts();
        query::none_left(&parts)?;
        let who = Who::from_request_parts(&mut parts, edge).await?;
        let context = Context::from_parts(&parts)?;
        let key = Key::of(&parts.headers)?;
        let if_match = preconditions(&parts)?;
        let bytes = read_body(body).await?;
        // The key comes before the content, so that a missing one is told first.
        let place = (&parts.method, &parts.uri);
        let settings = (&edge.config.idempotency, edge.keys.get()?);
        let identity = idempotency::identify::<R>(settings, key.as_ref(), who.scope(), place, &bytes, context.random)?;
        if identity.keyed.is_some() {
            let _ = context.identity.set(identity.request);
        }
        let body = json::parse(&parts.headers, &bytes)?;
        Ok(Write {
            who,
            body,
            deadline: context.deadline,
            request: identity.request,
            if_match,
            minimal: prefer::wants_minimal(&parts.headers),
            keyed: identity.keyed,
            rule: std::marker::PhantomData,
        })
    }
}

/// A body alone, for routes under `/v1/auth`, which know no idempotency keys.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Edge> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Edge) -> Result<Json<T>> {
        let (parts, body) = request.into_parts();
        query::none_left(&parts)?;
        let bytes = read_body(body).await?;
        json::parse(&parts.headers, &bytes).map(Json)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The whole body, which the front layer has read within its limits.
async fn read_body(body: axum::body::Body) -> Result<axum::body::Bytes> {
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(_) => Err(Problem::new(Code::BadRequest).detail("The body broke off.")),
    }
}

/// The versions that `If-Match` names. `If-None-Match` is refused, because no write here could honour it. Errors: 400.
fn preconditions(parts: &Parts) -> Result<IfMatch> {
    if parts.headers.contains_key(header::IF_NONE_MATCH) {
        return Err(
            Problem::new(Code::InvalidHeader).detail("If-None-Match is for GET and HEAD; writes take If-Match.")
        );
    }
    Ok(match Named::of(&parts.headers, header::IF_MATCH) {
        None => IfMatch::Absent,
        Some(named) => named.versions().map_or(IfMatch::Any, IfMatch::Versions),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::values::ProductId;

    #[test]
    fn if_match_names_versions_any_or_none_of_ours() {
        let if_match = |value: &str| {
            let request = axum::http::Request::builder().header(header::IF_MATCH, value).body(()).expect("a request");
            preconditions(&request.into_parts().0).expect("a precondition")
        };
        assert_eq!(if_match("\"v3\"").decided(), Some(Some(3)));
        assert_eq!(if_match("*").decided(), Some(None));
        assert_eq!(if_match("\"other\"").decided(), Some(Some(NEVER)));
        let several = if_match("\"v3\", \"v4-ab\"");
        assert_eq!(several.decided(), None);
        assert_eq!([2, 3, 4, 5].map(|now| several.at(now)), [Some(NEVER), Some(3), Some(4), Some(NEVER)]);
        assert_eq!([3, 4, 5].map(|now| several.goes_on(Some(3), now)), [false, true, false]);
        assert!(!several.goes_on(Some(NEVER), 3) && !if_match("*").goes_on(None, 3));
    }

    #[test]
    fn a_path_names_a_product_by_id_or_slug() {
        let of = |text: &str| serde_json::from_value::<IdOrSlug<ProductId>>(text.into()).ok();
        let id = ProductId(7);
        assert_eq!(of(&id.to_string()), Some(IdOrSlug::Id(id)));
        assert!(matches!(of("blue-tee"), Some(IdOrSlug::Slug(_))));
        assert_eq!(of("Blue Tee"), None);
        assert_eq!(of("cart_123"), None);
    }
}
