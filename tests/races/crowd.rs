//! A crowd of clients who start together and know what api.md tells clients; and the books that must balance when
//! they are gone.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use serde_json::Value;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Shop, Told};

/// How many clients run each race.
pub const CROWDS: [usize; 4] = [2, 16, 64, 256];

/// More than any race takes on a slow machine: whoever needs longer hangs.
const PATIENCE: Duration = Duration::from_secs(150);
/// Between two tries of a client who was told to come again.
const PAUSE: Duration = Duration::from_millis(50);
/// What is prepared for a race is prepared by so many at a time.
const PREPARED_AT_ONCE: usize = 32;

/// On a machine that is busy with other things a request waits long for its turn, and an order for its stock: that is not what
/// a race is about.
pub const UNHURRIED: &[(&str, &str)] =
    &[("SOUK_HTTP__REQUEST_DEADLINE_MS", "25000"), ("SOUK_PAYMENT__TIMEOUT_MS", "15000")];

/// A shop that no other test has, and that bears a slow machine, with these settings.
pub async fn alone(settings: &[(&str, &str)]) -> Shop {
    Shop::alone(&[UNHURRIED, settings].concat()).await
}

/// Every client acts at the same moment, on a connection that is open already. Their results, by client.
pub async fn at_once<T>(shop: &Shop, clients: usize, act: impl AsyncFn(usize) -> T) -> Vec<T> {
    let start = Barrier::new(clients);
    let (start, act) = (&start, &act);
    let run = |n| async move {
        shop.get("/livez").send().await.is(200);
        start.wait().await;
        act(n).await
    };
    timeout(PATIENCE, join_all((0..clients).map(run))).await.expect("nobody hangs")
}

/// Makes what a race needs, some at a time.
pub async fn prepare<T>(count: usize, make: impl AsyncFn(usize) -> T) -> Vec<T> {
    let make = &make;
    futures::stream::iter(0..count).map(|n| async move { make(n).await }).buffered(PREPARED_AT_ONCE).collect().await
}

/// Sends the same request until its outcome is known: again after a 202 (whose repeat shows the present outcome), a
/// 503, and a 409 that says that the same request may well succeed.
pub async fn for_good(ask: impl AsyncFn() -> Told) -> Told {
    let told = asked_while(is_undecided, PATIENCE, ask).await;
    assert!(!is_undecided(&told), "still undecided: {} {}", told.status, told.body);
    told
}

/// Like [`for_good`], where the outcome may well stay unknown for so long.
pub async fn decided_within(patience: Duration, ask: impl AsyncFn() -> Told) -> Option<Told> {
    let told = asked_while(is_undecided, patience, ask).await;
    (!is_undecided(&told)).then_some(told)
}

/// Like [`for_good`], where a 202 is an answer.
pub async fn answered(ask: impl AsyncFn() -> Told) -> Told {
    asked_while(|told| told.status != 202 && is_undecided(told), PATIENCE, ask).await
}

async fn asked_while(undecided: impl Fn(&Told) -> bool, patience: Duration, ask: impl AsyncFn() -> Told) -> Told {
    let until = Instant::now() + patience;
    loop {
        let told = ask().await;
        if !undecided(&told) || Instant::now() >= until {
            return told;
        }
        sleep(PAUSE).await;
    }
}

fn is_undecided(told: &Told) -> bool {
    match told.status.as_u16() {
        202 | 503 => true,
        409 => told.body["retryable"] == true,
        _ => false,
    }
}

/// How many answers have this status.
pub fn count(answers: &[Told], status: u16) -> usize {
    answers.iter().filter(|told| told.status == status).count()
}

/// The text of a member.
pub fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member].as_str().unwrap_or_else(|| panic!("{member} is no text in {body}"))
}

/// An entity's state as operators see it; null when nothing was ever recorded of it.
pub async fn state_of(shop: &Shop, kind: &str, id: &str) -> Value {
    let admin = shop.admin().await;
    let told = shop.get(&format!("/v1/admin/entities/{kind}/{id}")).by(&admin).send().await;
    if told.status == 404 { Value::Null } else { told.is(200).body["state"].clone() }
}

/// The pieces of a SKU when nobody buys any more: its book balances and nothing is held.
#[derive(Debug, PartialEq, Eq)]
pub struct Pieces {
    pub on_hand: i64,
    pub sold: i64,
    pub returned: i64,
}

pub async fn pieces(shop: &Shop, sku: &str) -> Pieces {
    let state = state_of(shop, "sku", sku).await;
    let count = |name: &str| state[name].as_i64().unwrap_or_else(|| panic!("no {name} in {state}"));
    let pieces = Pieces { on_hand: count("on_hand"), sold: count("sold"), returned: count("returned") };
    let (came, left) = (count("received") + count("adjusted"), pieces.on_hand + pieces.sold - pieces.returned);
    assert_eq!(left, came, "on_hand + sold - returned = received + adjusted: {state}");
    assert!(pieces.on_hand >= 0, "{state}");
    let (on_hand, reserved, available) = shop.counts(sku).await;
    assert_eq!((i64::try_from(on_hand), reserved), (Ok(pieces.on_hand), 0), "nothing is held: {state}");
    assert_eq!(available, on_hand);
    pieces
}

/// An order as administrators see it.
pub async fn order(shop: &Shop, id: &str) -> Value {
    let admin = shop.admin().await;
    shop.get(&format!("/v1/admin/orders/{id}")).by(&admin).send().await.is(200).body.clone()
}

/// What the provider has captured and paid back for an order, by its own book.
pub async fn charged(shop: &Shop, order: &Value) -> (i64, i64) {
    let (mut captured, mut refunded) = (0, 0);
    for payment in order["payments"].as_array().expect("payments") {
        let book = state_of(shop, "mock_charge", text(payment, "id")).await;
        captured += book["captured"]["amount"].as_i64().unwrap_or(0);
        // A card that was declined at once leaves no charge.
        let refunds = book["refunds"].as_object().into_iter().flatten();
        refunded += refunds.map(|(_, money)| money).filter_map(|money| money["amount"].as_i64()).sum::<i64>();
    }
    (captured, refunded)
}

/// A guest's or user's cart, by its path and whatever opens it, as it is now.
pub async fn cart(shop: &Shop, cart: &crate::support::GuestCart) -> Value {
    shop.get(&cart.path()).cart_token(&cart.token).send().await.is(200).body.clone()
}

/// The quantity of a SKU in a cart or an order; none: 0.
pub fn quantity(body: &Value, sku: &str) -> u64 {
    let lines = body["lines"].as_array().expect("lines").iter();
    let of_sku: Vec<u64> = lines.filter(|line| line["sku"] == sku).filter_map(|l| l["quantity"].as_u64()).collect();
    assert!(of_sku.len() <= 1, "a SKU stands in two lines: {body}");
    of_sku.first().copied().unwrap_or(0)
}
