//! The books at the end of a run, when nobody buys any more: every order that was acknowledged is there once, money and stock
//! are conserved, and nothing is left undone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::clients::buyers::{Bought, Goods};
use super::clients::carts::{self, PLAIN};
use super::clients::{Asked, Client, Pass, Shop, after_sales, staff};
use super::cluster::{number, text};
use super::models::CartOp;

/// How long what is owed may take, and lists may lag, on a slow machine.
const RESTS_WITHIN: Duration = Duration::from_secs(90);
/// Of so many orders the provider's own book is looked at.
const CHARGES_MAX: usize = 400;

/// Notes what does not balance. How many orders there are.
pub async fn balance(shop: &Shop, clerk: &mut Client, goods: &Goods, buyers: &[(usize, Pass)]) -> usize {
    let bought = shop.bought.lock().clone();
    let orders = at_rest(shop, clerk, &bought).await;
    let mut cancelled: BTreeMap<&str, i64> = BTreeMap::new();
    let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
    for order in &bought {
        let found: Vec<&Value> = orders.iter().filter(|found| found["id"] == order.id.as_str()).collect();
        let [found] = found[..] else {
            shop.is_wrong(format!("{} was acknowledged, and is there {} times", order.id, found.len()));
            continue;
        };
        is_as_acknowledged(shop, order, found);
        for (sku, pieces) in &order.lines {
            *sold.entry(sku).or_default() += pieces;
            let came_back = if text(found, "status") == "cancelled" { *pieces } else { 0 };
            *cancelled.entry(sku).or_default() += came_back;
        }
    }
    unknown_orders(shop, &orders, &bought);
    for order in orders.iter().take(CHARGES_MAX) {
        charged_once(shop, clerk, order).await;
    }
    for sku in goods.all().map(String::as_str).chain([PLAIN]) {
        let count = |of: &BTreeMap<&str, i64>| of.get(sku).copied().unwrap_or(0);
        pieces(shop, clerk, sku, count(&sold), count(&cancelled)).await;
    }
    for (buyer, pass) in buyers {
        listed(shop, clerk, pass, bought.iter().filter(|order| order.buyer == *buyer)).await;
    }
    last_looks(shop, clerk, &bought).await;
    orders.len()
}

async fn ask(shop: &Shop, clerk: &mut Client, path: &str, pass: &Pass) -> Value {
    let told = shop.ask(clerk, &Asked::get(path, pass)).await;
    told.body(200).cloned().unwrap_or(Value::Null)
}

/// All pages of a list.
async fn list(shop: &Shop, clerk: &mut Client, path: &str, pass: &Pass) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ask(shop, clerk, &format!("{path}?limit=100{cursor}"), pass).await;
        all.extend(page["data"].as_array().into_iter().flatten().cloned());
        let Some(next) = page["page"]["next_cursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

/// All orders, once none is pending, nothing waits for anybody, and the list has what was acknowledged.
async fn at_rest(shop: &Shop, clerk: &mut Client, bought: &[Bought]) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let orders = list(shop, clerk, "/v1/admin/orders", &shop.staff()).await;
        let attention = ask(shop, clerk, "/v1/admin/attention", &shop.staff()).await;
        let pending = orders.iter().filter(|order| text(order, "status") == "pending").count();
        let waiting = attention["data"].as_array().map_or(usize::MAX, Vec::len);
        let lags = bought.iter().any(|order| !orders.iter().any(|found| found["id"] == order.id.as_str()));
        if pending == 0 && waiting == 0 && !lags {
            return orders;
        }
        if began.elapsed() > RESTS_WITHIN {
            shop.is_wrong(format!("no rest: {pending} orders are pending, attention is wanted by {attention}"));
            return orders;
        }
        clerk.rest().await;
    }
}

fn is_as_acknowledged(shop: &Shop, order: &Bought, found: &Value) {
    let lines: Vec<(String, i64)> = found["lines"].as_array().into_iter().flatten().map(line).collect();
    let total = number(&found["totals"]["total"], "amount");
    let is_known = ["confirmed", "cancelled"].contains(&text(found, "status"));
    if !is_known || total != order.total || lines != order.lines {
        shop.is_wrong(format!("{order:?} was acknowledged, and is {found}"));
    }
}

fn line(line: &Value) -> (String, i64) {
    (text(line, "sku").to_owned(), number(line, "quantity"))
}

