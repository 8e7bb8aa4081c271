//! Every text that a body may have is kept in one spelling with nothing hidden in it, or refused. What is compared and
//! not kept, and what is a client's own, are named here one by one.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADDRESS, GuestCart, Shop, Told, gbp, unique};

/// Compared with what is there and shown to nobody: spelt as it comes.
const COMPARED: [&str; 6] =
    ["/password", "/current_password", "/new_password", "/refresh_token", "/from_token", "/payment/token"];
/// A client's own notes, given back as they came.
const OWN: &str = "/metadata/*";

/// Behind a text: a letter in two characters, and one that does not show.
const ODD: &str = "e\u{301}\u{200b}";
const EVEN: &str = "\u{e9}";

/// What a route is tried with: every text that its body may have.
struct Example {
    path: String,
    body: Value,
    by: Option<Value>,
    cart: Option<GuestCart>,
}

impl Example {
    async fn of(shop: &Shop, method: &Method, route: &str) -> Example {
        let of = |path: &str, body: Value, by: Option<Value>| Example { path: path.into(), body, by, cart: None };
        let admin = shop.admin().await;
        let address = || {
            let mut address = ADDRESS.clone();
            for (name, text) in [("company", "C"), ("line2", "L"), ("region", "R"), ("phone", "1"), ("id", "")] {
                address[name] = json!(text);
            }
            address
        };
        let product = || async {
            let category = shop.post("/v1/admin/categories", json!({"title": unique("Text")})).by(&admin).send().await;
            let variant = json!({"sku": unique("TEXT"), "options": {"a": "b"}, "price": gbp(1)});
            json!({"title": "T", "slug": unique("text"), "description": "D", "attributes": {"a": "b"},
                "category_ids": [category.is(201).body["id"]], "variants": [variant]})
        };
        let id_of = |told: &Told| told.body["id"].as_str().expect("an id").to_owned();
        match (method.as_str(), route) {
            ("POST", "/v1/auth/register") => {
                let body = json!({"email": "a@example.com", "password": "correct horse battery", "name": "Ada"});
                of(route, body, None)
            }
            ("POST", "/v1/auth/login") => of(route, json!({"email": "a@example.com", "password": "p"}), None),
            ("POST", "/v1/auth/refresh") => of(route, json!({"refresh_token": "x"}), None),
            ("PATCH", "/v1/me") => of(route, json!({"name": "Ada"}), Some(shop.customer().await)),
            ("PUT", "/v1/me/password") => {
                let body = json!({"current_password": "x", "new_password": "correct horse"});
                of(route, body, Some(shop.customer().await))
            }
            ("POST", "/v1/me/addresses") => of(route, address(), Some(shop.customer().await)),
            ("PUT", "/v1/me/addresses/{id}") => {
                let me = shop.customer().await;
                let told = shop.post("/v1/me/addresses", ADDRESS.clone()).by(&me).send().await;
                of(&format!("/v1/me/addresses/{}", id_of(told.is(201))), address(), Some(me))
            }
            ("POST", "/v1/carts") => {
                of(route, json!({"currency": "GBP", "reference": "R", "metadata": {"a": "b"}}), None)
            }
            ("POST", "/v1/carts/{id}/lines") => Example::of_cart(
                shop.guest_cart().await,
                "/lines",
                json!({"sku": "NOWHERE", "quantity": 1, "lines": [{"sku": "NOWHERE", "quantity": 1}]}),
            ),
            ("PUT", "/v1/carts/{id}/contact") => {
                let body =
                    json!({"email": "a@example.com", "shipping_address": address(), "billing_address": address()});
                Example::of_cart(shop.guest_cart().await, "/contact", body)
            }
            ("POST", "/v1/carts/{id}/merge") => {
                let from = shop.guest_cart().await;
                let body = json!({"from_cart_id": from.id, "from_token": from.token, "strategy": "sum"});
                Example::of_cart(shop.guest_cart().await, "/merge", body)
            }
            ("POST", "/v1/carts/{id}/complete") => {
                let body = json!({"payment": {"method": "mock", "token": "x"}, "expected_total": gbp(1)});
                Example::of_cart(shop.guest_cart().await, "/complete", body)
            }
            ("POST", "/v1/admin/categories") => {
                of(route, json!({"title": "T", "slug": unique("text"), "parent_id": ""}), Some(admin))
            }
            ("PATCH", "/v1/admin/categories/{id}") => {
                let told = shop.post("/v1/admin/categories", json!({"title": "T"})).by(&admin).send().await;
                let body = json!({"title": "T", "slug": unique("text"), "parent_id": ""});
                of(&format!("/v1/admin/categories/{}", id_of(told.is(201))), body, Some(admin))
            }
            ("POST", "/v1/admin/products") => of(route, product().await, Some(admin.clone())),
            ("PATCH", "/v1/admin/products/{id}") => {
                let told = shop.post("/v1/admin/products", json!({"title": "T"})).by(&admin).send().await;
                of(&format!("/v1/admin/products/{}", id_of(told.is(201))), product().await, Some(admin.clone()))
            }
            ("POST", "/v1/admin/inventory/{sku}/adjust") => {
                let path = format!("/v1/admin/inventory/{}/adjust", shop.sku(1, 1).await);
                of(&path, json!({"delta": 1, "reason": "R"}), Some(admin))
            }
            (_, "/v1/orders/{id}/cancel" | "/v1/admin/orders/{id}/fulfil" | "/v1/admin/orders/{id}/refund") => {
                let order = shop.order(&shop.sku(100, 1).await, 1).await;
                let body = match route.rsplit('/').next() {
                    Some("cancel") => json!({"reason": "R"}),
                    Some("fulfil") => {
                        json!({"lines": [{"line_id": order["lines"][0]["id"], "quantity": 1}], "tracking": "T"})
                    }
                    _ => json!({"amount": gbp(1), "reason": "R"}),
                };
                of(&route.replace("{id}", order["id"].as_str().expect("an id")), body, Some(admin))
            }
            ("POST", "/v1/admin/consumers/{name}/replay") => {
                of("/v1/admin/consumers/catalogue/replay", json!({"after": "beginning"}), Some(admin))
            }
            // Of nobody, so that nothing comes of it.
            ("POST", route) if route.starts_with("/v1/admin/cluster/") => {
                let path = route.replace("{id}", "nobody").replace("{n}", "0");
                let has_a_goal = route.ends_with("/move") || route.ends_with("/pin");
                let body = if has_a_goal { json!({"to": "nobody", "reason": "R"}) } else { json!({"reason": "R"}) };
                of(&path, body, Some(admin))
            }
            (method, route) => panic!("say here what {method} {route} is tried with"),
        }
    }

