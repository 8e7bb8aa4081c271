//! A login: whose an email address is. The entity's id *is* the address, so two users who register with
//! one address at the same time meet here, and the first one gets it. That is the whole of uniqueness:
//! there is no index to keep and no lock to hold.
//!
//! A claim comes as an owed request of a user who is registering. A crash between the claim and the
//! user's learning of it leaves a claimed address of a registering user; the user still owes the claim,
//! asks again, and is told *claimed* again. Nobody else can slip in between.

pub mod types;

#[cfg(test)]
mod tests;

use super::entity::{Ctx, Decision, DecisionOf, Entity};
use super::values::{Time, UserId};
use crate::stored_enum;
use types::{Command, Login, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 1) => Claimed { user: UserId },
        (2, 1) => Released,
    }
}

impl Entity for State {
    type Kind = Login;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Claim { user } => match self.user {
                None => Ok(Decision::new(vec![Event::Claimed { user }], Reply::Claimed)),
                Some(holder) if holder == user => Ok(Decision::unchanged(Reply::Claimed)),
                Some(_) => Err(Rejection::Taken),
            },
            Command::Release { user } if self.user == Some(user) => {
                Ok(Decision::new(vec![Event::Released], Reply::Released))
            }
            Command::Release { .. } => Ok(Decision::unchanged(Reply::Released)),
        }
    }

    fn evolve(&mut self, event: &Event, _: Time) {
        self.user = match event {
            Event::Claimed { user } => Some(*user),
            Event::Released => None,
        }
    }
}
