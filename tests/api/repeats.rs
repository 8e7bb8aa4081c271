//! Repeats under changed circumstances: the name in the path has moved on, or the time of the key is over.

use serde_json::json;

use crate::support::{Shop, gbp, unique};

#[tokio::test]
async fn a_change_by_slug_is_repeated_by_the_slug_that_the_product_had() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (old, new) = (unique("old-name"), unique("new-name"));
    let create = |slug: &str, title: &str| {
        let body = json!({"title": title, "slug": slug, "status": "published",
                          "variants": [{"sku": unique("NAMED"), "price": gbp(100)}]});
        shop.post("/v1/admin/products", body).by(&admin).send()
    };
    let product = create(&old, "First").await.is(201).body.clone();
    let path = format!("/v1/admin/products/{old}");
    let key = unique("rename");
    let rename = |title: &str| {
        let body = json!({"slug": new, "title": title});
        shop.patch(&path, body).by(&admin).if_match("*").key(&key).send()
    };
    let renamed = rename("Renamed").await;
    assert_eq!((&renamed.is(200).body["slug"], &renamed.body["id"]), (&json!(new), &product["id"]));
    shop.get(&path).by(&admin).send().await.is_problem(404, "not_found");
    rename("Renamed").await.repeats(&renamed);
    rename("Something else").await.is_problem(422, "idempotency_key_reused");

    // The slug is somebody else's now: the repeat still is about the product that it was asked of.
    let second = create(&old, "Second").await.is(201).body.clone();
    rename("Renamed").await.repeats(&renamed);
    let now = shop.get(&path).by(&admin).send().await;
    assert_eq!((&now.is(200).body["id"], &now.body["title"]), (&second["id"], &json!("Second")));
    let body = json!({"title": "Third"});
    let other = shop.patch(&path, body).by(&admin).if_match("*").key(&unique("rename")).send().await;
    assert_eq!((&other.is(200).body["id"], other.is_replayed()), (&second["id"], false));
    // Archiving by slug goes the same way.
    let key = unique("archive");
    let path = format!("/v1/admin/products/{new}");
    let archive = || shop.delete(&path).by(&admin).if_match("*").key(&key).send();
    let archived = archive().await;
    assert_eq!(archived.is(200).body["status"], "archived");
    archive().await.repeats(&archived);
}

/// The outcome of a key is kept as long as is configured, and where money moves as long as is configured for that.
#[tokio::test]
async fn keys_end_after_their_time_and_those_of_money_later() {
    let settings = [("SOUK_IDEMPOTENCY__KEEP_MS", "1"), ("SOUK_IDEMPOTENCY__KEEP_MONEY_MS", "600000")];
    let shop = Shop::alone(&settings).await;
    let sku = shop.sku(100, 500).await;
    let cart = shop.ready_cart(&sku, 1).await;
    let lines = format!("{}/lines", cart.path());
    let add = |key: String| {
        let line = json!({"sku": sku, "quantity": 1});
        async { shop.post(&lines, line).cart_token(&cart.token).key(&{ key }).send().await }
    };
    let first = unique("first");
    assert_eq!(add(first.clone()).await.is(200).body["lines"][0]["quantity"], 2);
    // What is over is dropped when some has gathered.
    for _ in 0..70 {
        assert!(!add(unique("more")).await.is(200).is_replayed());
    }
    let again = add(first).await;
    assert_eq!((again.is_replayed(), &again.is(200).body["lines"][0]["quantity"]), (false, &json!(73)));

    let key = unique("pay");
    let paid = shop.pay(&cart, "tok_ok", &key).await;
    paid.is(201);
    for _ in 0..70 {
        shop.pay(&cart, "tok_ok", &unique("pay")).await.is(200);
    }
    shop.pay(&cart, "tok_ok", &key).await.repeats(&paid);
}
