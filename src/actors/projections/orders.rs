//! The list of all orders, for administrators: newest or oldest first, filtered by what an order's
//! statuses are and when it was placed.
//!
//! A row is an id, a time and three words: some 40 bytes, so that millions fit. The list's page is read from the
//! orders themselves.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::RwLock;

use super::catalogue::Range;
use crate::actors::client::View;
use crate::actors::order::types::{FulfillmentStatus, Order, OrderStatus, PaymentStatus};
use crate::actors::values::{OrderId, Time};

#[derive(Default)]
pub struct Orders(RwLock<BTreeMap<(Time, OrderId), Row>>);

#[derive(Debug, Clone, Copy)]
struct Row {
    version: u64,
    status: OrderStatus,
    payment: PaymentStatus,
    fulfillment: FulfillmentStatus,
}

/// What is wanted. `None` is any.
#[derive(Debug, Clone, Default)]
pub struct OrderQuery {
    pub status: Option<OrderStatus>,
    pub payment: Option<PaymentStatus>,
    pub fulfillment: Option<FulfillmentStatus>,
    /// Milliseconds since 1970.
    pub created_at: Range,
    pub oldest_first: bool,
    /// The last order of the page before.
    pub after: Option<(Time, OrderId)>,
    pub limit: usize,
    /// Whether to count all that match.
    pub count: bool,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdersFound {
    pub orders: Vec<(Time, OrderId)>,
    pub has_more: bool,
    pub total: Option<u64>,
}

impl Orders {
    /// Takes an order as it is at some version; an older one than known changes nothing.
    pub fn note(&self, view: &View<Order>) {
        let Some(placement) = &view.state.placement else { return };
        let key = (view.state.created_at, placement.order);
        let mut rows = self.0.write();
        if rows.get(&key).is_some_and(|known| known.version > view.version) {
            return;
        }
        let row = Row {
            version: view.version,
            status: view.state.status,
            payment: view.state.payment_status(),
            fulfillment: view.state.fulfillment_status(),
        };
        rows.insert(key, row);
    }

    pub fn find(&self, query: &OrderQuery) -> OrdersFound {
        let rows = self.0.read();
        let first = (Time(query.created_at.min), OrderId(0));
        let last = (Time(query.created_at.max), OrderId(u128::MAX));
        if first > last {
            return OrdersFound { orders: Vec::new(), has_more: false, total: query.count.then_some(0) };
        }
        let matching = |bounds| rows.range::<(Time, OrderId), _>(bounds).filter(|(_, row)| query.accepts(row));
        let all = (Bound::Included(first), Bound::Included(last));
        let total = query.count.then(|| matching(all).count() as u64);
        let page = match query.after {
            None => all,
            Some(after) if query.oldest_first => (Bound::Excluded(after.max(first)), Bound::Included(last)),
            Some(after) => (Bound::Included(first), Bound::Excluded(after.min(last))),
        };
        let beyond = query.after.is_some_and(|after| if query.oldest_first { after >= last } else { after <= first });
        let wanted = query.limit + 1;
        let mut orders: Vec<_> = match (beyond, query.oldest_first) {
            (true, _) => Vec::new(),
            (false, true) => matching(page).map(|(key, _)| *key).take(wanted).collect(),
            (false, false) => matching(page).rev().map(|(key, _)| *key).take(wanted).collect(),
        };
        let has_more = orders.len() > query.limit;
        orders.truncate(query.limit);
        OrdersFound { orders, has_more, total }
    }
}

impl OrderQuery {
    fn accepts(&self, row: &Row) -> bool {
        self.status.is_none_or(|status| status == row.status)
            && self.payment.is_none_or(|status| status == row.payment)
            && self.fulfillment.is_none_or(|status| status == row.fulfillment)
    }
}
