//! A cart becomes an order, or says why not; either way nothing is lost or held.

use serde_json::json;

use crate::support::{ADDRESS, Shop, gbp, unique};

#[tokio::test]
async fn a_completed_cart_is_a_confirmed_captured_unfulfilled_order() {
    let shop = Shop::open().await;
    let sku = shop.sku(1999, 10).await;
    let cart = shop.ready_cart(&sku, 3).await;
    let told = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    let order = &told.is(201).body;
    assert_eq!(told.header("location"), format!("/v1/orders/{}", order["id"].as_str().expect("an id")));
    assert_eq!(told.tag(), format!("\"v{}\"", order["version"]));
    let statuses = ["status", "payment_status", "fulfillment_status"].map(|name| order[name].as_str());
    assert_eq!(statuses, [Some("confirmed"), Some("captured"), Some("unfulfilled")]);
    assert_eq!((&order["cart_id"], &order["totals"]["total"]), (&json!(cart.id), &gbp(5997)));
    assert_eq!((&order["lines"][0]["sku"], &order["lines"][0]["quantity"]), (&json!(sku), &json!(3)));
    assert_eq!(order["contact"], json!({"email": "ada@example.com", "shipping_address": *ADDRESS}));
    assert_eq!(order["payments"][0]["amount"], gbp(5997));
    assert_eq!((&order["payments"][0]["method"], &order["refunds"]), (&json!("mock"), &json!([])));
    assert!(order["number"].is_string() && order["token"].is_string() && order.get("rejection").is_none());
    assert_eq!(shop.counts(&sku).await, (7, 0, 7), "the reservation has become a decrease");
    let closed = shop.get(&cart.path()).cart_token(&cart.token).send().await;
    assert_eq!((&closed.is(200).body["status"], &closed.body["order_id"]), (&json!("completed"), &order["id"]));
    shop.add(&cart, &sku, 1).await.is_problem(409, "cart_closed");
}

#[tokio::test]
async fn another_key_on_a_completed_cart_gets_the_same_order() {
    let shop = Shop::open().await;
    let cart = shop.ready_cart(&shop.sku(100, 10).await, 1).await;
    let first = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    let again = shop.pay(&cart, "tok_declined", &unique("pay")).await;
    let mut shown = first.is(201).body.clone();
    let token = shown.as_object_mut().and_then(|order| order.remove("token"));
    assert!(token.is_some(), "it goes to the key that made the order, and to no other");
    assert_eq!((&again.is(200).body, again.is_replayed()), (&shown, false));
}

#[tokio::test]
async fn another_key_on_a_completed_cart_shows_the_order_as_it_is_now() {
    let shop = Shop::open().await;
    let cart = shop.ready_cart(&shop.sku(100, 10).await, 1).await;
    let (key, other) = (unique("pay"), unique("pay"));
    let first = shop.pay(&cart, "tok_ok", &key).await;
    shop.pay(&cart, "tok_ok", &other).await.is(200);
    let path = format!("/v1/orders/{}", first.is(201).body["id"].as_str().expect("an id"));
    let cancel = shop.post(&format!("{path}/cancel"), json!({})).order_token(&first.body).key(&unique("cancel"));
    cancel.send().await.is(200);
    let now = shop.get(&path).order_token(&first.body).send().await;
    assert_eq!((&now.is(200).body["status"], &now.body["payment_status"]), (&json!("cancelled"), &json!("refunded")));
    // A key that has never been there, and one that has seen the order before.
    for key in [&unique("pay"), &other] {
        let again = shop.pay(&cart, "tok_ok", key).await;
        assert_eq!((&again.is(200).body, again.tag()), (&now.body, now.tag()));
        assert!(again.body.get("token").is_none());
    }
    shop.pay(&cart, "tok_ok", &key).await.repeats(&first);
}

#[tokio::test]
async fn a_declined_payment_names_the_rejected_order_and_opens_the_cart_again() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    let cart = shop.ready_cart(&sku, 2).await;
    let key = unique("pay");
    let declined = shop.pay(&cart, "tok_declined", &key).await;
    let rejected = declined.is_problem(402, "payment_failed").body["order_id"].as_str().expect("an id").to_owned();
    assert_eq!(shop.counts(&sku).await, (5, 0, 5), "a rejected order holds nothing");
    let admin = shop.admin().await;
    let order = shop.get(&format!("/v1/admin/orders/{rejected}")).by(&admin).send().await;
    assert_eq!(order.is(200).body["status"], "rejected");
    assert_eq!(order.body["payment_status"], "failed");
    assert_eq!(order.body["rejection"]["code"], "payment_failed");
    assert_eq!(shop.get(&cart.path()).cart_token(&cart.token).send().await.is(200).body["status"], "open");
    shop.pay(&cart, "tok_declined", &key).await.repeats(&declined);
    let paid = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    assert_ne!(paid.is(201).body["id"], json!(rejected));
}

#[tokio::test]
async fn too_little_stock_names_the_line_and_the_order_and_opens_the_cart_again() {
    let shop = Shop::open().await;
    let (plenty, few) = (shop.sku(100, 9).await, shop.sku(50, 1).await);
    let cart = shop.ready_cart(&plenty, 2).await;
    shop.add(&cart, &few, 3).await.is(200);
    let told = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    told.is_problem(409, "insufficient_stock");
    assert_eq!(told.body["detail"], format!("SKU {few} has 1 available, 3 requested."));
    let fault = json!({"code": "insufficient_stock", "pointer": "/lines/1/quantity", "sku": few, "available": 1, "requested": 3});
    assert_eq!(told.body["errors"], json!([fault]));
    assert!(told.body["order_id"].is_string());
    assert_eq!((shop.counts(&plenty).await, shop.counts(&few).await), ((9, 0, 9), (1, 0, 1)));
    shop.stock(&few, 3).await;
    shop.pay(&cart, "tok_ok", &unique("pay")).await.is(201);
    assert_eq!((shop.counts(&plenty).await, shop.counts(&few).await), ((7, 0, 7), (0, 0, 0)));
}

