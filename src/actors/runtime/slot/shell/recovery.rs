//! How a slot comes to serve: it lets its last generation settle, and raises its epoch, for as long as it takes. That
//! waits for or fences whatever is still in flight.
//!
//! In quarantine stored data that all its entities depend on is damaged. Damage is never skipped and never served, and it
//! is no reason to end the node: the other slots are well, and another node would read the same bytes. So the slot throws
//! away what it has in memory and answers everybody that its data is damaged. What failed is tried again, after pauses
//! that grow. When it succeeds (somebody has repaired the store) the slot recovers as after any other end of a
//! generation. A restart loses nothing of this: the next start meets the damage again.

use std::time::Duration;

use tokio::time::Instant;

use super::{Now, Phase, SlotShell};
use crate::actors::runtime::envelope::AskError;
use crate::actors::runtime::pauses::Pauses;
use crate::actors::runtime::slot::claims::Claimed;
use crate::actors::runtime::slot::message::Back;
use crate::actors::runtime::slot::question::{Damage, Question};
use crate::persistence::{Epoch, SlotHead, StoreError};

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// After this long without damage the pauses begin anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// A slot on its way to serve.
pub(super) struct Recovery {
    /// In quarantine: what is read again, after this pause, before the slot is claimed.
    quarantine: Option<(Damage, Duration)>,
    /// Between attempts at the store.
    pauses: Pauses,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery { quarantine: None, pauses: Pauses::STORE }
    }
}

impl Recovery {
    pub fn is_quarantine(&self) -> bool {
        self.quarantine.is_some()
    }
}

/// The pauses of a quarantine.
#[derive(Default)]
pub(super) struct Backoff {
    attempts: u32,
    last: Option<Instant>,
}

impl Backoff {
    fn next(&mut self, now: Instant) -> Duration {
        if self.last.is_none_or(|last| now.saturating_duration_since(last) > FORGIVEN_AFTER) {
            self.attempts = 0;
        }
        let pause = (PAUSE_FIRST * 2u32.saturating_pow(self.attempts.min(16))).min(PAUSE_MAX);
        (self.attempts, self.last) = (self.attempts + 1, Some(now));
        pause
    }
}

impl SlotShell {
    /// Begins a generation that is yet to be claimed.
    pub(super) fn recover(&mut self, quarantine: Option<(Damage, Duration)>) {
        let ended = self.context.shared.generation();
        self.context.shared.next_generation();
        self.phase = Phase::Recovering(Recovery { quarantine, ..Recovery::default() });
        self.ask(Question::Settle { generation: ended });
    }

    /// A step of the recovery is done.
    pub(super) fn recovered_so_far(&mut self, what: Back, now: Now) {
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        let claim = Question::Claim { epoch: self.context.shared.epoch() };
        match what {
            Back::Settled => match recovery.quarantine.clone() {
                Some((damage, pause)) => self.after(millis(pause), Back::Ask(Question::LookAgain(damage))),
                None => self.ask(claim),
            },
            Back::LookedAgain(Ok(())) => self.ask(claim),
            Back::LookedAgain(Err(error)) => {
                let damage = recovery.quarantine.as_ref().map_or(Damage::Claim, |(damage, _)| damage.clone());
                self.not_recovered(damage.clone(), Question::LookAgain(damage), error, now);
            }
            Back::HeadRead(Ok(head)) => self.head_read(head, now),
            Back::HeadRead(Err(error)) => self.not_recovered(Damage::Claim, Question::ReadHead, error, now),
            Back::Claimed { epoch, answer } => self.claimed(epoch, answer, now),
            Back::Ask(question) => self.ask(question),
            Back::Loaded { .. }
            | Back::ReceiptFound { .. }
            | Back::OwedRead { .. }
            | Back::WakesRead { .. }
            | Back::Again(_) => {}
        }
    }

    /// The slot was given to this node: it serves if it stands so, and claims itself if it has moved on.
    fn head_read(&mut self, head: SlotHead, now: Now) {
        match own(head.clone(), self.context.ownership.node.as_str()) {
            Ok(epoch) if head.owner.is_some() && epoch > self.context.shared.epoch() => self.serve(&head, now),
            Ok(epoch) => self.ask(Question::Claim { epoch }),
            Err(Anothers { owner, epoch }) => self.give_up(owner, epoch),
        }
    }

