//! The store in PostgreSQL, on real servers that these tests make: the conformance suite, and trouble.

mod hardship;
mod members;
mod migrating;
mod missing;
mod moving;
mod neighbours;
mod opening;
mod several;
mod standby;
mod tls;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use souk::config::Config;
use souk::persistence::conformance::{self, Rig, SLOTS};
use souk::persistence::postgres::{PostgresOptions, PostgresSettings, PostgresStore};
use souk::persistence::{Slot, Store, StoreError};

use crate::stores::postgres;
use crate::{authority, clock, process, proxy, shop, shoppers, small_disk};

/// Enough for one test, and little enough for all of them at once.
fn settings() -> PostgresSettings {
    PostgresSettings { readers_max: 2, ..Config::default().store.postgres }
}

/// Gives up soon.
fn impatient() -> PostgresSettings {
    PostgresSettings { connect_ms: 1_000, wait_ms: 1_000, lock_ms: 500, write_ms: 800, read_ms: 1_000, ..settings() }
}

async fn open_with(url: &str, settings: PostgresSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(PostgresStore::open(options(url, Some(SLOTS), settings)).await?))
}

fn options(url: &str, slots: Option<Slot>, settings: PostgresSettings) -> PostgresOptions {
    PostgresOptions { url: url.to_owned(), slots, settings }
}

async fn open(url: &str) -> Arc<dyn Store> {
    open_with(url, settings()).await.expect("the store opens")
}

/// A name that no other database has.
fn name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("souk{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A database of its own on the shared server.
struct PostgresRig(tokio::sync::OnceCell<String>);

impl PostgresRig {
    fn new() -> PostgresRig {
        PostgresRig(tokio::sync::OnceCell::new())
    }
    async fn url(&self) -> &str {
        self.0.get_or_init(async || postgres::shared().database(&name()).await).await
    }
}

#[async_trait]
impl Rig for PostgresRig {
    async fn open(&self) -> Arc<dyn Store> {
        open(self.url().await).await
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        Some(self.open().await)
    }
}

souk::journal_conformance!(conforms, PostgresRig::new);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the processes that the other test starts"]
async fn contender() {
    if let Some(part) = conformance::Part::from_environment() {
        part.play(open(&part.store).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_contend() {
    let url = postgres::shared().database(&name()).await;
    conformance::several_processes(open(&url).await, "postgres::contender", &url).await;
}
