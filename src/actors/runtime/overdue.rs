//! Steps that have been owed for longer than they should be, as they are listed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::envelope::OwedStep;
use crate::actors::values::Time;
use crate::persistence::Slot;

/// Where a step stands in the list: the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub(super) since: Time,
    pub(super) slot: Slot,
    pub(super) number: u64,
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

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in this list")]
pub struct NoPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.since.0, self.slot, self.number)
    }
}

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
