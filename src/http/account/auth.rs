//! `/v1/auth`: registering, logging in and out, refreshing; and the public keys.
//!
//! An unknown email address and a wrong password cost and answer the same. Guesses are counted per account and
//! address before they are judged, so that many at once gain nothing; a right one begins anew. Guesses at one account
//! from many addresses are counted too: beyond a number of them only addresses get through from which somebody has
//! signed in to it before, so that its owner does.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::passwords::{Asker, NewPassword, Presented, Verdict};
use super::sessions::{self, Tokens, unkeyed};
use super::users;
use crate::actors::entity::Caller;
use crate::actors::runtime::client::{View, Wait};
use crate::actors::session::types::{Command as SessionCommand, Reply as SessionReply, Session};
use crate::actors::user::types::{Command, User};
use crate::actors::values::{Email, RequestId, Role, Secret, TypedEmail, UserId};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::keys::refresh::RefreshToken;
use crate::http::limits;
use crate::http::request::caller::SignedIn;
use crate::http::request::context::Context;
use crate::http::request::extract::Json;
use crate::http::request::json::{self, Nothing, Text};
use crate::http::request::query::Query;
use crate::http::{Edge, Reply};

/// What is kept of a client's name for itself.
const USER_AGENT_MAX: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    #[schema(value_type = String, format = Email)]
    email: Email,
    /// At least 10 characters.
    #[schema(value_type = String, format = Password, min_length = 10)]
    password: NewPassword,
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 200)]
    name: Option<Text<200>>,
}

/// Opens an account and signs in.
#[utoipa::path(post, path = "/v1/auth/register", tag = "auth", request_body = Register, security(()),
    responses((status = 201, body = Tokens), outcomes::Registering))]
pub async fn register(
    State(edge): State<Edge>,
    Extension(context): Extension<Arc<Context>>,
    headers: HeaderMap,
    Json(body): Json<Register>,
) -> Result<Reply<Tokens>> {
    // A taken address is refused here only to save the hashing; what decides is the claim that registering makes.
    // Nobody can register under an old spelling any more, so a user found under one was there before.
    if users::named(&edge.client, &body.email.names(), context.deadline).await?.is_some() {
        return Err(Code::EmailTaken.into());
    }
    let password_hash = edge.passwords.hash(body.password, asker(&context, body.email.as_str())).await?;
    let asking = unkeyed(Caller::Anonymous, context.deadline, Wait::Settled);
    let id = UserId::derived(&asking.request, 0);
    let (email, name) = (body.email, body.name.map(|name| name.0));
    let known = place(&context, email.as_str());
    let proven = password_hash.clone();
    let command = Command::Register { id, email, name, password_hash, roles: [Role::Customer].into() };
    let answered = edge.client.ask::<User>(&id, command, asking).await?;
    answered.outcome.map_err(|rejection| users::refusal(&rejection))?;
    if answered.view.state.active().is_none() {
        return Err(Code::EmailTaken.into());
    }
    let tokens = sessions::sign_in(&edge, id, &proven, user_agent(&headers), context.deadline).await?;
    limits::remember_place(&*edge.limiter, &known).await;
    Ok(Reply::created("/v1/me", tokens))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    #[schema(value_type = String, format = Email)]
    email: TypedEmail,
    #[schema(value_type = String, format = Password)]
    password: Presented,
}

/// Signs in. A user has at most 100 sessions: one more ends the oldest.
#[utoipa::path(post, path = "/v1/auth/login", tag = "auth", request_body = LogIn, security(()),
    responses((status = 200, body = Tokens)))]
pub async fn log_in(
    State(edge): State<Edge>,
    Extension(context): Extension<Arc<Context>>,
    headers: HeaderMap,
    Json(body): Json<LogIn>,
) -> Result<Reply<Tokens>> {
    let (id, view) = find(&edge, &body.email, context.deadline).await?;
    // Guesses count for the account, however its address is spelt.
    let account = view.state.active().map_or(body.email.as_str(), |account| account.email.as_str());
    let Verdict::Right { renewed } = proves(&edge, &context, account, &view, body.password).await? else {
        return Err(Code::InvalidCredentials.into());
    };
    let proven = &view.state.active().ok_or(Code::InvalidCredentials)?.password_hash;
    if let Some(password_hash) = renewed {
        renew(&edge, id, password_hash, proven, context.deadline).await;
    }
    let tokens = sessions::sign_in(&edge, id, proven, user_agent(&headers), context.deadline).await?;
    Ok(Reply::ok(tokens))
}

/// Replaces an old hash by one of the present kind. A failure is no matter: the user is signed in, and the next log-in
/// tries again.
async fn renew(edge: &Edge, id: UserId, password_hash: Secret<String>, proven: &Secret<String>, deadline: Instant) {
    let command = Command::RenewHash { password_hash, proven: proven.clone() };
    let asking = unkeyed(Caller::User(id), deadline, Wait::Durable);
    if let Err(error) = edge.client.ask::<User>(&id, command, asking).await {
        tracing::debug!(?error, "an old password hash stays for now");
    }
}

/// The user of an email address. For an address that is just being registered, waits until that is done. For an
/// unknown address, looks up a user that does not exist, so that it takes the same time.
async fn find(edge: &Edge, email: &TypedEmail, deadline: Instant) -> Result<(UserId, View<User>)> {
    let named = users::named(&edge.client, &email.names(), deadline).await?;
    let nobody = || UserId::derived(&RequestId::of("nobody", &[email.as_str().as_bytes()]), 0);
    let id = named.unwrap_or_else(nobody);
    Ok((id, users::decided(&edge.client, id, deadline).await?))
}

