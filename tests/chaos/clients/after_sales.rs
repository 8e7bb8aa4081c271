//! What happens to orders after they are confirmed: one clerk refunds parts of one, while another looks at it and cancels it.

use std::sync::Arc;

use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};

use super::buyers::Bought;
use super::{Asked, Client, Shop, Told};
use crate::chaos::cluster::{number, text};
use crate::chaos::models::{OrderOp, StockOp};

/// Two who work on the same orders.
pub struct Pair {
    pub refunds: Client,
    pub cancels: Client,
}

pub fn shows(order: &Value) -> OrderOp {
    let refunds = order["refunds"].as_array().expect("refunds");
    let refunded = refunds.iter().map(|refund| number(&refund["amount"], "amount")).sum();
    OrderOp::Shows { refunded, is_cancelled: text(order, "status") == "cancelled" }
}

/// Until the shop closes.
pub async fn work(shop: Arc<Shop>, mut pair: Pair) {
    while !shop.is_over() {
        let order = shop.bought.lock().iter_mut().rev().find(|order| !order.is_taken).map(|order| {
            order.is_taken = true;
            order.clone()
        });
        if let Some(order) = order {
            let Pair { refunds, cancels } = &mut pair;
            tokio::join!(refund(&shop, refunds, &order), cancel(&shop, cancels, &order));
        }
        pair.refunds.rest().await;
    }
}

async fn refund(shop: &Shop, client: &mut Client, order: &Bought) {
    for _ in 0..3 {
        look(shop, client, order).await;
        let amount = order.total / 2;
        let body = json!({"amount": {"amount": amount, "currency": "GBP"}, "reason": "chaos"});
        let path = format!("/v1/admin/orders/{}/refund", order.id);
        let refunding = Asked::of(Method::POST, path, &shop.staff(), client.key(), body);
        let told = shop.ask(client, &refunding).await;
        let note = |parts: Vec<OrderOp>| shop.orders.note_parts(&order.id, client.number, told.span, parts);
        match (&told.answer, told.code()) {
            (Some((200, body)), _) => note(vec![OrderOp::Refund(amount), shows(body)]),
            (Some((409, _)), Some("refund_exceeds_captured")) => note(vec![OrderOp::RefundRefused(amount)]),
            (answer, _) => unexpected(shop, "a refund", answer),
        }
    }
}

async fn cancel(shop: &Shop, client: &mut Client, order: &Bought) {
    look(shop, client, order).await;
    if client.random.gen_ratio(2, 3) {
        let path = format!("/v1/orders/{}/cancel", order.id);
        let cancelling = Asked::of(Method::POST, path, &shop.staff(), client.key(), json!({}));
        let told = shop.ask(client, &cancelling).await;
        match &told.answer {
            Some((200, body)) => {
                let parts = [OrderOp::PayBack, OrderOp::Cancel, shows(body)];
                shop.orders.note_parts(&order.id, client.number, told.span, parts);
                restocked(shop, client, order, &told);
            }
            answer => unexpected(shop, "a cancellation", answer),
        }
    }
    look(shop, client, order).await;
}

fn restocked(shop: &Shop, client: &Client, order: &Bought, told: &Told) {
    for (sku, pieces) in &order.lines {
        shop.stock.note(sku, client.number, told.span, StockOp::Restock { pieces: *pieces });
    }
}

async fn look(shop: &Shop, client: &mut Client, order: &Bought) {
    let told = shop.ask(client, &Asked::get(format!("/v1/admin/orders/{}", order.id), &shop.staff())).await;
    if let Some(body) = told.body(200) {
        shop.orders.note(&order.id, client.number, told.span, shows(body));
    }
    client.rest().await;
}

/// (Who gave up has noted it.)
fn unexpected(shop: &Shop, what: &str, answer: &Option<(u16, Value)>) {
    if let Some((status, body)) = answer {
        shop.is_wrong(format!("{what} is answered {status} {body}"));
    }
}
