//! The HTTP edge in the test's own process, over a runtime that the test has made: for stores and providers that the
//! real binary does not have.

use std::sync::Arc;

use souk::actors::projections::Projections;
use souk::actors::runtime::client::Client;
use souk::config::Config;
use souk::http::answer::codes::Code;
use souk::http::operations::cluster::shapes::{
    Acted, Cluster, ClusterEvent, ClusterJob, ClusterNode, ClusterPlan, ClusterSlot,
};
use souk::http::operations::cluster::{Action, Asked, SlotPage, SlotsAsked};
use souk::http::{ClusterView, Edge, Given, Health, Result};
use souk::metrics::Metrics;
use tokio_util::sync::CancellationToken;

/// What an edge shows of a cluster that nobody asks about.
struct NoCluster;

#[async_trait::async_trait]
impl ClusterView for NoCluster {
    async fn cluster(&self) -> Result<Cluster> {
        Err(Code::Unavailable.into())
    }
    async fn slots(&self, _: SlotsAsked) -> Result<SlotPage> {
        Err(Code::Unavailable.into())
    }
    async fn slot(&self, _: u64) -> Result<ClusterSlot> {
        Err(Code::Unavailable.into())
    }
    async fn node(&self, _: &str) -> Result<ClusterNode> {
        Err(Code::Unavailable.into())
    }
    async fn plan(&self) -> Result<ClusterPlan> {
        Err(Code::Unavailable.into())
    }
    async fn job(&self, _: &str) -> Result<ClusterJob> {
        Err(Code::Unavailable.into())
    }
    async fn act(&self, _: Action, _: Asked) -> Result<Acted> {
        Err(Code::Unavailable.into())
    }
    fn incarnation(&self) -> String {
        String::new()
    }
    fn events_after(&self, _: u64, _: usize) -> Vec<ClusterEvent> {
        Vec::new()
    }
    async fn news_after(&self, _: u64) {
        std::future::pending().await
    }
}

/// Starts one; its address beside it.
pub async fn serve(client: Client, projections: Arc<Projections>, metrics: Arc<Metrics>) -> (Edge, String) {
    let health = Arc::new(Health::default());
    let given = Given {
        limiter: souk::http::limits::chosen("", &client, &metrics).await.expect("a limiter"),
        cluster: Arc::new(NoCluster),
        health: health.clone(),
        config: Config::default(),
        client,
        projections,
        metrics,
    };
    let edge = Edge::start(given).await.expect("the edge starts");
    health.started();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(souk::http::serve(listener, edge.clone(), CancellationToken::new()));
    (edge, url)
}