/// An order that nobody was told of is one that was rejected, and no cart has two.
fn unknown_orders(shop: &Shop, orders: &[Value], bought: &[Bought]) {
    let mut carts: BTreeMap<&str, usize> = BTreeMap::new();
    for order in orders.iter().filter(|order| text(order, "status") != "rejected") {
        *carts.entry(text(order, "cart_id")).or_default() += 1;
        if !bought.iter().any(|known| order["id"] == known.id.as_str()) {
            shop.is_wrong(format!("nobody was told of {order}"));
        }
    }
    for (cart, orders) in carts.into_iter().filter(|(_, orders)| *orders > 1) {
        shop.is_wrong(format!("{cart} has {orders} orders"));
    }
}

/// By the provider's own book.
async fn charged_once(shop: &Shop, clerk: &mut Client, order: &Value) {
    let amounts =
        |of: &Value| of.as_array().map_or(0, |all| all.iter().map(|one| number(&one["amount"], "amount")).sum());
    let (mut captured, mut refunded): (i64, i64) = (0, 0);
    for payment in order["payments"].as_array().into_iter().flatten() {
        let path = format!("/v1/admin/entities/mock_charge/{}", text(payment, "id"));
        let charge = ask(shop, clerk, &path, &shop.staff()).await;
        captured += charge["state"]["captured"]["amount"].as_i64().unwrap_or(0);
        let refunds = charge["state"]["refunds"].as_object().into_iter().flatten();
        refunded += refunds.filter_map(|(_, money)| money["amount"].as_i64()).sum::<i64>();
    }
    let is_rejected = text(order, "status") == "rejected";
    let due = if is_rejected { 0 } else { number(&order["totals"]["total"], "amount") };
    if (captured, refunded) != (due, amounts(&order["refunds"])) || refunded > captured {
        shop.is_wrong(format!("{captured} were captured and {refunded} paid back for {order}"));
    }
}

/// on_hand + sold - returned = received + adjusted; what was sold and came back is what orders say; nothing is held.
async fn pieces(shop: &Shop, clerk: &mut Client, sku: &str, sold: i64, returned: i64) {
    let entity = ask(shop, clerk, &format!("/v1/admin/entities/sku/{sku}"), &shop.staff()).await;
    let count = |name: &str| number(&entity["state"], name);
    let came = count("received") + count("adjusted");
    let is_balanced = count("on_hand") + count("sold") - count("returned") == came && count("on_hand") >= 0;
    if !is_balanced || (count("sold"), count("returned")) != (sold, returned) {
        let state = &entity["state"];
        shop.is_wrong(format!("{sku}: orders took {sold} pieces and gave {returned} back, and the SKU is {state}"));
    }
    let stock = ask(shop, clerk, &format!("/v1/admin/inventory/{sku}"), &shop.staff()).await;
    if number(&stock, "reserved") != 0 {
        shop.is_wrong(format!("{sku} is held by nobody's order: {stock}"));
    }
}

/// A customer's list has each of his orders once.
async fn listed(shop: &Shop, clerk: &mut Client, pass: &Pass, bought: impl Iterator<Item = &Bought>) {
    let mine = list(shop, clerk, "/v1/me/orders", pass).await;
    for order in bought {
        let times = mine.iter().filter(|listed| listed["id"] == order.id.as_str()).count();
        if times != 1 {
            shop.is_wrong(format!("{} is {times} times in the list of its customer", order.id));
        }
    }
}

/// The end of each history: what was acknowledged last is still there.
async fn last_looks(shop: &Shop, clerk: &mut Client, bought: &[Bought]) {
    for sku in shop.stock.names() {
        let told = shop.ask(clerk, &Asked::get(format!("/v1/admin/inventory/{sku}"), &shop.staff())).await;
        told.body(200).iter().for_each(|body| shop.stock.note(&sku, clerk.number, told.span, staff::shows(body)));
    }
    let opened = shop.opened.lock().clone();
    for cart in &opened {
        let told = shop.ask(clerk, &Asked::get(format!("/v1/carts/{}", cart.id), &cart.pass)).await;
        let shows = |body: &Value| CartOp::Shows(carts::pieces(body));
        told.body(200).iter().for_each(|body| shop.carts.note(&cart.id, clerk.number, told.span, shows(body)));
    }
    for order in bought.iter().filter(|order| order.is_taken) {
        let told = shop.ask(clerk, &Asked::get(format!("/v1/admin/orders/{}", order.id), &shop.staff())).await;
        let note = |body: &&Value| shop.orders.note(&order.id, clerk.number, told.span, after_sales::shows(body));
        told.body(200).iter().for_each(note);
    }
}
