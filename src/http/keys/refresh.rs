//! Refresh tokens: the session's id, a number, and an HMAC of both. Each has one successor, which can be given out again,
//! and the edge knows whether it has made a token. Only their hashes are stored. (Those of sessions that began with an
//! older version are 256 random bits.)

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::Keys;
use crate::actors::values::{Secret, SessionId};

/// A refresh token: which session, and the proof.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub session: SessionId,
    /// Its number among the session's tokens; `None` for a random one, of an older version.
    number: Option<u64>,
    secret: Secret<[u8; 32]>,
}

impl RefreshToken {
    /// What is stored of it. The number is part of it: without it, or with another, it is another token.
    pub fn hash(&self) -> [u8; 32] {
        let hash = self.number.map_or_else(Sha256::new, |number| Sha256::new_with_prefix(number.to_be_bytes()));
        hash.chain_update(self.secret.0).finalize().into()
    }
    /// As the client gets it.
    pub fn reveal(&self) -> String {
        let secret = BASE64URL_NOPAD.encode(&self.secret.0);
        match self.number {
            Some(number) => format!("{}.{number}.{secret}", self.session),
            None => format!("{}.{secret}", self.session),
        }
    }
    pub fn parse(text: &str) -> Option<RefreshToken> {
        let (session, rest) = text.split_once('.')?;
        let (number, secret) = match rest.split_once('.') {
            Some((number, secret)) => (Some(number.parse().ok()?), secret),
            None => (None, rest),
        };
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
        Some(RefreshToken { session: session.parse().ok()?, number, secret: Secret(secret.try_into().ok()?) })
    }
    /// Whether it says that it was made by [`Keys::refresh_token`].
    pub fn is_numbered(&self) -> bool {
        self.number.is_some()
    }
}

impl Keys {
    /// The first refresh token of a session.
    pub fn refresh_token(&self, session: SessionId) -> RefreshToken {
        self.numbered(session, 0)
    }

    /// The one that follows a refresh token: always the same.
    pub fn successor(&self, token: &RefreshToken) -> RefreshToken {
        self.numbered(token.session, token.number.map_or(1, |number| number.saturating_add(1)))
    }

    /// Whether a refresh token was made here.
    pub fn has_made(&self, token: &RefreshToken) -> bool {
        let mac = |number| self.refresh_mac(token.session, number);
        // `verify_slice` compares in constant time.
        token.number.is_some_and(|number| mac(number).verify_slice(&token.secret.0).is_ok())
    }

    fn numbered(&self, session: SessionId, number: u64) -> RefreshToken {
        let secret = self.refresh_mac(session, number).finalize().into_bytes().into();
        RefreshToken { session, number: Some(number), secret: Secret(secret) }
    }

    fn refresh_mac(&self, session: SessionId, number: u64) -> Hmac<Sha256> {
        self.guest_mac("refresh", &format!("{session} {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::keys;
    use super::*;

    const SESSION: SessionId = SessionId(2);

    #[test]
    fn a_refresh_token_reads_back_and_has_one_successor() {
        let keys = keys(&[1]);
        let token = keys.refresh_token(SESSION);
        let again = RefreshToken::parse(&token.reveal()).expect("our own");
        assert!(again == token && again.hash() == token.hash() && keys.has_made(&again));
        let next = keys.successor(&token);
        assert!(next == keys.successor(&again) && next != token && keys.has_made(&next));
        assert!(keys.refresh_token(SessionId(3)).hash() != token.hash(), "each session has its own");
        for wrong in ["", "ses_x.y", &token.reveal()[1..], &format!("{}A", token.reveal())] {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_refresh_token_that_was_made_up_is_known_and_a_random_one_is_taken_over() {
        let ours = keys(&[1]);
        let token = ours.refresh_token(SESSION).reveal();
        let (head, secret) = token.rsplit_once('.').expect("a secret");
        let other = format!("{}.{secret}", head.replace(".0", ".1"));
        let guessed = format!("{head}.{}", BASE64URL_NOPAD.encode(&[7; 32]));
        for made_up in [other, guessed, format!("{SESSION}.{}.{secret}", u64::MAX)] {
            let made_up = RefreshToken::parse(&made_up).expect("well-formed");
            assert!(made_up.is_numbered() && !ours.has_made(&made_up));
        }
        let stripped = RefreshToken::parse(&format!("{SESSION}.{secret}")).expect("well-formed");
        assert!(stripped.hash() != ours.refresh_token(SESSION).hash(), "a number cannot be taken off");
        let random = format!("{SESSION}.{}", BASE64URL_NOPAD.encode(&[7; 32]));
        let read = RefreshToken::parse(&random).expect("of an older version");
        assert!(read.reveal() == random && !read.is_numbered() && !ours.has_made(&read));
        assert!(ours.successor(&read) == ours.successor(&ours.refresh_token(SESSION)));
    }
}
