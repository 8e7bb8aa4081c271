//! The bytes of everything an order stores, pinned for ever.

use std::sync::Arc;

use super::fixture::{gbp, placement};
use crate::actors::order::Event;
use crate::actors::order::types::{Limits, OrderRefusal, OrderStatus, Placement, RefusalCode, Rejection, Reply};
use crate::actors::testing::kit::assert_golden;
use crate::actors::values::{LineId, PaymentId, RefundId, Time};

fn refusal() -> OrderRefusal {
    OrderRefusal {
        code: RefusalCode::InsufficientStock,
        sku: Some("TEE-M".parse().expect("a SKU")),
        line: Some(1),
        available: Some(300),
        requested: Some(301),
        decline: Some("no".into()),
    }
}

/// As it was stored when lines did not know their variant.
fn before_variants() -> Placement {
    let mut placement = placement(None, &[("TEE-M", 2, 1000)]);
    placement.lines[0].variant = None;
    placement
}

#[test]
fn the_bytes_of_events_stay_as_they_are() {
    let refund = RefundId(3);
    assert_golden(&[
        (
            Event::Placed { placement: Arc::new(before_variants()), limits: None },
            "1.1 00000000000000000000000000000de40000000000000000000000000000ca4707070707070707070707070707070707004742500100000000000000000000000000000001055445452d4d000000000000000000000000000000650941727469636c65203002fbd007474250fba00f474250fba00f474250004742500047425000474250fba00f4742500f616461406578616d706c652e636f6d03416461000000000002474200000104504f203701076368616e6e656c037765620106746f6b5f6f6b",
        ),
        (
            Event::Placed {
                placement: Arc::new(before_variants()),
                limits: Some(Limits { reserve_by: Time(25_000), decide_by: Time(55_000) }),
            },
            "1.2 00000000000000000000000000000de40000000000000000000000000000ca4707070707070707070707070707070707004742500100000000000000000000000000000001055445452d4d000000000000000000000000000000650941727469636c65203002fbd007474250fba00f474250fba00f474250004742500047425000474250fba00f4742500f616461406578616d706c652e636f6d03416461000000000002474200000104504f203701076368616e6e656c037765620106746f6b5f6f6b01fb50c3fcb0ad0100",
        ),
        (
            Event::Placed {
                placement: Arc::new(placement(None, &[("TEE-M", 2, 1000)])),
                limits: Some(Limits { reserve_by: Time(25_000), decide_by: Time(55_000) }),
            },
            "1.3 00000000000000000000000000000de40000000000000000000000000000ca4707070707070707070707070707070707004742500100000000000000000000000000000001055445452d4d0000000000000000000000000000006501000000000000000000000000000000c90941727469636c65203002fbd007474250fba00f474250fba00f474250004742500047425000474250fba00f4742500f616461406578616d706c652e636f6d03416461000000000002474200000104504f203701076368616e6e656c037765620106746f6b5f6f6b01fb50c3fcb0ad0100",
        ),
        (
            Event::Placed {
                placement: Arc::new(placement(None, &[("TEE-M", 2, 1000)])),
                limits: Some(Limits { reserve_by: Time(25_000), decide_by: Time(55_000) }),
            },
            "1.4 00000000000000000000000000000de40000000000000000000000000000ca4707070707070707070707070707070707004742500100000000000000000000000000000001055445452d4d0000000000000000000000000000006501000000000000000000000000000000c90941727469636c65203002fbd007474250fba00f474250fba00f474250004742500047425000474250fba00f4742500f616461406578616d706c652e636f6d0341646100000000000247420000000104504f203701076368616e6e656c037765620106746f6b5f6f6b01fb50c3fcb0ad0100",
        ),
        (Event::NumberTaken, "2.1"),
        (Event::Numbered { number: "ABCD-1234".parse().expect("a number") }, "3.1 09414243442d31323334"),
        (Event::Reserved { line: 1999 }, "4.1 fbcf07"),
        (
            Event::PaymentAsked { payment: PaymentId(2), amount: gbp(2000), deadline: Time(30_000) },
            "5.1 00000000000000000000000000000002fba00f474250fb60ea",
        ),
        (Event::Authorised, "6.1"),
        (Event::Committed { line: 7 }, "7.1 07"),
        (Event::Captured, "8.1"),
        (Event::Confirmed { version: 9 }, "9.1 09"),
        (
            Event::Refused { refusal: refusal(), in_flight: 16, void_grace: Time(5_000) },
            "10.1 0101055445452d4d010101fb2c0101fb2d0101026e6f10fb1027",
        ),
        (Event::NothingHeld { line: 7 }, "11.1 07"),
        (Event::Restocked { line: 7 }, "12.1 07"),
        (Event::PaymentDeclined { code: "no".into() }, "13.1 026e6f"),
        (Event::Voided, "14.1"),
        (Event::ApprovedLate, "15.1"),
        (Event::Rejected { version: 9 }, "16.1 09"),
        (Event::CustomerTold, "17.1"),
        (Event::CartTold { version: Some(300) }, "18.2 01fb2c01"),
        (Event::CartTold { version: None }, "18.2 00"),
        (Event::CartTold { version: None }, "18.1"),
        (Event::CancelAsked { reason: Some("late".into()) }, "19.1 01046c617465"),
        (Event::Cancelled { version: 9 }, "20.1 09"),
        (
            Event::RefundAsked { refund, amount: gbp(5), reason: "dent".into(), by_cancel: true },
            "21.1 000000000000000000000000000000030a4742500464656e7401",
        ),
        (Event::Refunded { refund }, "22.1 00000000000000000000000000000003"),
        (Event::RefundDeclined { refund, code: "no".into() }, "23.1 00000000000000000000000000000003026e6f"),
        (
            Event::Fulfilled { items: Some(vec![(0, 2), (1, 300)]), tracking: Some("RM".into()) },
            "24.1 0102000201fb2c010102524d",
        ),
        (Event::Contended { line: 7, again_at: Time(20) }, "25.1 0728"),
        (Event::AskedAgain { lines: vec![7, 300] }, "26.1 0207fb2c01"),
        (Event::CartAskedAgain, "27.1"),
    ]);
}

