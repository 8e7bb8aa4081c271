//! The catalogue as customers see it: categories, products by id, slug and batch, and the sample.

use serde_json::{Value, json};

use crate::support::{Shop, Told, gbp, unique};

async fn category(shop: &Shop, body: Value) -> Told {
    shop.post("/v1/admin/categories", body).by(&shop.admin().await).send().await
}

fn path_of(category: &Value) -> String {
    format!("/v1/admin/categories/{}", category["id"].as_str().expect("an id"))
}

fn find<'a>(tree: &'a Value, id: &Value) -> Option<&'a Value> {
    let nodes = tree.as_array().expect("a list");
    nodes.iter().find_map(|node| if node["id"] == *id { Some(node) } else { find(&node["children"], id) })
}

#[tokio::test]
async fn categories_form_a_tree_by_position() {
    let shop = Shop::open().await;
    let top = category(&shop, json!({"title": unique("Top")})).await;
    assert_eq!(top.header("location"), path_of(&top.is(201).body));
    let below = |title: &str, position: i64| {
        category(&shop, json!({"title": unique(title), "parent_id": top.body["id"], "position": position}))
    };
    let (second, first) = (below("B", 2).await, below("A", 1).await);
    let tree = shop.get("/v1/categories").send().await;
    let node = find(&tree.is(200).body["data"], &top.body["id"]).expect("it is in the tree");
    assert_eq!(node["children"], json!([first.is(201).body, second.is(201).body]));
    assert_eq!(first.body["parent_id"], top.body["id"]);
}

#[tokio::test]
async fn a_category_has_a_slug_of_its_own() {
    let shop = Shop::open().await;
    let title = unique("Hats");
    let first = category(&shop, json!({"title": title})).await;
    assert_eq!(first.is(201).body["slug"], title.to_lowercase());
    let second = category(&shop, json!({"title": title})).await;
    assert_ne!(second.is(201).body["slug"], first.body["slug"]);
    let told = category(&shop, json!({"title": "x", "slug": first.body["slug"]})).await;
    assert_eq!(told.is_problem(409, "slug_taken").body["errors"][0]["pointer"], "/slug");
    let by_slug = format!("/v1/admin/categories/{}", first.body["slug"].as_str().expect("a slug"));
    let told = shop.patch(&by_slug, json!({"title": "Caps"})).by(&shop.admin().await).if_match("*").send().await;
    assert_eq!((&told.is(200).body["id"], &told.body["title"]), (&first.body["id"], &json!("Caps")));
}

#[tokio::test]
async fn a_category_is_moved_but_not_below_itself_and_deleted_without_children_only() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let top = category(&shop, json!({"title": unique("Top")})).await.is(201).body.clone();
    let child = category(&shop, json!({"title": unique("Child"), "parent_id": top["id"]})).await.is(201).body.clone();
    let patch = |which: &Value, body: Value| shop.patch(&path_of(which), body).by(&admin).if_match("*").send();
    patch(&top, json!({"parent_id": child["id"]})).await.has_fault("category_cycle", "/parent_id");
    patch(&top, json!({"parent_id": "cat_00000000000000000000000000"}))
        .await
        .has_fault("unknown_category", "/parent_id");
    let delete = |which: &Value| shop.delete(&path_of(which)).by(&admin).if_match("*").send();
    delete(&top).await.is_problem(409, "category_has_children");
    let moved = patch(&child, json!({"parent_id": null})).await;
    assert!(moved.is(200).body.get("parent_id").is_none());
    let body = json!({"title": "In it", "status": "published", "category_ids": [top["id"]]});
    let product = shop.post("/v1/admin/products", body).by(&admin).send().await.is(201).body.clone();
    delete(&top).await.is(204);
    delete(&top).await.is_problem(404, "not_found");
    let product = format!("/v1/products/{}", product["id"].as_str().expect("an id"));
    // Products lose a deleted category.
    shop.soon(async || shop.get(&product).send().await.is(200).body["category_ids"].clone(), json!([])).await;
    category(&shop, json!({"title": "x", "parent_id": top["id"]})).await.has_fault("unknown_category", "/parent_id");
}

