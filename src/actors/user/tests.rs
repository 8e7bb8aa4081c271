use proptest::prelude::*;

use super::*;
use crate::actors::testing::kit::{Given, START, assert_golden};

const ADA: UserId = UserId(1);
const HOME: AddressId = AddressId(10);
const WORK: AddressId = AddressId(11);

fn email() -> Email {
    "ada@example.com".parse().unwrap()
}

fn hash(text: &str) -> Secret<String> {
    Secret(text.into())
}

fn roles(roles: &[Role]) -> BTreeSet<Role> {
    roles.iter().copied().collect()
}

fn register(password_hash: &str, given: &[Role]) -> Command {
    Command::Register {
        id: ADA,
        email: email(),
        name: Some("Ada".into()),
        password_hash: hash(password_hash),
        roles: roles(given),
    }
}

fn registered(given: &[Role]) -> Event {
    Event::Registered {
        id: ADA,
        email: email(),
        name: Some("Ada".into()),
        password_hash: hash("h"),
        roles: roles(given),
    }
}

fn active() -> Given<State> {
    Given::new().history([registered(&[Role::Customer]), Event::Activated])
}

fn address(city: &str) -> Address {
    Address { city: city.into(), country: "GB".into(), ..Address::default() }
}

fn saved(id: AddressId, city: &str, default: bool) -> SavedAddress {
    SavedAddress { id, address: address(city), default }
}

fn add(id: AddressId, city: &str, default: bool) -> Command {
    Command::AddAddress { id, address: address(city), default }
}

fn put(id: AddressId, city: &str, default: bool) -> Command {
    Command::PutAddress { id, address: address(city), default }
}

fn opened(ids: impl IntoIterator<Item = u128>) -> Vec<Event> {
    ids.into_iter().map(|n| Event::SessionOpened { session: SessionId(n) }).collect()
}

#[test]
fn registering_claims_the_email_address_and_then_is_settled() {
    let given = Given::<State>::new()
        .when(register("h", &[Role::Customer]))
        .then(Reply::Done)
        .events([registered(&[Role::Customer])])
        .again()
        .unchanged()
        .owes(["claim"])
        .settled(false)
        .state(|user| assert!(user.active().is_none()))
        .when(Command::UpdateProfile { name: Some(None) })
        .refused(Rejection::NotActive);
    let (login, command) = given.owed::<Login>("claim");
    assert_eq!(login, "ada@example.com");
    assert!(matches!(command, login::Command::Claim { user: ADA }));
    given
        .when_answered::<Login>("claim", Ok(login::Reply::Claimed))
        .events([Event::Activated])
        .owes([])
        .settled(true)
        .state(|user| assert_eq!(user.active().unwrap().created_at, START))
        .when(register("h", &[Role::Customer])) // the very same again
        .then(Reply::Done)
        .unchanged()
        .when(register("other", &[Role::Customer]))
        .refused(Rejection::AlreadyRegistered)
        .when(Command::EmailRefused {}) // comes too late to mean anything
        .unchanged();
}

#[test]
fn a_user_whose_email_address_is_taken_is_refused_and_keeps_nothing() {
    Given::<State>::new()
        .when(register("h", &[Role::Customer, Role::Admin]))
        .when_answered::<Login>("claim", Err(login::Rejection::Taken))
        .events([Event::Refused])
        .owes([])
        .settled(true)
        .state(|user| assert_eq!((user.status, &user.account), (Status::Refused, &None)))
        .when(register("h", &[Role::Customer]))
        .refused(Rejection::AlreadyRegistered)
        .when(Command::EmailClaimed {})
        .unchanged();
}

