//! Passwords: Argon2id, off the async threads, and only so many at once (each takes a core for some tens of
//! milliseconds, and by default 19 MiB): half the cores, so that the shop goes on while somebody guesses.
//!
//! A request that waits for its turn stands in a bounded queue and holds nothing that others need. Each caller hashes
//! one password at a time, and few of his requests may wait: a crowd from one address slows down only itself.

use std::collections::HashMap;
use std::sync::Arc;

use argon2::password_hash::{Output, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Version};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, de};
use tokio::sync::{Mutex as Line, Semaphore};
use tokio::time::Instant;

use crate::actors::values::{Invalid, Secret, spelling};
use crate::config::Auth;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::keys::random;
use crate::http::request::wait_notice::WaitNotice;

/// The fewest characters of a password.
pub const PASSWORD_MIN: usize = 10;
/// The most bytes: more would only be work for us.
pub const PASSWORD_MAX_BYTES: usize = 1_024;

/// A new password, long enough, and spelt as [`spelling::password`] says.
#[derive(Debug, Clone)]
pub struct NewPassword(Secret<String>);

impl NewPassword {
    pub fn new(text: String) -> std::result::Result<NewPassword, Invalid> {
        let spelt = spelling::password(&text);
        if spelt.chars().count() < PASSWORD_MIN || text.len() > PASSWORD_MAX_BYTES {
            return Err(Invalid("a password has at least 10 characters and at most 1,024 bytes"));
        }
        Ok(NewPassword(Secret(spelt.into_owned())))
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        NewPassword::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A password that somebody presents. It is compared whatever it looks like.
#[derive(Debug, Clone)]
pub struct Presented(Secret<String>);

impl<'de> Deserialize<'de> for Presented {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Presented(Secret(text)))
    }
}

/// The result of verifying a password.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right {
        /// The hash to store from now on, if the stored one is not of the present kind.
        renewed: Option<Secret<String>>,
    },
}

/// The caller for whom a password is hashed.
pub struct Asker<'a> {
    pub wait: &'a WaitNotice,
    /// The caller whose waiting requests are counted together.
    pub caller: String,
    /// Whether the bound per caller does not apply.
    pub exempt: bool,
    pub deadline: Instant,
}

/// Requests that hash, and requests that wait for their turn.
#[derive(Default)]
struct Queue {
    taken: usize,
    /// For each caller: how many of his requests are here, and the lock that lets one at a time through.
    callers: HashMap<String, (usize, Arc<Line<()>>)>,
}

/// A place in the queue, until it is dropped.
struct Queued<'a> {
    queue: &'a Mutex<Queue>,
    caller: String,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut queue = self.queue.lock();
        queue.taken -= 1;
        if let Some((count, _)) = queue.callers.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                queue.callers.remove(&self.caller);
            }
        }
    }
}

/// Hashes and verifies.
pub struct Passwords {
    permits: Arc<Semaphore>,
    queue: Mutex<Queue>,
    queue_max: usize,
    queue_per_caller_max: usize,
    argon2: Argon2<'static>,
    /// What looks like a hash and is of no password. An unknown email address is verified against it, so that it costs the same as a
    /// known one.
    nobody: Secret<String>,
}

