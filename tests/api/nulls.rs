//! `null`, members that are there twice, and control characters: one rule for every body.

use serde_json::{Value, json};

use crate::support::{GuestCart, Shop, unique};

/// What a PATCH route is tried on: its path, who asks, and the precondition if it wants one.
struct Target {
    path: String,
    by: Option<Value>,
    cart: Option<GuestCart>,
    guarded: bool,
}

impl Target {
    async fn of(shop: &Shop, route: &str) -> Target {
        let admin = shop.admin().await;
        let whose = |path: String, by: Value, guarded| Target { path, by: Some(by), cart: None, guarded };
        match route {
            "/v1/me" => {
                let me = shop.customer().await;
                shop.patch("/v1/me", json!({"name": "Ada"})).by(&me).send().await.is(200);
                whose(route.into(), me, false)
            }
            "/v1/carts/{id}/lines/{line}" => {
                let cart = shop.guest_cart().await;
                let sku = shop.sku(100, 5).await;
                let told = shop.add(&cart, &sku, 1).await;
                let line = told.is(200).body["lines"][0]["id"].as_str().expect("a line").to_owned();
                Target { path: format!("{}/lines/{line}", cart.path()), by: None, cart: Some(cart), guarded: false }
            }
            "/v1/admin/categories/{id}" => {
                let add = |body| shop.post("/v1/admin/categories", body).by(&admin).send();
                let parent = add(json!({"title": unique("Parent")})).await.is(201).body["id"].clone();
                let child =
                    add(json!({"title": unique("Child"), "parent_id": parent})).await.is(201).body["id"].clone();
                whose(format!("/v1/admin/categories/{}", child.as_str().expect("an id")), admin, true)
            }
            "/v1/admin/products/{id}" => {
                let category = shop.post("/v1/admin/categories", json!({"title": unique("C")})).by(&admin).send().await;
                let price = json!({"amount": 1, "currency": "GBP"});
                let body = json!({"title": unique("A product"), "description": "Soft", "attributes": {"a": "b"},
                    "category_ids": [category.is(201).body["id"]], "status": "draft",
                    "variants": [{"sku": unique("NULL"), "price": price}]});
                let told = shop.post("/v1/admin/products", body).by(&admin).send().await;
                let id = told.is(201).body["id"].as_str().expect("an id").to_owned();
                whose(format!("/v1/admin/products/{id}"), admin, true)
            }
            "/v1/admin/users/{id}" => {
                let user = shop.customer().await["user"]["id"].as_str().expect("an id").to_owned();
                whose(format!("/v1/admin/users/{user}"), admin, false)
            }
            other => panic!("say here what {other} is tried on"),
        }
    }

    async fn patch(&self, shop: &Shop, body: Value) -> crate::support::Told {
        let mut ask = shop.patch(&self.path, body);
        if let Some(by) = &self.by {
            ask = ask.by(by);
        }
        if let Some(cart) = &self.cart {
            ask = ask.cart_token(&cart.token);
        }
        if self.guarded {
            ask = ask.if_match("*");
        }
        ask.send().await
    }
}

