//! The address book.

use serde_json::json;

use crate::support::{ADDRESS, Shop, unique};

#[tokio::test]
async fn an_address_book_has_one_default() {
    let shop = Shop::open().await;
    let me = shop.customer().await;
    let home = ADDRESS.clone();
    let first = shop.post("/v1/me/addresses", home.clone()).by(&me).key("a1").send().await;
    let id = first.is(201).body["id"].as_str().expect("an id").to_owned();
    assert_eq!(first.header("location"), format!("/v1/me/addresses/{id}"));
    let again = shop.post("/v1/me/addresses", home.clone()).by(&me).key("a1").send().await;
    assert_eq!((again.is(201).header("idempotent-replayed"), &again.body), ("true", &first.body));
    let mut second = home.clone();
    second["default"] = json!(true);
    shop.post("/v1/me/addresses", second.clone()).by(&me).send().await.is(201);
    let path = format!("/v1/me/addresses/{id}");
    assert_eq!(shop.put(&path, second).by(&me).send().await.is(200).body["default"], true);
    let list = shop.get("/v1/me/addresses?limit=1").by(&me).send().await;
    assert_eq!(list.is(200).body["page"]["has_more"], true);
    let next = list.header("link").split(['<', '>']).nth(1).expect("a link").to_owned();
    let rest = shop.get(&next).by(&me).send().await;
    assert_eq!(rest.is(200).body["data"][0]["default"], false);
    shop.delete(&path).by(&me).send().await.is(204);
    shop.delete(&path).by(&me).send().await.is_problem(404, "not_found");
    shop.delete("/v1/me/addresses/nonsense").by(&me).send().await.is_problem(404, "not_found");
    let mut wrong = home;
    wrong["country"] = json!("UK");
    shop.post("/v1/me/addresses", wrong).by(&me).send().await.has_fault("invalid_value", "/country");
}

#[tokio::test]
async fn an_address_has_a_postal_code_where_its_country_has_them() {
    let shop = Shop::open().await;
    let me = shop.customer().await;
    let add = |address: &serde_json::Value| shop.post("/v1/me/addresses", address.clone()).by(&me).send();
    let mut address = ADDRESS.clone();
    for country in ["HK", "AE", "QA", "PA"] {
        address["country"] = json!(country);
        for none in [None, Some(json!("")), Some(json!(" ")), Some(json!(null))] {
            address.as_object_mut().expect("an object").remove("postal_code");
            if let Some(none) = none {
                address["postal_code"] = none;
            }
            assert!(add(&address).await.is(201).body.get("postal_code").is_none());
        }
        address["postal_code"] = json!("999077");
        assert_eq!(add(&address).await.is(201).body["postal_code"], "999077");
    }
    for country in ["GB", "DE", "XK"] {
        (address["country"], address["postal_code"]) = (json!(country), json!("10000"));
        add(&address).await.is(201);
        address["postal_code"] = json!("");
        add(&address).await.has_fault("required", "/postal_code");
        address.as_object_mut().expect("an object").remove("postal_code");
        add(&address).await.has_fault("required", "/postal_code");
    }
    let cart = shop.guest_cart().await;
    let contact = json!({"email": "ada@example.com", "shipping_address": address});
    let path = format!("{}/contact", cart.path());
    let told = shop.put(&path, contact.clone()).cart_token(&cart.token).send().await;
    told.has_fault("required", "/shipping_address/postal_code");
    let mut contact = contact;
    contact["shipping_address"]["country"] = json!("HK");
    let told = shop.put(&path, contact).cart_token(&cart.token).send().await;
    assert!(told.is(200).body["contact"]["shipping_address"].get("postal_code").is_none());
}

#[tokio::test]
async fn an_address_can_be_sent_as_it_was_read() {
    let shop = Shop::open().await;
    let me = shop.customer().await;
    let saved = shop.post("/v1/me/addresses", ADDRESS.clone()).by(&me).send().await.is(201).body.clone();
    let path = format!("/v1/me/addresses/{}", saved["id"].as_str().expect("an id"));
    let again = shop.put(&path, saved.clone()).by(&me).send().await;
    assert_eq!(again.is(200).body, saved);
}

#[tokio::test]
async fn an_address_has_a_company_from_the_cart_to_the_order() {
    let shop = Shop::open().await;
    let me = shop.customer().await;
    let mut address = ADDRESS.clone();
    address["company"] = json!(" Acme\u{200b} Ltd ");
    let saved = shop.post("/v1/me/addresses", address.clone()).by(&me).send().await.is(201).body.clone();
    assert_eq!(saved["company"], "Acme Ltd");
    let path = format!("/v1/me/addresses/{}", saved["id"].as_str().expect("an id"));
    assert_eq!(shop.put(&path, saved.clone()).by(&me).send().await.is(200).body, saved);
    assert!(shop.put(&path, ADDRESS.clone()).by(&me).send().await.is(200).body.get("company").is_none());

    let sku = unique("COMPANY");
    shop.product(&sku, 100, 1).await;
    let cart = shop.ready_cart(&sku, 1).await;
    let contact = json!({"email": "ada@example.com", "shipping_address": address});
    let told = shop.put(&format!("{}/contact", cart.path()), contact).cart_token(&cart.token).send().await;
    assert_eq!(told.is(200).body["contact"]["shipping_address"]["company"], "Acme Ltd");
    let order = shop.pay(&cart, "tok_ok", &unique("pay")).await.is(201).body.clone();
    assert_eq!(order["contact"]["shipping_address"]["company"], "Acme Ltd");
}

#[tokio::test]
async fn an_address_book_is_its_owners_alone() {
    let shop = Shop::open().await;
    let (ada, eve) = (shop.customer().await, shop.customer().await);
    let saved = shop.post("/v1/me/addresses", ADDRESS.clone()).by(&ada).send().await.is(201).body.clone();
    let path = format!("/v1/me/addresses/{}", saved["id"].as_str().expect("an id"));
    shop.put(&path, ADDRESS.clone()).by(&eve).send().await.is_problem(404, "not_found");
    shop.delete(&path).by(&eve).send().await.is_problem(404, "not_found");
    shop.get("/v1/me/addresses").send().await.is_problem(401, "unauthenticated");
    assert_eq!(shop.get("/v1/me/addresses").by(&eve).send().await.is(200).body["data"], json!([]));
    assert_eq!(shop.get("/v1/me/addresses").by(&ada).send().await.is(200).body["data"], json!([saved]));
}
