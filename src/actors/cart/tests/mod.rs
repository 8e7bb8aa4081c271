//! Tables of one cart; [`schedules`] has carts that merge, and their customers, together.

mod completion;
mod golden;
mod items;
mod merge;
mod schedules;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::actors::cart::types::{LINE_FAULTS_MAX, LINES_AT_ONCE_MAX, LineFault, LineFaultCode};
use crate::actors::sku::types::Offer;
use crate::actors::testing::kit::{Given, START};
use crate::actors::values::{Address, Money, ProductId, Sku, VariantId};

const CART: CartId = CartId(1);
const OTHER: CartId = CartId(2);
const USER: UserId = UserId(7);
const TTL_MS: u64 = 30 * 24 * 3_600_000;

fn sku(text: &str) -> Sku {
    text.parse().expect("a SKU")
}

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn pieces(n: u64) -> Quantity {
    Quantity::new(n).expect("a quantity")
}

fn offer(price: i64) -> Offer {
    Offer {
        product: ProductId(3),
        variant: VariantId(4),
        title: Arc::from("Tee"),
        price: gbp(price),
        published: true,
        seller: None,
    }
}

fn contact() -> Contact {
    let name = String::from("Ada");
    let shipping_address = Address { name, ..Address::default() };
    Contact { email: "ada@example.com".parse().expect("an email"), shipping_address, billing_address: None }
}

fn line(id: u128, name: &str, quantity: u64, price: i64) -> Line {
    let Offer { product, variant, title, price: unit_price, .. } = offer(price);
    Line {
        id: LineId(id),
        sku: sku(name),
        product,
        variant: Some(variant),
        title,
        quantity: pieces(quantity),
        unit_price,
    }
}

fn create(id: CartId, user: Option<UserId>) -> Command {
    Command::Create { id, user, currency: Currency::GBP, reference: None, metadata: BTreeMap::new() }
}

fn add(name: &str, quantity: u64, price: i64) -> Command {
    Command::AddLine { sku: sku(name), quantity: pieces(quantity), offer: Some(offer(price)) }
}

fn guest() -> Given<State> {
    Given::new().when(create(CART, None))
}

/// A guest's cart with these lines; a line's id is its place.
fn with(lines: &[(&str, u64, i64)]) -> Given<State> {
    let expires_at = START.plus_ms(TTL_MS);
    let set = (1..).zip(lines).map(|(id, (name, quantity, price))| {
        let line = line(id, name, *quantity, *price);
        Event::LineSet { line, expires_at }
    });
    guest().history(set)
}

#[test]
fn a_guests_cart_is_open_at_once() {
    guest()
        .then(Reply::Opened)
        .settled(true)
        .owes([])
        .wakes_at(Some(START.plus_ms(TTL_MS)))
        .again()
        .then(Reply::Opened)
        .unchanged()
        .state(|cart| assert_eq!(cart.requirements().len(), 2));
}

#[test]
fn nothing_happens_to_a_cart_that_nobody_created() {
    Given::<State>::new()
        .when(add("A", 1, 100))
        .refused(Rejection::NotFound)
        .when(Command::Surrender { merge: RequestId([1; 16]), to: OTHER })
        .refused(Rejection::NotFound)
        .wakes_at(None);
}

#[test]
fn a_users_cart_is_in_his_list_before_he_is_answered_and_leaves_it_in_the_end() {
    Given::<State>::new()
        .when(create(CART, Some(USER)))
        .settled(false)
        .owes(["cart_opened"])
        .when_answered::<Customer>("cart_opened", Ok(customer::Reply::Noted))
        .settled(true)
        .when_woken()
        .events([Event::Expired])
        .settled(false)
        .owes(["cart_closed"])
        .when_answered::<Customer>("cart_closed", Ok(customer::Reply::Noted))
        .settled(true)
        .owes([])
        .wakes_at(None);
}

#[test]
fn the_closing_is_told_after_the_opening() {
    Given::<State>::new()
        .when(create(CART, Some(USER)))
        .when_woken()
        .events([Event::Expired])
        .owes(["cart_opened"])
        .when_answered::<Customer>("cart_opened", Ok(customer::Reply::Noted))
        .owes(["cart_closed"]);
}

