//! Clients, and what they know: a request that is not decided is sent again under the same key, to another node where its own is
//! not ready. Whatever they are told is noted.

pub mod after_sales;
pub mod buyers;
pub mod carts;
pub mod probes;
pub mod staff;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::Value;
use tokio::sync::Notify;

use super::balancer::Balancer;
use super::history::{Clock, Histories, Span};
use super::measure::{Attempt, Outcome, Request};
use super::models::{Cart, Order, Stock};

/// How long a request may stay without an answer, on a node that stands still.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// How long a client asks for the same thing before it gives up.
const PATIENCE: Duration = Duration::from_secs(150);
/// A client that does not wait for a node which is not ready waits so long at least.
const WAITS_AT_LEAST: Duration = Duration::from_millis(500);
/// Between one try and the next.
const PAUSE_MS: std::ops::Range<u64> = 20..80;
/// Between what a client does and what it does next.
const REST_MS: std::ops::Range<u64> = 5..60;

/// What is wrong is wrong again and again: so much of it is kept.
const WRONG_MAX: usize = 50;

/// What all clients share.
pub struct Shop {
    pub clock: Clock,
    pub balancer: Balancer,
    pub http: reqwest::Client,
    /// The administrator's access token.
    pub admin: String,
    pub carts: Histories<Cart>,
    pub stock: Histories<Stock>,
    pub orders: Histories<Order>,
    /// Carts that were opened to be shared.
    pub opened: Mutex<Vec<carts::Shared>>,
    /// Orders that were acknowledged.
    pub bought: Mutex<Vec<buyers::Bought>>,
    pub attempts: Mutex<Vec<Attempt>>,
    pub requests: Mutex<Vec<Request>>,
    /// What must not be, in words.
    wrong: Mutex<Vec<String>>,
    decided: AtomicUsize,
    is_over: AtomicBool,
    news: Notify,
}

/// How a request proves who asks.
#[derive(Debug, Clone)]
pub enum Pass {
    Nobody,
    Bearer(String),
    Cart(String),
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub pass: Pass,
    pub key: Option<String>,
    pub body: Option<Value>,
}

impl Asked {
    pub fn get(path: impl Into<String>, pass: &Pass) -> Asked {
        Asked { method: Method::GET, path: path.into(), pass: pass.clone(), key: None, body: None }
    }

    pub fn of(method: Method, path: impl Into<String>, pass: &Pass, key: String, body: Value) -> Asked {
        Asked { method, path: path.into(), pass: pass.clone(), key: Some(key), body: Some(body) }
    }
}

/// What a request came to.
#[derive(Debug)]
pub struct Told {
    pub span: Span,
    /// Status and body. None: it was given up, and what became of it is not known.
    pub answer: Option<(u16, Value)>,
    /// Whether some try of it may have done something.
    pub may_be_done: bool,
}

impl Told {
    /// The body, where it was answered so.
    pub fn body(&self, status: u16) -> Option<&Value> {
        self.answer.as_ref().filter(|(told, _)| *told == status).map(|(_, body)| body)
    }

    /// The code of the problem, where it was refused.
    pub fn code(&self) -> Option<&str> {
        self.answer.as_ref().and_then(|(_, body)| body["code"].as_str())
    }
}

/// One client.
pub struct Client {
    pub number: usize,
    /// The node that it asks while that is ready.
    pub home: usize,
    pub random: StdRng,
    /// It waits for an answer also while the node is not ready.
    is_patient: bool,
    keys: usize,
    seed: u64,
}

impl Client {
    pub fn new(number: usize, seed: u64) -> Client {
        let random = StdRng::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Client {
            number,
            home: number % super::cluster::NODES,
            random,
            is_patient: number.is_multiple_of(2),
            keys: 0,
            seed,
        }
    }

    /// A key that nobody else has.
    pub fn key(&mut self) -> String {
        self.keys += 1;
        format!("chaos-{:016x}-{:04}-{:08}", self.seed, self.number, self.keys)
    }

    /// A moment between what it does and what it does next, and then at another node perhaps.
    pub async fn rest(&mut self) {
        if self.random.gen_ratio(1, 20) {
            self.home = self.random.gen_range(0..super::cluster::NODES);
        }
        tokio::time::sleep(Duration::from_millis(self.random.gen_range(REST_MS))).await;
    }
}

impl Shop {
    pub fn new(balancer: Balancer, http: reqwest::Client, admin: String, clock: Clock) -> Arc<Shop> {
        Arc::new(Shop {
            clock,
            balancer,
            http,
            admin,
            carts: Histories::default(),
            stock: Histories::default(),
            orders: Histories::default(),
            opened: Mutex::default(),
            bought: Mutex::default(),
            attempts: Mutex::default(),
            requests: Mutex::default(),
            wrong: Mutex::default(),
            decided: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            news: Notify::new(),
        })
    }

