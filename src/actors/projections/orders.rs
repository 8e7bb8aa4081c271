//! The list of all orders, for administrators: newest or oldest first, filtered by what an order's
//! statuses are and when it was placed.
//!
//! A row is an id, a time and three words: some 40 bytes, so that millions fit. The list's page is read from the
//! orders themselves.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::time::Instant;

use super::ROWS_AT_ONCE;
use super::catalogue::Range;
use super::read_model::Rows;
use crate::actors::entity::Kind;
use crate::actors::order::types::{FulfillmentStatus, Order, OrderStatus, PaymentStatus};
use crate::actors::runtime::client::{AskError, Client, View};
use crate::actors::values::{OrderId, Time};
use crate::persistence::EntityKey;

#[derive(Default)]
pub struct Orders(RwLock<ByTime>);

type ByTime = BTreeMap<(Time, OrderId), Row>;

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
    pub(super) fn note(&self, view: &View<Order>) {
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

    /// A page of orders. Other tasks run meanwhile when many rows must be looked at.
    pub async fn find(&self, query: &OrderQuery) -> OrdersFound {
        let mut scan = Scan { query, looked_at: None, orders: Vec::new(), total: 0 };
        while !scan.step(&self.0.read()) {
            tokio::task::yield_now().await;
        }
        let Scan { mut orders, total, .. } = scan;
        let has_more = orders.len() > query.limit;
        orders.truncate(query.limit);
        OrdersFound { orders, has_more, total: query.count.then_some(total) }
    }
}

#[async_trait]
impl Rows for Orders {
    const NAME: &'static str = "orders";
    const KINDS: &'static [u8] = &[Order::NUMBER];

    async fn read(&self, client: &Client, key: &EntityKey, deadline: Instant) -> Result<u64, AskError> {
        let id: OrderId = key.id.parse().map_err(|_| AskError::UnknownKind)?;
        let view = client.read::<Order>(&id, deadline).await?;
        self.note(&view);
        Ok(view.version)
    }

    fn replace(&self, rows: Orders) {
        *self.0.write() = rows.0.into_inner();
    }
}

/// A list being made, a bounded number of rows at a time: between two looks nobody holds the lock.
struct Scan<'q> {
    query: &'q OrderQuery,
    looked_at: Option<(Time, OrderId)>,
    /// The page, and one more to know that there is more.
    orders: Vec<(Time, OrderId)>,
    total: u64,
}

impl Scan<'_> {
    /// Looks at the next rows, [`ROWS_AT_ONCE`] of them at most. Whether that was all.
    fn step(&mut self, rows: &ByTime) -> bool {
        let query = self.query;
        let first = (Time(query.created_at.min), OrderId(0));
        let last = (Time(query.created_at.max), OrderId(u128::MAX));
        // Who counts everything begins where everything begins.
        let from = self.looked_at.or(query.after.filter(|_| !query.count));
        let (below, above) = (from.is_some_and(|from| from < first), from.is_some_and(|from| from > last));
        let (is_before, is_beyond) = if query.oldest_first { (below, above) } else { (above, below) };
        if first > last || is_beyond {
            return true;
        }
        let range = match from.filter(|_| !is_before) {
            None => (Bound::Included(first), Bound::Included(last)),
            Some(from) if query.oldest_first => (Bound::Excluded(from), Bound::Included(last)),
            Some(from) => (Bound::Included(first), Bound::Excluded(from)),
        };
        let all = rows.range(range);
        let all: Box<dyn Iterator<Item = _>> = if query.oldest_first { Box::new(all) } else { Box::new(all.rev()) };
        for (n, (key, row)) in all.enumerate() {
            if n == ROWS_AT_ONCE {
                return false;
            }
            self.looked_at = Some(*key);
            if query.accepts(row) {
                self.total += 1;
                if query.is_after(*key) && self.orders.len() <= query.limit {
                    self.orders.push(*key);
                }
            }
            if !query.count && self.orders.len() > query.limit {
                return true;
            }
        }
        true
    }
}

impl OrderQuery {
    fn is_after(&self, key: (Time, OrderId)) -> bool {
        self.after.is_none_or(|after| if self.oldest_first { key > after } else { key < after })
    }

    fn accepts(&self, row: &Row) -> bool {
        self.status.is_none_or(|status| status == row.status)
            && self.payment.is_none_or(|status| status == row.payment)
            && self.fulfillment.is_none_or(|status| status == row.fulfillment)
    }
}
