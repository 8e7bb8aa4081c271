//! Cancelling, refunding, fulfilling: given, when, then.

use super::partners::{Partners, authorising, capturing, committing, confirmed, is, placed, refused_as};

use super::fixture::{gbp, pieces};
use crate::actors::order::types::{
    Command, FulfillmentStatus, OrderStatus, PaymentStatus, RefundStatus, RefusalCode, Rejection, Reply,
};
use crate::actors::values::{Currency, LineId, Money, RefundId};

#[test]
fn cancelling_a_pending_order_waits_for_what_is_in_flight_and_charges_nothing() {
    let table = placed()
        .number_claimed()
        .reserved(1)
        .cancelled()
        .then(Reply::Cancelled)
        .owes(["reserve:0", "release:1"])
        .reserved(0)
        .owes(["release:1", "release:0"])
        .cancelled()
        .unchanged()
        .released(1)
        .released(0)
        .state(is(OrderStatus::Cancelled, PaymentStatus::None))
        .settled(false)
        .owes(["cart"]);
    assert_eq!(refused_as(&table).map(|why| why.code), Some(RefusalCode::Cancelled));
    table.told_cart().settled(true);

    authorising().cancelled().owes(["release:1", "release:0", "void:1"]);
    committing()
        .cancelled()
        .owes(["commit:1", "commit:0", "void:1"])
        .expired(0)
        .committed(1)
        .owes(["restock:1", "void:1"]);
}

#[test]
fn cancelling_during_the_capture_takes_effect_when_it_is_answered() {
    let wished = || capturing().cancelled().then(Reply::Cancelled).owes(["capture"]).settled(false);
    wished()
        .approved("capture")
        .state(is(OrderStatus::Cancelled, PaymentStatus::Captured))
        .told_customer()
        .restocked(0)
        .restocked(1)
        .state(|order| assert!(order.confirmed && order.refunds.len() == 1));
    let table = wished().declined("capture").restocked(0).restocked(1).approved("void:1");
    let table = table.state(is(OrderStatus::Cancelled, PaymentStatus::Voided));
    assert_eq!(refused_as(&table).map(|why| why.code), Some(RefusalCode::Cancelled));
}

#[test]
fn cancelling_a_confirmed_order_restocks_and_refunds_once() {
    let table = confirmed().cancelled().then(Reply::Cancelled).settled(false);
    let refund = table.state.refunds[0].id;
    let key = format!("refund:{refund}");
    let table = table
        .state(is(OrderStatus::Cancelled, PaymentStatus::Captured))
        .owes(["restock:1", "restock:0", &key])
        .cancelled()
        .then(Reply::Cancelled)
        .unchanged()
        .restocked(1)
        .restocked(0)
        .settled(false)
        .approved(&key)
        .state(is(OrderStatus::Cancelled, PaymentStatus::Refunded))
        .settled(true)
        .owes([]);
    table
        .refund_asked(9, 1)
        .refused(Rejection::RefundExceedsCaptured { remaining: gbp(0) })
        .when(Command::Fulfil { lines: None, tracking: None })
        .refused(Rejection::WrongStatus { status: OrderStatus::Cancelled });
}

#[test]
fn two_refunds_in_flight_never_exceed_what_was_captured() {
    let (one, two) = (format!("refund:{}", RefundId(1)), format!("refund:{}", RefundId(2)));
    confirmed()
        .refund_asked(1, 1500)
        .then(Reply::RefundAsked { refund: RefundId(1) })
        .settled(false)
        .refund_asked(2, 1001)
        .refused(Rejection::RefundExceedsCaptured { remaining: gbp(1000) })
        .refund_asked(2, 1000)
        .owes([&one, &two])
        .refund_asked(1, 1500)
        .unchanged()
        .refund_asked(3, 1)
        .refused(Rejection::RefundExceedsCaptured { remaining: gbp(0) })
        .approved(&two)
        .state(is(OrderStatus::Confirmed, PaymentStatus::PartiallyRefunded))
        .declined(&one)
        .settled(true)
        .state(|order| {
            assert_eq!(order.refunds[0].status, RefundStatus::Failed);
            assert_eq!(order.refundable(), 1500);
        })
        .when(Command::Refund { refund: RefundId(4), amount: None, reason: "all".into() })
        .approved(&format!("refund:{}", RefundId(4)))
        .state(is(OrderStatus::Confirmed, PaymentStatus::Refunded));
}

