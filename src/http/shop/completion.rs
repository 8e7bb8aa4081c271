//! A cart becomes an order. The cart's own completion waits until the order has decided; here that wait
//! gets a deadline and the decision its status.
//!
//! | the cart says | answer |
//! | --- | --- |
//! | completed by this request | 201 and the order as it was when it was through |
//! | completed before | 200 and the same order, as it is now, without its token |
//! | refused: the cart is open again | 402 or 409, with the rejected order's id |
//! | other prices than expected | 409 with the new totals |
//! | a SKU names something else now | 409 with what it names |
//! | nothing until the deadline, or until its place is needed | 202 and the pending order |
//!
//! What a crash leaves: nothing here is kept. A repeat with the same key finds the cart's receipt, and is
//! answered from what the cart and the order have come to.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::carts::{self, must_open};
use super::orders::view::{OrderView, PaymentMethod};
use crate::actors::cart::types::{self as cart, Cart, CartStatus, Command, Completing, Completion, CompletionRefused};
use crate::actors::entity::Kind;
use crate::actors::order::types::{Order, OrderRefusal, RefusalCode};
use crate::actors::payment::types::{PaymentIntent, PaymentMethod as Method};
use crate::actors::runtime::client::{Answered, AskError, View, Wait};
use crate::actors::sku::types::{Offer, StockUnit};
use crate::actors::values::{CartId, Money, OrderId, RequestId, Secret, Sku};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Fault, Problem, Result};
use crate::http::request::context::Context;
use crate::http::request::fields::MoneyBody;
use crate::http::request::idempotency::Money as MoneyRule;
use crate::http::request::json::Text;
use crate::http::request::{lists, patience};
use crate::http::{Edge, Path, Reply, Write};

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    payment: PaymentBody,
    /// What the customer means to pay; what the cart showed last when it is not given.
    expected_total: Option<MoneyBody>,
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentBody {
    #[schema(value_type = PaymentMethod)]
    method: Method,
    /// What the provider gave the customer for his means of payment.
    #[schema(value_type = String, max_length = 255)]
    token: Text<255>,
}

type CompleteCart = Write<Complete, MoneyRule>;

/// The pause between two looks at a completion whose place is needed and which has no order to show yet.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// Buys what is in the cart.
#[utoipa::path(post, path = "/v1/carts/{id}/complete", tag = "carts", request_body = Complete,
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header), ("Idempotency-Key" = String, Header),
        ("If-Match" = Option<String>, Header)),
    responses(
        (status = 201, body = OrderView, description = "The order, confirmed and captured"),
        (status = 200, body = OrderView, description = "The cart was completed before, into this order"),
        (status = 202, body = OrderView, description = "Not decided yet: the order, pending"),
        outcomes::Completing))]
pub async fn complete(
    State(edge): State<Edge>,
    Extension(context): Extension<Arc<Context>>,
    Path(id): Path<CartId>,
    mut write: CompleteCart,
) -> Result<Reply<OrderView>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    let places_by = write.deadline;
    write.deadline = Instant::now() + Duration::from_millis(edge.config.complete.deadline_ms);
    let looks_until = looks_until(&edge, write.deadline);
    // From here on it waits for the order. When its place is needed, it answers with what is known.
    let place_needed = context.wait.awaits_decision();
    let pending = async {
        place_needed.cancelled().await;
        once_placed(|| standing(&edge, id, write.request, looks_until), places_by).await
    };
    tokio::select! {
        biased;
        decided = until_decided(&edge, id, &write) => decided,
        pending = pending => pending,
    }
}

