use super::types::RolesChange;
use super::*;
use crate::actors::keyring::types as keyring;
use crate::actors::testing::kit::Given;

const ADA: UserId = UserId(1);

fn roles(roles: &[Role]) -> BTreeSet<Role> {
    roles.iter().copied().collect()
}

fn set(given: &[Role]) -> Command {
    Command::SetRoles { roles: roles(given) }
}

/// An administrator whom the keyring does not know yet.
fn new_administrator() -> Given<State> {
    let registered = Event::Registered {
        id: ADA,
        email: "ada@example.com".parse().unwrap(),
        name: None,
        password_hash: Secret("h".into()),
        roles: roles(&[Role::Admin]),
    };
    Given::new().history([registered, Event::Activated])
}

fn administrator() -> Given<State> {
    new_administrator().when_answered::<Keyring>("keyring:1", Ok(keyring::Reply::Noted)).owes([]).settled(true)
}

#[test]
fn an_administrator_stays_one_until_the_keyring_lets_him_go() {
    let given = administrator().when(set(&[Role::Seller])).then(Reply::Done).settled(false).owes(["keyring:2"]);
    assert!(matches!(given.owed::<Keyring>("keyring:2").1, keyring::Command::RevokeAdmin { user: ADA }));
    given
        .again()
        .unchanged()
        .state(|user| assert!(user.is_admin()))
        .when(set(&[Role::Admin, Role::Seller]))
        .refused(Rejection::RolesChangeInProgress)
        .when_answered::<Keyring>("keyring:2", Ok(keyring::Reply::Noted))
        .events([Event::RolesSet { roles: roles(&[Role::Seller]) }, Event::KeyringTold { number: 2 }])
        .owes([])
        .settled(true)
        .when(Command::KeyringRefused { number: 2 }) // an old answer once more
        .unchanged()
        .state(|user| assert_eq!((user.is_admin(), &user.roles_change), (false, &None)));
}

#[test]
fn the_last_administrator_keeps_his_roles() {
    let given = administrator()
        .when(set(&[]))
        .when_answered::<Keyring>("keyring:2", Err(keyring::Rejection::LastAdministrator))
        .events([Event::RolesRefused])
        .owes([])
        .settled(true);
    let RolesChange { request, refused, .. } = *given.state.roles_change.clone().unwrap();
    assert!(refused && given.state.is_admin() && given.state.kept_as_last_administrator(&request));
    assert!(!given.state.kept_as_last_administrator(&RequestId([9; 16])));
    given
        .when(set(&[Role::Customer])) // another try is another question
        .owes(["keyring:3"])
        .when_answered::<Keyring>("keyring:3", Ok(keyring::Reply::Noted))
        .state(|user| assert!(!user.is_admin() && !user.kept_as_last_administrator(&request)));
}

#[test]
fn the_keyring_is_told_of_administrators_one_notice_at_a_time() {
    let given = new_administrator().owes(["keyring:1"]).settled(false);
    assert!(matches!(given.owed::<Keyring>("keyring:1").1, keyring::Command::GrantAdmin { user: ADA }));
    given
        .when(set(&[]))
        .owes(["keyring:1"]) // the grant may be under way: its answer comes first
        .when_answered::<Keyring>("keyring:1", Ok(keyring::Reply::Noted))
        .events([Event::KeyringTold { number: 1 }])
        .owes(["keyring:2"])
        .when(Command::KeyringTold { number: 1 }) // an old answer once more
        .unchanged()
        .when_answered::<Keyring>("keyring:2", Ok(keyring::Reply::Noted))
        .owes([])
        .settled(true)
        .when(set(&[Role::Admin]))
        .events([Event::RolesSet { roles: roles(&[Role::Admin]) }])
        .owes(["keyring:3"])
        .settled(false);
}

#[test]
fn a_password_is_changed_by_whoever_has_proven_the_present_one() {
    let change = |new: &str, proven: &str| Command::ChangePassword {
        password_hash: Secret(new.into()),
        proven: Secret(proven.into()),
        keep: SessionId(1),
    };
    administrator()
        .when(change("n", "h"))
        .then(Reply::Done)
        .when(change("m", "h"))
        .refused(Rejection::PasswordChanged)
        .when(change("n", "h")) // the first request once more
        .unchanged()
        .when(change("m", "n"))
        .then(Reply::Done);
}
