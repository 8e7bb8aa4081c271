//! Which node a client asks, as a load balancer decides it: each has its own, and goes to the next one while that one is not
//! ready. Nodes are asked for `/readyz` a few times a second.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;

const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// A node that says nothing for so long is not ready.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// A node as the balancer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    url: Option<String>,
    is_ready: bool,
}

#[derive(Clone)]
pub struct Balancer {
    http: reqwest::Client,
    nodes: Arc<RwLock<Vec<watch::Sender<Seen>>>>,
}

impl Balancer {
    /// For nodes of these numbers, none of which runs. Looks at them for as long as the runtime lives.
    pub fn start(http: reqwest::Client, nodes: usize) -> Balancer {
        let seen = Seen { url: None, is_ready: false };
        let nodes: Vec<_> = (0..nodes).map(|_| watch::Sender::new(seen.clone())).collect();
        let balancer = Balancer { http, nodes: Arc::new(RwLock::new(nodes)) };
        for node in balancer.nodes.read().iter().cloned() {
            tokio::spawn(look(balancer.http.clone(), node));
        }
        balancer
    }

    /// A node runs at this address, or it does not run any more.
    pub fn runs(&self, node: usize, url: Option<&str>) {
        let url = url.map(str::to_owned);
        self.nodes.read()[node].send_modify(|seen| *seen = Seen { is_ready: url.is_some(), url });
    }

    /// A connection to it was refused: it need not be asked whether it is ready.
    pub fn refused(&self, node: usize) {
        self.nodes.read()[node].send_modify(|seen| seen.is_ready = false);
    }

    /// The node to ask: this one, or the next that is ready. Where none is, one that runs.
    pub fn choose(&self, home: usize) -> Option<(usize, String)> {
        let nodes = self.nodes.read();
        let seen: Vec<Seen> = nodes.iter().map(|node| node.borrow().clone()).collect();
        let order = || (home..home + seen.len()).map(|node| node % seen.len());
        let found =
            order().find(|node| seen[*node].is_ready).or_else(|| order().find(|node| seen[*node].url.is_some()));
        found.and_then(|node| Some((node, seen[node].url.clone()?)))
    }

    /// Until the node is not ready.
    pub async fn until_unready(&self, node: usize) {
        let mut seen = self.nodes.read()[node].subscribe();
        let _ = seen.wait_for(|seen| !seen.is_ready).await; // the balancer is gone, and so is whoever asks
    }

    /// Waits until no node is ready.
    pub async fn until_none_is_ready(&self) {
        let nodes = self.nodes.read().len();
        for node in 0..nodes {
            self.until_unready(node).await;
        }
    }
}

async fn look(http: reqwest::Client, node: watch::Sender<Seen>) {
    loop {
        let url = node.borrow().url.clone();
        if let Some(url) = url {
            let asked = http.get(format!("{url}/readyz")).timeout(ANSWERS_WITHIN).send().await;
            let is_ready = asked.is_ok_and(|answer| answer.status().is_success());
            node.send_if_modified(|seen| {
                // It may have been started anew meanwhile.
                let is_news = seen.url.as_ref() == Some(&url) && seen.is_ready != is_ready;
                seen.is_ready ^= is_news;
                is_news
            });
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}
