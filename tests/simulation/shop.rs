//! What must hold in the shop as a whole: between a SKU and its orders, a cart and its order, a customer
//! and his list. Looked at whenever a record becomes durable, and once more at rest.

use std::collections::BTreeMap;

use souk::actors::cart::types::{Cart, CartStatus};
use souk::actors::customer::types::Customer;
use souk::actors::entity::Kind;
use souk::actors::order::types::{self as order, Order, OrderStatus, StockStep};
use souk::actors::product::types::Product;
use souk::actors::sku::types::{self as sku, Item, StockUnit};
use souk::actors::user::types::User;
use souk::actors::values::{OrderId, Sku, Time};
use souk::persistence::Record;

use crate::Broken;
use crate::history::History;

fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { invariant, detail: detail() }) }
}

/// Judges the shop after a record.
pub fn judge(record: &Record, history: &History) -> Result<(), Broken> {
    if record.events.is_empty() {
        return Ok(());
    }
    match record.key.kind {
        StockUnit::NUMBER => judge_sku(record, history),
        Order::NUMBER => judge_order(record, history),
        Cart::NUMBER => judge_cart(record, history),
        _ => Ok(()),
    }
}

fn is_decided(order: &order::State) -> bool {
    order.status != OrderStatus::Pending
}

/// Whether an order that came to nothing still has to undo something at this SKU.
fn owes_back(order: &order::State, sku: &str) -> bool {
    let lines = order.placement.iter().flat_map(|placement| &placement.lines).zip(&order.stock);
    order.refusal.is_some()
        && lines.into_iter().any(|(line, step)| line.sku.as_str() == sku && *step != StockStep::Cleared)
}

fn judge_sku(record: &Record, history: &History) -> Result<(), Broken> {
    let Some(past) = history.past(&record.key) else { return Ok(()) };
    let (Some(before), Some(now)) =
        (past.then::<StockUnit>(record.version - 1), past.then::<StockUnit>(record.version))
    else {
        return Ok(());
    };
    let holds = now.past.ledgers().iter().map(|ledger| &ledger.reservations).chain([&now.reservations]);
    for (id, _) in holds.flat_map(|holds| holds.iter()) {
        let keeps =
            history.now::<Order>(id).is_some_and(|order| is_decided(&order) && !owes_back(&order, &record.key.id));
        ensure(!keeps, "an order that is decided holds nothing that it does not owe back", || {
            format!("{} holds {id}", record.key.id)
        })?;
    }
    if now.item != before.item {
        return Ok(()); // what was held is held in the past, see below
    }
    // A hold goes when it is committed, when its order gives it back, or when its time is over.
    let mut gone = Vec::new();
    for (id, held) in before.reservations.iter() {
        if now.reservations.get(id).is_none() && held.expires_at > Time(record.at_ms) {
            gone.push((*id, u64::from(held.quantity.get())));
        }
    }
    let sold = now.sold - before.sold;
    let asked = gone.len() <= 1 && gone.iter().all(|(id, held)| sold == *held || gives_back(id, history));
    ensure(asked, "a hold ends by its own order or by its time", || format!("{}: {gone:?}", record.key.id))
}

/// Whether an order has turned back, as far as is durable.
fn gives_back(id: &OrderId, history: &History) -> bool {
    history.now::<Order>(id).is_some_and(|order| order.refusal.is_some())
}

fn judge_order(record: &Record, history: &History) -> Result<(), Broken> {
    let Ok(id) = record.key.id.parse::<OrderId>() else { return Ok(()) };
    let Some(order) = history.now::<Order>(&id) else { return Ok(()) };
    let Some(placement) = &order.placement else { return Ok(()) };
    if is_decided(&order) {
        for line in &placement.lines {
            let holds = history
                .now::<StockUnit>(&line.sku)
                .is_some_and(|sku| sku.reservations.get(&id).or_else(|| sku.past.hold(&id)).is_some());
            let keeps = holds && !owes_back(&order, line.sku.as_str());
            ensure(!keeps, "an order that is decided holds nothing that it does not owe back", || {
                format!("{id} holds {}", line.sku)
            })?;
        }
    }
    if order.confirmed {
        let others = history.all::<Order>().filter(|(other, state)| {
            *other != id && state.confirmed && state.placement.as_ref().is_some_and(|p| p.cart == placement.cart)
        });
        ensure(others.count() == 0, "one cart becomes at most one order", || format!("{id} of {}", placement.cart))?;
    }
    Ok(())
}

