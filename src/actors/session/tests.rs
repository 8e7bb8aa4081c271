use proptest::prelude::*;

use super::*;
use crate::actors::policy::SessionPolicy;
use crate::actors::testing::kit::{Given, START, assert_golden};

const SESSION: SessionId = SessionId(3);
const ADA: UserId = UserId(1);
const GRACE_MS: u64 = 10_000;
const TTL_MS: u64 = 30 * 24 * 3_600_000;

/// The hash of the n-th token.
fn token(n: u8) -> [u8; 32] {
    [n; 32]
}

fn start() -> Command {
    Command::Start { id: SESSION, user: ADA, refresh_hash: token(0), user_agent: "curl".into() }
}

/// A token that the edge has made is presented.
fn refresh(presented: u8, next: u8) -> Command {
    Command::Refresh { presented: token(presented), next: token(next), genuine: true }
}

/// One of which nobody knows whether the edge has made it: a random one, of before.
fn refresh_random(presented: u8, next: u8) -> Command {
    Command::Refresh { presented: token(presented), next: token(next), genuine: false }
}

fn started() -> Event {
    Event::Started {
        id: SESSION,
        user: ADA,
        token: Secret(token(0)),
        user_agent: "curl".into(),
        expires_at: START.plus_ms(TTL_MS),
    }
}

/// A session that the user lists, with token 0.
fn listed() -> Given<State> {
    let policy = SessionPolicy { refresh_ttl_ms: TTL_MS, refresh_grace_ms: GRACE_MS };
    Given::new().policy(|shipped| shipped.auth = policy).history([started(), Event::Listed])
}

#[test]
fn a_session_is_settled_when_its_user_lists_it() {
    let given = Given::<State>::new()
        .settled(true)
        .when(start())
        .then(Reply::Started)
        .events([started()])
        .settled(false)
        .owes(["opened"])
        .wakes_at(Some(START.plus_ms(TTL_MS)));
    let (user, command) = given.owed::<User>("opened");
    assert_eq!(user, ADA.to_string());
    assert!(matches!(command, user::Command::SessionOpened { session: SESSION }));
    given
        .again()
        .then(Reply::Started)
        .unchanged()
        .when(Command::Start { id: SESSION, user: ADA, refresh_hash: token(9), user_agent: "curl".into() })
        .refused(Rejection::AlreadyStarted)
        .when_answered::<User>("opened", Ok(user::Reply::Done))
        .then(Reply::Noted)
        .events([Event::Listed])
        .settled(true)
        .owes([]);
}

#[test]
fn a_session_that_its_user_does_not_take_is_over() {
    Given::<State>::new()
        .when(start())
        .when_answered::<User>("opened", Err(user::Rejection::NotActive))
        .events([Event::Revoked { because: Cause::NotTaken }, Event::Delisted])
        .settled(true)
        .owes([])
        .when(refresh(0, 1))
        .refused(Rejection::Revoked);
}

#[test]
fn a_session_revoked_before_it_is_listed_tells_both_things_in_order() {
    Given::<State>::new()
        .when(start())
        .when(Command::Revoke {})
        .then(Reply::Revoked)
        .owes(["opened"])
        .when_answered::<User>("opened", Ok(user::Reply::Done))
        .owes(["closed"])
        .settled(false)
        .when_answered::<User>("closed", Ok(user::Reply::Done))
        .events([Event::Delisted])
        .settled(true);
    Given::<State>::new()
        .history([started(), Event::Revoked { because: Cause::Asked }])
        .when_answered::<User>("opened", Err(user::Rejection::NotActive))
        .events([Event::Delisted])
        .settled(true);
}

#[test]
fn a_refresh_spends_the_token_and_moves_the_expiry() {
    listed()
        .after_ms(60_000)
        .when(refresh(0, 1))
        .then(Reply::Refreshed)
        .events([Event::Rotated {
            spent: Secret(token(0)),
            next: Secret(token(1)),
            grace_until: START.plus_ms(60_000 + GRACE_MS),
            expires_at: START.plus_ms(60_000 + TTL_MS),
        }])
        .again()
        .then(Reply::Refreshed)
        .unchanged()
        .state(|session| assert_eq!(session.last_used_at, START.plus_ms(60_000)))
        .wakes_at(Some(START.plus_ms(60_000 + TTL_MS)));
}

