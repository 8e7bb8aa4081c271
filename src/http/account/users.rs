//! A user as he and administrators see him.

use std::collections::BTreeSet;

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::actors::login::types::Login;
use crate::actors::runtime::client::{AskError, Client, View};
use crate::actors::user::types::{Account, Rejection, Status, User};
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
    let Account { email, name, password_hash: _, renews: _, roles, created_at } = account.clone();
    UserView { id, email, name, roles, created_at, version }
}

/// The user who has one of these names: the first that is taken. All are looked up in any case, so that it takes the
/// same time whether there is one or not.
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

/// A user, once his registration is decided. The login entity names its user a moment before the user entity knows it
/// (longer if a crash comes between the two), so a user who is still pending must not count as missing.
pub async fn decided(client: &Client, id: UserId, deadline: Instant) -> std::result::Result<View<User>, AskError> {
    let view = client.read::<User>(&id, deadline).await?;
    if view.state.status == Status::Registering { client.read_settled::<User>(&id, deadline).await } else { Ok(view) }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::actors::kinds;
    use crate::actors::runtime::client::Wait;
    use crate::actors::runtime::envelope::{Body, Reply};
    use crate::actors::runtime::router::Router;
    use crate::actors::runtime::slot::SlotShared;
    use crate::actors::user::types::State;
    use crate::cluster::{NodeId, Ownership, SoleOwner};
    use crate::metrics::Metrics;
    use crate::persistence::memory::Memory;

    /// A slot without an actor: its one user is registering for whoever does not wait until that is decided.
    #[tokio::test]
    async fn whoever_is_still_registering_is_waited_for() {
        let shared = SlotShared::new(0, 16);
        let (lease, metrics) = (Arc::new(SoleOwner), Arc::new(Metrics::new()));
        let ownership = Arc::new(Ownership::new(NodeId::incarnate("test"), 1));
        let slots = vec![shared.clone()];
        let journal = Arc::new(Memory::new(1));
        let client = Client::new(Arc::new(Router::new(slots, kinds::all(), journal, ownership, lease, metrics)));
        let answering = async {
            loop {
                for envelope in shared.inbox.drain(16).0 {
                    let status = match envelope.body {
                        Body::Read { wait: Wait::Settled } => Status::Active,
                        _ => Status::Registering,
                    };
                    let state: Arc<dyn std::any::Any + Send + Sync> = Arc::new(State { status, ..State::default() });
                    let (version, seq, epoch, at) = (1, 1, 0, Time::ZERO);
                    let (outcome, residence, replayed) = (None, None, false);
                    let reply = Reply { outcome, version, seq, epoch, at, state: Some(state), replayed, residence };
                    envelope.reply.send(Ok(reply));
                }
                tokio::task::yield_now().await;
            }
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let view = tokio::select! {
            view = decided(&client, UserId(1), deadline) => view.expect("a user"),
            () = answering => unreachable!("it answers for ever"),
        };
        assert_eq!(view.state.status, Status::Active);
    }
}
