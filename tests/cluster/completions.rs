//! Completions while a node is lost: their clients wait, and are told.

use std::time::Instant;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Cluster, Node, WITHIN};
use crate::client::client;

/// Longer than a look at an order may have taken before its completion was given up.
const LEASE_MS: &str = "4000";

/// A guest's cart that was completed, and its order.
struct Bought {
    cart: String,
    token: String,
    order: String,
}

async fn told(asked: RequestBuilder) -> (u16, Value) {
    let answer = asked.send().await.expect("it answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_else(|| panic!("{member}: {body}")).to_owned()
}

impl Bought {
    async fn at(node: &Node) -> Bought {
        let url = format!("{}/v1/carts", node.process.url);
        let (_, cart) = told(client().post(&url).json(&json!({}))).await;
        let (cart, token) = (text(&cart, "id"), text(&cart, "token"));
        let line = json!({"sku": "KIT-MUG-BLUE", "quantity": 1});
        let address =
            json!({"name": "Ada", "line1": "1 High St", "city": "London", "postal_code": "N1 9GU", "country": "GB"});
        let contact = json!({"email": "ada@example.com", "shipping_address": address});
        let adding = client().post(format!("{url}/{cart}/lines")).json(&line);
        let telling = client().put(format!("{url}/{cart}/contact")).json(&contact);
        for asked in [adding, telling] {
            let (status, body) = told(asked.header("x-cart-token", &token)).await;
            assert_eq!(status, 200, "{body}");
        }
        let mut bought = Bought { cart, token, order: String::new() };
        let (status, order) = bought.completed_at(node).await;
        assert_eq!(status, 201, "{order}");
        bought.order = text(&order, "id");
        bought
    }

    /// The same completion each time. On a busy machine the order may be pending.
    async fn completed_at(&self, node: &Node) -> (u16, Value) {
        let began = Instant::now();
        loop {
            let asked = client().post(format!("{}/v1/carts/{}/complete", node.process.url, self.cart));
            let asked = asked.header("x-cart-token", &self.token).header("idempotency-key", &self.cart);
            let answer = told(asked.json(&json!({"payment": {"method": "mock", "token": "tok_ok"}}))).await;
            if answer.0 != 202 || began.elapsed() > WITHIN {
                return answer;
            }
        }
    }
}

/// The name of the node that has an entity.
async fn has(node: &Node, token: &str, kind: &str, id: &str) -> String {
    let asked = client().get(format!("{}/v1/admin/entities/{kind}/{id}", node.process.url)).bearer_auth(token);
    let (_, entity) = told(asked).await;
    text(&entity, "node").split('#').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_waits_for_an_order_whose_node_is_lost() {
    let cluster = Cluster::new().await;
    let start = |name| cluster.start_as(name, |launch| launch.env("SOUK_CLUSTER__LEASE_MS", LEASE_MS));
    let (a, b) = (start("a"), start("b"));
    a.sees(&[("a", 32), ("b", 32)]).await;
    let admin = a.token().await.expect("the administrator");
    // One whose cart this node has, and the other one its order.
    let bought = loop {
        let bought = Bought::at(&a).await;
        let (cart, order) =
            (has(&a, &admin, "cart", &bought.cart).await, has(&a, &admin, "order", &bought.order).await);
        if (cart.as_str(), order.as_str()) == ("a", "b") {
            break bought;
        }
    };
    b.process.signal("STOP");
    let (status, order) = bought.completed_at(&a).await;
    assert_eq!((status, &order["id"]), (201, &json!(bought.order)), "{order}");
    b.process.signal("CONT");
    drop(cluster.server);
}
