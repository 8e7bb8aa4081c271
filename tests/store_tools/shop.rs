//! A shop with a history: customers' orders, guests' carts, refused requests, snapshots, and several epochs.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::client;
use crate::process::{ADMIN_EMAIL, Launch, PASSWORD, Process};
use crate::replaying::Replay;
use crate::retail_sample::Sample;
use crate::stores::serves;

/// Few, so that many entities share one; and another number than the default, which must not matter.
pub const SLOTS: &str = "32";
pub const SKU: &str = "MOVED-M";
/// The key of a cart that was opened after a restart.
const LATER: &str = "opened-at-a-later-epoch";

/// What a shop was asked, and what it had answered.
pub struct Remembered {
    order: Value,
    order_path: String,
    cart_path: String,
    cart_token: String,
    reads: Vec<(String, Value)>,
    key: String,
}

fn launch(home: &Path) -> Launch {
    Launch::new(home).administered().env("SOUK_LOG__FILTER", "error").env("SOUK_SLOTS__SNAPSHOT_EVENTS", "3")
}

/// Serves a store, which is one of this number of slots already.
pub fn serve(home: &Path, address: &str) -> Process {
    serves(address, launch(home).env("SOUK_STORE__SLOTS", SLOTS)).start()
}

/// Plays the sample, or verifies it where it was played.
pub fn replay(server: &Process, home: &Path) {
    let sample = Sample { invoices: 60, customers: 20, skus: 60, ..Sample::default() };
    Replay::start(&server.url, home, sample, &["--stock", "80", "--clients", "8"]).verified();
}

/// A shop on a new store; what is to be remembered of it.
pub async fn open(home: &Path, address: &str) -> Remembered {
    let server = serve(home, address);
    replay(&server, home);
    let server = server.kill_and_restart();
    let remembered = Remembered::make(&server.url).await;
    let server = server.kill_and_restart();
    let body = json!({"reference": "a later epoch"});
    ask(&server.url, Method::POST, "/v1/carts", Some(body), &[("idempotency-key", LATER)], 201).await;
    assert!(server.stop().status.success());
    remembered
}

async fn ask(
    url: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
    status: u16,
) -> (Value, bool) {
    let mut request = client().request(method.clone(), format!("{url}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = &body {
        request = request.json(body);
    }
    let response = request.send().await.expect("an answer");
    let found = response.status().as_u16();
    let replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    let answer: Value = response.json().await.expect("JSON");
    assert_eq!(found, status, "{method} {path}: {answer}");
    (answer, replayed)
}

async fn bearer(url: &str) -> String {
    let body = json!({"email": ADMIN_EMAIL, "password": PASSWORD});
    let (tokens, _) = ask(url, Method::POST, "/v1/auth/login", Some(body), &[], 200).await;
    format!("Bearer {}", tokens["access_token"].as_str().expect("a token"))
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or_else(|| panic!("no {name}: {of}")).to_owned()
}

impl Remembered {
    /// A guest buys something, and leaves another cart behind.
    async fn make(url: &str) -> Remembered {
        let admin = bearer(url).await;
        let by_admin = [("authorization", admin.as_str())];
        let price = json!({"amount": 500, "currency": "GBP"});
        let product = json!({"title": "Moved", "status": "published",
                             "variants": [{"sku": SKU, "options": {"size": "M"}, "price": price}]});
        ask(url, Method::POST, "/v1/admin/products", Some(product), &by_admin, 201).await;
        let stock = format!("/v1/admin/inventory/{SKU}");
        let keyed = [by_admin[0], ("idempotency-key", "stock")];
        ask(url, Method::PUT, &stock, Some(json!({"on_hand": 9})), &keyed, 200).await;

        let (left, left_token) = cart(url).await;
        let (paid, paid_token) = cart(url).await;
        let opens = [("x-cart-token", paid_token.as_str())];
        let address = json!({"name": "Ada", "line1": "1 High St", "city": "London", "postal_code": "N1 9GU",
                             "country": "GB"});
        let contact = json!({"email": "ada@example.com", "shipping_address": address});
        ask(url, Method::PUT, &format!("{paid}/contact"), Some(contact), &opens, 200).await;
        let key = "paid-once-and-never-again".to_owned();
        let (order, replayed) = complete(url, &paid, &paid_token, &key).await;
        assert!(!replayed);
        let order_path = format!("/v1/orders/{}", text(&order, "id"));
        let mut remembered = Remembered {
            order: order.clone(),
            order_path,
            cart_path: paid,
            cart_token: paid_token,
            reads: Vec::new(),
            key,
        };
        let mut reads = vec![(left, left_token)];
        reads.push((remembered.cart_path.clone(), remembered.cart_token.clone()));
        for (path, token) in reads {
            let (cart, _) = ask(url, Method::GET, &path, None, &[("x-cart-token", &token)], 200).await;
            remembered.reads.push((format!("{path}|{token}"), cart));
        }
        let (stock, _) = ask(url, Method::GET, &stock, None, &by_admin, 200).await;
        remembered.reads.push(("stock".to_owned(), stock));
        remembered
    }

    /// The same answers, and the same outcome of the same question.
    pub async fn is_kept_by(&self, url: &str) {
        let admin = bearer(url).await;
        for (what, before) in &self.reads {
            let now = match what.split_once('|') {
                Some((path, token)) => ask(url, Method::GET, path, None, &[("x-cart-token", token)], 200).await,
                None => {
                    let path = format!("/v1/admin/inventory/{SKU}");
                    ask(url, Method::GET, &path, None, &[("authorization", &admin)], 200).await
                }
            };
            assert_eq!(now.0, *before, "{what}");
        }
        let token = text(&self.order, "token");
        let (order, _) = ask(url, Method::GET, &self.order_path, None, &[("x-order-token", &token)], 200).await;
        for member in ["id", "number", "status", "lines", "total", "created_at"] {
            assert_eq!(order[member], self.order[member], "{member}");
        }
        let (again, replayed) = complete(url, &self.cart_path, &self.cart_token, &self.key).await;
        assert!(replayed, "{again}");
        assert_eq!(again, self.order);
        let later = json!({"reference": "a later epoch"});
        let keyed = [("idempotency-key", LATER)];
        assert!(ask(url, Method::POST, "/v1/carts", Some(later), &keyed, 201).await.1, "it was asked before");
    }
}

/// A guest's cart with a line; its path and token.
async fn cart(url: &str) -> (String, String) {
    let (cart, _) = ask(url, Method::POST, "/v1/carts", Some(json!({})), &[], 201).await;
    let (path, token) = (format!("/v1/carts/{}", text(&cart, "id")), text(&cart, "token"));
    let line = json!({"sku": SKU, "quantity": 2});
    ask(url, Method::POST, &format!("{path}/lines"), Some(line), &[("x-cart-token", &token)], 200).await;
    (path, token)
}

async fn complete(url: &str, cart: &str, token: &str, key: &str) -> (Value, bool) {
    let body = json!({"payment": {"method": "mock", "token": "tok_ok"}});
    let headers = [("x-cart-token", token), ("idempotency-key", key)];
    ask(url, Method::POST, &format!("{cart}/complete"), Some(body), &headers, 201).await
}
