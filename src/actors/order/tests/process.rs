//! The way forward and the ways back: given, when, then.

use super::partners::{Partners, authorising, capturing, committing, confirmed, is, placed, refused_as};
use std::sync::Arc;

use super::fixture::{ADA, ORDER, gbp, many_lines, pieces, placement};
use crate::actors::order::Event;
use crate::actors::order::types::{
    Command, OrderRefusal, OrderStatus, PaymentStatus, RefusalCode, Rejection, Reply, State, Step, TIMELINE_MAX,
    TimelineType,
};
use crate::actors::order_number::types::{self as order_number, OrderNumber};
use crate::actors::payment::types::PaymentAnswer;
use crate::actors::sku::types::{self as sku, StockUnit};
use crate::actors::testing::kit::{Given, START};
use crate::actors::values::{LineId, RefundId};
use crate::config::Config;

#[test]
fn the_straight_way() {
    let table = placed()
        .settled(false)
        .owes(["number:0", "reserve:1", "reserve:0"])
        .number_claimed()
        .owes(["reserve:1", "reserve:0"])
        .reserved(1)
        .owes(["reserve:0"])
        .reserved(0)
        .owes(["authorise"])
        .wakes_at(Some(START.plus_ms(Config::default().payment.timeout_ms)))
        .state(is(OrderStatus::Pending, PaymentStatus::None))
        .approved("authorise")
        .wakes_at(Some(START.plus_ms(Config::default().order.decide_ms)))
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
    let sku::Command::Reserve { order, quantity, placed_at, item } = command else { panic!("{command:?}") };
    assert_eq!((order, quantity, placed_at), (ORDER, pieces(2), START));
    assert_eq!(item, placement(None, &[("TEE-M", 2, 1000)]).lines[0].item());
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
        .state(is(OrderStatus::Confirmed, PaymentStatus::None))
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
    let table = table.owes(["number:1", "reserve:1", "reserve:0"]).reserved(1).reserved(0).owes(["number:1"]);
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
    // The other one is in flight: first its answer, then its release.
    let table = table.owes(["reserve:0"]).reserved(0).owes(["release:0"]).released(0);
    let why = refused_as(&table.owes(["cart"])).expect("rejected");
    assert_eq!((why.code, why.line, why.available), (RefusalCode::SkuGone, Some(1), None));
}