#[test]
fn within_its_grace_a_spent_token_gives_out_the_same_successor() {
    listed()
        .when(refresh(0, 1))
        .after_ms(GRACE_MS)
        .when(refresh(0, 1))
        .then(Reply::Refreshed)
        .unchanged()
        .when(refresh(1, 2))
        .then(Reply::Refreshed)
        // Both of them are in their grace: a third tab is not too late.
        .when(refresh(0, 1))
        .then(Reply::Refreshed)
        .unchanged()
        .when(refresh(1, 2))
        .then(Reply::Refreshed)
        .unchanged()
        .after_ms(1)
        .when(refresh(0, 1))
        .then(Reply::Reused);
}

#[test]
fn a_random_token_goes_over_to_derived_ones_and_its_siblings_revoke_nothing() {
    let rotated = |spent, next| Event::Rotated {
        spent: Secret(token(spent)),
        next: Secret(token(next)),
        grace_until: START.plus_ms(GRACE_MS),
        expires_at: START.plus_ms(TTL_MS),
    };
    // 70 and 71 are random; the edge derives 1 from each of them, and 2 from 1.
    let given = || Given::<State>::new().history([started(), Event::Listed, rotated(0, 70)]);
    given().when(refresh_random(70, 1)).then(Reply::Refreshed).when(refresh(1, 2)).then(Reply::Refreshed);
    // The reply with 70 was lost, and nobody can make 70 again.
    given()
        .when(refresh_random(0, 1))
        .then(Reply::Refreshed)
        .events([Event::Reissued { next: Secret(token(1)), expires_at: START.plus_ms(TTL_MS) }])
        .when(refresh(1, 2))
        .then(Reply::Refreshed)
        .when(refresh_random(70, 1))
        .refused(Rejection::NeverGood);
    given().after_ms(GRACE_MS + 1).when(refresh_random(0, 1)).then(Reply::Reused);
}

#[test]
fn a_token_that_comes_again_after_its_grace_revokes_the_session() {
    listed()
        .when(refresh(0, 1))
        .after_ms(GRACE_MS + 1)
        .when(refresh(0, 2))
        .then(Reply::Reused)
        .events([Event::Revoked { because: Cause::Reuse }])
        .owes(["closed"])
        .wakes_at(None)
        .when(refresh(1, 3))
        .refused(Rejection::Revoked)
        .when(refresh(0, 3))
        .refused(Rejection::Revoked);
}

#[test]
fn a_token_that_was_never_right_revokes_nothing() {
    listed()
        .when(refresh_random(99, 1))
        .refused(Rejection::NeverGood)
        .when(refresh(0, 1))
        .then(Reply::Refreshed)
        .when(refresh_random(99, 1))
        .refused(Rejection::NeverGood)
        .when(refresh(1, 2))
        .then(Reply::Refreshed);
}

#[test]
fn a_bounded_number_of_tokens_is_spent_within_a_grace() {
    let mut given = listed();
    for n in 0..SPENT_TOKENS_MAX as u8 {
        given = given.when(refresh(n, n + 1)).then(Reply::Refreshed);
    }
    given
        .when(refresh(64, 65))
        .refused(Rejection::TooManyRefreshes { limit: 64 })
        .when(refresh(0, 1))
        .then(Reply::Refreshed)
        .unchanged()
        .after_ms(GRACE_MS + 1)
        .when(refresh(64, 65))
        .then(Reply::Refreshed)
        .state(|session| assert_eq!(session.spent.len(), 1, "what is past its grace is forgotten"));
}

#[test]
fn a_session_that_nobody_refreshes_expires() {
    listed()
        .after_ms(TTL_MS - 1)
        .when(Command::Expire {})
        .unchanged()
        .state(|session| assert!(session.is_live(START.plus_ms(TTL_MS - 1)) && !session.is_live(START.plus_ms(TTL_MS))))
        .after_ms(1)
        .when(refresh(0, 1)) // before the wake
        .refused(Rejection::Expired)
        .when_woken()
        .events([Event::Expired])
        .owes(["closed"])
        .when(refresh(0, 1))
        .refused(Rejection::Expired)
        .when(Command::Revoke {})
        .then(Reply::Revoked)
        .unchanged()
        .when_answered::<User>("closed", Err(user::Rejection::NotActive))
        .events([Event::Delisted]);
}

#[test]
fn a_session_that_never_started_is_not_found() {
    Given::<State>::new()
        .when(refresh(0, 1))
        .refused(Rejection::NotFound)
        .when(Command::Revoke {})
        .refused(Rejection::NotFound)
        .when(Command::Listed {})
        .unchanged()
        .when(Command::Delisted {})
        .unchanged()
        .when(Command::NotTaken {})
        .unchanged()
        .when(Command::Expire {})
        .unchanged();
}

