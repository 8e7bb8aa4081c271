//! Who may be refused stock because of whom. Orders that compete for the same last units are ranked by age, so that
//! never two are refused because of each other. Looked at whenever a SKU's refusal becomes durable.

use std::collections::BTreeSet;

use souk::actors::entity::{Kind, Outcome};
use souk::actors::kinds;
use souk::actors::order::types::Order;
use souk::actors::runtime::delivery::owed_request;
use souk::actors::sku::types::{Rejection, Reservation, State as Sku, StockUnit};
use souk::actors::values::{OrderId, Time};
use souk::persistence::Record;

use crate::Broken;
use crate::history::{History, key_of};

/// A contended line is asked for again after a pause that doubles up to a second, for some seconds at most.
const ATTEMPTS_MAX: u32 = 64;

/// What refusals of stock came to so far.
#[derive(Default)]
pub struct Refusals {
    /// The first was refused what it would have got without what the second held.
    because: BTreeSet<(OrderId, OrderId)>,
    /// Refusals of orders, while others held pieces of the SKU.
    pub beside_holds: u64,
    /// Orders that were told to come again, because younger ones hold what they want.
    pub contended: u64,
}

/// An order that asks a SKU for pieces.
struct Asking {
    id: OrderId,
    placed_at: Time,
    pieces: u64,
}

fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { invariant, detail: detail() }) }
}

impl Refusals {
    /// Judges a record that has just been noted in the history.
    pub fn judge(&mut self, record: &Record, history: &History) -> Result<(), Broken> {
        match refusal(record) {
            Some(Rejection::InsufficientStock { .. }) => {}
            Some(Rejection::Contended) => {
                self.contended += 1;
                return Ok(());
            }
            Some(_) | None => return Ok(()),
        }
        let sku = history.past(&record.key).and_then(|past| past.then::<StockUnit>(record.version));
        let (Some(sku), Some(asking)) = (sku, who_asked(record, history)) else { return Ok(()) };
        self.judge_refusal(record, &sku, &asking)
    }

    fn judge_refusal(&mut self, record: &Record, sku: &Sku, asking: &Asking) -> Result<(), Broken> {
        // What is overdue is taken from its order when somebody wants it.
        let holds = sku.reservations.iter().filter(|(_, held)| held.expires_at > Time(record.at_ms));
        let holds: Vec<_> = holds.filter(|(id, _)| **id != asking.id).map(|(id, held)| (*id, *held)).collect();
        self.beside_holds += u64::from(!holds.is_empty());
        let told =
            || format!("{} refuses {} {} of {}: {holds:?}", record.key.id, asking.id, asking.pieces, sku.on_hand);
        let age = (asking.placed_at, asking.id);
        let of_older = pieces(holds.iter().filter(|(id, held)| (held.placed_at, *id) < age));
        let is_gone = sku.on_hand.saturating_sub(of_older) < asking.pieces;
        ensure(is_gone, "every refusal of stock names sold pieces or an older hold", told)?;
        let of_all = pieces(holds.iter());
        for (other, held) in &holds {
            if sku.on_hand - (of_all - u64::from(held.quantity.get())) >= asking.pieces {
                self.because.insert((asking.id, *other));
            }
            let both = self.because.contains(&(asking.id, *other)) && self.because.contains(&(*other, asking.id));
            ensure(!both, "of two orders that compete never both are refused because of each other", told)?;
        }
        Ok(())
    }
}

fn pieces<'a>(holds: impl Iterator<Item = &'a (OrderId, Reservation)>) -> u64 {
    holds.map(|(_, held)| u64::from(held.quantity.get())).sum()
}

/// What a SKU has refused with this record.
fn refusal(record: &Record) -> Option<Rejection> {
    let receipt = record.receipt.as_ref().filter(|_| record.key.kind == StockUnit::NUMBER)?;
    let outcome = kinds::all().by_number(StockUnit::NUMBER)?.outcome(&receipt.outcome).ok()?;
    outcome.downcast_ref::<Outcome<StockUnit>>()?.clone().err()
}

/// The order whose request this was; nobody's, when requests have lost their identity.
fn who_asked(record: &Record, history: &History) -> Option<Asking> {
    history.all::<Order>().find_map(|(id, order)| {
        let lines = &order.placement.as_ref()?.lines;
        let place = lines.iter().position(|line| line.sku.as_str() == record.key.id.as_ref())?;
        let from = key_of::<Order>(&id);
        let keys = (0..ATTEMPTS_MAX).map(|attempt| match attempt {
            0 => format!("reserve:{place}"),
            _ => format!("reserve:{place}:{attempt}"),
        });
        let asked = keys.into_iter().any(|key| owed_request(&from, &key).0 == record.request);
        let pieces = u64::from(lines.get(place)?.quantity.get());
        asked.then_some(Asking { id, placed_at: order.created_at, pieces })
    })
}
