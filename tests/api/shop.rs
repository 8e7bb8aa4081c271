//! A shop to test: the runtime over a journal in memory, and the real edge on a free port.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use souk::actors::gateways::payment::MockPayments;
use souk::actors::kinds;
use souk::actors::payment::types::GATEWAY;
use souk::actors::projections::Projections;
use souk::actors::runtime::{Runtime, RuntimeConfig};
use souk::cluster::{NodeId, SoleOwner};
use souk::http::{ClusterNode, ClusterSlot, ClusterView, Edge, EdgeConfig, Given, Health, serve};
use souk::metrics::Metrics;
use souk::persistence::memory::Memory;
use tokio_util::sync::CancellationToken;

/// How long an order waits for the payment provider in these tests.
pub const PAYMENT_TIMEOUT_MS: u64 = 1_000;

pub struct Shop {
    pub address: SocketAddr,
    pub runtime: Runtime,
    pub stop: CancellationToken,
    pub served: tokio::task::JoinHandle<()>,
    client: reqwest::Client,
}

struct OneNode;

impl ClusterView for OneNode {
    fn nodes(&self) -> Vec<ClusterNode> {
        let node = |id: &str| ClusterNode {
            id: id.into(),
            name: id.into(),
            address: None,
            state: "serving".into(),
            this: true,
            slots_owned: 1,
        };
        vec![node("one")]
    }
    fn slots(&self) -> Vec<ClusterSlot> {
        vec![ClusterSlot { slot: 0, owner: Some("one".into()), epoch: 1 }]
    }
}

impl Shop {
    pub async fn open() -> Shop {
        Shop::with(EdgeConfig::default()).await
    }

    pub async fn with(config: EdgeConfig) -> Shop {
        let journal = Arc::new(Memory::new(16));
        let metrics = Arc::new(Metrics::new());
        let mut setup = RuntimeConfig::new(NodeId::incarnate("one"), kinds::all());
        setup.policy.payment_timeout_ms = PAYMENT_TIMEOUT_MS;
        let runtime =
            Runtime::start(setup, journal.clone(), Arc::new(SoleOwner), metrics.clone()).await.expect("it starts");
        let payments = MockPayments::new(runtime.client.clone());
        runtime.dispatcher.add_gateway(GATEWAY, Arc::new(payments));
        let projections =
            Projections::start(runtime.client.clone(), journal, metrics.clone()).await.expect("they start");
        runtime.dispatcher.add_follower(projections.follower());
        projections.completed().await;
        let health = Arc::new(Health::default());
        health.started();
        let (client, cluster) = (runtime.client.clone(), Arc::new(OneNode));
        let given = Given { client, projections, config, metrics, health, cluster };
        let edge = Edge::start(given).await.expect("the edge starts");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, edge, stop.clone()));
        let client = reqwest::Client::builder().gzip(false).build().expect("a client");
        Shop { address, runtime, stop, served, client }
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask {
        Ask(self.client.request(method, format!("http://{}{path}", self.address)))
    }
    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }
    pub fn post(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::POST, path).json(body)
    }

    /// Registers; the answer's body.
    pub async fn register(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": "correct horse battery"});
        let told = self.post("/v1/auth/register", body).send().await;
        assert_eq!(told.status, 201, "{}", told.body);
        told.body
    }
}

/// A request being made.
pub struct Ask(reqwest::RequestBuilder);

impl Ask {
    pub fn json(self, body: Value) -> Ask {
        Ask(self.0.json(&body))
    }
    pub fn text(self, body: &'static str) -> Ask {
        Ask(self.0.header("content-type", "application/json").body(body))
    }
    pub fn header(self, name: &str, value: &str) -> Ask {
        Ask(self.0.header(name, value))
    }
    pub fn key(self, key: &str) -> Ask {
        self.header("idempotency-key", key)
    }
    /// Asks with the access token of a registration or login.
    pub fn by(self, tokens: &Value) -> Ask {
        Ask(self.0.bearer_auth(tokens["access_token"].as_str().expect("a token")))
    }
    pub async fn send(self) -> Told {
        let response = self.0.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Told { status, headers, body }
    }
}

/// What came back.
pub struct Told {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// JSON, or a string of what is none.
    pub body: Value,
}

impl Told {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Asserts a problem with its code, whole and in the right media type.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> &Told {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:souk:problem:{code}"));
        assert_eq!(self.body["request_id"], self.header("x-request-id"));
        assert_eq!(self.body["trace_id"].as_str().map(str::len), Some(32));
        self
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Told {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }
}
