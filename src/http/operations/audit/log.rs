//! Writing the log: an action begins in it, and ends in it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::actors::audit::types::{Act, Audit, Command, Day, Ending, Rejection, Reply};
use crate::actors::entity::{Caller, Outcome};
use crate::actors::runtime::client::{AskError, Asking, Client, Wait};
use crate::actors::runtime::slot::actor::now;
use crate::actors::values::RequestId;

/// Between two attempts of which nobody knows whether the first was taken. A repeat is harmless.
const AGAIN: Duration = Duration::from_millis(50);

/// An action that is in the log, and has not ended.
#[derive(Debug, Clone)]
pub struct Begun {
    day: Day,
    number: u64,
    token: RequestId,
}

/// Puts an action into the log. `token`: of this action alone. `within`: nobody works on it any longer than that.
///
/// Errors: it is perhaps not in the log.
pub async fn begin(
    client: &Client,
    token: RequestId,
    act: Act,
    within: Duration,
    deadline: Instant,
) -> Result<Begun, AskError> {
    let day = Day::of(now());
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    match tell(client, day, token, Command::Begin { token, act, within_ms }, deadline).await? {
        Ok(Reply::Begun { number }) => Ok(Begun { day, number, token }),
        Err(Rejection::TooManyOpen { .. }) => Err(AskError::Busy { retry_after_ms: 1_000 }),
        Ok(Reply::Noted) | Err(Rejection::NotOpen) => Err(AskError::UnknownKind),
    }
}

/// Says what came of it.
///
/// Errors: the log will say by itself that the outcome is not known.
pub async fn end(client: &Client, begun: &Begun, ending: Ending, deadline: Instant) -> Result<(), AskError> {
    let Begun { day, number, token } = begun;
    let request = RequestId(token.derive_u128("end", 0).to_be_bytes());
    // One that is not open any more was ended by an earlier attempt.
    tell(client, *day, request, Command::End { number: *number, ending }, deadline).await.map(drop)
}

async fn tell(
    client: &Client,
    day: Day,
    request: RequestId,
    command: Command,
    deadline: Instant,
) -> Result<Outcome<Audit>, AskError> {
    let asking =
        || Asking { request, keyed: None, caller: Caller::System, deadline, if_version: None, wait: Wait::Durable };
    loop {
        match client.ask_outcome::<Audit>(&day, command.clone(), asking()).await {
            Err(AskError::Unknown) if Instant::now() + AGAIN < deadline => sleep(AGAIN).await,
            outcome => return outcome,
        }
    }
}
