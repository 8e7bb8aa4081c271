//! What one copy of a cart, a SKU and an order does, as far as clients see it.
//!
//! A change and the state that its answer shows are two operations, the second after the first: entities decide several
//! commands in one record, and each answer shows the entity as it is after the record.

use std::collections::BTreeMap;

use super::checker::Model;

/// The pieces of a cart's only line.
pub struct Cart;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CartOp {
    Add(u64),
    Set(u64),
    Shows(u64),
}

impl Model for Cart {
    type State = u64;
    type Op = CartOp;

    fn step(pieces: &u64, op: &CartOp) -> Option<u64> {
        match op {
            CartOp::Add(more) => Some(pieces + more),
            CartOp::Set(to) => Some(*to),
            CartOp::Shows(seen) => (seen == pieces).then_some(*pieces),
        }
    }

    fn is_look(op: &CartOp) -> bool {
        matches!(op, CartOp::Shows(_))
    }
}

/// A SKU's pieces, and who holds some of them.
pub struct Stock;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pieces {
    pub on_hand: i64,
    /// By the number of an order.
    pub held: BTreeMap<usize, i64>,
}

impl Pieces {
    pub fn of(on_hand: i64) -> Pieces {
        Pieces { on_hand, held: BTreeMap::new() }
    }

    fn reserved(&self) -> i64 {
        self.held.values().sum()
    }

    fn with(&self, on_hand: i64) -> Pieces {
        Pieces { on_hand, held: self.held.clone() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockOp {
    /// For an order. Only what is free can be held: anything else sells a piece twice.
    Hold {
        order: usize,
        pieces: i64,
    },
    /// What the order holds leaves the shop.
    Sell {
        order: usize,
    },
    /// What the order holds is free again.
    Release {
        order: usize,
    },
    /// An order was told that there is not enough.
    Lacks {
        pieces: i64,
    },
    /// An order was cancelled.
    Restock {
        pieces: i64,
    },
    Adjust {
        delta: i64,
    },
    AdjustRefused {
        delta: i64,
    },
    /// Counted, by somebody who had seen another number.
    Put {
        expected: i64,
        on_hand: i64,
    },
    /// He is told the number that there is.
    PutStale {
        expected: i64,
        found: i64,
    },
    /// Orders hold more than that.
    PutRefused {
        on_hand: i64,
    },
    Shows {
        on_hand: i64,
        reserved: i64,
    },
}

impl Model for Stock {
    type State = Pieces;
    type Op = StockOp;

    fn step(stock: &Pieces, op: &StockOp) -> Option<Pieces> {
        let same = |holds: bool| holds.then(|| stock.clone());
        let free = stock.on_hand - stock.reserved();
        match op {
            StockOp::Hold { order, pieces } => {
                let mut after = stock.clone();
                let held = after.held.insert(*order, *pieces);
                (held.is_none() && *pieces <= free).then_some(after)
            }
            StockOp::Sell { order } => {
                let mut after = stock.clone();
                after.on_hand -= after.held.remove(order)?;
                Some(after)
            }
            StockOp::Release { order } => {
                let mut after = stock.clone();
                after.held.remove(order)?;
                Some(after)
            }
            StockOp::Lacks { pieces } => same(free < *pieces),
            StockOp::Restock { pieces } => Some(stock.with(stock.on_hand + pieces)),
            StockOp::Adjust { delta } => (free + delta >= 0).then(|| stock.with(stock.on_hand + delta)),
            StockOp::AdjustRefused { delta } => same(free + delta < 0),
            StockOp::Put { expected, on_hand } => {
                (stock.on_hand == *expected && *on_hand >= stock.reserved()).then(|| stock.with(*on_hand))
            }
            StockOp::PutStale { expected, found } => same(stock.on_hand == *found && found != expected),
            StockOp::PutRefused { on_hand } => same(*on_hand < stock.reserved()),
            StockOp::Shows { on_hand, reserved } => same((stock.on_hand, stock.reserved()) == (*on_hand, *reserved)),
        }
    }

    fn is_look(op: &StockOp) -> bool {
        match op {
            StockOp::Lacks { .. }
            | StockOp::AdjustRefused { .. }
            | StockOp::PutStale { .. }
            | StockOp::PutRefused { .. }
            | StockOp::Shows { .. } => true,
            StockOp::Hold { .. }
            | StockOp::Sell { .. }
            | StockOp::Release { .. }
            | StockOp::Restock { .. }
            | StockOp::Adjust { .. }
            | StockOp::Put { .. } => false,
        }
    }
}

/// What becomes of an order after it was confirmed: money goes back once, and it is cancelled once.
pub struct Order;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Paid {
    pub captured: i64,
    /// Asked to be paid back, whether or not the provider has done it.
    pub refunded: i64,
    pub is_cancelled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderOp {
    Refund(i64),
    /// More than what was left.
    RefundRefused(i64),
    /// The first half of a cancellation: everything that is left is paid back.
    PayBack,
    Cancel,
    Shows {
        refunded: i64,
        is_cancelled: bool,
    },
}

impl Model for Order {
    type State = Paid;
    type Op = OrderOp;

    fn step(paid: &Paid, op: &OrderOp) -> Option<Paid> {
        let same = |holds: bool| holds.then(|| paid.clone());
        let left = paid.captured - paid.refunded;
        match op {
            OrderOp::Refund(amount) => {
                (*amount <= left).then(|| Paid { refunded: paid.refunded + amount, ..paid.clone() })
            }
            OrderOp::RefundRefused(amount) => same(*amount > left),
            OrderOp::PayBack => Some(Paid { refunded: paid.captured, ..paid.clone() }),
            OrderOp::Cancel => Some(Paid { is_cancelled: true, ..paid.clone() }),
            OrderOp::Shows { refunded, is_cancelled } => {
                same((paid.refunded, paid.is_cancelled) == (*refunded, *is_cancelled))
            }
        }
    }

    fn is_look(op: &OrderOp) -> bool {
        matches!(op, OrderOp::RefundRefused(_) | OrderOp::Shows { .. })
    }
}
