//! A user: the account, its addresses, and the list of its sessions.
//!
//! # Registering
//!
//! An email address belongs to one user. `Registered` therefore leaves the user *registering*, and owing
//! its login entity a claim; the answer makes it active, or refused for ever. A crash at any point leaves
//! a registering user who still owes the same claim, asks again and gets the same answer. A refused user
//! keeps nothing in its state, and its id is not used again.
//!
//! # Sessions
//!
//! Sessions tell their user when they start and end. The list is bounded: the oldest beyond is revoked. A
//! password change revokes all sessions but the one that asked. A session that is to go leaves the list at
//! once and stays in `revoking`, owed a `Revoke`, until it has answered: a crash in between repeats the
//! `Revoke`, which changes nothing the second time. Some are owed at a time, the rest in turn.
//!
//! # Administrators
//!
//! The keyring keeps the set of administrators, and who is the last of them stays: see [`roles`].
//!
//! All of this is level-triggered: the state says what is owed, the runtime repeats it until the answer is
//! recorded, and an answer to what is no longer owed decides nothing. So there is no step to lose, and
//! what a crash leaves is always a state that goes on from where it stands.

pub mod types;

mod owed;
mod roles;

#[cfg(test)]
mod roles_tests;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::entity::{Answer, Ctx, Decision, DecisionOf, Entity, Owed, codec};
use super::keyring::types::Keyring;
use super::login::types::{self as login, Login};
use super::session::types::{self as session, Session};
use super::values::old::AddressV1;
use super::values::{Address, AddressId, Email, RequestId, Role, Secret, SessionId, Time, UserId};
use crate::stored_enum;
use owed::OwedKey;
use types::{
    ADDRESSES_MAX, Account, Command, OpenSession, REVOKING_MAX, Rejection, Reply, SESSIONS_MAX, SavedAddress, State,
    Status, User,
};

stored_enum! {
    pub enum Event {
        (1, 1) => Registered {
            id: UserId,
            email: Email,
            name: Option<String>,
            password_hash: Secret<String>,
            roles: BTreeSet<Role>,
        },
        (2, 1) => Activated,
        /// The email address is somebody else's.
        (3, 1) => Refused,
        (4, 1) => Renamed { name: Option<String> },
        /// Every session but `keep` is to be revoked.
        (5, 1) => PasswordChanged { password_hash: Secret<String>, keep: SessionId },
        (6, 1) => RolesSet { roles: BTreeSet<Role> },
        /// When it is the default, no other one is.
        (7, 2) => AddressAdded { address: SavedAddress },
        (8, 2) => AddressReplaced { address: SavedAddress },
        (9, 1) => AddressRemoved { id: AddressId },
        (10, 1) => SessionOpened { session: SessionId },
        (11, 1) => SessionClosed { session: SessionId },
        /// Newer sessions have pushed it out: it is to be revoked.
        (12, 1) => SessionDropped { session: SessionId },
        /// The keyring has answered the notice of this number.
        (13, 1) => KeyringTold { number: u32 },
        /// The role admin is to go, if the keyring lets it.
        (14, 1) => RolesAsked { request: RequestId, roles: BTreeSet<Role> },
        /// It does not: this is the last administrator.
        (15, 1) => RolesRefused,
        /// The same password, hashed anew.
        (16, 1) => PasswordHashRenewed { password_hash: Secret<String> },
    }
    old {
        // Before addresses had a company.
        (7, 1) => |bytes| Ok(Event::AddressAdded { address: old_address(bytes)? }),
        (8, 1) => |bytes| Ok(Event::AddressReplaced { address: old_address(bytes)? }),
    }
}

fn old_address(bytes: &[u8]) -> Result<SavedAddress, codec::CodecError> {
    let ((id, address, default),): ((AddressId, AddressV1, bool),) = codec::decode(bytes)?;
    Ok(SavedAddress { id, address: address.into(), default })
}

/// How many revokes are owed at once; the rest waits its turn (see [`super::entity::OWED_MAX`]).
const REVOKES_AT_ONCE: usize = 16;

type Decided = Result<Vec<Event>, Rejection>;

