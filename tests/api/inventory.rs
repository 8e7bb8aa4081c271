//! Stock: setting, adjusting, and what pending orders hold.

use serde_json::{Value, json};

use crate::support::{Shop, Told, unique};

async fn put(shop: &Shop, sku: &str, body: Value) -> Told {
    let path = format!("/v1/admin/inventory/{sku}");
    shop.put(&path, body).by(&shop.admin().await).key(&unique("put")).send().await
}

async fn adjust(shop: &Shop, sku: &str, body: Value) -> Told {
    let path = format!("/v1/admin/inventory/{sku}/adjust");
    shop.post(&path, body).by(&shop.admin().await).key(&unique("adjust")).send().await
}

#[tokio::test]
async fn a_variant_starts_with_nothing_and_is_set_and_adjusted() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sku = unique("STOCK");
    let body = json!({"title": "New", "variants": [{"sku": sku, "price": {"amount": 1, "currency": "GBP"}}]});
    shop.post("/v1/admin/products", body).by(&admin).send().await.is(201);
    let fresh = shop.get(&format!("/v1/admin/inventory/{sku}")).by(&admin).send().await;
    assert_eq!(fresh.is(200).body["on_hand"], 0);
    assert_eq!(fresh.tag(), format!("\"v{}\"", fresh.body["version"]));
    let told = put(&shop, &sku, json!({"on_hand": 7})).await;
    let version = told.is(200).body["version"].clone();
    let shown =
        json!({"sku": sku, "on_hand": 7, "reserved": 0, "available": 7, "version": version, "reservations": []});
    assert_eq!(told.body, shown);
    assert_eq!(adjust(&shop, &sku, json!({"delta": -3, "reason": "broken"})).await.is(200).body["on_hand"], 4);
    assert_eq!(adjust(&shop, &sku, json!({"delta": 6, "reason": "found"})).await.is(200).body["on_hand"], 10);
}

#[tokio::test]
async fn stock_is_set_against_what_was_seen() {
    let shop = Shop::open().await;
    let sku = shop.sku(1, 7).await;
    let told = put(&shop, &sku, json!({"on_hand": 9, "expected": 6})).await;
    assert_eq!(told.is_problem(409, "stock_changed").body["on_hand"], 7);
    assert_eq!(put(&shop, &sku, json!({"on_hand": 9, "expected": 7})).await.is(200).body["on_hand"], 9);
}

#[tokio::test]
async fn stock_has_its_limits() {
    let shop = Shop::open().await;
    let sku = shop.sku(1, 7).await;
    put(&shop, &sku, json!({"on_hand": -1})).await.has_fault("out_of_range", "/on_hand");
    put(&shop, &sku, json!({"on_hand": "7"})).await.has_fault("wrong_type", "/on_hand");
    put(&shop, &sku, json!({"on_hand": u64::MAX})).await.has_fault("out_of_range", "/on_hand");
    put(&shop, &sku, json!({})).await.has_fault("required", "/on_hand");
    adjust(&shop, &sku, json!({"delta": i64::MAX, "reason": "x"})).await.has_fault("out_of_range", "/delta");
    adjust(&shop, &sku, json!({"delta": 1})).await.has_fault("required", "/reason");
    adjust(&shop, &sku, json!({"delta": -8, "reason": "x"})).await.is_problem(409, "stock_reserved");
    assert_eq!(shop.counts(&sku).await, (7, 0, 7));
}

#[tokio::test]
async fn an_unknown_sku_has_no_stock() {
    let shop = Shop::open().await;
    put(&shop, "NO-SUCH", json!({"on_hand": 1})).await.is_problem(404, "not_found");
    adjust(&shop, "NO-SUCH", json!({"delta": 1, "reason": "x"})).await.is_problem(404, "not_found");
    shop.get("/v1/admin/inventory/NO-SUCH").by(&shop.admin().await).send().await.is_problem(404, "not_found");
    let sku = shop.sku(1, 7).await;
    put(&shop, &sku.to_lowercase(), json!({"on_hand": 1})).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn adjustments_at_the_same_time_all_count() {
    let shop = Shop::open().await;
    let sku = shop.sku(1, 0).await;
    let one = || adjust(&shop, &sku, json!({"delta": 1, "reason": "one more"}));
    for told in futures::future::join_all((0..20).map(|_| one())).await {
        told.is(200);
    }
    assert_eq!(shop.counts(&sku).await, (20, 0, 20));
}