#[test]
fn the_number_is_awaited_even_by_an_order_that_failed() {
    placed()
        .reserved(0)
        .when_answered::<StockUnit>("reserve:1", Err(sku::Rejection::Unknown))
        .owes(["number:0", "release:0"])
        .released(0)
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
    let timeout_ms = Config::default().payment.timeout_ms;
    let table = authorising()
        .after_ms(timeout_ms - 1)
        .when(Command::Wake)
        .unchanged()
        .when_woken()
        .owes(["release:1", "release:0", "void:1"])
        .wakes_at(Some(START.plus_ms(timeout_ms + 5_000)))
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
    let mut table = Given::<State>::new().when(Command::Place { placement: many_lines(200) }).number_claimed();
    for line in (0..200).rev() {
        table = table.reserved(line);
    }
    // Lines stand in descending SKU order: 199 is the first.
    table = table.approved("authorise");
    for line in (100..200).rev() {
        table = table.committed(line);
    }
    let in_flight = table.owed_keys();
    assert_eq!((in_flight.len(), in_flight[0].as_str(), in_flight[63].as_str()), (64, "commit:99", "commit:36"));
    // More is committed than can be restocked at once, and yet what is in flight stays owed.
    table = table.expired(50);
    let owed = table.owed_keys();
    assert_eq!(owed.len(), 65, "{owed:?}");
    assert!(in_flight.iter().filter(|key| *key != "commit:50").all(|key| owed.contains(key)), "{owed:?}");
    assert!(owed.contains(&"void:1".to_owned()) && owed.contains(&"restock:199".to_owned()));
    table = table.committed(99);
    assert_eq!(table.owed_keys().len(), 65);
    table = table.expired(97);
    assert!(!table.owed_keys().iter().any(|key| key.ends_with(":97")));
    while let Some(key) = table.owed_keys().into_iter().find(|key| !key.starts_with("void")) {
        let (what, line) = key.split_once(':').expect("a line");
        let line = line.parse().expect("a line");
        table = match what {
            "commit" => table.committed(line),
            "restock" => table.restocked(line),
            _ => table.released(line),
        };
    }
    table.approved("void:1").state(is(OrderStatus::Rejected, PaymentStatus::Voided));
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
        Step::Reserved { line: 0, attempt: 0 },
        Step::ReserveRefused { line: 1, attempt: 0, available: Some(0) },
        Step::Committed { line: 1 },
        Step::CommitRefused { line: 0 },
        Step::Released { line: 0 },
        Step::Restocked { line: 0 },
        Step::Reserved { line: 77, attempt: 0 },
        Step::Contended { line: 0, attempt: 0 },
        Step::Authorised,
        Step::AuthoriseDeclined { code: "late".into() },
        Step::Captured,
        Step::CaptureDeclined { code: "late".into() },
        Step::Voided { attempt: 1 },
        Step::Refunded { refund: RefundId(1) },
        Step::RefundDeclined { refund: RefundId(1), code: "late".into() },
        Step::CustomerTold,
        Step::CartTold { again: 0 },
        Step::CartTold { again: 1 },
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

fn contended(table: super::partners::Table, key: &str) -> super::partners::Table {
    table.when_answered::<StockUnit>(key, Err(sku::Rejection::Contended))
}

#[test]
fn a_contended_line_is_asked_for_again_after_a_pause_under_a_new_key() {
    // The provider may take more than half of the time: the stock has the other half.
    let reserve_ms = Config::default().order.decide_ms.div_ceil(2);
    let table = contended(placed().number_claimed(), "reserve:1")
        .events([Event::Contended { line: 1, again_at: START.plus_ms(20) }])
        .owes(["reserve:0"])
        .wakes_at(Some(START.plus_ms(20)))
        .when(Command::Wake)
        .unchanged()
        .reserved(0)
        .owes([])
        .when_woken()
        .events([Event::AskedAgain { lines: vec![1] }])
        .owes(["reserve:1:1"])
        .wakes_at(Some(START.plus_ms(reserve_ms)))
        // The answer to the first question says nothing of the second.
        .when(Command::Answered(Step::Reserved { line: 1, attempt: 0 }))
        .unchanged();
    let table = contended(table, "reserve:1:1").wakes_at(Some(START.plus_ms(20 + 40))).when_woken();
    table.owes(["reserve:1:2"]).when_answered::<StockUnit>("reserve:1:2", Ok(sku::Reply::Reserved)).owes(["authorise"]);
}

#[test]
fn turning_back_clears_what_is_contended_and_awaits_what_is_in_flight() {
    // Line 1 pauses, line 0 was asked again and is in flight.
    let table = contended(contended(placed().number_claimed(), "reserve:0").when_woken(), "reserve:1");
    table
        .owes(["reserve:0:1"])
        .cancelled()
        .owes(["reserve:0:1"])
        .when_answered::<StockUnit>("reserve:0:1", Err(sku::Rejection::Contended))
        .state(is(OrderStatus::Cancelled, PaymentStatus::None))
        .owes(["cart"]);
}

#[test]
fn a_sku_that_never_answers_rejects_the_order_which_goes_on_owing_the_undo() {
    let table = placed().number_claimed().reserved(1).when_woken().owes(["reserve:0", "release:1"]).released(1);
    let table = table.settled(false).when_woken().state(is(OrderStatus::Rejected, PaymentStatus::None));
    assert_eq!(refused_as(&table).map(|why| why.code), Some(RefusalCode::OrderTimeout));
    let table = table.owes(["reserve:0", "cart"]).told_cart().settled(true).wakes_at(None);
    // It answers after all: what it held is given back.
    table.reserved(0).owes(["release:0"]).released(0).owes([]).state(is(OrderStatus::Rejected, PaymentStatus::None));
}

#[test]
fn a_number_that_never_comes_rejects_the_order() {
    let table = placed().reserved(1).reserved(0).when_woken().owes(["number:0", "release:1", "release:0"]);
    let table = table.released(1).released(0).when_woken().owes(["number:0", "cart"]);
    assert_eq!(refused_as(&table).map(|why| why.code), Some(RefusalCode::OrderTimeout));
    table.told_cart().settled(true).number_claimed().owes([]);
}

#[test]
fn a_commit_that_is_never_answered_rejects_the_order_and_is_restocked_when_it_is() {
    let table = committing().committed(1).when_woken().owes(["commit:0", "restock:1", "void:1"]);
    let table = table.restocked(1).approved("void:1").when_woken().owes(["commit:0", "cart"]);
    assert_eq!(refused_as(&table).map(|why| why.code), Some(RefusalCode::OrderTimeout));
    let table = table.told_cart().settled(true).committed(0).owes(["restock:0"]);
    table.restocked(0).owes([]).state(is(OrderStatus::Rejected, PaymentStatus::Voided));
}

#[test]
fn a_cart_that_places_a_decided_order_again_is_told_again() {
    let same = Arc::new(placement(Some(ADA), &[("TEE-M", 2, 1000), ("CAP", 1, 500)]));
    confirmed()
        .when(Command::Place { placement: same })
        .then(Reply::Placed)
        .owes(["cart:1"])
        .settled(false)
        .when(Command::Answered(Step::CartTold { again: 0 }))
        .unchanged()
        .when_answered::<crate::actors::cart::types::Cart>("cart:1", Ok(crate::actors::cart::types::Reply::Noted))
        .owes([])
        .settled(true);
}

/// The version that a completion shows: other records may come between the decision and the telling, and after it.
#[test]
fn an_order_notes_its_version_when_the_cart_is_first_told() {
    let refund = |n| Command::Refund { refund: RefundId(n), amount: Some(gbp(5)), reason: "dent".into() };
    let table = capturing().approved("capture").when(refund(1)).told_customer().told_cart();
    let told = table.version;
    assert_eq!(table.state.told_version, Some(told));
    let again = Command::Place { placement: Arc::new(placement(Some(ADA), &[("TEE-M", 2, 1000), ("CAP", 1, 500)])) };
    let table = table.when(refund(2)).when(again);
    let table =
        table.when_answered::<crate::actors::cart::types::Cart>("cart:1", Ok(crate::actors::cart::types::Reply::Noted));
    assert!(table.version > told && table.state.cart_told);
    assert_eq!(table.state.told_version, Some(told));
}

#[test]
fn an_order_whose_cart_was_told_before_that_was_noted_notes_no_later_version() {
    let again = Command::Place { placement: Arc::new(placement(Some(ADA), &[("TEE-M", 2, 1000), ("CAP", 1, 500)])) };
    let old = capturing().approved("capture").told_customer().history([Event::CartTold { version: None }]);
    let table = old
        .when(again)
        .when_answered::<crate::actors::cart::types::Cart>("cart:1", Ok(crate::actors::cart::types::Reply::Noted));
    assert_eq!((table.state.cart_told, table.state.told_version), (true, None));
}

#[test]
fn answers_that_come_together_are_one_record_and_mean_what_they_mean_alone() {
    let all = vec![Step::Reserved { line: 0, attempt: 0 }, Step::NumberClaimed { attempt: 0 }];
    let last = Step::Reserved { line: 1, attempt: 0 };
    let one_by_one = placed().when(Command::Answered(all[0].clone())).when(Command::Answered(all[1].clone()));
    let one_by_one = one_by_one.when(Command::Answered(last.clone()));
    let together = placed().when(Command::AnsweredAll([all, vec![last]].concat())).owes(["authorise"]);
    assert_eq!((&together.state, together.version + 2), (&one_by_one.state, one_by_one.version));
}

#[test]
fn an_order_from_before_goes_on_one_sku_after_the_other() {
    let placement = Arc::new(placement(Some(ADA), &[("TEE-M", 2, 1000), ("CAP", 1, 500)]));
    let old = Given::<State>::new().history([Event::Placed { placement, limits: None }]).number_claimed();
    old.owes(["reserve:1"]).reserved(1).owes(["reserve:0"]).reserved(0).owes(["authorise"]);
}
