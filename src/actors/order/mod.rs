pub mod types;

use super::entity::{Ctx, DecisionOf, Entity};
use super::values::Time;
use crate::stored_enum;
use types::{Command, Order, Rejection, State};

stored_enum! {
    pub enum Event {
        (16, 1) => CartTold,
    }
}

impl Entity for State {
    type Kind = Order;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, _: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        Err(Rejection::NotPlaced)
    }

    fn evolve(&mut self, _: &Event, _: Time) {}
}