/// What may be done with a session.
#[derive(Debug, Clone)]
enum Step {
    /// Present the n-th token of those given out so far, counted from the newest.
    Present(usize),
    /// Present something that was never given out.
    Guess,
    Wait(u64),
    Revoke,
    Wake,
    Answer,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0..4_usize).prop_map(Step::Present),
        2 => (0..12_usize).prop_map(Step::Present),
        1 => Just(Step::Guess),
        4 => (0..2 * GRACE_MS).prop_map(Step::Wait),
        1 => (0..2 * TTL_MS).prop_map(Step::Wait),
        1 => Just(Step::Revoke),
        1 => Just(Step::Wake),
        2 => Just(Step::Answer),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Tokens are numbered: the edge derives n + 1 from n.
    #[test]
    fn each_token_has_one_successor_and_late_reuse_always_revokes(steps in steps()) {
        // When each token but the newest was first presented.
        let mut spent_at: Vec<Time> = Vec::new();
        let mut given = Given::<State>::new().when(start());
        for step in steps {
            let ended = given.state.status != Status::Active;
            match step {
                Step::Present(back) => {
                    let presented = spent_at.len() - back % (spent_at.len() + 1);
                    let over = ended || given.now >= given.state.expires_at;
                    given = given.when(refresh(presented as u8, presented as u8 + 1));
                    let outcome = given.last_outcome().clone().map(|decision| decision.reply);
                    match spent_at.get(presented) {
                        _ if over => prop_assert!(matches!(outcome, Err(Rejection::Revoked | Rejection::Expired))),
                        None => {
                            prop_assert_eq!(outcome, Ok(Reply::Refreshed));
                            spent_at.push(given.now);
                        }
                        Some(at) if given.now.since_ms(*at) <= GRACE_MS => {
                            prop_assert_eq!(outcome, Ok(Reply::Refreshed));
                        }
                        Some(_) => {
                            prop_assert_eq!(outcome, Ok(Reply::Reused));
                            prop_assert_eq!(given.state.status, Status::Revoked);
                        }
                    }
                }
                Step::Guess => {
                    given = given.when(refresh_random(200, 201));
                    prop_assert!(given.last_outcome().is_err(), "a guess is refused and changes nothing");
                }
                Step::Wait(ms) => given = given.after_ms(ms),
                Step::Revoke => given = given.when(Command::Revoke {}).then(Reply::Revoked),
                Step::Wake => given = given.when(Command::Expire {}).then(Reply::Noted),
                Step::Answer => {
                    if let Some(key) = given.owed_keys().first() {
                        given = given.when_answered::<User>(key, Ok(user::Reply::Done));
                    }
                }
            }
            prop_assert!(!ended || given.state.status != Status::Active, "an ended session came back");
            if given.state.status == Status::Active {
                prop_assert_eq!(&given.state.live, &vec![Secret(token(spent_at.len() as u8))], "the newest is good");
            }
        }
    }
}

#[test]
fn stored_bytes_stay_what_they_are() {
    let (next, time) = (Secret(token(2)), Time(300));
    assert_golden(&[
        (
            Event::Started {
                id: SESSION,
                user: ADA,
                token: Secret(token(1)),
                user_agent: "curl".into(),
                expires_at: time,
            },
            "1.1 00000000000000000000000000000003000000000000000000000000000000010101010101010101010101010101010101010101010101010101010101010101046375726cfb5802",
        ),
        (
            Event::Rotated { spent: Secret(token(1)), next: next.clone(), grace_until: Time(299), expires_at: time },
            "2.1 01010101010101010101010101010101010101010101010101010101010101010202020202020202020202020202020202020202020202020202020202020202fb5602fb5802",
        ),
        (
            Event::Reissued { next, expires_at: time },
            "3.1 0202020202020202020202020202020202020202020202020202020202020202fb5802",
        ),
        (Event::Revoked { because: Cause::Asked }, "4.1 01"),
        (Event::Revoked { because: Cause::Reuse }, "4.1 02"),
        (Event::Revoked { because: Cause::NotTaken }, "4.1 03"),
        (Event::Expired, "5.1"),
        (Event::Listed, "6.1"),
        (Event::Delisted, "7.1"),
    ]);
    assert_golden(&[
        (Reply::Started, "1.1"),
        (Reply::Refreshed, "2.1"),
        (Reply::Reused, "3.1"),
        (Reply::Revoked, "4.1"),
        (Reply::Noted, "5.1"),
    ]);
    assert_golden(&[
        (Rejection::NotFound, "1.1"),
        (Rejection::Revoked, "2.1"),
        (Rejection::Expired, "3.1"),
        (Rejection::AlreadyStarted, "4.1"),
        (Rejection::TooManyRefreshes { limit: 8 }, "5.1 08"),
        (Rejection::NeverGood, "6.1"),
    ]);
}
