//! What the tests of the API stand on: the real binary, a client that holds every answer against the OpenAPI
//! document, and the goods and people that most tests need.

mod ask;
mod contract;
mod fixtures;
mod server;

use ask::Positions;
pub use ask::{Ask, Told};
pub use fixtures::{ADDRESS, GuestCart, gbp, unique};
pub use server::Server;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::ANSWER_WITHIN;
use crate::{nodes, process, stores};

/// More than any node lags behind another one, on a slow machine.
const NEWS_WITHIN: Duration = Duration::from_secs(60);

/// Less than a server keeps a connection that idles (`http.header_timeout_ms`).
const IDLE_MAX: Duration = Duration::from_secs(10);

/// A running server as one test sees it: one node, or as many as `SOUK_TEST_NODES` says, which are asked in turn. Tests
/// with the same settings share a server, so a test makes goods and people of its own.
pub struct Shop {
    pub server: Arc<Server>,
    client: reqwest::Client,
    /// Whether the first node is asked everything, however many there are.
    asks_one: bool,
    positions: Option<Positions>,
}

/// A metric in what a node tells of itself.
pub fn count_in(metrics: &str, metric: &str) -> Option<u64> {
    let count = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '))?;
    Some(count.parse().expect("a count"))
}

impl Shop {
    /// The server with every setting at its default.
    pub async fn open() -> Shop {
        Shop::with(&[]).await
    }

    /// A server with these settings (environment variables).
    pub async fn with(settings: &[(&str, &str)]) -> Shop {
        Shop::of(Server::shared(nodes::chosen(), settings)).await
    }

    /// A server that no other test has.
    pub async fn alone(settings: &[(&str, &str)]) -> Shop {
        Shop::of(Arc::new(Server::start(nodes::chosen(), settings))).await
    }

    /// A node that no other test has and that no other joins, whatever the other tests have: for what only such a node says.
    pub async fn of_one_node() -> Shop {
        Shop::of(Arc::new(Server::start(1, &[]))).await
    }

    /// A server that no other test has, whose first node is asked everything: for what one process has in memory or counts.
    pub async fn at_one_node(settings: &[(&str, &str)]) -> Shop {
        Shop { asks_one: true, ..Shop::alone(settings).await }
    }

    async fn of(server: Arc<Server>) -> Shop {
        // A client belongs to the runtime of its test. It does not use a connection that the server is about to give up.
        let client = reqwest::Client::builder().gzip(false).timeout(ANSWER_WITHIN).pool_idle_timeout(IDLE_MAX);
        let client = client.build().expect("a client");
        let positions = server.is_a_cluster().then(Positions::default);
        let shop = Shop { server, client, asks_one: false, positions };
        shop.server.learn_contract(&shop.client).await;
        shop
    }

    /// Kills the server as a power cut would (of several nodes one), and starts it again on the same data.
    pub async fn crash(self) -> Shop {
        let server = Arc::into_inner(self.server).expect("a server of this test alone");
        Shop::of(Arc::new(server.crash())).await
    }

    /// What is said in the end: at once where one node is asked, and where several are, once the news has reached them all.
    #[track_caller]
    pub fn soon<T: PartialEq + Debug>(&self, ask: impl AsyncFn() -> T, expected: T) -> impl Future<Output = ()> {
        let (until, place) = (Instant::now() + NEWS_WITHIN, std::panic::Location::caller());
        async move {
            let mut said = ask().await;
            while self.server.is_a_cluster() && said != expected && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
                said = ask().await;
            }
            assert_eq!(said, expected, "at {place}");
        }
    }

    /// A metric without labels, or with these, of all nodes together. Nothing was counted under labels that are not there.
    pub async fn sum_of(&self, metric: &str) -> u64 {
        let mut sum = 0;
        for url in self.server.urls() {
            let metrics = self.client.get(format!("{url}/metrics")).send().await.expect("an answer");
            let text = metrics.text().await.expect("a body");
            sum +=
                count_in(&text, metric).unwrap_or_else(|| if metric.contains('{') { 0 } else { panic!("no {metric}") });
        }
        sum
    }

    /// Whether a node of several has counted a caller for itself, because the one that should did not answer in time.
    pub async fn has_counted_apart(&self) -> bool {
        self.server.is_a_cluster() && self.sum_of("souk_limiter_fallback").await > 0
    }

    /// A refusal by the limits. Where several nodes share them it may be missing because one has counted for itself.
    pub async fn limits(&self, told: &Told, code: &str) {
        if told.status != 429 && self.has_counted_apart().await {
            told.is(200);
        } else {
            told.is_problem(429, code);
        }
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask {
        let node = if self.asks_one { self.server.url_of_the_first() } else { self.server.url() };
        let request = self.client.request(method.clone(), format!("{node}{path}"));
        Ask::new(request, method, path, self.server.contract(), self.positions.clone())
    }
    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }
    pub fn delete(&self, path: &str) -> Ask {
        self.ask(Method::DELETE, path)
    }
    pub fn post(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::POST, path).json(body)
    }
    pub fn put(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::PUT, path).json(body)
    }
    pub fn patch(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::PATCH, path).json(body)
    }
}
