//! Carts: opening, filling, warnings, requirements, limits, and who may.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADDRESS, GuestCart, Shop, gbp, unique};

fn line_path(cart: &GuestCart, shown: &Value, n: usize) -> String {
    format!("{}/lines/{}", cart.path(), shown["lines"][n]["id"].as_str().expect("a line"))
}

fn codes(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|item| item["code"].as_str()).collect()
}

#[tokio::test]
async fn a_new_cart_is_empty_open_and_says_what_is_missing() {
    let shop = Shop::open().await;
    let body = json!({"currency": "GBP", "reference": "till 3", "metadata": {"gift": "yes"}});
    let told = shop.post("/v1/carts", body).send().await;
    let cart = &told.is(201).body;
    assert_eq!(told.header("location"), format!("/v1/carts/{}", cart["id"].as_str().expect("an id")));
    assert_eq!(told.tag(), format!("\"v{}\"", cart["version"]));
    assert_eq!((&cart["status"], &cart["lines"], &cart["contact"]), (&json!("open"), &json!([]), &Value::Null));
    assert_eq!((&cart["reference"], &cart["metadata"]), (&json!("till 3"), &json!({"gift": "yes"})));
    assert_eq!(cart["totals"]["total"], gbp(0));
    assert_eq!(codes(&cart["requirements"]), ["cart_empty", "contact_required"]);
    assert_eq!(cart["requirements"][1]["pointer"], "/contact");
    assert!(cart.get("user_id").is_none() && cart["token"].is_string());
    let token = cart["token"].as_str().expect("a token");
    let read = shop.get(told.header("location")).cart_token(token).send().await;
    assert!(read.is(200).body.get("token").is_none(), "the token is told once");
}

