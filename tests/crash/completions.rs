//! kill -9 while many completions are under way: after the next start every order of theirs is decided.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::Rng;
use serde_json::{Value, json};

use super::chance;
use super::stores::Kind;
use crate::client::client;
use crate::support::{GuestCart, Shop, unique};

const AT_ONCE: u64 = 48;
const STOCK: u64 = 10_000;
/// How long after a start an order may be pending on a slow machine.
const DECIDED_WITHIN: Duration = Duration::from_secs(90);

/// On a shared store a start waits out the lease of the one that was killed.
fn rounds() -> u64 {
    if Kind::chosen().is_shared() { 2 } else { 8 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_a_kill_interrupts_are_decided_after_the_next_start() {
    let mut chance = chance("completions");
    // A payment that is asked just before the kill must not time out on a slow machine.
    let mut shop = Shop::alone(&[("SOUK_PAYMENT__TIMEOUT_MS", "50000")]).await;
    let sku = shop.sku(100, STOCK).await;
    for round in 1..=rounds() {
        let carts = join_all((0..AT_ONCE).map(|_| shop.ready_cart(&sku, 1))).await;
        let carts: Vec<(GuestCart, String)> = carts.into_iter().map(|cart| (cart, unique("pay"))).collect();
        let ask = |(cart, key): &(GuestCart, String)| tokio::spawn(complete(shop.server.url(), cart, key));
        let asked: Vec<_> = carts.iter().map(ask).collect();
        let after = Duration::from_millis(chance.gen_range(10..=350));
        tokio::time::sleep(after).await; // not to wait for something, but to strike anywhere
        shop = shop.crash().await;
        let answered = join_all(asked).await.into_iter().filter(|answer| matches!(answer, Ok(true))).count();
        println!("round {round}: killed after {after:?} with {answered} of {AT_ONCE} answered");
        let orders = join_all(carts.iter().map(|(cart, key)| decided(&shop, cart, key))).await;
        for order in &orders {
            assert_eq!((&order["status"], &order["payment_status"]), (&json!("confirmed"), &json!("captured")));
        }
        let left = STOCK - round * AT_ONCE;
        assert_eq!(shop.counts(&sku).await, (left, 0, left), "on hand, reserved, available after round {round}");
    }
}

/// Asks once; the answer is whether there was one.
fn complete(url: &str, cart: &GuestCart, key: &str) -> impl Future<Output = bool> + Send + use<> {
    let asked = client().post(format!("{url}{}/complete", cart.path())).header("idempotency-key", key);
    let body = json!({"payment": {"method": "mock", "token": "tok_ok"}});
    let asked = asked.header("x-cart-token", &cart.token).json(&body);
    async move { asked.send().await.is_ok_and(|answer| answer.status().is_success()) }
}

/// Repeats the completion, which waits for the order itself, until that is decided.
async fn decided(shop: &Shop, cart: &GuestCart, key: &str) -> Value {
    let started = Instant::now();
    loop {
        let told = shop.pay(cart, "tok_ok", key).await;
        if told.status == 201 {
            return told.body.clone();
        }
        assert_eq!(told.status, 202, "{}", told.body);
        assert!(started.elapsed() < DECIDED_WITHIN, "it stays pending: {}", told.body);
    }
}
