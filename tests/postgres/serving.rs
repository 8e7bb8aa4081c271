//! The real binary on PostgreSQL: it serves, bears a server that goes and comes back, and loses nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::postgres::Server;
use super::process::Launch;

async fn add_cart(url: &str) -> reqwest::Result<reqwest::Response> {
    let client = reqwest::Client::new();
    client.post(format!("{url}/v1/carts")).json(&json!({})).timeout(Duration::from_secs(30)).send().await
}

/// Makes a cart, as soon as that can be done; its path and its token.
async fn cart(url: &str) -> (String, String) {
    loop {
        let answer = add_cart(url).await.expect("an answer");
        if answer.status() == 201 {
            let cart: Value = answer.json().await.expect("a cart");
            let text = |name: &str| cart[name].as_str().unwrap_or_default().to_owned();
            return (format!("{url}/v1/carts/{}", text("id")), text("token"));
        }
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    }
}

async fn is_there(cart: &(String, String)) -> bool {
    let asked = reqwest::Client::new().get(&cart.0).header("x-cart-token", &cart.1).send().await.expect("an answer");
    asked.status() == 200
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn souk_bears_a_server_that_goes_and_comes_back() {
    let mut server = Server::new(&[]);
    let url = server.database("souk").await;
    let home = tempfile::tempdir().expect("a folder");
    let launch = Launch::new(home.path()).args(&["--store", "postgres", "--store-url", &url]);
    let mut souk = launch.env("SOUK_STORE__SLOTS", "64").start();
    let mut carts = vec![cart(&souk.url).await];
    for crash in [false, true] {
        if crash {
            server.kill()
        } else {
            server.stop()
        }
        let refused = add_cart(&souk.url).await.expect("an answer");
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert!(souk.is_running());
        server.start();
        carts.push(cart(&souk.url).await);
    }
    for cart in &carts {
        assert!(is_there(cart).await);
    }
    let ended = souk.stop();
    assert!(ended.status.success(), "{}", ended.log);
}