impl Passwords {
    pub fn new(config: &Auth) -> Passwords {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, config.argon2.params());
        let nobody = hash_of_nobody(&argon2).unwrap_or_default();
        Passwords {
            permits: Arc::new(Semaphore::new(config.hashes_max)),
            queue: Mutex::default(),
            queue_max: config.hash_queue_max,
            queue_per_caller_max: config.hash_queue_per_address_max,
            argon2,
            nobody: Secret(nobody),
        }
    }

    /// The hash to store, in PHC form. Errors: those of waiting for a turn.
    pub async fn hash(&self, password: NewPassword, asker: Asker<'_>) -> Result<Secret<String>> {
        let NewPassword(Secret(password)) = password;
        let argon2 = self.argon2.clone();
        let hashed = self.run(asker, async || true, move || hash(&argon2, &password)).await?;
        hashed.flatten().map(Secret).ok_or_else(|| Code::Internal.into())
    }

    /// The hash to store, without a bound per caller: for the start of the node.
    pub async fn hash_alone(&self, password: NewPassword, deadline: Instant) -> Result<Secret<String>> {
        self.hash(password, Asker { wait: &WaitNotice::default(), caller: String::new(), exempt: true, deadline }).await
    }

    /// Whether the password is the one behind `stored`. Without `stored` it is not, at the same cost.
    ///
    /// A hash of another cost than the configured one, or of the old spelling, is made anew in the same turn. Until
    /// then, the time that a log-in takes betrays that the account exists.
    ///
    /// `allowed` is asked when the turn has come, so that guesses sent all at once count like guesses sent one after
    /// the other. `None` if it says no.
    pub async fn verify(
        &self,
        password: Presented,
        stored: Option<&Secret<String>>,
        asker: Asker<'_>,
        allowed: impl AsyncFnOnce() -> bool,
    ) -> Result<Option<Verdict>> {
        let known = stored.is_some();
        let Secret(stored) = stored.unwrap_or(&self.nobody).clone();
        let Presented(Secret(password)) = password;
        let argon2 = self.argon2.clone();
        // Old hashes are of the password as it was typed. Only a password that has two spellings costs twice.
        let matches = move || {
            if password.len() > PASSWORD_MAX_BYTES {
                return Verdict::Wrong;
            }
            let spelt = spelling::password(&password);
            let as_spelt = verify(&argon2, &spelt, &stored);
            if !known || !(as_spelt || (spelt != password && verify(&argon2, &password, &stored))) {
                return Verdict::Wrong;
            }
            let is_as_now = as_spelt && is_made_by(&argon2, &stored);
            let renewed = if is_as_now { None } else { hash(&argon2, &spelt).map(Secret) };
            Verdict::Right { renewed }
        };
        self.run(asker, allowed, matches).await
    }

    /// Errors: 503 when too many wait, 429 when too many of this caller do.
    fn queue(&self, asker: &Asker<'_>) -> Result<(Queued<'_>, Arc<Line<()>>)> {
        let mut queue = self.queue.lock();
        if queue.taken >= self.queue_max {
            return Err(Code::Overloaded.into());
        }
        let (count, line) = queue.callers.entry(asker.caller.clone()).or_default();
        // The entry of a caller who is here already stays.
        if *count >= self.queue_per_caller_max && !asker.exempt {
            return Err(Problem::new(Code::TooManyRequests).retry_after_s(1));
        }
        *count += 1;
        let line = line.clone();
        queue.taken += 1;
        Ok((Queued { queue: &self.queue, caller: asker.caller.clone() }, line))
    }

    async fn run<T: Send + 'static>(
        &self,
        asker: Asker<'_>,
        allowed: impl AsyncFnOnce() -> bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let (_queued, line) = self.queue(&asker)?;
        asker.wait.waits_in_own_queue();
        let turn = async {
            let first = line.lock().await;
            let permit = self.permits.clone().acquire_owned().await;
            (first, permit)
        };
        let Ok((_first, Ok(permit))) = tokio::time::timeout_at(asker.deadline, turn).await else {
            return Err(Code::Overloaded.into());
        };
        if !allowed().await {
            return Ok(None);
        }
        // The permit goes along, so that a caller who leaves does not free it before the work is done.
        let worked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        worked.await.map(Some).map_err(|_| Code::Internal.into())
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    argon2.hash_password(password.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

/// What no password hashes to, and costs as much to find out. A start need not wait until one is computed.
fn hash_of_nobody(argon2: &Argon2<'_>) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    let made = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2.params().try_into().ok()?,
        salt: Some(salt.as_salt()),
        hash: Some(Output::new(&random::<32>()).ok()?),
    };
    Some(made.to_string())
}

/// At the cost that the stored hash names.
fn verify(argon2: &Argon2<'_>, password: &str, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
}

