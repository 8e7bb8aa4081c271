//! What others see of an order number: who has it.

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{OrderId, OrderNumber as Number};
use crate::stored_enum;

/// The kind: one entity for each number that an order ever asked for.
pub enum OrderNumber {}

impl Kind for OrderNumber {
    const NUMBER: u8 = 12;
    const NAME: &'static str = "order_number";
    type Id = Number;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

stored_enum! {
    #[derive(Eq)]
    pub enum Command {
        /// Give the number to this order, for ever.
        (1, 1) => Claim { order: OrderId },
    }
}

stored_enum! {
    pub enum Reply {
        /// The number belongs to the order that asked (now, or since an earlier claim).
        (1, 1) => Claimed,
    }
}

stored_enum! {
    pub enum Rejection {
        /// Another order has it.
        (1, 1) => Taken,
    }
}

/// Which order the number names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    pub order: Option<OrderId>,
}
