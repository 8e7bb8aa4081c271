//! A client of souk's own API, for the commands that talk to a server.
//!
//! A call is repeated after what a repeat may cure (a lost connection, 429, 5xx, a request still in progress),
//! with the same body and the same idempotency key, so that it takes effect once; it honours `Retry-After`
//! and gives up after a time. Every call here is safe to repeat: it reads, it replaces, or it has a key.
//! An access token that has run out is renewed and the call sent again ([`Bearer`]).

mod streaming;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::meter::{Meter, Op};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CART_TOKEN: HeaderName = HeaderName::from_static("x-cart-token");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const ORDER_TOKEN: HeaderName = HeaderName::from_static("x-order-token");

/// One attempt: longer than the 10 s after which a completion is answered 202.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A server error may be a defect that no repeat cures: it is tried only so often.
const SERVER_ERRORS_MAX: u32 = 5;

/// Somebody with an access token, who gets a new one when it has run out.
#[async_trait]
pub trait Bearer: Send + Sync {
    /// The `Authorization` header of a token that is good for a while yet.
    async fn bearer(&self, api: &Api) -> Result<Arc<str>, ApiError>;

    /// The server does not take this header any more: the next call renews it.
    async fn outdated(&self, bearer: &str);
}

/// In whose name a call is made.
#[derive(Clone, Copy)]
pub enum As<'a> {
    Nobody,
    Cart(&'a str),
    Order(&'a str),
    User(&'a dyn Bearer),
}

/// What to do with the body of a success.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    Keep,
    /// Read off the connection and forgotten.
    Discard,
}

pub struct Call<'a> {
    op: Op,
    method: Method,
    path: String,
    caller: As<'a>,
    key: Option<&'a str>,
    if_match: Option<u64>,
    json: Option<Vec<u8>>,
    minimal: bool,
    body: Body,
}

impl<'a> Call<'a> {
    pub fn new(op: Op, method: Method, path: impl Into<String>) -> Call<'a> {
        let (caller, key, if_match, json) = (As::Nobody, None, None, None);
        Call { op, method, path: path.into(), caller, key, if_match, json, minimal: false, body: Body::Keep }
    }
    pub fn get(op: Op, path: impl Into<String>) -> Call<'a> {
        Call::new(op, Method::GET, path)
    }
    pub fn by(mut self, caller: As<'a>) -> Self {
        self.caller = caller;
        self
    }
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }
    pub fn if_match(mut self, version: u64) -> Self {
        self.if_match = Some(version);
        self
    }
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.json = Some(body.to_string().into_bytes());
        self
    }
    /// A body that is JSON already.
    pub fn raw_json(mut self, body: String) -> Self {
        self.json = Some(body.into_bytes());
        self
    }
    /// With `true` asks for a short answer.
    pub fn minimal(mut self, minimal: bool) -> Self {
        self.minimal = minimal;
        self
    }
    pub fn discard(mut self) -> Self {
        self.body = Body::Discard;
        self
    }
}

/// An answer that was a success.
pub struct Response {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl Response {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| ApiError::Unintelligible(error.to_string()))
    }
}

/// A problem document, as far as this program looks into it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub status: u16,
    pub code: String,
    pub detail: String,
    pub retryable: bool,
    pub order_id: Option<String>,
    pub errors: Vec<ProblemError>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProblemError {
    pub code: String,
    pub pointer: Option<String>,
    pub sku: Option<String>,
    pub available: Option<u64>,
    pub requested: Option<u64>,
    pub detail: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.code)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for error in self.errors.iter().take(3) {
            let pointer = error.pointer.as_deref().unwrap_or("");
            write!(f, " [{} {pointer} {}]", error.code, error.detail.as_deref().unwrap_or(""))?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server has decided: a repeat would get the same.
    #[error("the server refused: {0}")]
    Refused(Box<Problem>),
    /// No final answer came within the time in which this client tries.
    #[error("the server did not answer {what} within {seconds} s; last: {last}")]
    GaveUp { what: String, seconds: u64, last: String },
    /// A success whose body this client cannot read.
    #[error("the server's answer is not as documented: {0}")]
    Unintelligible(String),
}

impl ApiError {
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            ApiError::Refused(problem) => Some(problem),
            ApiError::GaveUp { .. } | ApiError::Unintelligible(_) => None,
        }
    }
    pub fn has_code(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }
}

/// A connection pool to one server. Shared by reference.
pub struct Api {
    http: reqwest::Client,
    base: String,
    give_up_after: Duration,
    pub meter: Meter,
}

/// Stands for the code of a problem.
const NO_ANSWER: &str = "no answer";

/// How one attempt ended.
enum Attempt {
    Final(Response),
    Refused(StatusCode, Box<Problem>, Option<Duration>),
    Lost(String),
}

