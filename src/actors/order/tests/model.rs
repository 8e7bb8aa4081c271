//! The order as a model: any interleaving of requests, answers, duplicates, losses, crashes, declines,
//! time-outs and expiries, with people cancelling, refunding and fulfilling in between, ends with the
//! money and the stock where they belong.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::fixture::{ADA, gbp, many_lines, pieces, placement};
use super::world::{Fate, Shelf, World};
use crate::actors::entity::Entity;
use crate::actors::order::types::{
    Command, OrderLine, OrderStatus, PaymentStatus, Placement, RefundStatus, RefusalCode,
};
use crate::actors::values::RefundId;

/// One move of the world. Numbers pick among what there is.
#[derive(Debug, Clone)]
enum Move {
    Send(usize),
    Arrive(usize, bool),
    Deliver(usize, bool),
    /// A request goes all the way, so that stories get on.
    Through(usize),
    Crash,
    Pass(u64),
    Expire(usize),
    Cancel,
    Refund(i64),
    Fulfil(usize, u32),
    FulfilAll,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        30 => (0..32usize).prop_map(Move::Send),
        30 => (0..64usize, prop::bool::weighted(0.2)).prop_map(|(n, again)| Move::Arrive(n, again)),
        30 => (0..64usize, prop::bool::weighted(0.2)).prop_map(|(n, again)| Move::Deliver(n, again)),
        60 => (0..32usize).prop_map(Move::Through),
        2 => Just(Move::Crash),
        2 => (0..40_000u64).prop_map(Move::Pass),
        1 => (0..8usize).prop_map(Move::Expire),
        1 => Just(Move::Cancel),
        6 => (1..900i64).prop_map(Move::Refund),
        1 => (0..6usize, 1..3u32).prop_map(|(line, n)| Move::Fulfil(line, n)),
        1 => Just(Move::FulfilAll),
    ];
    prop::collection::vec(one, 0..200)
}

fn fates() -> impl Strategy<Value = Fate> {
    let seldom = || prop::bool::weighted(0.15);
    (seldom(), seldom(), prop::collection::vec(prop::bool::weighted(0.3), 0..6), 0..3u32).prop_map(
        |(declines_authorise, declines_capture, declines_refunds, numbers_taken)| Fate {
            declines_authorise,
            declines_capture,
            declines_refunds,
            numbers_taken,
        },
    )
}

fn placements() -> impl Strategy<Value = Arc<Placement>> {
    let line = (1..4u32, prop_oneof![1 => Just(0i64), 4 => 1..500i64]);
    let few = (prop::collection::vec(line, 1..5), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(lines, guest, free)| {
            let skus: Vec<String> = (0..lines.len()).map(|n| format!("S{}", (n * 7) % 5)).collect();
            let named = skus.iter().zip(lines);
            let lines: Vec<_> =
                named.map(|(sku, (n, price))| (sku.as_str(), n, if free { 0 } else { price })).collect();
            Arc::new(placement((!guest).then_some(ADA), &lines))
        },
    );
    prop_oneof![4 => few, 1 => (17..40usize).prop_map(many_lines)]
}

/// Shelves with more than enough, or (one in sixteen) with one piece too few.
fn stocked(placement: &Placement, scarce: &[u8]) -> BTreeMap<String, Shelf> {
    let shelf = |(n, line): (usize, &OrderLine)| {
        let wanted = u64::from(line.quantity.get());
        let short = scarce.get(n).is_some_and(|dice| dice % 16 == 0);
        let on_hand = if short { wanted - 1 } else { wanted + 3 };
        (line.sku.to_string(), Shelf { on_hand, ..Shelf::default() })
    };
    placement.lines.iter().enumerate().map(shelf).collect()
}

fn play(world: &mut World, moves: Vec<Move>) {
    for (n, step) in moves.into_iter().enumerate() {
        // What people ask for may be refused: that is the order's business.
        match step {
            Move::Send(pick) => world.send(pick),
            Move::Arrive(pick, again) => world.arrive(pick, again),
            Move::Deliver(pick, again) => world.deliver(pick, again),
            Move::Through(pick) => world.through(pick),
            Move::Crash => world.crash(),
            Move::Pass(ms) => world.pass(ms),
            Move::Expire(pick) => world.expire(pick),
            Move::Cancel => drop(world.command(Command::Cancel { reason: None })),
            Move::Refund(amount) => {
                let refund = RefundId(n as u128 + 1);
                drop(world.command(Command::Refund { refund, amount: Some(gbp(amount)), reason: "model".into() }));
            }
            Move::Fulfil(line, n) => {
                let line = world.placement.lines[line % world.placement.lines.len()].id;
                drop(world.command(Command::Fulfil { lines: Some(vec![(line, pieces(n))]), tracking: None }));
            }
            Move::FulfilAll => drop(world.command(Command::Fulfil { lines: None, tracking: None })),
        }
    }
}

