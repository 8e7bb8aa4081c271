//! A SKU that changes hands: what was held, sold and given back stays with what it was made for.

use super::*;
use crate::actors::sku::types::PAST_MAX;

const CAL: OrderId = OrderId(3);
const MUGS: Item = Item { product: MUG, variant: Some(VariantId(8)) };

fn claim_as(item: Item) -> Command {
    let variant = item.variant.expect("a variant");
    Command::Claim { sku: sku(), offer: Offer { variant, ..offer(item.product, 1999) } }
}

fn reserve_as(item: Item, order: OrderId, n: u64) -> Command {
    Command::Reserve { order, quantity: pieces(n), placed_at: START, item }
}

fn restock(item: Item, order: OrderId, n: u64) -> Command {
    Command::Restock { order, quantity: pieces(n), item }
}

fn release(product: ProductId) -> Command {
    Command::Release { product }
}

/// Ten tees, of which Ada holds four and Bob has bought three; then the mug takes the SKU, with five pieces.
fn handed_over() -> Given<State> {
    stocked(10)
        .when(reserve(ADA, 4))
        .when(reserve(BOB, 3))
        .when(Command::Commit { order: BOB })
        .when(release(TEE))
        .when(claim_as(MUGS))
        .then(Reply::Claimed { band: StockBand::OutOfStock, seq: 3 })
        .when(set(5))
        .state(|sku| assert_eq!((sku.on_hand, sku.reserved(), sku.sold), (5, 0, 0)))
}

fn past(sku: &State) -> (u64, u64, u64, u64) {
    let [ledger] = sku.past.ledgers() else { panic!("one ledger: {:?}", sku.past) };
    assert_eq!(ledger.item, ITEM);
    (ledger.pieces.on_hand, ledger.reservations.total(), ledger.pieces.sold, ledger.pieces.returned)
}

#[test]
fn an_order_of_what_is_gone_gets_nothing_of_the_newcomers() {
    handed_over()
        .when(reserve(CAL, 1))
        .refused(Rejection::Unknown)
        .when(reserve_as(Item { variant: None, ..ITEM }, CAL, 1))
        .refused(Rejection::Unknown)
        .when(reserve_as(MUGS, CAL, 5))
        .then(Reply::Reserved);
}

#[test]
fn what_was_held_before_can_still_be_bought_or_given_back() {
    handed_over()
        .state(|sku| assert_eq!(past(sku), (7, 4, 3, 0)))
        .when(reserve(ADA, 4))
        .then(Reply::Reserved)
        .unchanged()
        .when(Command::Commit { order: ADA })
        .then(Reply::Committed)
        .events([Event::Committed { order: ADA, quantity: pieces(4) }])
        .again()
        .refused(Rejection::NotReserved)
        .state(|sku| assert_eq!((past(sku), sku.on_hand, sku.sold), ((3, 0, 7, 0), 5, 0)));
    handed_over()
        .when(Command::ReleaseHold { order: ADA })
        .events([Event::HoldReleased { order: ADA }])
        .again()
        .unchanged()
        .wakes_at(None)
        .state(|sku| assert_eq!((past(sku), sku.available()), ((7, 0, 3, 0), 5)));
}

#[test]
fn a_hold_of_the_past_ends_by_its_time() {
    handed_over()
        .wakes_at(Some(START.plus_ms(TTL_MS)))
        .when_woken()
        .events([Event::Expired { orders: vec![ADA] }])
        .wakes_at(None)
        .state(|sku| assert_eq!((past(sku), sku.available()), ((7, 0, 3, 0), 5)));
}

#[test]
fn what_comes_back_goes_to_what_it_was_sold_as() {
    handed_over()
        .when(restock(ITEM, BOB, 3))
        .then(Reply::Restocked)
        .events([Event::RestockedPast { order: BOB, quantity: pieces(3), variant: Some(VariantId(7)) }])
        .state(|sku| assert_eq!((past(sku), sku.on_hand, sku.returned), ((10, 4, 3, 3), 5, 0)))
        // Nothing can happen to the tees any more.
        .when(Command::ReleaseHold { order: ADA })
        .state(|sku| assert_eq!((sku.past.ledgers().len(), sku.past.forgotten().on_hand), (0, 10)));
}

