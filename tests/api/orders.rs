//! Orders: reading, looking up, cancelling, refunding, fulfilling.

use serde_json::{Value, json};

use crate::support::{Shop, Told, gbp, unique};

fn id_of(order: &Value) -> &str {
    order["id"].as_str().expect("an id")
}

async fn act(shop: &Shop, order: &Value, what: &str, body: Value) -> Told {
    let path = format!("/v1/admin/orders/{}/{what}", id_of(order));
    shop.post(&path, body).by(&shop.admin().await).key(&unique(what)).send().await
}

async fn cancel(shop: &Shop, order: &Value) -> Told {
    let path = format!("/v1/orders/{}/cancel", id_of(order));
    shop.post(&path, json!({"reason": "changed my mind"})).order_token(order).key(&unique("cancel")).send().await
}

fn statuses(told: &Told) -> [&str; 3] {
    ["status", "payment_status", "fulfillment_status"].map(|name| told.body[name].as_str().unwrap_or_default())
}

#[tokio::test]
async fn an_order_is_read_by_its_owner_an_administrator_or_with_its_token() {
    let shop = Shop::open().await;
    let (ada, eve, admin) = (shop.customer().await, shop.customer().await, shop.admin().await);
    let sku = shop.sku(100, 9).await;
    let (of_ada, of_guest) = (shop.order_of(&ada, &sku, 1).await, shop.order(&sku, 1).await);
    let path = format!("/v1/orders/{}", id_of(&of_ada));
    assert_eq!(shop.get(&path).by(&ada).send().await.is(200).body, of_ada);
    shop.get(&path).by(&admin).send().await.is(200);
    shop.get(&path).by(&eve).send().await.is_problem(404, "not_found");
    shop.get(&path).send().await.is_problem(404, "not_found");
    shop.get(&path).order_token(&of_guest).send().await.is_problem(404, "not_found");
    let path = format!("/v1/orders/{}", id_of(&of_guest));
    let read = shop.get(&path).order_token(&of_guest).send().await;
    assert!(read.is(200).body.get("token").is_none(), "the token is told on creation only");
    shop.get(&path).by(&ada).send().await.is_problem(404, "not_found");
    shop.get(&path).header("x-order-token", "nonsense").send().await.is_problem(404, "not_found");
    shop.get(&format!("/v1/admin/orders/{}", id_of(&of_guest))).by(&admin).send().await.is(200);
}

#[tokio::test]
async fn a_guest_finds_an_order_by_number_and_email_and_nobody_learns_which_was_wrong() {
    let shop = Shop::open().await;
    let order = shop.order(&shop.sku(100, 9).await, 1).await;
    let number = order["number"].as_str().expect("a number");
    let look = |number: &str, email: &str| shop.get(&format!("/v1/orders/lookup?number={number}&email={email}")).send();
    let found = look(&number.to_lowercase(), "ADA@example.com").await;
    assert_eq!(found.is(200).body["id"], order["id"]);
    assert!(found.body.get("token").is_none());
    let (wrong_email, wrong_number) =
        (look(number, "eve@example.com").await, look("ZZZZ-ZZZZ", "ada@example.com").await);
    let malformed = look("%21", "nobody").await;
    for told in [&wrong_email, &wrong_number, &malformed] {
        told.is_problem(404, "not_found");
        for member in ["title", "detail", "errors", "type"] {
            assert_eq!(told.body[member], wrong_email.body[member]);
        }
    }
    let of_user = shop.order_of(&shop.customer().await, &shop.sku(100, 9).await, 1).await;
    assert_eq!(of_user["contact"]["email"], "ada@example.com");
    let his = look(of_user["number"].as_str().expect("a number"), "ada@example.com").await;
    his.is_problem(404, "not_found");
    for member in ["title", "detail", "errors", "type"] {
        assert_eq!(his.body[member], wrong_email.body[member], "nobody learns that there is one");
    }
    shop.get("/v1/orders/lookup?number=X").send().await.is_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn a_cancelled_order_is_restocked_and_refunded() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    let order = shop.order(&sku, 2).await;
    assert_eq!(shop.counts(&sku).await, (3, 0, 3));
    let told = cancel(&shop, &order).await;
    assert_eq!(statuses(told.is(200)), ["cancelled", "refunded", "unfulfilled"]);
    assert_eq!(told.body["refunds"][0]["amount"], gbp(200));
    assert_eq!(shop.counts(&sku).await, (5, 0, 5));
    let types: Vec<_> =
        told.body["timeline"].as_array().expect("a timeline").iter().map(|entry| &entry["type"]).collect();
    assert!(types.contains(&&json!("cancelled")), "{types:?}");
    let again = cancel(&shop, &order).await;
    assert_eq!(again.is(200).body, told.body, "cancelled is cancelled");
    assert_eq!(shop.counts(&sku).await, (5, 0, 5));
}

