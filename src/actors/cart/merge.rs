//! How the lines of one cart become those of another. The steps, and what a crash at each of them leaves,
//! are told in [`super`].

use super::change::grown;
use super::owed::OwedKey;
use super::types::CartStatus;
use super::types::{
    Cart, Command, LINES_MAX, LastMerge, Line, MergeIn, MergeOut, MergeRefusal, MergeStep, MergeStrategy, Rejection,
    Reply, State,
};
use super::{Event, expiry, noted};
use crate::actors::entity::{Ctx, Decision, DecisionOf, Outcome, Owed};
use crate::actors::values::{CartId, Currency, RequestId};

/// The target's side.
impl State {
    pub(super) fn merge(
        &self,
        from: CartId,
        strategy: MergeStrategy,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        self.must_be_open()?;
        if self.id == Some(from) {
            return Err(Rejection::SelfMerge);
        }
        match &self.merge_in {
            Some(running) if running.request == ctx.request => Ok(Decision::unchanged(Reply::Merging)),
            Some(_) => Err(Rejection::MergeInProgress),
            None => {
                let started = Event::MergeStarted { request: ctx.request, from, strategy };
                Ok(Decision::new(vec![started], Reply::Merging))
            }
        }
    }

    pub(super) fn surrender_answered(&self, merge: RequestId, refusal: Option<MergeRefusal>) -> DecisionOf<Self> {
        let asking = self.merge_step(merge) == Some(MergeStep::Asking);
        noted(asking.then_some(match refusal {
            None => Event::SurrenderAccepted,
            Some(refusal) => Event::MergeRefused { refusal },
        }))
    }

    pub(super) fn take_lines(
        &self,
        merge: RequestId,
        currency: Currency,
        lines: Vec<Line>,
        ctx: &Ctx,
    ) -> Result<DecisionOf<Self>, Rejection> {
        let running = self.merge_in.as_deref().filter(|running| running.request == merge);
        match running.map(|running| (running.step, running.strategy)) {
            Some((MergeStep::Asking | MergeStep::Awaiting, strategy)) => {
                Ok(match self.merged(currency, lines, strategy) {
                    Ok(lines) => {
                        Decision::new(vec![Event::LinesTaken { lines, expires_at: expiry(ctx) }], Reply::Taken)
                    }
                    Err(refusal) => Decision::new(vec![Event::LinesRefused { refusal }], Reply::NotTaken { refusal }),
                })
            }
            // The question was repeated: the outcome stands.
            Some((MergeStep::Taken | MergeStep::Refused, _)) | None => {
                let last = self.last_merge.as_deref().filter(|last| last.request == merge);
                match last.ok_or(Rejection::NotMerging)?.refusal {
                    None => Ok(Decision::unchanged(Reply::Taken)),
                    Some(refusal) => Ok(Decision::unchanged(Reply::NotTaken { refusal })),
                }
            }
        }
    }

    pub(super) fn conclude_answered(&self, merge: RequestId) -> DecisionOf<Self> {
        let ending = matches!(self.merge_step(merge), Some(MergeStep::Taken | MergeStep::Refused));
        noted(ending.then_some(Event::MergeEnded))
    }

    /// The lines of this cart that are new or changed when it takes `lines`.
    fn merged(&self, currency: Currency, lines: Vec<Line>, strategy: MergeStrategy) -> Result<Vec<Line>, MergeRefusal> {
        if currency != self.currency {
            return Err(MergeRefusal::OtherCurrency);
        }
        let mut changed = Vec::with_capacity(lines.len());
        let mut count = self.lines.len();
        for theirs in lines {
            let Some(ours) = self.lines.by_sku(&theirs.sku) else {
                count += 1;
                changed.push(theirs);
                continue;
            };
            let merged = match strategy {
                // Pieces of two items do not add up. As when a SKU is added again, the newcomer takes the place; the
                // catalogue judges it when the cart is shown and completed.
                MergeStrategy::Sum | MergeStrategy::Max if !ours.item().is(&theirs.item()) => {
                    Line { id: ours.id, ..theirs }
                }
                MergeStrategy::Sum => {
                    let quantity = grown(ours.quantity, theirs.quantity).map_err(|_| MergeRefusal::QuantityTooLarge)?;
                    Line { quantity, ..ours.clone() }
                }
                MergeStrategy::Max => Line { quantity: ours.quantity.max(theirs.quantity), ..ours.clone() },
                MergeStrategy::Replace => Line { id: ours.id, ..theirs },
                MergeStrategy::Keep => continue,
            };
            if merged != *ours {
                changed.push(merged);
            }
        }
        if count > LINES_MAX {
            return Err(MergeRefusal::TooManyLines);
        }
        Ok(changed)
    }

    fn merge_step(&self, merge: RequestId) -> Option<MergeStep> {
        self.merge_in.as_deref().filter(|running| running.request == merge).map(|running| running.step)
    }
}

/// The source's side.
impl State {
    pub(super) fn surrender(&self, merge: RequestId, to: CartId) -> Result<DecisionOf<Self>, Rejection> {
        if self.merge_out.as_deref() == Some(&MergeOut { request: merge, to }) {
            return Ok(Decision::unchanged(Reply::Surrendering));
        }
        self.must_be_open()?;
        if self.merge_in.is_some() {
            return Err(Rejection::MergeInProgress);
        }
        Ok(Decision::new(vec![Event::Surrendering { request: merge, to }], Reply::Surrendering))
    }

