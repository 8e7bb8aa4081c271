//! A user as he and administrators see him.

use std::collections::BTreeSet;

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::actors::login::types::Login;
use crate::actors::runtime::client::{AskError, Client};
use crate::actors::user::types::{Account, Rejection};
use crate::actors::values::{Email, LoginName, Role, Time, UserId};
use crate::http::answer::problem::{Code, Problem};
use crate::http::answer::schema;

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
