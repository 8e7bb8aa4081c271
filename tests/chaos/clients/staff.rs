//! Administrators who count and adjust the stock that is being sold, and look at it.

use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Asked, Client, Shop};
use crate::chaos::cluster::number;
use crate::chaos::models::StockOp;

/// So many requests of one SKU are given up, at most.
const GIVEN_UP_MAX: usize = 3;
/// Who sees fewer pieces puts some there.
const FEW: i64 = 4;

pub fn shows(stock: &Value) -> StockOp {
    StockOp::Shows { on_hand: number(stock, "on_hand"), reserved: number(stock, "reserved") }
}

/// Until the shop closes.
pub async fn keep(shop: Arc<Shop>, skus: Vec<String>, mut client: Client) {
    // What this client has seen last of each: it may be old.
    let mut seen = vec![0; skus.len()];
    while !shop.is_over() {
        let which = *(0..skus.len()).collect::<Vec<_>>().choose(&mut client.random).expect("some SKU");
        let sku = &skus[which];
        let path = format!("/v1/admin/inventory/{sku}");
        let (delta, more) = (client.random.gen_range(-2..=3), client.random.gen_range(1..6));
        let delta = if seen[which] < FEW { more } else { delta };
        let (op, asked) = match client.random.gen_range(0..8) {
            0..=2 => {
                let body = json!({"delta": delta, "reason": "chaos"});
                let asked = Asked::of(Method::POST, format!("{path}/adjust"), &shop.staff(), client.key(), body);
                (Some(StockOp::Adjust { delta }), asked)
            }
            3 => {
                let (expected, on_hand) = (seen[which], seen[which] + more);
                let body = json!({"on_hand": on_hand, "expected": expected});
                let asked = Asked::of(Method::PUT, path, &shop.staff(), client.key(), body);
                (Some(StockOp::Put { expected, on_hand }), asked)
            }
            _ => (None, Asked::get(path, &shop.staff())),
        };
        let gives_up = op.is_some() && client.random.gen_ratio(1, 4) && shop.stock.unanswered(sku) < GIVEN_UP_MAX;
        let told =
            if gives_up { shop.ask_briefly(&mut client, &asked).await } else { shop.ask(&mut client, &asked).await };
        match (&told.answer, op) {
            (Some((200, body)), op) => {
                seen[which] = number(body, "on_hand");
                shop.stock.note_parts(sku, client.number, told.span, op.into_iter().chain([shows(body)]));
            }
            (Some((_, body)), Some(op)) => match refused(&op, body) {
                Some(op) => shop.stock.note(sku, client.number, told.span, op),
                None => shop.is_wrong(format!("{op:?} of {sku} is refused: {body}")),
            },
            (None, Some(op)) if told.may_be_done => shop.stock.note(sku, client.number, told.span, op),
            (_, _) => {}
        }
        client.rest().await;
    }
}

/// What a refusal says of the stock.
fn refused(op: &StockOp, body: &Value) -> Option<StockOp> {
    match (op, body["code"].as_str()?) {
        (StockOp::Adjust { delta }, "stock_reserved") => Some(StockOp::AdjustRefused { delta: *delta }),
        (StockOp::Put { expected, .. }, "stock_changed") => {
            Some(StockOp::PutStale { expected: *expected, found: number(body, "on_hand") })
        }
        (StockOp::Put { on_hand, .. }, "stock_reserved") => Some(StockOp::PutRefused { on_hand: *on_hand }),
        _ => None,
    }
}
