//! Who administers the shop: somebody must, and the first one cannot be made over HTTP.

use std::collections::BTreeSet;

use anyhow::bail;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::STEP;
use crate::actors::audit::types::{Act, AuditOutcome, Ending};
use crate::actors::entity::Caller;
use crate::actors::keyring::types::Keyring;
use crate::actors::runtime::client::{AskError, Asking, Client, Wait};
use crate::actors::user::types::{Command, Status, User};
use crate::actors::values::{Email, Only, Role, UserId};
use crate::config::{Auth, Config, StoreKind};
use crate::http::operations::audit::actions::ADMINISTRATOR_MADE;
use crate::http::operations::audit::log;
use crate::http::{self, Edge};

/// An administrator to be.
#[derive(Clone)]
pub struct Bootstrap {
    pub email: Email,
    pub password: String,
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap").field("email", &self.email).finish_non_exhaustive()
    }
}

/// Sees to it that the shop has an administrator, where one is given. The answer is whether it has one; `None` when
/// that cannot be told, because stored data that it takes is damaged. Where it is the keyring's, it is seen to once the
/// keyring can be read.
pub async fn administered(
    edge: &Edge,
    bootstrap: Option<Bootstrap>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<bool>> {
    if edge.keys.check().is_err() {
        let edge = edge.clone();
        let later = async move {
            edge.until_it_has_keys().await;
            if let Err(error) = administrator(&edge, bootstrap).await {
                tracing::error!(%error, "no administrator could be made");
            }
        };
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(later));
        return Ok(None);
    }
    match administrator(edge, bootstrap).await {
        Ok(has_one) => Ok(Some(has_one)),
        Err(error) if error.is::<AskError>() => {
            tracing::error!(%error, "no administrator could be made: the next start tries again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn administrator(edge: &Edge, bootstrap: Option<Bootstrap>) -> anyhow::Result<bool> {
    let keyring = edge.client.read::<Keyring>(&Only, Instant::now() + STEP).await?;
    match bootstrap {
        _ if !keyring.state.administrators.is_empty() => Ok(true),
        None => Ok(false),
        Some(Bootstrap { email, password }) => {
            let made = make_administrator(&edge.client, &edge.config.auth, &email, password).await?;
            tracing::info!(made, "bootstrap");
            Ok(true)
        }
    }
}

/// How this program was called: what a person can paste.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())
}

/// What to tell a terminal about a shop that nobody administers.
pub fn no_administrator(program: &str, config: &Config) -> String {
    let start = "start it with SOUK_BOOTSTRAP_ADMIN_EMAIL and SOUK_BOOTSTRAP_ADMIN_PASSWORD set.";
    match config.store.kind {
        StoreKind::Memory => format!("There is no administrator. To have one, {start}"),
        StoreKind::Postgres | StoreKind::Redis => format!(
            "There is no administrator yet. To have one, run `{program} admin create-admin you@example.com \
             --password-stdin` with the store's settings, or {start}"
        ),
        StoreKind::Sled | StoreKind::Fjall => format!(
            "There is no administrator yet. Stop the server and make one:\n  \
             echo 'a long password' | {program} admin create-admin you@example.com --password-stdin --data '{}'\n\
             or {start}",
            config.data.dir.display()
        ),
    }
}

/// Makes an administrator, which the audit log has with what came of it.
pub async fn make_administrator(
    client: &Client,
    settings: &Auth,
    email: &Email,
    password: String,
) -> anyhow::Result<String> {
    let request = http::request::idempotency::random_request_id();
    let act = Act {
        actor: None,
        action: ADMINISTRATOR_MADE.to_owned(),
        subject: email.to_string(),
        said: None,
        address: None,
        node: client.node().to_string(),
        request: request.to_string(),
    };
    let begun = log::begin(client, request, act, 2 * STEP, Instant::now() + STEP).await?;
    let made = register_or_promote(client, settings, email, password).await;
    let outcome = if made.is_ok() { AuditOutcome::Done } else { AuditOutcome::Failed };
    let ending = Ending { outcome, status: None, code: None, request: None };
    if let Err(error) = log::end(client, &begun, ending, Instant::now() + STEP).await {
        tracing::warn!(%error, "the audit log does not have what came of making an administrator");
    }
    made
}

/// Registers a user who is an administrator, or makes an existing user one (with the password that he has). Nodes that
/// start together do so at the same time: one registers, the others find the user.
async fn register_or_promote(
    client: &Client,
    settings: &Auth,
    email: &Email,
    password: String,
) -> anyhow::Result<String> {
    let deadline = Instant::now() + STEP;
    if let Some(user) = http::account::users::named(client, &email.names(), deadline).await? {
        return promote(client, &user, email, deadline).await;
    }
    let password = http::account::passwords::NewPassword::new(password)?;
    let password_hash = http::account::passwords::Passwords::new(settings)
        .hash_alone(password, deadline)
        .await
        .map_err(|_| anyhow::anyhow!("the password cannot be hashed"))?;
    let asking = asking(deadline);
    let id = UserId::derived(&asking.request, 0);
    let command = Command::Register { id, email: email.clone(), name: None, password_hash, roles: roles() };
    let answered = client.ask::<User>(&id, command, asking).await?;
    if answered.view.state.status == Status::Active {
        return Ok(format!("{email} is an administrator now"));
    }
    match http::account::users::named(client, &email.names(), deadline).await? {
        Some(user) => promote(client, &user, email, deadline).await,
        None => bail!("{email} was just taken by somebody else"),
    }
}

async fn promote(client: &Client, user: &UserId, email: &Email, deadline: Instant) -> anyhow::Result<String> {
    http::account::users::decided(client, *user, deadline).await?;
    let answered = client.ask::<User>(user, Command::SetRoles { roles: roles() }, asking(deadline)).await?;
    answered.outcome.map_err(|rejection| anyhow::anyhow!("the user cannot become an administrator: {rejection:?}"))?;
    Ok(format!("{email} is an administrator now; the password is the one that this user has"))
}

fn roles() -> BTreeSet<Role> {
    BTreeSet::from([Role::Customer, Role::Admin])
}

fn asking(deadline: Instant) -> Asking {
    Asking {
        request: http::request::idempotency::random_request_id(),
        keyed: None,
        caller: Caller::System,
        deadline,
        if_version: None,
        wait: Wait::Settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_administrator_is_told_how_to_make_one_in_that_very_store() {
        let mut config = Config::default();
        config.data.dir = "shops/one".into();
        let told = no_administrator("target/release/souk", &config);
        assert!(told.contains("| target/release/souk admin create-admin"), "{told}");
        assert!(told.contains("--data 'shops/one'\n"), "{told}");
        config.store.kind = StoreKind::Memory;
        let told = no_administrator("souk", &config);
        assert!(!told.contains("create-admin"), "nothing can be made in a store that is gone: {told}");
    }
}
