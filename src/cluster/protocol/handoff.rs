//! One planned move, from both ends, without anything around it.
//!
//! The giving side: offers the slot, and goes on serving it; accepted, it stops it; stopped, it transfers it by one
//! compare-and-set. Until that is sent, it can give up and go on. After an unknown outcome it serves nothing, and the
//! tables say whose the slot is.
//!
//! The taking side accepts, and names the term of its lease; the transfer names it again. Made after an acceptance of
//! the term that still lasts, it cannot have been undone by anybody since but the taking side itself. So the slot starts at
//! once where its epoch is news; where it is known already, a call of this node's own may be on its way, and it is claimed.

use std::collections::BTreeMap;

use super::super::lease::Moment;
use super::super::ownership::NodeId;
use super::leases::Term;
use super::messages::{GivenUp, TransferAnswer};
use super::settings::Settings;
use super::types::{Epoch, Slot};

/// How far a hand-off is. What the slot does: it serves while `Offering`, and nothing after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Offering,
    Stopping,
    /// The transfer was sent, or is sent again at this moment because it was not done.
    Transferring {
        again_at: Option<Moment>,
    },
}

/// A slot that this node is giving away.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Giving {
    pub to: NodeId,
    pub epoch: Epoch,
    pub stage: Stage,
    /// The receiver's term in which it accepted.
    pub accepted_in: Option<Term>,
    since: Moment,
}

/// What is to be done about a hand-off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Offer,
    Stop,
    Transfer,
    /// The slot never stopped: it goes on.
    GiveUp(GivenUp),
    /// The slot has stopped, or is stopping, and is this node's for certain: it starts again.
    Resume(GivenUp),
    /// It is the other node's, at this epoch.
    Done {
        epoch: Epoch,
    },
    /// Nobody knows whose it is: read the tables.
    Doubt,
}

impl Giving {
    /// `is_linked`: the receiver can be asked. Where it cannot, and the slot has to go all the same (this node is cut off), it
    /// goes without being offered: the receiver finds it in the table.
    pub fn begin(to: NodeId, epoch: Epoch, is_linked: bool, now: Moment) -> (Giving, Step) {
        let (stage, step) = if is_linked { (Stage::Offering, Step::Offer) } else { (Stage::Stopping, Step::Stop) };
        (Giving { to, epoch, stage, accepted_in: None, since: now }, step)
    }

    fn enter(&mut self, stage: Stage, now: Moment) {
        self.stage = stage;
        self.since = now;
    }

    pub fn accepted(&mut self, from: &NodeId, epoch: Epoch, term: Term, now: Moment) -> Option<Step> {
        let is_ours = self.stage == Stage::Offering && *from == self.to && epoch == self.epoch;
        is_ours.then(|| {
            self.accepted_in = Some(term);
            self.enter(Stage::Stopping, now);
            Step::Stop
        })
    }

    pub fn declined(&self, from: &NodeId, epoch: Epoch) -> Option<Step> {
        let is_ours = self.stage == Stage::Offering && *from == self.to && epoch == self.epoch;
        is_ours.then_some(Step::GiveUp(GivenUp::Declined))
    }

    /// The slot has stopped. It may have raised its own epoch meanwhile, or not have seen yet to which it was raised before.
    pub fn stopped(&mut self, epoch: Epoch, now: Moment) -> Option<Step> {
        (self.stage == Stage::Stopping).then(|| {
            self.epoch = self.epoch.max(epoch);
            self.enter(Stage::Transferring { again_at: None }, now);
            Step::Transfer
        })
    }

    /// The slot has raised its own epoch. What has been asked to be transferred stays asked at the epoch that it was: its
    /// answer says what came of it.
    pub fn raised(&mut self, epoch: Epoch) {
        if !matches!(self.stage, Stage::Transferring { .. }) {
            self.epoch = self.epoch.max(epoch);
        }
    }

    pub fn answered(&mut self, epoch: Epoch, answer: TransferAnswer, now: Moment, settings: &Settings) -> Option<Step> {
        if self.stage != (Stage::Transferring { again_at: None }) || epoch != self.epoch {
            return None;
        }
        match answer {
            TransferAnswer::Moved { epoch } => Some(Step::Done { epoch }),
            TransferAnswer::ReceiverGone => Some(Step::Resume(GivenUp::ReceiverGone)),
            TransferAnswer::NotDone if now.since(self.since) >= settings.transfer_max => {
                Some(Step::Resume(GivenUp::TransferTooSlow))
            }
            TransferAnswer::NotDone => {
                self.stage = Stage::Transferring { again_at: Some(now.plus(settings.again)) };
                None
            }
            TransferAnswer::Fenced | TransferAnswer::Unknown => Some(Step::Doubt),
        }
    }

    /// Ends the hand-off where it still can be, because of this.
    pub fn give_up(&self, why: GivenUp) -> Option<Step> {
        match self.stage {
            Stage::Offering => Some(Step::GiveUp(why)),
            Stage::Stopping | Stage::Transferring { again_at: Some(_) } => Some(Step::Resume(why)),
            // Only the answer says whose it is.
            Stage::Transferring { again_at: None } => None,
        }
    }

    pub fn tick(&mut self, now: Moment, settings: &Settings) -> Option<Step> {
        let age = now.since(self.since);
        match self.stage {
            Stage::Offering if age >= settings.offer_max => self.give_up(GivenUp::Unreachable),
            Stage::Stopping if age >= settings.stop_max => self.give_up(GivenUp::StopTooSlow),
            Stage::Transferring { again_at: Some(at) } if now >= at => {
                self.stage = Stage::Transferring { again_at: None };
                Some(Step::Transfer)
            }
            Stage::Offering | Stage::Stopping | Stage::Transferring { .. } => None,
        }
    }
}

