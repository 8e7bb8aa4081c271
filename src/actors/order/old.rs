//! What was stored before, in its frozen form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::{OrderLine, Placement};
use crate::actors::payment::types::PaymentIntent;
use crate::actors::values::{
    CartId, Contact, Currency, LineId, Money, OrderId, ProductId, Quantity, RequestId, Sku, Totals, UserId,
};

/// A placement whose lines did not know their variant.
#[derive(Serialize, Deserialize)]
pub(super) struct PlacementV1 {
    order: OrderId,
    cart: CartId,
    request: RequestId,
    user: Option<UserId>,
    currency: Currency,
    lines: Vec<OrderLineV1>,
    totals: Totals,
    contact: Contact,
    reference: Option<String>,
    metadata: BTreeMap<String, String>,
    payment: PaymentIntent,
}

#[derive(Serialize, Deserialize)]
struct OrderLineV1 {
    id: LineId,
    sku: Sku,
    product: ProductId,
    title: String,
    quantity: Quantity,
    unit_price: Money,
    total: Money,
}

impl From<PlacementV1> for Placement {
    fn from(old: PlacementV1) -> Placement {
        let PlacementV1 { order, cart, request, user, currency, lines, totals, contact, reference, metadata, payment } =
            old;
        let lines = lines.into_iter().map(OrderLine::from).collect();
        Placement { order, cart, request, user, currency, lines, totals, contact, reference, metadata, payment }
    }
}

impl From<OrderLineV1> for OrderLine {
    fn from(old: OrderLineV1) -> OrderLine {
        let OrderLineV1 { id, sku, product, title, quantity, unit_price, total } = old;
        OrderLine { id, sku, product, variant: None, title, quantity, unit_price, total }
    }
}
