//! The HTTP edge in the test's own process, over a runtime that the test has made: for stores and providers that the
//! real binary does not have.

use std::sync::Arc;

use souk::actors::projections::Projections;
use souk::actors::runtime::client::Client;
use souk::config::Config;
use souk::http::{ClusterNode, ClusterSlot, ClusterView, Edge, Given, Health};
use souk::metrics::Metrics;
use tokio_util::sync::CancellationToken;

/// What an edge shows of a cluster that nobody asks about.
struct NoCluster;

impl ClusterView for NoCluster {
    fn nodes(&self) -> Vec<ClusterNode> {
        Vec::new()
    }
    fn slots(&self) -> Vec<ClusterSlot> {
        Vec::new()
    }
}

/// Starts one; its address beside it.
pub async fn serve(client: Client, projections: Arc<Projections>, metrics: Arc<Metrics>) -> (Edge, String) {
    let health = Arc::new(Health::default());
    let given = Given {
        limiter: souk::http::limits::chosen("", &metrics).await.expect("a limiter"),
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
