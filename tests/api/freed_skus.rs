//! A SKU that one product gives up and another claims: stock, orders and carts stay with what they were made for.

use serde_json::{Value, json};

use crate::support::{GuestCart, Shop, Told, gbp, unique};

/// A SKU as the mug's, whose tee of before at 10.00 has an order of 2, an open cart of 3, and 8 pieces left.
struct Freed {
    sku: String,
    mug: Value,
    order: Value,
    cart: GuestCart,
}

impl Freed {
    async fn make(shop: &Shop) -> Freed {
        let (admin, sku) = (shop.admin().await, unique("FREED"));
        let tee = shop.product(&sku, 1000, 10).await;
        let order = shop.order(&sku, 2).await;
        let cart = shop.ready_cart(&sku, 3).await;
        let path = format!("/v1/admin/products/{}", tee["id"].as_str().expect("an id"));
        let none = shop.patch(&path, json!({"variants": []})).by(&admin).if_match("*").send().await;
        none.is(200);
        let variants = json!([{"sku": sku, "price": gbp(1000)}]);
        let mug = json!({"title": format!("Mug {sku}"), "status": "published", "variants": variants});
        let mug = shop.post("/v1/admin/products", mug).by(&admin).send().await.is(201).body.clone();
        Freed { sku, mug, order, cart }
    }
}

async fn shown(shop: &Shop, cart: &GuestCart) -> Told {
    shop.get(&cart.path()).cart_token(&cart.token).send().await
}

#[tokio::test]
async fn who_claims_a_freed_sku_starts_with_nothing_and_keeps_what_is_his() {
    let shop = Shop::open().await;
    let Freed { sku, mug, order, .. } = Freed::make(&shop).await;
    assert_eq!(mug["variants"][0]["stock"], "out_of_stock");
    assert_eq!(shop.counts(&sku).await, (0, 0, 0), "the tee's eight pieces are the tee's");
    shop.stock(&sku, 5).await;
    let id = order["id"].as_str().expect("an id");
    let cancel = shop.post(&format!("/v1/orders/{id}/cancel"), json!({})).order_token(&order).key(&unique("cancel"));
    let cancelled = cancel.send().await;
    let statuses = ["status", "payment_status"].map(|name| cancelled.is(200).body[name].clone());
    assert_eq!(statuses, ["cancelled", "refunded"]);
    assert_eq!(shop.counts(&sku).await, (5, 0, 5), "the tees of the order do not become mugs");
    assert_eq!(shop.order(&sku, 1).await["lines"][0]["product_id"], mug["id"]);
    assert_eq!(shop.counts(&sku).await, (4, 0, 4));
}

#[tokio::test]
async fn a_cart_says_that_its_sku_names_another_article_and_nobody_buys_it_unseen() {
    let shop = Shop::open().await;
    let Freed { sku, mug, order, cart } = Freed::make(&shop).await;
    shop.stock(&sku, 9).await;
    // What a cart warns of comes from a list of SKUs, which may lag a second: asked until the news is there.
    let before = loop {
        let told = shown(&shop, &cart).await;
        if told.is(200).body["warnings"]
            .as_array()
            .is_some_and(|all| all.len() == 1 && all[0]["code"] == "item_changed")
        {
            break told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let line = &before.is(200).body["lines"][0];
    assert_eq!((&line["product_id"], &line["title"]), (&order["lines"][0]["product_id"], &json!(format!("A {sku}"))));
    let message = format!("SKU {sku} is no longer A {sku}: another article is sold under it.");
    let warning = json!({"code": "item_changed", "target": line["id"], "message": message});
    assert_eq!(before.body["warnings"], json!([warning]));
    let key = unique("pay");
    let told = shop.pay(&cart, "tok_ok", &key).await;
    let fault = json!({"code": "item_changed", "pointer": "/lines/0/sku", "sku": sku, "title": mug["title"]});
    assert_eq!(told.is_problem(409, "item_changed").body["errors"], json!([fault]));
    assert_eq!((&told.body["totals"]["total"], told.body.get("order_id")), (&gbp(3000), None));
    assert_eq!(shop.counts(&sku).await, (9, 0, 9), "nothing was ordered");
    let after = shown(&shop, &cart).await;
    let line = &after.is(200).body["lines"][0];
    assert_eq!((&line["product_id"], &line["title"], &line["quantity"]), (&mug["id"], &mug["title"], &json!(3)));
    assert_eq!((&after.body["status"], &after.body["warnings"]), (&json!("open"), &json!([])));
    shop.pay(&cart, "tok_ok", &key).await.repeats(&told);
    let paid = shop.pay(&cart, "tok_ok", &unique("pay")).await;
    assert_eq!(paid.is(201).body["lines"][0]["product_id"], mug["id"]);
    assert_eq!(shop.counts(&sku).await, (6, 0, 6));
}

#[tokio::test]
async fn a_freed_sku_that_is_added_again_starts_anew_in_a_cart() {
    let shop = Shop::open().await;
    let Freed { sku, mug, cart, .. } = Freed::make(&shop).await;
    shop.stock(&sku, 9).await;
    let told = shop.add(&cart, &sku, 1).await;
    let lines = told.is(200).body["lines"].as_array().expect("lines");
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["product_id"], &lines[0]["quantity"]), (&mug["id"], &json!(1)));
    assert_eq!(told.body["warnings"], json!([]));
}