async fn until_decided(edge: &Edge, id: CartId, write: &CompleteCart) -> Result<Reply<OrderView>> {
    for _ in 0..patience::TRIES_MAX {
        let view = edge.client.read::<Cart>(&id, write.deadline).await?;
        let command = command(edge, &view, write).await?;
        let if_version = write.if_match.at(view.version);
        let asking = write.asking(if_version, Wait::Settled);
        let answered = match edge.client.ask::<Cart>(&id, command, asking).await {
            Ok(answered) => answered,
            Err(AskError::StaleVersion { current }) if write.if_match.goes_on(if_version, current) => continue,
            // Not known when the time is up, also where a link to the cart's node was lost meanwhile: the cart tells.
            Err(AskError::DeadlinePassed | AskError::Unknown) => {
                return standing(edge, id, write.request, looks_until(edge, write.deadline)).await?.shown();
            }
            Err(error) => return Err(error.into()),
        };
        match &answered.outcome {
            Err(rejection) if Cart::passes_soon(rejection) => {
                patience::until_free::<Cart>(edge, &id, write).await?;
            }
            Ok(_) | Err(_) => return decided(edge, &answered, write).await,
        }
    }
    Err(Code::ChangeInProgress.into())
}

/// The command, with what the catalogue says now of every SKU in the cart.
async fn command(edge: &Edge, view: &View<Cart>, write: &CompleteCart) -> Result<Command> {
    let offers = match view.state.status {
        CartStatus::Open => offers(edge, &view.state, write.deadline).await?,
        // The cart refuses it, or answers it as a repeat, whatever the offers are.
        CartStatus::Completing | CartStatus::Completed | CartStatus::Merged | CartStatus::Expired => Vec::new(),
    };
    let PaymentBody { method, token } = write.body.payment.clone();
    Ok(Command::Complete(Box::new(Completing {
        order: OrderId::derived(&write.request, 0),
        payment: PaymentIntent { method, token: Secret(token.0) },
        expected_total: write.body.expected_total.map(Money::from),
        offers,
    })))
}

async fn offers(edge: &Edge, cart: &cart::State, deadline: Instant) -> Result<Vec<(Sku, Option<Offer>)>> {
    let skus: Vec<Sku> = cart.lines.iter().map(|line| line.sku.clone()).collect();
    let views = lists::read_all::<StockUnit>(edge, skus.clone(), deadline).await?;
    Ok(skus.into_iter().zip(views).map(|(sku, view)| (sku, view.state.offer.clone())).collect())
}

/// The answer once the cart has settled.
async fn decided(edge: &Edge, answered: &Answered<Cart>, write: &CompleteCart) -> Result<Reply<OrderView>> {
    let state = &*answered.view.state;
    let (replayed, looks_until) = (answered.replayed, looks_until(edge, write.deadline));
    match &answered.outcome {
        Ok(cart::Reply::Started { .. }) => {
            if let Some(refused) = state.completion_refused(&write.request) {
                return Err(rejected(refused).replayed(replayed));
            }
            let view = completed_into(edge, state, looks_until).await?;
            Ok(created(view).replayed(replayed))
        }
        Ok(cart::Reply::Already { .. }) => {
            let completion = state.completion.as_deref().ok_or(Code::Internal)?;
            let order = edge.client.read::<Order>(&completion.order, looks_until).await?;
            // Another request made the order: it is shown as it is now, without its token.
            let shown = OrderView::of(&order.state, order.version).ok_or(Code::Internal)?;
            Ok(Reply::ok(shown).version(order.version).replayed(replayed))
        }
        Ok(cart::Reply::ItemsChanged { lines }) => Err(items_changed(state, lines).replayed(replayed)),
        Ok(cart::Reply::Repriced { .. }) => Err(price_changed(state).replayed(replayed)),
        Ok(
            cart::Reply::Opened
            | cart::Reply::Changed
            | cart::Reply::Merging
            | cart::Reply::Surrendering
            | cart::Reply::Taken
            | cart::Reply::NotTaken { .. }
            | cart::Reply::Noted,
        ) => Err(Code::Internal.into()),
        Err(rejection) => Err(carts::refusal(rejection).replayed(replayed)),
    }
}

/// How far a completion has come.
enum Standing<T> {
    /// There is something to show: the order, pending or decided.
    Shown(T),
    /// The cart has begun it, and the order does not exist yet.
    Begun,
    /// The cart does not know of it.
    Unknown,
}

