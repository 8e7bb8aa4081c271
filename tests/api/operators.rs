//! What operators see of the machinery: entities, their history and their past, the cluster.

use serde_json::{Value, json};
use souk::actors::values::JournalPosition;

use crate::support::{Shop, unique};

fn id_of(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

#[tokio::test]
async fn an_entity_is_shown_with_all_that_its_node_knows_of_it() {
    let shop = Shop::open().await;
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let path = format!("/v1/admin/entities/user/{}", id_of(&ada["user"]));
    let now = shop.get(&path).by(&admin).send().await;
    assert_eq!((&now.is(200).body["kind"], &now.body["id"]), (&json!("user"), &ada["user"]["id"]));
    for member in
        ["node", "slot", "epoch", "version", "state", "resident", "last_activity", "owed", "wake_at", "restarts"]
    {
        assert!(now.body.get(member).is_some(), "{member} is missing: {}", now.body);
    }
    let is_here = now.header("x-souk-hops") == "0";
    assert_eq!((now.body["restarts"].is_u64(), now.body["queue_depth"].is_u64()), (is_here, is_here), "{}", now.body);
    assert!(now.body["version"].as_u64() >= Some(2));
    shop.get("/v1/admin/entities/unicorn/x").by(&admin).send().await.is_problem(404, "not_found");
    shop.get("/v1/admin/entities/user/x").by(&admin).send().await.is_problem(404, "not_found");
    shop.get("/v1/admin/entities/user/user_00000000000000000000000000")
        .by(&admin)
        .send()
        .await
        .is_problem(404, "not_found");
    shop.get(&path).by(&ada).send().await.is_problem(403, "forbidden");
    shop.get(&path).send().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn secrets_are_redacted_everywhere() {
    let shop = Shop::open().await;
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let cart = shop.ready_cart(&shop.sku(100, 9).await, 1).await;
    let order = shop.pay(&cart, "tok_secret_card", &unique("pay")).await.is(201).body.clone();
    let session = shop.get("/v1/me/sessions").by(&ada).send().await.is(200).body["data"][0].clone();
    let payment = id_of(&order["payments"][0]).to_owned();
    for entity in [
        format!("user/{}", id_of(&ada["user"])),
        format!("session/{}", id_of(&session)),
        format!("cart/{}", cart.id),
        format!("order/{}", id_of(&order)),
        format!("mock_charge/{payment}"),
        "keyring/only".to_owned(),
    ] {
        for view in ["", "/journal", "/state"] {
            let told = shop.get(&format!("/v1/admin/entities/{entity}{view}")).by(&admin).send().await;
            let text = told.is(200).body.to_string();
            for secret in ["tok_secret_card", "$argon2", ada["refresh_token"].as_str().expect("a token"), &cart.token] {
                assert!(!text.contains(secret), "{entity}{view} shows {secret}");
            }
        }
    }
    let state = shop.get(&format!("/v1/admin/entities/user/{}/state", id_of(&ada["user"]))).by(&admin).send().await;
    assert_eq!(state.is(200).body["state"]["account"]["password_hash"], "[redacted]");
    let keyring = shop.get("/v1/admin/entities/keyring/only").by(&admin).send().await;
    assert_eq!(keyring.is(200).body["state"]["keys"][0]["seed"], "[redacted]");
}

#[tokio::test]
async fn a_history_is_read_in_order_and_in_parts() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sku = shop.sku(100, 99).await;
    let cart = shop.guest_cart().await;
    for n in 1..=3 {
        shop.add(&cart, &sku, n).await.is(200);
    }
    let path = format!("/v1/admin/entities/cart/{}/journal", cart.id);
    let told = shop.get(&path).by(&admin).send().await;
    assert_eq!(told.is(200).column("version"), ["1", "2", "3", "4"]);
    for entry in told.body["data"].as_array().expect("a list") {
        assert!(entry["at"].is_string() && entry["request_id"].is_string(), "{entry}");
        assert!(entry["events"].as_array().is_some_and(|events| events.iter().all(|event| event["type"].is_string())));
    }
    let later = shop.get(&format!("{path}?after=2&limit=1")).by(&admin).send().await;
    assert_eq!(later.is(200).column("version"), ["3"]);
    let next = later.header("link").split(['<', '>']).nth(1).expect("a link").to_owned();
    assert_eq!(shop.get(&next).by(&admin).send().await.is(200).column("version"), ["4"]);
    assert_eq!(shop.get(&format!("{path}?after=4")).by(&admin).send().await.is(200).body["data"], json!([]));
    for no_version in ["x", "-1", "9223372036854775808"] {
        let refused = shop.get(&format!("{path}?after={no_version}")).by(&admin).send().await;
        refused.is_problem(400, "invalid_parameter");
    }
    let nobody = "/v1/admin/entities/cart/cart_00000000000000000000000000/journal";
    shop.get(nobody).by(&admin).send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_request_is_found_in_the_journal_by_its_id() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let told = shop.post("/v1/carts", json!({})).key(&unique("0123456789abcdef0123456789")).send().await;
    let path = format!("/v1/admin/entities/cart/{}/journal", id_of(&told.is(201).body));
    let journal = shop.get(&path).by(&admin).send().await;
    assert_eq!(journal.is(200).body["data"][0]["request_id"], told.header("x-request-id"));
}

#[tokio::test]
async fn every_past_state_can_be_seen() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sku = shop.sku(100, 99).await;
    let cart = shop.guest_cart().await;
    for _ in 0..3 {
        shop.add(&cart, &sku, 2).await.is(200);
    }
    let path = format!("/v1/admin/entities/cart/{}/state", cart.id);
    for (version, quantity) in [(1, None), (2, Some(2)), (3, Some(4)), (4, Some(6))] {
        let past = shop.get(&format!("{path}?at={version}")).by(&admin).send().await;
        assert_eq!(past.is(200).body["version"], version);
        let lines = past.body["state"]["lines"].as_array().expect("lines");
        assert_eq!(lines.first().and_then(|line| line["quantity"].as_u64()), quantity, "{}", past.body);
    }
    assert_eq!(shop.get(&path).by(&admin).send().await.is(200).body["version"], 4);
    let told = shop.get(&format!("{path}?at=5")).by(&admin).send().await;
    let end = format!("The journal of cart {} ends at version 4.", cart.id);
    assert_eq!(told.is_problem(404, "not_found").body["detail"], end);
    let never = "/v1/admin/entities/cart/cart_00000000000000000000000000/state?at=5";
    let told = shop.get(never).by(&admin).send().await;
    assert!(told.is_problem(404, "not_found").body.get("detail").is_none(), "{}", told.body);
    for no_version in ["x", "-1", "9223372036854775808", "18446744073709551616"] {
        let refused = shop.get(&format!("{path}?at={no_version}")).by(&admin).send().await;
        refused.is_problem(400, "invalid_parameter");
    }
    let last = shop.get(&format!("{path}?at={}", i64::MAX)).by(&admin).send().await;
    last.is_problem(404, "not_found");
    shop.get(&format!("{path}?on=1")).by(&admin).send().await.is_problem(400, "unknown_parameter");
}

