//! Which entity has answered somebody last: for operators, who want to know how far their request went.
//!
//! Whoever wants to know runs his work within [`noting`]. What runs in tasks of its own is not seen.

use std::cell::Cell;

use crate::persistence::{Epoch, Slot};

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answerer {
    pub slot: Slot,
    /// The slot's epoch at which it was answered.
    pub epoch: Epoch,
    /// Whether another node than the one that was asked has the slot.
    pub is_elsewhere: bool,
}

tokio::task_local! {
    static LAST: Cell<Option<Answerer>>;
}

/// Does the work, and says which entity answered last in it.
pub async fn noting<F: Future>(work: F) -> (F::Output, Option<Answerer>) {
    LAST.scope(Cell::new(None), async move {
        let done = work.await;
        (done, LAST.with(Cell::take))
    })
    .await
}

/// What was answered until now was only on the way to what matters.
pub fn forget() {
    let _ = LAST.try_with(Cell::take); // nobody wants to know
}

pub(super) fn note(answerer: Answerer) {
    let _ = LAST.try_with(|last| last.set(Some(answerer))); // nobody wants to know
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_one_counts_and_nobody_is_seen_by_others() {
        let answerer = |slot| Answerer { slot, epoch: 7, is_elsewhere: false };
        note(answerer(1));
        let noted = noting(async {
            note(answerer(2));
            forget();
            tokio::task::yield_now().await;
            note(answerer(3));
            "done"
        });
        assert_eq!(noted.await, ("done", Some(answerer(3))));
        assert_eq!(noting(async { forget() }).await.1, None);
    }
}