impl<T> Standing<T> {
    /// The answer when the time is up.
    fn shown(self) -> Result<T> {
        match self {
            Standing::Shown(answer) => Ok(answer),
            // A repeat will get its own answer.
            Standing::Begun => Err(Problem::new(Code::RequestInProgress).retry_after_s(1)),
            Standing::Unknown => Err(AskError::DeadlinePassed.into()),
        }
    }
}

/// Looks until there is an order to show, or until the deadline. On a busy node a completion may be asked for its
/// place before its cart has heard of it.
async fn once_placed<T, F: Future<Output = Result<Standing<T>>>>(look: impl Fn() -> F, deadline: Instant) -> Result<T> {
    loop {
        match look().await? {
            Standing::Begun | Standing::Unknown if Instant::now() < deadline => sleep(LOOKS_EVERY).await,
            standing => return standing.shown(),
        }
    }
}

/// When a look at cart or order is given up: it may take as long after the completion's own deadline as any request may,
/// because the node that has them may have been lost just now.
fn looks_until(edge: &Edge, deadline: Instant) -> Instant {
    let (http, complete) = (&edge.config.http, &edge.config.complete);
    // The handler is dropped then.
    let left_ms = http.handler_timeout_ms.saturating_sub(complete.deadline_ms);
    deadline + Duration::from_millis(http.request_deadline_ms.min(left_ms))
}

async fn standing(
    edge: &Edge,
    id: CartId,
    request: RequestId,
    deadline: Instant,
) -> Result<Standing<Reply<OrderView>>> {
    let view = edge.client.read::<Cart>(&id, deadline).await?;
    if let Some(refused) = view.state.completion_refused(&request) {
        return Err(rejected(refused));
    }
    let Some(completion) = view.state.completion.as_deref().filter(|completion| completion.request == request) else {
        return Ok(Standing::Unknown);
    };
    if view.state.status == CartStatus::Completed {
        let order = completed_into(edge, &view.state, deadline).await?;
        return Ok(Standing::Shown(created(order)));
    }
    let order = edge.client.read::<Order>(&completion.order, deadline).await?;
    let Some(shown) = OrderView::of(&order.state, order.version) else { return Ok(Standing::Begun) };
    let shown = with_token(edge, shown);
    let version = shown.version;
    Ok(Standing::Shown(Reply::accepted(location(shown.id), shown).version(version)))
}

fn created(order: OrderView) -> Reply<OrderView> {
    let version = order.version;
    Reply::created(location(order.id), order).version(version)
}

/// The order of a completed cart, as it was when cart and customer had been told, and not as it is now, so that a
/// repeat shows the same.
async fn completed_into(edge: &Edge, state: &cart::State, deadline: Instant) -> Result<OrderView> {
    let completion = state.completion.as_deref().ok_or(Code::Internal)?;
    let mut view = edge.client.read::<Order>(&completion.order, deadline).await?;
    if view.state.told_version.is_none() && !view.state.cart_told {
        // The order notes that the cart was told once the cart has answered. This does not wait for a later refund or
        // cancellation.
        view = edge.client.read_settled::<Order>(&completion.order, deadline).await?;
    }
    let version = view.state.told_version.unwrap_or_else(|| counted(completion, state));
    if view.version != version {
        view = edge.client.read_at::<Order>(&completion.order, version, deadline).await?;
    }
    let shown = OrderView::of(&view.state, view.version).ok_or(Code::Internal)?;
    Ok(with_token(edge, shown))
}

/// The same for an order that has not noted it, because it was placed by an older version: customer and cart were told
/// with one record each after the decision.
fn counted(completion: &Completion, state: &cart::State) -> u64 {
    completion.order_version + 1 + u64::from(state.user.is_some())
}

