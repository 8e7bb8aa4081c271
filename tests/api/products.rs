//! Products and categories, for merchants.

use serde_json::{Value, json};

use crate::support::{Shop, Told, gbp, unique};

async fn create(shop: &Shop, body: Value) -> Told {
    shop.post("/v1/admin/products", body).by(&shop.admin().await).send().await
}

fn path_of(product: &Value) -> String {
    format!("/v1/admin/products/{}", product["id"].as_str().expect("an id"))
}

async fn patch(shop: &Shop, product: &Value, body: Value) -> Told {
    shop.patch(&path_of(product), body).by(&shop.admin().await).if_match("*").send().await
}

#[tokio::test]
async fn a_product_is_created_whole() {
    let shop = Shop::open().await;
    let title = unique("Blue  Tee");
    let skus = [unique("TEE"), unique("TEE")];
    let variants =
        json!([{"sku": skus[0], "options": {"size": "M"}, "price": gbp(1999)}, {"sku": skus[1], "price": gbp(2099)}]);
    let body = json!({"title": title, "description": "Soft", "category_ids": [], "attributes": {"fabric": "cotton"},
                      "status": "draft", "variants": variants});
    let told = create(&shop, body).await;
    let product = &told.is(201).body;
    assert_eq!(told.header("location"), path_of(product));
    assert_eq!((&product["title"], &product["description"]), (&json!(title), &json!("Soft")));
    assert_eq!(product["slug"], title.to_lowercase().replace("  ", "-"));
    assert_eq!(product["attributes"], json!({"fabric": "cotton"}));
    assert_eq!(product["rating"]["count"], 0);
    assert_eq!((&product["status"], product.get("seller_id")), (&json!("draft"), None));
    assert_eq!(product["variants"][0]["sku"], skus[0]);
    assert_eq!(product["variants"][0]["options"], json!({"size": "M"}));
    assert_eq!(product["variants"][1]["stock"], "out_of_stock");
    let admin = shop.admin().await;
    assert_eq!(shop.get(&path_of(product)).by(&admin).send().await.is(200).body, *product);
    let by_slug = format!("/v1/admin/products/{}", product["slug"].as_str().expect("a slug"));
    assert_eq!(shop.get(&by_slug).by(&admin).send().await.is(200).body["id"], product["id"]);
    shop.get(&format!("/v1/products/{}", product["id"].as_str().expect("an id")))
        .send()
        .await
        .is_problem(404, "not_found");
}

#[tokio::test]
async fn a_slug_is_made_from_the_title_unless_it_is_given() {
    let shop = Shop::open().await;
    let title = unique("Twice");
    let plain = title.to_lowercase();
    assert_eq!(create(&shop, json!({"title": title})).await.is(201).body["slug"], plain);
    let second = create(&shop, json!({"title": title})).await.is(201).body["slug"].clone();
    assert!(second.as_str().is_some_and(|slug| slug.starts_with(&plain) && slug != plain), "{second}");
    let told = create(&shop, json!({"title": "Other", "slug": plain})).await;
    told.is_problem(409, "slug_taken");
    assert_eq!(told.body["errors"][0]["pointer"], "/slug");
    create(&shop, json!({"title": "Other", "slug": "Not A Slug"})).await.has_fault("invalid_value", "/slug");
}

#[tokio::test]
async fn a_sku_belongs_to_one_product() {
    let shop = Shop::open().await;
    let (taken, free, slug) = (unique("TAKEN"), unique("FREE"), unique("freed"));
    shop.product(&taken, 100, 1).await;
    let variants = json!([{"sku": free, "price": gbp(1)}, {"sku": taken, "price": gbp(1)}]);
    let told = create(&shop, json!({"title": "Two", "slug": slug, "variants": variants})).await;
    told.is_problem(409, "sku_taken");
    let fault = &told.body["errors"][0];
    assert_eq!((&fault["pointer"], &fault["sku"]), (&json!("/variants/1/sku"), &json!(taken)));
    let own = json!({"title": "Three", "slug": slug, "variants": [{"sku": free, "price": gbp(1)}]});
    create(&shop, own).await.is(201);
    let twice = json!([{"sku": "DOUBLE", "price": gbp(1)}, {"sku": "DOUBLE", "price": gbp(1)}]);
    create(&shop, json!({"title": "Four", "variants": twice})).await.has_fault("invalid_value", "/variants/1/sku");
}

