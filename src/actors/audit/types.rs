//! The public face of a day of the audit log: what staff asked for on that day, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{Invalid, RequestId, Time, UserId};
use crate::{coded_enum, stored_enum};

/// One entity for each day, in UTC.
pub enum Audit {}

impl Kind for Audit {
    const NUMBER: u8 = 14;
    const NAME: &'static str = "audit";
    type Id = Day;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;

    fn is_momentary(rejection: &Rejection) -> bool {
        matches!(rejection, Rejection::TooManyOpen { .. })
    }
}

/// A day in UTC, written as `2026-11-27`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    const MS: i64 = 86_400_000;
    /// The last one of the year 9999: a later one has no text.
    const LAST: i64 = 2_932_896;

    /// The day of a time.
    pub fn of(time: Time) -> Day {
        Day((time.0.max(0) / Day::MS).min(Day::LAST))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Time(self.0 * Day::MS).to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

impl FromStr for Day {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Day, Invalid> {
        let wrong = Invalid("expected a day such as 2026-11-27");
        let midnight: Time = format!("{text}T00:00:00Z").parse().map_err(|_| wrong.clone())?;
        Some(Day::of(midnight)).filter(|day| day.to_string() == text).ok_or(wrong)
    }
}

stored_enum! {
    pub enum Command {
        /// Somebody asks for this, and nothing of it is done yet. The same `token` again changes nothing.
        (1, 1) => Begin {
            token: RequestId,
            act: Act,
            /// After this time nobody works on it any more.
            within_ms: u64,
        },
        /// What came of it.
        (2, 1) => End { number: u64, ending: Ending },
        /// The time of the oldest that are open is over: whoever worked on them is gone.
        (3, 1) => Lapse,
    }
}

stored_enum! {
    pub enum Reply {
        /// It is in the log. [`Command::End`] names it by this number.
        (1, 1) => Begun { number: u64 },
        /// The end is in the log, or there was nothing to do.
        (2, 1) => Noted,
    }
}

stored_enum! {
    pub enum Rejection {
        /// So many are open that no more are taken for a moment.
        (1, 1) => TooManyOpen { limit: u32 },
        /// It has ended before, or lapsed.
        (2, 1) => NotOpen,
    }
}

stored_enum! {
    /// What the log keeps for ever. A reader needs the ends alone: each has everything.
    pub enum Event {
        (1, 1) => Begun { number: u64, token: RequestId, act: Act, lapses_at: Time },
        (2, 1) => Ended { number: u64, act: Act, asked_at: Time, ending: Ending },
    }
}

coded_enum! {
    /// What came of an action.
    pub enum AuditOutcome {
        /// It was done, or was so already.
        Done = 1 "done",
        /// It was refused, and nothing was done.
        Refused = 2 "refused",
        /// It failed.
        Failed = 3 "failed",
        /// Whether it was done is not known: the node or the client went away before it was.
        Unknown = 4 "unknown",
    }
}

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// `None`: whoever has the machine, by the command line or the settings.
    pub actor: Option<UserId>,
    /// A word, such as `cluster.node.drain`.
    pub action: String,
    /// What it is about, as it was named: `node-1`, `order/ord_...`.
    pub subject: String,
    /// What the request said beside that, as JSON, where the action keeps it.
    pub said: Option<String>,
    /// The client's address.
    pub address: Option<String>,
    /// The node that was asked.
    pub node: String,
    /// The request's id.
    pub request: String,
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub outcome: AuditOutcome,
    /// The status of the answer; `None` where there was none.
    pub status: Option<u16>,
    /// The code of the problem.
    pub code: Option<String>,
    /// The request's id in its answer, where it is another than [`Act::request`]: a request with an idempotency key has
    /// the id that its repeats have.
    pub request: Option<String>,
}

/// An action of which the log has no end yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub token: RequestId,
    pub act: Act,
    pub asked_at: Time,
    pub lapses_at: Time,
}

/// The most actions that are open at once.
pub const OPEN_MAX: usize = 1_024;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// The number of the last action that began.
    pub last: u64,
    /// By their numbers, so the oldest first.
    pub open: BTreeMap<u64, Open>,
}
