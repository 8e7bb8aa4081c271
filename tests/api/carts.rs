//! Carts: lines, contact, warnings, merging, who may open them.

use reqwest::Method;
use serde_json::json;

use crate::market::{Market, contact, gbp, text, unique};

#[tokio::test]
async fn a_guests_cart_is_filled_and_opened_by_its_token_alone() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 1999, 10).await;
    let cart = market.guest_cart().await;
    market.shop.get(&cart.path).send().await.is_problem(404, "not_found");
    market.shop.get(&cart.path).header("x-cart-token", "wrong").send().await.is_problem(404, "not_found");

    let told = market.add(&cart, "TEE-M", 2).await;
    told.is(200);
    assert_eq!(told.body["totals"]["total"], gbp(3998));
    assert_eq!(told.header("etag"), "\"v2\"");
    assert!(told.body.get("token").is_none(), "the token is told on creation only");
    assert_eq!(told.body["requirements"], json!([{"code": "contact_required", "pointer": "/contact"}]));
    let told = market.add(&cart, "TEE-M", 3).await;
    assert_eq!(told.body["lines"].as_array().map(Vec::len), Some(1));
    assert_eq!(told.body["lines"][0]["quantity"], 5);

    let line = format!("/lines/{}", text(&told.body["lines"][0]["id"]));
    let set = |quantity: i64| market.ask(&cart, Method::PATCH, &line, json!({"quantity": quantity}));
    assert_eq!(set(1).await.is(200).body["totals"]["total"], gbp(1999));
    set(-1).await.is_problem(422, "validation_failed");
    set(1_000_001).await.is_problem(422, "validation_failed");
    let told = market.ask(&cart, Method::PUT, "/contact", contact()).await;
    assert_eq!(
        (told.is(200).body["contact"]["email"].as_str(), &told.body["requirements"]),
        (Some("ada@example.com"), &json!([]))
    );
    assert_eq!(set(0).await.is(200).body["lines"], json!([]));
    set(1).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn what_is_not_sold_here_is_refused_and_what_is_scarce_warned_of() {
    let market = Market::open().await;
    let product = market.product("Tee", "TEE-M", 1999, 2).await;
    let draft = json!({"title": "Draft", "variants": [{"sku": "DRAFT", "price": gbp(1)}]});
    market.admin(Method::POST, "/v1/admin/products", draft).await.is(201);
    let euro = json!({"title": "Euro", "status": "published",
                      "variants": [{"sku": "EURO", "price": {"amount": 1, "currency": "EUR"}}]});
    market.admin(Method::POST, "/v1/admin/products", euro).await.is(201);
    let cart = market.guest_cart().await;
    for (sku, code) in [("NOPE", "unknown_sku"), ("DRAFT", "unpublished_sku"), ("EURO", "other_currency")] {
        market.add(&cart, sku, 1).await.is_problem(422, code);
    }
    for quantity in [0, 1_000_001] {
        let told = market.add(&cart, "TEE-M", quantity).await;
        assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["pointer"], "/quantity");
    }
    let scarce = market.add(&cart, "TEE-M", 3).await;
    assert_eq!(scarce.is(200).body["warnings"][0]["code"], "insufficient_stock");
    assert!(scarce.header("etag").starts_with("\"v2-"), "warnings are the catalogue's: {}", scarce.header("etag"));
    let path = format!("/v1/admin/products/{}", text(&product["id"]));
    let dearer = json!({"variants": [{"sku": "TEE-M", "price": gbp(2500)}]});
    market.change(Method::PATCH, &path, &json!(1), dearer).await.is(200);
    market.stock("TEE-M", 9).await;
    let now = market.ask(&cart, Method::GET, "", json!({})).await;
    assert_eq!(now.body["warnings"][0]["code"], "price_changed");
    assert_eq!(now.body["totals"]["total"], gbp(3 * 1999), "the cart keeps its prices");
}