#[test]
fn what_only_an_active_user_may_do_is_refused_to_others() {
    let keep = SessionId(1);
    for command in [
        Command::UpdateProfile { name: None },
        Command::ChangePassword { password_hash: hash("n"), proven: hash("h"), keep },
        Command::SetRoles { roles: roles(&[Role::Admin]) },
        add(HOME, "London", false),
        put(HOME, "London", false),
        Command::RemoveAddress { id: HOME },
        Command::SessionOpened { session: keep },
    ] {
        Given::<State>::new().when(command.clone()).refused(Rejection::NotActive);
        Given::<State>::new().history([registered(&[])]).when(command.clone()).refused(Rejection::NotActive);
        Given::<State>::new().history([registered(&[]), Event::Refused]).when(command).refused(Rejection::NotActive);
    }
    Given::<State>::new()
        .when(Command::SessionClosed { session: keep })
        .unchanged()
        .when(Command::KeyringTold { number: 0 })
        .unchanged();
}

#[test]
fn a_profile_changes_only_where_it_says_so() {
    active()
        .when(Command::UpdateProfile { name: None })
        .unchanged()
        .when(Command::UpdateProfile { name: Some(Some("Ada".into())) })
        .unchanged()
        .when(Command::UpdateProfile { name: Some(None) })
        .then(Reply::Done)
        .events([Event::Renamed { name: None }])
        .state(|user| assert_eq!(user.active().unwrap().name, None));
}

#[test]
fn a_new_default_address_takes_the_place_of_the_old_one() {
    active()
        .when(add(HOME, "London", true))
        .events([Event::AddressAdded { address: saved(HOME, "London", true) }])
        .again()
        .unchanged()
        .when(add(WORK, "Leeds", true))
        .state(|user| assert_eq!(user.addresses, [saved(HOME, "London", false), saved(WORK, "Leeds", true)]))
        .when(put(HOME, "Luton", true))
        .events([Event::AddressReplaced { address: saved(HOME, "Luton", true) }])
        .again()
        .unchanged()
        .state(|user| assert_eq!(user.addresses, [saved(HOME, "Luton", true), saved(WORK, "Leeds", false)]))
        .when(put(HOME, "Luton", false))
        .state(|user| assert!(user.addresses.iter().all(|saved| !saved.default)))
        .when(Command::RemoveAddress { id: HOME })
        .events([Event::AddressRemoved { id: HOME }])
        .again()
        .refused(Rejection::AddressNotFound)
        .when(put(HOME, "London", false))
        .refused(Rejection::AddressNotFound);
}

#[test]
fn a_user_keeps_a_bounded_number_of_addresses() {
    let full = (0..ADDRESSES_MAX as u128).map(|n| Event::AddressAdded { address: saved(AddressId(n), "York", false) });
    active()
        .history(full)
        .when(add(AddressId(1_000), "York", false))
        .refused(Rejection::TooManyAddresses { limit: 100 })
        .when(add(AddressId(5), "York", false)) // it is there
        .unchanged();
}

#[test]
fn sessions_come_and_go() {
    let session = SessionId(5);
    active()
        .when(Command::SessionOpened { session })
        .then(Reply::Done)
        .events(opened([5]))
        .again()
        .unchanged()
        .settled(true)
        .state(|user| assert_eq!(user.sessions, [OpenSession { id: session, opened_at: START }]))
        .when(Command::SessionClosed { session })
        .events([Event::SessionClosed { session }])
        .again()
        .unchanged();
}

#[test]
fn the_oldest_session_beyond_the_limit_is_revoked() {
    let dropped = SessionId(0);
    let key = format!("revoke:{dropped}");
    let given = active()
        .history(opened(0..SESSIONS_MAX as u128))
        .when(Command::SessionOpened { session: SessionId(999) })
        .events([Event::SessionDropped { session: dropped }, Event::SessionOpened { session: SessionId(999) }])
        .again()
        .unchanged()
        .owes([&key])
        .when(Command::SessionOpened { session: dropped }) // its own notice, repeated
        .unchanged();
    let (to, command) = given.owed::<Session>(&key);
    assert_eq!(to, dropped.to_string());
    assert!(matches!(command, session::Command::Revoke {}));
    given
        .when_answered::<Session>(&key, Ok(session::Reply::Revoked))
        .events([Event::SessionClosed { session: dropped }])
        .settled(true);
}

