//! Lines whose SKU comes to name something else.

use super::completion::{ORDER, complete, now, ready};
use super::merge::{take, target};
use super::*;
use crate::actors::testing::kit::request;

/// Somebody else's, under the same SKU.
fn mug(price: i64) -> Offer {
    Offer { product: ProductId(9), variant: VariantId(10), title: Arc::from("Mug"), ..offer(price) }
}

/// The same product's, which gave up the SKU and took it back.
fn again(price: i64) -> Offer {
    Offer { variant: VariantId(5), ..offer(price) }
}

fn line_of(offer: Offer, id: u128, name: &str, quantity: u64) -> Line {
    let Offer { product, variant, title, price: unit_price, .. } = offer;
    let variant = Some(variant);
    Line { id: LineId(id), sku: sku(name), product, variant, title, quantity: pieces(quantity), unit_price }
}

#[test]
fn nobody_buys_what_he_has_not_seen_even_at_the_same_price() {
    for (newcomer, expected) in [(mug(100), None), (mug(100), Some(250)), (again(100), None)] {
        let offers = [("A", Some(newcomer.clone())), ("B", Some(offer(50)))];
        ready()
            .when(complete(ORDER, expected, &offers))
            .then(Reply::ItemsChanged { lines: vec![0] })
            .events([Event::Repriced {
                lines: vec![line_of(newcomer.clone(), 1, "A", 2)],
                expires_at: START.plus_ms(TTL_MS),
            }])
            .settled(true)
            .when(complete(ORDER, expected, &offers))
            .then(Reply::Started { order: ORDER })
            .state(|cart| assert_eq!(cart.lines.by_sku(&sku("A")), Some(&line_of(newcomer, 1, "A", 2))));
    }
}

#[test]
fn another_item_is_said_before_another_price() {
    let offers = [("A", Some(offer(100))), ("B", Some(mug(70)))];
    ready().when(complete(ORDER, None, &offers)).then(Reply::ItemsChanged { lines: vec![1] });
}

#[test]
fn a_line_that_does_not_know_its_variant_learns_it_without_a_word() {
    let old = |name, id, quantity, price| Line { variant: None, ..line(id, name, quantity, price) };
    let expires_at = START.plus_ms(TTL_MS);
    let given = || {
        guest()
            .history([old("A", 1, 2, 100), old("B", 2, 1, 50)].map(|line| Event::LineSet { line, expires_at }))
            .when(Command::SetContact { contact: Box::new(contact()) })
    };
    given()
        .when(complete(ORDER, None, &now(100, 50)))
        .then(Reply::Started { order: ORDER })
        .state(|cart| assert!(cart.lines.iter().all(|line| line.variant == Some(VariantId(4)))));
    let offers = [("A", Some(offer(100))), ("B", Some(mug(50)))];
    given().when(complete(ORDER, None, &offers)).then(Reply::ItemsChanged { lines: vec![1] });
}

#[test]
fn a_sku_that_is_added_again_as_something_else_starts_anew() {
    let add = |quantity, offer| Command::AddLine { sku: sku("A"), quantity: pieces(quantity), offer: Some(offer) };
    let new = |quantity| line_of(mug(70), 1, "A", quantity);
    let expires_at = START.plus_ms(TTL_MS);
    with(&[("A", 3, 100), ("B", 1, 50)])
        .when(add(1, mug(70)))
        .events([Event::LineSet { line: new(1), expires_at }])
        .when(add(4, mug(70)))
        .events([Event::QuantitySet { line: LineId(1), quantity: pieces(5), expires_at }])
        .state(|cart| assert_eq!((cart.lines.len(), cart.totals().total), (2, gbp(5 * 70 + 50))));
    let piece = |offer| NewLine { sku: sku("A"), quantity: pieces(2), offer: Some(offer) };
    with(&[("A", 3, 100), ("B", 1, 50)])
        .when(Command::AddLines { lines: vec![piece(mug(70)), piece(mug(70))] })
        .events([Event::LinesAdded { lines: vec![new(4)], expires_at }]);
}

#[test]
fn pieces_of_two_items_are_not_added_up_by_a_merge() {
    for (strategy, b) in [
        (MergeStrategy::Sum, line_of(mug(40), 2, "B", 3)),
        (MergeStrategy::Max, line_of(mug(40), 2, "B", 3)),
        (MergeStrategy::Replace, line_of(mug(40), 2, "B", 3)),
        (MergeStrategy::Keep, line(2, "B", 5, 50)),
    ] {
        target(strategy)
            .when(take(request(2), vec![line_of(mug(40), 11, "B", 3)]))
            .then(Reply::Taken)
            .state(|cart| assert_eq!(cart.lines.by_sku(&sku("B")), Some(&b), "{strategy}"));
    }
}
