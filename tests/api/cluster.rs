//! What a node that is alone says of its cluster, and what it refuses. (Several nodes: `src/node/cluster/tests`.)

use serde_json::{Value, json};

use crate::client::client;
use crate::stores::Kind;
use crate::support::Shop;

const PATH: &str = "/v1/admin/cluster";

fn at(path: &str) -> String {
    format!("{PATH}{path}")
}

/// An id in a path.
fn encoded(id: &Value) -> String {
    id.as_str().expect("an id").replace('#', "%23")
}

#[tokio::test]
async fn the_cluster_of_one_node_is_shown_on_one_page() {
    let shop = Shop::of_one_node().await;
    let admin = shop.admin().await;
    let told = shop.get(PATH).by(&admin).send().await;
    let cluster = &told.is(200).body;
    assert_eq!((&cluster["name"], &cluster["out_of_plan"]), (&json!("souk"), &json!([])), "{cluster}");
    assert_eq!(cluster["store"], json!({"kind": Kind::chosen().name(), "healthy": true}));
    assert_eq!(cluster["wire"], json!({"writes": 2, "reads": [1, 2]}));
    let nodes = cluster["nodes"].as_array().expect("nodes");
    let me = nodes.iter().find(|node| node["is_me"] == true).expect("the node that answers");
    assert_eq!((&me["slots"], &me["state"]), (&cluster["slots"], &json!("serving")), "{me}");
    for called in [encoded(&me["id"]), me["name"].as_str().expect("a name").to_owned()] {
        assert_eq!(shop.get(&at(&format!("/nodes/{called}"))).by(&admin).send().await.is(200).body["id"], me["id"]);
    }
    shop.get(&at("/nodes/nobody")).by(&admin).send().await.is_problem(404, "node_not_found");
    let plan = shop.get(&at("/plan")).by(&admin).send().await.is(200).body.clone();
    assert_eq!(plan["shares"], json!([{"node": me["id"], "has": cluster["slots"], "wants": cluster["slots"]}]));
    assert_eq!((&plan["moves"], &plan["claims"], &plan["refusals"]), (&json!([]), &json!([]), &json!([])), "{plan}");
}