#[tokio::test]
async fn of_two_who_claim_a_sku_at_once_one_gets_it() {
    let shop = Shop::open().await;
    let sku = unique("CLAIM");
    let body = json!({"title": "Claim", "variants": [{"sku": sku, "price": gbp(1)}]});
    let (one, two) = tokio::join!(create(&shop, body.clone()), create(&shop, body.clone()));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn a_products_fields_have_their_limits() {
    let shop = Shop::open().await;
    create(&shop, json!({})).await.has_fault("required", "/title");
    create(&shop, json!({"title": ""})).await.has_fault("invalid_value", "/title");
    create(&shop, json!({"title": "x", "status": "sold"})).await.has_fault("invalid_value", "/status");
    let variant = |variant: Value| create(&shop, json!({"title": "x", "variants": [variant]}));
    variant(json!({"sku": "A"})).await.has_fault("required", "/variants/0/price");
    variant(json!({"sku": "A", "price": gbp(-1)})).await.has_fault("out_of_range", "/variants/0/price/amount");
    variant(json!({"sku": "A", "price": {"amount": 1.5, "currency": "GBP"}}))
        .await
        .has_fault("wrong_type", "/variants/0/price/amount");
    variant(json!({"sku": "_A", "price": gbp(1)})).await.has_fault("invalid_value", "/variants/0/sku");
    variant(json!({"sku": "A", "price": gbp(1), "stock": 5})).await.has_fault("unknown_field", "/variants/0/stock");
    let categories = json!(["cat_00000000000000000000000000"]);
    create(&shop, json!({"title": "x", "category_ids": categories}))
        .await
        .has_fault("unknown_category", "/category_ids/0");
    let many: Vec<Value> = (0..101).map(|n| json!({"sku": format!("MANY-{n}"), "price": gbp(1)})).collect();
    create(&shop, json!({"title": "x", "variants": many})).await.has_fault("out_of_range", "/variants");
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let shop = Shop::open().await;
    let sku = unique("PATCH");
    let before = shop.product(&sku, 100, 9).await;
    let told = patch(&shop, &before, json!({"description": "Softer", "attributes": {"fabric": "wool"}})).await;
    let after = &told.is(200).body;
    assert_eq!((&after["description"], &after["attributes"]), (&json!("Softer"), &json!({"fabric": "wool"})));
    for member in ["id", "title", "slug", "status", "created_at"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(after["variants"][0]["id"], before["variants"][0]["id"]);
    assert!(after["version"].as_u64() > before["version"].as_u64());
    let told = patch(&shop, &before, json!({})).await;
    assert_eq!(told.is(200).body["title"], before["title"]);
    patch(&shop, &before, json!({"seller_id": "x"})).await.has_fault("unknown_field", "/seller_id");
    let nobody = json!({"id": "prod_00000000000000000000000000"});
    patch(&shop, &nobody, json!({})).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn variants_are_replaced_as_a_whole_and_a_sku_that_stays_is_the_same_variant() {
    let shop = Shop::open().await;
    let (kept, gone, new) = (unique("KEPT"), unique("GONE"), unique("NEW"));
    let variants = json!([{"sku": kept, "price": gbp(1)}, {"sku": gone, "price": gbp(1)}]);
    let product =
        create(&shop, json!({"title": "Swap", "status": "published", "variants": variants})).await.is(201).body.clone();
    let variants = json!([{"sku": new, "price": gbp(3)}, {"sku": kept, "price": gbp(2)}]);
    let told = patch(&shop, &product, json!({"variants": variants})).await;
    assert_eq!(told.is(200).body["variants"][1]["id"], product["variants"][0]["id"]);
    assert_eq!(told.body["variants"][1]["price"], gbp(2));
    let cart = shop.guest_cart().await;
    shop.add(&cart, &gone, 1).await.is_problem(422, "unknown_sku");
    assert_eq!(shop.add(&cart, &kept, 1).await.is(200).body["totals"]["total"], gbp(2));
    create(&shop, json!({"title": "Heir", "variants": [{"sku": gone, "price": gbp(1)}]})).await.is(201);
}

#[tokio::test]
async fn an_old_slug_leads_to_the_new_one_until_somebody_else_has_it() {
    let shop = Shop::open().await;
    let product = shop.product(&unique("RENAMED"), 1, 1).await;
    let first = product["slug"].as_str().expect("a slug").to_owned();
    let (second, third) = (unique("second-name"), unique("third-name"));
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let leads = async |slug: &str| {
        let told = client.get(format!("{}/v1/products/{slug}", shop.server.url())).send().await.expect("an answer");
        let location = told.headers().get("location").and_then(|location| location.to_str().ok());
        (told.status().as_u16(), location.unwrap_or_default().to_owned())
    };
    for slug in [&second, &third] {
        patch(&shop, &product, json!({"slug": slug})).await.is(200);
    }
    assert_eq!(leads(&third).await, (200, String::new()));
    for old in [&first, &second] {
        assert_eq!(leads(old).await, (301, format!("/v1/products/{third}")), "one step, to the newest");
    }
    // What follows redirects finds it. The routes of administrators know present names only.
    assert_eq!(shop.get(&format!("/v1/products/{first}")).send().await.is(200).body["id"], product["id"]);
    let admin = shop.admin().await;
    let told = shop.get(&format!("/v1/admin/products/{first}")).by(&admin).send().await;
    told.is_problem(404, "not_found");
    // A change that is refused never gave the product that name.
    let (claimed, taken) = (unique("never-name"), unique("TAKEN"));
    shop.product(&taken, 1, 1).await;
    let refused = json!({"slug": claimed, "variants": [{"sku": taken, "price": gbp(1)}]});
    patch(&shop, &product, refused).await.is_problem(409, "sku_taken");
    assert_eq!(leads(&claimed).await.0, 404);
    // Who claims the old slug has it; the other one still leads.
    let heir = json!({"title": "Heir", "slug": first, "status": "published"});
    let heir = create(&shop, heir).await.is(201).body.clone();
    assert_eq!(leads(&first).await, (200, String::new()));
    assert_eq!(leads(&second).await.0, 301);
    // It leads to the heir when he is renamed, and nowhere when he is hidden.
    let fourth = unique("fourth-name");
    patch(&shop, &heir, json!({"slug": fourth})).await.is(200);
    assert_eq!(leads(&first).await, (301, format!("/v1/products/{fourth}")));
    patch(&shop, &heir, json!({"status": "archived"})).await.is(200);
    assert_eq!(leads(&first).await.0, 404);
    // A name that is taken again is its own again.
    patch(&shop, &product, json!({"slug": second})).await.is(200);
    assert_eq!(leads(&second).await, (200, String::new()));
    assert_eq!(leads(&third).await, (301, format!("/v1/products/{second}")));
}

/// Where a list names a category or products, a former slug leads where it does in a path.
#[tokio::test]
async fn a_list_follows_former_slugs() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (old, new) = (unique("old-shelf"), unique("new-shelf"));
    let told = shop.post("/v1/admin/categories", json!({"title": "Shelf", "slug": old})).by(&admin).send().await;
    let category = told.is(201).body["id"].as_str().expect("an id").to_owned();
    let sku = unique("SHELVED");
    let product = shop.product(&sku, 1, 1).await;
    let (first, second) = (product["slug"].as_str().expect("a slug").to_owned(), unique("second-name"));
    patch(&shop, &product, json!({"category_ids": [category], "slug": second})).await.is(200);
    let renamed = shop.patch(&format!("/v1/admin/categories/{old}"), json!({"slug": new})).by(&admin).if_match("*");
    renamed.send().await.is(200);
    for slug in [&old, &new, &category] {
        let told = shop.get(&format!("/v1/products?category={slug}")).send().await;
        assert_eq!(told.is(200).column("id"), [product["id"].as_str().expect("an id")], "{slug}");
    }
    let told = shop.get(&format!("/v1/products?ids={first}")).send().await;
    assert_eq!(told.is(200).column("id"), [product["id"].as_str().expect("an id")]);
    // Who takes the name has it.
    let told = shop.post("/v1/admin/categories", json!({"title": "Other", "slug": old})).by(&admin).send().await;
    told.is(201);
    assert!(shop.get(&format!("/v1/products?category={old}")).send().await.is(200).column("id").is_empty());
}

#[tokio::test]
async fn an_archived_product_is_no_longer_shown_or_sold_and_can_come_back() {
    let shop = Shop::open().await;
    let (admin, sku) = (shop.admin().await, unique("ARCHIVED"));
    let product = shop.product(&sku, 1, 9).await;
    let cart = shop.ready_cart(&sku, 1).await;
    let told = shop.delete(&path_of(&product)).by(&admin).if_match("*").send().await;
    assert_eq!(told.is(200).body["status"], "archived");
    let public = format!("/v1/products/{}", product["id"].as_str().expect("an id"));
    shop.get(&public).send().await.is_problem(404, "not_found");
    shop.get(&path_of(&product)).by(&admin).send().await.is(200);
    shop.add(&cart, &sku, 1).await.is_problem(422, "unpublished_sku");
    shop.pay(&cart, "tok_ok", &unique("pay")).await.is_problem(409, "sku_unavailable");
    assert_eq!(shop.counts(&sku).await, (9, 0, 9));
    patch(&shop, &product, json!({"status": "published"})).await.is(200);
    shop.get(&public).send().await.is(200);
    shop.pay(&cart, "tok_ok", &unique("pay")).await.is(201);
}

#[tokio::test]
async fn drafts_are_listed_to_merchants_only() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let category = shop.post("/v1/admin/categories", json!({"title": unique("Drafts")})).by(&admin).send().await;
    let category = category.is(201).body["id"].as_str().expect("an id").to_owned();
    let draft = create(&shop, json!({"title": "Draft", "category_ids": [category]})).await.is(201).body.clone();
    let query = format!("?category={category}");
    assert_eq!(shop.get(&format!("/v1/products{query}")).send().await.is(200).body["data"], json!([]));
    let all = shop.get(&format!("/v1/admin/products{query}&filter[status]=draft")).by(&admin).send().await;
    assert_eq!(all.is(200).column("id"), [draft["id"].as_str().expect("an id")]);
    let none = shop.get(&format!("/v1/admin/products{query}&filter[status]=archived")).by(&admin).send().await;
    assert_eq!(none.is(200).body["data"], json!([]));
}
