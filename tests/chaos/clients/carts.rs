//! Several clients who share a guest's cart: they add to its only line, set it, and look at it.

use std::sync::Arc;

use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Asked, Client, Pass, Shop};
use crate::chaos::cluster::{number, text};
use crate::chaos::models::CartOp;

/// The article that stands in these carts.
pub const PLAIN: &str = "CHAOS-PLAIN";
/// After so many requests they take another cart.
const REQUESTS_MAX: usize = 150;
/// So many requests of one cart are given up, at most.
const GIVEN_UP_MAX: usize = 4;

/// A cart with its line.
#[derive(Debug, Clone)]
pub struct Shared {
    pub id: String,
    pub pass: Pass,
    line: String,
}

/// A group's present cart, and how often it was used.
#[derive(Default)]
pub struct Group(Mutex<Option<(Shared, usize)>>);

impl Group {
    /// The cart to use next.
    async fn cart(&self, shop: &Shop, client: &mut Client) -> Option<Shared> {
        let mut present = self.0.lock().await;
        if let Some((cart, used)) = present.as_mut().filter(|(_, used)| *used < REQUESTS_MAX) {
            *used += 1;
            return Some(cart.clone());
        }
        let cart = open(shop, client).await?;
        *present = Some((cart.clone(), 0));
        Some(cart)
    }

    /// The present cart, for somebody who only looks and does not wait while there is none.
    pub fn present(&self) -> Option<Shared> {
        self.0.try_lock().ok()?.as_ref().map(|(cart, _)| cart.clone())
    }
}

async fn open(shop: &Shop, client: &mut Client) -> Option<Shared> {
    let opening = Asked::of(Method::POST, "/v1/carts", &Pass::Nobody, client.key(), json!({}));
    let told = shop.ask(client, &opening).await;
    let body = told.body(201)?;
    let (id, pass) = (text(body, "id").to_owned(), Pass::Cart(text(body, "token").to_owned()));
    let line = json!({"sku": PLAIN, "quantity": 1});
    let adding = Asked::of(Method::POST, format!("/v1/carts/{id}/lines"), &pass, client.key(), line);
    let told = shop.ask(client, &adding).await;
    let line = text(&told.body(200)?["lines"][0], "id").to_owned();
    shop.carts.begin(&id, 1);
    let cart = Shared { id, pass, line };
    shop.opened.lock().push(cart.clone());
    Some(cart)
}

/// The pieces in a cart's only line.
pub fn pieces(cart: &Value) -> u64 {
    number(&cart["lines"][0], "quantity") as u64
}

/// Until the shop closes.
pub async fn share(shop: Arc<Shop>, group: Arc<Group>, mut client: Client) {
    while !shop.is_over() {
        let Some(cart) = group.cart(&shop, &mut client).await else { continue };
        let Shared { id, pass, line } = &cart;
        let pieces_wanted = client.random.gen_range(1..50);
        let (op, asked) = match client.random.gen_range(0..4) {
            0 => {
                let body = json!({"sku": PLAIN, "quantity": 1});
                let asked = Asked::of(Method::POST, format!("/v1/carts/{id}/lines"), pass, client.key(), body);
                (Some(CartOp::Add(1)), asked)
            }
            1 => {
                let (path, body) = (format!("/v1/carts/{id}/lines/{line}"), json!({"quantity": pieces_wanted}));
                (Some(CartOp::Set(pieces_wanted)), Asked::of(Method::PATCH, path, pass, client.key(), body))
            }
            _ => (None, Asked::get(format!("/v1/carts/{id}"), pass)),
        };
        let gives_up = op.is_some() && client.random.gen_ratio(1, 3) && shop.carts.unanswered(id) < GIVEN_UP_MAX;
        let told =
            if gives_up { shop.ask_briefly(&mut client, &asked).await } else { shop.ask(&mut client, &asked).await };
        match told.body(200) {
            Some(body) => {
                let shows = CartOp::Shows(pieces(body));
                shop.carts.note_parts(id, client.number, told.span, op.into_iter().chain([shows]));
            }
            None if told.may_be_done => shop.carts.note_parts(id, client.number, told.span, op),
            None => {}
        }
        client.rest().await;
    }
}
