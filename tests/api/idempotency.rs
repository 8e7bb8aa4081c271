//! The same key and the same request: the same answer, whatever has happened in between.

use serde_json::json;

use crate::support::{Shop, Told, gbp, unique};

async fn open_cart(shop: &Shop, key: &str, reference: &str) -> Told {
    shop.post("/v1/carts", json!({"reference": reference})).key(key).send().await
}

fn long_key() -> String {
    unique("0123456789abcdef0123456789")
}

#[tokio::test]
async fn the_same_key_and_request_get_the_same_answer() {
    let shop = Shop::open().await;
    let key = long_key();
    let first = open_cart(&shop, &key, "one").await;
    assert!(!first.is(201).is_replayed());
    let again = open_cart(&shop, &key, "one").await;
    again.repeats(&first);
    assert_eq!((again.header("location"), again.tag()), (first.header("location"), first.tag()));
    open_cart(&shop, &format!("\"{key}\""), "one").await.repeats(&first);
}

#[tokio::test]
async fn the_same_json_in_other_spelling_is_the_same_request() {
    let shop = Shop::open().await;
    let key = long_key();
    let ask = |text: &'static str| shop.ask(reqwest::Method::POST, "/v1/carts").key(&key).text(text).send();
    let first = ask("{\"reference\":\"a\",\"currency\":\"GBP\"}").await;
    ask(" {\"currency\": \"GBP\", \"reference\": \"\\u0061\"}").await.repeats(&first);
}

#[tokio::test]
async fn the_same_url_in_other_spelling_is_the_same_request() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 9).await;
    let cart = shop.guest_cart().await;
    let key = unique("k");
    let path = format!("{}/lines", cart.path());
    let add = |path: &str| {
        let ask = shop.post(path, json!({"sku": sku, "quantity": 1}));
        ask.cart_token(&cart.token).key(&key).send()
    };
    let first = add(&path).await;
    assert_eq!(first.is(200).body["lines"][0]["quantity"], 1);
    for spelt in [path.replacen("carts", "c%61r%74s", 1), path.replacen("cart_", "cart%5F", 1)] {
        assert_ne!(spelt, path);
        add(&spelt).await.repeats(&first);
    }
    add(&path.replacen("cart_", "cart%5f", 1)).await.repeats(&first);
    // An encoded slash separates nothing, and what encodes nothing is told so.
    shop.get("/v1/products/a%2fb").send().await.is_problem(404, "not_found");
    for torn in ["/v1/carts/%zz", "/v1/carts/%4", "/v1/categories?x=%g0"] {
        shop.get(torn).send().await.is_problem(400, "bad_request");
    }
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let shop = Shop::open().await;
    let key = long_key();
    let first = open_cart(&shop, &key, "one").await;
    open_cart(&shop, &key, "two").await.is_problem(422, "idempotency_key_reused");
    open_cart(&shop, &key, "one").await.repeats(&first);
}

#[tokio::test]
async fn the_same_key_on_another_path_or_of_another_caller_is_another_request() {
    let shop = Shop::open().await;
    let (ada, eve) = (shop.customer().await, shop.customer().await);
    let key = unique("k");
    let open = |who| shop.post("/v1/carts", json!({})).by(who).key(&key).send();
    let (of_ada, of_eve) = (open(&ada).await, open(&eve).await);
    assert_ne!(of_ada.is(201).body["id"], of_eve.is(201).body["id"]);
    let patch = shop.patch("/v1/me", json!({})).by(&ada).key(&key).send().await;
    assert!(!patch.is(200).is_replayed());
    let sku = shop.sku(100, 9).await;
    let (one, two) = (shop.guest_cart().await, shop.guest_cart().await);
    for cart in [&one, &two] {
        let add = shop.post(&format!("{}/lines", cart.path()), json!({"sku": sku, "quantity": 1}));
        assert!(!add.cart_token(&cart.token).key(&key).send().await.is(200).is_replayed());
    }
}

