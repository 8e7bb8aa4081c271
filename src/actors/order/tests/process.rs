//! The way forward and the ways back: given, when, then.

use super::partners::{Partners, authorising, capturing, committing, confirmed, is, placed, refused_as};
use std::sync::Arc;

use super::fixture::{ADA, ORDER, gbp, many_lines, pieces, placement};
use crate::actors::entity::Policy;
use crate::actors::order::Event;
use crate::actors::order::types::{
    Command, OrderRefusal, OrderStatus, PaymentStatus, RefusalCode, Rejection, Reply, State, Step, TIMELINE_MAX,
    TimelineType,
};
use crate::actors::order_number::types::{self as order_number, OrderNumber};
use crate::actors::payment::types::PaymentAnswer;
use crate::actors::sku::types::{self as sku, StockUnit};
use crate::actors::testkit::{Given, START};
use crate::actors::values::{LineId, RefundId};

#[test]
fn the_straight_way() {
    let table = placed()
        .settled(false)
        .owes(["number:0", "reserve:1"])
        .number_claimed()
        .owes(["reserve:1"])
        .reserved(1)
        .owes(["reserve:0"])
        .reserved(0)
        .owes(["authorise"])
        .wakes_at(Some(START.plus_ms(Policy::default().payment_timeout_ms)))
        .state(is(OrderStatus::Pending, PaymentStatus::None))
        .approved("authorise")
        .wakes_at(None)
        .state(is(OrderStatus::Pending, PaymentStatus::Authorized))
        .owes(["commit:1", "commit:0"])
        .committed(0)
        .owes(["commit:1"])
        .committed(1)
        .owes(["capture"])
        .approved("capture")
        .events([Event::Captured, Event::Confirmed { version: 8 }])
        .state(is(OrderStatus::Confirmed, PaymentStatus::Captured))
        .owes(["customer"])
        .told_customer()
        .owes(["cart"]);
    assert_eq!(refused_as(&table), None);
    let told: Vec<TimelineType> = table.state.timeline.iter().map(|entry| entry.kind).collect();
    let expected =
        [TimelineType::Placed, TimelineType::PaymentAuthorized, TimelineType::PaymentCaptured, TimelineType::Confirmed];
    assert_eq!(told, expected);
    table.settled(false).told_cart().settled(true).owes([]);
}

#[test]
fn what_is_asked_of_a_sku_names_order_and_quantity() {
    let (id, command) = placed().number_claimed().reserved(1).owed::<StockUnit>("reserve:0");
    assert_eq!(id, "TEE-M");
    assert!(matches!(command, sku::Command::Reserve { order: ORDER, quantity } if quantity == pieces(2)));
}

#[test]
fn a_guest_has_no_list_and_an_order_that_costs_nothing_no_payment() {
    let gift = Arc::new(placement(None, &[("TEE-M", 1, 0)]));
    Given::<State>::new()
        .when(Command::Place { placement: gift })
        .number_claimed()
        .reserved(0)
        .owes(["commit:0"])
        .committed(0)
        .state(is(OrderStatus::Confirmed, PaymentStatus::Captured))
        .owes(["cart"])
        .told_cart()
        .settled(true)
        .refund_asked(1, 1)
        .refused(Rejection::RefundExceedsCaptured { remaining: gbp(0) });
}

#[test]
fn a_number_that_is_taken_makes_way_for_the_next() {
    let table = placed().when_answered::<OrderNumber>("number:0", Err(order_number::Rejection::Taken));
    let (first, _) = placed().owed::<OrderNumber>("number:0");
    let (second, _) = table.owed::<OrderNumber>("number:1");
    assert_ne!(first, second);
    let table = table.owes(["number:1", "reserve:1"]).reserved(1).reserved(0).owes(["number:1"]);
    table
        .when_answered::<OrderNumber>("number:1", Ok(order_number::Reply::Claimed))
        .owes(["authorise"])
        .state(|order| assert_eq!(order.number.as_ref().map(|number| number.as_str()), Some(second.as_str())));
}

#[test]
fn placing_again_is_placing_once() {
    let same = placement(Some(ADA), &[("TEE-M", 2, 1000), ("CAP", 1, 500)]);
    let other = crate::actors::order::types::Placement { request: Default::default(), ..same.clone() };
    placed()
        .when(Command::Place { placement: Arc::new(same) })
        .then(Reply::Placed)
        .unchanged()
        .when(Command::Place { placement: Arc::new(other) })
        .refused(Rejection::AlreadyPlaced);
    Given::<State>::new().cancelled().refused(Rejection::NotPlaced);
}

