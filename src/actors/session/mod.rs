//! A session: one login on one device. It lives as long as its chain of refresh tokens, and an access
//! token is good only while its session is.
//!
//! # Refresh tokens
//!
//! Each refresh spends the token presented and gives out the next one. A reply may get lost, and two tabs may refresh
//! at once, so for a short grace a spent token may be presented again; it then gives out *the same* next one. The
//! edge derives each token from the one before with a key of the shop, so nothing but hashes is stored here.
//!
//! A token that was spent longer ago is a copy: there are two holders, and which of them is the thief cannot be
//! known, so the whole session is revoked. The hashes of old tokens are not kept; the edge says whether it has made
//! the token that it presents (`genuine`). A token that was never given out proves nothing, and revokes nothing.
//!
//! Sessions that began before tokens were derived have random ones. Their first refresh goes over to derived ones;
//! of their old tokens only the ones that are good and the one spent last are known.
//!
//! # The user's list
//!
//! The user entity keeps the list of its sessions. A new session owes it `SessionOpened`; one that is over
//! owes it `SessionClosed`, but only after the first was answered, so that the two never swap. Both are
//! level-triggered and repeated until answered. What a crash leaves:
//!
//! - after `Started`: an unlisted session whose token nobody has yet (the edge hands it out only when the
//!   session is settled). It is listed after the restart, and expires unused.
//! - after `Rotated`: the reply is lost; the client presents the spent token again within the grace.
//! - after `Revoked` or `Expired`: refused at once everywhere; the list loses it after the restart.

mod owed;
pub mod types;

#[cfg(test)]
mod tests;

use super::entity::{Answer, Ctx, Decision, DecisionOf, Entity, Owed};
use super::user::types::{self as user, User};
use super::values::{Secret, SessionId, Time, UserId};
use crate::stored_enum;
use owed::OwedKey;
use types::{Cause, Command, LIVE_TOKENS_MAX, Listing, Rejection, Reply, SPENT_TOKENS_MAX, Session, State, Status};

type TokenHash = Secret<[u8; 32]>;

stored_enum! {
    pub enum Event {
        (1, 1) => Started { id: SessionId, user: UserId, token: TokenHash, user_agent: String, expires_at: Time },
        (2, 1) => Rotated { spent: TokenHash, next: TokenHash, grace_until: Time, expires_at: Time },
        /// The spent token came again within its grace, and its successor was a random one, of which only the hash is
        /// known: here is another one.
        (3, 1) => Reissued { next: TokenHash, expires_at: Time },
        (4, 1) => Revoked { because: Cause },
        (5, 1) => Expired,
        (6, 1) => Listed,
        (7, 1) => Delisted,
    }
}

type Decided = Result<Decision<Event, Reply>, Rejection>;

impl State {
    fn start(&self, id: SessionId, user: UserId, hash: [u8; 32], user_agent: String, ctx: &Ctx) -> Decided {
        match self.status {
            Status::Absent => {
                let expires_at = ctx.now.plus_ms(ctx.policy.auth.refresh_ttl_ms);
                let started = Event::Started { id, user, token: Secret(hash), user_agent, expires_at };
                Ok(Decision::new(vec![started], Reply::Started))
            }
            Status::Active if self.live.contains(&Secret(hash)) => Ok(Decision::unchanged(Reply::Started)),
            Status::Active | Status::Revoked | Status::Expired => Err(Rejection::AlreadyStarted),
        }
    }