/// A guest gets the token that opens the order.
fn with_token(edge: &Edge, order: OrderView) -> OrderView {
    // The request could not have come so far without the keys.
    let keys = edge.keys.get().ok().filter(|_| order.user_id.is_none());
    let token = keys.map(|keys| keys.order_token(order.id));
    OrderView { token, ..order }
}

fn location(order: OrderId) -> String {
    format!("/v1/orders/{order}")
}

fn price_changed(state: &cart::State) -> Problem {
    Problem::new(Code::PriceChanged)
        .detail("The cart has the new prices. Complete it again to accept them.")
        .with("totals", state.totals())
}

/// Another product, or another variant, has the SKUs of these lines.
fn items_changed(state: &cart::State, lines: &[u32]) -> Problem {
    let problem = Problem::new(Code::ItemChanged)
        .detail("SKUs in the cart name other articles now, and the cart has these. Complete it again to accept them.")
        .with("totals", state.totals());
    lines.iter().fold(problem, |problem, place| {
        let fault = Fault::new(Code::ItemChanged, format!("/lines/{place}/sku"));
        match state.lines.as_slice().get(*place as usize) {
            Some(line) => problem.fault(fault.with("sku", &line.sku).with("title", &line.title)),
            None => problem.fault(fault),
        }
    })
}

/// What a rejected order means to its customer; the cart is open again.
pub(in crate::http) fn rejected(refused: &CompletionRefused) -> Problem {
    let OrderRefusal { code, sku, line, available, requested, decline } = &refused.refusal;
    let problem = match code {
        RefusalCode::InsufficientStock => {
            let name = sku.as_ref().map(Sku::as_str).unwrap_or_default();
            let (has, wants) = (available.unwrap_or(0), requested.unwrap_or(0));
            let fault = Fault::new(Code::InsufficientStock, format!("/lines/{}/quantity", line.unwrap_or(0)))
                .with("sku", sku)
                .with("available", has)
                .with("requested", wants);
            let detail = format!("SKU {name} has {has} available, {wants} requested.");
            Problem::new(Code::InsufficientStock).detail(detail).fault(fault)
        }
        RefusalCode::PaymentFailed => Problem::new(Code::PaymentFailed).with("decline_code", decline),
        RefusalCode::PaymentTimeout => Code::PaymentTimeout.into(),
        RefusalCode::OrderTimeout => Code::OrderTimeout.into(),
        RefusalCode::ReservationExpired => Code::ReservationExpired.into(),
        RefusalCode::SkuGone => {
            let fault = Fault::new(Code::SkuUnavailable, format!("/lines/{}/sku", line.unwrap_or(0)));
            Problem::new(Code::SkuUnavailable).fault(fault.with("sku", sku))
        }
        RefusalCode::Cancelled => Code::OrderCancelled.into(),
        RefusalCode::InvalidPlacement => Code::Internal.into(),
    };
    problem.with("order_id", refused.order)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// What stands at each look.
    async fn told(looks: &[Standing<()>], deadline: Duration) -> std::result::Result<usize, Code> {
        let looked = Cell::new(0);
        let look = || {
            let standing = match looks.get(looked.replace(looked.get() + 1)) {
                Some(Standing::Shown(())) => Standing::Shown(looked.get()),
                Some(Standing::Begun) => Standing::Begun,
                Some(Standing::Unknown) | None => Standing::Unknown,
            };
            std::future::ready(Ok(standing))
        };
        once_placed(look, Instant::now() + deadline).await.map_err(|problem| problem.code())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_for_his_place_before_the_order_is_placed_shows_it_once_it_is() {
        let looks = [Standing::Unknown, Standing::Begun, Standing::Begun, Standing::Shown(())];
        assert_eq!(told(&looks, Duration::from_secs(8)).await, Ok(4));
        assert_eq!(told(&looks[3..], Duration::ZERO).await, Ok(1));
        assert_eq!(told(&looks, LOOKS_EVERY).await, Err(Code::RequestInProgress));
        assert_eq!(told(&[], Duration::from_secs(8)).await, Err(Code::DeadlinePassed));
    }
}
