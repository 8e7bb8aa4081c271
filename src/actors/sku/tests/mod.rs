mod past;

use std::sync::Arc;

use proptest::prelude::*;

use super::types::STOCK_MAX;
use super::*;
use crate::actors::testing::kit::{Given, START, assert_golden};
use crate::actors::values::{Currency, Money, ProductId, UserId, VariantId};

const TEE: ProductId = ProductId(1);
const MUG: ProductId = ProductId(2);
const ADA: OrderId = OrderId(1);
const BOB: OrderId = OrderId(2);
/// The tee's.
const ITEM: Item = Item { product: TEE, variant: Some(VariantId(7)) };
const TTL_MS: u64 = 15 * 60_000;

fn sku() -> Sku {
    "TEE-M".parse().expect("a SKU")
}

fn offer(product: ProductId, price: i64) -> Offer {
    Offer {
        product,
        variant: VariantId(7),
        title: Arc::from("Tee"),
        price: Money::new(price, Currency::GBP),
        published: true,
        seller: None,
    }
}

fn pieces(n: u64) -> Quantity {
    Quantity::new(n).expect("a quantity")
}

fn claim(product: ProductId) -> Command {
    Command::Claim { sku: sku(), offer: offer(product, 1999) }
}

fn set(on_hand: u64) -> Command {
    Command::SetStock { on_hand, expected: None, item: None }
}

fn reserve(order: OrderId, n: u64) -> Command {
    // ADA is older than BOB.
    Command::Reserve { order, quantity: pieces(n), placed_at: START, item: ITEM }
}

/// Claimed by the tee, with so many pieces, and the product knows the band.
fn stocked(on_hand: u64) -> Given<State> {
    Given::new()
        .when(claim(TEE))
        .when(set(on_hand))
        .when_answered::<Product>("band:1", Ok(product::Reply::Noted))
        .owes([])
}

#[test]
fn a_sku_belongs_to_one_product_at_a_time_and_starts_with_nothing() {
    Given::<State>::new()
        .when(set(3))
        .refused(Rejection::Unknown)
        .when(claim(TEE))
        .then(Reply::Claimed { band: StockBand::OutOfStock, seq: 0 })
        .again()
        .unchanged()
        .when(claim(MUG))
        .refused(Rejection::Taken { by: TEE })
        .when(set(30))
        .when(Command::Release { product: MUG })
        .then(Reply::Released)
        .unchanged()
        .when(Command::Release { product: TEE })
        .then(Reply::Released)
        .owes([])
        .when(reserve(ADA, 1))
        .refused(Rejection::Unknown)
        .when(claim(MUG))
        .then(Reply::Claimed { band: StockBand::OutOfStock, seq: 2 })
        .events([Event::Claimed { sku: sku(), offer: offer(MUG, 1999), fresh: true }])
        .again()
        .then(Reply::Claimed { band: StockBand::OutOfStock, seq: 2 })
        .unchanged()
        .owes([])
        .state(|sku| {
            assert_eq!((sku.on_hand, sku.received, sku.band, sku.band_seq), (0, 0, StockBand::OutOfStock, 2));
            let forgotten = sku.past.forgotten();
            assert_eq!((sku.past.ledgers().len(), forgotten.on_hand, forgotten.received), (0, 30, 30));
        });
}

#[test]
fn only_the_product_that_holds_it_sets_the_offer() {
    Given::<State>::new()
        .when(Command::SetOffer { offer: offer(TEE, 1) })
        .refused(Rejection::Unknown)
        .when(claim(TEE))
        .when(Command::SetOffer { offer: offer(TEE, 2499) })
        .then(Reply::OfferSet)
        .events([Event::OfferSet { offer: offer(TEE, 2499) }])
        .again()
        .unchanged()
        .when(Command::SetOffer { offer: offer(MUG, 1) })
        .refused(Rejection::Taken { by: TEE });
}

#[test]
fn stock_is_counted_and_adjusted_but_not_below_what_orders_hold() {
    let adjust = |delta| Command::Adjust { delta, reason: "broken".into(), item: None };
    stocked(10)
        .when(Command::SetStock { on_hand: 5, expected: Some(9), item: None })
        .refused(Rejection::StockChanged { on_hand: 10 })
        .when(reserve(ADA, 8))
        .when(Command::SetStock { on_hand: 7, expected: Some(10), item: None })
        .refused(Rejection::StockReserved { reserved: 8 })
        .when(adjust(-3))
        .refused(Rejection::StockReserved { reserved: 8 })
        .when(adjust(-2))
        .then(Reply::StockSet { on_hand: 8 })
        .when(set(8))
        .unchanged()
        .when(adjust(i64::MIN))
        .refused(Rejection::StockReserved { reserved: 8 })
        .when(adjust(i64::MAX))
        .refused(Rejection::OutOfRange { limit: STOCK_MAX })
        .when(set(STOCK_MAX + 1))
        .refused(Rejection::OutOfRange { limit: STOCK_MAX })
        .when(set(STOCK_MAX))
        .state(|sku| assert_eq!((sku.received, sku.adjusted), (10 + STOCK_MAX - 8, -2)));
}

