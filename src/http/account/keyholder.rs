//! The shop's keys, which a node asks the keyring for when it starts.
//!
//! The keyring is one entity, and its stored data may be damaged. The node starts without the keys then: it says so at
//! `/readyz`, serves what needs none, refuses the rest with 503, and asks again until it has them.

use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::actors::entity::Caller;
use crate::actors::keyring::types::{Command, Keyring};
use crate::actors::runtime::client::{AskError, Asking, Client, Wait};
use crate::actors::values::{Only, Secret};
use crate::config::Config;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::keys::{Keys, KeysError, random};
use crate::http::request::idempotency::random_request_id;

/// The pause before the keyring is asked again. A quarantined slot answers without looking at the disk.
const AGAIN: Duration = Duration::from_secs(1);

/// Why the edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the keyring did not answer: {0}")]
    Keyring(AskError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// The keys, once they are there.
#[derive(Default)]
pub struct Keyholder {
    keys: OnceLock<Keys>,
    /// Why they are missing: for operators.
    why_not: Mutex<String>,
}

impl Keyholder {
    /// Errors: 503 while there are none.
    pub fn get(&self) -> Result<&Keys> {
        self.keys.get().ok_or_else(|| {
            let why = "The shop's keys cannot be read at the moment: nobody can be recognised.";
            Problem::new(Code::Unavailable).retry_after_s(AGAIN.as_secs()).detail(why)
        })
    }

    /// For `/readyz`.
    pub fn check(&self) -> std::result::Result<(), String> {
        if self.keys.get().is_some() { Ok(()) } else { Err(self.why_not.lock().clone()) }
    }

    /// Asks the keyring once. The shop is given secrets if it has none yet.
    pub async fn ask(&self, client: &Client, config: &Config) -> std::result::Result<(), StartError> {
        let fresh = Command::Ensure { signing_seed: Secret(random()), token_secret: Secret(random()) };
        let asking = Asking {
            request: random_request_id(),
            keyed: None,
            caller: Caller::System,
            deadline: Instant::now() + Duration::from_millis(config.http.handler_timeout_ms),
            if_version: None,
            wait: Wait::Durable,
        };
        let told = async {
            let keyring = client.ask::<Keyring>(&Only, fresh, asking).await.map_err(StartError::Keyring)?;
            Ok::<_, StartError>(Keys::new(&config.auth, &keyring.view.state)?)
        };
        match told.await {
            Ok(keys) => {
                let _ = self.keys.set(keys); // asked twice at once: the same keys are there
                Ok(())
            }
            Err(error) => {
                *self.why_not.lock() = error.to_string();
                Err(error)
            }
        }
    }

    /// Asks until the keys are there.
    pub async fn ask_until_there(&self, client: &Client, config: &Config) {
        while self.keys.get().is_none() {
            tokio::time::sleep(AGAIN).await;
            if let Err(error) = self.ask(client, config).await {
                tracing::debug!(%error, "still without the shop's keys");
            }
        }
        tracing::info!("the shop's keys are there");
    }
}
