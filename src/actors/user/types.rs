//! The public face of a user: an account, its addresses, and the list of its sessions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{Address, AddressId, Email, RequestId, Role, Secret, SessionId, Time, UserId};
use crate::{coded_enum, stored_enum};

pub enum User {}

impl Kind for User {
    const NUMBER: u8 = 2;
    const NAME: &'static str = "user";
    type Id = UserId;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;

    fn is_momentary(rejection: &Rejection) -> bool {
        matches!(rejection, Rejection::RolesChangeInProgress)
    }
}

stored_enum! {
    /// Password hashes are Argon2id in PHC form, made and verified by the edge, off the async threads.
    pub enum Command {
        /// `id` is this user's own. Settled when the email address is claimed: the status is then active, or
        /// refused (`email_taken`).
        (1, 1) => Register {
            id: UserId,
            email: Email,
            name: Option<String>,
            password_hash: Secret<String>,
            roles: BTreeSet<Role>,
        },
        /// `None` leaves the name, `Some(None)` removes it.
        (2, 1) => UpdateProfile { name: Option<Option<String>> },
        /// `proven`: the hash that the caller's current password was verified against; another one by now means
        /// that the password is not the current one any more. Settled when every session but `keep` is revoked.
        (3, 1) => ChangePassword { password_hash: Secret<String>, proven: Secret<String>, keep: SessionId },
        /// Settled when the keyring knows whether this user is an administrator. It may have refused to let the last
        /// one go: look at `roles_change` then.
        (4, 1) => SetRoles { roles: BTreeSet<Role> },
        /// A new address; with `default` it becomes the only default. The same id again changes nothing.
        (5, 1) => AddAddress { id: AddressId, address: Address, default: bool },
        /// The whole of an address.
        (6, 1) => PutAddress { id: AddressId, address: Address, default: bool },
        (7, 1) => RemoveAddress { id: AddressId },
        /// A session of this user has started. Owed by the session.
        (8, 1) => SessionOpened { session: SessionId },
        /// It is over. Owed by the session; also the answer to a revoke that this user owed.
        (9, 1) => SessionClosed { session: SessionId },
        /// The login answers: the address is this user's.
        (10, 1) => EmailClaimed {},
        /// The login answers: the address is somebody else's.
        (11, 1) => EmailRefused {},
        /// The keyring has taken note number `number`.
        (12, 1) => KeyringTold { number: u32 },
        /// The keyring does not let its last administrator go, as note number `number` asked.
        (13, 1) => KeyringRefused { number: u32 },
        /// The same password under the hash that is made now: nobody is signed out. `proven` as above: where it is not
        /// the present one any more, this changes nothing.
        (14, 1) => RenewHash { password_hash: Secret<String>, proven: Secret<String> },
    }
}

stored_enum! {
    pub enum Reply {
        /// Done, or under way: the outcome is in the state.
        (1, 1) => Done,
    }
}

stored_enum! {
    pub enum Rejection {
        /// Never registered, still registering, or refused. 404.
        (1, 1) => NotActive,
        /// This id has been registered with other data.
        (2, 1) => AlreadyRegistered,
        (3, 1) => AddressNotFound,
        (4, 1) => TooManyAddresses { limit: u32 },
        /// Too many old sessions are still waiting to be revoked: try later.
        (5, 1) => TooManySessions { limit: u32 },
        /// The password is no longer the one that was proven.
        (6, 1) => PasswordChanged,
        /// The role admin is being taken away: try again when that is decided.
        (7, 1) => RolesChangeInProgress,
    }
}

coded_enum! {
    pub enum Status {
        /// Nobody has registered under this id.
        Absent = 0 "absent",
        /// The email address is being claimed.
        Registering = 1 "registering",
        Active = 2 "active",
        /// The email address is somebody else's. Final: another try is another user.
        Refused = 3 "refused",
    }
}

/// The most addresses that a user keeps.
pub const ADDRESSES_MAX: usize = 100;
/// The most sessions that a user has; the oldest beyond is revoked.
pub const SESSIONS_MAX: usize = 100;
/// The most sessions that may wait to be revoked (their nodes are away) before no new one is taken.
pub const REVOKING_MAX: usize = 1_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pub id: UserId,
    pub status: Status,
    /// `None` for a user who is absent or refused.
    pub account: Option<Box<Account>>,
    /// In the order they were added; at most one is the default.
    pub addresses: Vec<SavedAddress>,
    /// Oldest first.
    pub sessions: Vec<OpenSession>,
    /// Sessions that are no longer in the list and are owed a `Revoke`, oldest first.
    pub revoking: Vec<SessionId>,
    pub keyring: KeyringNotice,
    /// The role admin is to go, or could not go the last time.
    pub roles_change: Option<Box<RolesChange>>,
}

/// Roles without admin for an administrator, which the keyring is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolesChange {
    pub request: RequestId,
    pub roles: BTreeSet<Role>,
    /// He is the last one, and stays.
    pub refused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub email: Email,
    pub name: Option<String>,
    pub password_hash: Secret<String>,
    /// The mark of the hash that the present one renewed: whoever has proven the old hash has proven this one.
    pub renews: Option<RequestId>,
    pub roles: BTreeSet<Role>,
    pub created_at: Time,
}

impl Account {
    /// Whether what was verified against this hash is the present password.
    pub fn is_proven_by(&self, hash: &Secret<String>) -> bool {
        self.password_hash == *hash || self.renews == Some(mark_of(hash))
    }
}

/// A mark that tells a hash from any other, and from which the hash cannot be computed.
pub fn mark_of(hash: &Secret<String>) -> RequestId {
    RequestId::of("password hash", &[hash.0.as_bytes()])
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAddress {
    pub id: AddressId,
    pub address: Address,
    pub default: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    pub id: SessionId,
    pub opened_at: Time,
}

/// What the keyring knows of this user's being an administrator. One notice is on its way at a time, so
/// that an old one can never overtake a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyringNotice {
    /// What the keyring has confirmed.
    pub told: bool,
    /// What it is being told.
    pub telling: Option<bool>,
    /// Number of the last notice.
    pub number: u32,
}

impl Default for State {
    fn default() -> Self {
        State {
            id: UserId::default(),
            status: Status::Absent,
            account: None,
            addresses: Vec::new(),
            sessions: Vec::new(),
            revoking: Vec::new(),
            keyring: KeyringNotice::default(),
            roles_change: None,
        }
    }
}

impl State {
    /// The account of an active user: what the edge may show and log in.
    pub fn active(&self) -> Option<&Account> {
        self.account.as_deref().filter(|_| self.status == Status::Active)
    }

    /// Whether this request was to take the role admin from the last one who has it.
    pub fn kept_as_last_administrator(&self, request: &RequestId) -> bool {
        self.roles_change.as_deref().is_some_and(|change| change.refused && change.request == *request)
    }
}
