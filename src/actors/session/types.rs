//! The public face of a session: one login on one device, and its chain of refresh tokens.

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{Secret, SessionId, Time, UserId};
use crate::{coded_enum, stored_enum};

pub enum Session {}

impl Kind for Session {
    const NUMBER: u8 = 4;
    const NAME: &'static str = "session";
    type Id = SessionId;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

stored_enum! {
    /// Refresh tokens are known here by their SHA-256 only.
    pub enum Command {
        /// A login; `id` is this session's own. Settled when the user's list has the session: look at the
        /// status then, because the user may have refused it.
        (1, 1) => Start { id: SessionId, user: UserId, refresh_hash: [u8; 32], user_agent: String },
        /// The client presents a refresh token and is to be given `next` instead, which is the same whenever this token
        /// is presented. `genuine`: the edge has proven that it has given this token out.
        (2, 1) => Refresh { presented: [u8; 32], next: [u8; 32], genuine: bool },
        /// Logout, or the user throws the session out. Settled when the user's list has lost it.
        (3, 1) => Revoke {},
        /// The user's list has the session (the answer to what a new session owes).
        (4, 1) => Listed {},
        /// The user does not take the session.
        (5, 1) => NotTaken {},
        /// The user's list has lost the session (the answer to what an ended session owes).
        (6, 1) => Delisted {},
        /// The time has come: what the session wakes up for.
        (7, 1) => Expire {},
    }
}

stored_enum! {
    pub enum Reply {
        (1, 1) => Started,
        /// Hand out `next`.
        (2, 1) => Refreshed,
        /// The token presented was good once and is no longer: somebody holds a copy. The session is revoked by this
        /// very command (hence no rejection: those change nothing). 401.
        (3, 1) => Reused,
        /// The session is over, now or already before.
        (4, 1) => Revoked,
        /// Taken note of, or nothing to do.
        (5, 1) => Noted,
    }
}

stored_enum! {
    pub enum Rejection {
        /// There is no such session. 401.
        (1, 1) => NotFound,
        /// It was revoked before. 401.
        (2, 1) => Revoked,
        /// Its refresh token is too old. 401.
        (3, 1) => Expired,
        /// It has been started, with another token.
        (4, 1) => AlreadyStarted,
        /// Too many tokens were spent within the grace of one: 429.
        (5, 1) => TooManyRefreshes { limit: u32 },
        /// The token presented does not belong to this session, or nothing proves that it ever did. 401.
        (6, 1) => NeverGood,
    }
}

coded_enum! {
    pub enum Status {
        /// Never started.
        Absent = 0 "absent",
        Active = 1 "active",
        Revoked = 2 "revoked",
        Expired = 3 "expired",
    }
}

coded_enum! {
    /// What the user entity, which keeps the list of sessions, knows of this one.
    pub enum Listing {
        /// Not told, or its answer has not come yet.
        Unlisted = 0 "unlisted",
        Listed = 1 "listed",
        /// Told that the session is over; or it never took it.
        Delisted = 2 "delisted",
    }
}

coded_enum! {
    /// Why a session was revoked.
    pub enum Cause {
        /// A logout, a password change, or too many sessions.
        Asked = 1 "asked",
        /// A refresh token came twice.
        Reuse = 2 "reuse",
        /// The user is not there (any more).
        NotTaken = 3 "not_taken",
    }
}

/// The most refresh tokens that are good at one time: more than one only where random ones were given out.
pub const LIVE_TOKENS_MAX: usize = 8;
/// The most tokens that are spent within the grace of one.
pub const SPENT_TOKENS_MAX: usize = 64;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pub id: SessionId,
    pub status: Status,
    pub listing: Listing,
    pub user: UserId,
    pub user_agent: Box<str>,
    pub created_at: Time,
    /// The last refresh, or the start.
    pub last_used_at: Time,
    /// When the refresh token stops being good; every refresh moves it.
    pub expires_at: Time,
    /// Hashes of the tokens that are good now: one, or some siblings that were given out for the same
    /// spent token. Empty when the session is over.
    pub live: Vec<Secret<[u8; 32]>>,
    /// The tokens that were spent last, and until when each still gives out its successor; oldest first.
    pub spent: Vec<(Secret<[u8; 32]>, Time)>,
    pub revoked_because: Option<Cause>,
}

impl Default for State {
    fn default() -> Self {
        State {
            id: SessionId::default(),
            status: Status::Absent,
            listing: Listing::Unlisted,
            user: UserId::default(),
            user_agent: "".into(),
            created_at: Time::ZERO,
            last_used_at: Time::ZERO,
            expires_at: Time::ZERO,
            live: Vec::new(),
            spent: Vec::new(),
            revoked_because: None,
        }
    }
}

impl State {
    /// Whether an access token of this session is good at `now`: the edge asks on every request.
    pub fn is_live(&self, now: Time) -> bool {
        self.status == Status::Active && now < self.expires_at
    }
}
