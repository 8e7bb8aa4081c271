//! The shapes that clients see, made from states.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::actors::cart::types::{CartStatus, Line, Lines, State as Cart};
use crate::actors::categories::types::{Category, State as Categories};
use crate::actors::order::types::{
    OrderLine, OrderRefusal, OrderStatus, Placement, RefusalCode, State as Order, TimelineEntry, TimelineType,
};
use crate::actors::payment::types::{PaymentIntent, PaymentMethod};
use crate::actors::product::types::{Content, ProductStatus, State as Product, Variant};
use crate::actors::projections::stock::SkuRow;
use crate::actors::sku::types::{Item, Offer, State as StockUnit};
use crate::actors::values::{
    Address, CartId, CategoryId, Contact, Currency, LineId, Money, OrderId, ProductId, Quantity, RequestId, Secret,
    Sku, StockBand, Time, Totals, VariantId,
};
use crate::http::admin::inventory::view::InventoryView;
use crate::http::shop::carts::view::CartView;
use crate::http::shop::categories::view::CategoryView;
use crate::http::shop::orders::view::OrderView;
use crate::http::shop::products::view::ProductView;

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn sku(text: &str) -> Sku {
    text.parse().expect("a SKU")
}

fn show(view: impl serde::Serialize) -> Value {
    serde_json::to_value(view).expect("a view is JSON")
}

fn line(id: u128, name: &str, quantity: u64) -> Line {
    Line {
        id: LineId(id),
        sku: sku(name),
        product: ProductId(1),
        variant: Some(VariantId(2)),
        title: "Blue tee".into(),
        quantity: Quantity::new(quantity).expect("a quantity"),
        unit_price: gbp(1999),
    }
}

fn contact() -> Contact {
    let address = Address {
        name: "Ada".into(),
        line1: "1 High St".into(),
        city: "Leeds".into(),
        postal_code: "LS1".into(),
        country: "GB".into(),
        ..Address::default()
    };
    Contact { email: "ada@example.com".parse().expect("an address"), shipping_address: address, billing_address: None }
}

#[test]
fn a_cart_shows_lines_totals_and_what_is_missing() {
    let state = Cart { id: Some(CartId(3)), lines: Lines::from(vec![line(5, "TEE-M", 2)]), ..Cart::default() };
    let row = SkuRow { version: 1, available: 9, price: Some(gbp(1999)), item: None };
    assert_eq!(
        show(CartView::of(&state, 4, &[Some(row)])),
        json!({
            "id": CartId(3), "currency": "GBP", "metadata": {}, "contact": null, "warnings": [],
            "lines": [{"id": LineId(5), "sku": "TEE-M", "product_id": ProductId(1), "title": "Blue tee", "quantity": 2,
                       "unit_price": {"amount": 1999, "currency": "GBP"}, "total": {"amount": 3998, "currency": "GBP"}}],
            "totals": {"subtotal": gbp(3998), "discount": gbp(0), "shipping": gbp(0), "tax": gbp(0), "total": gbp(3998)},
            "requirements": [{"code": "contact_required", "pointer": "/contact"}],
            "status": "open", "expires_at": "1970-01-01T00:00:00.000Z", "version": 4
        })
    );
    assert!(CartView::of(&Cart::default(), 0, &[]).is_none());
}

#[test]
fn an_open_cart_warns_of_stock_price_and_what_is_gone() {
    let lines =
        vec![line(1, "FEW", 3), line(2, "DEARER", 1), line(3, "GONE", 1), line(4, "UNSEEN", 1), line(5, "OTHER", 1)];
    let state = Cart { id: Some(CartId(3)), lines: Lines::from(lines), ..Cart::default() };
    let item = |variant| Some(Item { product: ProductId(1), variant: Some(VariantId(variant)) });
    let row = |available, price| Some(SkuRow { version: 1, available, price, item: item(2) });
    let other = row(9, Some(gbp(1999))).map(|row| SkuRow { item: item(3), ..row });
    let skus = [row(2, Some(gbp(1999))), row(9, Some(gbp(2105))), row(9, None), None, other];
    let shown = show(CartView::of(&state, 1, &skus));
    assert_eq!(
        shown["warnings"],
        json!([
            {"code": "insufficient_stock", "target": LineId(1), "message": "SKU FEW has 2 available, 3 requested."},
            {"code": "price_changed", "target": LineId(2), "message": "SKU DEARER costs 21.05 GBP now, not 19.99 GBP."},
            {"code": "unavailable", "target": LineId(3), "message": "SKU GONE is not for sale."},
            {"code": "item_changed", "target": LineId(5),
             "message": "SKU OTHER is no longer Blue tee: another article is sold under it."},
        ])
    );
    let closed = Cart { status: CartStatus::Merged, ..state };
    assert_eq!(show(CartView::of(&closed, 1, &skus))["warnings"], json!([]));
}

