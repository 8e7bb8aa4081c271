//! The mock payment provider's own durable book, one page for each payment: what lets a development shop
//! behave as one with a real provider, crashes included.
//!
//! It stands for an outside party, so it trusts nobody's order of steps: whatever arrives twice happens
//! once, and a void is final, also for a payment that it has never heard of (the order that gave up
//! waiting may be quicker than its own authorisation). Which token does what is the mock's public
//! contract; see the constants in [`types`].

pub mod types;

#[cfg(test)]
mod tests;

use super::entity::{Ctx, Decision, DecisionOf, Entity};
use super::values::{Money, OrderId, RefundId, Time};
use crate::stored_enum;
use types::{
    ChargeStatus, Command, DeclineCode, FLAKY_FAILURES, MockCharge, Rejection, Reply, State, TOKEN_DECLINED,
    TOKEN_FLAKY,
};

stored_enum! {
    pub enum Event {
        (1, 1) => Authorised { order: OrderId, amount: Money },
        (2, 1) => FailedOnce,
        (3, 1) => Captured { amount: Money },
        (4, 1) => Voided,
        (5, 1) => Refunded { refund: RefundId, amount: Money },
    }
}

type Judged = Result<Decision<Event, Reply>, Rejection>;

fn done(event: Event) -> Judged {
    Ok(Decision::new(vec![event], Reply::Approved))
}

fn done_before() -> Judged {
    Ok(Decision::unchanged(Reply::Approved))
}

fn declined(code: DeclineCode) -> Judged {
    Err(Rejection::Declined { code })
}

impl State {
    fn authorise(&self, order: OrderId, amount: Money, token: &str) -> Judged {
        match self.status {
            // Leaves no trace, and needs none: the token alone says it again.
            ChargeStatus::New if token == TOKEN_DECLINED => declined(DeclineCode::CardDeclined),
            ChargeStatus::New if token == TOKEN_FLAKY && self.failures < FLAKY_FAILURES => {
                Ok(Decision::new(vec![Event::FailedOnce], Reply::Failed))
            }
            ChargeStatus::New => done(Event::Authorised { order, amount }),
            ChargeStatus::Authorised | ChargeStatus::Captured if self.authorised == Some(amount) => done_before(),
            ChargeStatus::Authorised | ChargeStatus::Captured => declined(DeclineCode::AmountDiffers),
            ChargeStatus::Voided => declined(DeclineCode::PaymentVoided),
        }
    }

    fn capture(&self, amount: Money) -> Judged {
        match self.status {
            ChargeStatus::Authorised if fits(amount, self.authorised) => done(Event::Captured { amount }),
            ChargeStatus::Authorised => declined(DeclineCode::AmountTooLarge),
            ChargeStatus::Captured if self.captured == Some(amount) => done_before(),
            ChargeStatus::Captured => declined(DeclineCode::AmountDiffers),
            ChargeStatus::Voided => declined(DeclineCode::PaymentVoided),
            ChargeStatus::New => declined(DeclineCode::NotAuthorised),
        }
    }

    fn void(&self) -> Judged {
        match self.status {
            ChargeStatus::New | ChargeStatus::Authorised => done(Event::Voided),
            ChargeStatus::Voided => done_before(),
            ChargeStatus::Captured => declined(DeclineCode::AlreadyCaptured),
        }
    }

    fn refund(&self, refund: RefundId, amount: Money) -> Judged {
        if let Some(before) = self.refunds.get(&refund) {
            return if *before == amount { done_before() } else { declined(DeclineCode::AmountDiffers) };
        }
        match self.status {
            ChargeStatus::Captured if fits(amount, self.left()) => done(Event::Refunded { refund, amount }),
            ChargeStatus::Captured => declined(DeclineCode::AmountTooLarge),
            ChargeStatus::Voided => declined(DeclineCode::PaymentVoided),
            ChargeStatus::New | ChargeStatus::Authorised => declined(DeclineCode::NotAuthorised),
        }
    }

    /// What is charged and not paid back.
    fn left(&self) -> Option<Money> {
        self.refunds.values().try_fold(self.captured?, |left, refund| left.minus(*refund))
    }
}

fn fits(amount: Money, into: Option<Money>) -> bool {
    into.and_then(|limit| limit.minus(amount)).is_some_and(|rest| rest.amount >= 0 && amount.amount > 0)
}

impl Entity for State {
    type Kind = MockCharge;
    type Event = Event;
    const STATE_VERSION: u16 = 1;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Authorise { order, amount, token } => self.authorise(order, amount, &token.0),
            Command::Capture { amount } => self.capture(amount),
            Command::Void => self.void(),
            Command::Refund { refund, amount } => self.refund(refund, amount),
        }
    }

    fn evolve(&mut self, event: &Event, _: Time) {
        match event {
            Event::Authorised { order, amount } => {
                self.status = ChargeStatus::Authorised;
                self.order = Some(*order);
                self.authorised = Some(*amount);
            }
            Event::FailedOnce => self.failures += 1,
            Event::Captured { amount } => {
                self.status = ChargeStatus::Captured;
                self.captured = Some(*amount);
            }
            Event::Voided => self.status = ChargeStatus::Voided,
            Event::Refunded { refund, amount } => {
                self.refunds.insert(*refund, *amount);
            }
        }
    }

    fn violations(&self) -> Vec<&'static str> {
        let mut broken = Vec::new();
        if self.captured.is_some() && !fits(self.captured.unwrap_or_default(), self.authorised) {
            broken.push("more is charged than was authorised");
        }
        if self.captured.is_some() && self.left().is_none_or(|left| left.amount < 0) {
            broken.push("more is paid back than was charged");
        }
        broken
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.refunds.len() * (size_of::<RefundId>() + size_of::<Money>())
    }
}