fn takes_null(property: &Value) -> bool {
    let of_type = property["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
    let choices = ["oneOf", "anyOf"].into_iter().filter_map(|choice| property[choice].as_array()).flatten();
    of_type || choices.into_iter().any(|choice| choice["type"] == "null")
}

#[tokio::test]
async fn every_patch_clears_by_null_what_may_be_absent_and_refuses_it_elsewhere() {
    let shop = Shop::open().await;
    let contract = shop.server.contract();
    let document = &contract.document;
    let mut asked = 0;
    for (route, item) in document["paths"].as_object().expect("paths") {
        let reference = &item["patch"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let Some(reference) = reference.as_str() else { continue };
        let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema");
        let target = Target::of(&shop, route).await;
        for (name, property) in schema["properties"].as_object().expect("properties") {
            let told = target.patch(&shop, json!({name: null})).await;
            asked += 1;
            if takes_null(property) {
                let now = &told.is(200).body[name];
                let empty = now.is_null() || *now == "" || *now == json!([]) || *now == json!({});
                assert!(empty, "{route} {name}: {now}");
            } else {
                told.has_fault("wrong_type", &format!("/{name}"));
            }
        }
    }
    assert!(asked >= 13, "{asked} fields of PATCH bodies");
}

#[tokio::test]
async fn null_in_a_post_is_as_if_the_field_were_absent() {
    let shop = Shop::open().await;
    shop.post("/v1/carts", json!({"currency": null, "reference": null, "metadata": null})).send().await.is(201);
    let body = json!({"title": unique("Bare"), "slug": null, "description": null, "category_ids": null,
        "attributes": null, "status": null, "variants": null});
    let told = shop.post("/v1/admin/products", body).by(&shop.admin().await).send().await;
    assert_eq!(told.is(201).body["status"], "draft");
    let told = shop.post("/v1/admin/products", json!({"title": null})).by(&shop.admin().await).send().await;
    told.has_fault("wrong_type", "/title");
    shop.post("/v1/carts", json!({"metadata": {"a": null}})).send().await.has_fault("wrong_type", "/metadata/a");
}

#[tokio::test]
async fn an_empty_text_is_as_if_the_field_were_absent() {
    let shop = Shop::open().await;
    let (admin, me) = (shop.admin().await, shop.customer().await);
    let told = shop.post("/v1/carts", json!({"currency": "", "reference": " "})).send().await;
    assert_eq!((&told.is(201).body["currency"], told.body.get("reference")), (&json!("GBP"), None));
    let email = format!("{}@example.com", unique("nameless"));
    let body = json!({"email": email, "password": "correct horse battery", "name": ""});
    assert_eq!(shop.post("/v1/auth/register", body).send().await.is(201).body["user"].get("name"), None);
    shop.patch("/v1/me", json!({"name": "Ada"})).by(&me).send().await.is(200);
    assert_eq!(shop.patch("/v1/me", json!({"name": ""})).by(&me).send().await.is(200).body.get("name"), None);
    let mut address = crate::support::ADDRESS.clone();
    for field in ["line2", "region", "phone", "id"] {
        address[field] = json!("");
    }
    let told = shop.post("/v1/me/addresses", address).by(&me).send().await;
    for field in ["line2", "region", "phone"] {
        assert_eq!(told.is(201).body.get(field), None, "{field}");
    }
    for path in ["/v1/admin/products", "/v1/admin/categories"] {
        let body = json!({"title": unique("Slugless"), "slug": ""});
        let told = shop.post(path, body).by(&admin).send().await;
        assert!(told.is(201).body["slug"].as_str().is_some_and(|slug| slug.starts_with("slugless")), "{}", told.body);
        shop.post(path, json!({"title": ""})).by(&admin).send().await.has_fault("invalid_value", "/title");
        shop.post(path, json!({"title": "T", "slug": 7})).by(&admin).send().await.has_fault("wrong_type", "/slug");
    }
}

#[tokio::test]
async fn a_member_twice_and_control_characters_are_refused_in_maps_too() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let post = |path: &str, body: &str| shop.ask(reqwest::Method::POST, path).text(body).by(&admin).send();
    let told = post("/v1/carts", r#"{"metadata":{"a":"1","a":"2"}}"#).await;
    told.has_fault("invalid_value", "/metadata/a");
    let told = post("/v1/admin/products", r#"{"title":"T","attributes":{"x":"1","y":"2","x":"1"}}"#).await;
    told.has_fault("invalid_value", "/attributes/x");
    let variant = r#"{"sku":"TWICE-1","price":{"amount":1,"currency":"GBP"},"options":{"s":"1","s":"2"}}"#;
    let told = post("/v1/admin/products", &format!(r#"{{"title":"T","variants":[{variant}]}}"#)).await;
    told.has_fault("invalid_value", "/variants/0/options/s");
    let told = post("/v1/carts", r#"{"metadata":{"a":"x\u0000y"}}"#).await;
    told.has_fault("invalid_value", "/metadata/a");
    let told = post("/v1/admin/products", r#"{"title":"T","description":"a\u0007b"}"#).await;
    told.has_fault("invalid_value", "/description");
}