    fn of_cart(cart: GuestCart, rest: &str, body: Value) -> Example {
        Example { path: format!("{}{rest}", cart.path()), body, by: None, cart: Some(cart) }
    }

    async fn send(&self, shop: &Shop, method: &Method, body: Value) -> Told {
        let mut ask = shop.ask(method.clone(), &self.path).json(body).key(&unique("a-key-of-its-own-for-every-text"));
        if let Some(by) = &self.by {
            ask = ask.by(by);
        }
        if let Some(cart) = &self.cart {
            ask = ask.cart_token(&cart.token);
        }
        if method == Method::PATCH && self.path.starts_with("/v1/admin") {
            ask = ask.if_match("*");
        }
        ask.send().await
    }
}

/// The places of texts in a schema; `*` is any name. Words out of a list are none.
fn texts_of(document: &Value, schema: &Value, place: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema");
        return texts_of(document, schema, place, found);
    }
    let choices = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|choice| schema[choice].as_array()).flatten();
    choices.for_each(|choice| texts_of(document, choice, place, found));
    let is_text =
        schema["type"] == "string" || schema["type"].as_array().is_some_and(|of| of.contains(&json!("string")));
    if is_text && schema["enum"].is_null() {
        found.insert(place.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        texts_of(document, property, &format!("{place}/{name}"), found);
    }
    for (below, name) in [("additionalProperties", "*"), ("items", "0")] {
        if schema[below].is_object() {
            texts_of(document, &schema[below], &format!("{place}/{name}"), found);
        }
    }
}