#[tokio::test]
async fn routes_that_move_money_or_stock_want_a_key() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sku = shop.sku(100, 9).await;
    let cart = shop.ready_cart(&sku, 1).await;
    let order = shop.order(&sku, 1).await;
    let id = order["id"].as_str().expect("an id");
    let payment = json!({"payment": {"method": "mock", "token": "tok_ok"}});
    for ask in [
        shop.post(&format!("{}/complete", cart.path()), payment).cart_token(&cart.token),
        shop.post(&format!("/v1/orders/{id}/cancel"), json!({})).order_token(&order),
        shop.post(&format!("/v1/admin/orders/{id}/refund"), json!({"reason": "x"})).by(&admin),
        shop.put(&format!("/v1/admin/inventory/{sku}"), json!({"on_hand": 1})).by(&admin),
        shop.post(&format!("/v1/admin/inventory/{sku}/adjust"), json!({"delta": 1, "reason": "x"})).by(&admin),
    ] {
        ask.send().await.is_problem(400, "idempotency_key_required");
    }
    shop.post("/v1/carts", json!({})).send().await.is(201);
}

#[tokio::test]
async fn a_key_has_its_form_and_an_anonymous_one_cannot_be_guessed() {
    let shop = Shop::open().await;
    let ada = shop.customer().await;
    let anonymous = |key: &str| shop.post("/v1/carts", json!({})).key(key).send();
    anonymous(&"k".repeat(21)).await.is_problem(400, "idempotency_key_invalid");
    anonymous(&"k".repeat(22)).await.is(201);
    let of_ada = |key: &str| shop.post("/v1/carts", json!({})).by(&ada).key(key).send();
    of_ada("k").await.is(201);
    of_ada(&"k".repeat(255)).await.is(201);
    for wrong in ["", "\"\"", "\"open", &"k".repeat(256)] {
        of_ada(wrong).await.is_problem(400, "idempotency_key_invalid");
    }
    let cart = shop.guest_cart().await;
    let sku = shop.sku(100, 1).await;
    let add = shop.post(&format!("{}/lines", cart.path()), json!({"sku": sku, "quantity": 1}));
    add.cart_token(&cart.token).key("short").send().await.is(200);
}

#[tokio::test]
async fn repeats_at_the_same_time_are_one_request() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 20).await;
    let cart = shop.guest_cart().await;
    let (path, key) = (format!("{}/lines", cart.path()), unique("add"));
    let add = || shop.post(&path, json!({"sku": sku, "quantity": 1})).cart_token(&cart.token).key(&key).send();
    let told = futures::future::join_all((0..10).map(|_| add())).await;
    assert_eq!(told.iter().filter(|told| !told.is(200).is_replayed()).count(), 1);
    assert!(told.iter().all(|one| one.body == told[0].body));
    assert_eq!(told[0].body["lines"][0]["quantity"], 1);

    let cart = shop.ready_cart(&sku, 2).await;
    let key = unique("pay");
    let paid = futures::future::join_all((0..5).map(|_| shop.pay(&cart, "tok_ok", &key))).await;
    assert!(paid.iter().all(|one| one.is(201).body == paid[0].body));
    assert_eq!(paid.iter().filter(|told| !told.is_replayed()).count(), 1);
    assert_eq!(shop.counts(&sku).await, (18, 0, 18));
}

#[tokio::test]
async fn refusals_by_business_rules_are_remembered() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (sku, slug) = (unique("LATER"), unique("taken"));
    let cart = shop.guest_cart().await;
    let path = format!("{}/lines", cart.path());
    let add = || shop.post(&path, json!({"sku": sku, "quantity": 1})).cart_token(&cart.token).key("add").send();
    let refused = add().await;
    refused.is_problem(422, "unknown_sku");
    shop.product(&sku, 100, 1).await;
    add().await.is_problem(422, "unknown_sku").repeats(&refused);
    shop.add(&cart, &sku, 1).await.is(200);

    let create = |key: &str, title: &str| {
        shop.post("/v1/admin/products", json!({"title": title, "slug": slug})).by(&admin).key(key).send()
    };
    let (first, second) = (unique("create"), unique("create"));
    let one = create(&first, "One").await;
    let two = create(&second, "Two").await;
    two.is_problem(409, "slug_taken").has_slug_fault();
    create(&second, "Two").await.repeats(&two);
    create(&first, "One").await.is(201).repeats(&one);

    let stock = format!("/v1/admin/inventory/{sku}");
    let put = || shop.put(&stock, json!({"on_hand": 9, "expected": 5})).by(&admin).key("put").send();
    let refused = put().await;
    refused.is_problem(409, "stock_changed");
    shop.stock(&sku, 5).await;
    put().await.repeats(&refused);
}