impl State {
    fn is_listed(&self, session: SessionId) -> bool {
        self.sessions.iter().any(|open| open.id == session)
    }

    fn address(&self, id: AddressId) -> Option<&SavedAddress> {
        self.addresses.iter().find(|saved| saved.id == id)
    }

    /// The account, for what only an active user may do.
    fn account(&self) -> Result<&Account, Rejection> {
        self.active().ok_or(Rejection::NotActive)
    }

    /// Whether a registration under this id is a new one, and not the very same request once more (which
    /// the salt in the hash tells).
    fn is_new(&self, email: &Email, password_hash: &Secret<String>) -> Result<bool, Rejection> {
        let same = |account: &Account| account.email == *email && account.password_hash == *password_hash;
        match self.status {
            Status::Absent => Ok(true),
            Status::Registering | Status::Active if self.account.as_deref().is_some_and(same) => Ok(false),
            Status::Registering | Status::Active | Status::Refused => Err(Rejection::AlreadyRegistered),
        }
    }

    fn rename(&self, name: Option<Option<String>>) -> Decided {
        let present = &self.account()?.name;
        let renamed = name.filter(|name| name != present).map(|name| Event::Renamed { name });
        Ok(renamed.into_iter().collect())
    }

    fn change_password(&self, password_hash: Secret<String>, proven: &Secret<String>, keep: SessionId) -> Decided {
        let account = self.account()?;
        if account.password_hash == password_hash {
            return Ok(vec![]); // this very request came twice
        }
        if !account.is_proven_by(proven) {
            return Err(Rejection::PasswordChanged);
        }
        Ok(vec![Event::PasswordChanged { password_hash, keep }])
    }

    fn renew_hash(&self, password_hash: Secret<String>, proven: &Secret<String>) -> Decided {
        let is_present = self.account()?.password_hash == *proven;
        Ok(if is_present { vec![Event::PasswordHashRenewed { password_hash }] } else { vec![] })
    }

    fn add_address(&self, address: SavedAddress) -> Decided {
        self.account()?;
        match self.address(address.id) {
            Some(_) => Ok(vec![]),
            None if self.addresses.len() >= ADDRESSES_MAX => {
                Err(Rejection::TooManyAddresses { limit: ADDRESSES_MAX as u32 })
            }
            None => Ok(vec![Event::AddressAdded { address }]),
        }
    }

    fn put_address(&self, address: SavedAddress) -> Decided {
        self.account()?;
        match self.address(address.id) {
            None => Err(Rejection::AddressNotFound),
            Some(present) if *present == address => Ok(vec![]),
            Some(_) => Ok(vec![Event::AddressReplaced { address }]),
        }
    }

    fn remove_address(&self, id: AddressId) -> Decided {
        self.account()?;
        self.address(id).map(|_| vec![Event::AddressRemoved { id }]).ok_or(Rejection::AddressNotFound)
    }

    fn open_session(&self, session: SessionId) -> Decided {
        self.account()?;
        if self.is_listed(session) || self.revoking.contains(&session) {
            return Ok(vec![]);
        }
        if self.revoking.len() >= REVOKING_MAX {
            return Err(Rejection::TooManySessions { limit: REVOKING_MAX as u32 });
        }
        let mut events = Vec::with_capacity(2);
        if self.sessions.len() >= SESSIONS_MAX {
            events.extend(self.sessions.first().map(|oldest| Event::SessionDropped { session: oldest.id }));
        }
        events.push(Event::SessionOpened { session });
        Ok(events)
    }

    fn close_session(&self, session: SessionId) -> Vec<Event> {
        let known = self.is_listed(session) || self.revoking.contains(&session);
        if known { vec![Event::SessionClosed { session }] } else { vec![] }
    }

    fn activate(&mut self) {
        self.status = Status::Active;
        self.tell_keyring();
    }

    fn change_account(&mut self, change: impl FnOnce(&mut Account)) {
        if let Some(account) = &mut self.account {
            change(account);
        }
    }

