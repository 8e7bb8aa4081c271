//! Completions that outlast their deadline: the provider never answers, the order is decided all the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{GuestCart, Shop, Told, unique};

const IMPATIENT: &[(&str, &str)] = &[("SOUK_PAYMENT__TIMEOUT_MS", "4000"), ("SOUK_COMPLETE__DEADLINE_MS", "300")];

/// The order once it is decided. The server decides by its own clock: it is asked until it has.
async fn decided(shop: &Shop, order: &Value) -> Value {
    let path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
    let until = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        let now = shop.get(&path).order_token(order).send().await.is(200).body.clone();
        if now["status"] != "pending" {
            return now;
        }
        assert!(tokio::time::Instant::now() < until, "still pending: {now}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn undecided(shop: &Shop, sku: &str) -> (GuestCart, String, Told) {
    let cart = shop.ready_cart(sku, 2).await;
    let key = unique("pay");
    let told = shop.pay(&cart, "tok_timeout", &key).await;
    told.is(202);
    (cart, key, told)
}

#[tokio::test]
async fn a_provider_that_never_answers_leaves_a_pending_order_and_then_nothing() {
    let shop = Shop::with(IMPATIENT).await;
    let sku = shop.sku(100, 5).await;
    let (cart, key, told) = undecided(&shop, &sku).await;
    let order = &told.body;
    assert_eq!(told.header("location"), format!("/v1/orders/{}", order["id"].as_str().expect("an id")));
    assert_eq!((&order["status"], &order["payment_status"]), (&json!("pending"), &json!("none")));
    assert!(order["token"].is_string());
    assert_eq!(shop.counts(&sku).await, (5, 2, 3), "a pending order holds its stock");
    let held = shop.inventory(&sku).await;
    assert_eq!((&held["reservations"][0]["order_id"], &held["reservations"][0]["quantity"]), (&order["id"], &json!(2)));

    let completing = shop.get(&cart.path()).cart_token(&cart.token).send().await;
    assert_eq!(
        (&completing.is(200).body["status"], &completing.body["order_id"]),
        (&json!("completing"), &order["id"])
    );
    let other = unique("pay");
    let refused = shop.pay(&cart, "tok_ok", &other).await;
    refused.is_problem(409, "completion_in_progress");
    shop.add(&cart, &sku, 1).await.is_problem(409, "completion_in_progress");
    let put = shop.put(&format!("/v1/admin/inventory/{sku}"), json!({"on_hand": 1})).by(&shop.admin().await);
    put.key(&unique("stock")).send().await.is_problem(409, "stock_reserved");

    let rejected = decided(&shop, order).await;
    assert_eq!(rejected["status"], "rejected");
    assert_eq!(rejected["rejection"]["code"], "payment_timeout");
    assert_eq!(rejected["payment_status"], "voided");
    assert_eq!(shop.counts(&sku).await, (5, 0, 5), "nothing is held");
    let open = shop.get(&cart.path()).cart_token(&cart.token).send().await;
    assert_eq!(open.is(200).body["status"], "open");
    let again = shop.pay(&cart, "tok_timeout", &key).await;
    assert_eq!(
        again.is_problem(402, "payment_timeout").body["order_id"],
        order["id"],
        "a repeat shows the present outcome"
    );
    assert!(again.is_replayed());
    assert_eq!(refused.body["retryable"], true);
    shop.pay(&cart, "tok_ok", &other).await.is(201);
}

/// Merges a cart into another under this key.
async fn merge(shop: &Shop, target: &GuestCart, from: &GuestCart, key: &str) -> Told {
    let body = json!({"from_cart_id": from.id, "from_token": from.token, "strategy": "sum"});
    let path = format!("{}/merge", target.path());
    shop.post(&path, body).cart_token(&target.token).key(key).send().await
}

#[tokio::test]
async fn a_merge_from_a_cart_that_is_being_completed_waits_for_what_becomes_of_it() {
    let shop = Shop::with(IMPATIENT).await;
    let sku = shop.sku(100, 5).await;
    let (cart, _, told) = undecided(&shop, &sku).await;
    let (target, key) = (shop.guest_cart().await, unique("merge"));
    let (merged, rejected) = tokio::join!(merge(&shop, &target, &cart, &key), decided(&shop, &told.body));
    assert_eq!(rejected["status"], "rejected");
    assert_eq!(merged.is(200).body["lines"][0]["quantity"], 2);
    merge(&shop, &target, &cart, &key).await.repeats(&merged);
}

#[tokio::test]
async fn a_merge_whose_time_is_up_while_the_other_cart_is_completed_is_not_refused_for_good() {
    let settings = [("SOUK_PAYMENT__TIMEOUT_MS", "2500"), ("SOUK_COMPLETE__DEADLINE_MS", "300")];
    let shop = Shop::with(&[&settings[..], &[("SOUK_HTTP__REQUEST_DEADLINE_MS", "600")]].concat()).await;
    let sku = shop.sku(100, 5).await;
    let (cart, _, told) = undecided(&shop, &sku).await;
    let (target, key) = (shop.guest_cart().await, unique("merge"));
    let tag = shop.get(&target.path()).cart_token(&target.token).send().await.tag().to_owned();
    let busy = merge(&shop, &target, &cart, &key).await;
    assert_eq!(busy.is_problem(409, "change_in_progress").body["retryable"], true);
    assert_eq!(decided(&shop, &told.body).await["status"], "rejected");
    // That a try was refused is no change which a client who compares versions has to know.
    let body = json!({"from_cart_id": cart.id, "from_token": cart.token, "strategy": "sum"});
    let path = format!("{}/merge", target.path());
    let merged = shop.post(&path, body).cart_token(&target.token).key(&key).if_match(&tag).send().await;
    assert_eq!(merged.is(200).body["lines"][0]["quantity"], 2);
    merge(&shop, &target, &cart, &key).await.repeats(&merged);
}

#[tokio::test]
async fn a_pending_order_is_decided_after_a_crash_too() {
    let shop = Shop::alone(IMPATIENT).await;
    let sku = shop.sku(100, 5).await;
    let (cart, _, told) = undecided(&shop, &sku).await;
    let shop = shop.crash().await;
    let rejected = decided(&shop, &told.body).await;
    assert_eq!(rejected["rejection"]["code"], "payment_timeout");
    assert_eq!(shop.counts(&sku).await, (5, 0, 5));
    let paid = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    assert!(matches!(paid.status.as_u16(), 201 | 202), "{}", paid.body);
    assert_eq!(decided(&shop, &paid.body).await["status"], "confirmed");
    assert_eq!(shop.counts(&sku).await, (3, 0, 3));
}

#[tokio::test]
async fn a_pending_order_can_be_cancelled_and_holds_nothing_then() {
    let shop = Shop::with(IMPATIENT).await;
    let sku = shop.sku(100, 5).await;
    let (_, _, told) = undecided(&shop, &sku).await;
    let path = format!("/v1/orders/{}/cancel", told.body["id"].as_str().expect("an id"));
    let cancelled = shop.post(&path, json!({"reason": "too slow"})).order_token(&told.body).key(&unique("cancel"));
    let cancelled = cancelled.send().await.is(200).body.clone();
    assert!(cancelled["status"] == "cancelled" || cancelled["status"] == "rejected", "{cancelled}");
    assert_eq!(shop.counts(&sku).await, (5, 0, 5));
}
