//! Orders, for the customers who placed them.

pub mod view;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::customer::types::Customer;
use crate::actors::order::types::{Command, Order, Rejection};
use crate::actors::order_number::types::OrderNumber;
use crate::actors::runtime::client::{View, Wait};
use crate::actors::values::{JournalPosition, OrderId, OrderNumber as Number, TypedEmail};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Fault, Problem, Result};
use crate::http::request::caller::SignedIn;
use crate::http::request::idempotency::{Money, Rule};
use crate::http::request::json::{self, Lines};
use crate::http::request::lists::{self, PageParameters, Unfiltered};
use crate::http::request::query::{List, Page, Query};
use crate::http::{Edge, Path, Read, Reply, Write};
use view::OrderView;

/// An order: for its owner, an administrator, or a guest with its token.
#[utoipa::path(get, path = "/v1/orders/{id}", tag = "orders",
    params(("id" = String, Path), ("X-Order-Token" = Option<String>, Header)),
    responses((status = 200, body = OrderView), outcomes::Missing))]
pub async fn get(State(edge): State<Edge>, Path(id): Path<OrderId>, read: Read) -> Result<Reply<OrderView>> {
    let view = edge.client.read::<Order>(&id, read.deadline).await?;
    let owner = view.state.placement.as_ref().ok_or(Code::NotFound)?.user;
    if !read.who.may_open_order(&edge, id, owner) {
        return Err(Code::NotFound.into());
    }
    show(&view)
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 500)]
    reason: Option<Lines<500>>,
}

/// Cancels an order of which nothing is fulfilled: it is restocked and refunded.
#[utoipa::path(post, path = "/v1/orders/{id}/cancel", tag = "orders", request_body = Cancel,
    params(("id" = String, Path), ("X-Order-Token" = Option<String>, Header), ("Idempotency-Key" = String, Header),
        ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = OrderView), outcomes::OrderChange))]
pub async fn cancel(
    State(edge): State<Edge>,
    Path(id): Path<OrderId>,
    write: Write<Cancel, Money>,
) -> Result<Reply<OrderView>> {
    // A guest's token is proof enough without reading the order: orders of users have no tokens.
    if !write.who.may_open_order(&edge, id, None) {
        let order = edge.client.read::<Order>(&id, write.deadline).await?;
        let owner = order.state.placement.as_ref().ok_or(Code::NotFound)?.user;
        if !write.who.may_open_order(&edge, id, owner) {
            return Err(Code::NotFound.into());
        }
    }
    let reason = write.body.reason.clone().map(|text| text.0);
    Ok(changed(&edge, &write, id, Command::Cancel { reason }).await?.0)
}

/// My orders, the newest first.
#[utoipa::path(get, path = "/v1/me/orders", tag = "me", params(PageParameters),
    responses((status = 200, body = Page<OrderView>), outcomes::Mine))]
pub async fn mine(
    State(edge): State<Edge>,
    me: SignedIn,
    list: List<Unfiltered>,
    read: Read,
) -> Result<Reply<Page<OrderView>>> {
    let customer = edge.client.read::<Customer>(&me.user, read.deadline).await?;
    let orders = &customer.state.orders;
    // The list only grows at its end, so an index stays the same item.
    let end = match list.after.as_deref() {
        Some(place) => place.parse::<usize>().map_err(|_| Code::InvalidCursor)?.min(orders.len()),
        None => orders.len(),
    };
    let start = end.saturating_sub(list.limit);
    let ids = orders[start..end].iter().rev().map(|(id, _)| *id).collect();
    let views = lists::read_all::<Order>(&edge, ids, read.deadline).await?;
    let shown = views.iter().filter_map(|view| OrderView::of(&view.state, view.version)).collect();
    let next = (start > 0).then(|| start.to_string());
    Ok(list.page(&edge, shown, next, Some(orders.len() as u64)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    number: String,
    email: String,
}

/// Finds a guest's order by its number and the email address that it was placed with. No answer tells which of the
/// two was wrong, or whether it is a user's order: that one is his alone to see.
#[utoipa::path(get, path = "/v1/orders/lookup", tag = "orders", security(()),
    params(("number" = String, Query), ("email" = String, Query)),
    responses((status = 200, body = OrderView), outcomes::Missing))]
pub async fn lookup(
    State(edge): State<Edge>,
    Query(Lookup { number, email }): Query<Lookup>,
    read: Read,
) -> Result<Reply<OrderView>> {
    let number: Number = number.parse().map_err(|_| Code::NotFound)?;
    let email: TypedEmail = email.parse().map_err(|_| Code::NotFound)?;
    let holder = edge.client.read::<OrderNumber>(&number, read.deadline).await?;
    let view = edge.client.read::<Order>(&holder.state.order.ok_or(Code::NotFound)?, read.deadline).await?;
    let placement = view.state.placement.as_ref().ok_or(Code::NotFound)?;
    if placement.user.is_some() || !email.means(&placement.contact.email) {
        return Err(Code::NotFound.into());
    }
    show(&view)
}

/// The answer that shows an order. Errors: 404 when nobody has placed it.
pub fn show(view: &View<Order>) -> Result<Reply<OrderView>> {
    let shown = OrderView::of(&view.state, view.version).ok_or(Code::NotFound)?;
    Ok(Reply::ok(shown).version(view.version))
}

/// Asks an order to change, and waits until what follows from it is done: stock back, money back. The answer, and where
/// that stands in the journal.
pub async fn changed<B, R: Rule>(
    edge: &Edge,
    write: &Write<B, R>,
    id: OrderId,
    command: Command,
) -> Result<(Reply<OrderView>, Option<JournalPosition>)> {
    let answered = write.ask::<Order>(edge, &id, command, Wait::Settled).await?;
    if let Err(rejection) = &answered.outcome {
        return Err(refusal(rejection).replayed(answered.replayed));
    }
    Ok((show(&answered.view)?.replayed(answered.replayed), answered.view.position))
}

/// What an order's rejection means to a client.
pub(in crate::http) fn refusal(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotPlaced => Code::NotFound.into(),
        Rejection::AlreadyFulfilled => {
            Problem::new(Code::OrderNotCancellable).detail("Something of it has been fulfilled.")
        }
        Rejection::WrongStatus { status } => {
            Problem::new(Code::OrderStatus).detail(format!("The order is {status}.")).with("order_status", status)
        }
        Rejection::RefundExceedsCaptured { remaining } => Problem::new(Code::RefundExceedsCaptured)
            .detail(format!("{} {} remain captured, in minor units.", remaining.amount, remaining.currency))
            .with("remaining", remaining),
        Rejection::InvalidAmount => {
            let why = "More than 0, in the order's currency.";
            Problem::of_field(Fault::new(Code::OutOfRange, "/amount").detail(why))
        }
        Rejection::TooManyRefunds { limit } => {
            Problem::new(Code::LimitReached).detail(format!("An order has at most {limit} refunds."))
        }
        Rejection::UnknownLine { line } => {
            Problem::of_field(Fault::new(Code::UnknownLine, "/lines").with("line_id", line))
        }
        Rejection::ExceedsUnfulfilled { line, remaining } => {
            let why = format!("Of this line {remaining} are still to be fulfilled.");
            let fault = Fault::new(Code::OutOfRange, "/lines").detail(why);
            Problem::of_field(fault.with("line_id", line).with("remaining", remaining))
        }
        Rejection::NothingToFulfil => Problem::of_field(Fault::new(Code::Required, "/lines/0")),
        // Answers a cart, which is not a client.
        Rejection::AlreadyPlaced => Code::Internal.into(),
    }
}
