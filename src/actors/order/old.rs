//! What was stored before, in its frozen form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::{OrderLine, Placement};
use crate::actors::payment::types::PaymentIntent;
use crate::actors::values::old::ContactV1;
use crate::actors::values::{
    CartId, Currency, LineId, Money, OrderId, ProductId, Quantity, RequestId, Sku, Totals, UserId,
};

/// A placement whose lines did not know their variant.
pub(super) type PlacementV1 = PlacementOf<OrderLineV1>;

/// A placement whose addresses had no company. Who changes [`OrderLine`] freezes it here as it is now.
pub(super) type PlacementV2 = PlacementOf<OrderLine>;

#[derive(Serialize, Deserialize)]
pub(super) struct PlacementOf<Line> {
    order: OrderId,
    cart: CartId,
    request: RequestId,
    user: Option<UserId>,
    currency: Currency,
    lines: Vec<Line>,
    totals: Totals,
    contact: ContactV1,
    reference: Option<String>,
    metadata: BTreeMap<String, String>,
    payment: PaymentIntent,
}

#[derive(Serialize, Deserialize)]
pub(super) struct OrderLineV1 {
    id: LineId,
    sku: Sku,
    product: ProductId,
    title: String,
    quantity: Quantity,
    unit_price: Money,
    total: Money,
}

impl<Line: Into<OrderLine>> From<PlacementOf<Line>> for Placement {
    fn from(old: PlacementOf<Line>) -> Placement {
        let PlacementOf { order, cart, request, user, currency, lines, totals, contact, reference, metadata, payment } =
            old;
        let (lines, contact) = (lines.into_iter().map(Line::into).collect(), contact.into());
        Placement { order, cart, request, user, currency, lines, totals, contact, reference, metadata, payment }
    }
}

impl From<OrderLineV1> for OrderLine {
    fn from(old: OrderLineV1) -> OrderLine {
        let OrderLineV1 { id, sku, product, title, quantity, unit_price, total } = old;
        OrderLine { id, sku, product, variant: None, title, quantity, unit_price, total }
    }
}
