//! How a cart becomes an order. The steps, and what a crash at each of them leaves, are told in [`super`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::owed::OwedKey;
use super::types::{
    CartStatus, Command, Completing, Completion, CompletionRefused, ITEMS_TOLD_MAX, Line, Rejection, Reply, State,
};
use super::{Event, expiry, noted};
use crate::actors::entity::{Ctx, Decision, DecisionOf, Outcome, Owed};
use crate::actors::order::types::{self as order, Order, OrderLine, OrderRefusal, Placement, RefusalCode};
use crate::actors::payment::types::PaymentIntent;
use crate::actors::sku::types::{Item, Offer};
use crate::actors::values::{Money, OrderId, RequestId, Sku};

/// A cart as the catalogue says now.
struct AsOffered {
    /// The lines that differ from the catalogue, as they are there now.
    lines: Vec<Line>,
    /// The places of those whose SKU names another item now; at most [`ITEMS_TOLD_MAX`].
    others: Vec<u32>,
    /// At its prices.
    total: Money,
}

impl State {
    pub(super) fn complete(&self, completing: Completing, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match (self.status, &self.completion) {
            (CartStatus::Completed, Some(done)) => {
                return Ok(Decision::unchanged(Reply::Already { order: done.order }));
            }
            (CartStatus::Completing, Some(running)) if running.request == ctx.request => {
                return Ok(Decision::unchanged(Reply::Started { order: running.order }));
            }
            (
                CartStatus::Open
                | CartStatus::Completing
                | CartStatus::Completed
                | CartStatus::Merged
                | CartStatus::Expired,
                _,
            ) => self.must_be_open()?,
        }
        if self.merge_in.is_some() {
            return Err(Rejection::MergeInProgress);
        }
        let requirements = self.requirements();
        if !requirements.is_empty() {
            return Err(Rejection::NotReady { requirements });
        }
        let Completing { order, payment, expected_total, offers } = completing;
        let AsOffered { lines, others, total } = self.as_offered(&offers)?;
        let mut events = Vec::with_capacity(2);
        if !lines.is_empty() {
            events.push(Event::Repriced { lines, expires_at: expiry(ctx) });
        }
        if !others.is_empty() {
            return Ok(Decision::new(events, Reply::ItemsChanged { lines: others }));
        }
        if total != expected_total.unwrap_or(self.totals().total) {
            return Ok(Decision::new(events, Reply::Repriced { total }));
        }
        events.push(Event::CompletionStarted { request: ctx.request, order, payment });
        Ok(Decision::new(events, Reply::Started { order }))
    }

    /// The cart as the catalogue sees it now.
    fn as_offered(&self, offers: &[(Sku, Option<Offer>)]) -> Result<AsOffered, Rejection> {
        let offers: BTreeMap<_, _> = offers.iter().map(|(sku, offer)| (sku, offer)).collect();
        let (mut lines, mut others) = (Vec::new(), Vec::new());
        let mut subtotal = self.lines.subtotal();
        for (place, line) in (0..).zip(&self.lines) {
            let sku = &line.sku;
            let offer = offers.get(sku).ok_or_else(|| Rejection::OfferMissing { sku: sku.clone() })?;
            let sold = |offer: &&Offer| offer.published && offer.price.currency == self.currency;
            let Some(offer) = offer.as_ref().filter(sold) else {
                return Err(Rejection::SkuGone { line: place, sku: sku.clone() });
            };
            let Offer { product, variant, title, price, .. } = offer;
            let (product, variant, unit_price) = (*product, Some(*variant), *price);
            if !line.item().is(&Item::of(offer)) && others.len() < ITEMS_TOLD_MAX {
                others.push(place);
            }
            if (line.product, line.variant, &line.title, line.unit_price) != (product, variant, title, unit_price) {
                let now = Line { product, variant, title: title.clone(), unit_price, ..line.clone() };
                subtotal = subtotal.saturating_sub(line.total().amount).saturating_add(now.total().amount);
                lines.push(now);
            }
        }
        Ok(AsOffered { lines, others, total: Money::new(subtotal, self.currency) })
    }

    pub(super) fn place_answered(&self, order: OrderId) -> DecisionOf<Self> {
        noted(self.owes_placement(order).then_some(Event::Placed))
    }

    pub(super) fn decided(
        &self,
        order: OrderId,
        order_version: u64,
        refusal: Option<OrderRefusal>,
        ctx: &Ctx,
    ) -> DecisionOf<Self> {
        let waiting = self.status == CartStatus::Completing && self.order() == Some(order);
        noted(waiting.then(|| match refusal {
            None => Event::Completed { order_version },
            Some(refusal) => Event::CompletionRefused { order_version, refusal, expires_at: expiry(ctx) },
        }))
    }

    pub(super) fn owed_by_completion(&self) -> Option<Owed> {
        let completion = self.completion.as_deref().filter(|completion| self.owes_placement(completion.order))?;
        let placement = Arc::new(self.placement(completion)?);
        Some(Owed::to::<Order>(
            OwedKey::Place { order: completion.order },
            &completion.order,
            order::Command::Place { placement },
        ))
    }

    /// An order that refuses the placement will not decide either, so the cart is open again.
    pub(super) fn placement_answered(&self, order: OrderId, outcome: &Outcome<Order>) -> Option<Command> {
        if self.order() != Some(order) {
            return None;
        }
        Some(match outcome {
            Ok(_) => Command::PlaceAnswered { order },
            Err(_) => {
                let refusal = Some(OrderRefusal::of(RefusalCode::InvalidPlacement));
                Command::Decided { order, order_version: 0, refusal }
            }
        })
    }

    pub(super) fn start_completion(&mut self, request: RequestId, order: OrderId, payment: &PaymentIntent) {
        let payment = Some(payment.clone());
        let completion = Completion { request, order, order_version: 0, payment, placed: false };
        self.status = CartStatus::Completing;
        self.last_refusal = None;
        self.completion = Some(Box::new(completion));
    }

    pub(super) fn refuse_completion(&mut self, order_version: u64, refusal: &OrderRefusal) {
        self.status = CartStatus::Open;
        self.last_refusal = self.completion.take().map(|completion| {
            let Completion { request, order, .. } = *completion;
            Box::new(CompletionRefused { request, order, order_version, refusal: refusal.clone() })
        });
    }

    fn owes_placement(&self, order: OrderId) -> bool {
        let owing = |completion: &Completion| completion.order == order && !completion.placed;
        self.status == CartStatus::Completing && self.completion.as_deref().is_some_and(owing)
    }

    fn placement(&self, completion: &Completion) -> Option<Placement> {
        let copy = |line: &Line| OrderLine {
            id: line.id,
            sku: line.sku.clone(),
            product: line.product,
            variant: line.variant,
            title: line.title.to_string(),
            quantity: line.quantity,
            unit_price: line.unit_price,
            total: line.total(),
        };
        Some(Placement {
            order: completion.order,
            cart: self.id?,
            request: completion.request,
            user: self.user,
            currency: self.currency,
            lines: self.lines.iter().map(copy).collect(),
            totals: self.totals(),
            contact: self.contact.as_deref()?.clone(),
            reference: self.reference.as_deref().map(str::to_owned),
            metadata: self.metadata.clone(),
            payment: completion.payment.clone()?,
        })
    }
}
