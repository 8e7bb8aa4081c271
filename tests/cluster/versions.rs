//! Nodes that read different versions of messages: a cluster that is upgraded node by node.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Cluster, Node, WITHIN};
use crate::client::client;
use crate::process::Launch;

const HALVES: [(&str, u64); 2] = [("a", 32), ("b", 32)];

/// As a node of the release that knew only the first version says it.
fn held_back(launch: Launch) -> Launch {
    launch.env("SOUK_CLUSTER__WIRE_MAX", "1")
}

/// What it shows of a node.
fn node<'a>(cluster: &'a Value, name: &str) -> &'a Value {
    let is_meant =
        |node: &&Value| node["name"] == name && !["left", "lost"].contains(&node["state"].as_str().unwrap_or(""));
    let found = cluster["nodes"].as_array().and_then(|nodes| nodes.iter().find(is_meant));
    found.unwrap_or_else(|| panic!("no live {name} in {cluster}"))
}

/// Whether it is shown how busy the node is.
fn says_how_busy(node: &Value) -> bool {
    ["residents", "resident_bytes", "queue_depth", "links"].iter().all(|key| !node[key].is_null())
        && !node["lease"]["margin_ms"].is_null()
}

/// A guest's cart.
struct Cart {
    path: String,
    token: String,
}

impl Cart {
    async fn made_at(node: &Node) -> Cart {
        let asked = client().post(format!("{}/v1/carts", node.process.url)).json(&json!({}));
        let cart: Value = asked.timeout(WITHIN).send().await.expect("it answers").json().await.expect("JSON");
        let text = |key: &str| cart[key].as_str().unwrap_or_else(|| panic!("no {key} in {cart}")).to_owned();
        Cart { path: format!("/v1/carts/{}", text("id")), token: text("token") }
    }

    /// One piece more.
    async fn filled_at(&self, node: &Node) {
        let url = format!("{}{}/lines", node.process.url, self.path);
        let adding = client().post(url).header("x-cart-token", &self.token);
        let adding = adding.json(&json!({"sku": "KIT-MUG-BLUE", "quantity": 1}));
        let answer = adding.timeout(WITHIN).send().await.expect("it answers");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    async fn pieces_at(&self, node: &Node) -> u64 {
        let asked = client().get(format!("{}{}", node.process.url, self.path)).header("x-cart-token", &self.token);
        let cart: Value = asked.timeout(WITHIN).send().await.expect("it answers").json().await.expect("JSON");
        let lines = cart["lines"].as_array().unwrap_or_else(|| panic!("no lines in {cart}"));
        lines.iter().filter_map(|line| line["quantity"].as_u64()).sum()
    }
}

/// Reads what happens until this has.
async fn happens(events: &mut reqwest::Response, sought: &str) {
    let mut said = String::new();
    let reading = async {
        while !said.contains(sought) {
            let chunk = events.chunk().await.expect("the stream goes on").expect("it has not ended");
            said.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    if tokio::time::timeout(WITHIN, reading).await.is_err() {
        panic!("{sought} is not among: {said}");
    }
}

impl Node {
    /// Waits until it shows the cluster so.
    async fn shows_that(&self, token: &str, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let shown = self.shows(token, path).await;
            if holds(&shown) {
                return shown;
            }
            assert!(began.elapsed() < WITHIN, "{} still shows {shown}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_versions_serve_as_one_until_all_of_them_read_the_new_one() {
    let cluster = Cluster::new().await;
    let (a, b) = (cluster.start_as("a", held_back), cluster.start("b"));
    a.sees(&HALVES).await;
    b.sees(&HALVES).await;

    let mut carts = Vec::new();
    for (here, there) in [(&a, &b), (&b, &a)].into_iter().cycle().take(8) {
        let cart = Cart::made_at(here).await;
        cart.filled_at(there).await;
        cart.filled_at(here).await;
        assert_eq!((cart.pieces_at(here).await, cart.pieces_at(there).await), (2, 2));
        carts.push(cart);
    }
    let token = a.token().await.expect("the administrator");
    for (me, other, reads) in [(&a, &b, json!([1, 1])), (&b, &a, json!([1, 2]))] {
        let shown = me.shows(&token, "").await;
        assert_eq!(shown["wire"], json!({"writes": 1, "reads": reads}));
        assert_eq!((&node(&shown, "a")["wire"], &node(&shown, "b")["wire"]), (&json!([1, 1]), &json!([1, 2])));
        assert!(says_how_busy(node(&shown, me.name)) && !says_how_busy(node(&shown, other.name)), "{shown}");
        assert!(node(&shown, other.name)["residents"].is_null(), "nobody was asked: {shown}");
    }

    let events = client().get(format!("{}/v1/admin/cluster/events?types=version_changed", b.process.url));
    let mut events = events.bearer_auth(&token).send().await.expect("it answers");
    let ended = a.process.stop();
    assert!(ended.status.success(), "{}", ended.log);
    happens(&mut events, "\"writes\":2").await;
    let a = cluster.start("a");
    a.sees(&HALVES).await;
    b.sees(&HALVES).await;
    for (me, other) in [(&a, &b), (&b, &a)] {
        let shown = me
            .shows_that(&token, "", |shown| {
                let busy = ["a", "b"].iter().all(|name| says_how_busy(node(shown, name)));
                shown["wire"] == json!({"writes": 2, "reads": [1, 2]}) && busy
            })
            .await;
        let links = node(&shown, other.name)["links"].as_array().expect("links");
        let to_me = links.iter().find(|link| link["peer"] == node(&shown, me.name)["id"]).expect("a link to the asker");
        assert_eq!(to_me["state"], "up", "{shown}");
        let of_one = me.shows_that(&token, &format!("/nodes/{}", other.name), says_how_busy).await;
        assert_eq!(of_one["id"], node(&shown, other.name)["id"]);
        let is_told = |slots: &Value| {
            let all = slots["data"].as_array().expect("slots");
            all.len() == 64 && all.iter().all(|slot| slot["durable_seq"].is_u64() && slot["restarts"].is_u64())
        };
        me.shows_that(&token, "/slots?limit=100", is_told).await;
    }
    for cart in &carts {
        cart.filled_at(&a).await;
        assert_eq!((cart.pieces_at(&a).await, cart.pieces_at(&b).await), (3, 3));
    }

    // There is no way back: one that does not read what is written now ends, and the others go on.
    let home = tempfile::tempdir().expect("a folder");
    let ended = match held_back(cluster.launch("c", &home)).try_start() {
        Ok(process) => process.wait(),
        Err(ended) => ended,
    };
    assert!(!ended.status.success() && ended.log.contains("raise cluster.wire_max"), "{}", ended.log);
    a.sees(&HALVES).await;
    assert_eq!(carts[0].pieces_at(&a).await, 3);
    drop(cluster.server);
}
