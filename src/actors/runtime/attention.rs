//! What waits for a person: steps that have been owed for longer than they should be.
//!
//! Nothing is kept for it. Each slot knows what its entities owe, in memory; the list is made when somebody asks.

use tokio::time::Instant;

use super::envelope::AskError;
use super::overdue::{Overdue, OverdueList, Place};
use super::router::Router;
use crate::actors::values::Time;

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

/// At most `limit` of all nodes', behind `after`. An error: one of them has not answered, and what it has is not known.
pub(super) async fn overdue_everywhere(
    router: &Router,
    before: Time,
    after: Option<Place>,
    limit: usize,
    deadline: Instant,
) -> Result<OverdueList, AskError> {
    let there = router.elsewhere().map(|elsewhere| elsewhere.overdue(before, after, limit, deadline));
    let mut all = overdue(router, before, after, limit);
    if let Some(there) = there {
        for list in there.await? {
            all.steps.extend(list.steps);
            all.total += list.total;
        }
        all.steps.sort_unstable_by_key(|step| step.place);
        all.steps.truncate(limit);
    }
    Ok(all)
}