fn judge_cart(record: &Record, history: &History) -> Result<(), Broken> {
    let Some(cart) = history.past(&record.key).and_then(|past| past.now::<Cart>()) else { return Ok(()) };
    if cart.status != CartStatus::Completed {
        return Ok(());
    }
    let order = cart.order().and_then(|id| Some((id, history.now::<Order>(&id)?)));
    let confirmed = order.as_ref().is_some_and(|(_, order)| order.confirmed);
    ensure(confirmed, "a completed cart has a confirmed order", || record.key.id.to_string())?;
    if let (Some(user), Some((id, _))) = (cart.user, order) {
        let listed = history.now::<Customer>(&user).map_or(0, |list| list.orders.iter().filter(|o| o.0 == id).count());
        ensure(listed == 1, "a cart is completed after the customer's list has the order, once", || {
            format!("{} {id} is listed {listed} times", record.key.id)
        })?;
    }
    Ok(())
}

/// Judges the shop when nothing is under way any more.
pub fn judge_at_rest(history: &History) -> Result<(), Broken> {
    for (key, past) in history.pasts() {
        ensure(past.owed.is_none(), "every owed request is answered in the end", || {
            format!("{}/{} owes {:?}", key.kind, key.id, past.owed)
        })?;
        ensure(past.is_settled(), "every process comes to its end", || {
            format!("{}/{} {}", key.kind, key.id, past.json())
        })?;
    }
    let mut sold: BTreeMap<Sku, Vec<(Item, i128)>> = BTreeMap::new();
    for (id, order) in history.all::<Order>() {
        ensure(is_decided(&order), "every order is decided in the end", || id.to_string())?;
        let stands = matches!(order.status, OrderStatus::Confirmed | OrderStatus::Completed);
        for line in order.placement.iter().flat_map(|placement| &placement.lines).filter(|_| stands) {
            let pieces = i128::from(line.quantity.get());
            sold.entry(line.sku.clone()).or_default().push((line.item(), pieces));
        }
    }
    for (id, state) in history.all::<StockUnit>() {
        judge_stock(&id, &state, sold.get(&id).map_or(&[], Vec::as_slice))?;
    }
    judge_names(history)
}

/// `sold`: what orders that stand have bought under this SKU.
fn judge_stock(id: &Sku, state: &sku::State, sold: &[(Item, i128)]) -> Result<(), Broken> {
    let left = |pieces: &sku::Pieces| i128::from(pieces.sold) - i128::from(pieces.returned);
    let past = state.past.ledgers().iter().map(|ledger| (ledger.item, ledger.pieces, &ledger.reservations));
    let present = state.item.map(|item| (item, state.pieces(), &state.reservations));
    let mut all = left(state.past.forgotten());
    for (item, pieces, holds) in past.chain(present) {
        let (gone, bought) = (left(&pieces), sold.iter().filter(|(of, _)| *of == item).map(|(_, n)| n).sum::<i128>());
        ensure(gone == bought, "what is sold of a variant is what confirmed orders have of it", || {
            format!("{id} {item:?}: {gone} left, orders {bought}")
        })?;
        ensure(holds.is_empty(), "at rest nothing is held", || format!("{id}: {holds:?}"))?;
        all += gone;
    }
    let bought = sold.iter().map(|(_, pieces)| pieces).sum::<i128>();
    ensure(all == bought, "what is sold is what confirmed orders have", || format!("{id}: {all} left, orders {bought}"))
}

/// Names belong to one.
fn judge_names(history: &History) -> Result<(), Broken> {
    let mut emails = BTreeMap::new();
    for (id, user) in history.all::<User>() {
        if let Some(account) = user.active()
            && let Some(other) = emails.insert(account.email.clone(), id)
        {
            return Err(Broken { invariant: "an email address is one user's", detail: format!("{id} and {other}") });
        }
    }
    let mut slugs = BTreeMap::new();
    for (id, product) in history.all::<Product>() {
        if let Some(slug) = &product.slug
            && let Some(other) = slugs.insert(slug.clone(), id)
        {
            return Err(Broken { invariant: "a slug is one product's", detail: format!("{id} and {other}") });
        }
        for variant in &product.variants {
            let unit = history.now::<StockUnit>(&variant.sku);
            let offer = unit.as_ref().and_then(|unit| unit.offer.as_ref());
            let right = offer.is_some_and(|offer| offer.product == id && offer.price == variant.price);
            ensure(right, "a SKU offers what its product says", || format!("{id} {}: {offer:?}", variant.sku))?;
            let band = unit.as_ref().map(|unit| unit.band);
            ensure(band == Some(variant.stock), "a product knows its SKU's band in the end", || {
                format!("{id} {}: {:?} and {band:?}", variant.sku, variant.stock)
            })?;
        }
    }
    let mut numbers = BTreeMap::new();
    for (id, order) in history.all::<Order>() {
        if let Some(number) = &order.number
            && let Some(other) = numbers.insert(number.clone(), id)
        {
            return Err(Broken { invariant: "an order number is one order's", detail: format!("{id} and {other}") });
        }
    }
    Ok(())
}
