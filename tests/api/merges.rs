//! Merging carts: what becomes of the lines under each strategy, of the source, and when it is refused.

use serde_json::{Value, json};

use crate::support::{GuestCart, Shop, Told, gbp};

async fn merge(shop: &Shop, tokens: &Value, into: &str, from: &GuestCart, strategy: &str) -> Told {
    let body = json!({"from_cart_id": from.id, "from_token": from.token, "strategy": strategy});
    shop.post(&format!("{into}/merge"), body).by(tokens).send().await
}

async fn cart_of(shop: &Shop, tokens: &Value, lines: &[(&str, u64)]) -> String {
    let cart = shop.post("/v1/carts", json!({})).by(tokens).send().await.is(201).body.clone();
    let path = format!("/v1/carts/{}", cart["id"].as_str().expect("an id"));
    for (sku, quantity) in lines {
        let line = json!({"sku": sku, "quantity": quantity});
        shop.post(&format!("{path}/lines"), line).by(tokens).send().await.is(200);
    }
    path
}

#[tokio::test]
async fn a_guests_cart_becomes_part_of_the_users_under_every_strategy() {
    let shop = Shop::open().await;
    let ada = shop.customer().await;
    let (both, only) = (shop.sku(100, 90).await, shop.sku(7, 90).await);
    for (strategy, quantity) in [("sum", 5), ("max", 3), ("replace", 2), ("keep", 3)] {
        let target = cart_of(&shop, &ada, &[(&both, 3)]).await;
        let source = shop.guest_cart().await;
        shop.add(&source, &both, 2).await.is(200);
        shop.add(&source, &only, 4).await.is(200);
        let told = merge(&shop, &ada, &target, &source, strategy).await;
        let quantities = told.is(200).body["lines"].as_array().expect("lines").iter();
        let quantities: Vec<u64> = quantities.filter_map(|line| line["quantity"].as_u64()).collect();
        assert_eq!(quantities, [quantity, 4], "{strategy}");
        assert_eq!(told.body["totals"]["total"], gbp(i64::try_from(quantity * 100 + 28).expect("small")));
        let left = shop.get(&source.path()).cart_token(&source.token).send().await;
        assert_eq!(left.is(200).body["status"], "merged");
        shop.add(&source, &only, 1).await.is_problem(409, "cart_closed");
    }
}

#[tokio::test]
async fn a_merge_is_refused_without_the_right_to_the_source_and_both_carts_stay() {
    let shop = Shop::open().await;
    let (ada, eve) = (shop.customer().await, shop.customer().await);
    let sku = shop.sku(100, 90).await;
    let target = cart_of(&shop, &ada, &[]).await;
    let source = shop.guest_cart().await;
    shop.add(&source, &sku, 1).await.is(200);
    let wrong = GuestCart { token: "nonsense".into(), ..source.clone() };
    merge(&shop, &ada, &target, &wrong, "sum").await.is_problem(404, "not_found");
    merge(&shop, &eve, &target, &source, "sum").await.is_problem(404, "not_found");
    let body = json!({"from_cart_id": source.id, "strategy": "sum"});
    shop.post(&format!("{target}/merge"), body).by(&ada).send().await.is_problem(404, "not_found");
    merge(&shop, &ada, &target, &source, "add").await.has_fault("invalid_value", "/strategy");
    merge(&shop, &ada, &source.path(), &source, "sum").await.is_problem(404, "not_found");
    let itself = json!({"from_cart_id": source.id, "strategy": "sum"});
    let told = shop.post(&format!("{}/merge", source.path()), itself).cart_token(&source.token).send().await;
    told.has_fault("invalid_value", "/from_cart_id");
    assert_eq!(shop.get(&source.path()).cart_token(&source.token).send().await.is(200).body["status"], "open");
}

#[tokio::test]
async fn a_merge_that_cannot_be_leaves_both_carts_open() {
    let shop = Shop::open().await;
    let ada = shop.customer().await;
    let sku = shop.sku(100, 90).await;
    let source = shop.guest_cart().await;
    shop.add(&source, &sku, 600_000).await.is(200);
    let target = cart_of(&shop, &ada, &[(&sku, 600_000)]).await;
    merge(&shop, &ada, &target, &source, "sum").await.has_fault("out_of_range", "/from_cart_id");
    let dollars = shop.post("/v1/carts", json!({"currency": "USD"})).by(&ada).send().await.is(201).body.clone();
    let dollars = format!("/v1/carts/{}", dollars["id"].as_str().expect("an id"));
    merge(&shop, &ada, &dollars, &source, "sum").await.is_problem(422, "other_currency");
    assert_eq!(shop.get(&source.path()).cart_token(&source.token).send().await.is(200).body["status"], "open");
    let told = merge(&shop, &ada, &target, &source, "max").await;
    assert_eq!(told.is(200).body["lines"][0]["quantity"], 600_000);
    merge(&shop, &ada, &target, &source, "max").await.is_problem(409, "merge_not_possible");
}
