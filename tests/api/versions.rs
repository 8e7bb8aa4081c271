//! Entity tags: conditional reads and writes.

use serde_json::{Value, json};

use crate::support::{Shop, gbp, unique};

fn path_of(product: &Value) -> String {
    format!("/v1/admin/products/{}", product["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let shop = Shop::open().await;
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let sku = unique("KNOWN");
    let product = shop.product(&sku, 100, 9).await;
    let order = shop.order_of(&ada, &sku, 1).await;
    let cart = shop.guest_cart().await;
    let product_path = format!("/v1/products/{}", product["slug"].as_str().expect("a slug"));
    let order_path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
    let stock = format!("/v1/admin/inventory/{sku}");
    let paths =
        [&product_path, &order_path, &cart.path(), &stock, "/v1/me", "/v1/categories", "/.well-known/jwks.json"];
    for path in paths {
        let who = if path.starts_with("/v1/admin") { &admin } else { &ada };
        let ask = || {
            if path.starts_with("/v1/carts") { shop.get(path).cart_token(&cart.token) } else { shop.get(path).by(who) }
        };
        let read = ask().send().await;
        assert!(read.is(200).tag().starts_with('"') && !read.tag().is_empty(), "{path}: a strong tag");
        for known in [read.tag().to_owned(), format!("\"other\", W/{}", read.tag()), "*".into()] {
            let told = ask().header("if-none-match", &known).send().await;
            assert_eq!((told.is(304).tag(), &told.body), (read.tag(), &json!("")), "{path}");
        }
        ask().header("if-none-match", "\"none of them\"").send().await.is(200);
    }
}

#[tokio::test]
async fn a_tag_is_the_version_and_a_hash_of_what_others_add() {
    let shop = Shop::open().await;
    let sku = unique("BAND");
    let product = shop.product(&sku, 100, 9).await;
    let path = path_of(&product);
    let admin = shop.admin().await;
    let before = shop.get(&path).by(&admin).send().await;
    assert!(before.tag().starts_with(&format!("\"v{}-", product["version"])), "{}", before.tag());
    shop.stock(&sku, 0).await;
    // Bands may lag a second: asked until the news is there.
    let after = loop {
        let told = shop.get(&path).by(&admin).header("if-none-match", before.tag()).send().await;
        if told.status == 200 {
            break told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(after.body["variants"][0]["stock"], "out_of_stock");
    assert_ne!(after.tag(), before.tag());
    // A version compares alone: what stock does is no conflict with an edit.
    shop.patch(&path, json!({"title": "New"})).by(&admin).if_match(before.tag()).send().await.is(200);
}

#[tokio::test]
async fn admin_products_and_categories_change_only_under_their_version() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let product = path_of(&shop.product(&unique("GUARD"), 100, 9).await);
    let category = shop.post("/v1/admin/categories", json!({"title": unique("Guarded")})).by(&admin).send().await;
    let category = format!("/v1/admin/categories/{}", category.is(201).body["id"].as_str().expect("an id"));
    for path in [&product, &category] {
        shop.patch(path, json!({"title": "X"})).by(&admin).send().await.is_problem(428, "precondition_required");
        shop.delete(path).by(&admin).send().await.is_problem(428, "precondition_required");
        let first = shop.patch(path, json!({"title": unique("First")})).by(&admin).if_match("*").send().await;
        let second =
            shop.patch(path, json!({"title": unique("Second")})).by(&admin).if_match(first.is(200).tag()).send().await;
        let stale = shop.patch(path, json!({"title": "X"})).by(&admin).if_match(first.tag()).send().await;
        assert_eq!(stale.is_problem(412, "stale_version").body["current_version"], second.is(200).body["version"]);
        for wrong in ["\"nonsense\"", "v1", "W/\"v1\"", "\"v99999\""] {
            shop.delete(path).by(&admin).if_match(wrong).send().await.is_problem(412, "stale_version");
        }
        let gone = shop.delete(path).by(&admin).if_match(second.tag()).send().await;
        assert!(gone.status == 200 || gone.status == 204, "{}", gone.body);
    }
}

#[tokio::test]
async fn carts_orders_and_the_profile_take_if_match() {
    let shop = Shop::open().await;
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let sku = shop.sku(100, 9).await;
    let cart = shop.guest_cart().await;
    let stale = shop.add(&cart, &sku, 1).await.is(200).tag().to_owned();
    let now = shop.add(&cart, &sku, 1).await.is(200).tag().to_owned();
    let path = format!("{}/lines", cart.path());
    let add =
        |tag: &str| shop.post(&path, json!({"sku": sku, "quantity": 1})).cart_token(&cart.token).if_match(tag).send();
    add(&stale).await.is_problem(412, "stale_version");
    add(&now).await.is(200);
    add("*").await.is(200);
    let order = shop.order(&sku, 1).await;
    let path = format!("/v1/admin/orders/{}/fulfil", order["id"].as_str().expect("an id"));
    shop.post(&path, json!({})).by(&admin).if_match("\"v1\"").send().await.is_problem(412, "stale_version");
    let tag = format!("\"v{}\"", order["version"]);
    shop.post(&path, json!({})).by(&admin).if_match(&tag).send().await.is(200);
    shop.patch("/v1/me", json!({"name": "A"}))
        .by(&ada)
        .if_match("\"v999\"")
        .send()
        .await
        .is_problem(412, "stale_version");
}

#[tokio::test]
async fn of_two_who_edit_the_same_version_one_is_told() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sku = unique("RACE");
    let product = shop.product(&sku, 100, 9).await;
    let path = path_of(&product);
    let tag = shop.get(&path).by(&admin).send().await.tag().to_owned();
    let price = |amount| json!({"variants": [{"sku": sku, "options": {"size": "M"}, "price": gbp(amount)}]});
    let edit = |amount| shop.patch(&path, price(amount)).by(&admin).if_match(&tag).send();
    let (one, two) = tokio::join!(edit(101), edit(102));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}
