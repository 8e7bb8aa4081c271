//! What the order's tests place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::actors::order::types::{OrderLine, Placement};
use crate::actors::payment::types::{PaymentIntent, PaymentMethod};
use crate::actors::values::{
    Address, CartId, Contact, Currency, LineId, Money, OrderId, ProductId, Quantity, RequestId, Secret, Totals, UserId,
    VariantId,
};

pub(super) const ORDER: OrderId = OrderId(0x0de4);
pub(super) const CART: CartId = CartId(0xca47);
pub(super) const ADA: UserId = UserId(0xada);

pub(super) fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

pub(super) fn pieces(n: u32) -> Quantity {
    Quantity::new(u64::from(n)).expect("a quantity")
}

/// A line of each (SKU, quantity, unit price); line n has the id n + 1.
pub(super) fn placement(user: Option<UserId>, lines: &[(&str, u32, i64)]) -> Placement {
    let line = |(n, (sku, quantity, price)): (usize, &(&str, u32, i64))| OrderLine {
        id: LineId(n as u128 + 1),
        sku: sku.parse().expect("a SKU"),
        product: ProductId(n as u128 + 101),
        variant: Some(VariantId(n as u128 + 201)),
        title: format!("Article {n}"),
        quantity: pieces(*quantity),
        unit_price: gbp(*price),
        total: gbp(price * i64::from(*quantity)),
    };
    let lines: Vec<OrderLine> = lines.iter().enumerate().map(line).collect();
    let subtotal = gbp(lines.iter().map(|line| line.total.amount).sum());
    let shipping_address = Address { name: "Ada".into(), country: "GB".into(), ..Address::default() };
    Placement {
        order: ORDER,
        cart: CART,
        request: RequestId([7; 16]),
        user,
        currency: Currency::GBP,
        lines,
        totals: Totals::of_goods(subtotal),
        contact: Contact {
            email: "ada@example.com".parse().expect("an email"),
            shipping_address,
            billing_address: None,
        },
        reference: Some("PO 7".into()),
        metadata: BTreeMap::from([("channel".to_owned(), "web".to_owned())]),
        payment: PaymentIntent { method: PaymentMethod::Mock, token: Secret("tok_ok".into()) },
    }
}

/// `n` lines of one piece for a penny, in descending SKU order.
pub(super) fn many_lines(n: usize) -> Arc<Placement> {
    let skus: Vec<String> = (0..n).rev().map(|n| format!("S{n:04}")).collect();
    let lines: Vec<(&str, u32, i64)> = skus.iter().map(|sku| (sku.as_str(), 1, 1)).collect();
    Arc::new(placement(Some(ADA), &lines))
}