/// A provider that does not answer leaves an order that owes its authorisation.
#[tokio::test]
async fn what_is_owed_for_too_long_asks_for_attention_until_it_is_done() {
    let settings = [("SOUK_SLOTS__OWED_OVERDUE_MS", "1"), ("SOUK_PAYMENT__TIMEOUT_MS", "5000")];
    let shop = Shop::alone(&[&settings[..], &[("SOUK_COMPLETE__DEADLINE_MS", "100")]].concat()).await;
    let (ada, admin, path) = (shop.customer().await, shop.admin().await, "/v1/admin/attention?with_total=true");
    shop.get(path).by(&ada).send().await.is_problem(403, "forbidden");
    shop.get(path).send().await.is_problem(401, "unauthenticated");
    let cart = shop.ready_cart(&shop.sku(100, 5).await, 1).await;
    let order = shop.pay(&cart, "tok_timeout", &unique("pay")).await.is(202).body.clone();
    // Owed since the order was placed, and asked for once a moment later. (What comes before it may be owed for a moment, too.)
    let is_sought = |row: &Value| row["id"] == order["id"] && row["step"] == "authorise" && row["attempts"] != 0;
    let asked_at = std::time::Instant::now();
    let told = loop {
        let told = shop.get(path).by(&admin).send().await;
        let rows = told.is(200).body["data"].as_array().expect("a list");
        if rows.iter().any(is_sought) {
            break told;
        }
        assert!(asked_at.elapsed() < crate::client::ANSWER_WITHIN, "{}", told.body);
    };
    let rows = told.body["data"].as_array().expect("a list");
    let row = rows.iter().find(|row| is_sought(row)).unwrap_or_else(|| panic!("{}", told.body));
    assert_eq!((&row["kind"], &row["waiting_for"]), (&json!("order"), &json!("gateway payments")));
    assert_eq!((&row["step"], &row["attempts"], &row["last_error"]), (&json!("authorise"), &json!(1), &Value::Null));
    assert!(row["since"].is_string());
    assert!(told.body["page"]["total"].as_u64() >= Some(rows.len() as u64));
    let inspected = shop.get(&format!("/v1/admin/entities/order/{}", id_of(&order))).by(&admin).send().await;
    assert_eq!(
        (&inspected.is(200).body["owed"][0]["step"], &inspected.body["owed"][0]["since"]),
        (&row["step"], &row["since"])
    );
    // Rejected once the payment has timed out; nothing is owed any more when the void is confirmed.
    let listed = || async { shop.get(path).by(&admin).send().await.is(200).body["data"].to_string() };
    let started = std::time::Instant::now();
    while listed().await.contains(id_of(&order)) {
        assert!(started.elapsed() < crate::client::ANSWER_WITHIN, "{}", listed().await);
    }
}

