//! Starting a session and handing out its tokens: what registering and logging in end with.

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::users::{self, UserView};
use crate::actors::entity::Caller;
use crate::actors::runtime::client::{Asking, View, Wait};
use crate::actors::session::types::{Command, Rejection, Session, Status};
use crate::actors::user::types::User;
use crate::actors::values::{Email, Secret, SessionId, UserId};
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::keys::now_s;
use crate::http::keys::refresh::RefreshToken;
use crate::http::request::idempotency;

/// What a client gets when it signs in or refreshes.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    user: UserView,
    /// A JWT, good for `expires_in` seconds.
    access_token: String,
    /// Good for one use, for 30 days.
    refresh_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
}

impl Tokens {
    pub fn email(&self) -> &Email {
        &self.user.email
    }
}

/// A question that the edge asks on its own account. No receipt is kept.
pub fn unkeyed(caller: Caller, deadline: Instant, wait: Wait) -> Asking {
    Asking { request: idempotency::random_request_id(), keyed: None, caller, deadline, if_version: None, wait }
}

/// The tokens of a session for its user as he is now. Errors: 401 for a user who is not active.
pub async fn tokens(edge: &Edge, user: UserId, refresh: &RefreshToken, deadline: Instant) -> Result<Tokens> {
    let view = edge.client.read::<User>(&user, deadline).await?;
    tokens_of(edge, user, &view, refresh)
}

/// A new session for whoever has proven the password with this hash.
///
/// The password may have been changed since it was proven, and a change ends only the sessions that are in the user's
/// list at that moment. So the hash is compared again once the list has this session: a change that came before shows
/// here, and no token is given out; a change that comes after finds the session in the list. A crash in between leaves
/// a session whose tokens nobody has.
///
/// Errors: 401 when the password is another one by now.
pub async fn sign_in(
    edge: &Edge,
    user: UserId,
    proven: &Secret<String>,
    user_agent: String,
    deadline: Instant,
) -> Result<Tokens> {
    let refresh = start(edge, user, user_agent, deadline).await?;
    let view = edge.client.read::<User>(&user, deadline).await?;
    if view.state.active().is_some_and(|account| account.is_proven_by(proven)) {
        return tokens_of(edge, user, &view, &refresh);
    }
    let asking = unkeyed(Caller::User(user), deadline, Wait::Durable);
    let ended = edge.client.ask::<Session>(&refresh.session, Command::Revoke {}, asking).await?;
    ended.outcome.map_err(|rejection| refusal(&rejection))?;
    Err(Code::InvalidCredentials.into())
}

fn tokens_of(edge: &Edge, user: UserId, view: &View<User>, refresh: &RefreshToken) -> Result<Tokens> {
    let account = view.state.active().ok_or(Code::InvalidToken)?;
    let roles = account.roles.iter().copied().collect();
    let access_token = edge.keys.get()?.access_token(user, refresh.session, roles, now_s());
    Ok(Tokens {
        user: users::show(user, account, view.version),
        access_token: access_token.ok_or(Code::Internal)?,
        refresh_token: refresh.reveal(),
        token_type: "Bearer",
        expires_in: edge.keys.get()?.access_ttl_s(),
    })
}

/// A new session of a user; the answer comes when his list has it.
async fn start(edge: &Edge, user: UserId, user_agent: String, deadline: Instant) -> Result<RefreshToken> {
    let asking = unkeyed(Caller::User(user), deadline, Wait::Settled);
    let id = SessionId::derived(&asking.request, 0);
    let refresh = edge.keys.get()?.refresh_token(id);
    let command = Command::Start { id, user, refresh_hash: refresh.hash(), user_agent };
    let answered = edge.client.ask::<Session>(&id, command, asking).await?;
    match answered.outcome {
        Ok(_) if answered.view.state.status == Status::Active => Ok(refresh),
        // The user's list is full of sessions that wait to be revoked.
        Ok(_) => Err(Code::Unavailable.into()),
        Err(rejection) => Err(refusal(&rejection)),
    }
}

/// What a session's rejection means to its client.
pub fn refusal(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotFound | Rejection::Revoked | Rejection::Expired | Rejection::NeverGood => {
            Problem::new(Code::InvalidToken).detail("The session is over.")
        }
        Rejection::TooManyRefreshes { .. } => Problem::new(Code::TooManyRequests).retry_after_s(10),
        // Ids of sessions are random: this one cannot have been started before.
        Rejection::AlreadyStarted => Code::Internal.into(),
    }
}
