//! A product slug: the readable name in a URL, held by at most one product.
//!
//! A slug is an entity of its own so that uniqueness needs no index and no lock: whoever asks first has
//! it. Products claim and release slugs as steps of a change (see [`super::product`]); both are
//! harmless when repeated, so a product that crashed in between simply asks again. A crash here leaves
//! the slug held or free, never in between.
//!
//! A slug remembers who held it lately: a request that named a product by it may be repeated after the product
//! has another one, and finds its answer there. Until somebody else claims it, it leads to the one who held it last,
//! so that links to a product that was renamed go on.

pub mod types;

#[cfg(test)]
mod tests;

use crate::actors::entity::{Ctx, Decision, DecisionOf, Entity};
use crate::actors::values::{ProductId, Time};
use crate::stored_enum;

use types::{Command, FORMER_MAX, ProductSlug, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 1) => Claimed { product: ProductId },
        /// Its holder is named otherwise now.
        (2, 1) => Released,
        /// It was claimed for a change that did not come about, and never was the holder's name.
        (3, 1) => GivenBack,
    }
}

impl Entity for State {
    type Kind = ProductSlug;
    type Event = Event;
    const STATE_VERSION: u16 = 2;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match (command, self.product) {
            (Command::Claim { product }, None) => Ok(Decision::new(vec![Event::Claimed { product }], Reply::Claimed)),
            (Command::Claim { product }, Some(by)) if by != product => Err(Rejection::Taken { by }),
            (Command::Claim { .. }, Some(_)) => Ok(Decision::unchanged(Reply::Claimed)),
            (Command::Release { product, moved }, Some(by)) if by == product => {
                let event = if moved { Event::Released } else { Event::GivenBack };
                Ok(Decision::new(vec![event], Reply::Released))
            }
            (Command::Release { .. }, _) => Ok(Decision::unchanged(Reply::Released)),
        }
    }

    fn evolve(&mut self, event: &Event, _: Time) {
        match event {
            Event::Claimed { product } => self.product = Some(*product),
            Event::GivenBack => self.product = None,
            Event::Released => {
                let Some(product) = self.product.take() else { return };
                self.former.retain(|former| *former != product);
                if self.former.len() >= FORMER_MAX {
                    self.former.remove(0);
                }
                self.former.push(product);
            }
        }
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.former.capacity() * size_of::<ProductId>()
    }
}
