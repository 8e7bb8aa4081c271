//! Lists: pages, cursors, sorts, filters, totals and links.

use serde_json::{Value, json};
use souk::actors::values::JournalPosition;

use crate::support::{Shop, Told, gbp, unique};

/// All ids, page by page along `Link`.
async fn walk(shop: &Shop, who: &Value, path: &str) -> Vec<String> {
    let (mut ids, mut next) = (Vec::new(), path.to_owned());
    loop {
        let told = shop.get(&next).by(who).send().await;
        ids.extend(told.is(200).column("id"));
        let page = &told.body["page"];
        assert_eq!(page["has_more"].as_bool(), Some(page["next_cursor"].is_string()));
        assert_eq!(told.header("link").is_empty(), page["has_more"] == false);
        let Some(link) = told.header("link").strip_prefix('<') else { return ids };
        let (url, rel) = link.split_once('>').expect("a link has an end");
        assert_eq!(rel, "; rel=\"next\"");
        next = url.to_owned();
    }
}

/// A category with seven published products at 100, 200, ... 700.
async fn seven(shop: &Shop) -> (String, Vec<String>) {
    let admin = shop.admin().await;
    let category = shop.post("/v1/admin/categories", json!({"title": unique("Seven")})).by(&admin).send().await;
    let id = category.is(201).body["id"].as_str().expect("an id").to_owned();
    let mut ids = Vec::new();
    for n in 1..=7 {
        let variants = json!([{"sku": unique("SEVEN"), "price": gbp(n * 100)}]);
        let body =
            json!({"title": format!("Thing {n}"), "status": "published", "category_ids": [id], "variants": variants});
        let product = shop.post("/v1/admin/products", body).by(&admin).send().await.is(201).body.clone();
        ids.push(product["id"].as_str().expect("an id").to_owned());
    }
    (id, ids)
}

#[tokio::test]
async fn pages_make_the_whole_list_newest_first() {
    let shop = Shop::open().await;
    let (category, mut ids) = seven(&shop).await;
    let admin = shop.admin().await;
    ids.reverse();
    for limit in [1, 3, 7, 100] {
        let path = format!("/v1/products?category={category}&limit={limit}");
        assert_eq!(walk(&shop, &admin, &path).await, ids, "{limit}");
    }
    let path = format!("/v1/admin/products?category={category}&limit=2&sort=price");
    ids.reverse();
    assert_eq!(walk(&shop, &admin, &path).await, ids);
}

