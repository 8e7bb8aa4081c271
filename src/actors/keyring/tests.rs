use proptest::prelude::*;

use super::*;
use crate::actors::testing::kit::{Given, START, assert_golden};

const ADA: UserId = UserId(1);
const EVE: UserId = UserId(2);
const SEED: Secret<[u8; 32]> = Secret([7; 32]);
const TOKENS: Secret<[u8; 32]> = Secret([8; 32]);

fn ensure(byte: u8) -> Command {
    Command::Ensure { signing_seed: Secret([byte; 32]), token_secret: Secret([byte + 1; 32]) }
}

fn made() -> Event {
    Event::SecretsMade { kid: kid_of(&SEED), signing_seed: SEED, token_secret: TOKENS }
}

#[test]
fn the_first_secrets_stay_for_ever() {
    Given::<State>::new()
        .when(ensure(7))
        .then(Reply::Ensured)
        .events([made()])
        .when(ensure(9))
        .then(Reply::Ensured)
        .unchanged()
        .state(|keyring| {
            assert_eq!(keyring.token_secret, Some(TOKENS));
            assert_eq!(keyring.keys.len(), 1);
            assert_eq!((keyring.keys[0].created_at, &keyring.keys[0].seed), (START, &SEED));
        });
}

#[test]
fn nobody_reads_a_secret_off_the_state_or_its_journal() {
    let shown = |json: serde_json::Value| json.to_string();
    let given = Given::<State>::new().when(ensure(7));
    let (state, event) = (serde_json::to_value(&given.state).unwrap(), serde_json::to_value(made()).unwrap());
    for text in [shown(state), shown(event), format!("{:?}", given.state), format!("{:?}", ensure(7))] {
        assert!(text.contains("[redacted]") && !text.contains("7,7") && !text.contains("7, 7"), "{text}");
    }
}

#[test]
fn administrators_come_and_go_and_repeats_change_nothing() {
    Given::<State>::new()
        .when(Command::GrantAdmin { user: ADA })
        .then(Reply::Noted)
        .events([Event::AdminGranted { user: ADA }])
        .again()
        .unchanged()
        .state(|keyring| assert!(keyring.administrators.contains(&ADA)))
        .when(Command::GrantAdmin { user: EVE })
        .when(Command::RevokeAdmin { user: ADA })
        .then(Reply::Noted)
        .events([Event::AdminRevoked { user: ADA }])
        .again()
        .unchanged()
        .state(|keyring| assert_eq!(keyring.administrators, [EVE].into()));
}

#[test]
fn the_last_administrator_stays() {
    Given::<State>::new()
        .when(Command::RevokeAdmin { user: EVE })
        .then(Reply::Noted)
        .unchanged()
        .when(Command::GrantAdmin { user: ADA })
        .when(Command::RevokeAdmin { user: EVE })
        .then(Reply::Noted)
        .unchanged()
        .when(Command::RevokeAdmin { user: ADA })
        .refused(Rejection::LastAdministrator);
}

proptest! {
    #[test]
    fn whoever_offers_secrets_in_whatever_order_there_is_one_set(seeds in prop::collection::vec(0_u8..200, 1..10)) {
        let mut given = Given::<State>::new();
        for seed in &seeds {
            given = given.when(ensure(*seed)).then(Reply::Ensured);
        }
        prop_assert_eq!(given.version, 1);
        prop_assert_eq!(&given.state.keys[0].seed, &Secret([seeds[0]; 32]));
    }
}

#[test]
fn stored_bytes_stay_what_they_are() {
    assert_golden(&[
        (
            made(),
            "1.1 1a74356d33307931336b7965633465713565716a3039377a79666307070707070707070707070707070707070707070707070707070707070707070808080808080808080808080808080808080808080808080808080808080808",
        ),
        (Event::AdminGranted { user: ADA }, "2.1 00000000000000000000000000000001"),
        (Event::AdminRevoked { user: ADA }, "3.1 00000000000000000000000000000001"),
    ]);
    assert_golden(&[(Reply::Ensured, "1.1"), (Reply::Noted, "2.1")]);
    assert_golden(&[(Rejection::LastAdministrator, "1.1")]);
}
