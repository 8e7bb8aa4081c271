//! Categories, products and stock: what merchants do with them, and what customers see of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::market::{Market, gbp, text, unique};

#[tokio::test]
async fn categories_form_a_tree_with_slugs_versions_and_no_cycles() {
    let market = Market::open().await;
    let post = |body| market.admin(Method::POST, "/v1/admin/categories", body);
    let tops = post(json!({"title": "Tops"})).await;
    tops.is(201);
    assert_eq!((text(&tops.body["slug"]), &tops.body["version"]), ("tops", &json!(1)));
    let tees = post(json!({"title": "Tees", "parent_id": tops.body["id"]})).await;
    assert_eq!(post(json!({"title": "Tees"})).await.is(201).body["slug"], "tees-2");
    post(json!({"title": "Other", "slug": "tees"})).await.is_problem(409, "slug_taken");
    post(json!({"slug": "untitled"})).await.is_problem(422, "validation_failed");

    let tree = market.shop.get("/v1/categories").send().await;
    assert_eq!(tree.is(200).body["data"][0]["children"][0]["id"], tees.body["id"]);

    let path = format!("/v1/admin/categories/{}", text(&tops.body["id"]));
    market.admin(Method::PATCH, &path, json!({"title": "X"})).await.is_problem(428, "precondition_required");
    let below_itself = json!({"parent_id": tees.body["id"]});
    let told = market.change(Method::PATCH, &path, &json!(1), below_itself).await;
    assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["code"], "category_cycle");
    let told = market.change(Method::PATCH, "/v1/admin/categories/tops", &json!(1), json!({"title": "Uppers"})).await;
    assert_eq!((told.is(200).body["title"].as_str(), &told.body["version"]), (Some("Uppers"), &json!(2)));
    market.change(Method::PATCH, &path, &json!(1), json!({"title": "Y"})).await.is_problem(412, "stale_version");
    market.change(Method::DELETE, &path, &json!(2), json!({})).await.is_problem(409, "category_has_children");
    let leaf = format!("/v1/admin/categories/{}", text(&tees.body["id"]));
    market.change(Method::DELETE, &leaf, &json!(1), json!({})).await.is(204);
    market.change(Method::DELETE, &leaf, &json!(1), json!({})).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_product_is_drafted_published_found_changed_and_archived() {
    let market = Market::open().await;
    let category = market.admin(Method::POST, "/v1/admin/categories", json!({"title": "Tees"})).await.body;
    let body = json!({
        "title": "Blue Tee", "description": "Soft", "category_ids": [category["id"]], "attributes": {"fit": "slim"},
        "status": "draft",
        "variants": [{"sku": "TEE-S", "options": {"size": "S"}, "price": gbp(1999)},
                     {"sku": "TEE-M", "options": {"size": "M"}, "price": gbp(2099)}]
    });
    let key = unique();
    let create = || market.shop.post("/v1/admin/products", body.clone()).by(&market.admin).key(&key);
    let made = create().send().await;
    made.is(201);
    assert_eq!((text(&made.body["slug"]), &made.body["version"]), ("blue-tee", &json!(1)));
    assert_eq!(made.body["variants"][0]["stock"], "out_of_stock");
    assert_eq!(made.body["rating"], json!({"average": 0.0, "count": 0}));
    let again = create().send().await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &made.body));

    let id = text(&made.body["id"]).to_owned();
    let admin_path = format!("/v1/admin/products/{id}");
    let public_path = format!("/v1/products/{id}");
    market.shop.get(&public_path).send().await.is_problem(404, "not_found");
    market.admin_get(&admin_path).await.is(200);
    market.change(Method::PATCH, &admin_path, &json!(1), json!({"status": "published"})).await.is(200);
    let shown = market.shop.get(&public_path).send().await;
    assert!(shown.header("etag").starts_with("\"v2-"), "{}", shown.header("etag"));
    let by_slug = market.shop.get("/v1/products/blue-tee").send().await;
    assert_eq!(by_slug.is(200).body, shown.body);
    let known = market.shop.get(&public_path).header("if-none-match", shown.header("etag")).send().await;
    known.is(304);

    let renamed = json!({"title": "Navy Tee", "slug": "navy-tee", "variants": [
        {"sku": "TEE-M", "options": {"size": "M"}, "price": gbp(2500)}, {"sku": "TEE-L", "price": gbp(2600)}]});
    market.change(Method::PATCH, &admin_path, &json!(1), renamed.clone()).await.is_problem(412, "stale_version");
    let changed = market.change(Method::PATCH, &admin_path, &json!(2), renamed).await;
    changed.is(200);
    assert_eq!(changed.body["variants"][0]["id"], made.body["variants"][1]["id"], "a SKU that stays keeps its variant");
    market.shop.get("/v1/products/blue-tee").send().await.is_problem(404, "not_found");
    market.shop.get("/v1/products/navy-tee").send().await.is(200);
    market.admin_get("/v1/admin/inventory/TEE-S").await.is_problem(404, "not_found");
    market.admin_get("/v1/admin/inventory/TEE-L").await.is(200);

    let archived = market.change(Method::DELETE, &admin_path, &json!(3), json!({})).await;
    assert_eq!(archived.is(200).body["status"], "archived");
    market.shop.get(&public_path).send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn slugs_and_skus_are_unique_and_a_refused_change_leaves_nothing() {
    let market = Market::open().await;
    market.product("Tee", "TEE-1", 100, 1).await;
    let second = market.product("Tee", "TEE-2", 100, 1).await;
    assert_eq!(second["slug"], "tee-2");
    let body = |slug: &str, sku: &str| {
        json!({"title": "X", "slug": slug, "variants": [
        {"sku": format!("NEW-{sku}"), "price": gbp(1)}, {"sku": sku, "price": gbp(1)}]})
    };
    let create = |body: Value| market.admin(Method::POST, "/v1/admin/products", body);
    create(body("tee", "A")).await.is_problem(409, "slug_taken");
    let taken = create(body("fresh", "TEE-1")).await;
    assert_eq!(taken.is_problem(409, "sku_taken").body["errors"][0]["pointer"], "/variants/1/sku");
    create(body("fresh", "TEE-9")).await.is(201);
    let twice = json!({"title": "X", "variants": [{"sku": "D", "price": gbp(1)}, {"sku": "D", "price": gbp(1)}]});
    let told = create(twice).await;
    assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["pointer"], "/variants/1/sku");
    let nowhere = json!({"title": "X", "category_ids": ["cat_00000000000000000000000000"]});
    let told = create(nowhere).await;
    assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["code"], "unknown_category");
    let dear = json!({"title": "X", "variants": [{"sku": "D", "price": gbp(-1)}]});
    let told = create(dear).await;
    assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["pointer"], "/variants/0/price/amount");
}