/// The key by which failed log-ins are counted: the account and the caller's address.
fn place(context: &Context, email: &str) -> String {
    format!("{email} {}", context.origin.key())
}

/// The caller for whom a password is hashed: the address, or the account where one address stands for many callers.
pub fn asker<'a>(context: &'a Context, email: &str) -> Asker<'a> {
    let exempt = context.origin.exempt;
    let caller = if exempt { email.to_string() } else { context.origin.key() };
    Asker { wait: &context.wait, caller, exempt, deadline: context.deadline }
}

/// Whether the password is the account's. Errors: 429 after too many that were not.
pub async fn proves(
    edge: &Edge,
    context: &Context,
    email: &str,
    user: &View<User>,
    password: Presented,
) -> Result<Verdict> {
    let (here, anywhere) = (limits::login_policy(&edge.config.limits), limits::account_policy(&edge.config.limits));
    let (place, account) = (place(context, email), email.to_string());
    if let Some(refused) = locked_out(edge, &place, &account).await {
        return Err(refused);
    }
    // Counted when its turn has come and before it is judged, so that guesses made while it waited count too.
    let counted =
        async || locked_out(edge, &place, &account).await.is_none() && edge.limiter.take(here, &place).await.allowed;
    let stored = user.state.active().map(|account| &account.password_hash);
    match edge.passwords.verify(password, stored, asker(context, email), counted).await? {
        Some(right @ Verdict::Right { .. }) => {
            edge.limiter.forget(here, &place).await;
            limits::remember_place(&*edge.limiter, &place).await;
            Ok(right)
        }
        Some(Verdict::Wrong) => {
            edge.limiter.take(anywhere, &account).await;
            Ok(Verdict::Wrong)
        }
        None => match locked_out(edge, &place, &account).await {
            Some(refused) => Err(refused),
            // The window ended between the two questions.
            None => Err(limits::too_many(Code::TooManyFailedLogins, &edge.limiter.look(here, &place).await)),
        },
    }
}

/// The refusal, if nobody may sign in to this account from this place now.
async fn locked_out(edge: &Edge, place: &str, account: &str) -> Option<Problem> {
    let here = edge.limiter.look(limits::login_policy(&edge.config.limits), place).await;
    if !here.allowed {
        return Some(limits::too_many(Code::TooManyFailedLogins, &here));
    }
    let anywhere = edge.limiter.look(limits::account_policy(&edge.config.limits), account).await;
    if anywhere.allowed || edge.limiter.look(limits::KNOWN_PLACE, place).await.remaining == 0 {
        return None;
    }
    Some(limits::too_many(Code::TooManyFailedLogins, &anywhere))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    refresh_token: String,
}

/// Exchanges a refresh token for new tokens. Within ten seconds the same token gets the same successor again, in case
/// the answer got lost or two tabs asked at once; used later, it ends its session.
#[utoipa::path(post, path = "/v1/auth/refresh", tag = "auth", request_body = Refresh, security(()),
    responses((status = 200, body = Tokens)))]
pub async fn refresh(
    State(edge): State<Edge>,
    Extension(context): Extension<Arc<Context>>,
    Json(body): Json<Refresh>,
) -> Result<Reply<Tokens>> {
    let presented = RefreshToken::parse(&body.refresh_token).ok_or(Code::InvalidToken)?;
    // A caller who knows a session's id but none of its tokens learns nothing and changes nothing.
    let keys = edge.keys.get()?;
    let genuine = keys.has_made(&presented);
    if presented.is_numbered() && !genuine {
        return Err(Code::InvalidToken.into());
    }
    let next = keys.successor(&presented);
    let command = SessionCommand::Refresh { presented: presented.hash(), next: next.hash(), genuine };
    let asking = unkeyed(Caller::Anonymous, context.deadline, Wait::Durable);
    let answered = edge.client.ask::<Session>(&presented.session, command, asking).await?;
    match answered.outcome {
        Ok(SessionReply::Refreshed) => {}
        Ok(SessionReply::Reused) => {
            return Err(Problem::new(Code::InvalidToken).detail("This token was used before. The session is over."));
        }
        Ok(SessionReply::Started | SessionReply::Revoked | SessionReply::Noted) => return Err(Code::Internal.into()),
        Err(rejection) => return Err(sessions::refusal(&rejection)),
    }
    let id = answered.view.state.user;
    let tokens = sessions::tokens(&edge, id, &next, context.deadline).await?;
    limits::remember_place(&*edge.limiter, &place(&context, tokens.email().as_str())).await;
    Ok(Reply::ok(tokens))
}

/// Ends the session of the access token.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "auth", responses((status = 204)))]
pub async fn log_out(
    State(edge): State<Edge>,
    Extension(context): Extension<Arc<Context>>,
    signed_in: SignedIn,
) -> Result<Reply<()>> {
    let asking = unkeyed(Caller::User(signed_in.user), context.deadline, Wait::Settled);
    let answered = edge.client.ask::<Session>(&signed_in.session, SessionCommand::Revoke {}, asking).await?;
    answered.outcome.map_err(|rejection| sessions::refusal(&rejection))?;
    Ok(Reply::no_content())
}

/// The public keys of access tokens (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "auth", security(()),
    responses((status = 200, body = serde_json::Value)))]
pub async fn jwks(State(edge): State<Edge>, _: Query<Nothing>) -> Result<Reply<Arc<serde_json::Value>>> {
    Ok(Reply::ok(edge.keys.get()?.jwks()).tagged())
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().take(USER_AGENT_MAX).collect()
}
