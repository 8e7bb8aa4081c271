//! The public face of a login: the one place that says whose an email address is.

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{LoginName, UserId};
use crate::stored_enum;

pub enum Login {}

impl Kind for Login {
    const NUMBER: u8 = 3;
    const NAME: &'static str = "login";
    type Id = LoginName;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

stored_enum! {
    pub enum Command {
        /// This user wants to log in with this address. He may ask again.
        (1, 1) => Claim { user: UserId },
        /// This user gives the address up; it is free for the next one.
        (2, 1) => Release { user: UserId },
    }
}

stored_enum! {
    pub enum Reply {
        /// The address is the caller's, now or already before.
        (1, 1) => Claimed,
        /// The address is not the caller's (any more).
        (2, 1) => Released,
    }
}

stored_enum! {
    pub enum Rejection {
        /// The address is somebody else's. Whose is not told.
        (1, 1) => Taken,
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Who logs in with this address. He may still be registering, see [`crate::actors::user`].
    pub user: Option<UserId>,
}
