//! From a cart to an order, and what becomes of the order.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use souk::http::EdgeConfig;

use crate::market::{Market, contact, gbp, text, unique};
use crate::shop::{PAYMENT_TIMEOUT_MS, Told};

impl Market {
    async fn act(&self, order: &Value, action: &str, body: Value) -> Told {
        self.admin(Method::POST, &format!("/v1/admin/orders/{}/{action}", text(&order["id"])), body).await
    }

    async fn cancel(&self, order: &Value, token: &str) -> Told {
        let path = format!("/v1/orders/{}/cancel", text(&order["id"]));
        self.shop.post(&path, json!({})).header("x-order-token", token).key(&unique()).send().await
    }
}

#[tokio::test]
async fn a_cart_becomes_a_confirmed_order_and_a_repeat_shows_the_same() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 1999, 10).await;
    let cart = market.ready_cart("TEE-M", 3).await;
    let told = market.complete(&cart, "k1", "tok_visa").await;
    told.is(201);
    let order = &told.body;
    let statuses = [&order["status"], &order["payment_status"], &order["fulfillment_status"]];
    assert_eq!(statuses, ["confirmed", "captured", "unfulfilled"]);
    assert_eq!(told.header("location"), format!("/v1/orders/{}", text(&order["id"])));
    assert_eq!((&order["totals"]["total"], &order["cart_id"]), (&gbp(3 * 1999), &json!(cart.id)));
    assert_eq!(order["payments"][0]["status"], "captured");
    let stock = market.inventory("TEE-M").await;
    assert_eq!((&stock["on_hand"], &stock["reserved"]), (&json!(7), &json!(0)));

    let again = market.complete(&cart, "k1", "tok_visa").await;
    assert_eq!((again.status.as_u16(), again.header("idempotent-replayed"), &again.body), (201, "true", order));
    market.complete(&cart, "k1", "tok_other").await.is_problem(422, "idempotency_key_reused");
    let other = market.complete(&cart, "k2", "tok_visa").await;
    assert_eq!((other.is(200).body["id"].clone(), &other.body["number"]), (order["id"].clone(), &order["number"]));
    market.add(&cart, "TEE-M", 1).await.is_problem(409, "cart_closed");

    let path = format!("/v1/orders/{}", text(&order["id"]));
    market.shop.get(&path).send().await.is_problem(404, "not_found");
    let seen = market.shop.get(&path).header("x-order-token", text(&order["token"])).send().await;
    assert_eq!((seen.is(200).header("etag"), seen.body.get("token")), (told.header("etag"), None));
    let found = format!("/v1/orders/lookup?number={}&email=ADA@example.com", text(&order["number"]));
    assert_eq!(market.shop.get(&found).send().await.is(200).body["id"], order["id"]);
    for wrong in
        ["number=ZZZZ-ZZZZ&email=ada@example.com", &format!("number={}&email=x@example.com", text(&order["number"]))]
    {
        market.shop.get(&format!("/v1/orders/lookup?{wrong}")).send().await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_users_order_is_in_his_list_when_he_is_told_of_it() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 100, 10).await;
    let ada = market.shop.register("ada@example.com").await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let cart = market.shop.post("/v1/carts", json!({})).by(&ada).send().await.body;
        let path = format!("/v1/carts/{}", text(&cart["id"]));
        market
            .shop
            .post(&format!("{path}/lines"), json!({"sku": "TEE-M", "quantity": 1}))
            .by(&ada)
            .send()
            .await
            .is(200);
        market.shop.ask(Method::PUT, &format!("{path}/contact")).json(contact()).by(&ada).send().await.is(200);
        let body = json!({"payment": {"method": "mock", "token": "tok_visa"}, "expected_total": gbp(100)});
        let complete = || market.shop.post(&format!("{path}/complete"), body.clone()).by(&ada).key(&format!("k{n}"));
        let told = complete().send().await;
        told.is(201);
        assert!(told.body.get("token").is_none());
        assert_eq!(complete().send().await.body, told.body);
        ids.insert(0, told.body["id"].clone());
        let list = market.shop.get("/v1/me/orders?limit=2&with_total=true").by(&ada).send().await;
        assert_eq!((&list.is(200).body["data"][0]["id"], &list.body["page"]["total"]), (&ids[0], &json!(n + 1)));
    }
    let first = market.shop.get("/v1/me/orders?limit=2").by(&ada).send().await;
    let next = format!("/v1/me/orders?limit=2&cursor={}", text(&first.body["page"]["next_cursor"]));
    let second = market.shop.get(&next).by(&ada).send().await;
    assert_eq!((&second.is(200).body["data"][0]["id"], &second.body["page"]["has_more"]), (&ids[2], &json!(false)));
    market.shop.get("/v1/me/cart").by(&ada).send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_bought_is_refused_and_the_cart_is_open_again() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 1000, 1).await;
    let empty = market.guest_cart().await;
    let told = market.complete(&empty, "k", "tok_visa").await;
    assert_eq!(
        told.is_problem(409, "cart_not_ready").body["requirements"][0],
        json!({"code": "cart_empty", "pointer": "/lines"})
    );

    let cart = market.ready_cart("TEE-M", 3).await;
    let told = market.complete(&cart, "k1", "tok_visa").await;
    let fault = &told.is_problem(409, "insufficient_stock").body["errors"][0];
    assert_eq!((&fault["pointer"], &fault["sku"]), (&json!("/lines/0/quantity"), &json!("TEE-M")));
    assert_eq!((&fault["available"], &fault["requested"]), (&json!(1), &json!(3)));
    let rejected = market.admin_get(&format!("/v1/admin/orders/{}", text(&told.body["order_id"]))).await;
    assert_eq!(
        (&rejected.body["status"], &rejected.body["rejection"]["code"]),
        (&json!("rejected"), &json!("insufficient_stock"))
    );
    let again = market.complete(&cart, "k1", "tok_visa").await;
    assert_eq!(again.is_problem(409, "insufficient_stock").header("idempotent-replayed"), "true");
    assert_eq!(again.body["order_id"], told.body["order_id"]);

    market.stock("TEE-M", 5).await;
    market.complete(&cart, "k2", "tok_declined").await.is_problem(402, "payment_failed");
    assert_eq!(market.inventory("TEE-M").await["reserved"], 0);
    market.complete(&cart, "k3", "tok_flaky").await.is(201);
    assert_eq!(market.inventory("TEE-M").await["on_hand"], 2);
}