#[test]
fn a_placement_that_contradicts_itself_asks_for_nothing() {
    let sound = placement(None, &[("TEE-M", 2, 1000)]);
    let mut dearer = sound.clone();
    dearer.totals.total = gbp(9999);
    let mut twice = sound.clone();
    twice.lines.extend(sound.lines.clone());
    twice.totals = crate::actors::values::Totals::of_goods(gbp(4000));
    let empty = placement(None, &[]);
    let mut half_price = sound;
    half_price.lines[0].total = gbp(1000);
    half_price.totals = crate::actors::values::Totals::of_goods(gbp(1000));
    for unsound in [dearer, twice, empty, half_price] {
        let table = Given::<State>::new()
            .when(Command::Place { placement: Arc::new(unsound) })
            .then(Reply::Placed)
            .owes(["number:0"])
            .number_claimed()
            .state(is(OrderStatus::Rejected, PaymentStatus::None))
            .owes(["cart"]);
        assert_eq!(refused_as(&table).map(|why| why.code), Some(RefusalCode::InvalidPlacement));
    }
}

#[test]
fn too_little_stock_gives_back_what_is_held_and_then_rejects() {
    let short = sku::Rejection::InsufficientStock { available: 1, requested: 2 };
    let table = placed()
        .number_claimed()
        .reserved(1)
        .when_answered::<StockUnit>("reserve:0", Err(short))
        .state(is(OrderStatus::Pending, PaymentStatus::None))
        .owes(["release:1"])
        .released(1)
        .state(is(OrderStatus::Rejected, PaymentStatus::None))
        .owes(["cart"]);
    let expected = OrderRefusal {
        code: RefusalCode::InsufficientStock,
        sku: Some("TEE-M".parse().expect("a SKU")),
        line: Some(0),
        available: Some(1),
        requested: Some(2),
        decline: None,
    };
    assert_eq!(refused_as(&table), Some(expected.clone()));
    table.told_cart().settled(true).owes([]).state(|order| assert_eq!(order.rejection(), Some(&expected)));
}

#[test]
fn a_sku_that_is_gone_rejects() {
    let table = placed().number_claimed().when_answered::<StockUnit>("reserve:1", Err(sku::Rejection::Unknown));
    let why = refused_as(&table.owes(["cart"])).expect("rejected");
    assert_eq!((why.code, why.line, why.available), (RefusalCode::SkuGone, Some(1), None));
}

#[test]
fn the_number_is_awaited_even_by_an_order_that_failed() {
    placed()
        .when_answered::<StockUnit>("reserve:1", Err(sku::Rejection::Unknown))
        .owes(["number:0"])
        .settled(false)
        .number_claimed()
        .owes(["cart"]);
}

#[test]
fn a_declined_payment_releases_and_rejects() {
    let table = authorising()
        .declined("authorise")
        .owes(["release:1", "release:0"])
        .released(0)
        .released(1)
        .state(is(OrderStatus::Rejected, PaymentStatus::Failed))
        .owes(["cart"]);
    let why = refused_as(&table).expect("rejected");
    assert_eq!((why.code, why.decline.as_deref()), (RefusalCode::PaymentFailed, Some("card_declined")));
}

#[test]
fn a_provider_that_does_not_answer_is_voided_and_the_void_owed_until_confirmed() {
    let timeout_ms = Policy::default().payment_timeout_ms;
    let table = authorising()
        .after_ms(timeout_ms - 1)
        .when(Command::Wake)
        .unchanged()
        .when_woken()
        .owes(["release:1", "release:0", "void:1"])
        .wakes_at(None)
        .released(1)
        .released(0)
        .state(is(OrderStatus::Pending, PaymentStatus::None))
        .wakes_at(Some(START.plus_ms(timeout_ms + 5_000)));
    // The provider confirms: nothing is left to wait for.
    let confirmed = authorising().when_woken().released(1).released(0).approved("void:1");
    confirmed.state(is(OrderStatus::Rejected, PaymentStatus::Voided)).owes(["cart"]);
    // It does not: the cart is told all the same, and nobody waits for the void.
    let table = table.when_woken().state(is(OrderStatus::Rejected, PaymentStatus::None)).owes(["void:1", "cart"]);
    assert_eq!(refused_as(&table).map(|why| why.code), Some(RefusalCode::PaymentTimeout));
    let table = table.told_cart().settled(true).owes(["void:1"]);
    table.approved("void:1").state(is(OrderStatus::Rejected, PaymentStatus::Voided)).owes([]);
}

#[test]
fn a_declined_void_confirms_nothing() {
    let table = authorising().when_woken();
    let answer = crate::actors::entity::Answer(Arc::new(PaymentAnswer::Declined { code: "busy".into() }));
    assert!(crate::actors::entity::Entity::answered(&table.state, "void:1", &answer).is_none());
}

