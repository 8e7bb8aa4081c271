//! A request being made, and what came back. Every answer is held against the OpenAPI document.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::contract::Contract;

const POSITION: &str = "souk-position";
/// As many as a request may name.
const POSITIONS_MAX: usize = 16;
/// The lists that wait for what is named.
const WAITING: [&str; 3] = ["/v1/products", "/v1/admin/products", "/v1/admin/orders"];

/// What a client has been told of where its last changes stand. Where several nodes serve, it names them when it lists.
#[derive(Clone, Default)]
pub struct Positions(Arc<Mutex<VecDeque<String>>>);

impl Positions {
    fn learn(&self, position: &str) {
        let mut known = self.0.lock();
        known.truncate(POSITIONS_MAX - 1);
        known.push_front(position.to_owned());
    }
    fn named(&self) -> Option<String> {
        let known = self.0.lock();
        (!known.is_empty()).then(|| known.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    }
}

#[must_use]
pub struct Ask {
    request: RequestBuilder,
    method: Method,
    path: String,
    contract: Arc<Contract>,
    positions: Option<Positions>,
    names_positions: bool,
}

impl Ask {
    /// With `positions` it names and learns them, as clients of several nodes do.
    pub fn new(
        request: RequestBuilder,
        method: Method,
        path: &str,
        contract: Arc<Contract>,
        positions: Option<Positions>,
    ) -> Ask {
        let waits = WAITING.contains(&path.split('?').next().unwrap_or_default());
        let names_positions = method == Method::GET && waits && positions.is_some();
        Ask { request, method, path: path.to_owned(), contract, positions, names_positions }
    }
    fn map(self, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Ask {
        Ask { request: change(self.request), ..self }
    }

    pub fn json(self, body: Value) -> Ask {
        self.map(|request| request.json(&body))
    }
    /// A body as it is, said to be JSON.
    pub fn text(self, body: impl Into<String>) -> Ask {
        self.map(|request| request.header("content-type", "application/json").body(body.into()))
    }
    /// A body of another media type.
    pub fn typed(self, media: &str, body: &'static str) -> Ask {
        self.map(|request| request.header("content-type", media).body(body))
    }
    pub fn header(mut self, name: &str, value: &str) -> Ask {
        self.names_positions &= name != POSITION;
        self.map(|request| request.header(name, value))
    }
    pub fn key(self, key: &str) -> Ask {
        self.header("idempotency-key", key)
    }
    pub fn if_match(self, tag: &str) -> Ask {
        self.header("if-match", tag)
    }
    /// Asks with the access token of a registration or login.
    pub fn by(self, tokens: &Value) -> Ask {
        let token = tokens["access_token"].as_str().expect("a token").to_owned();
        self.map(|request| request.bearer_auth(token))
    }
    pub fn cart_token(self, token: &str) -> Ask {
        self.header("x-cart-token", token)
    }
    pub fn order_token(self, order: &Value) -> Ask {
        self.header("x-order-token", order["token"].as_str().expect("a guest's order has a token"))
    }

    pub async fn send(self) -> Told {
        let Ask { mut request, method, path, contract, positions, names_positions } = self;
        if let Some(named) = positions.as_ref().filter(|_| names_positions).and_then(Positions::named) {
            request = request.header(POSITION, named);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let told = Told { status, headers, body };
        if let Some(positions) = positions.filter(|_| !told.header(POSITION).is_empty()) {
            positions.learn(told.header(POSITION));
        }
        if let Err(why) = contract.check(&method, &path, &told) {
            panic!("{method} {path} -> {status} is not as the OpenAPI document says: {why}\n{}", told.body);
        }
        told
    }
}

/// What came back.
#[derive(Debug)]
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
    pub fn tag(&self) -> &str {
        self.header("etag")
    }
    pub fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == "true"
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Told {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    /// Asserts a problem with its code, whole and in the right media type.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> &Told {
        let body = &self.body;
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:souk:problem:{code}"));
        assert!(body["title"].is_string() && body["retryable"].is_boolean(), "{body}");
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert_eq!(body["trace_id"].as_str().map(str::len), Some(32));
        self
    }

    /// Asserts a 422 whose first fault has this code and place.
    #[track_caller]
    pub fn has_fault(&self, code: &str, pointer: &str) -> &Told {
        self.is(422);
        let fault = &self.body["errors"][0];
        assert_eq!((fault["code"].as_str(), fault["pointer"].as_str()), (Some(code), Some(pointer)), "{}", self.body);
        self
    }

    /// Asserts that it is the answer of `first` again.
    #[track_caller]
    pub fn repeats(&self, first: &Told) -> &Told {
        assert!(self.is_replayed(), "{} {}", self.status, self.body);
        assert_eq!(self.status, first.status);
        assert_eq!(without_ids(&self.body), without_ids(&first.body));
        self
    }

    /// The texts of a member over all items of a list.
    pub fn column(&self, member: &str) -> Vec<String> {
        let items = self.body["data"].as_array().expect("a list").iter();
        items.map(|item| item[member].as_str().map_or_else(|| item[member].to_string(), str::to_owned)).collect()
    }
}

/// A problem names the request it answers; a repeat may be another request.
fn without_ids(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("request_id");
        members.remove("trace_id");
    }
    body
}
