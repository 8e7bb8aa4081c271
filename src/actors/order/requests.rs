//! What people request of an order: cancel, refund, fulfil.

use std::collections::BTreeMap;

use super::Event;
use super::phase::Phase;
use super::process::Draft;
use super::types::{OrderRefusal, OrderStatus, REFUNDS_MAX, RefusalCode, Rejection, Reply, State};
use crate::actors::entity::{Ctx, Decision};
use crate::actors::values::{LineId, Money, Quantity, RefundId};

type Judged = Result<Decision<Event, Reply>, Rejection>;

impl State {
    pub(super) fn cancel(&self, reason: Option<String>, ctx: &Ctx) -> Judged {
        if self.cancel.is_some() {
            return Ok(Decision::unchanged(Reply::Cancelled));
        }
        match self.status {
            OrderStatus::Rejected => return Err(Rejection::WrongStatus { status: self.status }),
            OrderStatus::Completed => return Err(Rejection::AlreadyFulfilled),
            OrderStatus::Pending | OrderStatus::Confirmed | OrderStatus::Cancelled => {}
        }
        if !self.fulfilled.is_empty() {
            return Err(Rejection::AlreadyFulfilled);
        }
        let phase = self.phase();
        let mut draft = Draft::of(self, ctx);
        match phase {
            // The order has failed already and only gives back what it holds.
            Phase::TurningBack => return Err(Rejection::WrongStatus { status: OrderStatus::Rejected }),
            Phase::Reserving | Phase::Authorising | Phase::Committing => {
                draft.push(Event::CancelAsked { reason });
                draft.turn_back(OrderRefusal::of(RefusalCode::Cancelled));
            }
            // In doubt, or confirmed: the request takes effect when the payment is known.
            Phase::Capturing | Phase::Decided => draft.push(Event::CancelAsked { reason }),
        }
        Ok(draft.decided(Reply::Cancelled))
    }

    pub(super) fn refund(&self, refund: RefundId, amount: Option<Money>, reason: String) -> Judged {
        if self.refunds.iter().any(|before| before.id == refund) {
            return Ok(Decision::unchanged(Reply::RefundAsked { refund }));
        }
        let currency = self.placement.as_ref().map_or_else(Default::default, |placement| placement.currency);
        let remaining = Money::new(self.refundable(), currency);
        let amount = match amount {
            Some(amount) if amount.currency != currency || amount.amount <= 0 => return Err(Rejection::InvalidAmount),
            Some(amount) => amount,
            None => remaining,
        };
        if amount.amount > remaining.amount || remaining.amount == 0 {
            return Err(Rejection::RefundExceedsCaptured { remaining });
        }
        if self.refunds.len() >= REFUNDS_MAX {
            return Err(Rejection::TooManyRefunds { limit: REFUNDS_MAX as u64 });
        }
        let asked = Event::RefundAsked { refund, amount, reason, by_cancel: false };
        Ok(Decision::new(vec![asked], Reply::RefundAsked { refund }))
    }

    pub(super) fn fulfil(&self, lines: Option<Vec<(LineId, Quantity)>>, tracking: Option<String>) -> Judged {
        if self.status != OrderStatus::Confirmed {
            return Err(Rejection::WrongStatus { status: self.status });
        }
        let items = lines.map(|lines| self.items(&lines)).transpose()?;
        if items.as_ref().is_some_and(Vec::is_empty) {
            return Err(Rejection::NothingToFulfil);
        }
        Ok(Decision::new(vec![Event::Fulfilled { items, tracking }], Reply::Fulfilled))
    }

    /// The pieces by line index, each line once, none more than what is left of it.
    fn items(&self, wanted: &[(LineId, Quantity)]) -> Result<Vec<(u32, u32)>, Rejection> {
        let ordered = self.placement.as_ref().map_or(&[][..], |placement| &placement.lines);
        let index: BTreeMap<LineId, u32> = ordered.iter().map(|line| line.id).zip(0..).collect();
        let mut items: BTreeMap<u32, u64> = BTreeMap::new();
        for (id, quantity) in wanted {
            let line = *index.get(id).ok_or(Rejection::UnknownLine { line: *id })?;
            let pieces = items.entry(line).or_default();
            *pieces += u64::from(quantity.get());
            let all = ordered.get(line as usize).map_or(0, |line| line.quantity.get());
            let remaining = u64::from(all - self.fulfilled.get(line as usize).copied().unwrap_or(0).min(all));
            if *pieces > remaining {
                return Err(Rejection::ExceedsUnfulfilled { line: *id, remaining });
            }
        }
        // Each is at most a line's quantity, which is a u32.
        Ok(items.into_iter().filter_map(|(line, pieces)| Some((line, u32::try_from(pieces).ok()?))).collect())
    }
}