#[test]
fn a_line_takes_the_catalogues_price_and_grows() {
    let given = guest().when(add("A", 2, 100)).then(Reply::Changed);
    let id = LineId::derived(&given.ctx().request, 0);
    given
        .state(|cart| assert_eq!(cart.lines.as_slice(), [Line { id, ..line(0, "A", 2, 100) }]))
        .when(add("B", 1, 50))
        .when(add("A", 3, 100))
        .events([Event::QuantitySet { line: id, quantity: pieces(5), expires_at: START.plus_ms(TTL_MS) }])
        .when(add("A", 1, 90))
        .events([Event::LineSet { line: Line { id, ..line(0, "A", 6, 90) }, expires_at: START.plus_ms(TTL_MS) }])
        .state(|cart| {
            let names: Vec<_> = cart.lines.iter().map(|line| line.sku.as_str()).collect();
            assert_eq!((names, cart.totals().total), (vec!["A", "B"], gbp(6 * 90 + 50)));
        });
}

#[test]
fn what_the_catalogue_does_not_sell_is_refused() {
    let asking = |offer| Command::AddLine { sku: sku("A"), quantity: pieces(1), offer };
    let euros = Offer { price: Money::new(1, "EUR".parse().expect("a currency")), ..offer(1) };
    guest()
        .when(asking(None))
        .refused(Rejection::UnknownSku { sku: sku("A") })
        .when(asking(Some(Offer { published: false, ..offer(1) })))
        .refused(Rejection::Unpublished { sku: sku("A") })
        .when(asking(Some(euros.clone())))
        .refused(Rejection::OtherCurrency { sku: sku("A"), currency: euros.price.currency });
}

#[test]
fn quantities_and_lines_are_bounded() {
    let mut full = guest();
    full.state.lines = (0..LINES_MAX as u128).map(|n| line(n, &format!("S-{n}"), 1, 1)).collect::<Vec<_>>().into();
    full.when(add("S-1999", 1, 1))
        .then(Reply::Changed)
        .when(add("new", 1, 1))
        .refused(Rejection::TooManyLines { limit: LINES_MAX as u32 });
    with(&[("A", 999_999, 1)])
        .when(add("A", 2, 1))
        .refused(Rejection::QuantityTooLarge { limit: Quantity::MAX })
        .when(add("A", 1, 1))
        .then(Reply::Changed);
}

fn new_line(name: &str, quantity: u64, offer: Option<Offer>) -> NewLine {
    NewLine { sku: sku(name), quantity: pieces(quantity), offer }
}

#[test]
fn a_list_is_added_in_one_event_and_a_sku_that_repeats_adds_up() {
    let sold = |name: &str, quantity, price| new_line(name, quantity, Some(offer(price)));
    let list = vec![sold("B", 1, 50), sold("A", 2, 90), sold("C", 3, 7), sold("B", 4, 50)];
    let given = with(&[("A", 1, 100)]).when(Command::AddLines { lines: list }).then(Reply::Changed);
    let id = |place| LineId::derived(&given.ctx().request, place);
    let (b, c) = (Line { id: id(0), ..line(0, "B", 5, 50) }, Line { id: id(2), ..line(0, "C", 3, 7) });
    let lines = vec![b.clone(), line(1, "A", 3, 90), c.clone()];
    given
        .events([Event::LinesAdded { lines, expires_at: START.plus_ms(TTL_MS) }])
        .state(|cart| {
            assert_eq!(cart.lines.as_slice(), [line(1, "A", 3, 90), b, c]);
            assert_eq!(cart.totals().total, gbp(3 * 90 + 5 * 50 + 3 * 7));
        })
        .when(Command::AddLines { lines: Vec::new() })
        .then(Reply::Changed)
        .unchanged();
}

#[test]
fn a_list_with_faults_adds_nothing_and_names_each_by_its_place() {
    let euros = Offer { price: Money::new(1, "EUR".parse().expect("a currency")), ..offer(1) };
    let list = vec![
        new_line("A", 1, Some(offer(1))),
        new_line("UNKNOWN", 1, None),
        new_line("DRAFT", 1, Some(Offer { published: false, ..offer(1) })),
        new_line("EUROS", 1, Some(euros.clone())),
        new_line("A", 1_000_000, Some(offer(1))),
    ];
    let fault = |place, name: &str, code| LineFault { place, sku: sku(name), code, currency: None };
    let faults = vec![
        fault(1, "UNKNOWN", LineFaultCode::UnknownSku),
        fault(2, "DRAFT", LineFaultCode::Unpublished),
        LineFault { currency: Some(euros.price.currency), ..fault(3, "EUROS", LineFaultCode::OtherCurrency) },
        fault(4, "A", LineFaultCode::QuantityTooLarge),
    ];
    let given = guest().when(Command::AddLines { lines: list }).refused(Rejection::LinesNotAdded { faults });
    let unknown = (0..LINES_AT_ONCE_MAX).map(|n| new_line(&format!("U-{n}"), 1, None)).collect();
    let given = given.when(Command::AddLines { lines: unknown });
    let faults = (0..LINE_FAULTS_MAX as u32).map(|n| fault(n, &format!("U-{n}"), LineFaultCode::UnknownSku)).collect();
    given.refused(Rejection::LinesNotAdded { faults });
}