#[test]
fn a_line_that_does_not_know_its_variant_means_that_of_its_product() {
    let unsaid = Item { variant: None, ..ITEM };
    stocked(10).when(reserve_as(unsaid, ADA, 1)).then(Reply::Reserved);
    handed_over().when(restock(unsaid, BOB, 3)).state(|sku| assert_eq!((past(sku).3, sku.on_hand), (3, 5)));
    stocked(10)
        .when(reserve(BOB, 3))
        .when(Command::Commit { order: BOB })
        .when(restock(unsaid, BOB, 3))
        .events([Event::Restocked { order: BOB, quantity: pieces(3) }]);
}

/// An order from before lines knew their variant, and its product gives the SKU up and takes it back.
#[test]
fn what_was_sold_before_does_not_come_back_as_what_the_same_product_sells_now() {
    let (unsaid, again) = (Item { variant: None, ..ITEM }, Item { variant: Some(VariantId(70)), ..ITEM });
    stocked(10)
        .when(reserve_as(unsaid, BOB, 3))
        .when(Command::Commit { order: BOB })
        .when(release(TEE))
        .when(claim_as(again))
        .when(set(5))
        .when(restock(unsaid, BOB, 3))
        .events([Event::RestockedPast { order: BOB, quantity: pieces(3), variant: ITEM.variant }])
        .state(|sku| assert_eq!((sku.on_hand, sku.returned, sku.past.forgotten().on_hand), (5, 0, 10)));
}

#[test]
fn an_order_that_is_cancelled_when_the_sku_has_changed_hands_twice_finds_its_ledger() {
    const HATS: Item = Item { product: ProductId(3), variant: Some(VariantId(9)) };
    handed_over()
        .when(reserve_as(MUGS, CAL, 2))
        .when(Command::Commit { order: CAL })
        .when(release(MUG))
        .when(claim_as(HATS))
        .when(restock(MUGS, CAL, 2))
        .when(restock(ITEM, BOB, 3))
        .when(Command::Commit { order: ADA })
        .state(|sku| {
            assert_eq!((sku.on_hand, sku.returned), (0, 0));
            // The mugs are all back; the tees still have Ada's four out.
            assert_eq!((past(sku), sku.past.forgotten().on_hand), ((6, 0, 7, 3), 5));
        });
}

#[test]
fn the_same_product_starts_anew_too_and_its_old_line_is_another_one() {
    const AGAIN: Item = Item { product: TEE, variant: Some(VariantId(70)) };
    stocked(10)
        .when(reserve(ADA, 4))
        .when(release(TEE))
        .when(claim_as(AGAIN))
        .state(|sku| assert_eq!((sku.on_hand, sku.reserved()), (0, 0)))
        .when(set(3))
        .when(reserve(BOB, 1))
        .refused(Rejection::Unknown)
        .when(reserve_as(Item { variant: None, ..AGAIN }, BOB, 1))
        .then(Reply::Reserved);
}

#[test]
fn another_variant_of_the_product_that_holds_it_takes_over() {
    let next = Item { variant: Some(VariantId(70)), ..ITEM };
    stocked(10)
        .when(claim_as(next))
        .events([
            Event::Released,
            Event::Claimed { sku: sku(), offer: Offer { variant: VariantId(70), ..offer(TEE, 1999) }, fresh: true },
        ])
        .when(Command::SetOffer { offer: offer(TEE, 1) })
        .refused(Rejection::Taken { by: TEE });
}

#[test]
fn whoever_counts_says_what() {
    let counted = |item| Command::SetStock { on_hand: 50, expected: None, item: Some(item) };
    let found = |item| Command::Adjust { delta: 1, reason: "found".into(), item: Some(item) };
    handed_over()
        .when(counted(ITEM))
        .refused(Rejection::Unknown)
        .when(found(ITEM))
        .refused(Rejection::Unknown)
        .when(counted(MUGS))
        .then(Reply::StockSet { on_hand: 50 })
        .when(found(MUGS))
        .then(Reply::StockSet { on_hand: 51 });
}

/// Variant after variant has the SKU; each leaves a hold, or (`sold`) a sold piece.
fn through_hands(n: usize, sold: bool) -> Given<State> {
    (1..=n as u128).fold(Given::new(), |given, hand| {
        let item = Item { product: ProductId(hand), variant: Some(VariantId(hand)) };
        let given = given.when(claim_as(item)).when(set(2)).when(reserve_as(item, OrderId(hand), 1));
        let given = if sold { given.when(Command::Commit { order: OrderId(hand) }) } else { given };
        given.when(release(ProductId(hand)))
    })
}

