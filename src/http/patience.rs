//! Asking an entity that may be busy with something else for a moment: a product whose last change still
//! tells its SKUs, a cart whose lines are on their way. The caller did nothing wrong, so he waits.

use super::idempotency::Rule;
use super::problem::{Code, Problem, Result};
use super::{Edge, Write};
use crate::actors::client::{Answered, AskError, Asking, Wait};
use crate::actors::entity::Kind;
use crate::actors::values::RequestId;

/// Each try leaves a record in the journal: so there are few.
const TRIES_MAX: u32 = 8;

/// An answer, and the identity under which it was given: what a state names as the request that it was
/// changed by.
pub struct Decided<K: Kind> {
    pub answered: Answered<K>,
    pub request: RequestId,
}

/// How the `n`th try of a request is asked. A refusal is remembered under the identity that it was given
/// to, so every further try has one of its own; a repeat of the request goes the same way again.
pub fn asking<B, R: Rule>(write: &Write<B, R>, n: u32, wait: Wait) -> Asking {
    match n {
        0 => write.asking(wait),
        _ => Asking { if_version: write.if_version, ..write.further(&format!("try:{n}"), wait) },
    }
}

/// Asks until the entity is free to answer.
///
/// Errors: those of [`Write::ask`]; 409 `change_in_progress` when it stays busy until the deadline.
pub async fn ask<K: Kind, B, R: Rule>(
    edge: &Edge,
    write: &Write<B, R>,
    id: &K::Id,
    command: K::Command,
    wait: Wait,
    is_busy: fn(&K::Rejection) -> bool,
) -> Result<Decided<K>> {
    for n in 0..TRIES_MAX {
        let asking = asking(write, n, wait);
        let request = asking.request;
        let answered = match n {
            0 => write.ask::<K>(edge, id, command.clone(), wait).await?,
            _ => edge.client.ask::<K>(id, command.clone(), asking).await?,
        };
        match &answered.outcome {
            Err(rejection) if is_busy(rejection) => until_free::<K>(edge, id, write).await?,
            Ok(_) | Err(_) => return Ok(Decided { answered, request }),
        }
    }
    Err(busy())
}

/// Waits until the entity has settled.
pub async fn until_free<K: Kind>(edge: &Edge, id: &K::Id, write: &Write<impl Sized, impl Rule>) -> Result<()> {
    match edge.client.read_settled::<K>(id, write.deadline).await {
        Ok(_) => Ok(()),
        Err(AskError::DeadlinePassed) => Err(busy()),
        Err(error) => Err(error.into()),
    }
}

fn busy() -> Problem {
    Problem::new(Code::ChangeInProgress).retry_after_s(1)
}