#[tokio::test]
async fn products_are_listed_by_category_price_and_in_batches() {
    let market = Market::open().await;
    let top = market.admin(Method::POST, "/v1/admin/categories", json!({"title": "Top"})).await.body;
    let below = json!({"title": "Below", "parent_id": top["id"]});
    let below = market.admin(Method::POST, "/v1/admin/categories", below).await.body;
    let mut ids = Vec::new();
    for n in 0..5 {
        let body = json!({"title": format!("P{n}"), "status": "published", "category_ids": [below["id"]],
                          "variants": [{"sku": format!("P-{n}"), "price": gbp(100 * n)}]});
        ids.push(text(&market.admin(Method::POST, "/v1/admin/products", body).await.is(201).body["id"]).to_owned());
    }
    market.product("Elsewhere", "E-1", 250, 0).await;
    let titles = |body: &Value| -> Vec<String> {
        body["data"].as_array().expect("a list").iter().map(|it| text(&it["title"]).to_owned()).collect()
    };
    let list = async |query: &str| market.shop.get(&format!("/v1/products?{query}")).send().await;
    let told = list("category=top&sort=price&filter[price][gte]=100&filter[price][lt]=400&with_total=true").await;
    assert_eq!(titles(&told.is(200).body), ["P1", "P2", "P3"]);
    assert_eq!(told.body["page"], json!({"next_cursor": null, "has_more": false, "total": 3}));
    assert_eq!(titles(&list("sort=-price&limit=2").await.body), ["P4", "P3"]);
    let first = list("sort=-price&limit=4").await;
    let link = first.header("link").to_owned();
    let next = link.strip_prefix('<').and_then(|rest| rest.split_once('>')).expect("a link").0;
    let second = market.shop.get(next).send().await;
    assert_eq!(titles(&second.is(200).body), ["P1", "P0"]);
    let batch = list(&format!("ids={},prod_00000000000000000000000000,{}", ids[3], ids[0])).await;
    assert_eq!(titles(&batch.is(200).body), ["P3", "P0"]);
    assert!(titles(&list("category=nowhere").await.body).is_empty());
    list("sort=colour").await.is_problem(400, "invalid_parameter");
    list("filter[status]=draft").await.is_problem(400, "unknown_parameter");
    let drafts = market.admin_get("/v1/admin/products?filter[status]=draft").await;
    assert!(titles(&drafts.is(200).body).is_empty());
}

