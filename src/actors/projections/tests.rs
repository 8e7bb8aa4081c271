//! The read models without a runtime: rows go in, lists come out.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalogue::{Catalogue, ProductQuery, ProductsFound, Range, SortBy, SortField};
use super::orders::{OrderQuery, Orders};
use crate::actors::client::View;
use crate::actors::order::types::{Order, OrderStatus, Placement, State as OrderState};
use crate::actors::payment::types::{PaymentIntent, PaymentMethod};
use crate::actors::product::types::{Content, Product, ProductStatus, State as ProductState, Variant};
use crate::actors::values::{
    Address, CartId, CategoryId, Contact, Currency, Money, OrderId, ProductId, RequestId, Secret, StockBand, Time,
    Totals, VariantId,
};

fn product(id: u128, title: &str, price: i64, created_at: i64, category: u128) -> View<Product> {
    let content = Content {
        title: title.into(),
        description: "".into(),
        status: ProductStatus::Published,
        category_ids: vec![CategoryId(category)],
        attributes: Default::default(),
        seller: None,
    };
    let variant = Variant {
        id: VariantId(id),
        sku: format!("SKU-{id}").parse().expect("a SKU"),
        options: Default::default(),
        price: Money::new(price, Currency::GBP),
        stock: StockBand::InStock,
        stock_seq: 1,
    };
    let state = ProductState {
        id: Some(ProductId(id)),
        content: Some(Box::new(content)),
        variants: vec![variant],
        created_at: Time(created_at),
        ..ProductState::default()
    };
    View { version: 1, at: Time(created_at), state: Arc::new(state) }
}

/// Prices 0, 1, 2, 0, 1, ...; every third in category 7.
fn catalogue(products: u128) -> Catalogue {
    let catalogue = Catalogue::default();
    for id in 0..products {
        let n = i64::try_from(id).expect("few");
        let category = if id % 3 == 0 { 7 } else { 8 };
        catalogue.note_product(&product(id, &format!("Thing {id:03}"), n % 3, n, category));
    }
    catalogue
}

fn ids(found: &ProductsFound) -> Vec<u128> {
    found.ids.iter().map(|id| id.0).collect()
}

fn every_page(catalogue: &Catalogue, query: &ProductQuery) -> Vec<u128> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let found = catalogue.find(&query);
        assert!(found.ids.len() <= query.limit);
        all.extend(ids(&found));
        match found.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

#[test]
fn pages_follow_each_other_in_every_order_without_gap_or_repeat() {
    let catalogue = catalogue(20);
    let sort = |field, descending| SortBy { field, descending };
    let orders = [
        vec![],
        vec![sort(SortField::CreatedAt, false)],
        vec![sort(SortField::Price, false)],
        vec![sort(SortField::Price, true), sort(SortField::Title, true)],
        vec![sort(SortField::Title, true)],
    ];
    for sorts in orders {
        for categories in [None, Some(BTreeSet::from([CategoryId(7), CategoryId(8)]))] {
            let query = ProductQuery { sorts: sorts.clone(), categories, limit: 3, ..ProductQuery::default() };
            let all = every_page(&catalogue, &query);
            let whole = catalogue.find(&ProductQuery { limit: 100, ..query });
            assert_eq!(all, ids(&whole), "{sorts:?}");
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 20, "{sorts:?}");
        }
    }
}