#[test]
fn no_session_is_taken_while_too_many_wait_for_their_end() {
    let mut given = active();
    for change in 0..(REVOKING_MAX / SESSIONS_MAX) as u128 {
        let ids = (0..SESSIONS_MAX as u128).map(|n| change * 1_000 + n);
        let changed = Event::PasswordChanged { password_hash: hash("n"), keep: SessionId(u128::MAX) };
        given = given.history(opened(ids).into_iter().chain([changed]));
    }
    given
        .when(Command::SessionOpened { session: SessionId(7_777_777) })
        .refused(Rejection::TooManySessions { limit: 1_000 });
}

#[test]
fn a_new_password_revokes_every_other_session_some_at_a_time() {
    let keep = SessionId(3);
    let mut given = active()
        .history(opened(0..40))
        .when(Command::ChangePassword { password_hash: hash("n"), proven: hash("h"), keep })
        .then(Reply::Done)
        .events([Event::PasswordChanged { password_hash: hash("n"), keep }])
        .again()
        .unchanged()
        .settled(false)
        .state(|user| {
            assert_eq!(user.active().unwrap().password_hash, hash("n"));
            assert_eq!(user.sessions.iter().map(|open| open.id).collect::<Vec<_>>(), [keep]);
            assert_eq!(user.revoking.len(), 39);
        });
    let mut answered = 0;
    while let Some(key) = given.owed_keys().first() {
        assert!(!given.state.settled() && given.owed_keys().len() <= REVOKES_AT_ONCE);
        // Revoked, or gone before we asked: it is over in any case.
        let outcome = if answered % 2 == 0 { Ok(session::Reply::Revoked) } else { Err(session::Rejection::NotFound) };
        given = given.when_answered::<Session>(key, outcome);
        answered += 1;
    }
    assert_eq!(answered, 39);
    given.settled(true);
}

#[test]
fn a_renewed_hash_is_of_the_same_password_and_signs_nobody_out() {
    let renew = |to: &str, proven: &str| Command::RenewHash { password_hash: hash(to), proven: hash(proven) };
    let change = |to: &str, proven: &str| Command::ChangePassword {
        password_hash: hash(to),
        proven: hash(proven),
        keep: SessionId(1),
    };
    let renewed = active()
        .history(opened([1, 2]))
        .when(renew("n", "h"))
        .events([Event::PasswordHashRenewed { password_hash: hash("n") }])
        .owes([])
        .state(|user| {
            let account = user.active().unwrap();
            assert_eq!((user.sessions.len(), &account.password_hash), (2, &hash("n")));
            assert!(account.is_proven_by(&hash("h")) && account.is_proven_by(&hash("n")));
            assert!(!account.is_proven_by(&hash("x")));
        })
        // Two who sign in at once renew the same hash: the second changes nothing.
        .when(renew("m", "h"))
        .then(Reply::Done)
        .unchanged();
    // Who proved the old one a moment before has proven the password.
    renewed
        .when(change("c", "h"))
        .events([Event::PasswordChanged { password_hash: hash("c"), keep: SessionId(1) }])
        .state(|user| assert!(!user.active().unwrap().is_proven_by(&hash("h"))))
        .when(change("d", "n"))
        .refused(Rejection::PasswordChanged)
        .when(renew("d", "n"))
        .unchanged();
}

#[test]
fn a_revoked_session_may_say_that_it_is_over_before_it_answers() {
    active()
        .history(opened([1, 2]))
        .when(Command::ChangePassword { password_hash: hash("n"), proven: hash("h"), keep: SessionId(2) })
        .when(Command::SessionClosed { session: SessionId(1) })
        .events([Event::SessionClosed { session: SessionId(1) }])
        .owes([])
        .settled(true);
}

#[test]
fn nobody_reads_a_password_hash() {
    let given = active();
    let shown = [
        serde_json::to_string(&given.state).unwrap(),
        serde_json::to_string(&registered(&[])).unwrap(),
        format!("{:?}", register("h", &[])),
    ];
    for text in shown {
        assert!(text.contains("[redacted]") && !text.contains("\"h\""), "{text}");
    }
}

