use super::*;
use crate::actors::cart::types::{Completing, Requirement};
use crate::actors::order::types::{self as order, RefusalCode};
use crate::actors::payment::types::PaymentMethod;
use crate::actors::testing::kit::request;
use crate::actors::values::Secret;

pub(super) const ORDER: OrderId = OrderId(11);

fn payment() -> PaymentIntent {
    PaymentIntent { method: PaymentMethod::Mock, token: Secret("tok_ok".into()) }
}

pub(super) fn complete(order: OrderId, expected: Option<i64>, offers: &[(&str, Option<Offer>)]) -> Command {
    Command::Complete(Box::new(Completing {
        order,
        payment: payment(),
        expected_total: expected.map(gbp),
        offers: offers.iter().map(|(name, offer)| (sku(name), offer.clone())).collect(),
    }))
}

fn decided(order: OrderId, refusal: Option<OrderRefusal>) -> Command {
    Command::Decided { order, order_version: 9, refusal }
}

/// Two of A at 1.00 and one of B at 0.50, with a contact: 2.50.
pub(super) fn ready() -> Given<State> {
    with(&[("A", 2, 100), ("B", 1, 50)]).when(Command::SetContact { contact: Box::new(contact()) })
}

pub(super) fn now(a: i64, b: i64) -> [(&'static str, Option<Offer>); 2] {
    [("A", Some(offer(a))), ("B", Some(offer(b)))]
}

#[test]
fn a_cart_becomes_one_order() {
    let given = ready()
        .when(complete(ORDER, Some(250), &now(100, 50)))
        .then(Reply::Started { order: ORDER })
        .again()
        .then(Reply::Started { order: ORDER })
        .unchanged()
        .settled(false)
        .wakes_at(None)
        .owes([&format!("place:{ORDER}")]);
    let (to, order::Command::Place { placement }) = given.owed::<Order>(&format!("place:{ORDER}")) else {
        panic!("a placement")
    };
    assert_eq!(to, ORDER.to_string());
    assert_eq!((placement.cart, placement.order, placement.request), (CART, ORDER, request(3)));
    assert_eq!((placement.lines.len(), placement.lines[0].total), (2, gbp(200)));
    assert_eq!((placement.totals.total, &placement.contact), (gbp(250), &contact()));
    given
        .when_answered::<Order>(&format!("place:{ORDER}"), Ok(order::Reply::Placed))
        .events([Event::Placed])
        .settled(false)
        .owes([])
        .when(decided(OrderId(12), None))
        .unchanged()
        .when(decided(ORDER, None))
        .then(Reply::Noted)
        .events([Event::Completed { order_version: 9 }])
        .settled(true)
        .again()
        .unchanged()
        .state(|cart| {
            let completion = cart.completion.as_ref().expect("completed");
            assert_eq!((completion.order, completion.order_version, &completion.payment), (ORDER, 9, &None));
        })
        .when(complete(OrderId(12), None, &now(100, 50)))
        .then(Reply::Already { order: ORDER })
        .unchanged()
        .when(add("A", 1, 1))
        .refused(Rejection::Closed { status: CartStatus::Completed });
}

#[test]
fn a_decision_may_overtake_the_answer_to_the_placement() {
    ready()
        .when(complete(ORDER, None, &now(100, 50)))
        .when(decided(ORDER, None))
        .events([Event::Completed { order_version: 9 }])
        .owes([])
        .when(Command::PlaceAnswered { order: ORDER })
        .unchanged();
}

#[test]
fn nothing_changes_while_an_order_decides() {
    let busy = Rejection::CompletionInProgress { order: ORDER };
    ready()
        .when(complete(ORDER, None, &now(100, 50)))
        .when(complete(OrderId(12), None, &now(100, 50)))
        .refused(busy.clone())
        .when(add("A", 1, 100))
        .refused(busy.clone())
        .when(Command::SetQuantity { line: LineId(1), quantity: None })
        .refused(busy.clone())
        .when(Command::SetContact { contact: Box::new(contact()) })
        .refused(busy.clone())
        .when(Command::Merge { from: OTHER, strategy: MergeStrategy::Sum })
        .refused(busy.clone())
        .when(Command::Surrender { merge: request(99), to: OTHER })
        .refused(busy)
        .after_ms(2 * TTL_MS)
        .when(Command::Expire)
        .unchanged();
}

#[test]
fn a_refused_order_opens_the_cart_again() {
    let refusal = OrderRefusal::of(RefusalCode::PaymentFailed);
    ready()
        .when(complete(ORDER, None, &now(100, 50)))
        .when_answered::<Order>(&format!("place:{ORDER}"), Ok(order::Reply::Placed))
        .after_ms(10)
        .when(decided(ORDER, Some(refusal.clone())))
        .settled(true)
        .again()
        .unchanged()
        .wakes_at(Some(START.plus_ms(TTL_MS + 10)))
        .state(|cart| {
            let refused = cart.completion_refused(&request(3)).expect("refused");
            assert_eq!((refused.order, refused.order_version, &refused.refusal), (ORDER, 9, &refusal));
            assert_eq!((cart.order(), cart.completion_refused(&request(4))), (None, None));
        })
        .when(complete(OrderId(12), None, &now(100, 50)))
        .then(Reply::Started { order: OrderId(12) })
        .when(decided(ORDER, None))
        .unchanged();
}

#[test]
fn an_order_that_will_not_have_the_placement_opens_the_cart_again() {
    ready()
        .when(complete(ORDER, None, &now(100, 50)))
        .when_answered::<Order>(&format!("place:{ORDER}"), Err(order::Rejection::AlreadyPlaced))
        .settled(true)
        .state(|cart| {
            let refused = cart.last_refusal.as_ref().expect("refused");
            assert_eq!(refused.refusal.code, RefusalCode::InvalidPlacement);
        });
}

#[test]
fn prices_are_those_that_the_customer_has_seen() {
    ready()
        .when(complete(ORDER, None, &now(110, 50)))
        .then(Reply::Repriced { total: gbp(270) })
        .events([Event::Repriced { lines: vec![line(1, "A", 2, 110)], expires_at: START.plus_ms(TTL_MS) }])
        .settled(true)
        .when(complete(ORDER, Some(250), &now(110, 50)))
        .then(Reply::Repriced { total: gbp(270) })
        .unchanged()
        .when(complete(ORDER, None, &now(110, 50)))
        .then(Reply::Started { order: ORDER });
}

#[test]
fn who_expects_the_new_total_gets_it() {
    ready().when(complete(ORDER, Some(240), &now(90, 60))).then(Reply::Started { order: ORDER }).state(|cart| {
        assert_eq!((cart.totals().total, cart.lines.by_sku(&sku("B"))), (gbp(240), Some(&line(2, "B", 1, 60))))
    });
}

#[test]
fn only_a_cart_that_has_everything_is_completed() {
    let requirements = vec![Requirement::CartEmpty, Requirement::ContactRequired];
    guest().when(complete(ORDER, None, &[])).refused(Rejection::NotReady { requirements });
    let gone = |offers: &[(&str, Option<Offer>)]| ready().when(complete(ORDER, None, offers));
    gone(&[("A", Some(offer(100))), ("B", None)]).refused(Rejection::SkuGone { line: 1, sku: sku("B") });
    gone(&[("A", Some(Offer { published: false, ..offer(100) })), ("B", None)])
        .refused(Rejection::SkuGone { line: 0, sku: sku("A") });
    gone(&[("A", Some(offer(100)))]).refused(Rejection::OfferMissing { sku: sku("B") });
}