/// The body with one odd text in it; where the place is of any name, the name is odd too.
fn with_odd(body: &Value, place: &str) -> Option<Value> {
    let mut body = body.clone();
    match place.strip_suffix("/*") {
        Some(map) => *body.pointer_mut(map)? = json!({format!("a{ODD}"): format!("b{ODD}")}),
        None => {
            let text = body.pointer_mut(place)?;
            *text = json!(format!("{}{ODD}", text.as_str()?));
        }
    }
    Some(body)
}

#[tokio::test]
async fn every_text_is_kept_in_one_spelling_or_refused() {
    let shop = Shop::open().await;
    let contract = shop.server.contract();
    let document = &contract.document;
    let (mut asked, mut kept) = (0, 0);
    for (route, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut places = BTreeSet::new();
            texts_of(document, schema, "", &mut places);
            let method: Method = method.to_uppercase().parse().expect("a method");
            for place in places.iter().filter(|place| !COMPARED.contains(&place.as_str())) {
                let example = Example::of(&shop, &method, route).await;
                let odd = with_odd(&example.body, place);
                let odd = odd.unwrap_or_else(|| panic!("{method} {route} is to be tried with {place}"));
                let told = example.send(&shop, &method, odd).await;
                asked += 1;
                let shown = told.body.to_string();
                if place == OWN {
                    assert_eq!(told.is(201).body["metadata"], json!({format!("a{ODD}"): format!("b{ODD}")}));
                } else if told.status.is_success() {
                    assert!(
                        !shown.contains("e\u{301}") && !shown.contains('\u{200b}'),
                        "{method} {route} {place}: {shown}"
                    );
                    kept += usize::from(shown.contains(EVEN));
                } else if route.starts_with("/v1/admin/cluster/") {
                    // `to` is compared with what nodes are called; a reason is for other operators.
                    assert!(matches!(told.status.as_u16(), 404 | 409), "{method} {route} {place}: {shown}");
                } else if route == "/v1/auth/login" {
                    told.is_problem(401, "invalid_credentials");
                } else {
                    let fault = told.is(422).body["errors"][0]["pointer"].as_str();
                    assert_eq!(fault, Some(place.as_str()), "{method} {route}: {shown}");
                }
            }
        }
    }
    assert!(asked >= 60 && kept >= 30, "{asked} texts of bodies, {kept} of them kept");
}

#[tokio::test]
async fn what_looks_the_same_is_one_option_and_no_text_is_over_its_bounds() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let post = |body: Value| shop.post("/v1/admin/products", body).by(&admin).send();
    let told = post(json!({"title": "T", "attributes": {"cre\u{300}me": "1", "cr\u{e8}me": "2"}})).await;
    told.is(422);
    assert!(
        told.body["errors"][0]["pointer"].as_str().is_some_and(|at| at.starts_with("/attributes/")),
        "{}",
        told.body
    );
    let told =
        post(json!({"title": "T", "attributes": {"a": " b \u{200b}", "empty": ""}, "description": "\u{feff}x\r\n y "}));
    let told = told.await;
    assert_eq!(told.is(201).body["attributes"], json!({"a": "b", "empty": ""}));
    assert_eq!(told.body["description"], "x\r\n y");
    post(json!({"title": "T", "attributes": {"\u{200b}": "1"}}))
        .await
        .has_fault("invalid_value", "/attributes/\u{200b}");
    post(json!({"title": "T", "attributes": {"a": "x".repeat(501)}})).await.has_fault("invalid_value", "/attributes/a");
    post(json!({"title": "T", "description": "x".repeat(20_001)})).await.has_fault("invalid_value", "/description");
}
