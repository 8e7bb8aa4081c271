//! What orders hold of a SKU: by order, by the time at which the holds end, and by the orders' age.
//!
//! A hot SKU is reserved tens of thousands of times a second: nothing here looks at every reservation.
//! The sum is kept as it changes; the next expiry and the youngest order are the ends of sorted sets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::actors::values::{OrderId, Quantity, Time};

/// Pieces held for one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub quantity: Quantity,
    /// From then on the SKU may end the hold; until it has, the hold is good.
    pub expires_at: Time,
    /// When the order was placed: with its id its age, the same for ever. Zero, and so the oldest of all, for a
    /// hold from before holds kept it.
    pub placed_at: Time,
}

/// How old an order is, as every SKU sees it: the smaller is the older. No two orders have the same.
pub(super) type Age = (Time, OrderId);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reservations {
    by_order: BTreeMap<OrderId, Reservation>,
    by_expiry: BTreeSet<(Time, OrderId)>,
    by_age: BTreeSet<Age>,
    total: u64,
}

impl Reservations {
    pub fn len(&self) -> usize {
        self.by_order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_order.is_empty()
    }

    pub fn get(&self, order: &OrderId) -> Option<&Reservation> {
        self.by_order.get(order)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&OrderId, &Reservation)> {
        self.by_order.iter()
    }

    /// Pieces held for all orders together.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn next_expiry(&self) -> Option<Time> {
        self.by_expiry.first().map(|(at, _)| *at)
    }

    /// The holds that may be ended at `now`, the oldest first.
    pub(super) fn due(&self, now: Time) -> impl Iterator<Item = (OrderId, Reservation)> {
        let due = self.by_expiry.iter().take_while(move |(at, _)| *at <= now);
        due.filter_map(|(_, order)| Some((*order, *self.by_order.get(order)?)))
    }

    /// The holds of orders younger than `age`, the youngest first.
    pub(super) fn younger_than(&self, age: Age) -> impl Iterator<Item = (OrderId, Reservation)> {
        let younger = self.by_age.iter().rev().take_while(move |other| **other > age);
        younger.filter_map(|(_, order)| Some((*order, *self.by_order.get(order)?)))
    }

    /// A hold takes the place of one that the order had before.
    pub(super) fn put(&mut self, order: OrderId, reservation: Reservation) {
        self.remove(&order);
        self.total += u64::from(reservation.quantity.get());
        self.by_expiry.insert((reservation.expires_at, order));
        self.by_age.insert((reservation.placed_at, order));
        self.by_order.insert(order, reservation);
    }

    pub(super) fn remove(&mut self, order: &OrderId) -> Option<Reservation> {
        let gone = self.by_order.remove(order)?;
        self.by_expiry.remove(&(gone.expires_at, *order));
        self.by_age.remove(&(gone.placed_at, *order));
        self.total -= u64::from(gone.quantity.get());
        Some(gone)
    }

    /// All trees: keys, values, and the nodes' slack.
    pub(super) fn heap_bytes(&self) -> usize {
        self.len() * (3 * size_of::<OrderId>() + size_of::<Reservation>() + 2 * size_of::<Time>()) * 3 / 2
    }

    /// Whether sum and orders are what the holds say. Looks at every hold.
    pub(super) fn is_consistent(&self) -> bool {
        *self == Reservations::from(self.by_order.clone())
    }
}

impl From<BTreeMap<OrderId, Reservation>> for Reservations {
    fn from(by_order: BTreeMap<OrderId, Reservation>) -> Reservations {
        Reservations {
            by_expiry: by_order.iter().map(|(order, held)| (held.expires_at, *order)).collect(),
            by_age: by_order.iter().map(|(order, held)| (held.placed_at, *order)).collect(),
            total: by_order.values().map(|held| u64::from(held.quantity.get())).sum(),
            by_order,
        }
    }
}

/// Stored as the holds by order; the rest is computed again.
impl Serialize for Reservations {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.by_order.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Reservations {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(d).map(Reservations::from)
    }
}