#[tokio::test]
async fn an_order_is_cancelled_by_its_owner_only() {
    let shop = Shop::open().await;
    let (ada, eve) = (shop.customer().await, shop.customer().await);
    let order = shop.order_of(&ada, &shop.sku(100, 5).await, 1).await;
    let path = format!("/v1/orders/{}/cancel", id_of(&order));
    shop.post(&path, json!({})).by(&eve).key("k").send().await.is_problem(404, "not_found");
    shop.post(&path, json!({}))
        .key(&unique("a-long-key-that-nobody-guesses"))
        .send()
        .await
        .is_problem(404, "not_found");
    shop.post(&path, json!({})).by(&ada).key("k").send().await.is(200);
}

#[tokio::test]
async fn a_refund_never_restocks_and_never_exceeds_what_was_captured() {
    let shop = Shop::open().await;
    let sku = shop.sku(1000, 5).await;
    let order = shop.order(&sku, 2).await;
    let told = act(&shop, &order, "refund", json!({"amount": gbp(500), "reason": "scratched"})).await;
    assert_eq!(statuses(told.is(200)), ["confirmed", "partially_refunded", "unfulfilled"]);
    let refund = &told.body["refunds"][0];
    assert_eq!((&refund["amount"], &refund["reason"]), (&gbp(500), &json!("scratched")));
    let told = act(&shop, &order, "refund", json!({"amount": gbp(1501), "reason": "greed"})).await;
    assert_eq!(told.is_problem(409, "refund_exceeds_captured").body["remaining"], gbp(1500));
    for wrong in [gbp(0), gbp(-1), json!({"amount": 1, "currency": "USD"})] {
        act(&shop, &order, "refund", json!({"amount": wrong, "reason": "x"}))
            .await
            .has_fault("out_of_range", "/amount");
    }
    act(&shop, &order, "refund", json!({"amount": gbp(1)})).await.has_fault("required", "/reason");
    let told = act(&shop, &order, "refund", json!({"reason": "the rest"})).await;
    assert_eq!(statuses(told.is(200)), ["confirmed", "refunded", "unfulfilled"]);
    assert_eq!(told.body["refunds"][1]["amount"], gbp(1500));
    act(&shop, &order, "refund", json!({"reason": "more"})).await.is_problem(409, "refund_exceeds_captured");
    assert_eq!(shop.counts(&sku).await, (3, 0, 3));
}

#[tokio::test]
async fn refunds_at_the_same_time_do_not_exceed_what_was_captured() {
    let shop = Shop::open().await;
    let order = shop.order(&shop.sku(1000, 5).await, 1).await;
    let refund = || act(&shop, &order, "refund", json!({"amount": gbp(400), "reason": "at once"}));
    let told = futures::future::join_all((0..5).map(|_| refund())).await;
    assert_eq!(told.iter().filter(|told| told.status == 200).count(), 2);
    for refused in told.iter().filter(|told| told.status != 200) {
        refused.is_problem(409, "refund_exceeds_captured");
    }
}

