//! The keyring: the shop's secrets, and who administrates it. One entity, read by every node.
//!
//! The secrets are made once and never change, because tokens outlive processes: an access token signed
//! before a restart must verify after it, and a guest's cart token is derived again on every request.
//! Nodes that start at the same time all offer secrets of their own; the journal decides whose are kept.
//!
//! The set of administrators answers one question: is there one at all (a new shop asks for its first), and
//! would there be one without this one? Roles themselves belong to the users, who tell the keyring, one notice
//! at a time, and ask it before they give the role up: the last administrator cannot.
//!
//! A crash leaves either the secrets of an earlier `Ensure`, or none and no token signed by them: a node
//! signs only with what it has read back. The keyring owes nothing and sets no timer.

pub mod types;

#[cfg(test)]
mod tests;

use super::entity::{Ctx, Decision, DecisionOf, Entity};
use super::values::{RequestId, Secret, Time, UserId, base32};
use crate::stored_enum;
use types::{Command, Keyring, Rejection, Reply, SigningKey, State};

stored_enum! {
    pub enum Event {
        (1, 1) => SecretsMade { kid: String, signing_seed: Secret<[u8; 32]>, token_secret: Secret<[u8; 32]> },
        (2, 1) => AdminGranted { user: UserId },
        (3, 1) => AdminRevoked { user: UserId },
    }
}

/// The public name of the key with this seed.
fn kid_of(seed: &Secret<[u8; 32]>) -> String {
    base32::encode(&RequestId::of("keyring.kid", &[&seed.0]).0)
}

impl Entity for State {
    type Kind = Keyring;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        let is_last = |user| self.administrators.len() == 1 && self.administrators.contains(user);
        Ok(match command {
            Command::Ensure { .. } if self.token_secret.is_some() => Decision::unchanged(Reply::Ensured),
            Command::Ensure { signing_seed, token_secret } => {
                let kid = kid_of(&signing_seed);
                Decision::new(vec![Event::SecretsMade { kid, signing_seed, token_secret }], Reply::Ensured)
            }
            Command::GrantAdmin { user } if self.administrators.contains(&user) => Decision::unchanged(Reply::Noted),
            Command::GrantAdmin { user } => Decision::new(vec![Event::AdminGranted { user }], Reply::Noted),
            Command::RevokeAdmin { user } if !self.administrators.contains(&user) => Decision::unchanged(Reply::Noted),
            Command::RevokeAdmin { user } if is_last(&user) => return Err(Rejection::LastAdministrator),
            Command::RevokeAdmin { user } => Decision::new(vec![Event::AdminRevoked { user }], Reply::Noted),
        })
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::SecretsMade { kid, signing_seed, token_secret } => {
                self.keys.push(SigningKey { kid: kid.clone(), created_at: at, seed: signing_seed.clone() });
                self.token_secret = Some(token_secret.clone());
            }
            Event::AdminGranted { user } => {
                self.administrators.insert(*user);
            }
            Event::AdminRevoked { user } => {
                self.administrators.remove(user);
            }
        }
    }

    fn violations(&self) -> Vec<&'static str> {
        let mut broken = Vec::new();
        if self.keys.is_empty() == self.token_secret.is_some() {
            broken.push("the keyring has both kinds of secret or neither");
        }
        if self.keys.iter().any(|key| key.kid != kid_of(&key.seed)) {
            broken.push("a key's name is derived from its seed");
        }
        broken
    }

    fn size_bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|key| size_of::<SigningKey>() + key.kid.len()).sum();
        size_of::<Self>() + keys + self.administrators.len() * size_of::<UserId>() * 2
    }
}
