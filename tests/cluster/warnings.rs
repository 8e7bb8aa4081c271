//! What operators are told of a cluster that is not set up as it should be, and that the rest of it goes on.

use std::time::{Duration, Instant};

use super::{Cluster, Node, WITHIN};
use crate::client::client;
use crate::clock::Clock;
use crate::process::log_of;
use crate::shoppers::Shoppers;

impl Node {
    /// Waits until a line of its log has all of these words.
    async fn says(&self, words: &[&str]) {
        let began = Instant::now();
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        while !log_of(self.home.path()).lines().any(has_all) {
            assert!(began.elapsed() < WITHIN, "{} does not say {words:?}:\n{}", self.name, log_of(self.home.path()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it answers so whether it is ready, and why not.
    async fn is_ready(&self, status: u16, why: &str) {
        let began = Instant::now();
        loop {
            let asked = client().get(format!("{}/readyz?verbose", self.process.url)).send().await.expect("it answers");
            let (told, text) = (asked.status().as_u16(), asked.text().await.expect("text"));
            if told == status && text.contains(why) {
                return;
            }
            assert!(began.elapsed() < WITHIN, "{} answers {told}: {text}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The one that is alone with its secret has all the slots at first. It is the odd one out, so the others take them over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_secret_is_refused_with_the_reason_and_the_rest_goes_on() {
    let cluster = Cluster::new().await;
    let home = tempfile::tempdir().expect("a folder");
    let launch = cluster.launch("c", &home).env("SOUK_CLUSTER__SECRET", "another secret than that of the others");
    let c = Node { name: "c", process: launch.start(), home };
    c.is_ready(200, "links").await;
    let [a, b] = cluster.start_at_once(["a", "b"]);
    a.sees(&[("a", 32), ("b", 32), ("c", 0)]).await;
    for node in [&a, &c] {
        node.says(&["WARN", "a node cannot be linked to", "its cluster.secret is another one"]).await;
    }
    c.says(&["WARN", "this node is cut off from the others"]).await;
    c.is_ready(503, "most other nodes cannot reach it").await;
    for node in [&a, &b] {
        node.is_ready(200, "links").await;
        let shoppers = Shoppers::start(&node.process.url, 4).await;
        shoppers.get(20).await;
        let refused = shoppers.have_all().await;
        assert!(refused.is_empty(), "{} refuses: {refused:?}", node.name);
    }
    assert!(c.process.stop().status.success());
    let c = cluster.start("c");
    a.sees(&[("a", 22), ("b", 21), ("c", 21)]).await;
    c.is_ready(200, "links").await;
    drop(cluster.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_name_and_a_clock_that_is_off_are_told_in_the_log() {
    let cluster = Cluster::new().await;
    let a = cluster.start("a");
    let home = tempfile::tempdir().expect("a folder");
    let clock = Clock::new(home.path());
    clock.set(600);
    let set = |launch: crate::process::Launch, (name, value)| launch.env(name, value);
    let launch = clock.environment().into_iter().fold(cluster.launch("a", &home), set);
    let other = Node { name: "a", process: launch.start(), home };
    a.says(&["WARN", "the clock of another node differs from this one's", "\"ahead_s\":5"]).await;
    for node in [&a, &other] {
        node.says(&["WARN", "several live nodes have one name"]).await;
        node.is_ready(200, "links").await; // it is tolerated: their ids differ
    }
    drop(cluster.server);
}