#[test]
fn the_bytes_of_replies_and_rejections_stay_as_they_are() {
    assert_golden(&[
        (Reply::Placed, "1.1"),
        (Reply::Cancelled, "2.1"),
        (Reply::RefundAsked { refund: RefundId(3) }, "3.1 00000000000000000000000000000003"),
        (Reply::Fulfilled, "4.1"),
        (Reply::Noted, "5.1"),
    ]);
    let line = LineId(4);
    assert_golden(&[
        (Rejection::NotPlaced, "1.1"),
        (Rejection::AlreadyPlaced, "2.1"),
        (Rejection::AlreadyFulfilled, "3.1"),
        (Rejection::WrongStatus { status: OrderStatus::Rejected }, "4.1 03"),
        (Rejection::RefundExceedsCaptured { remaining: gbp(300) }, "5.1 fb5802474250"),
        (Rejection::InvalidAmount, "6.1"),
        (Rejection::TooManyRefunds { limit: 100 }, "7.1 64"),
        (Rejection::UnknownLine { line }, "8.1 00000000000000000000000000000004"),
        (Rejection::ExceedsUnfulfilled { line, remaining: 300 }, "9.1 00000000000000000000000000000004fb2c01"),
        (Rejection::NothingToFulfil, "10.1"),
    ]);
}

/// The numbers behind the words that lie in events, receipts and snapshots.
#[test]
fn the_codes_of_words_stay_as_they_are() {
    fn codes<T: Copy>(all: &[T], code: fn(T) -> u8) -> Vec<u8> {
        all.iter().map(|word| code(*word)).collect()
    }
    use crate::actors::order::types::{PaymentStage, RefundStatus, StockStep, TimelineType};
    use crate::actors::payment::types::PaymentMethod;
    let ascending = |n: u8| (1..=n).collect::<Vec<u8>>();
    assert_eq!(codes(OrderStatus::ALL, OrderStatus::code), ascending(5));
    assert_eq!(codes(RefusalCode::ALL, RefusalCode::code), ascending(8));
    assert_eq!(codes(PaymentMethod::ALL, PaymentMethod::code), ascending(1));
    assert_eq!(codes(PaymentStage::ALL, PaymentStage::code), ascending(6));
    assert_eq!(codes(StockStep::ALL, StockStep::code), ascending(6));
    assert_eq!(codes(RefundStatus::ALL, RefundStatus::code), ascending(3));
    assert_eq!(codes(TimelineType::ALL, TimelineType::code), ascending(14));
    assert_eq!((OrderStatus::Completed.word(), RefusalCode::Cancelled.word()), ("completed", "order_cancelled"));
}