impl Api {
    /// `base`: such as `http://127.0.0.1:8080`. `connections`: how many calls are under way at once.
    pub fn new(base: &str, connections: usize, give_up_after: Duration) -> anyhow::Result<Api> {
        let url = url::Url::parse(base).with_context(|| format!("--url {base:?} is no URL"))?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "--url {base:?} must start with http:// or https://");
        let http = reqwest::Client::builder()
            .user_agent(concat!("souk/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            // compressing the answers would cost the server more than it saves on a local connection
            .no_gzip()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(connections)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ATTEMPT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client cannot be set up")?;
        Ok(Api { http, base: base.trim_end_matches('/').to_owned(), give_up_after, meter: Meter::default() })
    }

    /// Makes the call until it is decided.
    pub async fn send(&self, call: Call<'_>) -> Result<Response, ApiError> {
        let started = Instant::now();
        let mut backoff = BACKOFF_FIRST;
        let mut server_errors = 0;
        let mut renewed = false;
        loop {
            let bearer = match call.caller {
                As::User(session) => Some(session.bearer(self).await?),
                As::Nobody | As::Cart(_) | As::Order(_) => None,
            };
            let (wait, code, last) = match self.attempt(&call, bearer.as_deref()).await {
                Attempt::Final(response) => {
                    self.meter.answered(call.op, started.elapsed());
                    return Ok(response);
                }
                Attempt::Refused(StatusCode::UNAUTHORIZED, problem, _) => match (call.caller, bearer) {
                    (As::User(session), Some(bearer)) if !renewed => {
                        renewed = true;
                        session.outdated(&bearer).await;
                        continue;
                    }
                    _ => return Err(ApiError::Refused(problem)),
                },
                Attempt::Refused(status, problem, retry_after) => {
                    server_errors += u32::from(status == StatusCode::INTERNAL_SERVER_ERROR);
                    if !may_pass(status, &problem) || server_errors > SERVER_ERRORS_MAX {
                        self.meter.answered(call.op, started.elapsed());
                        return Err(ApiError::Refused(problem));
                    }
                    let wait = retry_after.unwrap_or(Duration::ZERO).max(jittered(backoff));
                    (wait, problem.code.clone(), problem.to_string())
                }
                Attempt::Lost(why) => (jittered(backoff), NO_ANSWER.to_owned(), why),
            };
            self.meter.repeated(&code);
            if started.elapsed() + wait > self.give_up_after {
                let what = format!("{} {}", call.method, call.path);
                return Err(ApiError::GaveUp { what, seconds: self.give_up_after.as_secs(), last });
            }
            tokio::time::sleep(wait).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Makes the call and reads the body of its success.
    pub async fn read<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, ApiError> {
        self.send(call).await?.read()
    }

    async fn attempt(&self, call: &Call<'_>, bearer: Option<&str>) -> Attempt {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.base, call.path));
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        match call.caller {
            As::Cart(token) => request = request.header(CART_TOKEN, token),
            As::Order(token) => request = request.header(ORDER_TOKEN, token),
            As::Nobody | As::User(_) => {}
        }
        if let Some(key) = call.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(version) = call.if_match {
            request = request.header(IF_MATCH, format!("\"v{version}\""));
        }
        if call.minimal {
            request = request.header(PREFER, HeaderValue::from_static("return=minimal"));
        }
        if let Some(json) = &call.json {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(json.clone());
        }
        match request.send().await {
            Ok(response) => read_answer(response, call.body).await,
            Err(error) => Attempt::Lost(describe(&error)),
        }
    }
}

async fn read_answer(mut response: reqwest::Response, body: Body) -> Attempt {
    let status = response.status();
    if status.is_success() && body == Body::Discard {
        loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return Attempt::Final(Response { status, body: Vec::new() }),
                Err(error) => return Attempt::Lost(describe(&error)),
            }
        }
    }
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    match response.bytes().await {
        Ok(body) if status.is_success() => Attempt::Final(Response { status, body: body.into() }),
        Ok(body) => {
            let mut problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
            problem.status = status.as_u16();
            Attempt::Refused(status, Box::new(problem), retry_after.map(Duration::from_secs))
        }
        Err(error) => Attempt::Lost(describe(&error)),
    }
}

/// Whether a repeat may succeed.
fn may_pass(status: StatusCode, problem: &Problem) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => true,
        status => status.is_server_error() || problem.retryable,
    }
}

/// Between half of `wait` and the whole: so that many clients do not come back together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

/// The error with its causes: reqwest's own text leaves them out.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    #[serde(default = "PageInfo::last")]
    page: PageInfo,
}

#[derive(Deserialize)]
struct PageInfo {
    next_cursor: Option<String>,
    #[serde(default)]
    has_more: bool,
}

impl PageInfo {
    fn last() -> PageInfo {
        PageInfo { next_cursor: None, has_more: false }
    }
}

impl Api {
    /// Calls `each` with every member of the list at `path` (with its query, if any), page by page.
    pub async fn list<T: DeserializeOwned>(
        &self,
        op: Op,
        path: &str,
        caller: As<'_>,
        mut each: impl FnMut(T),
    ) -> Result<(), ApiError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut cursor: Option<String> = None;
        loop {
            let cursor_query =
                cursor.as_deref().map(|cursor| format!("&cursor={}", encoded(cursor))).unwrap_or_default();
            let call = Call::get(op, format!("{path}{separator}limit=100{cursor_query}")).by(caller);
            let page: Page<T> = self.read(call).await?;
            page.data.into_iter().for_each(&mut each);
            match page.page.next_cursor {
                Some(next) if page.page.has_more => cursor = Some(next),
                _ => return Ok(()),
            }
        }
    }
}

/// `text` as one segment of a path or one value of a query.
pub fn encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEPT).to_string()
}