#[tokio::test]
async fn a_list_of_a_category_has_what_is_below_it_by_id_or_slug() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let top = category(&shop, json!({"title": unique("Top")})).await.is(201).body.clone();
    let child = category(&shop, json!({"title": unique("Child"), "parent_id": top["id"]})).await.is(201).body.clone();
    let body = json!({"title": "Deep", "status": "published", "category_ids": [child["id"]]});
    let product = shop.post("/v1/admin/products", body).by(&admin).send().await.is(201).body.clone();
    for name in [&top["id"], &top["slug"], &child["slug"]] {
        let told = shop.get(&format!("/v1/products?category={}", name.as_str().expect("a name"))).send().await;
        assert_eq!(told.is(200).column("id"), [product["id"].as_str().expect("an id")], "{name}");
    }
    assert_eq!(shop.get("/v1/products?category=no-such-thing").send().await.is(200).body["data"], json!([]));
}

#[tokio::test]
async fn products_are_read_by_id_slug_and_batch() {
    let shop = Shop::open().await;
    let (one, two) = (shop.product(&unique("ONE"), 1, 50).await, shop.product(&unique("TWO"), 2, 50).await);
    for name in [&one["id"], &one["slug"]] {
        let told = shop.get(&format!("/v1/products/{}", name.as_str().expect("a name"))).send().await;
        assert_eq!(told.is(200).body["id"], one["id"]);
    }
    let (first, second) = (one["id"].as_str().expect("an id"), two["slug"].as_str().expect("a slug"));
    let ids = format!("{second},{first},prod_00000000000000000000000000");
    let told = shop.get(&format!("/v1/products?ids={ids}")).send().await;
    assert_eq!(told.is(200).column("id"), [two["id"].as_str().expect("an id"), first]);
    shop.get("/v1/products/no-such-thing").send().await.is_problem(404, "not_found");
    shop.get("/v1/products/prod_00000000000000000000000000").send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_stock_band_follows_the_stock_within_a_second() {
    let shop = Shop::open().await;
    let sku = unique("BANDS");
    let product = shop.product(&sku, 1, 0).await;
    let path = format!("/v1/products/{}", product["id"].as_str().expect("an id"));
    for (stock, band) in [(0, "out_of_stock"), (1, "low_stock"), (5, "low_stock"), (6, "in_stock"), (0, "out_of_stock")]
    {
        shop.stock(&sku, stock).await;
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
        loop {
            let shown = shop.get(&path).send().await.is(200).body["variants"][0]["stock"].clone();
            if shown == band {
                break;
            }
            assert!(tokio::time::Instant::now() < until, "{stock} pieces are shown as {shown}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_seen_at_once() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    for _ in 0..10 {
        let (sku, slug) = (unique("NOW"), unique("now"));
        let body =
            json!({"title": "Now", "slug": slug, "status": "published", "variants": [{"sku": sku, "price": gbp(5)}]});
        shop.post("/v1/admin/products", body).by(&admin).send().await.is(201);
        shop.get(&format!("/v1/products/{slug}")).send().await.is(200);
        shop.get(&format!("/v1/admin/inventory/{sku}")).by(&admin).send().await.is(200);
        let cart = shop.guest_cart().await;
        shop.add(&cart, &sku, 1).await.is(200);
    }
}

#[tokio::test]
async fn the_sample_is_a_shop_to_try() {
    let shop = Shop::with(&[("SOUK_SAMPLE", "true")]).await;
    let told = shop.get("/v1/products?limit=100&with_total=true").send().await;
    assert_eq!(told.is(200).body["page"]["total"], 24);
    let tees = shop.get("/v1/products?category=tees").send().await;
    assert_eq!(tees.is(200).body["data"].as_array().map(Vec::len), Some(3));
    assert!(
        find(&shop.get("/v1/categories").send().await.is(200).body["data"], &tees.body["data"][0]["category_ids"][0])
            .is_some()
    );
    let order = shop.order("TEE-HARBOUR-M", 1).await;
    assert_eq!(order["totals"]["total"], gbp(2400));
}