/// Slots that this node has said it would take, each with the time after which it does not expect it any more: so that
/// it takes no more than so many at a time.
#[derive(Clone, Default, Hash)]
pub struct Takings(BTreeMap<Slot, Moment>);

impl Takings {
    /// Whether one more can be taken. An offer that is made again replaces the one before.
    pub fn accept(&mut self, slot: Slot, now: Moment, settings: &Settings) -> bool {
        let has_room = self.0.len() < settings.takes_max || self.0.contains_key(&slot);
        if has_room {
            self.0.insert(slot, now.plus(settings.stop_max + settings.transfer_max + settings.offer_max));
        }
        has_room
    }

    /// It has come.
    pub fn taken(&mut self, slot: Slot) {
        self.0.remove(&slot);
    }

    pub fn tick(&mut self, now: Moment) {
        self.0.retain(|_, until| *until > now);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn settings() -> Settings {
        Settings::of_lease(Duration::from_secs(5))
    }

    fn begun() -> Giving {
        Giving::begin(NodeId::of("b"), 4, true, at(0)).0
    }

    fn stopping() -> Giving {
        let mut giving = begun();
        assert_eq!(giving.accepted(&NodeId::of("b"), 4, 1, at(0)), Some(Step::Stop));
        giving
    }

    fn transferring() -> Giving {
        let mut giving = stopping();
        assert_eq!(giving.stopped(4, at(0)), Some(Step::Transfer));
        giving
    }

    #[test]
    fn it_is_offered_stopped_and_transferred() {
        let mut giving = transferring();
        let done = giving.answered(4, TransferAnswer::Moved { epoch: 5 }, at(9), &settings());
        assert_eq!(done, Some(Step::Done { epoch: 5 }));
    }

    #[test]
    fn what_belongs_to_another_attempt_is_ignored() {
        let mut giving = begun();
        assert_eq!(giving.accepted(&NodeId::of("c"), 4, 1, at(0)), None);
        assert_eq!(giving.accepted(&NodeId::of("b"), 3, 1, at(0)), None);
        assert_eq!(giving.stopped(4, at(0)), None, "it was not asked to");
        let mut giving = stopping();
        assert_eq!(giving.accepted(&NodeId::of("b"), 4, 1, at(0)), None, "twice");
        assert_eq!(giving.declined(&NodeId::of("b"), 4), None, "it has accepted");
        assert_eq!(giving.answered(4, TransferAnswer::Unknown, at(0), &settings()), None, "nothing was sent");
        assert_eq!(transferring().answered(3, TransferAnswer::Unknown, at(0), &settings()), None);
    }

    #[test]
    fn it_is_given_up_after_a_bound_for_as_long_as_nothing_was_sent_to_the_store() {
        assert_eq!(begun().tick(at(499), &settings()), None);
        assert_eq!(begun().tick(at(500), &settings()), Some(Step::GiveUp(GivenUp::Unreachable)));
        assert_eq!(stopping().tick(at(2_000), &settings()), Some(Step::Resume(GivenUp::StopTooSlow)));
        assert_eq!(transferring().tick(at(60_000), &settings()), None, "the answer says whose it is");
        assert_eq!(transferring().give_up(GivenUp::ReceiverGone), None);
    }

    #[test]
    fn a_transfer_that_is_not_done_is_tried_again_and_not_for_ever() {
        let mut giving = transferring();
        assert_eq!(giving.answered(4, TransferAnswer::NotDone, at(10), &settings()), None);
        assert_eq!(giving.tick(at(20), &settings()), None);
        assert_eq!(giving.tick(at(260), &settings()), Some(Step::Transfer));
        let end = giving.answered(4, TransferAnswer::NotDone, at(1_000), &settings());
        assert_eq!(end, Some(Step::Resume(GivenUp::TransferTooSlow)));
    }

    #[test]
    fn an_unknown_outcome_is_a_doubt() {
        for answer in [TransferAnswer::Unknown, TransferAnswer::Fenced] {
            assert_eq!(transferring().answered(4, answer, at(1), &settings()), Some(Step::Doubt));
        }
    }

    #[test]
    fn so_many_are_taken_at_a_time_and_what_does_not_come_is_forgotten() {
        let mut takings = Takings::default();
        for slot in 0..100 {
            let has_room = takings.len() < settings().takes_max;
            assert_eq!(takings.accept(slot, at(0), &settings()), has_room);
        }
        assert!(takings.accept(0, at(0), &settings()), "offered again");
        takings.taken(0);
        assert!(takings.accept(99, at(0), &settings()));
        takings.tick(at(3_500));
        assert!(takings.is_empty());
    }

    #[test]
    fn an_epoch_that_the_slot_has_raised_does_not_make_the_answer_to_the_transfer_anothers() {
        let mut giving = transferring();
        giving.raised(5);
        assert_eq!(giving.answered(4, TransferAnswer::Fenced, at(9), &settings()), Some(Step::Doubt));
        let mut giving = stopping();
        giving.raised(6);
        assert_eq!(giving.stopped(4, at(9)), Some(Step::Transfer), "the slot had not seen yet that it was raised");
        assert_eq!(giving.epoch, 6);
    }
}
