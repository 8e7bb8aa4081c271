//! The order's partners, by the words of the process, and how far the tables begin.
//!
//! Lines are placed against their SKU order on purpose: line 0 is `TEE-M`, line 1 is `CAP`, and `CAP` is
//! reserved first.

use std::sync::Arc;

use super::fixture::{ADA, CART, ORDER, gbp, placement};
use crate::actors::cart::types::{self as cart, Cart};
use crate::actors::customer::types::{self as customer, Customer};
use crate::actors::order::types::{Command, OrderRefusal, OrderStatus, PaymentStatus, Reply, State};
use crate::actors::order_number::types::{self as order_number, OrderNumber};
use crate::actors::payment::types::PaymentAnswer;
use crate::actors::sku::types::{self as sku, StockUnit};
use crate::actors::testing::kit::Given;
use crate::actors::values::RefundId;

pub(super) type Table = Given<State>;

/// What the order's partners answer, by the words of the process.
pub(super) trait Partners: Sized {
    fn number_claimed(self) -> Self;
    fn reserved(self, line: u32) -> Self;
    fn committed(self, line: u32) -> Self;
    fn expired(self, line: u32) -> Self;
    fn released(self, line: u32) -> Self;
    fn restocked(self, line: u32) -> Self;
    fn approved(self, key: &str) -> Self;
    fn declined(self, key: &str) -> Self;
    fn told_customer(self) -> Self;
    fn told_cart(self) -> Self;
    fn cancelled(self) -> Self;
    fn refund_asked(self, refund: u128, amount: i64) -> Self;
}

impl Partners for Table {
    fn number_claimed(self) -> Self {
        self.when_answered::<OrderNumber>("number:0", Ok(order_number::Reply::Claimed))
    }
    fn reserved(self, line: u32) -> Self {
        self.when_answered::<StockUnit>(&format!("reserve:{line}"), Ok(sku::Reply::Reserved))
    }
    fn committed(self, line: u32) -> Self {
        self.when_answered::<StockUnit>(&format!("commit:{line}"), Ok(sku::Reply::Committed))
    }
    fn expired(self, line: u32) -> Self {
        self.when_answered::<StockUnit>(&format!("commit:{line}"), Err(sku::Rejection::NotReserved))
    }
    fn released(self, line: u32) -> Self {
        self.when_answered::<StockUnit>(&format!("release:{line}"), Ok(sku::Reply::HoldReleased))
    }
    fn restocked(self, line: u32) -> Self {
        self.when_answered::<StockUnit>(&format!("restock:{line}"), Ok(sku::Reply::Restocked))
    }
    fn approved(self, key: &str) -> Self {
        self.when_gateway_answers(key, PaymentAnswer::Approved)
    }
    fn declined(self, key: &str) -> Self {
        self.when_gateway_answers(key, PaymentAnswer::Declined { code: "card_declined".into() })
    }
    fn told_customer(self) -> Self {
        self.when_answered::<Customer>("customer", Ok(customer::Reply::Noted))
    }
    fn told_cart(self) -> Self {
        self.when_answered::<Cart>("cart", Ok(cart::Reply::Noted))
    }
    fn cancelled(self) -> Self {
        self.when(Command::Cancel { reason: Some("too late".into()) })
    }
    fn refund_asked(self, refund: u128, amount: i64) -> Self {
        let amount = Some(gbp(amount));
        self.when(Command::Refund { refund: RefundId(refund), amount, reason: "broken".into() })
    }
}

/// Two tees and a cap: 2 * 1000 + 500.
pub(super) fn placed() -> Table {
    let placement = Arc::new(placement(Some(ADA), &[("TEE-M", 2, 1000), ("CAP", 1, 500)]));
    Given::new().when(Command::Place { placement }).then(Reply::Placed)
}

pub(super) fn authorising() -> Table {
    placed().number_claimed().reserved(1).reserved(0).owes(["authorise"])
}

pub(super) fn committing() -> Table {
    authorising().approved("authorise").owes(["commit:1", "commit:0"])
}

pub(super) fn capturing() -> Table {
    committing().committed(0).committed(1).owes(["capture"])
}

pub(super) fn confirmed() -> Table {
    capturing().approved("capture").told_customer().told_cart().owes([]).settled(true)
}

pub(super) fn is(status: OrderStatus, payment: PaymentStatus) -> impl FnOnce(&State) {
    move |order| assert_eq!((order.status, order.payment_status()), (status, payment))
}

pub(super) fn refused_as(table: &Table) -> Option<OrderRefusal> {
    match table.owed::<Cart>("cart") {
        (id, cart::Command::Decided { order, refusal, .. }) => {
            assert_eq!((id, order), (CART.to_string(), ORDER));
            refusal
        }
        (_, other) => panic!("a cart is told the decision, not {other:?}"),
    }
}