#[test]
fn an_order_holds_pieces_and_then_has_them() {
    stocked(100)
        .when(reserve(ADA, 60))
        .then(Reply::Reserved)
        .events([Event::Reserved {
            order: ADA,
            quantity: pieces(60),
            expires_at: START.plus_ms(TTL_MS),
            placed_at: START,
        }])
        .again()
        .then(Reply::Reserved)
        .unchanged()
        .when(reserve(BOB, 41))
        .refused(Rejection::InsufficientStock { available: 40, requested: 41 })
        .when(Command::Commit { order: ADA })
        .then(Reply::Committed)
        .events([Event::Committed { order: ADA, quantity: pieces(60) }])
        .wakes_at(None)
        .again()
        .refused(Rejection::NotReserved)
        .when(Command::Restock { order: ADA, quantity: pieces(60), item: ITEM })
        .then(Reply::Restocked)
        .state(|sku| assert_eq!((sku.on_hand, sku.sold, sku.returned, sku.available()), (100, 60, 60, 100)));
}

#[test]
fn a_hold_can_be_changed_and_given_back() {
    stocked(100)
        .when(reserve(ADA, 60))
        .when(reserve(ADA, 101))
        .refused(Rejection::InsufficientStock { available: 100, requested: 101 })
        .after_ms(1)
        .when(reserve(ADA, 90))
        .then(Reply::Reserved)
        .wakes_at(Some(START.plus_ms(TTL_MS + 1)))
        .state(|sku| assert_eq!((sku.reserved(), sku.reservations.len()), (90, 1)))
        .when(Command::ReleaseHold { order: ADA })
        .then(Reply::HoldReleased)
        .again()
        .then(Reply::HoldReleased)
        .unchanged()
        .state(|sku| assert_eq!(sku.available(), 100));
}

#[test]
fn a_hold_ends_by_an_event_and_is_good_until_then() {
    stocked(100)
        .when(reserve(ADA, 10))
        .after_ms(5)
        .when(reserve(BOB, 20))
        .wakes_at(Some(START.plus_ms(TTL_MS)))
        .when_woken()
        .events([Event::Expired { orders: vec![ADA] }])
        .when(Command::Commit { order: ADA })
        .refused(Rejection::NotReserved)
        .after_ms(TTL_MS)
        .when(Command::Commit { order: BOB })
        .then(Reply::Committed);
}

#[test]
fn nobody_is_refused_for_pieces_that_nobody_may_keep() {
    stocked(10)
        .when(reserve(ADA, 6))
        .after_ms(TTL_MS - 1)
        .when(reserve(BOB, 5))
        .refused(Rejection::InsufficientStock { available: 4, requested: 5 })
        .after_ms(1)
        .when(reserve(BOB, 5))
        .events([
            Event::Expired { orders: vec![ADA] },
            Event::Reserved {
                order: BOB,
                quantity: pieces(5),
                expires_at: START.plus_ms(2 * TTL_MS),
                placed_at: START,
            },
        ]);
}

#[test]
fn an_overdue_hold_that_is_asked_for_again_is_renewed() {
    stocked(10).when(reserve(ADA, 6)).after_ms(TTL_MS).when(reserve(ADA, 6)).wakes_at(Some(START.plus_ms(2 * TTL_MS)));
}

#[test]
fn a_wake_ends_a_bounded_number_of_holds() {
    let holds = (0..EXPIRED_MAX as u128 + 1).map(|n| Event::Reserved {
        order: OrderId(n),
        quantity: pieces(1),
        expires_at: START.plus_ms(1),
        placed_at: START,
    });
    stocked(1_000)
        .history(holds)
        .when_woken()
        .state(|sku| assert_eq!(sku.reservations.len(), 1))
        .when_woken()
        .wakes_at(None);
}

