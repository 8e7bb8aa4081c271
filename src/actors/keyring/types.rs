//! The public face of the keyring: the shop's secrets, and who administrates it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{Only, Secret, Time, UserId};
use crate::stored_enum;

/// There is one keyring in a shop, named [`Only`].
pub enum Keyring {}

impl Kind for Keyring {
    const NUMBER: u8 = 1;
    const NAME: &'static str = "keyring";
    type Id = Only;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

stored_enum! {
    pub enum Command {
        /// Here are fresh secrets, in case the shop has none. The first ones stay for ever: every node sends
        /// this at start and then uses what it reads.
        (1, 1) => Ensure {
            /// The Ed25519 seed that signs access tokens.
            signing_seed: Secret<[u8; 32]>,
            /// The key from which guest tokens (carts, orders) are derived.
            token_secret: Secret<[u8; 32]>,
        },
        /// This user has the role admin now. Sent by the user entity.
        (2, 1) => GrantAdmin { user: UserId },
        /// This user is to lose it, and does unless he is the last one.
        (3, 1) => RevokeAdmin { user: UserId },
    }
}

stored_enum! {
    pub enum Reply {
        /// The shop has secrets: these or earlier ones.
        (1, 1) => Ensured,
        /// The set of administrators is as asked.
        (2, 1) => Noted,
    }
}

stored_enum! {
    pub enum Rejection {
        /// Without this one nobody would administrate the shop.
        (1, 1) => LastAdministrator,
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Oldest first: the last one signs, all of them verify. Empty until the first `Ensure`.
    pub keys: Vec<SigningKey>,
    /// `None` until the first `Ensure`, so that nobody derives a token from zeroes.
    pub token_secret: Option<Secret<[u8; 32]>>,
    pub administrators: BTreeSet<UserId>,
}

/// A key that signs access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// The key's public name, derived from the seed by a one-way hash.
    pub kid: String,
    pub created_at: Time,
    pub seed: Secret<[u8; 32]>,
}
