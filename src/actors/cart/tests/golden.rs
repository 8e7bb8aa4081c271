use super::*;
use crate::actors::cart::types::{LineFault, LineFaultCode, Requirement};
use crate::actors::order::types::RefusalCode;
use crate::actors::payment::types::PaymentMethod;
use crate::actors::testing::kit::assert_golden;
use crate::actors::values::Secret;

const REQUEST: RequestId = RequestId([7; 16]);
const AT: Time = Time(1_000);

#[test]
fn stored_events_stay_what_they_are() {
    let reference = Some(String::from("PO-7"));
    let metadata: BTreeMap<_, _> = [(String::from("a"), String::from("b"))].into();
    let payment = PaymentIntent { method: PaymentMethod::Mock, token: Secret("tok_ok".into()) };
    let refusal = OrderRefusal { available: Some(1), ..OrderRefusal::of(RefusalCode::InsufficientStock) };
    let opened =
        Event::Opened { id: CART, user: Some(USER), currency: Currency::GBP, reference, metadata, expires_at: AT };
    let lines = vec![line(2, "B", 3, 250)];
    let old = vec![Line { variant: None, ..line(2, "B", 3, 250) }];
    let mut at_work = contact();
    at_work.shipping_address.company = Some("Acme".into());
    assert_golden(&[
        (
            opened,
            "1.1 0000000000000000000000000000000101000000000000000000000000000000074742500104504f2d370101610162fbd007",
        ),
        (
            Event::LineSet { line: Line { variant: None, ..line(1, "A", 300, 1999) }, expires_at: AT },
            "2.1 0000000000000000000000000000000101410000000000000000000000000000000303546565fb2c01fb9e0f474250fbd007",
        ),
        (
            Event::QuantitySet { line: LineId(1), quantity: pieces(2), expires_at: AT },
            "3.1 0000000000000000000000000000000102fbd007",
        ),
        (Event::LineRemoved { line: LineId(1), expires_at: AT }, "4.1 00000000000000000000000000000001fbd007"),
        (
            Event::ContactSet { contact: Box::new(contact()), expires_at: AT },
            "5.1 0f616461406578616d706c652e636f6d034164610000000000000000fbd007",
        ),
        (
            Event::ContactSet { contact: Box::new(at_work), expires_at: AT },
            "5.2 0f616461406578616d706c652e636f6d0341646100000000000000010441636d6500fbd007",
        ),
        (
            Event::MergeStarted { request: REQUEST, from: OTHER, strategy: MergeStrategy::Replace },
            "6.1 070707070707070707070707070707070000000000000000000000000000000203",
        ),
        (Event::SurrenderAccepted, "7.1"),
        (Event::MergeRefused { refusal: MergeRefusal::SourceClosed }, "8.1 02"),
        (
            Event::LinesTaken { lines: old.clone(), expires_at: AT },
            "9.1 01000000000000000000000000000000020142000000000000000000000000000000030354656503fbf401474250fbd007",
        ),
        (
            Event::LineSet { line: line(1, "A", 300, 1999), expires_at: AT },
            "2.2 00000000000000000000000000000001014100000000000000000000000000000003010000000000000000000000000000000403546565fb2c01fb9e0f474250fbd007",
        ),
        (
            Event::LinesTaken { lines: lines.clone(), expires_at: AT },
            "9.2 010000000000000000000000000000000201420000000000000000000000000000000301000000000000000000000000000000040354656503fbf401474250fbd007",
        ),
        (
            Event::Repriced { lines: lines.clone(), expires_at: AT },
            "15.2 010000000000000000000000000000000201420000000000000000000000000000000301000000000000000000000000000000040354656503fbf401474250fbd007",
        ),
        (Event::LinesRefused { refusal: MergeRefusal::OtherCurrency }, "10.1 05"),
        (Event::MergeEnded, "11.1"),
        (
            Event::Surrendering { request: REQUEST, to: OTHER },
            "12.1 0707070707070707070707070707070700000000000000000000000000000002",
        ),
        (Event::Surrendered, "13.1"),
        (Event::Reopened { expires_at: AT }, "14.1 fbd007"),
        (
            Event::Repriced { lines: old.clone(), expires_at: AT },
            "15.1 01000000000000000000000000000000020142000000000000000000000000000000030354656503fbf401474250fbd007",
        ),
        (
            Event::CompletionStarted { request: REQUEST, order: OrderId(3), payment },
            "16.1 07070707070707070707070707070707000000000000000000000000000000030106746f6b5f6f6b",
        ),
        (Event::Placed, "17.1"),
        (Event::Completed { order_version: 9 }, "18.1 09"),
        (Event::CompletionRefused { order_version: 9, refusal, expires_at: AT }, "19.1 0901000001010000fbd007"),
        (Event::Expired, "20.1"),
        (Event::CustomerTold, "21.1"),
        (
            Event::LinesAdded { lines, expires_at: AT },
            "22.2 010000000000000000000000000000000201420000000000000000000000000000000301000000000000000000000000000000040354656503fbf401474250fbd007",
        ),
        (
            Event::LinesAdded { lines: old, expires_at: AT },
            "22.1 01000000000000000000000000000000020142000000000000000000000000000000030354656503fbf401474250fbd007",
        ),
    ]);
}

