//! Which slots live on this node, without I/O: what is to be done as they come, fail and leave.
//!
//! A slot is given to a node once its owner there has claimed it, and leaves it for good or until it is given again. Its
//! actor may fail at any moment, also while it leaves. So each slot has one standing, and whatever happens to it moves it
//! on: there is never more than one actor of a slot, and none of a slot that has left.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::slot::message::Start;
use crate::persistence::Slot;

/// The slots that are not away.
#[derive(Default)]
pub struct Roster(BTreeMap<Slot, Standing>);

enum Standing {
    /// It has an actor.
    Here,
    /// Its actor has failed, and another starts after a pause.
    Failed,
    /// It has been told to leave. `then`: it has been given again meanwhile.
    Leaving { then: Option<Start> },
}

/// What is to be done about a slot.
pub enum Step {
    /// Start an actor; where it is told how to, it begins.
    Start(Slot, Option<Start>),
    /// Tell the slot's actor to leave.
    Leave(Slot, oneshot::Sender<()>),
    /// Call [`Roster::restart`] after a pause.
    RestartLater(Slot),
    /// Nothing of the slot is here: tell who waits for that.
    IsAway(oneshot::Sender<()>),
}

/// How an actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, because its slot has left.
    Left,
    Failed,
}

impl Roster {
    pub fn has(&self, slot: Slot) -> bool {
        self.0.contains_key(&slot)
    }

    /// Whether it is on its way out, and has not been given again meanwhile.
    pub fn is_leaving(&self, slot: Slot) -> bool {
        matches!(self.0.get(&slot), Some(Standing::Leaving { then: None }))
    }

    /// The slot is given to this node.
    pub fn take(&mut self, slot: Slot, start: Start) -> Option<Step> {
        match self.0.get_mut(&slot) {
            None => {
                self.0.insert(slot, Standing::Here);
                Some(Step::Start(slot, Some(start)))
            }
            Some(Standing::Leaving { then }) => {
                *then = Some(start);
                None
            }
            Some(Standing::Here | Standing::Failed) => None,
        }
    }

    /// The slot is to leave this node. `done` is told when everything of it has settled; dropped, it is to be asked for again.
    pub fn leave(&mut self, slot: Slot, done: oneshot::Sender<()>) -> Vec<Step> {
        let Some(standing) = self.0.get_mut(&slot) else { return vec![Step::IsAway(done)] };
        match std::mem::replace(standing, Standing::Leaving { then: None }) {
            Standing::Here | Standing::Leaving { .. } => vec![Step::Leave(slot, done)],
            Standing::Failed => vec![Step::Start(slot, None), Step::Leave(slot, done)],
        }
    }

    /// The slot's actor has ended.
    pub fn ended(&mut self, slot: Slot, ending: Ending) -> Option<Step> {
        match (self.0.remove(&slot)?, ending) {
            (Standing::Leaving { then: None }, Ending::Left) => None,
            (Standing::Leaving { then: Some(start) }, Ending::Left) => self.take(slot, start),
            // What its actor had handed over has not settled yet: it leaves once more.
            (standing @ Standing::Leaving { .. }, Ending::Failed) => {
                self.0.insert(slot, standing);
                Some(Step::RestartLater(slot))
            }
            (Standing::Here | Standing::Failed, Ending::Left | Ending::Failed) => {
                self.0.insert(slot, Standing::Failed);
                Some(Step::RestartLater(slot))
            }
        }
    }

    /// The pause after a failure is over.
    pub fn restart(&mut self, slot: Slot, has_actor: bool) -> Vec<Step> {
        match self.0.get_mut(&slot) {
            Some(standing @ Standing::Failed) => {
                *standing = Standing::Here;
                vec![Step::Start(slot, Some(Start::Recover))]
            }
            Some(Standing::Leaving { .. }) if !has_actor => {
                vec![Step::Start(slot, None), Step::Leave(slot, oneshot::channel().0)]
            }
            Some(Standing::Here | Standing::Leaving { .. }) | None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::SlotHead;

    fn claimed() -> Start {
        Start::Claimed(SlotHead::default())
    }

    fn told() -> oneshot::Sender<()> {
        oneshot::channel().0
    }

    #[test]
    fn a_slot_comes_leaves_and_comes_again() {
        let mut roster = Roster::default();
        assert!(matches!(roster.leave(3, told())[..], [Step::IsAway(_)]), "it is not here");
        assert!(matches!(roster.take(3, claimed()), Some(Step::Start(3, Some(Start::Claimed(_))))));
        assert!(roster.take(3, claimed()).is_none(), "it is here already");
        assert!(matches!(roster.leave(3, told())[..], [Step::Leave(3, _)]));
        assert!(roster.ended(3, Ending::Left).is_none() && !roster.has(3));
        assert!(roster.take(3, claimed()).is_some());
    }

    #[test]
    fn one_that_is_given_again_while_it_leaves_begins_when_it_has_left() {
        let mut roster = Roster::default();
        roster.take(3, claimed());
        roster.leave(3, told());
        assert!(roster.take(3, claimed()).is_none(), "its actor is there yet");
        assert!(matches!(roster.ended(3, Ending::Left), Some(Step::Start(3, Some(Start::Claimed(_))))));
        roster.leave(3, told());
        roster.take(3, claimed());
        roster.leave(3, told());
        assert!(roster.ended(3, Ending::Left).is_none(), "the last word counts");
    }

    #[test]
    fn one_that_fails_starts_again_unless_it_is_to_leave() {
        let mut roster = Roster::default();
        roster.take(3, claimed());
        assert!(matches!(roster.ended(3, Ending::Failed), Some(Step::RestartLater(3))));
        assert!(matches!(roster.restart(3, false)[..], [Step::Start(3, Some(Start::Recover))]));
        roster.ended(3, Ending::Failed);
        assert!(matches!(roster.leave(3, told())[..], [Step::Start(3, None), Step::Leave(3, _)]));
        assert!(roster.restart(3, true).is_empty(), "it leaves already");
        assert!(matches!(roster.ended(3, Ending::Failed), Some(Step::RestartLater(3))));
        assert!(matches!(roster.restart(3, false)[..], [Step::Start(3, None), Step::Leave(3, _)]));
        assert!(roster.ended(3, Ending::Left).is_none());
        assert!(roster.restart(3, false).is_empty(), "it has left");
    }
}