    /// A store that has failed over may have lost its last claims with its last records, and gives their epochs once more.
    /// Whoever follows the journal takes (sequence, epoch) for one record, so nothing is written at an epoch that was
    /// known before: the slot is claimed until it is above.
    fn claimed(&mut self, epoch: Epoch, answer: Result<Claimed, StoreError>, now: Now) {
        let slot = self.context.shared.slot;
        match answer {
            Ok(Claimed::Head(head)) if head.epoch > self.context.shared.epoch() => self.serve(&head, now),
            Ok(Claimed::Head(head)) => {
                tracing::warn!(slot, head.epoch, "the store gives an epoch again that was known before");
                self.ask(Question::Claim { epoch: head.epoch });
            }
            // The claim before may have been made without our hearing of it.
            Ok(Claimed::Fenced(head)) => match own(head, self.context.ownership.node.as_str()) {
                Ok(epoch) => self.ask_after_a_pause(Question::Claim { epoch }),
                Err(Anothers { owner, epoch }) => self.give_up(owner, epoch),
            },
            Ok(Claimed::Refused(why)) => {
                tracing::warn!(slot, %why, "the slot is not claimed yet");
                self.ask_after_a_pause(Question::Claim { epoch });
            }
            Err(error) => self.not_recovered(Damage::Claim, Question::Claim { epoch }, error, now),
        }
    }

    /// A step has failed: it may succeed the next time, or the slot's data is damaged, or the store has failed.
    fn not_recovered(&mut self, damage: Damage, again: Question, error: StoreError, now: Now) {
        match error {
            StoreError::Damaged(why) => self.quarantine(damage, &why, now),
            StoreError::Fatal(_) => self.fail(error),
            StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                tracing::debug!(slot = self.context.shared.slot, %error, "a slot waits for the store");
                self.ask_after_a_pause(again);
            }
        }
    }

    fn ask_after_a_pause(&mut self, question: Question) {
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        let pause = recovery.pauses.take();
        self.after(millis(pause), Back::Ask(question));
    }

    /// Ends the generation and serves nothing until what met the damage has succeeded.
    pub(super) fn quarantine(&mut self, damage: Damage, why: &str, now: Now) {
        let pause = self.backoff.next(now.instant);
        let (slot, place) = (self.context.shared.slot, damage.place());
        tracing::error!(slot, place, why, retry_after_ms = pause.as_millis(), "slot quarantined");
        self.leave_core();
        self.end_generation();
        if self.context.ownership.quarantine(slot, &format!("{place}: {why}")) {
            self.context.common.metrics.slots_quarantined.inc();
        }
        self.turn_away();
        self.recover(Some((damage, pause)));
    }

    /// Answers everybody who waits. What the runtime itself has sent comes again from the indexes.
    pub(super) fn turn_away(&mut self) {
        let (waiting, _) = self.context.shared.inbox.drain(usize::MAX);
        let may_answer = self.context.shared.may_answer(&*self.context.lease);
        for envelope in self.held.drain(..).chain(waiting) {
            // Without a lease another node may own the slot, and read it well.
            let error = if may_answer { AskError::Damaged } else { AskError::Unavailable };
            envelope.reply.send(Err(error));
        }
    }

    /// The slot serves: if it was in quarantine, that is over.
    pub(super) fn end_quarantine(&mut self) {
        let slot = self.context.shared.slot;
        if self.context.ownership.end_quarantine(slot) {
            self.context.common.metrics.slots_quarantined.dec();
            tracing::warn!(slot, "the slot is served again: what was damaged has been read");
        }
    }
}

fn millis(pause: Duration) -> u64 {
    u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
}

/// The slot belongs to another node.
struct Anothers {
    owner: String,
    epoch: Epoch,
}

