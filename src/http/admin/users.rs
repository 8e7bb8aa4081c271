//! Users as they are shown, and what administrators do with them: `/v1/admin/users`.

use std::collections::BTreeSet;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::actors::login::types::Login;
use crate::actors::runtime::client::{AskError, Client, Wait};
use crate::actors::user::types::{Account, Command, Rejection, User};
use crate::actors::values::{Email, LoginName, Role, Time, TypedEmail, UserId};
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::answer::{outcomes, schema};
use crate::http::request::caller::Admin;
use crate::http::request::patience;
use crate::http::request::query::{List, Listing, Page};
use crate::http::{Edge, Path, Read, Reply, Write};

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    #[schema(value_type = String, example = "user_0123456789abcdefghjkmnpqrs")]
    pub id: UserId,
    #[schema(value_type = String, format = Email)]
    pub email: Email,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[schema(value_type = Vec<schema::Role>)]
    pub roles: BTreeSet<Role>,
    #[schema(value_type = schema::Time)]
    pub created_at: Time,
    pub version: u64,
}

/// An account as its owner and administrators see it.
pub fn show(id: UserId, account: &Account, version: u64) -> UserView {
    let Account { email, name, password_hash: _, roles, created_at } = account.clone();
    UserView { id, email, name, roles, created_at, version }
}

/// Whose account has one of these names: the first that anybody has. All are looked up in any case, so that it takes the
/// same time whether there is one.
pub async fn named(
    client: &Client,
    names: &[LoginName],
    deadline: Instant,
) -> std::result::Result<Option<UserId>, AskError> {
    let mut found = None;
    for name in names {
        let login = client.read::<Login>(name, deadline).await?;
        found = found.or(login.state.user);
    }
    Ok(found)
}

/// What a user's rejection means to a client.
pub fn refusal(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotActive | Rejection::AddressNotFound => Code::NotFound.into(),
        Rejection::TooManyAddresses { limit } => {
            Problem::new(Code::LimitReached).detail(format!("An address book has at most {limit} addresses."))
        }
        Rejection::TooManySessions { limit } => {
            Problem::new(Code::Unavailable).detail(format!("{limit} sessions are still waiting to be ended."))
        }
        Rejection::PasswordChanged => Problem::new(Code::InvalidCredentials).detail("The current password is wrong."),
        Rejection::RolesChangeInProgress => Code::ChangeInProgress.into(),
        // Ids of users are random: this one cannot have registered before.
        Rejection::AlreadyRegistered => Code::Internal.into(),
    }
}

/// The list of users: found by email address.
pub struct Users;

impl Listing for Users {
    const PARAMETERS: &'static [&'static str] = &["email"];
}

/// Finds a user by email address: a list of one or none.
#[utoipa::path(get, path = "/v1/admin/users", tag = "admin", params(("email" = String, Query)),
    responses((status = 200, body = Page<UserView>)))]
pub async fn find(State(edge): State<Edge>, _: Admin, list: List<Users>, read: Read) -> Result<Reply<Page<UserView>>> {
    let missing = || Problem::new(Code::InvalidParameter).detail("email: expected the address to look for.");
    let email: TypedEmail = list.parsed("email")?.ok_or_else(missing)?;
    let mut found = Vec::new();
    if let Some(id) = named(&edge.client, &email.names(), read.deadline).await? {
        let user = edge.client.read_settled::<User>(&id, read.deadline).await?;
        found.extend(user.state.active().map(|account| show(id, account, user.version)));
    }
    Ok(list.page_of(&edge, found, |_, user| user.id.to_string()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRoles {
    #[schema(value_type = Vec<schema::Role>)]
    roles: BTreeSet<Role>,
}

/// Gives a user roles. They hold from his next request on, whatever his access token says. The last administrator
/// stays one: 409 `last_administrator`.
#[utoipa::path(patch, path = "/v1/admin/users/{id}", tag = "admin", request_body = SetRoles,
    params(("id" = String, Path)), responses((status = 200, body = UserView), outcomes::AdminChange))]
pub async fn set_roles(
    State(edge): State<Edge>,
    _: Admin,
    Path(id): Path<UserId>,
    write: Write<SetRoles>,
) -> Result<Reply<UserView>> {
    let command = Command::SetRoles { roles: write.body.roles.clone() };
    let answered = patience::ask::<User, _, _>(&edge, &write, &id, command, Wait::Settled).await?;
    if let Err(rejection) = &answered.outcome {
        return Err(refusal(rejection).replayed(answered.replayed));
    }
    if answered.view.state.kept_as_last_administrator(&write.request) {
        return Err(Problem::new(Code::LastAdministrator).replayed(answered.replayed));
    }
    let account = answered.view.state.active().ok_or(Code::NotFound)?;
    Ok(Reply::ok(show(id, account, answered.view.version)).of(&answered))
}