/// What must be true of money and stock when everything has come to rest.
fn judge(world: &World) {
    let (state, book) = (&world.state, &world.book);
    let total = world.placement.totals.total.amount;
    let refunded: i64 = book.refunds.values().sum();
    assert!(state.settled() && state.owed().is_empty() && state.cart_told);
    assert!(book.captures <= 1, "charged twice");
    assert_eq!((state.captured(), state.refunded()), (book.captured, refunded), "order and provider agree");
    assert!(world.shelves.values().all(|shelf| shelf.held == 0), "something is still held");
    let stands = matches!(state.status, OrderStatus::Confirmed | OrderStatus::Completed);
    for line in &world.placement.lines {
        let expected = if stands { u64::from(line.quantity.get()) } else { 0 };
        let shelf = &world.shelves[line.sku.as_str()];
        assert_eq!(shelf.sold - shelf.returned, expected, "{}", line.sku);
    }
    match state.status {
        OrderStatus::Confirmed | OrderStatus::Completed => assert_eq!(book.captured, total),
        OrderStatus::Rejected => came_to_nothing(world),
        OrderStatus::Cancelled if !state.confirmed => came_to_nothing(world),
        OrderStatus::Cancelled => {
            assert_eq!(book.captured, total);
            let declined_to_cancel = state.refunds.iter().any(|r| r.by_cancel && r.status == RefundStatus::Failed);
            assert!(refunded == total || declined_to_cancel, "cancelling pays everything back");
        }
        OrderStatus::Pending => panic!("an order at rest is decided"),
    }
    assert_eq!(world.customer, u32::from(state.confirmed && world.placement.user.is_some()));
    assert_eq!(world.cart.len(), 1, "the cart is told once");
    assert_eq!(world.cart[0].is_none(), state.confirmed);
}

fn came_to_nothing(world: &World) {
    assert_eq!(world.book.captured, 0, "charged without an order");
    assert_eq!(world.book.authorised, 0, "an authorisation is left behind");
    let paid = world.state.payment_status();
    assert!(matches!(paid, PaymentStatus::None | PaymentStatus::Failed | PaymentStatus::Voided), "{paid}");
    assert!(world.state.refusal.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_story_ends_with_money_and_stock_where_they_belong(
        placement in placements(),
        scarce in prop::collection::vec(any::<u8>(), 40),
        fate in fates(),
        moves in moves(),
    ) {
        let shelves = stocked(&placement, &scarce);
        let mut world = World::new(placement, shelves, fate);
        play(&mut world, moves);
        world.drain();
        judge(&world);
        world.crash();
        judge(&world);
    }
}

fn plenty(placement: Arc<Placement>) -> World {
    let shelves = stocked(&placement, &[]);
    World::new(placement, shelves, Fate::default())
}

#[test]
fn two_thousand_lines_go_through() {
    let mut world = plenty(many_lines(2_000));
    world.drain();
    judge(&world);
    assert_eq!(world.state.status, OrderStatus::Confirmed);
    let events = world.history.len();
    assert!(events < 2 * 2_000 + 20, "{events} events: one a line for reserving, one for committing, a few more");
}

#[test]
fn an_order_that_is_cancelled_at_any_moment_leaves_nothing_behind() {
    for moment in 0..20 {
        let mut world = plenty(many_lines(3));
        (0..moment).for_each(|n| world.through(n));
        world.command(Command::Cancel { reason: None }).expect("nothing is fulfilled yet");
        world.drain();
        judge(&world);
        assert_eq!(world.state.status, OrderStatus::Cancelled);
        assert_eq!(world.book.captured, world.book.refunds.values().sum::<i64>());
    }
}

#[test]
fn a_provider_that_is_never_heard_of_rejects_the_order_and_owes_the_void() {
    let mut world = plenty(many_lines(2));
    while world.state.payment.is_none() {
        world.through(0);
    }
    world.pass(30_000);
    let refused = world.state.refusal.as_ref().map(|why| why.code);
    assert_eq!(refused, Some(RefusalCode::PaymentTimeout));
    assert!(world.state.owed().iter().any(|owed| owed.key == "void:1"));
    world.drain();
    judge(&world);
    assert_eq!(world.state.payment_status(), PaymentStatus::Voided);
}
