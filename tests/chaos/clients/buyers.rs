//! Customers who fill a cart and pay, one order after the other. Some send a completion twice at once, to two nodes, as
//! impatient people do: it is one order.

use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Asked, Client, Pass, Shop, Told};
use crate::chaos::cluster::{NODES, number, text};
use crate::chaos::history::Span;
use crate::chaos::models::{Paid, StockOp};

/// The price of a piece of anything, in minor units.
pub const PRICE: i64 = 300;

/// An order that was acknowledged.
#[derive(Debug, Clone)]
pub struct Bought {
    pub id: String,
    pub buyer: usize,
    pub lines: Vec<(String, i64)>,
    pub total: i64,
    /// Somebody works on it, or has.
    pub is_taken: bool,
}

/// What is for sale: one SKU that is in most orders and never runs out, and some that do.
#[derive(Debug, Clone)]
pub struct Goods {
    pub hot: String,
    pub scarce: Vec<String>,
}

impl Goods {
    pub fn all(&self) -> impl Iterator<Item = &String> {
        [&self.hot].into_iter().chain(&self.scarce)
    }
}

/// A customer who is signed in.
pub struct Buyer {
    pub client: Client,
    pub pass: Pass,
}

/// Until the shop closes.
pub async fn buy(shop: Arc<Shop>, goods: Goods, mut buyer: Buyer) {
    let Buyer { client, pass } = &mut buyer;
    while !shop.is_over() {
        // Of what may run out one order has nothing else: so it holds it, or is refused, and gives nothing back.
        let pieces = client.random.gen_range(1..=3);
        let is_hot = client.random.gen_ratio(2, 3);
        let sku = if is_hot { &goods.hot } else { goods.scarce.choose(&mut client.random).expect("some SKU") };
        let lines = vec![(sku.clone(), pieces)];
        if let Some(cart) = filled(&shop, client, pass, &lines).await {
            complete(&shop, client, pass, &cart, lines).await;
        }
        client.rest().await;
    }
}

/// A cart that only has to be paid.
async fn filled(shop: &Shop, client: &mut Client, pass: &Pass, lines: &[(String, i64)]) -> Option<String> {
    let opening = Asked::of(Method::POST, "/v1/carts", pass, client.key(), json!({}));
    let told = shop.ask(client, &opening).await;
    let path = format!("/v1/carts/{}", text(told.body(201)?, "id"));
    let lines: Vec<Value> = lines.iter().map(|(sku, pieces)| json!({"sku": sku, "quantity": pieces})).collect();
    let adding = Asked::of(Method::POST, format!("{path}/lines"), pass, client.key(), json!({"lines": lines}));
    shop.ask(client, &adding).await.body(200)?;
    let address =
        json!({"name": "Ada", "line1": "1 High St", "city": "London", "postal_code": "N1 9GU", "country": "GB"});
    let contact = json!({"email": "ada@example.com", "shipping_address": address});
    let telling = Asked::of(Method::PUT, format!("{path}/contact"), pass, client.key(), contact);
    shop.ask(client, &telling).await.body(200)?;
    Some(path)
}

async fn complete(shop: &Shop, client: &mut Client, pass: &Pass, cart: &str, lines: Vec<(String, i64)>) {
    let body = json!({"payment": {"method": "mock", "token": "tok_ok"}});
    let completing = Asked::of(Method::POST, format!("{cart}/complete"), pass, client.key(), body);
    let told = if client.random.gen_ratio(1, 8) {
        twice(shop, client, &completing).await
    } else {
        shop.ask(client, &completing).await
    };
    // The number of an order in the histories of stock.
    let order = 1_000_000 * (client.number + 1) + client.keys;
    let note = |sku: &str, span: Span, parts: Vec<StockOp>| shop.stock.note_parts(sku, client.number, span, parts);
    match (&told.answer, told.code()) {
        (Some((201, body)), _) => {
            for (sku, pieces) in &lines {
                note(sku, told.span, vec![StockOp::Hold { order, pieces: *pieces }, StockOp::Sell { order }]);
            }
            acknowledged(shop, client, pass, body, lines).await;
        }
        (Some((409, _)), Some("insufficient_stock")) => {
            lines.iter().for_each(|(sku, pieces)| note(sku, told.span, vec![StockOp::Lacks { pieces: *pieces }]));
        }
        (Some((402 | 409, _)), Some("order_timeout" | "payment_timeout")) => {
            // It may have held something, and given it back since.
            let span = Span { ended: None, ..told.span };
            for (sku, pieces) in &lines {
                note(sku, span, vec![StockOp::Hold { order, pieces: *pieces }, StockOp::Release { order }]);
            }
        }
        (Some((status, body)), _) => shop.is_wrong(format!("a completion is answered {status} {body}")),
        // The client has given up, which is noted as wrong.
        (None, _) => {}
    }
}

/// Sends one request to two nodes at once, under one key. Both are answered, and with the same.
async fn twice(shop: &Shop, client: &mut Client, asked: &Asked) -> Told {
    let mut other = Client::new(client.number, client.random.r#gen());
    other.home = (client.home + 1) % NODES;
    let (mut first, second) = tokio::join!(shop.ask(client, asked), shop.ask(&mut other, asked));
    let came_to = |told: &Told| told.answer.as_ref().map(|(status, body)| (*status, body["id"].clone()));
    if let (Some(mine), Some(others)) = (came_to(&first), came_to(&second))
        && mine != others
    {
        shop.is_wrong(format!("a completion that was sent twice came to {mine:?} and to {others:?}"));
    }
    // It was done when the first of both was answered.
    first.span.began = first.span.began.min(second.span.began);
    first.span.ended = first.span.ended.into_iter().chain(second.span.ended).min();
    first
}

async fn acknowledged(shop: &Shop, client: &mut Client, pass: &Pass, order: &Value, lines: Vec<(String, i64)>) {
    let (id, total) = (text(order, "id").to_owned(), number(&order["totals"]["total"], "amount"));
    let expected: i64 = lines.iter().map(|(_, pieces)| pieces * PRICE).sum();
    let is_whole = (text(order, "status"), text(order, "payment_status")) == ("confirmed", "captured");
    if total != expected || !is_whole {
        shop.is_wrong(format!("an order of {expected} is acknowledged as {order}"));
    }
    shop.orders.begin(&id, Paid { captured: total, refunded: 0, is_cancelled: false });
    let buyer = client.number;
    shop.bought.lock().push(Bought { id: id.clone(), buyer, lines, total, is_taken: false });
    // What was acknowledged is in the customer's list, whoever is asked.
    if client.random.gen_ratio(1, 4) {
        client.home = client.random.gen_range(0..NODES);
        let told = shop.ask(client, &Asked::get("/v1/me/orders", pass)).await;
        let listed = told.body(200).and_then(|body| body["data"].as_array()).cloned().unwrap_or_default();
        if told.answer.is_some() && !listed.iter().any(|order| order["id"] == id.as_str()) {
            shop.is_wrong(format!("{id} was acknowledged, and is not in its customer's list"));
        }
    }
}