/// Commands about few addresses, so that they meet.
fn about_addresses() -> impl Strategy<Value = Command> {
    (0..3, 0..6_u128, any::<bool>(), 0..3_u8).prop_map(|(what, n, default, city)| match what {
        0 => add(AddressId(n), &city.to_string(), default),
        1 => put(AddressId(n), &city.to_string(), default),
        _ => Command::RemoveAddress { id: AddressId(n) },
    })
}

proptest! {
    #[test]
    fn at_most_one_address_is_the_default_and_it_is_the_last_one_asked_for(
        commands in prop::collection::vec(about_addresses(), 0..60),
    ) {
        let mut given = active();
        for command in commands {
            given = given.when(command.clone());
            let defaults: Vec<_> = given.state.addresses.iter().filter(|saved| saved.default).collect();
            prop_assert!(defaults.len() <= 1);
            if let Command::PutAddress { id, default: true, .. } = command && given.last_outcome().is_ok() {
                prop_assert_eq!(defaults[0].id, id);
            }
        }
    }
}

#[test]
fn stored_bytes_stay_what_they_are() {
    let session = SessionId(2);
    let full = Address {
        name: "A".into(),
        line1: "B".into(),
        line2: Some("C".into()),
        city: "D".into(),
        region: None,
        postal_code: "E".into(),
        country: "GB".into(),
        phone: Some("F".into()),
        company: Some("G".into()),
    };
    let old = SavedAddress { id: HOME, address: Address { company: None, ..full.clone() }, default: true };
    let kept = SavedAddress { id: HOME, address: full, default: true };
    assert_golden(&[
        (
            registered(&[Role::Customer, Role::Seller, Role::Admin]),
            "1.1 000000000000000000000000000000010f616461406578616d706c652e636f6d0103416461016803010203",
        ),
        (Event::Activated, "2.1"),
        (Event::Refused, "3.1"),
        (Event::Renamed { name: Some("A".into()) }, "4.1 010141"),
        (
            Event::PasswordChanged { password_hash: hash("h"), keep: session },
            "5.1 016800000000000000000000000000000002",
        ),
        (Event::RolesSet { roles: roles(&[Role::Admin]) }, "6.1 0103"),
        (
            Event::AddressAdded { address: old.clone() },
            "7.1 0000000000000000000000000000000a01410142010143014400014502474201014601",
        ),
        (
            Event::AddressAdded { address: kept.clone() },
            "7.2 0000000000000000000000000000000a01410142010143014400014502474201014601014701",
        ),
        (
            Event::AddressReplaced { address: old },
            "8.1 0000000000000000000000000000000a01410142010143014400014502474201014601",
        ),
        (
            Event::AddressReplaced { address: kept },
            "8.2 0000000000000000000000000000000a01410142010143014400014502474201014601014701",
        ),
        (Event::PasswordHashRenewed { password_hash: hash("h") }, "16.1 0168"),
        (Event::AddressRemoved { id: HOME }, "9.1 0000000000000000000000000000000a"),
        (Event::SessionOpened { session }, "10.1 00000000000000000000000000000002"),
        (Event::SessionClosed { session }, "11.1 00000000000000000000000000000002"),
        (Event::SessionDropped { session }, "12.1 00000000000000000000000000000002"),
        (Event::KeyringTold { number: 1 }, "13.1 01"),
        (
            Event::RolesAsked { request: RequestId([1; 16]), roles: roles(&[Role::Seller]) },
            "14.1 010101010101010101010101010101010102",
        ),
        (Event::RolesRefused, "15.1"),
    ]);
    assert_golden(&[(Reply::Done, "1.1")]);
    assert_golden(&[
        (Rejection::NotActive, "1.1"),
        (Rejection::AlreadyRegistered, "2.1"),
        (Rejection::AddressNotFound, "3.1"),
        (Rejection::TooManyAddresses { limit: 100 }, "4.1 64"),
        (Rejection::TooManySessions { limit: 1_000 }, "5.1 fbe803"),
        (Rejection::PasswordChanged, "6.1"),
        (Rejection::RolesChangeInProgress, "7.1"),
    ]);
}