#[tokio::test]
async fn a_page_that_was_begun_is_not_disturbed_by_what_is_added() {
    let shop = Shop::open().await;
    let (category, mut ids) = seven(&shop).await;
    let admin = shop.admin().await;
    let path = format!("/v1/products?category={category}&limit=4");
    let first = shop.get(&path).send().await;
    let body = json!({"title": "Late", "status": "published", "category_ids": [category],
                      "variants": [{"sku": unique("LATE"), "price": gbp(1)}]});
    shop.post("/v1/admin/products", body).by(&admin).send().await.is(201);
    let cursor = first.is(200).body["page"]["next_cursor"].as_str().expect("a cursor");
    let second = shop.get(&format!("{path}&cursor={cursor}")).send().await;
    let seen = [first.column("id"), second.is(200).column("id")].concat();
    ids.reverse();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn lists_sort_and_filter() {
    let shop = Shop::open().await;
    let (category, ids) = seven(&shop).await;
    let list = async |query: &str| shop.get(&format!("/v1/products?category={category}{query}")).send().await;
    let prices = |told: &Told| -> Vec<i64> {
        let items = told.is(200).body["data"].as_array().expect("a list").iter();
        items.filter_map(|item| item["variants"][0]["price"]["amount"].as_i64()).collect()
    };
    assert_eq!(prices(&list("&sort=-price").await), [700, 600, 500, 400, 300, 200, 100]);
    assert_eq!(prices(&list("&sort=title").await), [100, 200, 300, 400, 500, 600, 700]);
    assert_eq!(prices(&list("&sort=created_at,price&limit=2").await), [100, 200]);
    assert_eq!(prices(&list("&sort=price&filter[price][gte]=300&filter[price][lt]=600").await), [300, 400, 500]);
    assert_eq!(prices(&list("&sort=price&filter%5Bprice%5D=700").await), [700]);
    assert_eq!(prices(&list("&filter[created_at][lt]=2020-01-01T00:00:00Z").await), [0; 0]);
    assert_eq!(list("&filter[created_at][gte]=2020-01-01T00:00:00Z").await.is(200).column("id").len(), ids.len());
    assert_eq!(prices(&list("&filter[price][gt]=9223372036854775807").await), [0; 0]);
}

#[tokio::test]
async fn a_total_is_counted_only_when_it_is_asked_for() {
    let shop = Shop::open().await;
    let (category, _) = seven(&shop).await;
    let path = format!("/v1/products?category={category}&limit=2");
    assert!(shop.get(&path).send().await.is(200).body["page"].get("total").is_none());
    let told = shop.get(&format!("{path}&with_total=true")).send().await;
    assert_eq!(told.is(200).body["page"]["total"], 7);
    assert_eq!(told.body["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn what_a_list_does_not_know_is_refused() {
    let shop = Shop::open().await;
    let (category, _) = seven(&shop).await;
    let list = async |query: &str| shop.get(&format!("/v1/products?{query}")).send().await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=ten",
        "sort=weight",
        "with_total=maybe",
        "filter[price]=cheap",
        "limit=1&limit=2",
    ] {
        list(query).await.is_problem(400, "invalid_parameter");
    }
    for query in ["q=tee", "filter[weight]=1", "filter[price][like]=1", "offset=3", "filter[status]=draft"] {
        list(query).await.is_problem(400, "unknown_parameter");
    }
    let one = list(&format!("category={category}&limit=1")).await;
    let cursor = one.is(200).body["page"]["next_cursor"].as_str().expect("a cursor").to_owned();
    list(&format!("category={category}&cursor={cursor}")).await.is(200);
    list(&format!("category={category}&sort=price&cursor={cursor}")).await.is_problem(400, "invalid_cursor");
    list("cursor=nonsense").await.is_problem(400, "invalid_cursor");
}

#[tokio::test]
async fn orders_are_listed_to_their_customer_newest_first() {
    let shop = Shop::open().await;
    let (ada, eve) = (shop.customer().await, shop.customer().await);
    let sku = shop.sku(100, 99).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let order = shop.order_of(&ada, &sku, 1).await;
        ids.push(order["id"].as_str().expect("an id").to_owned());
    }
    ids.reverse();
    assert_eq!(walk(&shop, &ada, "/v1/me/orders?limit=2").await, ids);
    assert_eq!(shop.get("/v1/me/orders?with_total=true").by(&ada).send().await.is(200).body["page"]["total"], 5);
    assert_eq!(shop.get("/v1/me/orders").by(&eve).send().await.is(200).body["data"], json!([]));
    shop.get("/v1/me/orders").send().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn administrators_filter_all_orders() {
    let shop = Shop::alone(&[]).await;
    let admin = shop.admin().await;
    let sku = shop.sku(100, 99).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let order = shop.order(&sku, 1).await;
        ids.push(order["id"].as_str().expect("an id").to_owned());
    }
    let act = async |n: usize, what: &str, body: Value| {
        let path = format!("/v1/admin/orders/{}/{what}", ids[n]);
        shop.post(&path, body).by(&admin).key(&unique(what)).send().await.is(200).body["created_at"].clone()
    };
    act(1, "fulfil", json!({})).await;
    act(2, "refund", json!({"amount": gbp(40), "reason": "late"})).await;
    let created = act(3, "refund", json!({"reason": "lost"})).await;
    let rejected = shop.ready_cart(&sku, 1).await;
    shop.pay(&rejected, "tok_declined", "declined").await.is(402);
    let list =
        async |query: &str| shop.get(&format!("/v1/admin/orders?{query}")).by(&admin).send().await.is(200).column("id");
    assert_eq!(list("filter[status]=completed").await, [ids[1].clone()]);
    shop.soon(async || list("filter[status]=rejected").await.len(), 1).await;
    assert_eq!(list("filter[payment_status]=partially_refunded").await, [ids[2].clone()]);
    assert_eq!(list("filter[payment_status]=refunded").await, [ids[3].clone()]);
    assert_eq!(list("filter[fulfillment_status]=fulfilled").await, [ids[1].clone()]);
    assert_eq!(
        list("filter[status]=confirmed&sort=created_at").await,
        [ids[0].clone(), ids[2].clone(), ids[3].clone()]
    );
    let created = created.as_str().expect("a time");
    assert_eq!(list(&format!("filter[created_at][gt]={created}")).await.len(), 1);
    assert_eq!(list(&format!("filter[created_at][gte]={created}&filter[status]=confirmed")).await, [ids[3].clone()]);
    let told = shop.get("/v1/admin/orders?filter[status]=lost").by(&admin).send().await;
    told.is_problem(400, "invalid_parameter");
    let all = walk(&shop, &admin, "/v1/admin/orders?limit=2&sort=-created_at").await;
    assert_eq!(all.len(), 5);
    assert_eq!(all[1..].iter().rev().cloned().collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn what_staff_does_is_answered_with_a_position_that_lists_wait_for() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let category = shop.post("/v1/admin/categories", json!({"title": unique("Shelf")})).by(&admin).send().await;
    let variants = json!([{"sku": unique("POSITION"), "price": gbp(100)}]);
    let body = json!({"title": "Thing", "status": "published", "category_ids": [category.is(201).body["id"]],
        "variants": variants});
    let product = shop.post("/v1/admin/products", body).by(&admin).send().await;
    let path = format!("/v1/admin/products/{}", product.is(201).body["id"].as_str().expect("an id"));
    let retitled = shop.patch(&path, json!({"title": "Another"})).by(&admin).if_match(product.tag()).send().await;
    let sku = product.body["variants"][0]["sku"].as_str().expect("a SKU");
    let adjusted = shop.post(&format!("/v1/admin/inventory/{sku}/adjust"), json!({"delta": 9, "reason": "found"}));
    let adjusted = adjusted.by(&admin).key(&unique("key")).send().await;
    let archived = shop.delete(&path).by(&admin).if_match("*").send().await;
    for told in [&category, &product, &retitled, &adjusted, &archived] {
        assert!(told.header("souk-position").parse::<JournalPosition>().is_ok(), "{}", told.header("souk-position"));
    }
    let list = format!("/v1/admin/products?category={}", category.body["id"].as_str().expect("an id"));
    let positions = format!("{}, {}", category.header("souk-position"), archived.header("souk-position"));
    let shown = shop.get(&list).by(&admin).header("souk-position", &positions).send().await;
    assert_eq!(shown.is(200).body["data"][0]["status"], "archived");
    // What is not there yet is waited for, and no longer than a list may be old.
    let mut beyond: JournalPosition = archived.header("souk-position").parse().expect("a position");
    beyond.seq += 1_000_000;
    shop.get("/v1/products").header("souk-position", &beyond.to_string()).send().await.is(200);
}

#[tokio::test]
async fn what_is_no_position_is_refused_and_customers_are_told_none() {
    let shop = Shop::open().await;
    let (admin, sku) = (shop.admin().await, shop.sku(100, 9).await);
    let elsewhere = JournalPosition { slot: u16::MAX, seq: 1, epoch: 1 }.to_string();
    for path in ["/v1/products", "/v1/admin/products", "/v1/admin/orders"] {
        for position in ["42", elsewhere.as_str()] {
            let told = shop.get(path).by(&admin).header("souk-position", position).send().await;
            told.is_problem(400, "invalid_header");
        }
    }
    let cart = shop.ready_cart(&sku, 1).await;
    let order = shop.pay(&cart, "tok_ok", &unique("a key that nobody guesses")).await;
    assert_eq!(order.is(201).header("souk-position"), "", "he could tell how much is sold");
    let shipped = format!("/v1/admin/orders/{}/fulfil", order.body["id"].as_str().expect("an id"));
    let shipped = shop.post(&shipped, json!({})).by(&admin).send().await;
    let position = shipped.is(200).header("souk-position");
    let orders = shop.get("/v1/admin/orders?filter[fulfillment_status]=fulfilled&limit=100").by(&admin);
    let orders = orders.header("souk-position", position).send().await.is(200).column("id");
    assert!(orders.iter().any(|id| order.body["id"] == *id));
}
