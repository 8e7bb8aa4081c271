//! The store in Redis, on real servers: the conformance suite, several processes, servers in trouble, a Redis
//! Cluster, the limiter, and souk itself.

mod cluster;
mod hardship;
mod layout;
mod limiter;
mod node;
mod opening;
mod tls;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use souk::config::Config;
use souk::persistence::Store;
use souk::persistence::conformance::{self, Rig, SLOTS};
use souk::persistence::redis::{RedisOptions, RedisSettings, RedisStore};

use crate::stores::redis as server;
use crate::{authority, ledger, process, proxy, shop, small_disk};
use server::Server;

/// A name for the keys of one test's store.
pub fn name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub async fn open(url: &str) -> Arc<dyn Store> {
    open_with(options(url)).await
}

/// A store of the suite's size at this address, as it is shipped.
pub fn options(url: &str) -> RedisOptions {
    RedisOptions { url: url.to_owned(), slots: Some(SLOTS), settings: Config::default().store.redis }
}

/// The same, but for what the change makes of its settings.
pub fn changed(url: &str, change: impl FnOnce(&mut RedisSettings)) -> RedisOptions {
    let mut options = options(url);
    change(&mut options.settings);
    options
}

pub async fn open_with(options: RedisOptions) -> Arc<dyn Store> {
    Arc::new(RedisStore::open(options).await.expect("the store opens"))
}

struct RedisRig {
    server: Arc<Server>,
    prefix: String,
}

impl RedisRig {
    fn new() -> RedisRig {
        RedisRig { server: server::shared(), prefix: name() }
    }
}

#[async_trait]
impl Rig for RedisRig {
    async fn open(&self) -> Arc<dyn Store> {
        open(&self.server.url(&self.prefix)).await
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        Some(self.open().await)
    }
}

souk::journal_conformance!(suite, RedisRig::new);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the processes that the other test starts"]
async fn contender() {
    if let Some(part) = conformance::Part::from_environment() {
        part.play(open(&part.store).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_contend() {
    let server = server::shared();
    let url = server.url(&name());
    conformance::several_processes(open(&url).await, "redis::contender", &url).await;
}