#[tokio::test]
async fn a_partial_refund_leaves_the_rest_to_a_cancellation() {
    let shop = Shop::open().await;
    let sku = shop.sku(1000, 5).await;
    let order = shop.order(&sku, 1).await;
    act(&shop, &order, "refund", json!({"amount": gbp(300), "reason": "late"})).await.is(200);
    let told = cancel(&shop, &order).await;
    assert_eq!(statuses(told.is(200)), ["cancelled", "refunded", "unfulfilled"]);
    assert_eq!(told.body["refunds"][1]["amount"], gbp(700));
    assert_eq!(shop.counts(&sku).await, (5, 0, 5));
}

#[tokio::test]
async fn fulfilling_in_full_completes_an_order() {
    let shop = Shop::open().await;
    let (tee, mug) = (shop.sku(100, 9).await, shop.sku(50, 9).await);
    let cart = shop.ready_cart(&tee, 2).await;
    shop.add(&cart, &mug, 1).await.is(200);
    let order = shop.pay(&cart, "tok_ok", &unique("pay")).await.is(201).body.clone();
    let line = |n: usize, quantity: u64| json!({"line_id": order["lines"][n]["id"], "quantity": quantity});
    act(&shop, &order, "fulfil", json!({"lines": [line(0, 3)]})).await.has_fault("out_of_range", "/lines");
    act(&shop, &order, "fulfil", json!({"lines": []})).await.is(422);
    let nobody = json!([{"line_id": "line_00000000000000000000000000", "quantity": 1}]);
    act(&shop, &order, "fulfil", json!({"lines": nobody})).await.has_fault("unknown_line", "/lines");
    let told = act(&shop, &order, "fulfil", json!({"lines": [line(0, 1)], "tracking": "TRK1"})).await;
    assert_eq!(statuses(told.is(200)), ["confirmed", "captured", "partially_fulfilled"]);
    assert!(told.body["timeline"].to_string().contains("TRK1"));
    cancel(&shop, &order).await.is_problem(409, "order_not_cancellable");
    let told = act(&shop, &order, "fulfil", json!({})).await;
    assert_eq!(statuses(told.is(200)), ["completed", "captured", "fulfilled"]);
    act(&shop, &order, "fulfil", json!({})).await.is(409);
    cancel(&shop, &order).await.is(409);
    let told = act(&shop, &order, "refund", json!({"amount": gbp(50), "reason": "broken"})).await;
    assert_eq!(statuses(told.is(200)), ["completed", "partially_refunded", "fulfilled"]);
}

#[tokio::test]
async fn an_order_keeps_what_was_bought_as_it_was() {
    let shop = Shop::open().await;
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let sku = unique("KEPT");
    let product = shop.product(&sku, 100, 9).await;
    let order = shop.order_of(&ada, &sku, 1).await;
    let path = format!("/v1/admin/products/{}", id_of(&product));
    let patch = json!({"title": "Other", "variants": [{"sku": sku, "price": gbp(999)}]});
    shop.patch(&path, patch).by(&admin).if_match("*").send().await.is(200);
    let read = shop.get(&format!("/v1/orders/{}", id_of(&order))).by(&ada).send().await;
    assert_eq!(read.is(200).body["lines"], order["lines"]);
}

#[tokio::test]
async fn a_rejected_order_can_be_neither_cancelled_nor_refunded_nor_fulfilled() {
    let shop = Shop::open().await;
    let cart = shop.ready_cart(&shop.sku(100, 9).await, 1).await;
    let declined = shop.pay(&cart, "tok_declined", &unique("pay")).await;
    let order = json!({"id": declined.is(402).body["order_id"]});
    act(&shop, &order, "fulfil", json!({})).await.is(409);
    act(&shop, &order, "refund", json!({"reason": "x"})).await.is(409);
    let path = format!("/v1/orders/{}/cancel", id_of(&order));
    shop.post(&path, json!({}))
        .by(&shop.admin().await)
        .key(&unique("cancel"))
        .send()
        .await
        .is_problem(409, "order_status");
    let nobody = json!({"id": "ord_00000000000000000000000000"});
    act(&shop, &nobody, "fulfil", json!({})).await.is_problem(404, "not_found");
}