    fn refresh(&self, presented: [u8; 32], next: [u8; 32], genuine: bool, ctx: &Ctx) -> Decided {
        match self.status {
            Status::Absent => return Err(Rejection::NotFound),
            Status::Revoked => return Err(Rejection::Revoked),
            Status::Expired => return Err(Rejection::Expired),
            Status::Active if ctx.now >= self.expires_at => return Err(Rejection::Expired),
            Status::Active => {}
        }
        let (presented, next) = (Secret(presented), Secret(next));
        let expires_at = ctx.now.plus_ms(ctx.policy.auth.refresh_ttl_ms);
        if self.live.contains(&presented) {
            if self.spent.iter().filter(|(_, grace_until)| ctx.now <= *grace_until).count() >= SPENT_TOKENS_MAX {
                return Err(Rejection::TooManyRefreshes { limit: SPENT_TOKENS_MAX as u32 });
            }
            let grace_until = ctx.now.plus_ms(ctx.policy.auth.refresh_grace_ms);
            let rotated = Event::Rotated { spent: presented, next, grace_until, expires_at };
            return Ok(Decision::new(vec![rotated], Reply::Refreshed));
        }
        match self.spent.iter().find(|(spent, _)| *spent == presented) {
            Some((_, grace_until)) if ctx.now <= *grace_until => self.again(next, expires_at),
            Some(_) => Ok(Decision::new(vec![Event::Revoked { because: Cause::Reuse }], Reply::Reused)),
            None if genuine => Ok(Decision::new(vec![Event::Revoked { because: Cause::Reuse }], Reply::Reused)),
            None => Err(Rejection::NeverGood),
        }
    }

    /// The successor of a token that came again within its grace: the same as before.
    fn again(&self, next: TokenHash, expires_at: Time) -> Decided {
        if self.live.contains(&next) || self.spent.iter().any(|(spent, _)| *spent == next) {
            return Ok(Decision::unchanged(Reply::Refreshed));
        }
        if self.live.len() >= LIVE_TOKENS_MAX {
            return Err(Rejection::TooManyRefreshes { limit: LIVE_TOKENS_MAX as u32 });
        }
        Ok(Decision::new(vec![Event::Reissued { next, expires_at }], Reply::Refreshed))
    }

    fn revoke(&self) -> Decided {
        match self.status {
            Status::Absent => Err(Rejection::NotFound),
            Status::Active => Ok(Decision::new(vec![Event::Revoked { because: Cause::Asked }], Reply::Revoked)),
            Status::Revoked | Status::Expired => Ok(Decision::unchanged(Reply::Revoked)),
        }
    }

    /// The user does not take the session: it is over, and there is nothing to take off his list.
    fn not_taken(&self) -> Vec<Event> {
        match (self.listing, self.status) {
            (Listing::Listed | Listing::Delisted, _) | (_, Status::Absent) => vec![],
            (Listing::Unlisted, Status::Active) => {
                vec![Event::Revoked { because: Cause::NotTaken }, Event::Delisted]
            }
            (Listing::Unlisted, Status::Revoked | Status::Expired) => vec![Event::Delisted],
        }
    }

    /// What the session tells the user next, if anything.
    fn notice(&self) -> Option<(OwedKey, user::Command)> {
        let session = self.id;
        match (self.status, self.listing) {
            (Status::Absent, _) | (_, Listing::Delisted) | (Status::Active, Listing::Listed) => None,
            (_, Listing::Unlisted) => Some((OwedKey::Opened, user::Command::SessionOpened { session })),
            (Status::Revoked | Status::Expired, Listing::Listed) => {
                Some((OwedKey::Closed, user::Command::SessionClosed { session }))
            }
        }
    }

    fn owes(&self, key: OwedKey) -> bool {
        self.notice().is_some_and(|(owed, _)| owed == key)
    }

    fn end(&mut self, status: Status) {
        self.status = status;
        self.live = Vec::new();
        self.spent = Vec::new();
    }
}