    pub(super) fn conclude(&self, merge: RequestId, taken: bool, ctx: &Ctx) -> DecisionOf<Self> {
        let surrendering = self.merge_out.as_deref().is_some_and(|out| out.request == merge);
        noted(
            surrendering.then(|| if taken { Event::Surrendered } else { Event::Reopened { expires_at: expiry(ctx) } }),
        )
    }
}

/// Both sides.
impl State {
    pub(super) fn evolve_merge(&mut self, event: &Event) {
        match event {
            Event::MergeStarted { request, from, strategy } => {
                let (request, from, strategy, step) = (*request, *from, *strategy, MergeStep::Asking);
                self.merge_in = Some(Box::new(MergeIn { request, from, strategy, step }));
            }
            Event::SurrenderAccepted => self.merge_at(MergeStep::Awaiting),
            Event::MergeRefused { refusal } => {
                self.merge_outcome(Some(*refusal));
                self.merge_in = None;
            }
            Event::LinesTaken { lines, expires_at } => {
                lines.iter().for_each(|line| self.lines.put(line.clone()));
                self.expires_at = *expires_at;
                self.merge_outcome(None);
                self.merge_at(MergeStep::Taken);
            }
            Event::LinesRefused { refusal } => {
                self.merge_outcome(Some(*refusal));
                self.merge_at(MergeStep::Refused);
            }
            Event::MergeEnded => self.merge_in = None,
            Event::Surrendering { request, to } => {
                self.merge_out = Some(Box::new(MergeOut { request: *request, to: *to }));
            }
            Event::Surrendered => {
                self.merged_into = self.merge_out.take().map(|out| out.to);
                self.close(CartStatus::Merged);
            }
            Event::Reopened { expires_at } => {
                self.merge_out = None;
                self.expires_at = *expires_at;
            }
            Event::Opened { .. }
            | Event::LineSet { .. }
            | Event::QuantitySet { .. }
            | Event::LineRemoved { .. }
            | Event::ContactSet { .. }
            | Event::LinesAdded { .. }
            | Event::Repriced { .. }
            | Event::CompletionStarted { .. }
            | Event::Placed
            | Event::Completed { .. }
            | Event::CompletionRefused { .. }
            | Event::Expired
            | Event::CustomerTold => {}
        }
    }

    fn merge_at(&mut self, step: MergeStep) {
        if let Some(running) = &mut self.merge_in {
            running.step = step;
        }
    }

    fn merge_outcome(&mut self, refusal: Option<MergeRefusal>) {
        if let Some(running) = &self.merge_in {
            let (request, from) = (running.request, running.from);
            self.last_merge = Some(Box::new(LastMerge { request, from, refusal }));
        }
    }

    pub(super) fn owed_by_merges(&self) -> Option<Owed> {
        let id = self.id?;
        if let Some(MergeOut { request: merge, to }) = self.merge_out.as_deref().copied() {
            let lines = self.lines.as_slice().to_vec();
            let take = Command::TakeLines { merge, currency: self.currency, lines };
            return Some(Owed::to::<Cart>(OwedKey::TakeLines { merge }, &to, take));
        }
        let MergeIn { request: merge, from, step, .. } = self.merge_in.as_deref().copied()?;
        match step {
            MergeStep::Asking => {
                Some(Owed::to::<Cart>(OwedKey::Surrender { merge }, &from, Command::Surrender { merge, to: id }))
            }
            MergeStep::Awaiting => None,
            MergeStep::Taken | MergeStep::Refused => {
                let taken = step == MergeStep::Taken;
                Some(Owed::to::<Cart>(OwedKey::Conclude { merge }, &from, Command::Conclude { merge, taken }))
            }
        }
    }

    pub(super) fn surrender_outcome(&self, merge: RequestId, outcome: &Outcome<Cart>) -> Option<Command> {
        let refusal = outcome.as_ref().err().map(source_refusal);
        self.merging_in(merge).then_some(Command::SurrenderAnswered { merge, refusal })
    }

    pub(super) fn take_lines_outcome(&self, merge: RequestId, outcome: &Outcome<Cart>) -> Option<Command> {
        let taken = *outcome == Ok(Reply::Taken);
        let merging_out = self.merge_out.as_ref().is_some_and(|out| out.request == merge);
        merging_out.then_some(Command::Conclude { merge, taken })
    }

    /// Whether it is the target of this merge.
    pub(super) fn merging_in(&self, merge: RequestId) -> bool {
        self.merge_in.as_ref().is_some_and(|running| running.request == merge)
    }
}

/// Why a source would not surrender, in the target's words.
fn source_refusal(rejection: &Rejection) -> MergeRefusal {
    match rejection {
        Rejection::NotFound => MergeRefusal::SourceNotFound,
        Rejection::CompletionInProgress { .. } => MergeRefusal::SourceCompleting,
        Rejection::MergeInProgress => MergeRefusal::SourceMerging,
        Rejection::Closed { .. }
        | Rejection::UnknownSku { .. }
        | Rejection::Unpublished { .. }
        | Rejection::OtherCurrency { .. }
        | Rejection::TooManyLines { .. }
        | Rejection::QuantityTooLarge { .. }
        | Rejection::LineNotFound
        | Rejection::SelfMerge
        | Rejection::NotReady { .. }
        | Rejection::SkuGone { .. }
        | Rejection::OfferMissing { .. }
        | Rejection::LinesNotAdded { .. }
        | Rejection::NotMerging => MergeRefusal::SourceClosed,
    }
}
