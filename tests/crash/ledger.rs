//! Clients that write as fast as they can, and remember what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Notify;

/// How long no write may be acknowledged on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long what was kept may be out of reach on a slow machine.
const KEPT_WITHIN: Duration = Duration::from_secs(60);

/// What came of the writes.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Guests' carts that were acknowledged.
    pub carts: Vec<Cart>,
    /// Answers that refused: status, content type and body.
    pub refused: Vec<(u16, String, Value)>,
    /// Requests without an answer.
    pub unanswered: usize,
}

#[derive(Debug)]
pub struct Cart {
    id: String,
    token: String,
    reference: String,
}

/// Clients at work.
pub struct Writers {
    pub acknowledged: Arc<AtomicUsize>,
    progress: Arc<Notify>,
    tasks: Vec<tokio::task::JoinHandle<Ledger>>,
}

impl Writers {
    /// Each writes until it gets no answer any more, or `errors_max` refusals.
    pub fn start(url: &str, clients: usize, errors_max: usize) -> Writers {
        let (acknowledged, progress) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let task = |client| {
            let (url, acknowledged, progress) = (url.to_owned(), acknowledged.clone(), progress.clone());
            tokio::spawn(async move { write(&url, client, errors_max, &acknowledged, &progress).await })
        };
        let tasks = (0..clients).map(task).collect();
        Writers { acknowledged, progress, tasks }
    }

    /// Waits until so many writes are acknowledged.
    pub async fn reach(&self, count: usize) {
        while self.acknowledged.load(Ordering::Relaxed) < count {
            let notified = self.progress.notified();
            if self.acknowledged.load(Ordering::Relaxed) < count {
                tokio::time::timeout(PATIENCE, notified).await.expect("they go on");
            }
        }
    }

    pub async fn finish(self) -> Ledger {
        let mut all = Ledger::default();
        for task in self.tasks {
            let Ledger { carts, refused, unanswered } = task.await.expect("a writer");
            all.carts.extend(carts);
            all.refused.extend(refused);
            all.unanswered += unanswered;
        }
        all
    }
}

async fn write(url: &str, client: usize, errors_max: usize, acknowledged: &AtomicUsize, progress: &Notify) -> Ledger {
    let http = crate::client::client();
    let run: u128 = rand::random();
    let mut ledger = Ledger::default();
    for number in 0.. {
        let reference = format!("{run:032x}-{client}-{number}");
        let metadata = json!({"note": "x".repeat(400), "more": "y".repeat(400)});
        let body = json!({"reference": reference, "metadata": metadata});
        let asked = http.post(format!("{url}/v1/carts")).header("idempotency-key", &reference).json(&body);
        let answer = match asked.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("");
                let kind = kind.to_owned();
                response.json::<Value>().await.map(|body| (status, kind, body))
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok((201, _, body)) => {
                let text = |name: &str| body[name].as_str().expect("a guest's cart has both").to_owned();
                ledger.carts.push(Cart { id: text("id"), token: text("token"), reference });
                acknowledged.fetch_add(1, Ordering::Relaxed);
                progress.notify_waiters();
            }
            Ok(refused) => {
                ledger.refused.push(refused);
                if ledger.refused.len() >= errors_max {
                    break;
                }
            }
            // The connection ends, or it answers: a node that does neither must not pass for one that is gone. When it
            // is gone the request was lost in the client: what is sent while tokio drops the receiver of an unbounded
            // channel stays in the channel, and hyper, whose connection ends just then, waits for it without end.
            Err(error) if error.is_timeout() && listens(url).await => {
                panic!("{reference} was never answered: {error:?}")
            }
            Err(_) => {
                ledger.unanswered += 1;
                break;
            }
        }
    }
    ledger
}

async fn listens(url: &str) -> bool {
    let address = url.strip_prefix("http://").expect("the URL of a node");
    tokio::net::TcpStream::connect(address).await.is_ok()
}

impl Ledger {
    /// Every acknowledged cart is there as it was written. On a busy machine a reader may be told to come again.
    pub async fn is_kept_by(&self, url: &str) {
        let until = Instant::now() + KEPT_WITHIN;
        while self.told_of_by(url).await > 0 {
            assert!(Instant::now() < until, "a cart that was acknowledged cannot be read");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Every acknowledged cart is there as it was written, or its reader is told that it cannot be read. How many
    /// were told.
    pub async fn told_of_by(&self, url: &str) -> usize {
        let http = crate::client::client();
        let mut told = 0;
        for cart in &self.carts {
            let asked = http.get(format!("{url}/v1/carts/{}", cart.id)).header("x-cart-token", &cart.token);
            // Without an answer the node is gone, which is loud as well.
            let response = match asked.send().await {
                Ok(response) => response,
                Err(error) if error.is_timeout() => panic!("{cart:?} was never answered: {error:?}"),
                Err(_) => {
                    told += 1;
                    continue;
                }
            };
            let status = response.status();
            let body: Value = response.json().await.expect("JSON");
            if status.is_server_error() {
                assert!(body["code"].is_string(), "{body}");
                told += 1;
                continue;
            }
            assert_eq!(status, 200, "{cart:?} was acknowledged");
            assert_eq!(body["reference"], cart.reference.as_str());
            assert_eq!(body["metadata"]["note"].as_str().map(str::len), Some(400));
        }
        told
    }

    /// Every refusal is a problem that says so, with one of these codes.
    pub fn refused_with(&self, codes: &[&str]) {
        for (status, kind, body) in &self.refused {
            assert_eq!(kind, "application/problem+json", "{status} {body}");
            assert_eq!(body["status"], *status);
            let code = body["code"].as_str().unwrap_or_default();
            assert!(codes.contains(&code), "{status} {body}");
        }
    }
}