impl Entity for State {
    type Kind = Session;
    type Event = Event;
    const STATE_VERSION: u16 = 2;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        let noted = |events| Ok(Decision::new(events, Reply::Noted));
        match command {
            Command::Start { id, user, refresh_hash, user_agent } => {
                self.start(id, user, refresh_hash, user_agent, ctx)
            }
            Command::Refresh { presented, next, genuine } => self.refresh(presented, next, genuine, ctx),
            Command::Revoke {} => self.revoke(),
            Command::Listed {} if self.owes(OwedKey::Opened) => noted(vec![Event::Listed]),
            Command::Delisted {} if self.owes(OwedKey::Closed) => noted(vec![Event::Delisted]),
            Command::Listed {} | Command::Delisted {} => noted(vec![]),
            Command::NotTaken {} => noted(self.not_taken()),
            Command::Expire {} if self.wake_at().is_some_and(|due| due <= ctx.now) => noted(vec![Event::Expired]),
            Command::Expire {} => noted(vec![]),
        }
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::Started { id, user, token, user_agent, expires_at } => {
                *self = State {
                    id: *id,
                    status: Status::Active,
                    user: *user,
                    user_agent: user_agent.as_str().into(),
                    created_at: at,
                    last_used_at: at,
                    expires_at: *expires_at,
                    live: vec![token.clone()],
                    ..State::default()
                };
            }
            Event::Rotated { spent, next, grace_until, expires_at } => {
                self.live = vec![next.clone()];
                self.spent.retain(|(_, grace_until)| at <= *grace_until);
                self.spent.push((spent.clone(), *grace_until));
                // What was recorded before there was a bound.
                let beyond = self.spent.len().saturating_sub(SPENT_TOKENS_MAX + 1);
                self.spent.drain(..beyond);
                (self.last_used_at, self.expires_at) = (at, *expires_at);
            }
            Event::Reissued { next, expires_at } => {
                self.live.push(next.clone());
                (self.last_used_at, self.expires_at) = (at, *expires_at);
            }
            Event::Revoked { because } => {
                self.end(Status::Revoked);
                self.revoked_because = Some(*because);
            }
            Event::Expired => self.end(Status::Expired),
            Event::Listed => self.listing = Listing::Listed,
            Event::Delisted => self.listing = Listing::Delisted,
        }
    }

    fn owed(&self) -> Vec<Owed> {
        self.notice().map(|(key, command)| Owed::to::<User>(key, &self.user, command)).into_iter().collect()
    }

    fn answered(&self, key: &str, answer: &Answer) -> Option<Command> {
        let outcome = answer.entity::<User>()?;
        match (key.parse().ok()?, outcome) {
            (OwedKey::Opened, Ok(user::Reply::Done)) => Some(Command::Listed {}),
            (OwedKey::Opened, Err(_)) => Some(Command::NotTaken {}),
            (OwedKey::Closed, Ok(_) | Err(_)) => Some(Command::Delisted {}),
        }
    }

    fn wake_at(&self) -> Option<Time> {
        (self.status == Status::Active).then_some(self.expires_at)
    }

    fn wake() -> Option<Command> {
        Some(Command::Expire {})
    }

    fn settled(&self) -> bool {
        self.notice().is_none()
    }

    fn violations(&self) -> Vec<&'static str> {
        let mut broken = Vec::new();
        if (self.status == Status::Active) == self.live.is_empty() {
            broken.push("a session has a good token exactly while it is active");
        }
        if self.live.len() > LIVE_TOKENS_MAX || (self.live.len() > 1 && self.spent.is_empty()) {
            broken.push("the good tokens are siblings, given out for one spent token, and few");
        }
        if self.spent.iter().any(|(spent, _)| self.live.contains(spent)) {
            broken.push("a spent token is not good");
        }
        if self.spent.len() > SPENT_TOKENS_MAX + 1 {
            broken.push("a bounded number of spent tokens is remembered");
        }
        if (self.status == Status::Revoked) != self.revoked_because.is_some() {
            broken.push("a revoked session says why");
        }
        if self.status == Status::Absent && self.listing != Listing::Unlisted {
            broken.push("only a session that was started is on a list");
        }
        broken
    }

    fn size_bytes(&self) -> usize {
        let spent = self.spent.capacity() * size_of::<(TokenHash, Time)>();
        size_of::<Self>() + self.user_agent.len() + self.live.capacity() * size_of::<TokenHash>() + spent
    }
}