#[tokio::test]
async fn what_follows_the_journal_is_shown_paused_resumed_and_built_anew() {
    let shop = Shop::at_one_node(&[]).await; // each has consumers of its own; and a pause concerns everybody
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let consumers = async || shop.get("/v1/admin/consumers").by(&admin).send().await.is(200).body["data"].clone();
    let shown = consumers().await;
    for (consumer, name) in shown.as_array().expect("a list").iter().zip(["catalogue", "stock", "orders"]) {
        assert_eq!((&consumer["name"], &consumer["sort"]), (&json!(name), &json!("replicated")));
        for member in ["state", "lag_records", "lag_ms", "position"] {
            assert!(consumer.get(member).is_some(), "{member} is missing: {consumer}");
        }
    }
    let path = |what: &str| format!("/v1/admin/consumers/catalogue/{what}");
    let tell = async |what: &str| {
        let told = shop.post(&path(what), json!({})).by(&admin).send().await;
        told.is(200).body["state"].as_str().expect("a state").to_owned()
    };
    let listed = async |product: &Value| {
        let list = shop.get("/v1/products").send().await.is(200).column("id");
        list.iter().any(|id| id == id_of(product))
    };
    let first = shop.product(&unique("SKU"), 100, 9).await;
    assert!(listed(&first).await, "a list waits for what was done before it");
    // Twice, because it is so already the second time.
    assert_eq!((tell("pause").await, tell("pause").await), ("paused".to_owned(), "paused".to_owned()));
    let second = shop.product(&unique("SKU"), 100, 9).await;
    assert!(!listed(&second).await, "nobody waits for one that is paused");
    let shown = consumers().await;
    assert!(shown[0]["lag_records"].as_u64() > Some(0) && shown[0]["state"] == "paused", "{shown}");
    for _ in 0..2 {
        assert_ne!(tell("resume").await, "paused");
    }
    assert!(listed(&second).await);
    tell("replay").await;
    let third = shop.product(&unique("SKU"), 100, 9).await;
    while !listed(&third).await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // it is being built
    }
    assert!(listed(&first).await && listed(&second).await);
    shop.post("/v1/admin/consumers/nobody/pause", json!({})).by(&admin).send().await.is_problem(404, "not_found");
    // From a position on, as an answer has told it.
    let path_of = |product: &Value| format!("/v1/admin/products/{}", id_of(product));
    let archived = shop.delete(&path_of(&second)).by(&admin).if_match("*").send().await;
    let position = archived.is(200).header("souk-position").to_owned();
    let replay = async |after: &str| shop.post(&path("replay"), json!({"after": after})).by(&admin).send().await;
    replay(&position).await.is(200);
    assert!(listed(&third).await && !listed(&second).await);
    let mut beyond: JournalPosition = position.parse().expect("a position");
    beyond.seq += 1_000_000;
    for after in ["end", ",", &format!("{position}, {beyond}")] {
        let told = replay(after).await;
        told.is_problem(422, "validation_failed").has_fault("invalid_value", "/after");
    }
    shop.get("/v1/admin/consumers").by(&ada).send().await.is_problem(403, "forbidden");
    shop.post(&path("pause"), json!({})).by(&ada).send().await.is_problem(403, "forbidden");
    shop.get("/v1/admin/consumers").send().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_administrator_is_told_who_answered_and_nobody_else_is() {
    const HEADERS: [&str; 3] = ["x-souk-node", "x-souk-slot-epoch", "x-souk-hops"];
    let shop = Shop::of_one_node().await; // of several each says something else
    let (ada, admin) = (shop.customer().await, shop.admin().await);
    let path = format!("/v1/admin/entities/user/{}", id_of(&ada["user"]));
    let told = shop.get(&path).by(&admin).send().await;
    let (node, epoch) = (told.is(200).body["node"].as_str(), told.body["epoch"].to_string());
    assert_eq!(HEADERS.map(|name| told.header(name)), [node.expect("a node"), epoch.as_str(), "0"]);
    // Where no entity is asked it is the node alone; a refusal is told as well.
    let nobody = shop.get("/v1/admin/cluster/nodes/nobody").by(&admin).send().await;
    assert_eq!(HEADERS.map(|name| nobody.header(name)), [node.expect("a node"), "", "0"]);
    let written = shop.post("/v1/admin/categories", json!({"title": unique("Tea")})).by(&admin).send().await;
    let tree = shop.get("/v1/admin/entities/categories/only").by(&admin).send().await.is(200).body.clone();
    assert_eq!(written.is(201).header("x-souk-slot-epoch"), tree["epoch"].to_string());
    let cart = shop.post("/v1/carts", json!({})).by(&admin).send().await;
    assert!(!cart.is(201).header("x-souk-slot-epoch").is_empty(), "an administrator who shops is one too");
    for told in [
        shop.post("/v1/carts", json!({})).by(&ada).send().await,
        shop.post("/v1/carts", json!({})).send().await,
        shop.get(&path).by(&ada).send().await,
        shop.get("/v1/products").send().await,
    ] {
        assert_eq!(HEADERS.map(|name| told.header(name)), [""; 3], "{}", told.body);
    }
}