#[test]
fn the_past_is_bounded() {
    let first = Item { product: ProductId(1), variant: Some(VariantId(1)) };
    through_hands(PAST_MAX + 2, true)
        .when(claim_as(MUGS))
        .state(|sku| {
            let (ledgers, forgotten) = (sku.past.ledgers(), sku.past.forgotten());
            assert_eq!((ledgers.len(), ledgers[0].item.product, forgotten.sold), (PAST_MAX, ProductId(3), 2));
        })
        .when(restock(first, OrderId(1), 1))
        .events([Event::RestockedPast { order: OrderId(1), quantity: pieces(1), variant: None }])
        .state(|sku| assert_eq!((sku.on_hand, sku.past.forgotten().returned), (0, 1)));
    through_hands(PAST_MAX + 1, false)
        .when(claim_as(MUGS))
        .refused(Rejection::Taken { by: ProductId(1) })
        .when(Command::ReleaseHold { order: OrderId(5) })
        .when(claim_as(MUGS))
        .then(Reply::Claimed { band: StockBand::OutOfStock, seq: 2 * PAST_MAX as u64 + 2 });
}

/// What was stored before claims were fresh is replayed as it was decided.
#[test]
fn a_claim_of_version_1_kept_the_stock() {
    let old = |product| Event::Claimed { sku: sku(), offer: offer(product, 1), fresh: false };
    let held = Event::Reserved { order: ADA, quantity: pieces(4), expires_at: START, placed_at: START };
    Given::<State>::new()
        .history([old(TEE), Event::StockSet { on_hand: 30 }, held, Event::Released, old(MUG)])
        .history([Event::Committed { order: ADA, quantity: pieces(4) }])
        .state(|sku| assert_eq!((sku.on_hand, sku.sold, sku.past.ledgers().len()), (26, 4, 0)))
        .when(restock(Item { product: TEE, variant: None }, ADA, 4))
        .events([Event::RestockedPast { order: ADA, quantity: pieces(4), variant: None }])
        .state(|sku| assert_eq!(sku.on_hand, 26));
}

fn any_hand() -> impl Strategy<Value = (Command, u64)> {
    let item = (1..4_u128, 1..3_u128)
        .prop_map(|(product, nth)| Item { product: ProductId(product), variant: Some(VariantId(10 * product + nth)) });
    let order = (0..6_u128).prop_map(OrderId);
    let command = prop_oneof![
        2 => item.clone().prop_map(claim_as),
        2 => (1..4_u128).prop_map(|product| release(ProductId(product))),
        2 => (0..30_u64).prop_map(set),
        6 => (item.clone(), order.clone(), 1..5_u64).prop_map(|(item, order, n)| reserve_as(item, order, n)),
        4 => order.clone().prop_map(|order| Command::Commit { order }),
        1 => order.clone().prop_map(|order| Command::ReleaseHold { order }),
        2 => (item, order, 1..3_u64).prop_map(|(item, order, n)| restock(item, order, n)),
        1 => Just(Command::Expire),
    ];
    (command, prop_oneof![3 => Just(0), 1 => Just(TTL_MS / 3)])
}

proptest! {
    /// The equations of every ledger are held by the test kit; here: an order holds once, and only what it asked for.
    #[test]
    fn whatever_hands_it_goes_through_pieces_stay_with_their_item(commands in prop::collection::vec(any_hand(), 0..120)) {
        let mut given = Given::<State>::new();
        for (command, wait_ms) in commands {
            let before = given.state.clone();
            given = given.after_ms(wait_ms).when(command.clone());
            let (state, granted) = (&given.state, given.last_outcome().is_ok());
            for order in (0..6).map(OrderId) {
                prop_assert!(state.reservations.get(&order).is_none() || state.past.hold(&order).is_none());
            }
            match command {
                Command::Reserve { item, order, .. } if granted && before.past.hold(&order).is_none() => {
                    prop_assert_eq!(state.item, Some(item));
                }
                Command::Restock { item, .. } if before.item != Some(item) => {
                    prop_assert_eq!(state.on_hand, before.on_hand);
                }
                Command::Claim { .. } if state.item != before.item => {
                    prop_assert_eq!((state.on_hand, state.reserved()), (0, 0));
                }
                _ => {}
            }
        }
    }
}
