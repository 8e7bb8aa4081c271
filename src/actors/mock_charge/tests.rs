use super::types::{ChargeStatus, Command, DeclineCode, Rejection, Reply, State};
use super::{Event, TOKEN_DECLINED, TOKEN_FLAKY};
use crate::actors::testing::kit::{Given, assert_golden};
use crate::actors::values::{Currency, Money, OrderId, RefundId, Secret};

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn authorise(token: &str, amount: i64) -> Command {
    Command::Authorise { order: OrderId(1), amount: gbp(amount), token: Secret(token.into()) }
}

fn capture(amount: i64) -> Command {
    Command::Capture { amount: gbp(amount) }
}

fn refund(id: u128, amount: i64) -> Command {
    Command::Refund { refund: RefundId(id), amount: gbp(amount) }
}

fn declined(code: DeclineCode) -> Rejection {
    Rejection::Declined { code }
}

fn authorised() -> Given<State> {
    Given::new().when(authorise("tok_ok", 900)).then(Reply::Approved)
}

#[test]
fn every_step_happens_once_however_often_it_is_asked() {
    authorised()
        .when(authorise("tok_ok", 900))
        .then(Reply::Approved)
        .unchanged()
        .when(authorise("tok_ok", 901))
        .refused(declined(DeclineCode::AmountDiffers))
        .when(capture(900))
        .then(Reply::Approved)
        .when(capture(900))
        .then(Reply::Approved)
        .unchanged()
        .when(authorise("tok_ok", 900))
        .unchanged()
        .when(refund(1, 500))
        .then(Reply::Approved)
        .when(refund(1, 500))
        .unchanged()
        .when(refund(1, 400))
        .refused(declined(DeclineCode::AmountDiffers))
        .when(refund(2, 401))
        .refused(declined(DeclineCode::AmountTooLarge))
        .when(refund(2, 400))
        .then(Reply::Approved);
}

#[test]
fn a_void_is_final_even_before_the_authorisation() {
    let voided = || declined(DeclineCode::PaymentVoided);
    Given::<State>::new()
        .when(Command::Void)
        .then(Reply::Approved)
        .when(authorise("tok_ok", 900))
        .refused(voided())
        .when(capture(900))
        .refused(voided())
        .when(refund(1, 1))
        .refused(voided())
        .when(Command::Void)
        .unchanged();
    authorised().when(Command::Void).when(capture(900)).refused(voided());
    authorised().when(capture(900)).when(Command::Void).refused(declined(DeclineCode::AlreadyCaptured));
}

#[test]
fn nothing_is_charged_that_was_not_authorised() {
    let unknown = || declined(DeclineCode::NotAuthorised);
    Given::<State>::new().when(capture(1)).refused(unknown()).when(refund(1, 1)).refused(unknown());
    authorised().when(capture(901)).refused(declined(DeclineCode::AmountTooLarge));
    let euros = Command::Capture { amount: Money::new(1, "EUR".parse().expect("a currency")) };
    authorised().when(euros).refused(declined(DeclineCode::AmountTooLarge));
}

#[test]
fn tokens_have_their_characters() {
    Given::<State>::new().when(authorise(TOKEN_DECLINED, 1)).refused(declined(DeclineCode::CardDeclined));
    Given::<State>::new()
        .when(authorise(TOKEN_FLAKY, 1))
        .then(Reply::Failed)
        .when(authorise(TOKEN_FLAKY, 1))
        .then(Reply::Failed)
        .when(authorise(TOKEN_FLAKY, 1))
        .then(Reply::Approved)
        .state(|page| assert_eq!((page.status, page.failures), (ChargeStatus::Authorised, 2)));
}

#[test]
fn stored_bytes_stay_as_they_are() {
    assert_golden(&[
        (Event::Authorised { order: OrderId(1), amount: gbp(300) }, "1.1 00000000000000000000000000000001fb5802474250"),
        (Event::FailedOnce, "2.1"),
        (Event::Captured { amount: gbp(300) }, "3.1 fb5802474250"),
        (Event::Voided, "4.1"),
        (Event::Refunded { refund: RefundId(2), amount: gbp(300) }, "5.1 00000000000000000000000000000002fb5802474250"),
    ]);
    assert_golden(&[(Reply::Approved, "1.1"), (Reply::Failed, "2.1")]);
    assert_golden(&[(declined(DeclineCode::AmountDiffers), "1.1 06")]);
}
