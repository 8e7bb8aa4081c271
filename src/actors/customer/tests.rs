use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::actors::testing::kit::{Given, START, assert_golden};

const CART: CartId = CartId(1);
const ORDER: OrderId = OrderId(2);

#[test]
fn a_cart_is_listed_while_it_is_open() {
    Given::<State>::new()
        .when(Command::CartOpened { cart: CART })
        .then(Reply::Noted)
        .events([Event::CartListed { cart: CART }])
        .again()
        .then(Reply::Noted)
        .unchanged()
        .state(|customer| assert_eq!(customer.open_carts, [(CART, START)]))
        .when(Command::CartClosed { cart: CART })
        .then(Reply::Noted)
        .events([Event::CartDelisted { cart: CART }])
        .again()
        .unchanged()
        .state(|customer| assert!(customer.open_carts.is_empty()));
}

#[test]
fn orders_are_listed_once_in_the_order_they_come() {
    Given::<State>::new()
        .when(Command::OrderPlaced { order: ORDER })
        .then(Reply::Noted)
        .events([Event::OrderListed { order: ORDER }])
        .again()
        .unchanged()
        .after_ms(5)
        .when(Command::OrderPlaced { order: OrderId(1) })
        .state(|customer| assert_eq!(customer.orders, [(ORDER, START), (OrderId(1), START.plus_ms(5))]));
}

#[test]
fn the_oldest_open_cart_beyond_the_limit_leaves_the_list() {
    let full = (0..OPEN_CARTS_MAX as u128).map(|n| Event::CartListed { cart: CartId(n) });
    Given::<State>::new()
        .history(full)
        .when(Command::CartOpened { cart: CartId(999) })
        .then(Reply::Noted)
        .events([Event::CartDelisted { cart: CartId(0) }, Event::CartListed { cart: CartId(999) }])
        .state(|customer| assert_eq!(customer.open_carts.last().map(|(cart, _)| *cart), Some(CartId(999))));
}

proptest! {
    /// Against plain sets; ids are few, so they repeat.
    #[test]
    fn the_lists_are_what_was_said(said in prop::collection::vec((0..3, 0..20_u128), 0..100)) {
        let (mut carts, mut orders) = (BTreeSet::new(), BTreeSet::new());
        let mut given = Given::<State>::new();
        for (what, n) in said {
            given = given.after_ms(1).when(match what {
                0 => { carts.insert(CartId(n)); Command::CartOpened { cart: CartId(n) } }
                1 => { carts.remove(&CartId(n)); Command::CartClosed { cart: CartId(n) } }
                _ => { orders.insert(OrderId(n)); Command::OrderPlaced { order: OrderId(n) } }
            }).then(Reply::Noted);
        }
        prop_assert_eq!(given.state.open_carts.len(), carts.len());
        prop_assert_eq!(given.state.orders.len(), orders.len());
        prop_assert_eq!(given.state.open_carts.iter().map(|(cart, _)| *cart).collect::<BTreeSet<_>>(), carts);
        prop_assert_eq!(given.state.orders.iter().map(|(order, _)| *order).collect::<BTreeSet<_>>(), orders);
    }
}

#[test]
fn stored_bytes_stay_what_they_are() {
    assert_golden(&[
        (Event::CartListed { cart: CART }, "1.1 00000000000000000000000000000001"),
        (Event::CartDelisted { cart: CART }, "2.1 00000000000000000000000000000001"),
        (Event::OrderListed { order: ORDER }, "3.1 00000000000000000000000000000002"),
    ]);
    assert_golden(&[(Reply::Noted, "1.1")]);
    assert_golden::<Rejection>(&[]);
}
