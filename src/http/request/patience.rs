//! Asking an entity that may be busy with something else for a moment: a product whose last change still
//! tells its SKUs, a cart whose lines are on their way. The caller did nothing wrong, so he waits.
//!
//! Being busy is no outcome: an entity keeps no receipt of it ([`Kind::is_momentary`]). So every try is the same
//! request, and a client may repeat one that was given up.

use super::idempotency::Rule;
use crate::actors::entity::Kind;
use crate::actors::runtime::client::{Answered, AskError, Wait};
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::{Edge, Write};

/// How often one request finds an entity free and another request quicker. When so many compete for it, the client
/// decides whether to wait longer.
pub const TRIES_MAX: u32 = 64;

/// Asks until the entity is free to answer.
///
/// Errors: those of [`Write::ask`]; 409 `change_in_progress` when it stays busy.
pub async fn ask<K: Kind, B, R: Rule>(
    edge: &Edge,
    write: &Write<B, R>,
    id: &K::Id,
    command: K::Command,
    wait: Wait,
) -> Result<Answered<K>> {
    for _ in 0..TRIES_MAX {
        let answered = write.ask::<K>(edge, id, command.clone(), wait).await?;
        match &answered.outcome {
            Err(rejection) if K::passes_soon(rejection) => until_free::<K>(edge, id, write).await?,
            Ok(_) | Err(_) => return Ok(answered),
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

/// What is said when it stays busy: 409 `change_in_progress`.
pub fn busy() -> Problem {
    Problem::new(Code::ChangeInProgress).retry_after_s(1)
}