#[test]
fn one_band_at_a_time_is_on_its_way_to_the_product_and_the_last_one_always_is() {
    let given = Given::<State>::new().when(claim(TEE)).when(set(6)).owes(["band:1"]);
    let news = given.owed::<Product>("band:1");
    assert_eq!(news.0, TEE.to_string());
    assert!(matches!(news.1, product::Command::StockChanged { band: StockBand::InStock, seq: 1, .. }));
    given
        .when(reserve(ADA, 1))
        .events([
            Event::Reserved { order: ADA, quantity: pieces(1), expires_at: START.plus_ms(TTL_MS), placed_at: START },
            Event::BandChanged { band: StockBand::LowStock },
        ])
        .when(reserve(BOB, 5))
        .owes(["band:1"])
        .when_answered::<Product>("band:1", Ok(product::Reply::Noted))
        .owes(["band:3"])
        .when_answered::<Product>("band:3", Ok(product::Reply::Noted))
        .owes([])
        .state(|sku| assert_eq!((sku.band, sku.band_seq), (StockBand::OutOfStock, 3)));
}

#[test]
fn an_order_is_refused_for_what_older_ones_hold_and_asks_again_for_what_younger_ones_hold() {
    let contended = |given: Given<State>| given.when(reserve(ADA, 3)).refused(Rejection::Contended);
    let given = contended(stocked(10).when(reserve(BOB, 8)));
    // More than there is: no younger order has to do with it.
    let given = given.when(reserve(ADA, 11)).refused(Rejection::InsufficientStock { available: 2, requested: 11 });
    // What fits is granted at once, however young.
    let given = given.when(reserve(OrderId(3), 2)).then(Reply::Reserved);
    let given = given.when(Command::ReleaseHold { order: BOB }).when(reserve(ADA, 8)).then(Reply::Reserved);
    given.when(reserve(OrderId(4), 1)).refused(Rejection::InsufficientStock { available: 0, requested: 1 });
    // What the younger one has bought is gone.
    let sold = contended(stocked(10).when(reserve(BOB, 8))).when(Command::Commit { order: BOB });
    sold.when(reserve(ADA, 3)).refused(Rejection::InsufficientStock { available: 2, requested: 3 });
}

#[test]
fn a_hold_from_before_ages_is_the_oldest_of_all() {
    let old = Event::Reserved { order: BOB, quantity: pieces(8), expires_at: START.plus_ms(9), placed_at: Time::ZERO };
    let refused = Rejection::InsufficientStock { available: 2, requested: 3 };
    stocked(10).history([old]).when(reserve(ADA, 3)).refused(refused);
}

fn any_command() -> impl Strategy<Value = (Command, u64)> {
    let order = (0..5_u128).prop_map(OrderId);
    let some = (1..12_u64).prop_map(pieces);
    let product = (1..3_u128).prop_map(ProductId);
    let command = prop_oneof![
        1 => product.clone().prop_map(claim),
        1 => product.prop_map(|product| Command::Release { product }),
        2 => (0..30_u64).prop_map(set),
        2 => (-20..20_i64).prop_map(|delta| Command::Adjust { delta, reason: String::new(), item: None }),
        8 => (order.clone(), some.clone()).prop_map(|(order, quantity)| Command::Reserve { order, quantity, placed_at: START, item: ITEM }),
        4 => order.clone().prop_map(|order| Command::Commit { order }),
        2 => order.clone().prop_map(|order| Command::ReleaseHold { order }),
        1 => (order, some).prop_map(|(order, quantity)| Command::Restock { order, quantity, item: ITEM }),
        2 => Just(Command::Expire),
        1 => (0..9_u64).prop_map(|seq| Command::BandTold { seq }),
    ];
    (command, prop_oneof![3 => Just(0), 1 => Just(TTL_MS / 3)])
}

proptest! {
    /// The stock equation and the bounds are held by the test kit; here: no oversell, no false reject.
    #[test]
    fn what_fits_is_held_and_what_does_not_is_refused(commands in prop::collection::vec(any_command(), 0..120)) {
        let mut given = stocked(20);
        for (command, wait_ms) in commands {
            given = given.after_ms(wait_ms);
            let before = given.state.clone();
            given = given.when(command.clone());
            let Command::Reserve { order, quantity, placed_at, .. } = command else { continue };
            if before.offer.as_ref().map(Item::of) != Some(ITEM) || before.past.hold(&order).is_some() {
                continue;
            }
            let kept: u64 = before
                .reservations
                .iter()
                .filter(|(other, hold)| **other != order && hold.expires_at > given.now)
                .map(|(_, hold)| u64::from(hold.quantity.get()))
                .sum();
            let fits = kept + u64::from(quantity.get()) <= before.on_hand;
            prop_assert_eq!(given.last_outcome().is_ok(), fits);
            if fits {
                continue;
            }
            // Who does not fit is refused for what older orders hold, or nobody has; else he may ask again.
            let older: u64 = before
                .reservations
                .iter()
                .filter(|(other, hold)| (hold.placed_at, **other) < (placed_at, order) && hold.expires_at > given.now)
                .map(|(_, hold)| u64::from(hold.quantity.get()))
                .sum();
            let contended = older + u64::from(quantity.get()) <= before.on_hand;
            prop_assert_eq!(matches!(given.last_outcome(), Err(Rejection::Contended)), contended);
        }
    }

    /// A hot SKU and its reload from a snapshot are the same.
    #[test]
    fn a_snapshot_gives_the_same_state(commands in prop::collection::vec(any_command(), 0..60)) {
        let mut given = stocked(50);
        for (command, wait_ms) in commands {
            given = given.after_ms(wait_ms).when(command);
        }
        let bytes = crate::actors::entity::codec::encode(&given.state);
        let again: State = crate::actors::entity::codec::decode(&bytes).expect("a snapshot");
        prop_assert_eq!(&again.reservations, &given.state.reservations);
        prop_assert_eq!(again.wake_at(), given.state.wake_at());
    }
}