/// Whether a stored hash is of the present algorithm, version and cost.
fn is_made_by(argon2: &Argon2<'_>, stored: &str) -> bool {
    let Ok(hash) = PasswordHash::new(stored) else { return false };
    let cost = argon2::Params::try_from(&hash);
    let now = argon2.params();
    hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && cost.is_ok_and(|then| {
            (then.m_cost(), then.t_cost(), then.p_cost()) == (now.m_cost(), now.t_cost(), now.p_cost())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Argon2 as Cost, Config};
    use std::time::Duration;

    const AS_IT_IS: Verdict = Verdict::Right { renewed: None };

    fn asker<'a>(wait: &'a WaitNotice, caller: &str, exempt: bool) -> Asker<'a> {
        let deadline = Instant::now() + Duration::from_secs(60);
        Asker { wait, caller: caller.to_owned(), exempt, deadline }
    }

    /// As shipped, but for hashes that cost nearly nothing.
    fn cheap() -> Auth {
        let argon2 = Cost { memory_kib: 64, iterations: 1, lanes: 1 };
        Auth { argon2, ..Config::default().auth }
    }

    fn presented(text: &str) -> Presented {
        Presented(Secret(text.into()))
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nobody_has_one() {
        let passwords = Passwords::new(&Config::default().auth);
        let deadline = Instant::now() + Duration::from_secs(60);
        let new = serde_json::from_str("\"correct horse\"").expect("long enough");
        let stored = passwords.hash_alone(new, deadline).await.expect("hashes");
        assert!(stored.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(is_made_by(&passwords.argon2, &passwords.nobody.0), "to verify against nobody costs the same");
        assert_eq!(passwords.nobody.0.len(), stored.0.len());
        let table = [
            ("correct horse", Some(&stored), AS_IT_IS),
            ("wrong horse", Some(&stored), Verdict::Wrong),
            ("", None, Verdict::Wrong),
        ];
        for (password, stored, good) in table {
            let verdict = passwords
                .verify(presented(password), stored, asker(&WaitNotice::default(), "ada", false), async || true)
                .await;
            assert_eq!(verdict, Ok(Some(good)), "{password}");
        }
        let refused = passwords
            .verify(
                presented("correct horse"),
                Some(&stored),
                asker(&WaitNotice::default(), "ada", false),
                async || false,
            )
            .await;
        assert_eq!(refused, Ok(None));
    }

    #[tokio::test]
    async fn a_password_is_one_in_every_spelling_and_old_hashes_are_of_what_was_typed() {
        let passwords = Passwords::new(&cheap());
        let deadline = Instant::now() + Duration::from_secs(60);
        let (composed, apart) = ("Z\u{fc}rich 2026", "Zu\u{308}rich\u{a0}2026");
        let matches = async |typed: &str, stored: &Secret<String>| {
            passwords
                .verify(presented(typed), Some(stored), asker(&WaitNotice::default(), "ada", false), async || true)
                .await
        };
        for new in [composed, apart] {
            let new = NewPassword::new(new.into()).expect("long enough");
            let stored = passwords.hash_alone(new, deadline).await.expect("hashes");
            assert_eq!(matches(composed, &stored).await, Ok(Some(AS_IT_IS)));
            assert_eq!(matches(apart, &stored).await, Ok(Some(AS_IT_IS)));
            assert_eq!(matches("Zurich 2026", &stored).await, Ok(Some(Verdict::Wrong)));
        }
        let old = Secret(hash(&passwords.argon2, apart).expect("hashes"));
        let Ok(Some(Verdict::Right { renewed: Some(renewed) })) = matches(apart, &old).await else {
            panic!("it is right, and hashed anew")
        };
        assert_eq!(matches(composed, &renewed).await, Ok(Some(AS_IT_IS)));
        assert_eq!(matches(composed, &old).await, Ok(Some(Verdict::Wrong)), "nobody can tell how it was typed");
    }

    #[tokio::test]
    async fn a_new_password_costs_what_is_configured_and_an_old_one_what_it_did() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let new = || serde_json::from_str("\"correct horse\"").expect("long enough");
        let argon2 = Cost { lanes: 2, ..cheap().argon2 };
        let cheap = Passwords::new(&Auth { argon2, ..cheap() });
        let stored = cheap.hash_alone(new(), deadline).await.expect("hashes");
        assert!(stored.0.starts_with("$argon2id$v=19$m=64,t=1,p=2$"), "{}", stored.0);
        let dear = Passwords::new(&Config::default().auth);
        let verdict = dear
            .verify(
                presented("correct horse"),
                Some(&stored),
                asker(&WaitNotice::default(), "ada", false),
                async || true,
            )
            .await;
        let Ok(Some(Verdict::Right { renewed: Some(renewed) })) = verdict else { panic!("{verdict:?}") };
        assert!(renewed.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", renewed.0);
        let guess = dear
            .verify(presented("wrong horse"), Some(&stored), asker(&WaitNotice::default(), "ada", false), async || true)
            .await;
        assert_eq!(guess, Ok(Some(Verdict::Wrong)));
    }

    #[tokio::test]
    async fn the_queue_for_a_turn_is_bounded_in_all_and_for_each_caller() {
        let config = Auth { hashes_max: 1, hash_queue_max: 3, hash_queue_per_address_max: 2, ..cheap() };
        let passwords = Passwords::new(&config);
        let held = passwords.permits.clone().acquire_owned().await.expect("the only permit");
        let wait = WaitNotice::default();
        let verify = |caller: &str, exempt| {
            passwords.verify(presented("some password"), None, asker(&wait, caller, exempt), async || true)
        };
        let refused = async |caller: &str, exempt| verify(caller, exempt).await.expect_err("refused at once").code();
        let (mut one, mut two) = (Box::pin(verify("eve", false)), Box::pin(verify("eve", false)));
        assert!(futures::poll!(&mut one).is_pending() && futures::poll!(&mut two).is_pending());
        assert_eq!(refused("eve", false).await, Code::TooManyRequests);
        let mut three = Box::pin(verify("eve", true));
        assert!(futures::poll!(&mut three).is_pending(), "who is exempt waits with everybody");
        assert_eq!(refused("ada", true).await, Code::Overloaded);
        drop(two);
        let mut four = Box::pin(verify("ada", false));
        assert!(futures::poll!(&mut four).is_pending(), "who leaves makes room");
        drop(held);
        assert_eq!(
            futures::join!(one, three, four),
            (Ok(Some(Verdict::Wrong)), Ok(Some(Verdict::Wrong)), Ok(Some(Verdict::Wrong)))
        );
        assert!(passwords.queue.lock().callers.is_empty(), "nothing is kept of who has gone");
    }

    #[tokio::test]
    async fn of_one_caller_one_hashes_at_a_time() {
        let passwords = Passwords::new(&Auth { hashes_max: 4, ..cheap() });
        let wait = WaitNotice::default();
        let running = std::sync::atomic::AtomicUsize::new(0);
        let guess = async |caller: &str| {
            let alone = async || {
                let running = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::task::yield_now().await;
                running == 0
            };
            let told = passwords.verify(presented("some password"), None, asker(&wait, caller, false), alone).await;
            running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            told
        };
        let all = futures::future::join_all((0..12).map(|_| guess("eve"))).await;
        assert!(all.iter().all(|told| *told == Ok(Some(Verdict::Wrong))), "nobody else was there: {all:?}");
    }

    #[test]
    fn a_new_password_is_long_enough_and_not_endless() {
        for (text, good) in [
            ("123456789", false),
            ("1234567890", true),
            ("äöüäöüäöü", false),
            ("a\u{308}o\u{308}u\u{308}a\u{308}o\u{308}", false),
            (&"x".repeat(1025), false),
        ] {
            let json = serde_json::Value::from(text);
            assert_eq!(serde_json::from_value::<NewPassword>(json).is_ok(), good, "{text}");
        }
    }
}