#[tokio::test]
async fn stock_is_set_adjusted_and_shown_in_words() {
    let market = Market::open().await;
    market.product("Tee", "TEE-M", 1000, 0).await;
    let path = "/v1/admin/inventory/TEE-M";
    let put = |body| market.admin(Method::PUT, path, body);
    let set = put(json!({"on_hand": 7, "expected": 0})).await;
    assert_eq!((&set.is(200).body["on_hand"], &set.body["available"]), (&json!(7), &json!(7)));
    put(json!({"on_hand": 9, "expected": 1})).await.is_problem(409, "stock_changed");
    put(json!({"on_hand": -1})).await.is_problem(422, "validation_failed");
    let adjust = |delta| {
        market.admin(Method::POST, "/v1/admin/inventory/TEE-M/adjust", json!({"delta": delta, "reason": "count"}))
    };
    assert_eq!(adjust(-4).await.is(200).body["on_hand"], 3);
    adjust(-4).await.is_problem(409, "stock_reserved");
    market.until("/v1/products/tee", |product| product["variants"][0]["stock"] == "low_stock").await;
    let keyless = market.shop.ask(Method::PUT, path).by(&market.admin).json(json!({"on_hand": 1})).send().await;
    keyless.is_problem(400, "idempotency_key_required");
    market.admin(Method::PUT, "/v1/admin/inventory/NOPE", json!({"on_hand": 1})).await.is_problem(404, "not_found");
    market.shop.get(path).send().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_seller_sees_and_changes_his_own_products_only() {
    let market = Market::open().await;
    market.product("Theirs", "THEIRS", 100, 1).await;
    let seller = market.shop.register("seller@example.com").await;
    let user = format!("/v1/admin/users/{}", text(&seller["user"]["id"]));
    market.admin(Method::PATCH, &user, json!({"roles": ["customer", "seller"]})).await.is(200);
    let login = json!({"email": "seller@example.com", "password": "correct horse battery"});
    let seller = market.shop.post("/v1/auth/login", login).send().await.body;
    let body = json!({"title": "Mine", "status": "published", "variants": [{"sku": "MINE", "price": gbp(5)}]});
    let mine = market.shop.post("/v1/admin/products", body).by(&seller).send().await;
    assert_eq!(mine.is(201).body["seller_id"], seller["user"]["id"]);
    let own = market.shop.get("/v1/admin/products").by(&seller).send().await;
    assert_eq!(own.body["data"].as_array().map(Vec::len), Some(1));
    market.shop.get("/v1/admin/products/theirs").by(&seller).send().await.is_problem(404, "not_found");
    market.shop.get("/v1/admin/inventory/THEIRS").by(&seller).send().await.is_problem(404, "not_found");
    market.shop.get("/v1/admin/inventory/MINE").by(&seller).send().await.is(200);
    let category = market.shop.post("/v1/admin/categories", json!({"title": "X"})).by(&seller).send().await;
    category.is_problem(403, "forbidden");
}