#[tokio::test]
async fn a_cart_that_lacks_something_is_not_ready() {
    let shop = Shop::open().await;
    let cart = shop.guest_cart().await;
    let told = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    let codes: Vec<_> =
        told.is_problem(409, "cart_not_ready").body["requirements"].as_array().expect("a list").iter().collect();
    assert_eq!(codes[0], &json!({"code": "cart_empty", "pointer": "/lines"}));
    assert_eq!(codes[1], &json!({"code": "contact_required", "pointer": "/contact"}));
}

#[tokio::test]
async fn a_changed_price_must_be_seen_before_it_is_paid() {
    let shop = Shop::open().await;
    let sku = unique("DEARER");
    let product = shop.product(&sku, 1000, 9).await;
    let cart = shop.ready_cart(&sku, 2).await;
    let path = format!("/v1/admin/products/{}", product["id"].as_str().expect("an id"));
    let patch = json!({"variants": [{"sku": sku, "options": {"size": "M"}, "price": gbp(1200)}]});
    shop.patch(&path, patch).by(&shop.admin().await).if_match("*").send().await.is(200);
    let told = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    assert_eq!(told.is_problem(409, "price_changed").body["totals"]["total"], gbp(2400));
    let shown = shop.get(&cart.path()).cart_token(&cart.token).send().await;
    assert_eq!((&shown.is(200).body["totals"]["total"], &shown.body["warnings"]), (&gbp(2400), &json!([])));
    assert_eq!(shop.pay(&cart, "tok_ok", &unique("pay")).await.is(201).body["totals"]["total"], gbp(2400));
}

#[tokio::test]
async fn an_expected_total_must_be_the_total() {
    let shop = Shop::open().await;
    let cart = shop.ready_cart(&shop.sku(1000, 9).await, 2).await;
    let path = format!("{}/complete", cart.path());
    let pay = |total: i64| {
        let body = json!({"payment": {"method": "mock", "token": "tok_ok"}, "expected_total": gbp(total)});
        shop.post(&path, body).cart_token(&cart.token).key(&unique("pay")).send()
    };
    assert_eq!(pay(1999).await.is_problem(409, "price_changed").body["totals"]["total"], gbp(2000));
    pay(2000).await.is(201);
}

#[tokio::test]
async fn a_completion_must_say_how_it_is_paid() {
    let shop = Shop::open().await;
    let cart = shop.ready_cart(&shop.sku(1000, 9).await, 1).await;
    let path = format!("{}/complete", cart.path());
    let pay = |body| shop.post(&path, body).cart_token(&cart.token).key(&unique("pay")).send();
    pay(json!({})).await.has_fault("required", "/payment");
    pay(json!({"payment": {"method": "gold", "token": "t"}})).await.has_fault("invalid_value", "/payment/method");
    pay(json!({"payment": {"method": "mock"}})).await.has_fault("required", "/payment/token");
}

#[tokio::test]
async fn a_flaky_provider_is_asked_again_until_it_approves() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 3).await;
    let cart = shop.ready_cart(&sku, 1).await;
    let told = shop.pay(&cart, "tok_flaky", &unique("pay")).await;
    assert_eq!(told.is(201).body["payment_status"], "captured");
    assert_eq!(shop.counts(&sku).await, (2, 0, 2));
}

#[tokio::test]
async fn two_keys_at_once_make_one_order() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 10).await;
    for _ in 0..5 {
        let before = shop.counts(&sku).await.0;
        let cart = shop.ready_cart(&sku, 1).await;
        let (one, two) = (unique("pay"), unique("pay"));
        let (one, two) = tokio::join!(shop.pay(&cart, "tok_ok", &one), shop.pay(&cart, "tok_ok", &two));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert!(matches!(statuses, [201, 409] | [200, 201]), "{statuses:?} {} {}", one.body, two.body);
        let refused = [&one, &two].into_iter().find(|told| told.status == 409);
        refused.map(|told| told.is_problem(409, "completion_in_progress"));
        assert_eq!(shop.counts(&sku).await.0, before - 1);
    }
}

#[tokio::test]
async fn the_last_piece_is_sold_once() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 3).await;
    let mut carts = Vec::new();
    for _ in 0..8 {
        carts.push((shop.ready_cart(&sku, 1).await, unique("pay")));
    }
    let paid = futures::future::join_all(carts.iter().map(|(cart, key)| shop.pay(cart, "tok_ok", key))).await;
    let sold = paid.iter().filter(|told| told.status == 201).count();
    assert_eq!(sold, 3);
    for told in paid.iter().filter(|told| told.status != 201) {
        told.is_problem(409, "insufficient_stock");
    }
    assert_eq!(shop.counts(&sku).await, (0, 0, 0));
}

#[tokio::test]
async fn a_user_finds_his_order_and_his_cart_gone() {
    let shop = Shop::open().await;
    let ada = shop.customer().await;
    let sku = shop.sku(100, 10).await;
    let order = shop.order_of(&ada, &sku, 1).await;
    assert_eq!(order["user_id"], ada["user"]["id"]);
    assert!(order.get("token").is_none());
    shop.get("/v1/me/cart").by(&ada).send().await.is_problem(404, "not_found");
    let mine = shop.get("/v1/me/orders").by(&ada).send().await;
    assert_eq!(mine.is(200).body["data"], json!([order]));
}
