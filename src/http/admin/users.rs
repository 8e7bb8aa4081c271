//! What administrators do with users: `/v1/admin/users`.

use std::collections::BTreeSet;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::runtime::client::Wait;
use crate::actors::user::types::{Command, User};
use crate::actors::values::{Role, TypedEmail, UserId};
use crate::http::account::users::{UserView, named, refusal, show};
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::answer::{outcomes, schema};
use crate::http::request::caller::Admin;
use crate::http::request::patience;
use crate::http::request::query::{List, Listing, NoFilter, Page};
use crate::http::{Edge, Path, Read, Reply, Write};

/// The list of users: found by email address.
pub struct Users;

impl Listing for Users {
    type Filter = NoFilter;
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
