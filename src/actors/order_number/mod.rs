//! An order number: the short name by which people find an order. It belongs to the order that claims it
//! first, for ever; an order whose candidate is taken asks for its next one.

pub mod types;

#[cfg(test)]
mod tests;

use super::entity::{Ctx, Decision, DecisionOf, Entity};
use super::values::{OrderId, Time};
use crate::stored_enum;
use types::{Command, OrderNumber, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 1) => Claimed { order: OrderId },
    }
}

impl Entity for State {
    type Kind = OrderNumber;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        let Command::Claim { order } = command;
        match self.order {
            None => Ok(Decision::new(vec![Event::Claimed { order }], Reply::Claimed)),
            Some(owner) if owner == order => Ok(Decision::unchanged(Reply::Claimed)),
            Some(_) => Err(Rejection::Taken),
        }
    }

    fn evolve(&mut self, event: &Event, _: Time) {
        let Event::Claimed { order } = event;
        self.order = Some(*order);
    }
}
