//! Two or three nodes of one cluster, as processes over one PostgreSQL: shoppers at each of them, while nodes come and go.

mod completions;
mod versions;
mod warnings;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::client;
use crate::nodes;
use crate::process::{ADMIN_EMAIL, Launch, PASSWORD, Process};
use crate::shoppers::Shoppers;
use crate::stores::postgres::Server;

const WITHIN: Duration = Duration::from_secs(60);

struct Cluster {
    server: Server,
    url: String,
}

struct Node {
    name: &'static str,
    home: tempfile::TempDir,
    process: Process,
}

impl Cluster {
    async fn new() -> Cluster {
        let server = Server::new(&[]);
        let url = server.database("souk").await;
        Cluster { server, url }
    }

    fn launch(&self, name: &'static str, home: &tempfile::TempDir) -> Launch {
        let launch = Launch::new(home.path()).args(&["--store", "postgres", "--store-url", &self.url, "--sample"]);
        nodes::member(launch, name).administered().env("SOUK_STORE__SLOTS", "64")
    }

    /// Several that start at the same moment, as an orchestrator starts them.
    fn start_at_once<const N: usize>(&self, names: [&'static str; N]) -> [Node; N] {
        std::thread::scope(|scope| {
            names.map(|name| scope.spawn(move || self.start(name))).map(|node| node.join().expect("it starts"))
        })
    }

    fn start(&self, name: &'static str) -> Node {
        self.start_as(name, |launch| launch)
    }

    fn start_as(&self, name: &'static str, told: impl Fn(Launch) -> Launch) -> Node {
        let home = tempfile::tempdir().expect("a folder");
        let process = told(self.launch(name, &home)).start();
        Node { name, home, process }
    }
}

impl Node {
    async fn token(&self) -> Option<String> {
        let credentials = json!({"email": ADMIN_EMAIL, "password": PASSWORD});
        let asked = client().post(format!("{}/v1/auth/login", self.process.url)).json(&credentials);
        let answer: Value = asked.timeout(WITHIN).send().await.ok()?.json().await.ok()?;
        answer["access_token"].as_str().map(str::to_owned)
    }

    /// What this node shows of the cluster, below a path.
    async fn shows(&self, token: &str, path: &str) -> Value {
        let asked = client().get(format!("{}/v1/admin/cluster{path}", self.process.url)).bearer_auth(token);
        asked.timeout(WITHIN).send().await.expect("it answers").json().await.expect("JSON")
    }

    /// How many slots each live node has, by its name, as this node sees it.
    async fn shares(&self, token: &str) -> Vec<(String, u64)> {
        let cluster = self.shows(token, "").await;
        let nodes = cluster["nodes"].as_array().unwrap_or_else(|| panic!("nodes: {cluster}"));
        let lives = |node: &&Value| !["left", "lost"].contains(&node["state"].as_str().expect("a state"));
        let slots = |node: &Value| node["slots"].as_u64().or(node["slots_owned"].as_u64()).expect("a number");
        let name = |node: &Value| node["name"].as_str().expect("a name").to_owned();
        let mut shares: Vec<_> = nodes.iter().filter(lives).map(|node| (name(node), slots(node))).collect();
        shares.sort();
        shares
    }

    /// Waits until the slots are divided so.
    async fn sees(&self, shares: &[(&str, u64)]) {
        self.sees_that(|seen| seen.iter().map(|(name, slots)| (name.as_str(), *slots)).eq(shares.iter().copied()))
            .await;
    }

    /// Waits until these have the slots, each as many as any other, or one less.
    async fn sees_an_even_division(&self, names: &[&str]) {
        self.sees_that(|seen| {
            let counts = || seen.iter().map(|(_, slots)| *slots);
            let is_even = counts().max() <= counts().min().map(|least| least + 1);
            seen.iter().map(|(name, _)| name.as_str()).eq(names.iter().copied()) && is_even
        })
        .await;
    }

