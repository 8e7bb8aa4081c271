use super::*;
use crate::actors::testing::kit::{Given, assert_golden};

const TEE: ProductId = ProductId(1);
const MUG: ProductId = ProductId(2);

#[test]
fn a_slug_belongs_to_whoever_claims_it_first() {
    Given::<State>::new()
        .when(Command::Claim { product: TEE })
        .then(Reply::Claimed)
        .events([Event::Claimed { product: TEE }])
        .again()
        .then(Reply::Claimed)
        .unchanged()
        .when(Command::Claim { product: MUG })
        .refused(Rejection::Taken { by: TEE });
}

#[test]
fn only_its_holder_releases_it() {
    Given::<State>::new()
        .when(Command::Claim { product: TEE })
        .when(Command::Release { product: MUG, moved: true })
        .then(Reply::Released)
        .unchanged()
        .when(Command::Release { product: TEE, moved: true })
        .events([Event::Released])
        .again()
        .then(Reply::Released)
        .unchanged()
        .when(Command::Claim { product: MUG })
        .then(Reply::Claimed);
}

#[test]
fn a_slug_remembers_who_held_it_lately_each_once() {
    let mut given = Given::<State>::new();
    for holder in [1, 2, 1, 3, 4, 5, 6, 7, 8, 9, 10] {
        let product = ProductId(holder);
        given = given.when(Command::Claim { product }).when(Command::Release { product, moved: true });
    }
    given.state(|slug| {
        assert_eq!(slug.product, None);
        assert_eq!(slug.former, [1, 3, 4, 5, 6, 7, 8, 9, 10].map(ProductId)[1..]);
    });
}

#[test]
fn a_slug_leads_to_whose_name_it_was_last_until_somebody_claims_it() {
    Given::<State>::new()
        .when(Command::Claim { product: TEE })
        .state(|slug| assert_eq!(slug.moved_to(), None))
        .when(Command::Release { product: TEE, moved: true })
        .state(|slug| assert_eq!(slug.moved_to(), Some(TEE)))
        .when(Command::Claim { product: MUG })
        .state(|slug| assert_eq!(slug.moved_to(), None))
        .when(Command::Release { product: MUG, moved: false })
        .events([Event::GivenBack])
        .state(|slug| assert_eq!(slug.moved_to(), Some(TEE), "it never was the mug's"));
}

#[test]
fn stored_bytes_stay_what_they_are() {
    assert_golden(&[
        (Event::Claimed { product: TEE }, "1.1 00000000000000000000000000000001"),
        (Event::Released, "2.1"),
        (Event::GivenBack, "3.1"),
    ]);
    assert_golden(&[(Reply::Claimed, "1.1"), (Reply::Released, "2.1")]);
    assert_golden(&[(Rejection::Taken { by: MUG }, "1.1 00000000000000000000000000000002")]);
}