#[tokio::test]
async fn a_repeat_with_the_same_key_changes_nothing_twice() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 1999, 10).await;
    let create = async |key: &str| market.shop.post("/v1/carts", json!({"reference": "r"})).key(key).send().await;
    create("short").await.is_problem(400, "idempotency_key_invalid");
    let key = unique();
    let (first, again) = (create(&key).await, create(&key).await);
    assert_eq!((first.is(201).body.clone(), again.header("idempotent-replayed")), (again.body.clone(), "true"));
    let other = market.shop.post("/v1/carts", json!({"reference": "s"})).key(&key).send().await;
    other.is_problem(422, "idempotency_key_reused");

    let path = format!("/v1/carts/{}/lines", text(&first.body["id"]));
    let add = async |quantity: u32| {
        let ask = market.shop.post(&path, json!({"sku": "TEE-M", "quantity": quantity}));
        ask.header("x-cart-token", text(&first.body["token"])).key("k1").send().await
    };
    let one = add(1).await;
    let two = add(1).await;
    assert_eq!((one.is(200).body.clone(), two.header("idempotent-replayed")), (two.body.clone(), "true"));
    add(2).await.is_problem(422, "idempotency_key_reused");
    let stale = market.shop.post(&path, json!({"sku": "TEE-M", "quantity": 1})).header("if-match", "\"v1\"");
    let stale = stale.header("x-cart-token", text(&first.body["token"])).send().await;
    stale.is_problem(412, "stale_version");
}

#[tokio::test]
async fn a_guests_cart_merges_into_a_users_and_is_found_as_his_latest() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 1000, 10).await;
    market.product("Cap", "CAP", 500, 10).await;
    let ada = market.shop.register("ada@example.com").await;
    market.shop.get("/v1/me/cart").by(&ada).send().await.is_problem(404, "not_found");
    let own = market.shop.post("/v1/carts", json!({})).by(&ada).send().await;
    own.is(201);
    assert!(own.body.get("token").is_none());
    assert_eq!(own.body["user_id"], ada["user"]["id"]);
    let path = format!("/v1/carts/{}", text(&own.body["id"]));
    let add = json!({"sku": "TEE-M", "quantity": 1});
    market.shop.post(&format!("{path}/lines"), add).by(&ada).send().await.is(200);

    let guest = market.guest_cart().await;
    market.add(&guest, "TEE-M", 4).await.is(200);
    market.add(&guest, "CAP", 1).await.is(200);
    let merge = async |body| market.shop.post(&format!("{path}/merge"), body).by(&ada).send().await;
    merge(json!({"from_cart_id": guest.id, "strategy": "sum"})).await.is_problem(404, "not_found");
    merge(json!({"from_cart_id": own.body["id"], "strategy": "sum"})).await.is_problem(422, "validation_failed");
    let told = merge(json!({"from_cart_id": guest.id, "from_token": guest.token, "strategy": "max"})).await;
    told.is(200);
    let lines: Vec<_> =
        told.body["lines"].as_array().expect("lines").iter().map(|line| (&line["sku"], &line["quantity"])).collect();
    assert_eq!(lines, [(&json!("TEE-M"), &json!(4)), (&json!("CAP"), &json!(1))]);
    let source = market.ask(&guest, Method::GET, "", json!({})).await;
    assert_eq!(source.is(200).body["status"], "merged");
    market.add(&guest, "CAP", 1).await.is_problem(409, "cart_closed");
    merge(json!({"from_cart_id": guest.id, "from_token": guest.token, "strategy": "sum"}))
        .await
        .is_problem(409, "merge_not_possible");
    let latest = market.shop.get("/v1/me/cart").by(&ada).send().await;
    assert_eq!(latest.is(200).body["id"], own.body["id"]);
    let eve = market.shop.register("eve@example.com").await;
    market.shop.get(&path).by(&eve).send().await.is_problem(404, "not_found");
}