impl Told {
    #[track_caller]
    fn has_slug_fault(&self) {
        assert_eq!(self.body["errors"][0]["pointer"], "/slug", "{}", self.body);
    }
}

#[tokio::test]
async fn refusals_of_the_caller_are_not_remembered() {
    let shop = Shop::open().await;
    let seller = shop.user_with(&["customer"]).await;
    let user = format!("/v1/admin/users/{}", seller["user"]["id"].as_str().expect("an id"));
    let body = json!({"title": "Honey", "variants": [{"sku": unique("HONEY"), "price": gbp(5)}]});
    let create = |who: &serde_json::Value| shop.post("/v1/admin/products", body.clone()).by(who).key("honey").send();
    create(&seller).await.is_problem(403, "forbidden");
    shop.patch(&user, json!({"roles": ["seller"]})).by(&shop.admin().await).send().await.is(200);
    let seller = shop.post("/v1/auth/refresh", json!({"refresh_token": seller["refresh_token"]})).send().await;
    create(&seller.body).await.is(201);
}

#[tokio::test]
async fn answers_are_repeated_after_a_crash() {
    let shop = Shop::alone(&[]).await;
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let sku = shop.sku(100, 9).await;
    let (key, paid, declined) = (long_key(), unique("pay"), unique("pay"));
    let opened = open_cart(&shop, &key, "one").await;
    let cart = shop.ready_cart(&sku, 2).await;
    let refused = shop.pay(&cart, "tok_declined", &declined).await;
    let order = shop.pay(&cart, "tok_ok", &paid).await;
    let stock = format!("/v1/admin/inventory/{sku}/adjust");
    let adjust =
        |shop: &Shop| shop.post(&stock, json!({"delta": 5, "reason": "found"})).by(&admin).key("adjust").send();
    let adjusted = adjust(&shop).await;
    assert_eq!(adjusted.is(200).body["on_hand"], 12);
    let named = shop.patch("/v1/me", json!({"name": "Ada"})).by(&ada).key("name").send().await;

    let shop = shop.crash().await;
    open_cart(&shop, &key, "one").await.repeats(&opened);
    open_cart(&shop, &key, "two").await.is_problem(422, "idempotency_key_reused");
    shop.pay(&cart, "tok_declined", &declined).await.is_problem(402, "payment_failed").repeats(&refused);
    shop.pay(&cart, "tok_ok", &paid).await.is(201).repeats(&order);
    adjust(&shop).await.is(200).repeats(&adjusted);
    let again = shop.patch("/v1/me", json!({"name": "Ada"})).by(&ada).key("name").send().await;
    again.is(200).repeats(&named);
    assert_eq!(shop.counts(&sku).await, (12, 0, 12));
    let read = shop.get(order.header("location")).order_token(&order.body).send().await;
    assert_eq!(read.is(200).body["number"], order.body["number"]);
}

#[tokio::test]
async fn an_outcome_is_repeated_as_it_was_when_more_has_happened_since() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 9).await;
    let cart = shop.ready_cart(&sku, 1).await;
    let key = unique("pay");
    let first = shop.pay(&cart, "tok_ok", &key).await;
    let path = format!("/v1/orders/{}/cancel", first.is(201).body["id"].as_str().expect("an id"));
    shop.post(&path, json!({})).order_token(&first.body).key("cancel").send().await.is(200);
    shop.pay(&cart, "tok_ok", &key).await.is(201).repeats(&first);
}