#[tokio::test]
async fn the_slots_are_a_list_and_each_is_shown_with_its_history() {
    let shop = Shop::of_one_node().await;
    let admin = shop.admin().await;
    let cluster = shop.get(PATH).by(&admin).send().await.is(200).body.clone();
    let me = cluster["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["is_me"] == true)).expect("me");
    let (mut path, mut seen) = (at("/slots?limit=100&with_total=true"), 0);
    loop {
        let page = shop.get(&path).by(&admin).send().await.is(200).body.clone();
        for slot in page["data"].as_array().expect("slots") {
            assert_eq!((&slot["slot"], &slot["owner"], &slot["state"]), (&json!(seen), &me["id"], &json!("active")));
            assert!(slot["epoch"].as_u64() >= Some(1) && slot["durable_seq"].is_u64(), "{slot}");
            seen += 1;
        }
        assert_eq!(page["page"]["total"], cluster["slots"]);
        let Some(cursor) = page["page"]["next_cursor"].as_str() else { break };
        path = at(&format!("/slots?limit=100&with_total=true&cursor={cursor}"));
    }
    assert_eq!(json!(seen), cluster["slots"]);
    let owned = at(&format!("/slots?owner={}&state=active&limit=1", encoded(&me["id"])));
    assert_eq!(shop.get(&owned).by(&admin).send().await.is(200).column("slot"), ["0"]);
    assert_eq!(shop.get(&at("/slots?state=parked")).by(&admin).send().await.is(200).body["data"], json!([]));
    shop.get(&at("/slots?state=well")).by(&admin).send().await.is_problem(400, "invalid_parameter");
    shop.get(&at("/slots?owner=nobody")).by(&admin).send().await.is_problem(404, "node_not_found");
    let slot = shop.get(&at("/slots/0")).by(&admin).send().await.is(200).body.clone();
    assert!(slot["history"].is_array() && slot["owner"] == me["id"], "{slot}");
    for beyond in [json!(cluster["slots"]), json!(70_000)] {
        shop.get(&at(&format!("/slots/{beyond}"))).by(&admin).send().await.is_problem(404, "slot_not_found");
    }
    shop.get(&at("/slots/x")).by(&admin).send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_node_that_is_alone_takes_no_action_that_would_end_its_service() {
    let shop = Shop::of_one_node().await;
    let admin = shop.admin().await;
    let cluster = shop.get(PATH).by(&admin).send().await.is(200).body.clone();
    let me = cluster["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["is_me"] == true)).expect("me");
    let is_shared = Kind::chosen().is_shared();
    let wish = json!({"reason": "a test"});
    for action in ["cordon", "drain"] {
        let told = shop.post(&at(&format!("/nodes/{}/{action}", encoded(&me["id"]))), wish.clone()).by(&admin).send();
        told.await.is_problem(409, if is_shared { "last_node" } else { "store_is_local" });
    }
    for (path, body) in [
        (format!("/nodes/{}/uncordon", encoded(&me["id"])), wish.clone()),
        ("/slots/0/unpin".to_owned(), json!({})),
        ("/slots/0/move".to_owned(), json!({"to": me["id"], "dry_run": true})),
    ] {
        let told = shop.post(&at(&path), body).by(&admin).send().await;
        if is_shared {
            assert_eq!(told.is(200).body["changed"], false, "it is so already: {}", told.body);
        } else {
            told.is_problem(409, "store_is_local");
        }
    }
    shop.post(&at("/slots/0/move"), json!({})).by(&admin).send().await.has_fault("required", "/to");
    shop.post(&at("/slots/0/unpin"), json!({"dry": true})).by(&admin).send().await.has_fault("unknown_field", "/dry");
    shop.post(&at("/slots/0/unpin"), json!({"reason": "x".repeat(251)}))
        .by(&admin)
        .send()
        .await
        .has_fault("invalid_value", "/reason");
    shop.get(&at("/jobs/drain~nobody")).by(&admin).send().await.is_problem(404, "not_found");
}

/// The stream of events as far as it comes to a line.
async fn until(stream: &mut reqwest::Response, line: &str) -> String {
    let mut text = String::new();
    while !text.lines().any(|known| known == line) {
        let chunk = stream.chunk().await.expect("the stream goes on").expect("it has not ended");
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
    }
    text
}

async fn streamed(shop: &Shop, admin: &Value, query: &str) -> reqwest::Response {
    let request = client().get(format!("{}{PATH}/events{query}", shop.server.url()));
    let token = admin["access_token"].as_str().expect("a token");
    request.bearer_auth(token).header("accept-encoding", "gzip").send().await.expect("an answer")
}

#[tokio::test]
async fn events_are_streamed_uncompressed_and_a_stop_ends_the_stream() {
    let shop = Shop::of_one_node().await;
    let admin = shop.admin().await;
    shop.get(&at("/events?types=node_found")).by(&admin).send().await.is_problem(400, "invalid_parameter");
    let strange = shop.get(&at("/events")).by(&admin).header("last-event-id", "strange");
    strange.send().await.is_problem(400, "invalid_header");
    let mut stream = streamed(&shop, &admin, "?types=node_lost,slot_claimed").await;
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert!(stream.headers().get("content-encoding").is_none());
    let told = until(&mut stream, ": up to date").await;
    assert!(told.starts_with("retry: 1000\n\n"), "{told}");
    let claims = told.lines().filter(|line| *line == "event: slot_claimed").count();
    assert_eq!(claims, if Kind::chosen().is_shared() { 64 } else { 0 }, "{told}");
    shop.server.terminate();
    while let Some(chunk) = stream.chunk().await.expect("it is ended, and not cut off") {
        assert!(chunk.starts_with(b": "), "{chunk:?}");
    }
}
