//! Who administrates the shop: what a user and the keyring tell each other.
//!
//! The keyring keeps the set of administrators. A user whose role admin comes owes it a notice (`GrantAdmin`);
//! one who is to lose the role *asks* (`RevokeAdmin`), and stays an administrator until the keyring has let
//! him go: it refuses the last one. Two administrators who take the role from each other at the same moment
//! meet there, and one of them stays.
//!
//! One notice is on its way at a time, each with a number of its own: a change that comes meanwhile waits for
//! the answer and becomes the next notice, so a late `GrantAdmin` never undoes a `RevokeAdmin`. A crash at any
//! point leaves a notice that is still owed under its number.

use std::collections::BTreeSet;

use super::owed::OwedKey;
use super::types::{Account, Command, Rejection, RolesChange, State};
use super::{Decided, Event};
use crate::actors::entity::{Outcome, Owed};
use crate::actors::keyring::types::{self as keyring, Keyring};
use crate::actors::values::{Only, RequestId, Role};

impl State {
    pub(super) fn is_admin(&self) -> bool {
        self.active().is_some_and(|account| account.roles.contains(&Role::Admin))
    }

    /// Whether the keyring is, or will be, asked to let this administrator go.
    pub(super) fn is_resigning(&self) -> bool {
        self.roles_change.as_deref().is_some_and(|change| !change.refused)
    }

    pub(super) fn set_roles(&self, roles: BTreeSet<Role>, request: RequestId) -> Decided {
        let Account { roles: present, .. } = self.active().ok_or(Rejection::NotActive)?;
        if self.is_resigning() {
            let same = self.roles_change.as_deref().is_some_and(|change| change.request == request);
            return if same { Ok(vec![]) } else { Err(Rejection::RolesChangeInProgress) };
        }
        Ok(match roles {
            roles if roles == *present => vec![],
            roles if present.contains(&Role::Admin) && !roles.contains(&Role::Admin) => {
                vec![Event::RolesAsked { request, roles }]
            }
            roles => vec![Event::RolesSet { roles }],
        })
    }

    /// The keyring has taken note: an administrator who was to lose the role has lost it.
    pub(super) fn keyring_told(&self, number: u32) -> Vec<Event> {
        let Some(admin) = self.notified(number) else { return vec![] };
        let gone = self.roles_change.as_deref().filter(|_| !admin && self.is_resigning());
        let set = gone.map(|change| Event::RolesSet { roles: change.roles.clone() });
        set.into_iter().chain([Event::KeyringTold { number }]).collect()
    }

    /// The keyring keeps its last administrator.
    pub(super) fn keyring_refused(&self, number: u32) -> Vec<Event> {
        match self.notified(number) {
            Some(false) if self.is_resigning() => vec![Event::RolesRefused],
            // The notice is of an older version, which gave the role up before it told the keyring.
            Some(_) => vec![Event::KeyringTold { number }],
            None => vec![],
        }
    }

    /// What the notice of this number says, while it is on its way.
    fn notified(&self, number: u32) -> Option<bool> {
        self.keyring.telling.filter(|_| self.keyring.number == number)
    }

    pub(super) fn roles_asked(&mut self, request: RequestId, roles: &BTreeSet<Role>) {
        self.roles_change = Some(Box::new(RolesChange { request, roles: roles.clone(), refused: false }));
        self.tell_keyring();
    }

    pub(super) fn roles_refused(&mut self) {
        self.keyring.telling = None;
        if let Some(change) = &mut self.roles_change {
            change.refused = true;
        }
    }

    /// Starts the next notice to the keyring, when it is due one and none is on its way.
    pub(super) fn tell_keyring(&mut self) {
        let admin = self.is_admin() && !self.is_resigning();
        if self.keyring.telling.is_none() && self.keyring.told != admin {
            self.keyring.telling = Some(admin);
            self.keyring.number += 1;
        }
    }

    pub(super) fn notice(&self) -> Option<Owed> {
        let (user, number) = (self.id, self.keyring.number);
        let command = if self.keyring.telling? {
            keyring::Command::GrantAdmin { user }
        } else {
            keyring::Command::RevokeAdmin { user }
        };
        Some(Owed::to::<Keyring>(OwedKey::Keyring { number }, &Only, command))
    }
}

/// What the keyring's answer to the notice of this number means.
pub(super) fn answered(number: u32, outcome: &Outcome<Keyring>) -> Command {
    match outcome {
        Ok(keyring::Reply::Ensured | keyring::Reply::Noted) => Command::KeyringTold { number },
        Err(keyring::Rejection::LastAdministrator) => Command::KeyringRefused { number },
    }
}
