//! The read models without a runtime: rows go in, lists come out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;

use super::ROWS_AT_ONCE;
use super::catalogue::{Catalogue, ProductQuery, ProductsFound, Range, SortBy, SortField};
use super::orders::{OrderQuery, Orders};
use crate::actors::order::types::{Order, OrderStatus, Placement, State as OrderState};
use crate::actors::payment::types::{PaymentIntent, PaymentMethod};
use crate::actors::product::types::{Content, Product, ProductStatus, State as ProductState, Variant};
use crate::actors::runtime::client::View;
use crate::actors::values::{
    Address, CartId, CategoryId, Contact, Currency, Money, OrderId, ProductId, RequestId, Secret, StockBand, Time,
    Totals, UserId, VariantId,
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
    View { version: 1, at: Time(created_at), state: Arc::new(state), position: None }
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

async fn every_page(catalogue: &Catalogue, query: &ProductQuery) -> Vec<u128> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let found = catalogue.find(&query).await;
        assert!(found.ids.len() <= query.limit);
        all.extend(ids(&found));
        match found.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_every_order_without_gap_or_repeat() {
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
            let all = every_page(&catalogue, &query).await;
            let whole = catalogue.find(&ProductQuery { limit: 100, ..query }).await;
            assert_eq!(all, ids(&whole), "{sorts:?}");
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 20, "{sorts:?}");
        }
    }
}

/// Prices are shared by a thousand products each, so that a page begins and ends among equals, and a list takes many
/// looks.
#[tokio::test]
async fn pages_of_many_rows_are_those_of_the_whole_list() {
    const PRODUCTS: u128 = 3_000;
    let catalogue = catalogue(PRODUCTS);
    let sort = |field, descending| SortBy { field, descending };
    let thirds = |order: [u128; 3]| order.into_iter().flat_map(|price| (0..PRODUCTS).filter(move |id| id % 3 == price));
    let newest: Vec<u128> = (0..PRODUCTS).rev().collect();
    let cheapest: Vec<u128> = thirds([0, 1, 2]).collect();
    let mut dearest: Vec<u128> = thirds([2, 1, 0]).collect();
    dearest.chunks_mut(1_000).for_each(<[u128]>::reverse);
    let orders = [
        (vec![], newest),
        (vec![sort(SortField::Price, false)], cheapest),
        (vec![sort(SortField::Price, true), sort(SortField::CreatedAt, true)], dearest),
    ];
    for (sorts, whole) in orders {
        for categories in [None, Some(BTreeSet::from([CategoryId(7), CategoryId(8)]))] {
            for count in [false, true] {
                let query = ProductQuery {
                    sorts: sorts.clone(),
                    categories: categories.clone(),
                    limit: 300,
                    count,
                    ..Default::default()
                };
                assert_eq!(catalogue.find(&query).await.total, count.then_some(3_000));
                assert_eq!(every_page(&catalogue, &query).await, whole, "{sorts:?}");
            }
        }
    }
}

/// How often others got their turn before the list was there. Whenever they did, the lock was free.
async fn turns_of_others<T>(find: impl Future<Output = T>, catalogue: &Catalogue) -> (usize, T) {
    let mut find = std::pin::pin!(find);
    let mut turns = 0;
    loop {
        if let Poll::Ready(found) = futures::poll!(&mut find) {
            return (turns, found);
        }
        turns += 1;
        catalogue.note_product(&View { version: 2, ..product(0, "Changed", 0, 0, 7) });
    }
}

#[tokio::test]
async fn a_list_that_matches_little_holds_the_lock_for_a_bounded_number_of_rows() {
    const PRODUCTS: usize = 5 * ROWS_AT_ONCE;
    let catalogue = catalogue(PRODUCTS as u128);
    let all = ProductQuery { limit: 10, ..ProductQuery::default() };
    let dear = Range { min: 9, max: i64::MAX };
    let categories = Some(BTreeSet::from([CategoryId(7), CategoryId(8)]));
    for (query, rows) in [
        (ProductQuery { price: dear, ..all.clone() }, PRODUCTS),
        (ProductQuery { status: Some(ProductStatus::Draft), ..all.clone() }, PRODUCTS),
        (ProductQuery { price: dear, categories, ..all.clone() }, PRODUCTS),
        (ProductQuery { price: dear, count: true, ..all.clone() }, PRODUCTS),
        // Nobody looks at what others sell, or at more than the page.
        (ProductQuery { seller: Some(UserId(1)), ..all.clone() }, 0),
    ] {
        let (turns, found) = turns_of_others(catalogue.find(&query), &catalogue).await;
        assert!(found.ids.is_empty() && found.total.is_none_or(|total| total == 0), "{found:?}");
        assert!(turns >= rows / ROWS_AT_ONCE, "{query:?}: {turns}");
    }
    let (turns, found) = turns_of_others(catalogue.find(&all), &catalogue).await;
    assert_eq!((turns, found.ids.len()), (0, 10));

    let orders = Orders::default();
    for id in 0..PRODUCTS {
        orders.note(&order(id as u128, 0, OrderStatus::Confirmed));
    }
    let pending = OrderQuery { status: Some(OrderStatus::Pending), limit: 10, ..OrderQuery::default() };
    for oldest_first in [true, false] {
        let query = OrderQuery { oldest_first, ..pending.clone() };
        let (turns, found) = turns_of_others(orders.find(&query), &catalogue).await;
        assert!(found.orders.is_empty() && turns >= PRODUCTS / ROWS_AT_ONCE - 1, "{turns}");
    }
}