    pub fn staff(&self) -> Pass {
        Pass::Bearer(self.admin.clone())
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Clients end what they are at, and begin nothing.
    pub fn close(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.news.notify_waiters();
    }

    pub fn is_wrong(&self, what: String) {
        let mut wrong = self.wrong.lock();
        if wrong.len() < WRONG_MAX {
            wrong.push(what);
        }
    }

    pub fn wrongs(&self) -> Vec<String> {
        self.wrong.lock().clone()
    }

    /// Waits until so many more requests are decided.
    pub async fn decides(&self, more: usize) {
        let goal = self.decided.load(Ordering::SeqCst) + more;
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.decided.load(Ordering::SeqCst) >= goal {
                return;
            }
            news.await;
        }
    }

    /// Asks until it is decided, under one key. A 202 is decided only later.
    pub async fn ask(&self, client: &mut Client, asked: &Asked) -> Told {
        self.ask_for(client, asked, PATIENCE).await
    }

    /// Asks, and gives up where the first try tells nothing.
    pub async fn ask_briefly(&self, client: &mut Client, asked: &Asked) -> Told {
        self.ask_for(client, asked, Duration::ZERO).await
    }

    async fn ask_for(&self, client: &mut Client, asked: &Asked, patience: Duration) -> Told {
        let (began, mut may_be_done) = (self.clock.now_us(), false);
        loop {
            let Some((node, url)) = self.balancer.choose(client.home) else {
                tokio::time::sleep(Duration::from_millis(client.random.gen_range(PAUSE_MS))).await;
                continue;
            };
            let started = self.clock.now_us();
            let (outcome, answer) = self.attempt(client, asked, node, &url).await;
            let ended = self.clock.now_us();
            let what = outcome.failure().map_or(String::new(), |_| format!("{} {}", asked.method, asked.path));
            self.attempts.lock().push(Attempt { node, began: started, ended, asked: what, outcome: outcome.clone() });
            if let (Outcome::Decided, Some(answer)) = (&outcome, answer) {
                self.requests.lock().push(Request { asked: format!("{} {}", asked.method, asked.path), began, ended });
                self.decided.fetch_add(1, Ordering::SeqCst);
                self.news.notify_waiters();
                return Told { span: Span { began, ended: Some(ended) }, answer: Some(answer), may_be_done: true };
            }
            may_be_done |= outcome.may_be_done();
            if ended - began >= patience.as_micros() as u64 {
                if patience == PATIENCE {
                    let Asked { method, path, .. } = asked;
                    self.is_wrong(format!("{method} {path} is not decided after {PATIENCE:?}: {outcome:?}"));
                }
                return Told { span: Span { began, ended: None }, answer: None, may_be_done };
            }
            tokio::time::sleep(Duration::from_millis(client.random.gen_range(PAUSE_MS))).await;
        }
    }

    async fn attempt(&self, client: &Client, asked: &Asked, node: usize, url: &str) -> (Outcome, Option<(u16, Value)>) {
        let mut request = self.http.request(asked.method.clone(), format!("{url}{}", asked.path));
        request = match &asked.pass {
            Pass::Nobody => request,
            Pass::Bearer(token) => request.bearer_auth(token),
            Pass::Cart(token) => request.header("x-cart-token", token),
        };
        if let Some(key) = &asked.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &asked.body {
            request = request.json(body);
        }
        let answering = async {
            let response = request.timeout(ANSWERS_WITHIN).send().await?;
            let status = response.status().as_u16();
            response.json::<Value>().await.map(|body| (status, body))
        };
        let leaving = async {
            if client.is_patient {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(WAITS_AT_LEAST).await;
            self.balancer.until_unready(node).await;
        };
        tokio::select! {
            answer = answering => match answer {
                Ok((status, body)) => (self.judge(asked, status, &body), Some((status, body))),
                Err(error) if error.is_connect() => {
                    self.balancer.refused(node);
                    (Outcome::NotConnected, None)
                }
                Err(_) => (Outcome::NoAnswer, None),
            },
            () = leaving => (Outcome::LeftWaiting, None),
        }
    }

    fn judge(&self, asked: &Asked, status: u16, body: &Value) -> Outcome {
        let code = body["code"].as_str().unwrap_or_default();
        match status {
            202 => Outcome::Pending,
            503 => Outcome::Refused(format!("503 {code}")),
            409 if body["retryable"] == true => Outcome::Refused(format!("409 {code}")),
            200..=299 | 402 | 409 => Outcome::Decided,
            _ => {
                self.is_wrong(format!("{} {} is answered {status} {body}", asked.method, asked.path));
                Outcome::Refused(format!("{status} {code}"))
            }
        }
    }
}
