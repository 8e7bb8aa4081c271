//! A merge whose source cart may be busy, because it is being merged or completed itself. By the time this shows, the
//! target has accepted the command and keeps a receipt, so "busy" would be the outcome for good. Each further try
//! therefore has an identity of its own, made of the request's identity and the number of the try. A repeat of the
//! request goes through the same tries and finds the last one, whose outcome counts.

use std::time::Duration;

use rand::Rng;

use crate::actors::cart::types::{Cart, Command, MergeRefusal};
use crate::actors::runtime::client::{Answered, Wait};
use crate::actors::values::CartId;
use crate::http::answer::problem::Result;
use crate::http::request::extract::IfMatch;
use crate::http::request::idempotency::Rule;
use crate::http::request::patience;
use crate::http::{Edge, Write};

/// What became of it.
pub struct Merged {
    pub answered: Answered<Cart>,
    pub refusal: Option<MergeRefusal>,
}

/// The longest pause between two tries. The pause is random, so that two carts that merge into each other do not meet
/// again and again.
const REST_MAX_MS: u64 = 64;

/// Merges `from` into the cart `id`, again when `from` was busy.
///
/// Errors: those of [`patience::ask`]; 409 `change_in_progress` when the other cart stays busy. The same request may
/// be sent again then.
pub async fn merge<B: Clone, R: Rule>(
    edge: &Edge,
    write: &Write<B, R>,
    (id, from): (CartId, CartId),
    command: Command,
) -> Result<Merged> {
    let mut attempt = write.attempt(0);
    let mut asked_anew = 0;
    for next in 1.. {
        let answered = patience::ask::<Cart, _, _>(edge, &attempt, &id, command.clone(), Wait::Settled).await?;
        // The state in which this try ended: no other merge can have begun in between.
        let refusal = match answered.outcome {
            Ok(_) => answered.view.state.merge_refused(&attempt.request),
            Err(_) => None,
        };
        if !refusal.is_some_and(MergeRefusal::is_momentary) {
            return Ok(Merged { answered, refusal });
        }
        asked_anew += u32::from(!answered.replayed);
        if asked_anew == patience::TRIES_MAX {
            break;
        }
        attempt = write.attempt(next);
        // The refused try has changed the target's version, which is no reason to refuse the next one.
        if let IfMatch::Versions(versions) = &mut attempt.if_match {
            *versions = vec![answered.view.version];
        }
        let is_known = answered.replayed && attempt.repeat::<Cart>(edge, &id, Wait::Durable).await?.is_some();
        if !is_known {
            patience::until_free::<Cart>(edge, &from, write).await?;
            let rest_ms = rand::thread_rng().gen_range(0..=REST_MAX_MS.min(1 << next.min(6)));
            tokio::time::sleep(Duration::from_millis(rest_ms)).await;
        }
    }
    Err(patience::busy())
}
