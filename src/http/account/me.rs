//! `/v1/me`: the signed-in user's profile, password, sessions and address book.

use std::sync::Arc;

use axum::extract::{Extension, State};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::passwords::{NewPassword, Presented, Verdict};
use super::users::{self, UserView, refusal};
use super::{auth, sessions};
use crate::actors::runtime::client::{Answered, Wait};
use crate::actors::session::types::{Command as SessionCommand, Session};
use crate::actors::user::types::{Command, User};
use crate::actors::values::{AddressId, SessionId, Time, UserId};
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::answer::schema;
use crate::http::request::address::{AddressBody, AddressView};
use crate::http::request::caller::SignedIn;
use crate::http::request::context::Context;
use crate::http::request::json::{self, Text};
use crate::http::request::lists::Unfiltered;
use crate::http::request::query::{List, Page, newest_first};
use crate::http::{Edge, Path, Read, Reply, Write};

/// Who I am.
#[utoipa::path(get, path = "/v1/me", tag = "me", responses((status = 200, body = UserView)))]
pub async fn profile(State(edge): State<Edge>, me: SignedIn, read: Read) -> Result<Reply<UserView>> {
    let view = edge.client.read::<User>(&me.user, read.deadline).await?;
    let account = view.state.active().ok_or(Code::NotFound)?;
    Ok(Reply::ok(users::show(me.user, account, view.version)).version(view.version))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchProfile {
    /// `null` takes it away, and so does an empty text.
    #[serde(default, deserialize_with = "json::filled_or_none")]
    #[schema(value_type = Option<String>, max_length = 200)]
    name: Option<Option<Text<200>>>,
}

/// Changes my profile.
#[utoipa::path(patch, path = "/v1/me", tag = "me", request_body = PatchProfile,
    responses((status = 200, body = UserView)))]
pub async fn change_profile(
    State(edge): State<Edge>,
    me: SignedIn,
    write: Write<PatchProfile>,
) -> Result<Reply<UserView>> {
    let name = write.body.name.clone().map(|name| name.map(|Text(name)| name));
    let answered = ask(&edge, &write, me.user, Command::UpdateProfile { name }).await?;
    let account = answered.view.state.active().ok_or(Code::NotFound)?;
    Ok(Reply::ok(users::show(me.user, account, answered.view.version)).of(&answered))
}

/// Asks the user's entity; its refusal is the caller's.
async fn ask<B>(edge: &Edge, write: &Write<B>, user: UserId, command: Command) -> Result<Answered<User>> {
    let answered = write.ask::<User>(edge, &user, command, Wait::Settled).await?;
    match &answered.outcome {
        Ok(_) => Ok(answered),
        Err(rejection) => Err(refusal(rejection).replayed(answered.replayed)),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    #[schema(value_type = String, format = Password)]
    current_password: Presented,
    /// At least 10 characters.
    #[schema(value_type = String, format = Password, min_length = 10)]
    new_password: NewPassword,
}

/// Changes my password. All my other sessions end.
#[utoipa::path(put, path = "/v1/me/password", tag = "me", request_body = ChangePassword,
    responses((status = 204)))]
pub async fn change_password(
    State(edge): State<Edge>,
    me: SignedIn,
    Extension(context): Extension<Arc<Context>>,
    write: Write<ChangePassword>,
) -> Result<Reply<()>> {
    // A repeat presents the old password, which by then is wrong.
    if let Some(before) = write.repeat::<User>(&edge, &me.user, Wait::Settled).await? {
        before.outcome.map_err(|rejection| refusal(&rejection).replayed(true))?;
        return Ok(Reply::no_content().replayed(true));
    }
    let user = edge.client.read::<User>(&me.user, write.deadline).await?;
    let account = user.state.active().ok_or(Code::NotFound)?;
    let given = write.body.current_password.clone();
    if auth::proves(&edge, &context, account.email.as_str(), &user, given).await? == Verdict::Wrong {
        return Err(Problem::new(Code::InvalidCredentials).detail("The current password is wrong."));
    }
    let password_hash =
        edge.passwords.hash(write.body.new_password.clone(), auth::asker(&context, account.email.as_str())).await?;
    // The password may have been changed in another session meanwhile.
    let proven = account.password_hash.clone();
    let command = Command::ChangePassword { password_hash, proven, keep: me.session };
    let answered = ask(&edge, &write, me.user, command).await?;
    Ok(Reply::no_content().replayed(answered.replayed))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    #[schema(value_type = String)]
    id: SessionId,
    #[schema(value_type = schema::Time)]
    created_at: Time,
    #[schema(value_type = schema::Time)]
    last_used_at: Time,
    user_agent: String,
    /// Whether it is the one that asks.
    current: bool,
}