/// The slot's epoch, unless it is another's than this owner's.
fn own(head: SlotHead, owner: &str) -> Result<Epoch, Anothers> {
    match head.owner {
        Some(other) if other != owner => Err(Anothers { owner: other, epoch: head.epoch }),
        Some(_) | None => Ok(head.epoch),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::{Memory, SlotShared};
    use super::super::{SlotContext, SlotMessage, Start};
    use super::*;
    use crate::actors::kinds;
    use crate::actors::runtime::slot::output::Output;
    use crate::actors::runtime::slot::state::Common;
    use crate::actors::runtime::writer::{Ended, QueueBudget};
    use crate::actors::values::Time;
    use crate::cluster::{NodeId, Ownership, SoleOwner};
    use crate::config::Config;
    use crate::metrics::Metrics;
    use crate::persistence::memory;

    fn shell() -> SlotShell {
        let limits = Config::default().slots;
        let common = Common {
            kinds: kinds::all(),
            policy: Arc::new(Config::default().policy()),
            memory: Memory::new(limits.resident_bytes_max, 1),
            limits,
            budget: Arc::new(QueueBudget::new(1_000, 1 << 20)),
            metrics: Arc::new(Metrics::new()),
        };
        SlotShell::new(SlotContext {
            shared: SlotShared::new(0, 8),
            common: Arc::new(common),
            ownership: Arc::new(Ownership::new(NodeId::incarnate("node"), 1)),
            lease: Arc::new(SoleOwner),
            journal: Arc::new(memory::Memory::new(1)),
        })
    }

    /// Carries a message out, and what follows, on a store that has the slot at this epoch. The answer is the epoch that
    /// the slot serves at.
    fn carry_out(shell: &mut SlotShell, message: SlotMessage, store: &mut Epoch) -> Option<Epoch> {
        let now = Now { time: Time(0), instant: Instant::now() };
        let owner = Some(shell.context.ownership.node.to_string());
        let head = |epoch| SlotHead { owner: owner.clone(), epoch, ..SlotHead::default() };
        let mut messages = vec![message];
        while let Some(message) = messages.pop() {
            for output in shell.handle(message, now).others {
                let (generation, what) = match output {
                    Output::Ask { generation, question: Question::Settle { .. } } => (generation, Back::Settled),
                    Output::Ask { generation, question: Question::Claim { epoch } } if epoch == *store => {
                        *store += 1;
                        (generation, Back::Claimed { epoch, answer: Ok(Claimed::Head(head(*store))) })
                    }
                    Output::Ask { generation, question: Question::Claim { epoch } } => {
                        (generation, Back::Claimed { epoch, answer: Ok(Claimed::Fenced(head(*store))) })
                    }
                    Output::After { generation, what, .. } => (generation, what),
                    _ => continue,
                };
                messages.push(SlotMessage::Back { generation, what: Box::new(what) });
            }
        }
        shell.context.ownership.epoch(0)
    }

    fn begin(start: Start) -> SlotMessage {
        SlotMessage::Begin(Box::new(start))
    }

    #[test]
    fn a_slot_serves_at_no_epoch_that_it_has_known_before() {
        let (mut shell, mut store) = (shell(), 4);
        assert_eq!(carry_out(&mut shell, begin(Start::Unclaimed(4)), &mut store), Some(5));
        // The store has failed over to a copy of before, and refuses what comes at epoch 5.
        for (lost_to, next) in [(4, 6), (2, 7), (7, 8), (9, 10)] {
            store = lost_to;
            let generation = shell.context.shared.generation();
            let ended = SlotMessage::Ended { generation, why: Ended::Refused };
            assert_eq!(carry_out(&mut shell, ended, &mut store), Some(next), "lost to {lost_to}");
        }
    }

    #[test]
    fn a_slot_that_comes_back_at_an_epoch_that_it_had_is_claimed_anew() {
        let (mut first, mut store) = (shell(), 4);
        assert_eq!(carry_out(&mut first, begin(Start::Unclaimed(4)), &mut store), Some(5));
        let mut next = shell();
        next.context.shared = first.context.shared.clone();
        let head = SlotHead { owner: Some(next.context.ownership.node.to_string()), epoch: 5, ..SlotHead::default() };
        assert_eq!(carry_out(&mut next, begin(Start::Claimed(head)), &mut store), Some(6));
    }

    #[test]
    fn a_suspension_that_was_said_later_outlasts_what_the_slot_hears_late() {
        let (mut shell, mut store) = (shell(), 4);
        let shared = shell.context.shared.clone();
        shared.allow();
        shared.suspend(); // before the slot has heard that it is to begin
        assert_eq!(carry_out(&mut shell, begin(Start::Unclaimed(4)), &mut store), Some(5));
        assert!(shared.is_suspended(), "the lease has lapsed since");
        store = 6;
        shared.allow();
        carry_out(&mut shell, SlotMessage::Keep(6), &mut store);
        assert!(!shared.is_suspended() && shell.context.ownership.epoch(0) == Some(6));
        shared.suspend();
        carry_out(&mut shell, SlotMessage::Keep(6), &mut store);
        assert!(shared.is_suspended(), "that was about the time before");
    }
}
