//! A customer: the carts and orders of one user, as two lists of ids. It exists so that "my cart" and "my
//! orders" are one read of one entity, right as soon as the cart or the order has been acknowledged, and
//! not a query over all carts that lags behind.
//!
//! Everything here is told by carts and orders, as owed requests: repeated until answered, so each command
//! is idempotent. A crash between the cart's own record and the customer's leaves a cart that is not
//! listed yet and still owes its notice; the caller who created it is still waiting then, and nobody was
//! promised that the list has it. An id counts as known as long as it is in the list; one that left it
//! comes again only if its cart breaks its promise to speak once.

pub mod types;

#[cfg(test)]
mod tests;

use super::entity::{Ctx, Decision, DecisionOf, Entity};
use super::values::{CartId, OrderId, Time};
use crate::stored_enum;
use types::{Command, Customer, OPEN_CARTS_MAX, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 1) => CartListed { cart: CartId },
        /// The cart is no longer open, or newer ones have pushed it out.
        (2, 1) => CartDelisted { cart: CartId },
        (3, 1) => OrderListed { order: OrderId },
    }
}

impl State {
    fn has_cart(&self, cart: CartId) -> bool {
        self.open_carts.iter().any(|(listed, _)| *listed == cart)
    }

    /// A repeat comes soon after its first: so the newest are looked at first.
    fn has_order(&self, order: OrderId) -> bool {
        self.orders.iter().rev().any(|(listed, _)| *listed == order)
    }
}

impl Entity for State {
    type Kind = Customer;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        let events = match command {
            Command::CartOpened { cart } if self.has_cart(cart) => vec![],
            Command::CartOpened { cart } => {
                let oldest = self.open_carts.first().filter(|_| self.open_carts.len() >= OPEN_CARTS_MAX);
                let pushed_out = oldest.map(|(cart, _)| Event::CartDelisted { cart: *cart });
                pushed_out.into_iter().chain([Event::CartListed { cart }]).collect()
            }
            Command::CartClosed { cart } if self.has_cart(cart) => vec![Event::CartDelisted { cart }],
            Command::CartClosed { .. } => vec![],
            Command::OrderPlaced { order } if self.has_order(order) => vec![],
            Command::OrderPlaced { order } => vec![Event::OrderListed { order }],
        };
        Ok(Decision::new(events, Reply::Noted))
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::CartListed { cart } => self.open_carts.push((*cart, at)),
            Event::CartDelisted { cart } => self.open_carts.retain(|(listed, _)| listed != cart),
            Event::OrderListed { order } => self.orders.push((*order, at)),
        }
    }

    fn violations(&self) -> Vec<&'static str> {
        let mut broken = Vec::new();
        if !self.open_carts.is_sorted_by_key(|(_, at)| *at) || !self.orders.is_sorted_by_key(|(_, at)| *at) {
            broken.push("a customer's lists are oldest first");
        }
        if self.open_carts.len() > OPEN_CARTS_MAX {
            broken.push("a customer lists a bounded number of open carts");
        }
        broken
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + self.open_carts.capacity() * size_of::<(CartId, Time)>()
            + self.orders.capacity() * size_of::<(OrderId, Time)>()
    }
}
