//! How many requests one caller may send: volume limits protect the others from him. They are counted in windows
//! behind the small [`Limiter`] trait: in this process, or for all nodes by the node that has the caller ([`owned`]), or in
//! Redis ([`shared`]). (How many requests of all callers run at once is decided by admission, in `edge`.)

pub mod owned;
pub mod shared;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use hashlink::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::actors::runtime::client::Client;
use crate::actors::runtime::counting::{Count, Counted, Counters, Counting};
use crate::config::Limits;
use crate::http::answer::problem::{Code, Problem};
use crate::metrics::Metrics;

/// The most callers that are counted at once by one policy; beyond, the one seen longest ago is forgotten.
const CALLERS_MAX: usize = 100_000;
/// More than there are. Other nodes say how what they have counted is called, and for how long.
const POLICIES_MAX: usize = 16;
const WINDOW_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// A quota for a window of time, under a name that callers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub name: &'static str,
    pub quota: u64,
    pub window_ms: u64,
}

/// What a limiter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub policy: Policy,
    pub allowed: bool,
    pub remaining: u64,
    /// Milliseconds until the window ends.
    pub reset_ms: u64,
}

impl Verdict {
    pub fn reset_s(&self) -> u64 {
        self.reset_ms.div_ceil(1000).max(1)
    }
    /// `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn policy_field(&self) -> String {
        let Policy { name, quota, window_ms } = self.policy;
        format!("\"{name}\";q={quota};w={}", window_ms.div_ceil(1000))
    }
    /// `RateLimit`.
    pub fn field(&self) -> String {
        format!("\"{}\";r={};t={}", self.policy.name, self.remaining, self.reset_s())
    }
}

/// Counts what callers do.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Counts one, when it is allowed.
    async fn take(&self, policy: Policy, key: &str) -> Verdict;
    /// What `take` would say, without counting.
    async fn look(&self, policy: Policy, key: &str) -> Verdict;
    /// Begins a new window.
    async fn forget(&self, policy: Policy, key: &str);
}

