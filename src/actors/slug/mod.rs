//! A product slug: the readable name in a URL, held by at most one product.
//!
//! A slug is an entity of its own so that uniqueness needs no index and no lock: whoever asks first has
//! it. Products claim and release slugs as steps of a change (see [`super::product`]); both are
//! harmless when repeated, so a product that crashed in between simply asks again. A crash here leaves
//! the slug held or free, never in between.

pub mod types;

#[cfg(test)]
mod tests;

use crate::actors::entity::{Ctx, Decision, DecisionOf, Entity};
use crate::actors::values::{ProductId, Time};
use crate::stored_enum;

use types::{Command, ProductSlug, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 1) => Claimed { product: ProductId },
        (2, 1) => Released,
    }
}

impl Entity for State {
    type Kind = ProductSlug;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match (command, self.product) {
            (Command::Claim { product }, None) => Ok(Decision::new(vec![Event::Claimed { product }], Reply::Claimed)),
            (Command::Claim { product }, Some(by)) if by != product => Err(Rejection::Taken { by }),
            (Command::Claim { .. }, Some(_)) => Ok(Decision::unchanged(Reply::Claimed)),
            (Command::Release { product }, Some(by)) if by == product => {
                Ok(Decision::new(vec![Event::Released], Reply::Released))
            }
            (Command::Release { .. }, _) => Ok(Decision::unchanged(Reply::Released)),
        }
    }

    fn evolve(&mut self, event: &Event, _: Time) {
        match event {
            Event::Claimed { product } => self.product = Some(*product),
            Event::Released => self.product = None,
        }
    }
}
