//! What a SKU has sold before: the ledgers of variants that it belonged to once.
//!
//! A ledger is set aside when another variant claims the SKU. It is kept as long as something may still happen to
//! it: an order holds pieces of it, or pieces that were sold may come back. What it counted is then added to
//! `forgotten`, so that no piece is ever lost from the books.

use serde::{Deserialize, Serialize};

use super::item::Item;
use super::reservations::{Reservation, Reservations};
use crate::actors::values::{OrderId, Quantity, Time, VariantId};

/// The most ledgers of the past. Beyond, the oldest without holds is forgotten: what comes back of it is counted,
/// and nothing more. While every one has holds (at most the 15 minutes that a hold lives) nobody new can claim.
pub const PAST_MAX: usize = 16;

/// How many pieces came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    pub on_hand: u64,
    pub received: u64,
    pub adjusted: i64,
    pub sold: u64,
    pub returned: u64,
}

/// The pieces of a variant that had the SKU before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub item: Item,
    pub pieces: Pieces,
    pub reservations: Reservations,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// The oldest first.
    ledgers: Vec<Ledger>,
    /// The sums of the ledgers to which nothing can happen any more.
    forgotten: Pieces,
}

impl Pieces {
    /// on_hand + sold - returned = received + adjusted
    pub(super) fn balance(&self) -> bool {
        let there = i128::from(self.on_hand) + i128::from(self.sold) - i128::from(self.returned);
        there == i128::from(self.received) + i128::from(self.adjusted)
    }

    /// Pieces that were sold and are not back.
    pub(super) fn out(&self) -> u64 {
        self.sold.saturating_sub(self.returned)
    }

    fn add(&mut self, other: &Pieces) {
        self.on_hand = self.on_hand.saturating_add(other.on_hand);
        self.received = self.received.saturating_add(other.received);
        self.adjusted = self.adjusted.saturating_add(other.adjusted);
        self.sold = self.sold.saturating_add(other.sold);
        self.returned = self.returned.saturating_add(other.returned);
    }

    fn take_back(&mut self, quantity: Quantity) {
        self.on_hand = self.on_hand.saturating_add(u64::from(quantity.get()));
        self.returned = self.returned.saturating_add(u64::from(quantity.get()));
    }
}

impl Ledger {
    /// Whether something may still happen to it.
    fn is_open(&self) -> bool {
        !self.reservations.is_empty() || self.pieces.out() > 0
    }
}

impl Past {
    pub fn ledgers(&self) -> &[Ledger] {
        &self.ledgers
    }

    pub fn forgotten(&self) -> &Pieces {
        &self.forgotten
    }

    pub fn hold(&self, order: &OrderId) -> Option<&Reservation> {
        self.ledgers.iter().find_map(|ledger| ledger.reservations.get(order))
    }

    /// The ledger to which returned pieces belong: the newest one that fits the line's item and has so many pieces
    /// out.
    pub(super) fn variant_of(&self, item: &Item, quantity: Quantity) -> Option<VariantId> {
        let out = u64::from(quantity.get());
        let fits = |ledger: &&Ledger| item.is(&ledger.item) && ledger.pieces.out() >= out;
        self.ledgers.iter().rev().find(fits)?.item.variant
    }

    /// The ledger that keeps `next` from being set aside: the oldest one, if there are as many as there may be and all
    /// have holds.
    pub(super) fn in_the_way_of(&self, next: &Ledger) -> Option<Item> {
        let full = next.is_open() && self.ledgers.len() >= PAST_MAX;
        let held = self.ledgers.iter().all(|ledger| !ledger.reservations.is_empty());
        self.ledgers.first().filter(|_| full && held).map(|ledger| ledger.item)
    }

    pub(super) fn set_aside(&mut self, ledger: Ledger) {
        self.ledgers.push(ledger);
        self.tidy();
    }

    /// What the order held here is sold now.
    pub(super) fn commit(&mut self, order: &OrderId) {
        for ledger in &mut self.ledgers {
            if let Some(held) = ledger.reservations.remove(order) {
                let quantity = u64::from(held.quantity.get());
                ledger.pieces.on_hand = ledger.pieces.on_hand.saturating_sub(quantity);
                ledger.pieces.sold = ledger.pieces.sold.saturating_add(quantity);
            }
        }
        self.tidy();
    }

    pub(super) fn let_go(&mut self, order: &OrderId) {
        for ledger in &mut self.ledgers {
            ledger.reservations.remove(order);
        }
        self.tidy();
    }

    /// Pieces of this variant are back; of one that nobody remembers, when it is `None`.
    pub(super) fn restock(&mut self, variant: Option<VariantId>, quantity: Quantity) {
        let theirs = |ledger: &&mut Ledger| variant.is_some() && ledger.item.variant == variant;
        match self.ledgers.iter_mut().rev().find(theirs) {
            Some(ledger) => ledger.pieces.take_back(quantity),
            None => self.forgotten.take_back(quantity),
        }
        self.tidy();
    }

    pub(super) fn due(&self, now: Time) -> impl Iterator<Item = (OrderId, Reservation)> {
        self.ledgers.iter().flat_map(move |ledger| ledger.reservations.due(now))
    }

    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.ledgers.iter().filter_map(|ledger| ledger.reservations.next_expiry()).min()
    }

    pub(super) fn is_balanced(&self) -> bool {
        let covered = |ledger: &Ledger| ledger.reservations.total() <= ledger.pieces.on_hand;
        self.forgotten.balance() && self.ledgers.iter().all(|ledger| ledger.pieces.balance() && covered(ledger))
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.ledgers.iter().all(|ledger| ledger.reservations.is_consistent())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let holds: usize = self.ledgers.iter().map(|ledger| ledger.reservations.heap_bytes()).sum();
        self.ledgers.capacity() * size_of::<Ledger>() + holds
    }

    /// Forgets the ledgers to which nothing can happen, and beyond the limit the oldest without holds.
    fn tidy(&mut self) {
        let forgotten = &mut self.forgotten;
        self.ledgers.retain(|ledger| {
            if !ledger.is_open() {
                forgotten.add(&ledger.pieces);
            }
            ledger.is_open()
        });
        while self.ledgers.len() > PAST_MAX
            && let Some(oldest) = self.ledgers.iter().position(|ledger| ledger.reservations.is_empty())
        {
            self.forgotten.add(&self.ledgers.remove(oldest).pieces);
        }
    }
}
