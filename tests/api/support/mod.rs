//! What the tests of the API stand on: the real binary, a client that holds every answer against the OpenAPI
//! document, and the goods and people that most tests need.

mod ask;
mod contract;
mod fixtures;
mod server;

pub use ask::{Ask, Told};
pub use fixtures::{ADDRESS, GuestCart, gbp, unique};
pub use server::Server;

use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;

use crate::client::ANSWER_WITHIN;
use crate::{process, stores};

/// A running server as one test sees it. Tests with the same settings share a server, so a test makes goods
/// and people of its own.
pub struct Shop {
    pub server: Arc<Server>,
    client: reqwest::Client,
}

impl Shop {
    /// The server with every setting at its default.
    pub async fn open() -> Shop {
        Shop::with(&[]).await
    }

    /// A server with these settings (environment variables).
    pub async fn with(settings: &[(&str, &str)]) -> Shop {
        Shop::of(Server::shared(settings)).await
    }

    /// A server that no other test has.
    pub async fn alone(settings: &[(&str, &str)]) -> Shop {
        Shop::of(Arc::new(Server::start(settings))).await
    }

    async fn of(server: Arc<Server>) -> Shop {
        // A client belongs to the runtime of its test.
        let client = reqwest::Client::builder().gzip(false).timeout(ANSWER_WITHIN).build().expect("a client");
        let shop = Shop { server, client };
        shop.server.learn_contract(&shop.client).await;
        shop
    }

    /// Kills the server as a power cut would, and starts it again on the same data.
    pub async fn crash(self) -> Shop {
        let server = Arc::into_inner(self.server).expect("a server of this test alone");
        Shop::of(Arc::new(server.crash())).await
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask {
        let request = self.client.request(method.clone(), format!("{}{path}", self.server.url()));
        Ask::new(request, method, path, self.server.contract())
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
