//! The public face of a customer: what a user has in the shop, as lists of ids.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::actors::entity::{CodecError, Kind, Number, Stored};
use crate::actors::values::{CartId, OrderId, Time, UserId};
use crate::stored_enum;

pub enum Customer {}

impl Kind for Customer {
    const NUMBER: u8 = 5;
    const NAME: &'static str = "customer";
    type Id = UserId;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

stored_enum! {
    /// All of these are owed by carts and orders, and say something that has happened there. A cart or an
    /// order says a thing only after the one before was answered.
    pub enum Command {
        (1, 1) => CartOpened { cart: CartId },
        /// Completed, merged or expired.
        (2, 1) => CartClosed { cart: CartId },
        /// An order of this customer is confirmed.
        (3, 1) => OrderPlaced { order: OrderId },
    }
}

stored_enum! {
    pub enum Reply {
        (1, 1) => Noted,
    }
}

/// A customer refuses nothing: what he is told has already happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {}

impl Stored for Rejection {
    const NUMBERS: &'static [Number] = &[];
    fn to_stored(&self) -> (u8, u16, Vec<u8>) {
        match *self {}
    }
    fn from_stored(code: u8, version: u16, _: &[u8]) -> Result<Self, CodecError> {
        Err(CodecError::Unknown { code, version })
    }
    fn from_fields<'de, D: Deserializer<'de>>(code: u8, _: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(format!("no variant has the code {code}")))
    }
}

/// The most open carts that are listed. The oldest beyond leaves the list and lives on under its id.
pub const OPEN_CARTS_MAX: usize = 100;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Oldest first, each with the time it was noted.
    pub open_carts: Vec<(CartId, Time)>,
    /// Oldest first, each with the time it was noted. Kept for ever: 24 bytes an order.
    pub orders: Vec<(OrderId, Time)>,
}
