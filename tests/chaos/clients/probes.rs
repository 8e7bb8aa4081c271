//! Looks at entities at a node that is halted or cut off. What it answers when it goes on, or meanwhile, is judged like every
//! other answer: it must not be older than what others were told before it was asked.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::carts::{Group, pieces};
use super::{Pass, Shop, after_sales, staff};
use crate::chaos::history::Span;
use crate::chaos::models::CartOp;

/// The number of whoever looks, in histories.
const CLIENT: usize = 999;
/// Orders that are looked at: those that were acknowledged last.
const ORDERS: usize = 8;

#[derive(Debug, Clone)]
enum Subject {
    Cart(String),
    Sku(String),
    Order(String),
}

/// What is looked at, and how.
fn subjects(shop: &Shop, groups: &[Arc<Group>], skus: &[String]) -> Vec<(Subject, String, Pass)> {
    let mut subjects = Vec::new();
    for group in groups {
        if let Some(cart) = group.present() {
            subjects.push((Subject::Cart(cart.id.clone()), format!("/v1/carts/{}", cart.id), cart.pass));
        }
    }
    for sku in skus {
        subjects.push((Subject::Sku(sku.clone()), format!("/v1/admin/inventory/{sku}"), shop.staff()));
    }
    for order in shop.bought.lock().iter().rev().take(ORDERS) {
        subjects.push((Subject::Order(order.id.clone()), format!("/v1/admin/orders/{}", order.id), shop.staff()));
    }
    subjects
}

/// Asks for each of them at a node. Everything has been sent when this returns; answers are noted when they come.
pub async fn send(shop: &Arc<Shop>, groups: &[Arc<Group>], skus: &[String], url: &str, answers: &mut JoinSet<()>) {
    let address = url.trim_start_matches("http://").to_owned();
    for (subject, path, pass) in subjects(shop, groups, skus) {
        let proof = match pass {
            Pass::Nobody => String::new(),
            Pass::Bearer(token) => format!("authorization: Bearer {token}\r\n"),
            Pass::Cart(token) => format!("x-cart-token: {token}\r\n"),
        };
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{proof}\r\n");
        let began = shop.clock.now_us();
        let Ok(mut stream) = TcpStream::connect(&address).await else { return };
        if stream.write_all(head.as_bytes()).await.is_err() {
            continue;
        }
        let shop = shop.clone();
        answers.spawn(async move {
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer).await;
            let span = Span { began, ended: Some(shop.clock.now_us()) };
            if let Some(body) = read.ok().and_then(|_| body(&answer)) {
                note(&shop, &subject, span, &body);
            }
        });
    }
}

/// The body of an answer that is no refusal.
fn body(answer: &[u8]) -> Option<Value> {
    let answer = std::str::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.starts_with("HTTP/1.1 200 ") { serde_json::from_str(body).ok() } else { None }
}

fn note(shop: &Shop, subject: &Subject, span: Span, body: &Value) {
    match subject {
        Subject::Cart(id) => shop.carts.note(id, CLIENT, span, CartOp::Shows(pieces(body))),
        Subject::Sku(sku) => shop.stock.note(sku, CLIENT, span, staff::shows(body)),
        Subject::Order(id) => shop.orders.note(id, CLIENT, span, after_sales::shows(body)),
    }
}
