//! Roles: what administrators, sellers, customers and guests may do, and who may change it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Shop, gbp, unique};

#[tokio::test]
async fn administrators_find_users_and_give_roles_and_others_do_not() {
    let shop = Shop::open().await;
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let email = ada["user"]["email"].as_str().expect("an address");
    let path = format!("/v1/admin/users?email={}", email.to_uppercase());
    shop.get(&path).send().await.is_problem(401, "unauthenticated");
    shop.get(&path).by(&ada).send().await.is_problem(403, "forbidden");
    let found = shop.get(&path).by(&admin).send().await;
    assert_eq!(found.is(200).body["data"], json!([ada["user"]]));
    let none = shop.get("/v1/admin/users?email=x@example.com").by(&admin).send().await;
    assert_eq!(none.is(200).body["data"], json!([]));
    shop.get("/v1/admin/users").by(&admin).send().await.is_problem(400, "invalid_parameter");
    let user = format!("/v1/admin/users/{}", ada["user"]["id"].as_str().expect("an id"));
    let set = |roles| shop.patch(&user, json!({"roles": roles})).by(&admin).send();
    assert_eq!(set(json!(["seller"])).await.is(200).body["roles"], json!(["seller"]));
    set(json!(["king"])).await.has_fault("invalid_value", "/roles/0");
    shop.patch(&user, json!({"roles": ["admin"]})).by(&ada).send().await.is_problem(403, "forbidden");
    let nobody = "/v1/admin/users/user_00000000000000000000000000";
    shop.patch(nobody, json!({"roles": []})).by(&admin).send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn every_admin_route_wants_its_role() {
    let shop = Shop::open().await;
    let customer = shop.customer().await;
    let seller = shop.user_with(&["customer", "seller"]).await;
    let routes = shop.server.contract().document["paths"].as_object().expect("paths").clone();
    let mut seen = 0;
    for (path, item) in routes.iter().filter(|(path, _)| path.starts_with("/v1/admin/")) {
        let sellers_too = path.contains("/products") || path.contains("/inventory");
        let path = path.replace("{kind}", "cart").replace("{id}", "x").replace("{sku}", "X").replace("{n}", "0");
        for method in item.as_object().expect("methods").keys() {
            let method = method.to_uppercase().parse::<Method>().expect("a method");
            shop.ask(method.clone(), &path).key(&unique("key")).send().await.is_problem(401, "unauthenticated");
            shop.ask(method.clone(), &path).key(&unique("key")).by(&customer).send().await.is_problem(403, "forbidden");
            if !sellers_too {
                shop.ask(method, &path).key(&unique("key")).by(&seller).send().await.is_problem(403, "forbidden");
            }
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen} routes");
}

#[tokio::test]
async fn a_seller_touches_his_own_products_and_skus_only() {
    let shop = Shop::open().await;
    let (one, two) = (shop.user_with(&["seller"]).await, shop.user_with(&["seller"]).await);
    let sku = unique("SOLD");
    let body = json!({"title": "Honey", "status": "published", "variants": [{"sku": sku, "price": gbp(500)}]});
    let product = shop.post("/v1/admin/products", body).by(&one).send().await.is(201).body.clone();
    assert_eq!(product["seller_id"], one["user"]["id"]);
    let path = format!("/v1/admin/products/{}", product["id"].as_str().expect("an id"));
    let stock = format!("/v1/admin/inventory/{sku}");
    shop.get(&path).by(&two).send().await.is_problem(404, "not_found");
    let patch = shop.patch(&path, json!({"title": "Mine"})).by(&two).if_match("*").key(&unique("key"));
    patch.send().await.is_problem(404, "not_found");
    shop.delete(&path).by(&two).if_match("*").send().await.is_problem(404, "not_found");
    shop.get(&stock).by(&two).send().await.is_problem(404, "not_found");
    let put = |who| shop.put(&stock, json!({"on_hand": 3})).by(who).key("first-stock").send();
    put(&two).await.is_problem(404, "not_found");
    assert_eq!(put(&one).await.is(200).body["on_hand"], 3);
    let own = shop.get("/v1/admin/products").by(&one).send().await;
    assert_eq!(own.is(200).column("id"), [product["id"].as_str().expect("an id")]);
    assert_eq!(shop.get("/v1/admin/products").by(&two).send().await.is(200).body["data"], json!([]));
    shop.patch(&path, json!({"title": "Best honey"})).by(&one).if_match("*").send().await.is(200);
    shop.get(&path).by(&shop.admin().await).send().await.is(200);
    // Another's SKU cannot be taken over by a product of one's own.
    let body = json!({"title": "Copy", "variants": [{"sku": sku, "price": gbp(1)}]});
    shop.post("/v1/admin/products", body).by(&two).send().await.is_problem(409, "sku_taken");
}

/// What was acknowledged holds for the next request, whatever the token says that makes it.
#[tokio::test]
async fn roles_are_judged_as_they_are_and_not_as_the_token_says() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let set = async |who: &Value, roles: &[&str], by: &Value| {
        let user = format!("/v1/admin/users/{}", who["user"]["id"].as_str().expect("an id"));
        shop.patch(&user, json!({"roles": roles})).by(by).send().await
    };

    // A seller, with goods of his own, who is one no longer.
    let seller = shop.user_with(&["customer", "seller"]).await;
    let sku = unique("LOST");
    let body = json!({"title": "Honey", "status": "published", "variants": [{"sku": sku, "price": gbp(500)}]});
    let product = shop.post("/v1/admin/products", body.clone()).by(&seller).send().await.is(201).body.clone();
    let stock = format!("/v1/admin/inventory/{sku}");
    let put = || shop.put(&stock, json!({"on_hand": 3})).by(&seller).key("the-stock").send();
    put().await.is(200);
    set(&seller, &["customer"], &admin).await.is(200);
    put().await.is_problem(403, "forbidden");
    shop.get("/v1/admin/products").by(&seller).send().await.is_problem(403, "forbidden");
    shop.post("/v1/admin/products", body).by(&seller).send().await.is_problem(403, "forbidden");
    let path = format!("/v1/admin/products/{}", product["id"].as_str().expect("an id"));
    shop.delete(&path).by(&seller).if_match("*").send().await.is_problem(403, "forbidden");

    // An administrator who is one no longer: nor can he make himself one again, or see what is others'.
    let other = shop.user_with(&["admin"]).await;
    let cart = shop.guest_cart().await;
    shop.get(&cart.path()).by(&other).send().await.is(200);
    set(&other, &["customer"], &admin).await.is(200);
    set(&other, &["admin"], &other).await.is_problem(403, "forbidden");
    set(&admin, &["customer"], &other).await.is_problem(403, "forbidden");
    shop.get(&cart.path()).by(&other).send().await.is_problem(404, "not_found");
    shop.get("/v1/admin/cluster").by(&other).send().await.is_problem(403, "forbidden");
    shop.get("/v1/me").by(&other).send().await.is(200);

    // What is given holds at once too.
    let customer = shop.customer().await;
    shop.get("/v1/admin/products").by(&customer).send().await.is_problem(403, "forbidden");
    set(&customer, &["seller"], &admin).await.is(200);
    shop.get("/v1/admin/products").by(&customer).send().await.is(200);
    let body = json!({"refresh_token": seller["refresh_token"]});
    let later = shop.post("/v1/auth/refresh", body).send().await.is(200).body.clone();
    assert_eq!(later["user"]["roles"], json!(["customer"]));
}