#[tokio::test]
async fn sorts_and_filters_do_what_they_say() {
    let catalogue = catalogue(9);
    let find = async |query: ProductQuery| catalogue.find(&ProductQuery { limit: 100, count: true, ..query }).await;
    assert_eq!(ids(&find(ProductQuery::default()).await), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let dear_first = vec![
        SortBy { field: SortField::Price, descending: true },
        SortBy { field: SortField::CreatedAt, descending: true },
    ];
    assert_eq!(ids(&find(ProductQuery { sorts: dear_first, ..Default::default() }).await), [8, 5, 2, 7, 4, 1, 6, 3, 0]);
    let found = find(ProductQuery { price: Range { min: 1, max: 1 }, ..Default::default() }).await;
    assert_eq!((ids(&found), found.total), (vec![7, 4, 1], Some(3)));
    let found = find(ProductQuery { categories: Some(BTreeSet::from([CategoryId(7)])), ..Default::default() }).await;
    assert_eq!((ids(&found), found.total), (vec![6, 3, 0], Some(3)));
    assert!(find(ProductQuery { status: Some(ProductStatus::Draft), ..Default::default() }).await.ids.is_empty());
    assert!(find(ProductQuery { categories: Some(BTreeSet::new()), ..Default::default() }).await.ids.is_empty());
}

#[tokio::test]
async fn a_row_is_replaced_by_newer_versions_only() {
    let catalogue = catalogue(1);
    let newer = View { version: 3, ..product(0, "Other", 9, 0, 9) };
    catalogue.note_product(&newer);
    catalogue.note_product(&View { version: 2, ..product(0, "Old", 5, 0, 7) });
    let in_category = async |id| {
        let categories = Some(BTreeSet::from([CategoryId(id)]));
        catalogue.find(&ProductQuery { categories, limit: 9, ..ProductQuery::default() }).await.ids.len()
    };
    assert_eq!((in_category(7).await, in_category(9).await), (0, 1));
    let dear = Range { min: 9, max: i64::MAX };
    assert_eq!(catalogue.find(&ProductQuery { price: dear, limit: 9, ..ProductQuery::default() }).await.ids.len(), 1);
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
    View { version: 1, at: Time(created_at), state: Arc::new(state), position: None }
}

#[tokio::test]
async fn orders_are_listed_newest_first_by_status_and_time() {
    let orders = Orders::default();
    for id in 0..6 {
        let status = if id % 2 == 0 { OrderStatus::Confirmed } else { OrderStatus::Rejected };
        orders.note(&order(id, i64::try_from(id).expect("few") / 2, status));
    }
    let ids = async |query: OrderQuery| orders.find(&query).await.orders.iter().map(|(_, id)| id.0).collect::<Vec<_>>();
    let all = OrderQuery { limit: 10, ..OrderQuery::default() };
    assert_eq!(ids(all.clone()).await, [5, 4, 3, 2, 1, 0]);
    assert_eq!(ids(OrderQuery { oldest_first: true, ..all.clone() }).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(ids(OrderQuery { status: Some(OrderStatus::Confirmed), ..all.clone() }).await, [4, 2, 0]);
    assert_eq!(ids(OrderQuery { created_at: Range { min: 1, max: 1 }, ..all.clone() }).await, [3, 2]);
    assert!(ids(OrderQuery { created_at: Range { min: 2, max: 1 }, ..all.clone() }).await.is_empty());

    for oldest_first in [true, false] {
        let mut query = OrderQuery { oldest_first, limit: 2, count: true, ..OrderQuery::default() };
        let mut seen = Vec::new();
        loop {
            let found = orders.find(&query).await;
            assert_eq!(found.total, Some(6));
            seen.extend(found.orders.iter().map(|(_, id)| id.0));
            query.after = found.orders.last().copied();
            if !found.has_more {
                break;
            }
        }
        assert_eq!(seen.len(), 6);
        assert!(orders.find(&query).await.orders.is_empty(), "behind the last there is nothing");
    }
}

#[tokio::test]
async fn an_older_version_of_an_order_changes_nothing() {
    let orders = Orders::default();
    orders.note(&View { version: 4, ..order(1, 1, OrderStatus::Confirmed) });
    orders.note(&View { version: 3, ..order(1, 1, OrderStatus::Pending) });
    let pending = OrderQuery { status: Some(OrderStatus::Pending), limit: 9, ..OrderQuery::default() };
    assert!(orders.find(&pending).await.orders.is_empty());
}
