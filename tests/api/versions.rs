//! Entity tags: conditional reads and writes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADDRESS, Shop, gbp, unique};

fn path_of(product: &Value) -> String {
    format!("/v1/admin/products/{}", product["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    // The tree of categories is everybody's: here nobody else changes it.
    let shop = Shop::alone(&[]).await;
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

#[tokio::test]
async fn a_compressed_answer_and_a_plain_one_have_tags_of_their_own() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let product = shop.product(&unique("PACKED"), 100, 9).await;
    let path = path_of(&product);
    let long = json!({"description": "Warm. ".repeat(400)});
    shop.patch(&path, long).by(&admin).if_match("*").send().await.is(200);
    // HEAD: its answer has the fields of GET's, and nothing to unpack.
    let ask = |encoding: &str, known: &str| {
        let ask = shop.ask(Method::HEAD, &path).by(&admin).header("accept-encoding", encoding);
        if known.is_empty() { ask.send() } else { ask.header("if-none-match", known).send() }
    };
    let (plain, packed) = (ask("identity", "").await, ask("gzip", "").await);
    assert_eq!((plain.is(200).header("content-encoding"), packed.is(200).header("content-encoding")), ("", "gzip"));
    let marked = format!("{}-gzip\"", plain.tag().trim_end_matches('"'));
    assert_eq!(packed.tag(), marked);
    for (encoding, own, other) in [("identity", plain.tag(), packed.tag()), ("gzip", packed.tag(), plain.tag())] {
        let known = ask(encoding, &format!("\"a,b\", W/{own}")).await;
        assert_eq!((known.is(304).tag(), known.header("vary")), (own, "accept-encoding"));
        assert_eq!(known.header("cache-control"), "private, no-cache");
        assert_eq!((known.header("content-encoding"), known.header("content-length")), ("", ""));
        ask(encoding, other).await.is(200);
    }
    // Either names the version, and a write compares nothing else.
    shop.patch(&path, json!({"title": "New"})).by(&admin).if_match(&marked).send().await.is(200);
}

#[tokio::test]
async fn conditions_may_be_lists_over_several_fields() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let product = path_of(&shop.product(&unique("LISTS"), 100, 9).await);
    let category = shop.post("/v1/admin/categories", json!({"title": unique("Lists")})).by(&admin).send().await;
    let category = format!("/v1/admin/categories/{}", category.is(201).body["id"].as_str().expect("an id"));
    for (path, title) in [(&product, unique("Listed")), (&category, unique("Listed"))] {
        let change = |lines: [&str; 2]| {
            let ask = shop.patch(path, json!({"title": title})).by(&admin);
            lines.iter().fold(ask, |ask, line| ask.if_match(line)).send()
        };
        change(["\"v90\", W/\"v1\"", "\"v91\""]).await.is_problem(412, "stale_version");
        let first = change(["\"v90\", \"v1\"", "\"v91\""]).await;
        change(["\"v90\"", first.is(200).tag()]).await.is(200);
    }
    let cart = shop.guest_cart().await;
    let add = |lines: &str| {
        let body = json!({"email": "ada@example.com", "shipping_address": *ADDRESS});
        shop.put(&format!("{}/contact", cart.path()), body).cart_token(&cart.token).if_match(lines).send()
    };
    add("\"v8\", \"v9\"").await.is_problem(412, "stale_version");
    add("\"v9\", \"v1\"").await.is(200);
    let read = |name: &str, lines: [&str; 2]| {
        let ask = shop.get(&product).by(&admin);
        lines.iter().fold(ask, |ask, line| ask.header(name, line)).send()
    };
    let tag = read("x-nothing", ["", ""]).await.is(200).tag().to_owned();
    read("if-none-match", ["\"other\"", &tag]).await.is(304);
    read("if-none-match", ["\"other\"", "\"more\""]).await.is(200);
    read("if-match", ["\"other\"", &tag]).await.is(200);
    let stale = read("if-match", ["\"v99\"", &format!("W/{tag}")]).await;
    assert!(stale.is_problem(412, "stale_version").body["current_version"].is_u64(), "{}", stale.body);
    read("if-match", ["*", ""]).await.is(200);
}

#[tokio::test]
async fn a_write_is_no_304_and_takes_no_if_none_match() {
    let shop = Shop::open().await;
    let ada = shop.customer().await;
    let tag = shop.get("/v1/me").by(&ada).send().await.is(200).tag().to_owned();
    let change =
        |name: &str, known: &str| shop.patch("/v1/me", json!({"name": "A"})).by(&ada).header(name, known).send();
    change("if-none-match", "*").await.is_problem(400, "invalid_header");
    change("if-none-match", &tag).await.is_problem(400, "invalid_header");
    change("if-match", &tag).await.is(200);
}

/// While others write, too: whatever version it is at by then, the list has it.
#[tokio::test]
async fn a_list_that_names_every_version_is_never_refused() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let product = path_of(&shop.product(&unique("EVERY"), 100, 9).await);
    let category = shop.post("/v1/admin/categories", json!({"title": unique("Every")})).by(&admin).send().await;
    let category = format!("/v1/admin/categories/{}", category.is(201).body["id"].as_str().expect("an id"));
    let cart = shop.guest_cart().await;
    let lines = format!("{}/lines", cart.path());
    let sku = shop.sku(100, 5).await;
    let every: Vec<String> = (1..=300).map(|version| format!("\"v{version}\"")).collect();
    let every = every.join(", ");
    let write = |path: &str| {
        if path == lines {
            shop.post(path, json!({"sku": sku, "quantity": 1})).cart_token(&cart.token)
        } else {
            shop.patch(path, json!({"title": unique("Every")})).by(&admin)
        }
    };
    for path in [&product, &category, &lines] {
        let writer = || async {
            for _ in 0..12 {
                write(path).if_match(&every).key(&unique("a-key-of-twenty-two-letters")).send().await.is(200);
            }
        };
        futures::future::join_all((0..6).map(|_| writer())).await;
    }
}

/// A precondition is no part of what is asked: the same request with the right one is not the refusal again.
#[tokio::test]
async fn a_request_that_came_too_late_may_be_sent_again_with_the_new_version() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let product = path_of(&shop.product(&unique("LATE"), 100, 9).await);
    let category = shop.post("/v1/admin/categories", json!({"title": unique("Late")})).by(&admin).send().await;
    let category = format!("/v1/admin/categories/{}", category.is(201).body["id"].as_str().expect("an id"));
    for path in [&product, &category] {
        let (key, title) = (unique("a-key-of-twenty-two-letters"), unique("Again"));
        let change = |tag: String| {
            let ask = shop.patch(path, json!({"title": title})).by(&admin).key(&key);
            ask.if_match(&tag).send()
        };
        let stale = change("\"v77\"".into()).await;
        let current = stale.is_problem(412, "stale_version").body["current_version"].as_u64().expect("a version");
        assert_eq!(change(format!("\"v{current}\"")).await.is(200).body["title"], title);
        let again = change(format!("\"v{current}\"")).await;
        assert_eq!((again.is(200).header("idempotent-replayed"), &again.body["title"]), ("true", &json!(title)));
    }
}