#[test]
fn stored_bytes_stay_what_they_are() {
    let sold = Offer { seller: Some(UserId(5)), published: false, ..offer(TEE, -1) };
    let quantity = pieces(300);
    assert_golden(&[
        (
            Event::Claimed { sku: sku(), offer: sold.clone(), fresh: false },
            "1.1 055445452d4d00000000000000000000000000000001000000000000000000000000000000070354656501474250000100000000000000000000000000000005",
        ),
        (
            Event::Claimed { sku: sku(), offer: sold, fresh: true },
            "1.2 055445452d4d0000000000000000000000000000000100000000000000000000000000000007035465650147425000010000000000000000000000000000000501",
        ),
        (
            Event::OfferSet { offer: offer(MUG, 1999) },
            "2.1 000000000000000000000000000000020000000000000000000000000000000703546565fb9e0f4742500100",
        ),
        (Event::Released, "3.1"),
        (Event::StockSet { on_hand: 70_000 }, "4.1 fc70110100"),
        (Event::Adjusted { delta: -2, reason: "lost".into() }, "5.1 03046c6f7374"),
        (
            Event::Reserved { order: ADA, quantity, expires_at: START, placed_at: Time(1) },
            "6.2 00000000000000000000000000000001fb2c01fd004441064403000002",
        ),
        (
            Event::Reserved { order: ADA, quantity, expires_at: START, placed_at: Time::ZERO },
            "6.1 00000000000000000000000000000001fb2c01fd0044410644030000",
        ),
        (Event::Committed { order: ADA, quantity }, "7.1 00000000000000000000000000000001fb2c01"),
        (Event::HoldReleased { order: ADA }, "8.1 00000000000000000000000000000001"),
        (
            Event::Expired { orders: vec![ADA, BOB] },
            "9.1 020000000000000000000000000000000100000000000000000000000000000002",
        ),
        (Event::Restocked { order: BOB, quantity }, "10.1 00000000000000000000000000000002fb2c01"),
        (Event::BandChanged { band: StockBand::LowStock }, "11.1 02"),
        (Event::BandTold { seq: 4 }, "12.1 04"),
        (
            Event::RestockedPast { order: BOB, quantity, variant: Some(VariantId(7)) },
            "13.1 00000000000000000000000000000002fb2c010100000000000000000000000000000007",
        ),
    ]);
    assert_golden(&[
        (Reply::Claimed { band: StockBand::InStock, seq: 3 }, "1.1 0103"),
        (Reply::OfferSet, "2.1"),
        (Reply::Released, "3.1"),
        (Reply::StockSet { on_hand: 251 }, "4.1 fbfb00"),
        (Reply::Reserved, "5.1"),
        (Reply::Committed, "6.1"),
        (Reply::HoldReleased, "7.1"),
        (Reply::Restocked, "8.1"),
        (Reply::Noted, "9.1"),
    ]);
    assert_golden(&[
        (Rejection::Taken { by: MUG }, "1.1 00000000000000000000000000000002"),
        (Rejection::Unknown, "2.1"),
        (Rejection::StockChanged { on_hand: 9 }, "3.1 09"),
        (Rejection::StockReserved { reserved: 8 }, "4.1 08"),
        (Rejection::OutOfRange { limit: STOCK_MAX }, "5.1 fd0010a5d4e8000000"),
        (Rejection::InsufficientStock { available: 1, requested: 3 }, "6.1 0103"),
        (Rejection::NotReserved, "7.1"),
        (Rejection::Contended, "8.1"),
    ]);
}