#[test]
fn the_category_tree_is_nested_in_order_of_position() {
    let category = |title: &str, parent, position| Category {
        slug: title.to_lowercase().parse().expect("a slug"),
        title: title.into(),
        parent,
        position,
        version: 2,
        created_at: Time(0),
        updated_at: Time(0),
    };
    let top = Some(CategoryId(1));
    let categories = [
        (CategoryId(1), category("Tops", None, 0)),
        (CategoryId(2), category("Tees", top, 5)),
        (CategoryId(3), category("Shirts", top, 1)),
    ];
    let state = Categories { categories: categories.into_iter().collect(), ..Categories::default() };
    let shown = show(CategoryView::roots(&state));
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    assert_eq!(shown[0]["children"][0]["slug"], "shirts");
    assert_eq!(
        shown[0]["children"][1],
        json!({"id": CategoryId(2), "slug": "tees", "title": "Tees", "parent_id": CategoryId(1), "position": 5,
               "children": [], "version": 2})
    );
    assert!(shown[0].get("parent_id").is_none());
}

#[test]
fn a_product_loses_deleted_categories_when_it_is_shown() {
    let content = Content {
        title: "Blue tee".into(),
        description: "Soft".into(),
        status: ProductStatus::Published,
        category_ids: vec![CategoryId(9)],
        attributes: Default::default(),
        seller: None,
    };
    let variant = Variant {
        id: VariantId(2),
        sku: sku("TEE-M"),
        options: [("size".to_owned(), "M".to_owned())].into(),
        price: gbp(1999),
        stock: StockBand::LowStock,
        stock_seq: 7,
    };
    let state = Product {
        id: Some(ProductId(1)),
        content: Some(Box::new(content)),
        slug: Some("blue-tee".parse().expect("a slug")),
        variants: vec![variant],
        version: 3,
        ..Product::default()
    };
    assert_eq!(
        show(ProductView::of(&state, Some(&Categories::default()))),
        json!({
            "id": ProductId(1), "slug": "blue-tee", "title": "Blue tee", "description": "Soft", "status": "published",
            "category_ids": [], "attributes": {}, "rating": {"average": 0.0, "count": 0},
            "variants": [{"id": VariantId(2), "sku": "TEE-M", "options": {"size": "M"}, "price": gbp(1999),
                          "stock": "low_stock"}],
            "created_at": "1970-01-01T00:00:00.000Z", "updated_at": "1970-01-01T00:00:00.000Z", "version": 3
        })
    );
    assert!(ProductView::of(&Product::default(), Some(&Categories::default())).is_none());
}

#[test]
fn inventory_is_shown_for_skus_that_a_product_has() {
    let offer = Offer {
        product: ProductId(1),
        variant: VariantId(2),
        title: "Blue tee".into(),
        price: gbp(1999),
        published: true,
        seller: None,
    };
    let state = StockUnit { sku: Some(sku("TEE-M")), offer: Some(offer), on_hand: 7, ..StockUnit::default() };
    assert_eq!(
        show(InventoryView::of(&state, 5)),
        json!({"sku": "TEE-M", "on_hand": 7, "reserved": 0, "available": 7, "version": 5, "reservations": []})
    );
    assert!(InventoryView::of(&StockUnit { offer: None, ..state }, 5).is_none());
}

#[test]
fn a_rejected_order_says_why_and_shows_no_secret() {
    let placement = Placement {
        order: OrderId(1),
        cart: CartId(2),
        request: RequestId::default(),
        user: None,
        currency: Currency::GBP,
        lines: vec![OrderLine {
            id: LineId(5),
            sku: sku("TEE-M"),
            product: ProductId(1),
            variant: Some(VariantId(2)),
            title: "Blue tee".into(),
            quantity: Quantity::new(3).expect("a quantity"),
            unit_price: gbp(10),
            total: gbp(30),
        }],
        totals: Totals::of_goods(gbp(30)),
        contact: contact(),
        reference: Some("ref".into()),
        metadata: Default::default(),
        payment: PaymentIntent { method: PaymentMethod::Mock, token: Secret("tok_secret".into()) },
    };
    let refusal = OrderRefusal {
        sku: Some(sku("TEE-M")),
        line: Some(0),
        available: Some(1),
        requested: Some(3),
        ..OrderRefusal::of(RefusalCode::InsufficientStock)
    };
    let state = Order {
        placement: Some(Arc::new(placement)),
        status: OrderStatus::Rejected,
        refusal: Some(refusal),
        timeline: vec![TimelineEntry { at: Time(0), kind: TimelineType::Placed, data: Default::default() }],
        ..Order::default()
    };
    let shown = show(OrderView::of(&state, 6));
    assert_eq!(
        shown["rejection"],
        json!({"code": "insufficient_stock", "sku": "TEE-M", "available": 1, "requested": 3})
    );
    assert_eq!((&shown["status"], &shown["payment_status"]), (&json!("rejected"), &json!("none")));
    assert_eq!(shown["timeline"], json!([{"at": "1970-01-01T00:00:00.000Z", "type": "placed", "data": {}}]));
    assert_eq!(shown["lines"][0]["total"], json!(gbp(30)));
    assert_eq!(shown["contact"]["shipping_address"]["city"], "Leeds");
    assert!(!shown.to_string().contains("tok_secret"));
    assert!(OrderView::of(&Order::default(), 0).is_none());
}