#[tokio::test]
async fn a_guests_cart_opens_by_its_token_only() {
    let shop = Shop::open().await;
    let (mine, other) = (shop.guest_cart().await, shop.guest_cart().await);
    let sku = shop.sku(100, 5).await;
    shop.get(&mine.path()).cart_token(&mine.token).send().await.is(200);
    shop.get(&mine.path()).by(&shop.admin().await).send().await.is(200);
    let stranger = shop.customer().await;
    let lines = format!("{}/lines", mine.path());
    let contact = json!({"email": "a@b.example", "shipping_address": *ADDRESS});
    let asks = || {
        [
            shop.get(&mine.path()),
            shop.post(&lines, json!({"sku": sku, "quantity": 1})),
            shop.put(&format!("{}/contact", mine.path()), contact.clone()),
            shop.post(&format!("{}/complete", mine.path()), json!({"payment": {"method": "mock", "token": "t"}}))
                .key("a-key-that-is-long-enough-for-a-guest"),
        ]
    };
    for ask in asks() {
        ask.send().await.is_problem(404, "not_found");
    }
    for token in [other.token.as_str(), "nonsense", ""] {
        for ask in asks() {
            ask.cart_token(token).send().await.is_problem(404, "not_found");
        }
    }
    for ask in asks() {
        ask.by(&stranger).send().await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_users_cart_is_his_alone_and_the_latest_open_one_is_found() {
    let shop = Shop::open().await;
    let (ada, eve) = (shop.customer().await, shop.customer().await);
    shop.get("/v1/me/cart").by(&ada).send().await.is_problem(404, "not_found");
    shop.get("/v1/me/cart").send().await.is_problem(401, "unauthenticated");
    let first = shop.post("/v1/carts", json!({})).by(&ada).send().await.is(201).body.clone();
    assert_eq!(first["user_id"], ada["user"]["id"]);
    assert!(first.get("token").is_none(), "a user needs none");
    let second = shop.post("/v1/carts", json!({})).by(&ada).send().await.is(201).body.clone();
    assert_eq!(shop.get("/v1/me/cart").by(&ada).send().await.is(200).body["id"], second["id"]);
    let path = format!("/v1/carts/{}", first["id"].as_str().expect("an id"));
    shop.get(&path).by(&ada).send().await.is(200);
    shop.get(&path).by(&eve).send().await.is_problem(404, "not_found");
    shop.get(&path).send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn lines_grow_change_and_go_and_the_totals_follow() {
    let shop = Shop::open().await;
    let (tee, mug) = (shop.sku(1999, 90).await, shop.sku(750, 90).await);
    let cart = shop.guest_cart().await;
    shop.add(&cart, &tee, 2).await.is(200);
    shop.add(&cart, &mug, 1).await.is(200);
    let shown = shop.add(&cart, &tee, 3).await.is(200).body.clone();
    let lines = shown["lines"].as_array().expect("lines");
    let of = |n: usize| (lines[n]["sku"].as_str(), lines[n]["quantity"].as_u64(), lines[n]["total"]["amount"].as_i64());
    assert_eq!(lines.len(), 2);
    assert_eq!(of(0), (Some(tee.as_str()), Some(5), Some(9995)));
    assert_eq!(of(1), (Some(mug.as_str()), Some(1), Some(750)));
    assert_eq!(shown["totals"]["total"], gbp(10_745));
    assert_eq!(codes(&shown["requirements"]), ["contact_required"]);
    let set = |n, quantity: Value| {
        shop.patch(&line_path(&cart, &shown, n), json!({"quantity": quantity})).cart_token(&cart.token).send()
    };
    let changed = set(0, json!(1)).await;
    assert_eq!(changed.is(200).body["totals"]["total"], gbp(2_749));
    assert_eq!(changed.body["lines"][0]["id"], shown["lines"][0]["id"]);
    set(0, json!(1_000_001)).await.has_fault("out_of_range", "/quantity");
    set(0, json!(-1)).await.has_fault("out_of_range", "/quantity");
    set(0, json!("2")).await.has_fault("wrong_type", "/quantity");
    assert_eq!(set(0, json!(0)).await.is(200).body["lines"].as_array().map(Vec::len), Some(1));
    set(0, json!(2)).await.is_problem(404, "not_found");
    let gone = shop.delete(&line_path(&cart, &shown, 1)).cart_token(&cart.token).send().await;
    assert_eq!((&gone.is(200).body["lines"], &gone.body["totals"]["total"]), (&json!([]), &gbp(0)));
}

#[tokio::test]
async fn a_contact_makes_a_filled_cart_ready() {
    let shop = Shop::open().await;
    let cart = shop.guest_cart().await;
    shop.add(&cart, &shop.sku(100, 5).await, 1).await.is(200);
    let path = format!("{}/contact", cart.path());
    let put = |body: Value| shop.put(&path, body).cart_token(&cart.token).send();
    let told =
        put(json!({"email": " Ada@Example.com ", "shipping_address": *ADDRESS, "billing_address": *ADDRESS})).await;
    assert_eq!(told.is(200).body["contact"]["email"], "ada@example.com");
    assert_eq!(told.body["contact"]["billing_address"], *ADDRESS);
    assert_eq!(told.body["requirements"], json!([]));
    put(json!({"email": "ada@example.com"})).await.has_fault("required", "/shipping_address");
    put(json!({"email": "nobody", "shipping_address": *ADDRESS})).await.has_fault("invalid_value", "/email");
    let mut nowhere = ADDRESS.clone();
    nowhere["country"] = json!("XX");
    let told = put(json!({"email": "ada@example.com", "shipping_address": nowhere})).await;
    told.has_fault("invalid_value", "/shipping_address/country");
}

#[tokio::test]
async fn a_sku_that_is_unknown_unpublished_or_of_another_currency_is_refused() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let cart = shop.guest_cart().await;
    shop.add(&cart, "NO-SUCH-SKU", 1).await.is_problem(422, "unknown_sku").has_fault("unknown_sku", "/sku");
    let (draft, dollars) = (unique("DRAFT"), unique("USD"));
    let body = json!({"title": "Draft", "variants": [{"sku": draft, "price": gbp(1)}]});
    shop.post("/v1/admin/products", body).by(&admin).send().await.is(201);
    shop.add(&cart, &draft, 1).await.is_problem(422, "unpublished_sku").has_fault("unpublished_sku", "/sku");
    let price = json!({"amount": 5, "currency": "USD"});
    let body = json!({"title": "Import", "status": "published", "variants": [{"sku": dollars, "price": price}]});
    shop.post("/v1/admin/products", body).by(&admin).send().await.is(201);
    shop.add(&cart, &dollars, 1).await.is_problem(422, "other_currency").has_fault("other_currency", "/sku");
    let american = shop.post("/v1/carts", json!({"currency": "USD"})).send().await.is(201).body.clone();
    let path = format!("/v1/carts/{}/lines", american["id"].as_str().expect("an id"));
    let token = american["token"].as_str().expect("a token");
    let told = shop.post(&path, json!({"sku": dollars, "quantity": 2})).cart_token(token).send().await;
    assert_eq!(told.is(200).body["totals"]["total"], json!({"amount": 10, "currency": "USD"}));
}

#[tokio::test]
async fn a_list_of_lines_is_added_whole_or_not_at_all() {
    let shop = Shop::open().await;
    let (tee, mug) = (shop.sku(1999, 90).await, shop.sku(750, 90).await);
    let cart = shop.guest_cart().await;
    let add = |body: Value| shop.post(&format!("{}/lines", cart.path()), body).cart_token(&cart.token);
    let line = |sku: &str, quantity: u64| json!({"sku": sku, "quantity": quantity});
    shop.add(&cart, &mug, 1).await.is(200);

    let faulty = json!({"lines": [line(&tee, 1), line("NO-SUCH-SKU", 1), line(&mug, 1_000_000), line("NOR-THIS", 1)]});
    let told = add(faulty).send().await;
    let faults = told.is_problem(422, "validation_failed").body["errors"].as_array().expect("faults");
    let pointers: Vec<_> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
    assert_eq!(codes(&told.body["errors"]), ["unknown_sku", "out_of_range", "unknown_sku"]);
    assert_eq!(pointers, ["/lines/1/sku", "/lines/2/quantity", "/lines/3/sku"]);
    let told = add(json!({"lines": [line("NO-SUCH-SKU", 1), line(&tee, 1)]})).send().await;
    told.is_problem(422, "unknown_sku").has_fault("unknown_sku", "/lines/0/sku");
    let shown = shop.get(&cart.path()).cart_token(&cart.token).send().await;
    assert_eq!(
        shown.is(200).body["lines"].as_array().map(Vec::len),
        Some(1),
        "nothing of a list with a fault is added"
    );

    let list = json!({"lines": [line(&tee, 2), line(&mug, 4), line(&tee, 3)]});
    let key = unique("a-list-of-lines-is-kept");
    let told = add(list.clone()).key(&key).send().await;
    let of = |n: usize| (told.body["lines"][n]["sku"].as_str(), told.body["lines"][n]["quantity"].as_u64());
    assert_eq!((of(0), of(1)), ((Some(mug.as_str()), Some(5)), (Some(tee.as_str()), Some(5))));
    assert_eq!(told.is(200).body["totals"]["total"], gbp(5 * 750 + 5 * 1999));
    shop.add(&cart, &mug, 1).await.is(200);
    let again = add(list.clone()).key(&key).send().await;
    assert_eq!((again.is(200).header("idempotent-replayed"), &again.body), ("true", &told.body));
    add(json!({"lines": [line(&tee, 1)]})).key(&key).send().await.is_problem(422, "idempotency_key_reused");
    add(list).if_match("\"v1\"").send().await.is_problem(412, "stale_version");

    add(json!({"lines": []})).send().await.has_fault("invalid_value", "/lines");
    add(json!({"lines": vec![line(&tee, 1); 501]})).send().await.has_fault("invalid_value", "/lines");
    add(json!({"lines": [line(&tee, 1), {"sku": tee}]})).send().await.has_fault("required", "/lines/1/quantity");
    add(json!({"lines": [line("no sku", 1)]})).send().await.has_fault("invalid_value", "/lines/0/sku");
    add(json!({"lines": null})).send().await.has_fault("wrong_type", "/lines");
    add(json!({"lines": [line(&tee, 1)], "sku": tee, "quantity": 1})).send().await.has_fault("invalid_value", "");
    add(json!({"quantity": 1})).send().await.has_fault("required", "/sku");
    add(json!({"sku": tee})).send().await.has_fault("required", "/quantity");
    add(json!({"sku": null, "quantity": 1})).send().await.has_fault("wrong_type", "/sku");
}

#[tokio::test]
async fn a_caller_may_prefer_a_short_answer_to_any_cart_write() {
    let shop = Shop::open().await;
    let minimal = "return=minimal";
    let created = shop.post("/v1/carts", json!({})).header("prefer", minimal).send().await;
    assert_eq!(created.is(201).header("preference-applied"), minimal);
    let token = created.body["token"].as_str().expect("a guest's token").to_owned();
    let path = format!("/v1/carts/{}", created.body["id"].as_str().expect("an id"));
    let brief = |body: &Value| {
        let names: Vec<String> = body.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(names.len(), 5, "{names:?}");
        let members = ["id", "version", "totals", "warnings", "requirements"];
        assert!(members.iter().all(|name| body.get(name).is_some()), "{names:?}");
    };
    let (tee, few) = (shop.sku(1999, 90).await, shop.sku(750, 1).await);
    let lines = format!("{path}/lines");
    let list = json!({"lines": [{"sku": tee, "quantity": 1}, {"sku": few, "quantity": 2}]});
    let key = unique("a-short-answer-is-kept");
    let told = shop.post(&lines, list.clone()).cart_token(&token).key(&key).header("prefer", minimal).send().await;
    assert_eq!(told.is(200).header("preference-applied"), minimal);
    brief(&told.body);
    assert_eq!(told.body["totals"]["total"], gbp(1999 + 2 * 750));
    assert_eq!(codes(&told.body["warnings"]), ["insufficient_stock"]);
    assert_eq!(codes(&told.body["requirements"]), ["contact_required"]);
    assert!(told.tag().starts_with(&format!("\"v{}-", told.body["version"])), "{}", told.tag());

    // The same request again may be answered at length: how it is told is no part of what is asked.
    let whole = shop.post(&lines, list).cart_token(&token).key(&key).header("prefer", "wait=5").send().await;
    assert_eq!(
        (whole.is(200).header("idempotent-replayed"), whole.body["lines"][1]["quantity"].as_u64()),
        ("true", Some(2))
    );
    assert_eq!(whole.header("preference-applied"), "");

    let contact = json!({"email": "a@b.example", "shipping_address": *ADDRESS});
    let of = |n: usize| format!("{lines}/{}", whole.body["lines"][n]["id"].as_str().expect("an id"));
    for ask in
        [shop.put(&format!("{path}/contact"), contact), shop.patch(&of(1), json!({"quantity": 1})), shop.delete(&of(0))]
    {
        let told = ask.cart_token(&token).header("prefer", minimal).send().await;
        assert_eq!(told.is(200).header("preference-applied"), minimal);
        brief(&told.body);
    }
    let other = shop.guest_cart().await;
    shop.add(&other, &tee, 3).await.is(200);
    let body = json!({"from_cart_id": other.id, "from_token": other.token, "strategy": "sum"});
    let told = shop.post(&format!("{path}/merge"), body).cart_token(&token).header("prefer", minimal).send().await;
    assert_eq!(told.is(200).body["totals"]["total"], gbp(3 * 1999 + 750));
    brief(&told.body);
    let refused = shop.patch(&of(0), json!({"quantity": 1})).cart_token(&token).header("prefer", minimal).send().await;
    assert_eq!(refused.is_problem(404, "not_found").header("preference-applied"), "");
}

#[tokio::test]
async fn asking_for_more_than_there_is_warns_and_a_new_price_does() {
    let shop = Shop::open().await;
    let sku = unique("WARN");
    let product = shop.product(&sku, 1000, 2).await;
    let cart = shop.guest_cart().await;
    assert_eq!(shop.add(&cart, &sku, 1).await.is(200).body["warnings"], json!([]));
    let told = shop.add(&cart, &sku, 2).await;
    let line = told.is(200).body["lines"][0]["id"].clone();
    assert_eq!(codes(&told.body["warnings"]), ["insufficient_stock"]);
    assert_eq!(told.body["warnings"][0]["target"], line);
    assert!(told.tag().starts_with(&format!("\"v{}-", told.body["version"])), "warnings are another entity's data");
    let path = format!("/v1/admin/products/{}", product["id"].as_str().expect("an id"));
    let patch = json!({"variants": [{"sku": sku, "options": {"size": "M"}, "price": gbp(1200)}]});
    shop.patch(&path, patch).by(&shop.admin().await).if_match("*").send().await.is(200);
    let shown = async || shop.get(&cart.path()).cart_token(&cart.token).send().await;
    let warned = async || codes(&shown().await.is(200).body["warnings"]).join(" ");
    shop.soon(warned, "insufficient_stock price_changed".to_owned()).await;
    assert_eq!(shown().await.body["lines"][0]["unit_price"], gbp(1000), "a line keeps the price that it was added at");
}

#[tokio::test]
async fn a_cart_takes_two_thousand_lines_and_a_line_a_million_pieces() {
    let shop = Shop::with(&[("SOUK_HTTP__REQUEST_DEADLINE_MS", "25000")]).await;
    let admin = shop.admin().await;
    let base = unique("LIMIT");
    let create = async |n: usize| {
        let variants: Vec<Value> =
            (0..100).map(|v| json!({"sku": format!("{base}-{n}-{v}"), "price": gbp(1)})).collect();
        let body = json!({"title": "Many", "status": "published", "variants": variants});
        shop.post("/v1/admin/products", body).by(&admin).send().await.is(201);
    };
    // One after the other: all at once, the last of them waits for 2,000 claims of others within its own deadline.
    for n in 0..21 {
        create(n).await;
    }
    let cart = shop.guest_cart().await;
    let merge = async |from: GuestCart| {
        let body = json!({"from_cart_id": from.id, "from_token": from.token, "strategy": "sum"});
        shop.post(&format!("{}/merge", cart.path()), body).cart_token(&cart.token).send().await
    };
    let skus: Vec<String> =
        (0..20).flat_map(|n| (0..100).map(move |v| (n, v))).map(|(n, v)| format!("{base}-{n}-{v}")).collect();
    for part in skus.chunks(500) {
        let lines: Vec<Value> = part.iter().map(|sku| json!({"sku": sku, "quantity": 1})).collect();
        let ask = shop.post(&format!("{}/lines", cart.path()), json!({"lines": lines})).cart_token(&cart.token);
        ask.header("prefer", "return=minimal").send().await.is(200);
    }
    let beyond = format!("{base}-20-0");
    shop.add(&cart, &beyond, 1).await.is_problem(409, "too_many_lines");
    let one_more = shop.guest_cart().await;
    shop.add(&one_more, &beyond, 1).await.is(200);
    merge(one_more).await.is_problem(409, "too_many_lines");
    let first = format!("{base}-0-0");
    shop.add(&cart, &first, 999_999).await.is(200);
    shop.add(&cart, &first, 1).await.has_fault("out_of_range", "/quantity");
    let told = shop.get(&cart.path()).cart_token(&cart.token).send().await;
    assert_eq!(told.is(200).body["lines"].as_array().map(Vec::len), Some(2_000));
}

#[tokio::test]
async fn a_cart_that_nobody_touches_expires() {
    let shop = Shop::with(&[("SOUK_CART__TTL_MS", "300")]).await;
    let cart = shop.guest_cart().await;
    let sku = shop.sku(100, 1).await;
    // What is waited for is the answer itself: the server wakes the cart by its own clock.
    let told = loop {
        let told = shop.ask(Method::POST, &format!("{}/lines", cart.path()));
        let told = told.json(json!({"sku": sku, "quantity": 0})).cart_token(&cart.token).send().await;
        let status = shop.get(&cart.path()).cart_token(&cart.token).send().await.is(200).body["status"].clone();
        if status == "expired" {
            break told;
        }
    };
    told.is(422);
    shop.add(&cart, &sku, 1).await.is_problem(410, "cart_expired");
    shop.pay(&cart, "tok_ok", &unique("pay")).await.is_problem(410, "cart_expired");
}
