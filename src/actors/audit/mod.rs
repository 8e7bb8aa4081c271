//! A day of the audit log: what staff asked for, and what came of it. Its events are the log; its state holds only what is
//! still open, so it stays small however long the day is.
//!
//! The edge says what is asked before anything is done (`Begin`), and what came of it when it is done (`End`). A crash
//! between leaves an action that is open. Nobody works on it any more after the time that `Begin` names; then the log
//! ends it by itself, and says that its outcome is unknown. So an action may be in the log and not have been done, but what
//! was done is in it.
//!
//! An action ends in the day in which it began. Its end is named for ever by that day, its version there, and its place
//! among the events of that version.

pub mod types;

#[cfg(test)]
mod tests;

use super::entity::{Ctx, Decision, DecisionOf, Entity};
use super::values::Time;
use types::{Audit, AuditOutcome, Command, Ending, Event, OPEN_MAX, Open, Rejection, Reply, State};

/// The most that lapse in one record.
const LAPSED_AT_ONCE: usize = 64;

/// What came of an action whose time is over.
const NOBODY_KNOWS: Ending = Ending { outcome: AuditOutcome::Unknown, status: None, code: None, request: None };

impl Entity for State {
    type Kind = Audit;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Begin { token, act, within_ms } => {
                if let Some((number, _)) = self.open.iter().rev().find(|(_, open)| open.token == token) {
                    return Ok(Decision::unchanged(Reply::Begun { number: *number }));
                }
                if self.open.len() >= OPEN_MAX {
                    return Err(Rejection::TooManyOpen { limit: OPEN_MAX as u32 });
                }
                let number = self.last + 1;
                let begun = Event::Begun { number, token, act, lapses_at: ctx.now.plus_ms(within_ms) };
                Ok(Decision::new(vec![begun], Reply::Begun { number }))
            }
            Command::End { number, ending } => {
                let open = self.open.get(&number).ok_or(Rejection::NotOpen)?;
                Ok(Decision::new(vec![open.ended(number, ending)], Reply::Noted))
            }
            Command::Lapse => {
                let over = self.open.iter().take_while(|(_, open)| open.lapses_at <= ctx.now).take(LAPSED_AT_ONCE);
                let ended = over.map(|(number, open)| open.ended(*number, NOBODY_KNOWS));
                Ok(Decision::new(ended.collect(), Reply::Noted))
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::Begun { number, token, act, lapses_at } => {
                self.last = *number;
                let open = Open { token: *token, act: act.clone(), asked_at: at, lapses_at: *lapses_at };
                self.open.insert(*number, open);
            }
            Event::Ended { number, .. } => {
                self.open.remove(number);
            }
        }
    }

    /// The oldest one lapses first: all are given about the same time.
    fn wake_at(&self) -> Option<Time> {
        self.open.values().next().map(|open| open.lapses_at)
    }

    fn wake() -> Option<Command> {
        Some(Command::Lapse)
    }

    fn violations(&self) -> Vec<&'static str> {
        let mut broken = Vec::new();
        if self.open.len() > OPEN_MAX {
            broken.push("a bounded number of actions is open");
        }
        if self.open.keys().next_back().is_some_and(|newest| *newest > self.last) {
            broken.push("every open action has begun");
        }
        broken
    }

    fn size_bytes(&self) -> usize {
        const TEXTS: usize = 256;
        size_of::<Self>() + self.open.len() * (size_of::<Open>() + TEXTS)
    }
}

impl Open {
    fn ended(&self, number: u64, ending: Ending) -> Event {
        Event::Ended { number, act: self.act.clone(), asked_at: self.asked_at, ending }
    }
}