/// The limiter that the settings ask for: shared in Redis at `url`, or, where that is empty, in the memory of the nodes.
pub async fn chosen(url: &str, client: &Client, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<dyn Limiter>> {
    match url {
        "" if !client.is_of_several() => Ok(Arc::new(LocalLimiter::default())),
        "" => Ok(Arc::new(owned::OwnedLimiter::new(client.clone(), metrics.clone()))),
        url => Ok(Arc::new(shared::SharedLimiter::new(url, metrics.clone()).await.context("limits.redis_url")?)),
    }
}

/// Fixed windows in the memory of this process.
#[derive(Default)]
pub struct LocalLimiter {
    /// By the name of the policy. Each has a map of its own, so that a crowd under one policy does not push callers
    /// out of another.
    windows: Mutex<BTreeMap<Cow<'static, str>, Windows>>,
}

/// By the key of the caller.
type Windows = LruCache<Box<str>, Window>;

#[derive(Debug, Clone, Copy)]
struct Window {
    ends: Instant,
    count: u64,
}

impl LocalLimiter {
    fn judge(&self, policy: Policy, key: &str, counting: Counting) -> Verdict {
        let Policy { name, quota, window_ms } = policy;
        let Counted { allowed, remaining, reset_ms } =
            self.count_for(Cow::Borrowed(name), key, quota, window_ms, &counting);
        Verdict { policy, allowed, remaining, reset_ms }
    }

    /// Every request comes here: neither its policy nor its key is copied to be looked up.
    fn count_for(
        &self,
        policy: Cow<'static, str>,
        key: &str,
        quota: u64,
        window_ms: u64,
        counting: &Counting,
    ) -> Counted {
        let now = Instant::now();
        let mut policies = self.windows.lock();
        if policies.len() >= POLICIES_MAX && !policies.contains_key(&policy) {
            policies.clear(); // no souk has as many
        }
        let windows = policies.entry(policy).or_insert_with(|| LruCache::new(CALLERS_MAX));
        if *counting == Counting::Forget {
            windows.remove(key);
        }
        let window_length = Duration::from_millis(window_ms).min(WINDOW_MAX);
        let fresh = Window { ends: now + window_length, count: 0 };
        let mut window = windows.get(key).copied().filter(|window| window.ends > now).unwrap_or(fresh);
        let allowed = window.count < quota;
        if allowed && *counting == Counting::Take {
            window.count += 1;
            windows.insert(key.into(), window);
        }
        let reset_ms = u64::try_from(window.ends.duration_since(now).as_millis()).unwrap_or(u64::MAX);
        Counted { allowed, remaining: quota.saturating_sub(window.count), reset_ms }
    }
}

impl Counters for LocalLimiter {
    fn count(&self, count: &Count) -> Counted {
        let Count { policy, key, quota, window_ms, counting } = count;
        self.count_for(Cow::Owned(policy.to_string()), key, *quota, *window_ms, counting)
    }
}

#[async_trait]
impl Limiter for LocalLimiter {
    async fn take(&self, policy: Policy, key: &str) -> Verdict {
        self.judge(policy, key, Counting::Take)
    }
    async fn look(&self, policy: Policy, key: &str) -> Verdict {
        self.judge(policy, key, Counting::Look)
    }
    async fn forget(&self, policy: Policy, key: &str) {
        self.judge(policy, key, Counting::Forget);
    }
}

/// Requests from one address.
pub fn address_policy(config: &Limits) -> Policy {
    Policy { name: "address", quota: config.address_per_minute.into(), window_ms: 60_000 }
}

/// Requests of one signed-in user.
pub fn user_policy(config: &Limits) -> Policy {
    Policy { name: "user", quota: config.user_per_minute.into(), window_ms: 60_000 }
}

/// Failed logins of one account from one address.
pub fn login_policy(config: &Limits) -> Policy {
    Policy { name: "login", quota: config.login_failures_max.into(), window_ms: config.login_window_ms }
}

/// Failed logins of one account from anywhere.
pub fn account_policy(config: &Limits) -> Policy {
    Policy { name: "account", quota: config.account_failures_max.into(), window_ms: config.login_window_ms }
}

/// Not a limit, but counted like one: whether somebody has signed in to an account from an address within a month.
pub const KNOWN_PLACE: Policy = Policy { name: "known", quota: 1, window_ms: 30 * 24 * 3_600_000 };

/// Somebody has signed in at this place: the month begins anew.
pub async fn remember_place(limiter: &dyn Limiter, place: &str) {
    limiter.forget(KNOWN_PLACE, place).await;
    limiter.take(KNOWN_PLACE, place).await;
}

/// The refusal that a verdict means.
pub fn too_many(code: Code, verdict: &Verdict) -> Problem {
    Problem::new(code).retry_after_s(verdict.reset_s())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Policy = Policy { name: "three", quota: 3, window_ms: 1_000 };

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_a_quota_per_window_of_his_own() {
        let limiter = LocalLimiter::default();
        for left in [2, 1, 0] {
            let verdict = limiter.take(THREE, "a").await;
            assert_eq!((verdict.allowed, verdict.remaining), (true, left));
        }
        let refused = limiter.take(THREE, "a").await;
        assert_eq!((refused.allowed, refused.remaining, refused.reset_s()), (false, 0, 1));
        assert_eq!(refused.policy_field(), "\"three\";q=3;w=1");
        assert_eq!(refused.field(), "\"three\";r=0;t=1");
        assert!(limiter.take(THREE, "b").await.allowed);
        assert!(limiter.take(Policy { name: "other", ..THREE }, "a").await.allowed);
        tokio::time::advance(Duration::from_millis(1_001)).await;
        assert!(limiter.look(THREE, "a").await.allowed);
        assert_eq!(limiter.take(THREE, "a").await.remaining, 2);
        limiter.forget(THREE, "a").await;
        assert_eq!(limiter.look(THREE, "a").await.remaining, 3);
    }
}
