//! More than the node takes at once: what was let in is done, the rest is told so at once, and nothing of it
//! stays. (How fast all of that is, is measured by `scripts/bench overload`.)

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Shop;

/// As many at once as are promised never to be shed, and as many connections that hold a request each.
const AT_ONCE: usize = 256;
/// Requests that wait for a place.
const WAITING: usize = 16;
const BEYOND: usize = 2_000;

const SETTINGS: &[(&str, &str)] = &[
    ("SOUK_HTTP__CONCURRENCY_MAX", "256"),
    ("SOUK_HTTP__QUEUE_MAX", "16"),
    ("SOUK_HTTP__QUEUE_WAIT_MS", "50"),
    // The held requests are ended by the test, and by no deadline.
    ("SOUK_HTTP__BODY_TIMEOUT_MS", "120000"),
    ("SOUK_HTTP__REQUEST_DEADLINE_MS", "120000"),
    ("SOUK_HTTP__HANDLER_TIMEOUT_MS", "180000"),
];

/// A request that is let in and waits for the rest of its body.
struct Held(TcpStream);

impl Held {
    async fn begin(address: SocketAddr) -> Held {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = "POST /v1/carts HTTP/1.1\r\nhost: souk\r\nconnection: close\r\ncontent-type: application/json\r\n\
                    content-length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("the head is taken");
        Held(stream)
    }

    /// Sends the body; the status line of the answer.
    async fn finish(mut self) -> String {
        self.0.write_all(b"{}").await.expect("the body is taken");
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await.expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

/// How many requests are being worked on, this question among them.
async fn running(shop: &Shop) -> usize {
    let metrics = shop.get("/metrics").send().await;
    let text = metrics.is(200).body.as_str().expect("text").to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("souk_http_running ")).expect("the gauge");
    line.parse().expect("a count")
}

#[tokio::test]
async fn beyond_its_limits_a_node_refuses_at_once_finishes_what_it_took_and_goes_on() {
    let shop = Shop::alone(SETTINGS).await;
    let mut held = Vec::new();
    for _ in 0..AT_ONCE {
        held.push(Held::begin(shop.server.address()).await);
    }
    while running(&shop).await <= AT_ONCE {
        tokio::task::yield_now().await;
    }

    let before = shop.server.memory_bytes();
    for _ in 0..BEYOND / (4 * WAITING) {
        // More than may wait: most are refused at once, and those who waited as well when their time is up.
        let refused = futures::future::join_all((0..4 * WAITING).map(|_| shop.post("/v1/carts", json!({})).send()));
        let refused = tokio::select! {
            refused = refused => refused,
            // Operators see a full node.
            () = async { loop { shop.get("/livez").send().await.is(200); } } => unreachable!("it goes on for ever"),
        };
        for told in refused {
            told.is_problem(503, "overloaded");
            assert_eq!(told.body["retryable"], true);
            assert!(told.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
        }
    }
    let grown = shop.server.memory_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{BEYOND} refusals left {grown} bytes");

    for held in held {
        assert_eq!(held.finish().await, "HTTP/1.1 201 Created", "what was let in is done");
    }
    for _ in 0..4 * WAITING {
        shop.post("/v1/carts", json!({})).send().await.is(201);
    }
}
