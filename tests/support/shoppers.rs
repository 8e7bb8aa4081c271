//! Shoppers who do not give up. Each puts one piece after another into a cart of his own, every one under a key of
//! its own, and asks again with the same key until he is told that it is there. So a cart holds as many pieces as
//! its owner was told of: one fewer, and something acknowledged is lost; one more, and something was done twice.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::client::client;

/// How long nothing may happen on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between a refusal and the next try. (The answers ask for a second, and this is to be over sooner.)
const PAUSE: Duration = Duration::from_millis(50);
/// In the sample catalogue.
const SKU: &str = "KIT-MUG-BLUE";

/// Shoppers at work, in a shop with the sample catalogue.
pub struct Shoppers {
    url: String,
    seen: Arc<Seen>,
    tasks: Vec<JoinHandle<Cart>>,
}

/// What they see of the shop.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicUsize,
    /// Refusals, by the code of the problem.
    refused: parking_lot::Mutex<BTreeMap<String, usize>>,
    news: Notify,
    is_over: AtomicBool,
}

struct Cart {
    id: String,
    token: String,
    pieces: u64,
}

impl Shoppers {
    pub async fn start(url: &str, count: usize) -> Shoppers {
        let seen = Arc::new(Seen::default());
        let mut tasks = Vec::new();
        for _ in 0..count {
            let (url, seen) = (url.to_owned(), seen.clone());
            tasks.push(tokio::spawn(async move { shop(&url, &seen).await }));
        }
        Shoppers { url: url.to_owned(), seen, tasks }
    }

    /// Until so many more pieces are acknowledged.
    pub async fn get(&self, more: usize) {
        let goal = self.seen.acknowledged.load(Ordering::SeqCst) + more;
        self.until(|seen| seen.acknowledged.load(Ordering::SeqCst) >= goal).await;
    }

    /// Until so many more requests are refused, for whatever reason.
    pub async fn are_refused(&self, more: usize) {
        let all = |seen: &Seen| seen.refused.lock().values().sum::<usize>();
        let goal = all(&self.seen) + more;
        self.until(|seen| all(seen) >= goal).await;
    }

    async fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        let waiting = async {
            loop {
                let news = self.seen.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if is_so(&self.seen) {
                    return;
                }
                assert!(!self.tasks.iter().any(JoinHandle::is_finished), "a shopper has met what must not be");
                news.await;
            }
        };
        let refused = || self.seen.refused.lock().clone();
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("nothing happens: {:?}", refused()));
    }

    /// Ends, and looks whether everything is there, once. The answer is what was refused, by code.
    pub async fn have_all(self) -> BTreeMap<String, usize> {
        self.seen.is_over.store(true, Ordering::SeqCst);
        let http = client();
        for task in self.tasks {
            let Cart { id, token, pieces } = task.await.expect("a shopper");
            let asked = || http.get(format!("{}/v1/carts/{id}", self.url)).header("x-cart-token", &token);
            let cart = told(asked, &self.seen).await;
            assert_eq!(quantity(&cart), pieces, "{cart}");
        }
        let refused = self.seen.refused.lock().clone();
        println!("{} pieces, refused {refused:?}", self.seen.acknowledged.load(Ordering::SeqCst));
        refused
    }
}

fn quantity(cart: &Value) -> u64 {
    cart["lines"].as_array().expect("lines").iter().map(|line| line["quantity"].as_u64().expect("a number")).sum()
}

async fn shop(url: &str, seen: &Seen) -> Cart {
    let http = client();
    let run: u128 = rand::random();
    let asked = || http.post(format!("{url}/v1/carts")).header("idempotency-key", format!("{run:x}")).json(&json!({}));
    let cart = told(asked, seen).await;
    let text = |name: &str| cart[name].as_str().expect("a guest's cart has both").to_owned();
    let mut cart = Cart { id: text("id"), token: text("token"), pieces: 0 };
    while !seen.is_over.load(Ordering::SeqCst) {
        let key = format!("{run:x}-{}", cart.pieces);
        let asked = || {
            let adding = http.post(format!("{url}/v1/carts/{}/lines", cart.id)).header("x-cart-token", &cart.token);
            adding.header("idempotency-key", &key).json(&json!({"sku": SKU, "quantity": 1}))
        };
        let answer = told(asked, seen).await;
        assert_eq!(quantity(&answer), cart.pieces + 1, "each piece once: {answer}");
        cart.pieces += 1;
        seen.acknowledged.fetch_add(1, Ordering::SeqCst);
        seen.news.notify_waiters();
    }
    cart
}

/// Asks until there is an answer that is no refusal.
async fn told(asked: impl Fn() -> RequestBuilder, seen: &Seen) -> Value {
    loop {
        let answer = asked().timeout(PATIENCE).send().await.expect("souk is alive and answers");
        if answer.status().is_success() {
            return answer.json().await.expect("JSON");
        }
        let code = refusal(answer).await;
        *seen.refused.lock().entry(code).or_default() += 1;
        seen.news.notify_waiters();
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a shop in trouble may say, and how.
async fn refusal(answer: Response) -> String {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body: Value = answer.json().await.expect("a problem");
    assert_eq!(headers["content-type"], "application/problem+json", "{body}");
    let code = body["code"].as_str().expect("a code").to_owned();
    match status {
        503 => {
            let after = headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
            assert!(after.is_some_and(|seconds| (1..=60).contains(&seconds)), "{headers:?} {body}");
        }
        // The first of two with one key has not been decided yet.
        409 => assert_eq!(code, "request_in_progress", "{body}"),
        _ => panic!("{status} {body}"),
    }
    code
}