#[test]
fn an_approval_that_comes_too_late_is_voided_once_more_and_never_captured() {
    let late = Command::Answered(Step::Authorised);
    let gave_up = || authorising().when_woken().released(1).released(0);
    let while_voiding = gave_up().when(late.clone()).events([Event::ApprovedLate]).owes(["void:2"]);
    let while_voiding = while_voiding.when(Command::Answered(Step::Voided { attempt: 1 })).unchanged();
    while_voiding.approved("void:2").state(is(OrderStatus::Rejected, PaymentStatus::Voided)).owes(["cart"]);
    gave_up()
        .approved("void:1")
        .told_cart()
        .when(late.clone())
        .owes(["void:2"])
        .state(is(OrderStatus::Rejected, PaymentStatus::Authorized))
        .settled(true)
        .approved("void:2")
        .owes([])
        .when(late)
        .unchanged();
}

#[test]
fn an_expired_reservation_undoes_what_was_committed() {
    let table = committing()
        .committed(0)
        .expired(1)
        .owes(["restock:0", "void:1"])
        .state(is(OrderStatus::Pending, PaymentStatus::Authorized))
        .approved("void:1")
        .restocked(0)
        .state(is(OrderStatus::Rejected, PaymentStatus::Voided))
        .owes(["cart"]);
    let why = refused_as(&table).expect("rejected");
    assert_eq!((why.code, why.line, why.requested), (RefusalCode::ReservationExpired, Some(1), Some(1)));
}

#[test]
fn commits_in_flight_are_answered_before_they_are_undone() {
    let mut table = Given::<State>::new().when(Command::Place { placement: many_lines(20) }).number_claimed();
    for line in (0..20).rev() {
        table = table.reserved(line);
    }
    // Lines stand in descending SKU order: 19 is the first, 4 the last of sixteen in flight.
    table = table.approved("authorise").committed(18);
    let in_flight = table.owed_keys();
    assert_eq!((in_flight.len(), in_flight[0].as_str(), in_flight[15].as_str()), (16, "commit:19", "commit:3"));
    table = table.expired(3);
    let owed = table.owed_keys();
    let expected = ["commit:19", "restock:18", "commit:17", "commit:16"];
    assert_eq!(owed[..4], expected, "asked ones first, the committed one goes back");
    assert!(owed.contains(&"void:1".to_owned()) && !owed.contains(&"release:19".to_owned()));
    table = table.committed(19);
    assert_eq!(table.owed_keys()[0], "restock:19");
    table = table.expired(17);
    assert!(!table.owed_keys().iter().any(|key| key.ends_with(":17")));
}

#[test]
fn a_capture_that_is_declined_gives_everything_back() {
    capturing()
        .declined("capture")
        .owes(["restock:1", "restock:0", "void:1"])
        .restocked(1)
        .restocked(0)
        .state(is(OrderStatus::Pending, PaymentStatus::Authorized))
        .approved("void:1")
        .state(is(OrderStatus::Rejected, PaymentStatus::Voided))
        .owes(["cart"]);
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let strays = [
        Step::NumberClaimed { attempt: 0 },
        Step::NumberTaken { attempt: 0 },
        Step::Reserved { line: 0 },
        Step::ReserveRefused { line: 1, available: Some(0) },
        Step::Committed { line: 1 },
        Step::CommitRefused { line: 0 },
        Step::Released { line: 0 },
        Step::Restocked { line: 0 },
        Step::Reserved { line: 77 },
        Step::Authorised,
        Step::AuthoriseDeclined { code: "late".into() },
        Step::Captured,
        Step::CaptureDeclined { code: "late".into() },
        Step::Voided { attempt: 1 },
        Step::Refunded { refund: RefundId(1) },
        Step::RefundDeclined { refund: RefundId(1), code: "late".into() },
        Step::CustomerTold,
        Step::CartTold,
    ];
    let mut table = confirmed();
    for stray in strays {
        table = table.when(Command::Answered(stray)).then(Reply::Noted).unchanged();
    }
}

#[test]
fn the_timeline_forgets_its_oldest_entries() {
    let placement = Arc::new(placement(None, &[("TEE-M", 1_000, 1)]));
    let mut table = Given::<State>::new().when(Command::Place { placement }).number_claimed().reserved(0);
    table = table.approved("authorise").committed(0).approved("capture").told_cart();
    for _ in 0..TIMELINE_MAX + 10 {
        table = table.when(Command::Fulfil { lines: Some(vec![(LineId(1), pieces(1))]), tracking: None });
    }
    assert_eq!(table.state.timeline.len(), TIMELINE_MAX);
}