#[test]
fn stored_outcomes_stay_what_they_are() {
    let order = OrderId(3);
    assert_golden(&[
        (Reply::Opened, "1.1"),
        (Reply::Changed, "2.1"),
        (Reply::Merging, "3.1"),
        (Reply::Surrendering, "4.1"),
        (Reply::Taken, "5.1"),
        (Reply::NotTaken { refusal: MergeRefusal::TooManyLines }, "6.1 06"),
        (Reply::Started { order }, "7.1 00000000000000000000000000000003"),
        (Reply::Repriced { total: gbp(250) }, "8.1 fbf401474250"),
        (Reply::Already { order }, "9.1 00000000000000000000000000000003"),
        (Reply::Noted, "10.1"),
        (Reply::ItemsChanged { lines: vec![0, 300] }, "11.1 0200fb2c01"),
    ]);
    let sku = sku("A");
    assert_golden(&[
        (Rejection::NotFound, "1.1"),
        (Rejection::Closed { status: CartStatus::Merged }, "2.1 04"),
        (Rejection::CompletionInProgress { order }, "3.1 00000000000000000000000000000003"),
        (Rejection::MergeInProgress, "4.1"),
        (Rejection::UnknownSku { sku: sku.clone() }, "5.1 0141"),
        (Rejection::Unpublished { sku: sku.clone() }, "6.1 0141"),
        (Rejection::OtherCurrency { sku: sku.clone(), currency: Currency::GBP }, "7.1 0141474250"),
        (Rejection::TooManyLines { limit: 2_000 }, "8.1 fbd007"),
        (Rejection::QuantityTooLarge { limit: 1_000_000 }, "9.1 fc40420f00"),
        (Rejection::LineNotFound, "10.1"),
        (Rejection::SelfMerge, "11.1"),
        (
            Rejection::NotReady { requirements: vec![Requirement::CartEmpty, Requirement::ContactRequired] },
            "12.1 020102",
        ),
        (Rejection::SkuGone { line: 1, sku: sku.clone() }, "13.1 010141"),
        (Rejection::OfferMissing { sku: sku.clone() }, "14.1 0141"),
        (Rejection::NotMerging, "15.1"),
        (
            Rejection::LinesNotAdded {
                faults: vec![LineFault {
                    place: 3,
                    sku,
                    code: LineFaultCode::OtherCurrency,
                    currency: Some(Currency::GBP),
                }],
            },
            "16.1 010301410301474250",
        ),
    ]);
}