#[test]
fn sorts_and_filters_do_what_they_say() {
    let catalogue = catalogue(9);
    let find = |query: ProductQuery| catalogue.find(&ProductQuery { limit: 100, count: true, ..query });
    assert_eq!(ids(&find(ProductQuery::default())), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let dear_first = vec![
        SortBy { field: SortField::Price, descending: true },
        SortBy { field: SortField::CreatedAt, descending: true },
    ];
    assert_eq!(ids(&find(ProductQuery { sorts: dear_first, ..Default::default() })), [8, 5, 2, 7, 4, 1, 6, 3, 0]);
    let found = find(ProductQuery { price: Range { min: 1, max: 1 }, ..Default::default() });
    assert_eq!((ids(&found), found.total), (vec![7, 4, 1], Some(3)));
    let found = find(ProductQuery { categories: Some(BTreeSet::from([CategoryId(7)])), ..Default::default() });
    assert_eq!((ids(&found), found.total), (vec![6, 3, 0], Some(3)));
    assert!(find(ProductQuery { status: Some(ProductStatus::Draft), ..Default::default() }).ids.is_empty());
    assert!(find(ProductQuery { categories: Some(BTreeSet::new()), ..Default::default() }).ids.is_empty());
}

#[test]
fn a_row_is_replaced_by_newer_versions_only() {
    let catalogue = catalogue(1);
    let newer = View { version: 3, ..product(0, "Other", 9, 0, 9) };
    catalogue.note_product(&newer);
    catalogue.note_product(&View { version: 2, ..product(0, "Old", 5, 0, 7) });
    let in_category = |id| {
        let categories = Some(BTreeSet::from([CategoryId(id)]));
        catalogue.find(&ProductQuery { categories, limit: 9, ..ProductQuery::default() }).ids.len()
    };
    assert_eq!((in_category(7), in_category(9)), (0, 1));
    let dear = Range { min: 9, max: i64::MAX };
    assert_eq!(catalogue.find(&ProductQuery { price: dear, limit: 9, ..ProductQuery::default() }).ids.len(), 1);
}

fn order(id: u128, created_at: i64, status: OrderStatus) -> View<Order> {
    let placement = Placement {
        order: OrderId(id),
        cart: CartId(id),
        request: RequestId::default(),
        user: None,
        currency: Currency::GBP,
        lines: Vec::new(),
        totals: Totals::default(),
        contact: Contact {
            email: "ada@example.com".parse().expect("an address"),
            shipping_address: Address::default(),
            billing_address: None,
        },
        reference: None,
        metadata: Default::default(),
        payment: PaymentIntent { method: PaymentMethod::Mock, token: Secret("tok".into()) },
    };
    let state = OrderState {
        placement: Some(Arc::new(placement)),
        created_at: Time(created_at),
        status,
        ..OrderState::default()
    };
    View { version: 1, at: Time(created_at), state: Arc::new(state) }
}

#[test]
fn orders_are_listed_newest_first_by_status_and_time() {
    let orders = Orders::default();
    for id in 0..6 {
        let status = if id % 2 == 0 { OrderStatus::Confirmed } else { OrderStatus::Rejected };
        orders.note(&order(id, i64::try_from(id).expect("few") / 2, status));
    }
    let ids = |query: &OrderQuery| orders.find(query).orders.iter().map(|(_, id)| id.0).collect::<Vec<_>>();
    let all = OrderQuery { limit: 10, ..OrderQuery::default() };
    assert_eq!(ids(&all), [5, 4, 3, 2, 1, 0]);
    assert_eq!(ids(&OrderQuery { oldest_first: true, ..all.clone() }), [0, 1, 2, 3, 4, 5]);
    assert_eq!(ids(&OrderQuery { status: Some(OrderStatus::Confirmed), ..all.clone() }), [4, 2, 0]);
    assert_eq!(ids(&OrderQuery { created_at: Range { min: 1, max: 1 }, ..all.clone() }), [3, 2]);
    assert!(ids(&OrderQuery { created_at: Range { min: 2, max: 1 }, ..all.clone() }).is_empty());

    for oldest_first in [true, false] {
        let mut query = OrderQuery { oldest_first, limit: 2, count: true, ..OrderQuery::default() };
        let mut seen = Vec::new();
        loop {
            let found = orders.find(&query);
            assert_eq!(found.total, Some(6));
            seen.extend(found.orders.iter().map(|(_, id)| id.0));
            query.after = found.orders.last().copied();
            if !found.has_more {
                break;
            }
        }
        assert_eq!(seen.len(), 6);
        assert!(orders.find(&query).orders.is_empty(), "behind the last there is nothing");
    }
}

#[test]
fn an_older_version_of_an_order_changes_nothing() {
    let orders = Orders::default();
    orders.note(&View { version: 4, ..order(1, 1, OrderStatus::Confirmed) });
    orders.note(&View { version: 3, ..order(1, 1, OrderStatus::Pending) });
    let pending = OrderQuery { status: Some(OrderStatus::Pending), limit: 9, ..OrderQuery::default() };
    assert!(orders.find(&pending).orders.is_empty());
}
