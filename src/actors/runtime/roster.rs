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
    /// It has been told to leave. `told`: who waits for that. `then`: it has been given again meanwhile.
    Leaving { told: Vec<oneshot::Sender<()>>, then: Option<Start> },
}

/// What is to be done about a slot.
pub enum Step {
    /// Start an actor; where it is told how to, it begins.
    Start(Slot, Option<Start>),
    /// Tell the slot's actor to leave.
    Leave(Slot),
    /// Call [`Roster::restart`] after a pause.
    RestartLater(Slot),
    /// Nothing of the slot is here: tell those who wait for that.
    IsAway(Vec<oneshot::Sender<()>>),
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
        matches!(self.0.get(&slot), Some(Standing::Leaving { then: None, .. }))
    }

    /// The slot is given to this node.
    pub fn take(&mut self, slot: Slot, start: Start) -> Option<Step> {
        match self.0.get_mut(&slot) {
            None => {
                self.0.insert(slot, Standing::Here);
                Some(Step::Start(slot, Some(start)))
            }
            Some(Standing::Leaving { then, .. }) => {
                *then = Some(start);
                None
            }
            Some(Standing::Here | Standing::Failed) => None,
        }
    }

    /// The slot is to leave this node. `done` is told when everything of it has settled, however often its actor fails on the
    /// way. What was given before that is dropped.
    pub fn leave(&mut self, slot: Slot, done: oneshot::Sender<()>) -> Vec<Step> {
        let Some(standing) = self.0.get_mut(&slot) else { return vec![Step::IsAway(vec![done])] };
        if let Standing::Leaving { told, then } = standing {
            told.push(done);
            *then = None;
            return Vec::new();
        }
        match std::mem::replace(standing, Standing::Leaving { told: vec![done], then: None }) {
            Standing::Failed => vec![Step::Start(slot, None), Step::Leave(slot)],
            Standing::Here | Standing::Leaving { .. } => vec![Step::Leave(slot)],
        }
    }

    /// The slot's actor has ended.
    pub fn ended(&mut self, slot: Slot, ending: Ending) -> Vec<Step> {
        match (self.0.remove(&slot), ending) {
            (None, _) => Vec::new(),
            (Some(Standing::Leaving { told, then }), Ending::Left) => {
                let begins = then.and_then(|start| self.take(slot, start));
                [Step::IsAway(told)].into_iter().chain(begins).collect()
            }
            // What its actor had handed over has not settled yet: it leaves once more.
            (Some(standing @ Standing::Leaving { .. }), Ending::Failed) => {
                self.0.insert(slot, standing);
                vec![Step::RestartLater(slot)]
            }
            (Some(Standing::Here | Standing::Failed), Ending::Left | Ending::Failed) => {
                self.0.insert(slot, Standing::Failed);
                vec![Step::RestartLater(slot)]
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
                vec![Step::Start(slot, None), Step::Leave(slot)]
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

    fn is_told(waits: &mut oneshot::Receiver<()>, steps: Vec<Step>) -> Vec<Step> {
        let (away, others): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| matches!(step, Step::IsAway(_)));
        for step in away {
            if let Step::IsAway(told) = step {
                told.into_iter().for_each(|told| assert!(told.send(()).is_ok()));
            }
        }
        assert_eq!(waits.try_recv(), Ok(()));
        others
    }

    #[test]
    fn a_slot_comes_leaves_and_comes_again() {
        let mut roster = Roster::default();
        assert!(matches!(roster.leave(3, told())[..], [Step::IsAway(_)]), "it is not here");
        assert!(matches!(roster.take(3, claimed()), Some(Step::Start(3, Some(Start::Claimed(_))))));
        assert!(roster.take(3, claimed()).is_none(), "it is here already");
        let (told, mut waits) = oneshot::channel();
        assert!(matches!(roster.leave(3, told)[..], [Step::Leave(3)]));
        assert!(is_told(&mut waits, roster.ended(3, Ending::Left)).is_empty() && !roster.has(3));
        assert!(roster.take(3, claimed()).is_some());
    }

    #[test]
    fn one_that_is_given_again_while_it_leaves_begins_when_it_has_left() {
        let mut roster = Roster::default();
        roster.take(3, claimed());
        let (first, mut waits) = oneshot::channel();
        roster.leave(3, first);
        assert!(roster.take(3, claimed()).is_none(), "its actor is there yet");
        let begins = is_told(&mut waits, roster.ended(3, Ending::Left));
        assert!(matches!(begins[..], [Step::Start(3, Some(Start::Claimed(_)))]));
        let ((first, mut waits), (second, mut waits_too)) = (oneshot::channel(), oneshot::channel());
        assert!(matches!(roster.leave(3, first)[..], [Step::Leave(3)]));
        roster.take(3, claimed());
        assert!(roster.leave(3, second).is_empty(), "its actor knows");
        assert!(is_told(&mut waits, roster.ended(3, Ending::Left)).is_empty(), "the last word counts");
        assert_eq!(waits_too.try_recv(), Ok(()));
    }

    /// Whoever waits must not say it again: the slot may have been given again by then, and would end.
    #[test]
    fn one_whose_actor_fails_while_it_leaves_is_told_once_and_serves_when_it_is_given_again() {
        let mut roster = Roster::default();
        roster.take(3, claimed());
        let (told, mut waits) = oneshot::channel();
        roster.leave(3, told);
        assert!(matches!(roster.ended(3, Ending::Failed)[..], [Step::RestartLater(3)]));
        assert_eq!(waits.try_recv(), Err(oneshot::error::TryRecvError::Empty), "it waits on");
        assert!(roster.take(3, claimed()).is_none());
        assert!(matches!(roster.restart(3, false)[..], [Step::Start(3, None), Step::Leave(3)]));
        let begins = is_told(&mut waits, roster.ended(3, Ending::Left));
        assert!(matches!(begins[..], [Step::Start(3, Some(Start::Claimed(_)))]));
        assert!(!roster.is_leaving(3));
    }

    #[test]
    fn one_that_fails_starts_again_unless_it_is_to_leave() {
        let mut roster = Roster::default();
        roster.take(3, claimed());
        assert!(matches!(roster.ended(3, Ending::Failed)[..], [Step::RestartLater(3)]));
        assert!(matches!(roster.restart(3, false)[..], [Step::Start(3, Some(Start::Recover))]));
        roster.ended(3, Ending::Failed);
        assert!(matches!(roster.leave(3, told())[..], [Step::Start(3, None), Step::Leave(3)]));
        assert!(roster.restart(3, true).is_empty(), "it leaves already");
        assert!(matches!(roster.ended(3, Ending::Failed)[..], [Step::RestartLater(3)]));
        assert!(matches!(roster.restart(3, false)[..], [Step::Start(3, None), Step::Leave(3)]));
        assert!(matches!(roster.ended(3, Ending::Left)[..], [Step::IsAway(_)]));
        assert!(roster.restart(3, false).is_empty(), "it has left");
    }
}