#[tokio::test]
async fn a_changed_price_must_be_accepted_first() {
    let market = Market::open().await;
    let product = market.product("Tee", "TEE-M", 1000, 5).await;
    let cart = market.ready_cart("TEE-M", 2).await;
    let path = format!("/v1/admin/products/{}", text(&product["id"]));
    let dearer = json!({"variants": [{"sku": "TEE-M", "price": gbp(1500)}]});
    market.change(Method::PATCH, &path, &json!(1), dearer).await.is(200);
    let told = market.complete(&cart, "k1", "tok_visa").await;
    assert_eq!(told.is_problem(409, "price_changed").body["totals"]["total"], gbp(3000));
    market.complete(&cart, "k1", "tok_visa").await.is_problem(409, "price_changed");
    let told = market.complete(&cart, "k2", "tok_visa").await;
    assert_eq!(told.is(201).body["totals"]["total"], gbp(3000));
}

#[tokio::test]
async fn an_undecided_order_is_pending_and_ends_rejected_with_nothing_held() {
    let market = Market::with(EdgeConfig { complete_deadline_ms: 300, ..EdgeConfig::default() }).await;
    market.product("Tee", "TEE-M", 1000, 5).await;
    let cart = market.ready_cart("TEE-M", 2).await;
    let told = market.complete(&cart, "k1", "tok_timeout").await;
    told.is(202);
    assert_eq!(told.body["status"], "pending");
    assert_eq!(told.header("location"), format!("/v1/orders/{}", text(&told.body["id"])));
    market.add(&cart, "TEE-M", 1).await.is_problem(409, "completion_in_progress");
    market.complete(&cart, "k2", "tok_visa").await.is_problem(409, "completion_in_progress");
    assert_eq!(market.inventory("TEE-M").await["reserved"], 2);
    let path = format!("/v1/orders/{}", text(&told.body["id"]));
    let mut waited = Duration::ZERO;
    loop {
        let seen = market.shop.get(&path).header("x-order-token", text(&told.body["token"])).send().await;
        if seen.is(200).body["status"] == "rejected" {
            assert_eq!(seen.body["rejection"]["code"], "payment_timeout");
            break;
        }
        waited += Duration::from_millis(50);
        assert!(waited < Duration::from_millis(PAYMENT_TIMEOUT_MS + 15_000), "{}", seen.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(market.inventory("TEE-M").await["reserved"], 0);
    let outcome = market.complete(&cart, "k1", "tok_timeout").await;
    assert_eq!(outcome.is_problem(402, "payment_timeout").body["order_id"], told.body["id"]);
    market.complete(&cart, "k2", "tok_visa").await.is(201);
}

#[tokio::test]
async fn an_order_is_cancelled_refunded_or_fulfilled() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 1000, 20).await;
    let order = async || market.complete(&market.ready_cart("TEE-M", 4).await, &unique(), "tok_visa").await.body;

    let cancelled = order().await;
    let told = market.cancel(&cancelled, text(&cancelled["token"])).await;
    assert_eq!((&told.is(200).body["status"], &told.body["payment_status"]), (&json!("cancelled"), &json!("refunded")));
    assert_eq!(market.inventory("TEE-M").await["on_hand"], 20);
    market.cancel(&cancelled, "wrong").await.is_problem(404, "not_found");

    let refunded = order().await;
    let part = json!({"amount": gbp(1500), "reason": "late"});
    let told = market.act(&refunded, "refund", part).await;
    assert_eq!(told.is(200).body["payment_status"], "partially_refunded");
    assert_eq!(told.body["refunds"][0]["status"], "succeeded");
    let told = market.act(&refunded, "refund", json!({"amount": gbp(2501), "reason": "more"})).await;
    assert_eq!(told.is_problem(409, "refund_exceeds_captured").body["remaining"], gbp(2500));
    let told = market.act(&refunded, "refund", json!({"reason": "all"})).await;
    assert_eq!(told.is(200).body["payment_status"], "refunded");
    assert_eq!(market.inventory("TEE-M").await["on_hand"], 16, "a refund never restocks");

    let sent = order().await;
    let some = json!({"lines": [{"line_id": sent["lines"][0]["id"], "quantity": 3}], "tracking": "T1"});
    let told = market.act(&sent, "fulfil", some).await;
    assert_eq!(
        (&told.is(200).body["status"], &told.body["fulfillment_status"]),
        (&json!("confirmed"), &json!("partially_fulfilled"))
    );
    market.cancel(&sent, text(&sent["token"])).await.is_problem(409, "order_not_cancellable");
    let told = market.act(&sent, "fulfil", json!({})).await;
    assert_eq!(
        (&told.is(200).body["status"], &told.body["fulfillment_status"]),
        (&json!("completed"), &json!("fulfilled"))
    );
    market.act(&sent, "fulfil", json!({})).await.is_problem(409, "order_status");

    let list = "/v1/admin/orders?filter[status]=completed&with_total=true";
    let listed = market.until(list, |body| body["page"]["total"] == 1).await;
    assert_eq!(listed["data"][0]["id"], sent["id"]);
    let all = market.until("/v1/admin/orders?limit=2&with_total=true", |body| body["page"]["total"] == 3).await;
    assert_eq!((&all["data"][0]["id"], &all["page"]["has_more"]), (&sent["id"], &json!(true)));
    market.admin_get("/v1/admin/orders?filter[status]=lost").await.is_problem(400, "invalid_parameter");
}
