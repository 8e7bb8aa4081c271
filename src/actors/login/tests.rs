use super::*;
use crate::actors::testing::kit::{Given, assert_golden};

const ADA: UserId = UserId(1);
const BOB: UserId = UserId(2);

#[test]
fn the_first_claim_gets_the_address_and_keeps_it() {
    Given::<State>::new()
        .when(Command::Claim { user: ADA })
        .then(Reply::Claimed)
        .events([Event::Claimed { user: ADA }])
        .again()
        .then(Reply::Claimed)
        .unchanged()
        .when(Command::Claim { user: BOB })
        .refused(Rejection::Taken);
}

#[test]
fn only_its_holder_releases_an_address() {
    Given::<State>::new()
        .history([Event::Claimed { user: ADA }])
        .when(Command::Release { user: BOB })
        .then(Reply::Released)
        .unchanged()
        .when(Command::Release { user: ADA })
        .then(Reply::Released)
        .events([Event::Released])
        .again()
        .unchanged()
        .when(Command::Claim { user: BOB })
        .then(Reply::Claimed)
        .state(|login| assert_eq!(login.user, Some(BOB)));
}

#[test]
fn stored_bytes_stay_what_they_are() {
    assert_golden(&[(Event::Claimed { user: ADA }, "1.1 00000000000000000000000000000001"), (Event::Released, "2.1")]);
    assert_golden(&[(Reply::Claimed, "1.1"), (Reply::Released, "2.1")]);
    assert_golden(&[(Rejection::Taken, "1.1")]);
}
