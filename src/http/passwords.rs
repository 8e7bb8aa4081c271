//! Passwords: Argon2id, off the async threads, and only so many at once (each takes a core for some
//! tens of milliseconds, and by default 19 MiB).

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Version};
use serde::{Deserialize, Deserializer, de};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::config::EdgeConfig;
use super::problem::{Code, Result};
use super::tokens::random;
use crate::actors::values::{Invalid, Secret};

/// The fewest characters of a password.
pub const PASSWORD_MIN: usize = 10;
/// The most bytes: more would only be work for us.
pub const PASSWORD_MAX_BYTES: usize = 1_024;

/// A new password, long enough.
#[derive(Debug, Clone)]
pub struct NewPassword(Secret<String>);

impl NewPassword {
    pub fn new(text: String) -> std::result::Result<NewPassword, Invalid> {
        if text.chars().count() < PASSWORD_MIN || text.len() > PASSWORD_MAX_BYTES {
            return Err(Invalid("a password has at least 10 characters and at most 1,024 bytes"));
        }
        Ok(NewPassword(Secret(text)))
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        NewPassword::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A password that somebody presents; whatever it is, it is compared.
#[derive(Debug, Clone)]
pub struct Presented(Secret<String>);

impl<'de> Deserialize<'de> for Presented {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Presented(Secret(text)))
    }
}

/// Hashes and verifies.
pub struct Passwords {
    permits: Arc<Semaphore>,
    argon2: Argon2<'static>,
    /// The hash of nobody's password: what an unknown email address is verified against, so that it
    /// costs the same as a known one.
    nobody: Secret<String>,
}

impl Passwords {
    pub fn new(config: &EdgeConfig) -> Passwords {
        let permits = match config.password_permits {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            permits => permits,
        };
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, config.password_cost.clone());
        let nobody = hash(&argon2, &BASE.encode(&random::<32>())).unwrap_or_default();
        Passwords { permits: Arc::new(Semaphore::new(permits)), argon2, nobody: Secret(nobody) }
    }

    /// The hash to store, in PHC form. Errors: 503 when it was not this caller's turn by the deadline.
    pub async fn hash(&self, password: NewPassword, deadline: Instant) -> Result<Secret<String>> {
        let NewPassword(Secret(password)) = password;
        let argon2 = self.argon2.clone();
        let hashed = self.run(deadline, async || true, move || hash(&argon2, &password)).await?;
        hashed.flatten().map(Secret).ok_or_else(|| Code::Internal.into())
    }

    /// Whether the password is the one behind `stored`; without `stored`: false, at the same cost.
    ///
    /// `allowed` is asked when it is this caller's turn, so that many guesses sent at once count like
    /// guesses sent one after the other; `None` when it says no.
    pub async fn verify(
        &self,
        password: Presented,
        stored: Option<&Secret<String>>,
        deadline: Instant,
        allowed: impl AsyncFnOnce() -> bool,
    ) -> Result<Option<bool>> {
        let known = stored.is_some();
        let Secret(stored) = stored.unwrap_or(&self.nobody).clone();
        let Presented(Secret(password)) = password;
        let argon2 = self.argon2.clone();
        let matches = move || password.len() <= PASSWORD_MAX_BYTES && verify(&argon2, &password, &stored);
        Ok(self.run(deadline, allowed, matches).await?.map(|matches| matches && known))
    }

    async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        allowed: impl AsyncFnOnce() -> bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let turn = tokio::time::timeout_at(deadline, self.permits.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = turn else { return Err(Code::Overloaded.into()) };
        if !allowed().await {
            return Ok(None);
        }
        // The permit goes along: a caller who leaves does not free it before the work is done.
        let worked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        worked.await.map(Some).map_err(|_| Code::Internal.into())
    }
}

const BASE: data_encoding::Encoding = data_encoding::BASE64URL_NOPAD;

fn hash(argon2: &Argon2<'_>, password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    argon2.hash_password(password.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

/// At the cost that the stored hash names.
fn verify(argon2: &Argon2<'_>, password: &str, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn presented(text: &str) -> Presented {
        Presented(Secret(text.into()))
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nobody_has_one() {
        let passwords = Passwords::new(&EdgeConfig::default());
        let deadline = Instant::now() + Duration::from_secs(60);
        let new = serde_json::from_str("\"correct horse\"").expect("long enough");
        let stored = passwords.hash(new, deadline).await.expect("hashes");
        assert!(stored.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let table = [("correct horse", Some(&stored), true), ("wrong horse", Some(&stored), false), ("", None, false)];
        for (password, stored, good) in table {
            let verdict = passwords.verify(presented(password), stored, deadline, async || true).await;
            assert_eq!(verdict, Ok(Some(good)), "{password}");
        }
        let refused = passwords.verify(presented("correct horse"), Some(&stored), deadline, async || false).await;
        assert_eq!(refused, Ok(None));
    }

    #[tokio::test]
    async fn a_new_password_costs_what_is_configured_and_an_old_one_what_it_did() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let new = || serde_json::from_str("\"correct horse\"").expect("long enough");
        let cost = argon2::Params::new(64, 1, 2, None).expect("good parameters");
        let cheap = Passwords::new(&EdgeConfig { password_cost: cost, ..EdgeConfig::default() });
        let stored = cheap.hash(new(), deadline).await.expect("hashes");
        assert!(stored.0.starts_with("$argon2id$v=19$m=64,t=1,p=2$"), "{}", stored.0);
        let dear = Passwords::new(&EdgeConfig::default());
        let verdict = dear.verify(presented("correct horse"), Some(&stored), deadline, async || true).await;
        assert_eq!(verdict, Ok(Some(true)));
    }

    #[test]
    fn a_new_password_is_long_enough_and_not_endless() {
        for (text, good) in
            [("123456789", false), ("1234567890", true), ("äöüäöüäöü", false), (&"x".repeat(1025), false)]
        {
            let json = serde_json::Value::from(text);
            assert_eq!(serde_json::from_value::<NewPassword>(json).is_ok(), good, "{text}");
        }
    }
}
