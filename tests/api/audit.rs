//! The audit log: who did what as staff, and what came of it.

use serde_json::{Value, json};

use crate::support::{Shop, Told, unique};

const PATH: &str = "/v1/admin/audit";

fn id_of(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

/// What the log has of this user, the oldest first.
async fn log_of(shop: &Shop, admin: &Value, actor: &Value) -> Vec<Value> {
    let mut path = format!("{PATH}?actor={}&limit=100", id_of(&actor["user"]));
    let mut entries = Vec::new();
    loop {
        let page = shop.get(&path).by(admin).send().await.is(200).body.clone();
        entries.extend(page["data"].as_array().expect("a list").iter().cloned());
        let Some(cursor) = page["page"]["next_cursor"].as_str() else { return entries };
        path = format!("{PATH}?actor={}&limit=100&cursor={cursor}", id_of(&actor["user"]));
    }
}

/// Action, subject, outcome, status, code.
fn short(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    format!("{} {} {} {} {}", text("action"), text("subject"), text("outcome"), entry["status"], text("code"))
}

fn request_id(told: &Told) -> Value {
    told.header("x-request-id").into()
}

#[tokio::test]
async fn what_staff_does_and_is_refused_is_in_the_log_with_what_came_of_it() {
    let shop = Shop::open().await;
    let (root, ada) = (shop.admin().await, shop.customer().await);
    let (admin, seller) = (shop.user_with(&["admin"]).await, shop.user_with(&["seller"]).await);
    let title = unique("Tea");
    let key = unique("key");
    let make = || shop.post("/v1/admin/categories", json!({"title": title})).by(&admin).key(&key).send();
    let made = make().await;
    let repeated = make().await;
    let category = id_of(&made.is(201).body).to_owned();
    let bad = shop.post("/v1/admin/categories", json!({"name": title})).by(&admin).send().await;
    let roles = format!("/v1/admin/users/{}", id_of(&ada["user"]));
    let given = shop.patch(&roles, json!({"roles": ["customer", "seller"]})).by(&admin).send().await;
    let nobody = shop.post("/v1/admin/consumers/nobody/pause", json!({})).by(&admin).send().await;
    let resumed = shop.post("/v1/admin/consumers/catalogue/resume", json!({})).by(&admin).send().await;
    let dropped = shop.delete(&format!("/v1/admin/categories/{category}")).by(&admin).if_match("*").send().await;
    let told = [&made, &repeated, &bad, &given, &nobody, &resumed, &dropped];
    assert_eq!(told.map(|told| told.status.as_u16()), [201, 201, 422, 200, 404, 200, 204]);
    // None of these is an action of staff.
    shop.get("/v1/admin/consumers").by(&admin).send().await.is(200);
    shop.post("/v1/admin/cluster/slots/0/unpin", json!({"dry_run": true})).by(&admin).send().await;
    shop.post("/v1/carts", json!({})).by(&admin).send().await.is(201);
    shop.ask(reqwest::Method::PUT, "/v1/admin/categories").by(&admin).send().await.is(405);

    let log = log_of(&shop, &root, &admin).await;
    let user = id_of(&ada["user"]);
    let expected = [
        "category.create  done 201 -".to_owned(),
        "category.create  done 201 -".to_owned(),
        "category.create  refused 422 validation_failed".to_owned(),
        format!("user.roles {user} done 200 -"),
        "consumer.pause nobody refused 404 not_found".to_owned(),
        "consumer.resume catalogue done 200 -".to_owned(),
        format!("category.delete {category} done 204 -"),
    ];
    assert_eq!(log.iter().map(short).collect::<Vec<_>>(), expected);
    for (entry, told) in log.iter().zip(told) {
        assert_eq!((&entry["actor"], &entry["address"]), (&admin["user"]["id"], &json!("127.0.0.1")));
        assert_eq!(entry["request_id"], request_id(told), "{entry}");
        assert!(entry["node"].as_str().is_some_and(|node| node.contains('#')), "{entry}");
        assert!(entry["asked_at"].as_str() <= entry["at"].as_str(), "{entry}");
    }
    assert_eq!(log[3]["said"], json!({"roles": ["customer", "seller"]}));
    assert!(log[0].get("said").is_none(), "what a category is called is no operator's business: {}", log[0]);

    // A seller's are there, also where he may not; a customer's are not, or anybody could fill the log.
    let drain = "/v1/admin/cluster/nodes/x/drain";
    shop.post(drain, json!({"reason": "mine"})).by(&seller).send().await.is_problem(403, "forbidden");
    assert_eq!(
        log_of(&shop, &root, &seller).await.iter().map(short).collect::<Vec<_>>(),
        ["cluster.node.drain x refused 403 forbidden"]
    );
    shop.ask(reqwest::Method::POST, drain).text("[null]").by(&seller).send().await.is_problem(403, "forbidden");
    let said = log_of(&shop, &root, &seller).await[1]["said"].clone();
    assert_eq!(said, "[null]", "a body that is no object is the text that it was");
    let customer = shop.customer().await;
    shop.post(drain, json!({})).by(&customer).send().await.is_problem(403, "forbidden");
    shop.post(drain, json!({})).send().await.is_problem(401, "unauthenticated");
    assert_eq!(log_of(&shop, &root, &customer).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_log_is_read_in_parts_and_from_an_entry_or_a_time_on() {
    let shop = Shop::open().await;
    let (root, admin) = (shop.admin().await, shop.user_with(&["admin"]).await);
    for name in ["catalogue", "stock", "orders", "nobody"] {
        shop.post(&format!("/v1/admin/consumers/{name}/resume"), json!({})).by(&admin).send().await;
    }
    let log = log_of(&shop, &root, &admin).await;
    let subjects = |log: &[Value]| log.iter().map(|entry| entry["subject"].clone()).collect::<Vec<_>>();
    assert_eq!(subjects(&log), ["catalogue", "stock", "orders", "nobody"]);
    let mut sorted = log.clone();
    sorted.sort_by_key(|entry| entry["at"].as_str().map(str::to_owned));
    assert_eq!(sorted, log, "in the order of their ends");

    let of = format!("{PATH}?actor={}", id_of(&admin["user"]));
    let listed = async |query: &str| {
        let told = shop.get(&format!("{of}&{query}")).by(&root).send().await;
        let list = told.is(200).body["data"].as_array().expect("a list").clone();
        subjects(&list)
    };
    assert_eq!(listed(&format!("after={}", id_of(&log[1]))).await, ["orders", "nobody"]);
    let later = listed(&format!("after={}", log[0]["at"].as_str().expect("a time"))).await;
    assert!(later.len() < 4 && !later.contains(&json!("catalogue")), "{later:?}");
    assert_eq!(listed("after=2999-01-01T00:00:00Z").await, Vec::<Value>::new());
    assert_eq!(listed("after=2999-01-01.1").await, Vec::<Value>::new());
    assert_eq!(listed("action=consumer").await.len(), 4);
    assert_eq!(listed("action=consumer.resume").await.len(), 4);
    assert_eq!(listed("action=consumer.pause").await, Vec::<Value>::new());
    // One at a time, by the cursor and from wherever the log begins.
    let (mut path, mut seen) = (format!("{of}&limit=1&after={}", id_of(&log[0])), Vec::new());
    loop {
        let page = shop.get(&path).by(&root).send().await.is(200).body.clone();
        let data = page["data"].as_array().expect("a list");
        assert!(data.len() <= 1);
        seen.extend(data.iter().cloned());
        let Some(cursor) = page["page"]["next_cursor"].as_str() else { break };
        path = format!("{of}&limit=1&after={}&cursor={cursor}", id_of(&log[0]));
    }
    assert_eq!(seen, log[1..]);

    for wrong in ["after=yesterday", "actor=ada", "limit=0"] {
        shop.get(&format!("{PATH}?{wrong}")).by(&root).send().await.is_problem(400, "invalid_parameter");
    }
    shop.get(&format!("{PATH}?who=ada")).by(&root).send().await.is_problem(400, "unknown_parameter");
    shop.get(PATH).by(&shop.customer().await).send().await.is_problem(403, "forbidden");
    shop.get(PATH).send().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_log_outlives_a_power_cut_and_says_who_made_the_first_administrator() {
    let shop = Shop::alone(&[]).await;
    let root = shop.admin().await;
    shop.post("/v1/admin/consumers/stock/resume", json!({})).by(&root).send().await.is(200);
    let before = shop.get(PATH).by(&root).send().await.is(200).body["data"].clone();
    let made = format!("administrator.make {} done null -", root["user"]["email"].as_str().expect("an address"));
    let entries = before.as_array().expect("a list");
    // Of several nodes that start together each may have tried.
    let (last, made_by) = entries.split_last().expect("an entry");
    assert!(!made_by.is_empty() && made_by.iter().all(|entry| short(entry) == made), "{before}");
    assert!(made_by.len() == 1 || shop.server.is_a_cluster(), "{before}");
    assert_eq!((&entries[0]["actor"], &entries[0]["address"]), (&Value::Null, &Value::Null));
    assert_eq!(short(last), "consumer.resume stock done 200 -");
    let shop = shop.crash().await;
    let root = shop.admin().await;
    assert_eq!(shop.get(PATH).by(&root).send().await.is(200).body["data"], before);
    let inspected = shop.get(&format!("/v1/admin/entities/audit/{}", &id_of(&entries[0])[..10])).by(&root).send().await;
    assert_eq!(inspected.is(200).body["state"]["open"], json!({}));
}