    /// Adds or replaces an address; a new default takes the place of the old one.
    fn keep_address(&mut self, address: &SavedAddress) {
        if address.default {
            self.addresses.iter_mut().for_each(|saved| saved.default = false);
        }
        match self.addresses.iter_mut().find(|saved| saved.id == address.id) {
            Some(saved) => *saved = address.clone(),
            None => self.addresses.push(address.clone()),
        }
    }

    fn revoke_all_but(&mut self, keep: SessionId) {
        self.revoking.extend(self.sessions.iter().map(|open| open.id).filter(|id| *id != keep));
        self.sessions.retain(|open| open.id == keep);
    }
}

impl Entity for State {
    type Kind = User;
    type Event = Event;
    const STATE_VERSION: u16 = 4;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        let events = match command {
            Command::Register { id, email, name, password_hash, roles } if self.is_new(&email, &password_hash)? => {
                vec![Event::Registered { id, email, name, password_hash, roles }]
            }
            Command::Register { .. } => vec![],
            Command::UpdateProfile { name } => self.rename(name)?,
            Command::ChangePassword { password_hash, proven, keep } => {
                self.change_password(password_hash, &proven, keep)?
            }
            Command::RenewHash { password_hash, proven } => self.renew_hash(password_hash, &proven)?,
            Command::SetRoles { roles } => self.set_roles(roles, ctx.request)?,
            Command::AddAddress { id, address, default } => self.add_address(SavedAddress { id, address, default })?,
            Command::PutAddress { id, address, default } => self.put_address(SavedAddress { id, address, default })?,
            Command::RemoveAddress { id } => self.remove_address(id)?,
            Command::SessionOpened { session } => self.open_session(session)?,
            Command::SessionClosed { session } => self.close_session(session),
            Command::EmailClaimed {} if self.status == Status::Registering => vec![Event::Activated],
            Command::EmailRefused {} if self.status == Status::Registering => vec![Event::Refused],
            Command::EmailClaimed {} | Command::EmailRefused {} => vec![],
            Command::KeyringTold { number } => self.keyring_told(number),
            Command::KeyringRefused { number } => self.keyring_refused(number),
        };
        Ok(Decision::new(events, Reply::Done))
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::Registered { id, email, name, password_hash, roles } => {
                self.id = *id;
                self.status = Status::Registering;
                self.account = Some(Box::new(Account {
                    email: email.clone(),
                    name: name.clone(),
                    password_hash: password_hash.clone(),
                    renews: None,
                    roles: roles.clone(),
                    created_at: at,
                }));
            }
            Event::Activated => self.activate(),
            Event::Refused => {
                self.status = Status::Refused;
                self.account = None;
            }
            Event::Renamed { name } => self.change_account(|account| account.name.clone_from(name)),
            Event::PasswordChanged { password_hash, keep } => {
                self.change_account(|account| {
                    account.password_hash = password_hash.clone();
                    account.renews = None;
                });
                self.revoke_all_but(*keep);
            }
            Event::PasswordHashRenewed { password_hash } => self.change_account(|account| {
                account.renews = Some(types::mark_of(&account.password_hash));
                account.password_hash = password_hash.clone();
            }),
            Event::RolesSet { roles } => {
                self.change_account(|account| account.roles.clone_from(roles));
                self.roles_change = None;
                self.tell_keyring();
            }
            Event::RolesAsked { request, roles } => self.roles_asked(*request, roles),
            Event::RolesRefused => self.roles_refused(),
            Event::AddressAdded { address } | Event::AddressReplaced { address } => self.keep_address(address),
            Event::AddressRemoved { id } => self.addresses.retain(|saved| saved.id != *id),
            Event::SessionOpened { session } => self.sessions.push(OpenSession { id: *session, opened_at: at }),
            Event::SessionClosed { session } => {
                self.sessions.retain(|open| open.id != *session);
                self.revoking.retain(|id| id != session);
            }
            Event::SessionDropped { session } => {
                self.sessions.retain(|open| open.id != *session);
                self.revoking.push(*session);
            }
            Event::KeyringTold { .. } => {
                self.keyring.told = self.keyring.telling.take().unwrap_or(self.keyring.told);
                self.tell_keyring();
            }
        }
    }

    fn owed(&self) -> Vec<Owed> {
        let claim = self.account.as_ref().filter(|_| self.status == Status::Registering).map(|account| {
            Owed::to::<Login>(OwedKey::Claim, &(&account.email).into(), login::Command::Claim { user: self.id })
        });
        let revokes = self.revoking.iter().take(REVOKES_AT_ONCE);
        let revokes =
            revokes.map(|id| Owed::to::<Session>(OwedKey::Revoke { session: *id }, id, session::Command::Revoke {}));
        claim.into_iter().chain(self.notice()).chain(revokes).collect()
    }

    fn answered(&self, key: &str, answer: &Answer) -> Option<Command> {
        Some(match key.parse().ok()? {
            OwedKey::Claim => match answer.entity::<Login>()? {
                Ok(login::Reply::Claimed | login::Reply::Released) => Command::EmailClaimed {},
                Err(login::Rejection::Taken) => Command::EmailRefused {},
            },
            OwedKey::Keyring { number } => roles::answered(number, answer.entity::<Keyring>()?),
            OwedKey::Revoke { session } => {
                // Revoked now or before, or never started: it is over in any case.
                answer.entity::<Session>()?;
                Command::SessionClosed { session }
            }
        })
    }

    fn settled(&self) -> bool {
        self.status != Status::Registering && self.keyring.telling.is_none() && self.revoking.is_empty()
    }

    fn violations(&self) -> Vec<&'static str> {
        let mut broken = Vec::new();
        let mut check = |holds: bool, name| {
            if !holds {
                broken.push(name);
            }
        };
        let active = self.status == Status::Active;
        let has_account = active || self.status == Status::Registering;
        check(self.account.is_some() == has_account, "a user has an account from registering on, unless refused");
        let empty = self.addresses.is_empty() && self.sessions.is_empty() && self.revoking.is_empty();
        check(active || empty, "only an active user has addresses and sessions");
        check(self.addresses.iter().filter(|saved| saved.default).count() <= 1, "at most one address is the default");
        check(self.addresses.len() <= ADDRESSES_MAX, "a user keeps a bounded number of addresses");
        check(self.sessions.len() <= SESSIONS_MAX, "a user has a bounded number of sessions");
        check(self.revoking.len() <= REVOKING_MAX + SESSIONS_MAX, "a bounded number of sessions waits for its end");
        let revoked_twice = self.revoking.iter().any(|id| self.is_listed(*id));
        check(!revoked_twice, "a session is either listed or to be revoked");
        let behind = self.keyring.told != self.is_admin();
        check(
            self.keyring.telling.is_some() || !behind,
            "the keyring knows, or is being told, who is an administrator",
        );
        check(self.keyring.telling != Some(self.keyring.told), "the keyring is told news only");
        check(
            !self.is_resigning() || (self.is_admin() && self.keyring.telling.is_some()),
            "an administrator stays one until the keyring lets him go",
        );
        broken
    }

    fn size_bytes(&self) -> usize {
        let account = self.account.as_ref().map_or(0, |account| {
            let name = account.name.as_ref().map_or(0, String::capacity);
            // a set of roles is one leaf of the tree: 11 places and a few words
            size_of::<Account>() + account.email.as_str().len() + name + account.password_hash.0.capacity() + 32
        });
        let addresses: usize = self.addresses.iter().map(|saved| text_bytes(&saved.address)).sum();
        size_of::<Self>()
            + account
            + self.addresses.capacity() * size_of::<SavedAddress>()
            + addresses
            + self.sessions.capacity() * size_of::<OpenSession>()
            + self.revoking.capacity() * size_of::<SessionId>()
    }
}

/// What the texts of an address take on the heap.
fn text_bytes(address: &Address) -> usize {
    let Address { name, line1, line2, city, region, postal_code, country, phone, company } = address;
    let always = [name, line1, city, postal_code, country];
    let maybe = [line2, region, phone, company];
    always.iter().map(|text| text.capacity()).sum::<usize>()
        + maybe.iter().filter_map(|text| text.as_ref()).map(String::capacity).sum::<usize>()
}
