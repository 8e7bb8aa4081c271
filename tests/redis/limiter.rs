//! The limiter that nodes share: one count for all, and never a reason to fail.

use std::sync::Arc;
use std::time::Duration;

use souk::http::limits::shared::SharedLimiter;
use souk::http::limits::{Limiter, Policy};
use souk::metrics::Metrics;
use tokio::time::Instant;

use super::name;
use super::server::{self, Server};

fn three() -> Policy {
    Policy { name: "three", quota: 3, window_ms: 60_000 }
}

async fn limiter(server: &Server) -> (SharedLimiter, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let limiter = SharedLimiter::new(&format!("redis://127.0.0.1:{}/1", server.port), metrics.clone()).await;
    (limiter.expect("an address"), metrics)
}

/// On a slow machine Redis may be asked in vain; what is shared is asked only where it has answered.
async fn remaining(limiter: &(SharedLimiter, Arc<Metrics>), key: &str) -> Option<u64> {
    let before = limiter.1.limiter_fallback.get();
    let verdict = limiter.0.look(three(), key).await;
    tokio::task::yield_now().await; // the connection is made anew by another task
    (limiter.1.limiter_fallback.get() == before).then_some(verdict.remaining)
}

#[tokio::test]
async fn nodes_count_together() {
    let server = Server::start(&[]);
    let (one, two) = (limiter(&server).await, limiter(&server).await);
    let key = name();
    let mut taken = 0;
    while remaining(&two, &key).await != Some(0) {
        let before = one.1.limiter_fallback.get();
        let verdict = one.0.take(three(), &key).await;
        if one.1.limiter_fallback.get() == before {
            taken += 1;
            assert_eq!((verdict.allowed, verdict.remaining), (true, 3 - taken));
            assert!((1..=60_000).contains(&verdict.reset_ms), "{verdict:?}");
        }
    }
    assert_eq!(taken, 3);
    let refused = two.0.take(three(), &key).await;
    assert!(!refused.allowed || two.1.limiter_fallback.get() > 0, "{refused:?}");
    assert!(two.0.take(three(), &format!("{key}, another caller")).await.allowed);
    while remaining(&one, &key).await != Some(3) {
        two.0.forget(three(), &key).await;
    }
}

#[tokio::test]
async fn a_window_ends() {
    let server = server::shared();
    let (limiter, _) = limiter(&server).await;
    let policy = Policy { quota: 1, window_ms: 200, ..three() };
    let key = name();
    assert!(limiter.take(policy, &key).await.allowed);
    while !limiter.look(policy, &key).await.allowed {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn while_redis_does_not_answer_each_node_counts_for_itself() {
    let server = Server::start(&[]);
    let (limiter, metrics) = limiter(&server).await;
    let key = name();
    limiter.take(three(), &key).await;
    server.signal("STOP");
    let stopped = Instant::now();
    let mut allowed = 0;
    for _ in 0..200 {
        allowed += u64::from(limiter.take(three(), &key).await.allowed);
    }
    assert!(stopped.elapsed() < Duration::from_secs(5), "200 judgements take {:?}", stopped.elapsed());
    assert!((3..=6).contains(&allowed), "its own three: {allowed}");
    assert!(metrics.limiter_fallback.get() >= 200);
    server.signal("CONT");
    loop {
        let before = metrics.limiter_fallback.get();
        limiter.look(three(), &key).await;
        if metrics.limiter_fallback.get() == before {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_no_reason_to_fail() {
    let server = Server::start(&[]);
    server.kill();
    let (limiter, metrics) = limiter(&server).await;
    for left in [2, 1, 0] {
        assert_eq!(limiter.take(three(), "a").await.remaining, left);
    }
    assert!(!limiter.take(three(), "a").await.allowed);
    assert_eq!(metrics.limiter_fallback.get(), 4);
    server.go_on();
    loop {
        let before = metrics.limiter_fallback.get();
        limiter.look(three(), "a").await;
        if metrics.limiter_fallback.get() == before {
            break;
        }
        tokio::task::yield_now().await;
    }
}