#[test]
fn a_list_fits_whole_or_not_at_all() {
    let mut full = guest();
    full.state.lines = (0..LINES_MAX as u128 - 1).map(|n| line(n, &format!("S-{n}"), 1, 1)).collect::<Vec<_>>().into();
    let sold = |name: &str| new_line(name, 1, Some(offer(1)));
    full.when(Command::AddLines { lines: vec![sold("S-0"), sold("new"), sold("newer")] })
        .refused(Rejection::TooManyLines { limit: LINES_MAX as u32 })
        .when(Command::AddLines { lines: vec![sold("S-0"), sold("new"), sold("new")] })
        .then(Reply::Changed)
        .state(|cart| assert_eq!(cart.lines.len(), LINES_MAX));
}

#[test]
fn lines_are_changed_and_removed_by_id() {
    let set = |line, quantity| Command::SetQuantity { line, quantity };
    with(&[("A", 1, 100), ("B", 2, 50), ("C", 3, 1)])
        .when(set(LineId(2), Some(pieces(9))))
        .then(Reply::Changed)
        .again()
        .unchanged()
        .when(set(LineId(9), Some(pieces(1))))
        .refused(Rejection::LineNotFound)
        .when(set(LineId(1), None))
        .then(Reply::Changed)
        .again()
        .refused(Rejection::LineNotFound)
        .when(Command::RemoveLine { line: LineId(3) })
        .then(Reply::Changed)
        .state(|cart| assert_eq!((cart.lines.len(), cart.lines.subtotal()), (1, 450)));
}

#[test]
fn a_change_keeps_the_cart_alive_and_a_wake_in_between_does_nothing() {
    let given = guest()
        .after_ms(TTL_MS - 1)
        .when(Command::SetContact { contact: Box::new(contact()) })
        .then(Reply::Changed)
        .wakes_at(Some(START.plus_ms(2 * TTL_MS - 1)))
        .again()
        .unchanged()
        .after_ms(1)
        .when(Command::Expire)
        .then(Reply::Noted)
        .unchanged()
        .when_woken()
        .events([Event::Expired]);
    given.when(add("A", 1, 1)).refused(Rejection::Closed { status: CartStatus::Expired });
}

proptest! {
    /// Against a plain list. The test kit recomputes sums and search keys after every event.
    #[test]
    fn lines_and_totals_are_what_was_asked_for(asked in prop::collection::vec((0..4, 0..6_usize, 1..9_u64), 0..80)) {
        let mut given = guest();
        let mut model: Vec<(Sku, u64)> = Vec::new();
        for (what, n, quantity) in asked {
            let name = format!("S-{n}");
            let place = model.iter().position(|(known, _)| *known == sku(&name));
            let id = given.state.lines.by_sku(&sku(&name)).map(|line| line.id);
            prop_assert_eq!(place.is_some(), id.is_some());
            given = match (what, place, id) {
                (0 | 1, _, _) => {
                    match place {
                        Some(place) => model[place].1 += quantity,
                        None => model.push((sku(&name), quantity)),
                    }
                    given.when(add(&name, quantity, 10 + n as i64))
                }
                (2, Some(place), Some(line)) => {
                    model[place].1 = quantity;
                    given.when(Command::SetQuantity { line, quantity: Some(pieces(quantity)) })
                }
                (_, Some(place), Some(line)) => {
                    model.remove(place);
                    given.when(Command::RemoveLine { line })
                }
                (_, _, _) => given.when(Command::RemoveLine { line: LineId(0) }).refused(Rejection::LineNotFound),
            };
        }
        let shown: Vec<_> = given.state.lines.iter().map(|l| (l.sku.clone(), u64::from(l.quantity.get()))).collect();
        prop_assert_eq!(shown, model);
        let sum: i64 = given.state.lines.iter().map(|line| line.total().amount).sum();
        prop_assert_eq!(given.state.totals().total, gbp(sum));
    }
}
