//! Users, sessions, logins and the keyring together, under arbitrary schedules: what they owe each other
//! is sent late, repeatedly and in any order, answers get lost or come twice, and clients act meanwhile.
//! The receivers keep receipts, as the runtime does. Whatever happened, once everything owed has been
//! answered, all of them agree.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

use proptest::prelude::*;

use super::*;
use crate::actors::entity::{AnyCommand, Kind, Outcome, Target};
use crate::actors::keyring::types as keyring;
use crate::actors::testing::kit::Given;

/// Two users who want the same email address, and who have these sessions in turn.
const USERS: [UserId; 2] = [UserId(0), UserId(1)];
const SESSIONS: u128 = 5;

/// Who owes: a user or a session, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Debtor {
    User(usize),
    Session(usize),
}

#[derive(Debug, Clone)]
struct Message {
    from: Debtor,
    key: String,
    command: AnyCommand,
}

#[derive(Debug, Clone)]
enum Step {
    Register(usize),
    SetAdmin(usize, bool),
    /// Somebody else becomes an administrator, or is to be none any more.
    Colleague(bool),
    ChangePassword(usize, u8),
    Start(usize),
    Refresh(usize, u8),
    Revoke(usize),
    Wait(u64),
    /// The n-th of what is owed now is put on its way (again).
    Send(usize),
    /// The n-th message on its way arrives; its answer is on its way then.
    Deliver(usize),
    /// The n-th answer arrives; when told to, it will come once more.
    Answer(usize, bool),
    /// The n-th answer is lost.
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (user, session, any_of) = (0..USERS.len(), 0..SESSIONS as usize, 0..100_usize);
    prop_oneof![
        1 => user.clone().prop_map(Step::Register),
        1 => (user.clone(), any::<bool>()).prop_map(|(user, admin)| Step::SetAdmin(user, admin)),
        1 => any::<bool>().prop_map(Step::Colleague),
        1 => (user, any::<u8>()).prop_map(|(user, n)| Step::ChangePassword(user, n)),
        2 => session.clone().prop_map(Step::Start),
        1 => (session.clone(), 0..3_u8).prop_map(|(session, n)| Step::Refresh(session, n)),
        1 => session.prop_map(Step::Revoke),
        1 => prop_oneof![0..20_000_u64, Just(30 * 24 * 3_600_000)].prop_map(Step::Wait),
        4 => any_of.clone().prop_map(Step::Send),
        4 => any_of.clone().prop_map(Step::Deliver),
        4 => (any_of.clone(), any::<bool>()).prop_map(|(n, again)| Step::Answer(n, again)),
        1 => any_of.prop_map(Step::Lose),
    ]
}

#[derive(Default)]
struct World {
    users: [Given<State>; 2],
    sessions: [Given<session::State>; SESSIONS as usize],
    login: Given<login::State>,
    keyring: Given<keyring::State>,
    sent: Vec<Message>,
    answers: Vec<(Debtor, String, Answer)>,
    receipts: BTreeMap<(Debtor, String), Answer>,
}

/// One command to one entity.
fn ask<S: Entity>(given: &mut Given<S>, command: <S::Kind as Kind>::Command) -> Outcome<S::Kind> {
    *given = take(given).when(command);
    given.last_outcome().clone().map(|decision| decision.reply)
}

/// The n-th of a list, counted round and round, taken out.
fn take_nth<T>(list: &mut Vec<T>, n: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(n % list.len()))
}

impl World {
    fn owed(&self) -> Vec<Message> {
        let of = |from: Debtor, owed: Vec<Owed>| {
            owed.into_iter().map(move |Owed { key, to }| match to {
                Target::Entity(command) => Message { from, key, command },
                Target::Gateway { name, .. } => panic!("people owe nothing to {name}"),
            })
        };
        let users = self.users.iter().enumerate().flat_map(|(n, user)| of(Debtor::User(n), user.state.owed()));
        let sessions = self.sessions.iter().enumerate();
        users.chain(sessions.flat_map(|(n, session)| of(Debtor::Session(n), session.state.owed()))).collect()
    }

    fn deliver(&mut self, Message { from, key, command }: Message) {
        let receipt = (from, key.clone());
        let answer = match self.receipts.get(&receipt) {
            Some(answer) => answer.clone(),
            None => self.decide(&command),
        };
        self.receipts.insert(receipt, answer.clone());
        self.answers.push((from, key, answer));
    }

    fn decide(&mut self, any: &AnyCommand) -> Answer {
        if let Some(command) = any.get::<Login>() {
            Answer::of_entity::<Login>(ask(&mut self.login, command.clone()))
        } else if let Some(command) = any.get::<Keyring>() {
            Answer::of_entity::<Keyring>(ask(&mut self.keyring, command.clone()))
        } else if let Some(command) = any.get::<Session>() {
            let id: SessionId = any.id.parse().unwrap();
            Answer::of_entity::<Session>(ask(&mut self.sessions[id.0 as usize], command.clone()))
        } else {
            let id: UserId = any.id.parse().unwrap();
            let command = any.get::<User>().unwrap().clone();
            Answer::of_entity::<User>(ask(&mut self.users[id.0 as usize], command))
        }
    }

