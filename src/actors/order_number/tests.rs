use super::Event;
use super::types::{Command, Rejection, Reply, State};
use crate::actors::testing::kit::{Given, assert_golden};
use crate::actors::values::OrderId;

#[test]
fn a_number_belongs_to_whoever_claims_it_first() {
    let claim = |order| Command::Claim { order: OrderId(order) };
    Given::<State>::new()
        .when(claim(1))
        .then(Reply::Claimed)
        .when(claim(1))
        .then(Reply::Claimed)
        .unchanged()
        .when(claim(2))
        .refused(Rejection::Taken);
}

#[test]
fn stored_bytes_stay_as_they_are() {
    assert_golden(&[(Event::Claimed { order: OrderId(258) }, "1.1 00000000000000000000000000000102")]);
    assert_golden(&[(Reply::Claimed, "1.1")]);
    assert_golden(&[(Rejection::Taken, "1.1")]);
}