#[test]
fn a_refund_is_a_positive_amount_in_the_currency_of_the_order() {
    let eur = Money::new(1, "EUR".parse::<Currency>().expect("a currency"));
    confirmed()
        .refund_asked(1, 0)
        .refused(Rejection::InvalidAmount)
        .when(Command::Refund { refund: RefundId(1), amount: Some(eur), reason: String::new() })
        .refused(Rejection::InvalidAmount);
    capturing().refund_asked(1, 1).refused(Rejection::RefundExceedsCaptured { remaining: gbp(0) });
}

#[test]
fn cancelling_counts_refunds_in_flight_and_asks_back_what_they_fail_to_pay() {
    let one = format!("refund:{}", RefundId(1));
    let table = confirmed().refund_asked(1, 1000).cancelled();
    let amounts: Vec<i64> = table.state.refunds.iter().map(|refund| refund.amount.amount).collect();
    assert_eq!(amounts, [1000, 1500]);
    let rest = format!("refund:{}", table.state.refunds[1].id);
    let table = table.approved(&rest).declined(&one);
    let again = table.state.refunds[2].clone();
    assert_eq!((again.amount, again.by_cancel), (gbp(1000), true));
    // What is declined to the cancellation itself is left to people.
    let table = table.declined(&format!("refund:{}", again.id)).restocked(0).restocked(1).settled(true).owes([]);
    let table = table.state(is(OrderStatus::Cancelled, PaymentStatus::PartiallyRefunded));
    table
        .refund_asked(5, 1000)
        .approved(&format!("refund:{}", RefundId(5)))
        .state(is(OrderStatus::Cancelled, PaymentStatus::Refunded));
}

#[test]
fn fulfilment_goes_line_by_line_and_ends_cancelling() {
    let fulfil = |lines: &[(u128, u32)]| Command::Fulfil {
        lines: Some(lines.iter().map(|(line, n)| (LineId(*line), pieces(*n))).collect()),
        tracking: Some("RM 1".into()),
    };
    let partly = || confirmed().when(fulfil(&[(1, 1)])).then(Reply::Fulfilled);
    partly()
        .state(|order| assert_eq!(order.fulfillment_status(), FulfillmentStatus::PartiallyFulfilled))
        .cancelled()
        .refused(Rejection::AlreadyFulfilled)
        .when(fulfil(&[(1, 1), (1, 1)]))
        .refused(Rejection::ExceedsUnfulfilled { line: LineId(1), remaining: 1 })
        .when(fulfil(&[(3, 1)]))
        .refused(Rejection::UnknownLine { line: LineId(3) })
        .when(fulfil(&[]))
        .refused(Rejection::NothingToFulfil)
        .when(fulfil(&[(1, 1), (2, 1)]))
        .state(is(OrderStatus::Completed, PaymentStatus::Captured))
        .state(|order| assert_eq!(order.fulfillment_status(), FulfillmentStatus::Fulfilled))
        .cancelled()
        .refused(Rejection::AlreadyFulfilled)
        .when(fulfil(&[(1, 1)]))
        .refused(Rejection::WrongStatus { status: OrderStatus::Completed });
    let all = Command::Fulfil { lines: None, tracking: None };
    partly().when(all.clone()).state(is(OrderStatus::Completed, PaymentStatus::Captured));
    placed().when(all).refused(Rejection::WrongStatus { status: OrderStatus::Pending });
}

#[test]
fn a_failed_order_cannot_be_cancelled_and_a_completed_one_can_be_refunded() {
    let rejected = authorising().declined("authorise");
    let wrong = Rejection::WrongStatus { status: OrderStatus::Rejected };
    rejected.cancelled().refused(wrong.clone()).released(0).released(1).cancelled().refused(wrong);
    confirmed()
        .when(Command::Fulfil { lines: None, tracking: None })
        .refund_asked(1, 2500)
        .approved(&format!("refund:{}", RefundId(1)))
        .state(is(OrderStatus::Completed, PaymentStatus::Refunded));
}
