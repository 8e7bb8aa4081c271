//! The delivery of one owed request, without I/O: asked until there is an answer, with a backoff, for as long as it is
//! owed. The dispatcher of a node and the simulation both carry it out.
//!
//! A delivery is asked what to do next ([`Delivery::attempt`]), and told what came of it ([`Delivery::answered`]). In
//! between it knows nothing and waits for nothing: whoever carries it out has it in hand. Nothing that it knows must
//! survive: after a crash the owed index says what is still to be sent.
//!
//! - *Its slot begins another generation, or leaves:* the next attempt finds that this is over. The generation that follows
//!   sends what it finds owed, under the same request id, so the other side does it once.
//! - *An answer comes after that* and is brought back all the same. It names its request by a number that belongs to a
//!   durable record, so it can only be taken for what it answers, or for nothing.
//! - *Two deliveries of one request* (it was sent again on recovery) bring two answers, which are the same; the second
//!   finds that nothing is owed.

use std::time::Duration;

use tokio::time::Instant;

use super::envelope::{AskError, Body, Envelope, Keep, Reply, ReplyTo, Wait};
use super::pauses::Pauses;
use super::slot::{Dispatch, SlotShared};
use crate::actors::entity::{Answer, Caller, Target};
use crate::actors::gateways::GatewayError;
use crate::actors::values::RequestId;
use crate::cluster::slot_of;
use crate::persistence::{EntityKey, Slot};

/// How long one attempt may take.
pub const ATTEMPT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

pub struct Delivery {
    dispatch: Dispatch,
    pauses: Pauses,
}

/// What a delivery does next.
pub enum Attempt {
    /// It is not owed any more.
    Over,
    /// Send this, and bring the reply. Nobody waits for it yet: the sender says who does.
    Ask(Envelope),
    /// Call this gateway with the request's [body](Delivery::body), for no longer than [`ATTEMPT`].
    Call { gateway: &'static str, request: RequestId },
}

/// What follows from an attempt.
pub enum Next {
    /// There is an answer: it goes to the entity that owed the request.
    BringBack(Envelope),
    /// Attempt it again after this pause.
    Again { delivery: Delivery, pause: Duration },
}

/// Why an attempt came to nothing, as operators read it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    NoAnswer(AskError),
    #[error("{0}")]
    Gateway(GatewayError),
    #[error("no answer within {} s", ATTEMPT.as_secs())]
    TooLate,
    #[error("the gateway's code panicked")]
    Panicked,
    #[error("there is no such gateway")]
    NoGateway,
}

impl Delivery {
    pub fn new(dispatch: Dispatch) -> Delivery {
        Delivery { dispatch, pauses: Pauses::new(BACKOFF_FIRST, BACKOFF_MAX) }
    }

    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// What a gateway is asked for.
    pub fn body(&self) -> Option<&(dyn std::any::Any + Send + Sync)> {
        match &self.dispatch.to {
            Target::Gateway { body, .. } => Some(&**body),
            Target::Entity(_) => None,
        }
    }

    /// `from`: the slot that owes it. `slots`: how many there are.
    pub fn attempt(&self, from: &SlotShared, slots: Slot, now: Instant) -> Attempt {
        let Dispatch { generation, number, key, to, .. } = &self.dispatch;
        if !from.owes(*generation, *number) {
            return Attempt::Over;
        }
        from.attempted(*number);
        let request = owed_request(&self.dispatch.from, key);
        match to {
            Target::Gateway { name, .. } => Attempt::Call { gateway: name, request },
            Target::Entity(command) => {
                let keep = Keep::Owed { slot: self.dispatch.slot, number: *number, watermark: from.watermark() };
                let key = EntityKey { kind: command.kind, id: command.id.clone() };
                let command = command.command.clone();
                let body = Body::Command { command, keep: Some(keep), if_version: None, wait: Wait::Durable };
                let (caller, deadline, reply) = (Caller::System, now + ATTEMPT, ReplyTo::nobody());
                let slot = slot_of(key.kind, &key.id, slots);
                Attempt::Ask(Envelope { key, slot, request, caller, deadline, want_state: false, body, reply })
            }
        }
    }

    /// What an entity has replied.
    pub fn replied(self, from: &SlotShared, reply: Result<Reply, AskError>) -> Next {
        let answer = reply.and_then(|reply| reply.outcome.map(Answer).ok_or(AskError::Unavailable));
        self.answered(from, answer.map_err(Failure::NoAnswer))
    }

    /// What came of an attempt.
    pub fn answered(mut self, from: &SlotShared, answer: Result<Answer, Failure>) -> Next {
        match answer {
            Ok(answer) => {
                let Dispatch { from, slot, number, key, attempt, .. } = self.dispatch;
                Next::BringBack(Envelope::internal(from, slot, Body::Answered { number, key, answer, attempt }))
            }
            Err(failure) => {
                let Dispatch { generation, number, key, .. } = &self.dispatch;
                if matches!(failure, Failure::NoAnswer(AskError::AnsweredLongAgo)) {
                    tracing::error!(from = %self.dispatch.from.id, key, "refused as answered, but still owed");
                }
                from.failed(*generation, *number, failure.to_string().into());
                let pause = self.pauses.take();
                Next::Again { delivery: self, pause }
            }
        }
    }
}

/// The identity of an owed request: the same whenever it is sent.
pub fn owed_request(from: &EntityKey, key: &str) -> RequestId {
    RequestId::of("owed", &[&[from.kind], from.id.as_bytes(), key.as_bytes()])
}