    fn answer(&mut self, (from, key, answer): (Debtor, String, Answer)) {
        match from {
            Debtor::User(n) => {
                let command = self.users[n].state.answered(&key, &answer).unwrap();
                ask(&mut self.users[n], command).unwrap();
            }
            Debtor::Session(n) => {
                let command = self.sessions[n].state.answered(&key, &answer).unwrap();
                ask(&mut self.sessions[n], command).unwrap();
            }
        }
    }

    /// What a client does may be refused; that is no matter here.
    fn take_step(&mut self, step: Step) {
        match step {
            Step::Register(n) => {
                let email = "ada@example.com".parse().unwrap();
                let password_hash = Secret(n.to_string());
                let roles = BTreeSet::from([Role::Admin]);
                let _ = ask(
                    &mut self.users[n],
                    Command::Register { id: USERS[n], email, name: None, password_hash, roles },
                );
            }
            Step::SetAdmin(n, admin) => {
                let roles = if admin { BTreeSet::from([Role::Admin]) } else { BTreeSet::new() };
                let _ = ask(&mut self.users[n], Command::SetRoles { roles });
            }
            Step::Colleague(admin) => {
                let user = UserId(9);
                let change =
                    if admin { keyring::Command::GrantAdmin { user } } else { keyring::Command::RevokeAdmin { user } };
                let _ = ask(&mut self.keyring, change);
            }
            Step::ChangePassword(n, password) => {
                let keep = SessionId(u128::from(password) % SESSIONS);
                let password_hash = Secret(format!("new {password}"));
                let account = self.users[n].state.active();
                let proven = account.map_or_else(|| password_hash.clone(), |account| account.password_hash.clone());
                let _ = ask(&mut self.users[n], Command::ChangePassword { password_hash, proven, keep });
            }
            Step::Start(n) => {
                let user = USERS[n % USERS.len()];
                let (id, user_agent) = (SessionId(n as u128), String::new());
                let start = session::Command::Start { id, user, refresh_hash: [0; 32], user_agent };
                let _ = ask(&mut self.sessions[n], start);
            }
            Step::Refresh(n, token) => {
                let refresh =
                    session::Command::Refresh { presented: [token; 32], next: [token + 1; 32], genuine: true };
                let _ = ask(&mut self.sessions[n], refresh);
            }
            Step::Revoke(n) => {
                let _ = ask(&mut self.sessions[n], session::Command::Revoke {});
            }
            Step::Wait(ms) => {
                for session in &mut self.sessions {
                    *session = take(session).after_ms(ms).when(session::Command::Expire {});
                }
            }
            Step::Send(n) => self.sent.extend(take_nth(&mut self.owed(), n)),
            Step::Deliver(n) => {
                if let Some(message) = take_nth(&mut self.sent, n) {
                    self.deliver(message);
                }
            }
            Step::Answer(n, again) => {
                if let Some(answer) = take_nth(&mut self.answers, n) {
                    self.answers.extend(again.then(|| answer.clone()));
                    self.answer(answer);
                }
            }
            Step::Lose(n) => drop(take_nth(&mut self.answers, n)),
        }
    }

    /// Everything that is on its way arrives, and everything owed is sent until nothing is owed.
    fn come_to_rest(&mut self) {
        for _ in 0..100 {
            self.sent.extend(self.owed());
            if self.sent.is_empty() && self.answers.is_empty() {
                return;
            }
            for message in take(&mut self.sent) {
                self.deliver(message);
            }
            for answer in take(&mut self.answers) {
                self.answer(answer);
            }
        }
        panic!("still owed: {:?}", self.owed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn whatever_happens_in_between_they_agree_in_the_end(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::default();
        let mut administered = false;
        for step in steps {
            world.take_step(step);
            administered |= !world.keyring.state.administrators.is_empty();
            let now = !world.keyring.state.administrators.is_empty();
            prop_assert_eq!(now, administered, "a shop that had an administrator has one");
        }
        world.come_to_rest();

        prop_assert!(world.users.iter().all(|user| user.state.settled()), "a user is at rest");
        prop_assert!(world.sessions.iter().all(|session| session.state.settled()), "a session is at rest");
        let active = |n: &usize| world.users[*n].state.status == Status::Active;
        prop_assert_eq!((0..2).find(active).map(|n| USERS[n]), world.login.state.user, "the email address is his");
        prop_assert!(!(active(&0) && active(&1)), "one address, one user");
        for (n, user) in world.users.iter().enumerate() {
            let listed: BTreeSet<_> = user.state.sessions.iter().map(|open| open.id).collect();
            let live = world.sessions.iter().map(|session| &session.state);
            let live = live.filter(|session| session.status == session::Status::Active && session.user == USERS[n]);
            prop_assert_eq!(listed, live.map(|session| session.id).collect(), "the list is what is active");
            let administrates = world.keyring.state.administrators.contains(&USERS[n]);
            prop_assert_eq!(administrates, user.state.is_admin(), "the keyring knows its administrators");
        }
    }
}
