//! What was ordered: copies of everything as it stood in the cart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::actors::payment::types::PaymentIntent;
use crate::actors::sku::types::Item;
use crate::actors::values::{
    CartId, Contact, Currency, LineId, Money, OrderId, ProductId, Quantity, RequestId, Sku, Totals, UserId, VariantId,
};

/// What a cart hands over: copies of everything as it was, which never change again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The order's own id.
    pub order: OrderId,
    pub cart: CartId,
    /// The completion that this order is the outcome of.
    pub request: RequestId,
    pub user: Option<UserId>,
    pub currency: Currency,
    /// As they stood in the cart; each SKU once.
    pub lines: Vec<OrderLine>,
    pub totals: Totals,
    pub contact: Contact,
    pub reference: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub payment: PaymentIntent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    pub id: LineId,
    pub sku: Sku,
    pub product: ProductId,
    /// `None` in orders that were stored before lines knew it.
    pub variant: Option<VariantId>,
    pub title: String,
    pub quantity: Quantity,
    pub unit_price: Money,
    /// unit_price * quantity
    pub total: Money,
}

impl OrderLine {
    /// What was bought, whatever its SKU names later.
    pub fn item(&self) -> Item {
        Item { product: self.product, variant: self.variant }
    }
}