/// Where I am signed in, the newest first.
#[utoipa::path(get, path = "/v1/me/sessions", tag = "me", responses((status = 200, body = Page<SessionView>)))]
pub async fn list_sessions(
    State(edge): State<Edge>,
    me: SignedIn,
    list: List<Unfiltered>,
    read: Read,
) -> Result<Reply<Page<SessionView>>> {
    let user = edge.client.read::<User>(&me.user, read.deadline).await?;
    let views = user.state.sessions.iter().map(|open| async {
        let session = edge.client.read::<Session>(&open.id, read.deadline).await?;
        let state = &session.state;
        Ok::<_, Problem>(SessionView {
            id: open.id,
            created_at: state.created_at,
            last_used_at: state.last_used_at,
            user_agent: state.user_agent.to_string(),
            current: open.id == me.session,
        })
    });
    let views = try_join_all(views).await?;
    Ok(list.page_of(&edge, views, |_, session| newest_first(session.created_at, session.id)))
}

/// Ends one of my sessions.
#[utoipa::path(delete, path = "/v1/me/sessions/{id}", tag = "me", params(("id" = String, Path)),
    responses((status = 204)))]
pub async fn end_session(
    State(edge): State<Edge>,
    me: SignedIn,
    Path(id): Path<SessionId>,
    write: Write,
) -> Result<Reply<()>> {
    if write.repeat::<Session>(&edge, &id, Wait::Settled).await?.is_some() {
        return Ok(Reply::no_content().replayed(true));
    }
    let user = edge.client.read::<User>(&me.user, write.deadline).await?;
    if !user.state.sessions.iter().any(|open| open.id == id) {
        return Err(Code::NotFound.into());
    }
    let answered = write.ask::<Session>(&edge, &id, SessionCommand::Revoke {}, Wait::Settled).await?;
    answered.outcome.map_err(|rejection| sessions::refusal(&rejection).replayed(answered.replayed))?;
    Ok(Reply::no_content().replayed(answered.replayed))
}

/// My address book, in the order of adding.
#[utoipa::path(get, path = "/v1/me/addresses", tag = "me",
    responses((status = 200, body = Page<AddressView>)))]
pub async fn list_addresses(
    State(edge): State<Edge>,
    me: SignedIn,
    list: List<Unfiltered>,
    read: Read,
) -> Result<Reply<Page<AddressView>>> {
    let user = edge.client.read::<User>(&me.user, read.deadline).await?;
    let addresses = user.state.addresses.iter().map(AddressView::from).collect();
    Ok(list.page_of(&edge, addresses, |n, _| format!("{n:05}")).version(user.version))
}

/// Adds an address.
#[utoipa::path(post, path = "/v1/me/addresses", tag = "me", request_body = AddressBody,
    responses((status = 201, body = AddressView)))]
pub async fn add_address(
    State(edge): State<Edge>,
    me: SignedIn,
    write: Write<AddressBody>,
) -> Result<Reply<AddressView>> {
    let id = AddressId::derived(&write.request, 0);
    let (address, default) = write.body.clone().into();
    let command = Command::AddAddress { id, address, default };
    let answered = ask(&edge, &write, me.user, command).await?;
    Ok(Reply::created(format!("/v1/me/addresses/{id}"), saved(&answered, id)?).of(&answered))
}

/// Writes an address anew.
#[utoipa::path(put, path = "/v1/me/addresses/{id}", tag = "me", request_body = AddressBody,
    params(("id" = String, Path)), responses((status = 200, body = AddressView)))]
pub async fn put_address(
    State(edge): State<Edge>,
    me: SignedIn,
    Path(id): Path<AddressId>,
    write: Write<AddressBody>,
) -> Result<Reply<AddressView>> {
    let (address, default) = write.body.clone().into();
    let command = Command::PutAddress { id, address, default };
    let answered = ask(&edge, &write, me.user, command).await?;
    Ok(Reply::ok(saved(&answered, id)?).of(&answered))
}

/// Removes an address.
#[utoipa::path(delete, path = "/v1/me/addresses/{id}", tag = "me", params(("id" = String, Path)),
    responses((status = 204)))]
pub async fn remove_address(
    State(edge): State<Edge>,
    me: SignedIn,
    Path(id): Path<AddressId>,
    write: Write,
) -> Result<Reply<()>> {
    let answered = ask(&edge, &write, me.user, Command::RemoveAddress { id }).await?;
    Ok(Reply::no_content().replayed(answered.replayed))
}

fn saved(answered: &Answered<User>, id: AddressId) -> Result<AddressView> {
    let found = answered.view.state.addresses.iter().find(|saved| saved.id == id);
    found.map(Into::into).ok_or_else(|| Code::NotFound.into())
}
