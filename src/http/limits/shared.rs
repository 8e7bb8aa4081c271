//! The limiter that the nodes of a cluster share: the same windows, counted in Redis by one call of a script.
//!
//! The node works without Redis too: Redis has 50 ms to answer. If it does not, the limiter of this process judges for
//! a second before Redis is asked again, and each such judgement is counted in `souk_limiter_fallback`. Meanwhile each
//! node counts for itself, so a caller may get as many quotas as there are nodes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Script};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Limiter, LocalLimiter, Policy, Verdict};
use crate::metrics::Metrics;

/// How long Redis may take to answer. A request waits for it, so it is short.
const ANSWER: Duration = Duration::from_millis(50);
/// How long making a connection may take. No request waits for it.
const CONNECT: Duration = Duration::from_secs(2);
/// How long Redis is left alone after it has failed, and how often that is said.
const REST: Duration = Duration::from_secs(1);

/// KEYS: the caller's window. ARGV: quota, milliseconds of a new window, whether to count.
/// The answer: whether it is allowed, how many there were, milliseconds until the window ends.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local count = tonumber(redis.call('GET', KEYS[1]) or '0')
         local allowed = count < tonumber(ARGV[1]) and 1 or 0
         if allowed == 1 and ARGV[3] == '1' then count = redis.call('INCR', KEYS[1]) end
         local left = redis.call('PTTL', KEYS[1])
         if left < 0 then
           left = tonumber(ARGV[2])
           if count > 0 then redis.call('PEXPIRE', KEYS[1], left) end
         end
         return {allowed, count, left}",
    )
});

pub struct SharedLimiter {
    client: Client,
    state: Arc<Mutex<State>>,
    local: LocalLimiter,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    is_connecting: bool,
    /// Redis is left alone until then.
    rests_until: Option<Instant>,
    told: Option<Instant>,
}

impl SharedLimiter {
    /// A limiter at `redis://...`. The server need not be there (yet).
    pub async fn new(url: &str, metrics: Arc<Metrics>) -> Result<SharedLimiter, redis::RedisError> {
        let info = url.into_connection_info()?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let limiter = SharedLimiter {
            client: Client::open(info)?,
            state: Arc::default(),
            local: LocalLimiter::default(),
            metrics,
        };
        if let Some(connecting) = limiter.connecting() {
            connecting.await;
        }
        Ok(limiter)
    }

    /// Makes a connection, unless somebody does already.
    fn connecting(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        if std::mem::replace(&mut self.state.lock().is_connecting, true) {
            return None;
        }
        let (client, shared) = (self.client.clone(), self.state.clone());
        Some(async move {
            let config =
                AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(CONNECT));
            let connected =
                tokio::time::timeout(CONNECT, client.get_multiplexed_async_connection_with_config(&config)).await;
            let mut state = shared.lock();
            state.is_connecting = false;
            match connected {
                Ok(Ok(connection)) => state.connection = Some(connection),
                Ok(Err(_)) | Err(_) => state.rests_until = Some(Instant::now() + REST),
            }
        })
    }

    async fn judge(&self, policy: Policy, key: &str, count: bool) -> Option<Verdict> {
        let connection = self.connection()?;
        let mut script = SCRIPT.key(name(policy, key));
        script.arg(policy.quota).arg(policy.window_ms).arg(u8::from(count));
        let (allowed, count, reset_ms): (u8, u64, u64) =
            self.ask(connection, async |mut connection| script.invoke_async(&mut connection).await).await?;
        let remaining = policy.quota.saturating_sub(count);
        Some(Verdict { policy, allowed: allowed == 1, remaining, reset_ms })
    }

    fn connection(&self) -> Option<MultiplexedConnection> {
        let connection = {
            let state = self.state.lock();
            if state.rests_until.is_some_and(|until| Instant::now() < until) {
                return None;
            }
            state.connection.clone()
        };
        if connection.is_none()
            && let Some(connecting) = self.connecting()
        {
            tokio::spawn(connecting);
        }
        connection
    }

    async fn ask<T>(
        &self,
        connection: MultiplexedConnection,
        question: impl AsyncFnOnce(MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Option<T> {
        let why = match tokio::time::timeout(ANSWER, question(connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer for {} ms", ANSWER.as_millis()),
        };
        let mut state = self.state.lock();
        state.connection = None;
        state.rests_until = Some(Instant::now() + REST);
        tracing::debug!(why, "the shared limiter did not answer");
        None
    }

    /// This process judges alone.
    fn fall_back(&self) -> &LocalLimiter {
        self.metrics.limiter_fallback.inc();
        let mut state = self.state.lock();
        if state.told.is_none_or(|told| told.elapsed() >= REST) {
            state.told = Some(Instant::now());
            tracing::warn!("the shared limiter is not there: this node counts for itself");
        }
        &self.local
    }
}

/// A hash, so that the keys in Redis do not tell who the callers are.
fn name(policy: Policy, key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    format!("souk:limit:{}:{}", policy.name, data_encoding::BASE32_NOPAD.encode(&digest[..16]))
}

#[async_trait]
impl Limiter for SharedLimiter {
    async fn take(&self, policy: Policy, key: &str) -> Verdict {
        match self.judge(policy, key, true).await {
            Some(verdict) => verdict,
            None => self.fall_back().take(policy, key).await,
        }
    }

    async fn look(&self, policy: Policy, key: &str) -> Verdict {
        match self.judge(policy, key, false).await {
            Some(verdict) => verdict,
            None => self.fall_back().look(policy, key).await,
        }
    }

    async fn forget(&self, policy: Policy, key: &str) {
        // What was counted here while Redis was away, too.
        self.local.forget(policy, key).await;
        if let Some(connection) = self.connection() {
            let name = name(policy, key);
            let forget = async |mut connection| redis::cmd("DEL").arg(name).exec_async(&mut connection).await;
            self.ask(connection, forget).await;
        }
    }
}
