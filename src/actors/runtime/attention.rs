//! What waits for a person: steps that have been owed for longer than they should be.
//!
//! Nothing is kept for it. Each slot knows what its entities owe, in memory; the list is made when somebody asks.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::envelope::OwedStep;
use super::router::Router;
use crate::actors::values::Time;
use crate::persistence::Slot;

/// Where a step stands in the list: the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    since: Time,
    slot: Slot,
    number: u64,
}

/// A step, and who owes it.
#[derive(Debug, Clone)]
pub struct Overdue {
    pub place: Place,
    pub kind: &'static str,
    pub id: Arc<str>,
    pub owed: OwedStep,
}

/// What has been owed since before a time.
#[derive(Debug, Default)]
pub struct OverdueList {
    /// The first of them behind a place, the oldest first.
    pub steps: Vec<Overdue>,
    /// How many there are in all.
    pub total: usize,
}

/// At most `limit` of this node's, behind `after`.
pub(in crate::actors) fn overdue(router: &Router, before: Time, after: Option<Place>, limit: usize) -> OverdueList {
    let mut places: Vec<Place> = Vec::new();
    for shared in &router.slots {
        let outstanding = shared.outstanding();
        let of_slot = outstanding.owed_since_before(before);
        places.extend(of_slot.map(|(number, since)| Place { since, slot: shared.slot, number }));
    }
    let total = places.len();
    places.retain(|place| after.is_none_or(|after| *place > after));
    places.sort_unstable();
    places.truncate(limit);
    let step = |place: Place| {
        // It may have been answered since.
        let debt = router.slots[usize::from(place.slot)].outstanding().get(place.number).cloned()?;
        let kind = router.kinds().by_number(debt.from.kind)?.name();
        let id = debt.from.id.clone();
        Some(Overdue { place, kind, id, owed: debt.step(router.kinds()) })
    };
    OverdueList { steps: places.into_iter().filter_map(step).collect(), total }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.since.0, self.slot, self.number)
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in this list")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Place, NoPlace> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(NoPlace);
        let since = Time(part()?.parse().map_err(|_| NoPlace)?);
        let slot = part()?.parse().map_err(|_| NoPlace)?;
        let number = part()?.parse().map_err(|_| NoPlace)?;
        if parts.next().is_some() { Err(NoPlace) } else { Ok(Place { since, slot, number }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place { since: Time(1_700_000_000_000), slot: 9, number: 77 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in ["", "1", "1.2", "1.2.x", "1.2.3.4", "1.70000.3"] {
            assert_eq!(wrong.parse::<Place>(), Err(NoPlace), "{wrong}");
        }
    }
}