    async fn sees_that(&self, holds: impl Fn(&[(String, u64)]) -> bool) {
        let began = Instant::now();
        let token = self.token().await.expect("the administrator");
        loop {
            let seen = self.shares(&token).await;
            if holds(&seen) {
                return;
            }
            assert!(began.elapsed() < WITHIN, "{} still sees {seen:?}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_serve_as_one_while_they_come_and_go_as_planned() {
    let cluster = Cluster::new().await;
    let a = cluster.start("a");
    let shoppers = Shoppers::start(&a.process.url, 4).await;
    shoppers.get(20).await;
    let (b, c) = (cluster.start("b"), cluster.start("c"));
    let others = Shoppers::start(&b.process.url, 4).await;
    c.sees(&[("a", 22), ("b", 21), ("c", 21)]).await;
    tokio::join!(shoppers.get(40), others.get(40));
    // One after the other is told to stop, and starts again.
    assert!(c.process.stop().status.success());
    a.sees(&[("a", 32), ("b", 32)]).await;
    tokio::join!(shoppers.get(20), others.get(20));
    let c = cluster.start("c");
    a.sees(&[("a", 22), ("b", 21), ("c", 21)]).await;
    tokio::join!(shoppers.get(20), others.get(20));
    for refused in [shoppers.have_all().await, others.have_all().await] {
        assert!(refused.is_empty(), "planned changes cost nobody a request: {refused:?}");
    }
    for node in [a, b, c] {
        let ended = node.process.stop();
        assert!(ended.status.success(), "{}", ended.log);
    }
    drop(cluster.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_had_that_is_killed_or_halted_the_others_serve() {
    let cluster = Cluster::new().await;
    let (a, b) = (cluster.start("a"), cluster.start("b"));
    let mut c = cluster.start("c");
    a.sees(&[("a", 22), ("b", 21), ("c", 21)]).await;
    let shoppers = Shoppers::start(&a.process.url, 8).await;
    shoppers.get(40).await;
    drop(b.process.kill());
    a.sees(&[("a", 32), ("c", 32)]).await;
    // Its 21 slots were served nowhere for the time of its lease, or a little longer.
    let counted = |part: &str| {
        let name = format!("souk_slot_ownerless_seconds_{part}");
        [&a, &c].iter().filter_map(|node| nodes::metric(&node.process.url, &name)).sum::<f64>()
    };
    let began = Instant::now();
    while counted("count") < 21.0 {
        assert!(began.elapsed() < WITHIN, "{} slots are served again", counted("count"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(counted("sum") >= 21.0 * 2.0 && counted("count") == 21.0, "{} s", counted("sum"));
    shoppers.get(40).await;
    c.process.signal("STOP");
    a.sees(&[("a", 64)]).await;
    shoppers.get(40).await;
    c.process.signal("CONT");
    a.sees(&[("a", 32), ("c", 32)]).await;
    assert!(c.process.is_running(), "it goes on");
    shoppers.get(40).await;
    shoppers.have_all().await;
    for node in [a, c] {
        assert!(node.process.stop().status.success());
    }
    drop(cluster.server);
}

/// What is told about a cluster is told wherever one asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_up_at_one_node_is_known_at_the_others() {
    let cluster = Cluster::new().await;
    // A new store: each makes the administrator and the sample, or finds them.
    let [a, b, c] = cluster.start_at_once(["a", "b", "c"]);
    c.sees_an_even_division(&["a", "b", "c"]).await;
    for (number, [first, second]) in [[&a, &b], [&b, &a]].into_iter().cycle().take(12).enumerate() {
        let account = json!({"email": format!("u{number}@example.com"), "password": PASSWORD, "name": "A user"});
        let at = |node: &Node, path: &str| format!("{}/v1/{path}", node.process.url);
        let registered = client().post(at(first, "auth/register")).json(&account).send().await.expect("it answers");
        assert_eq!(registered.status().as_u16(), 201, "{}", registered.text().await.unwrap_or_default());
        let login = json!({"email": account["email"], "password": PASSWORD});
        let login = client().post(at(second, "auth/login")).json(&login).send().await.expect("it answers");
        let tokens: Value = login.json().await.expect("JSON");
        let token = tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}"));
        for node in [first, second] {
            let me = client().get(at(node, "me")).bearer_auth(token).send().await.expect("it answers");
            assert_eq!(me.status().as_u16(), 200);
        }
        // What one node has ended is over at every other at once.
        let out = client().post(at(first, "auth/logout")).bearer_auth(token).send().await.expect("it answers");
        assert!(out.status().is_success(), "{}", out.text().await.unwrap_or_default());
        let me = client().get(at(second, "me")).bearer_auth(token).send().await.expect("it answers");
        assert_eq!(me.status().as_u16(), 401);
    }
    drop(cluster.server);
}

/// A caller has one quota at all nodes. And what waits for a person is told at every node, whichever has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_has_in_memory_the_others_ask_it_for() {
    let cluster = Cluster::new().await;
    let start = |name| {
        let home = tempfile::tempdir().expect("a folder");
        let launch = cluster.launch(name, &home).env("SOUK_LIMITS__ADDRESS_PER_MINUTE", "7");
        let launch = launch.env("SOUK_HTTP__TRUSTED_PROXIES", "127.0.0.0/8");
        let launch = launch.env("SOUK_SLOTS__OWED_OVERDUE_MS", "1").env("SOUK_COMPLETE__DEADLINE_MS", "100");
        Node { name, process: launch.start(), home }
    };
    let nodes = [start("a"), start("b")];
    nodes[0].sees(&[("a", 32), ("b", 32)]).await;
    let at = |node: &Node, path: &str| format!("{}/v1/{path}", node.process.url);
    for network in 0..4 {
        let mut told = Vec::new();
        for node in nodes.iter().cycle().take(8) {
            let asked = client().get(at(node, "products")).header("x-forwarded-for", format!("192.0.2.{network}"));
            told.push(asked.send().await.expect("it answers").status().as_u16());
        }
        assert_eq!(told, [[200; 7].as_slice(), &[429]].concat());
    }
    let send = async |asked: reqwest::RequestBuilder| -> Value {
        asked.send().await.expect("it answers").json().await.expect("JSON")
    };
    let mut orders = Vec::new();
    for _ in 0..6 {
        let cart = send(client().post(at(&nodes[0], "carts")).json(&json!({}))).await;
        let token = cart["token"].as_str().expect("a token");
        let path = format!("carts/{}", cart["id"].as_str().expect("an id"));
        let line = json!({"sku": "KIT-MUG-BLUE", "quantity": 1});
        let address =
            json!({"name": "Ada", "line1": "1 High St", "city": "London", "postal_code": "N1 9GU", "country": "GB"});
        let contact = json!({"email": "ada@example.com", "shipping_address": address});
        send(client().post(at(&nodes[0], &format!("{path}/lines"))).header("x-cart-token", token).json(&line)).await;
        send(client().put(at(&nodes[0], &format!("{path}/contact"))).header("x-cart-token", token).json(&contact))
            .await;
        let payment = json!({"payment": {"method": "mock", "token": "tok_timeout"}});
        // On a busy machine there may be no order to show within the deadline: the same key tells.
        let began = Instant::now();
        let order = loop {
            let paying = client().post(at(&nodes[0], &format!("{path}/complete"))).header("x-cart-token", token);
            let told = send(paying.header("idempotency-key", path.replace('/', "-")).json(&payment)).await;
            if told["id"].is_string() {
                break told["id"].clone();
            }
            assert!(told["retryable"] == true && began.elapsed() < WITHIN, "{told}");
        };
        orders.push(order);
    }
    for node in &nodes {
        let admin = node.token().await.expect("the administrator");
        let told = send(client().get(at(node, "admin/attention")).bearer_auth(admin)).await;
        let listed: Vec<&Value> = told["data"].as_array().expect("a list").iter().map(|step| &step["id"]).collect();
        assert!(orders.iter().all(|order| listed.contains(&order)), "{orders:?} in {told}");
    }
    drop(cluster.server);
}
