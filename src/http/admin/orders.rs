//! Orders, for administrators: all of them, and what a merchant does with them.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::order::types::{Command, FulfillmentStatus, Order, OrderStatus, PaymentStatus};
use crate::actors::projections::Model;
use crate::actors::projections::orders::OrderQuery;
use crate::actors::values::{LineId, OrderId, Quantity, RefundId, Time};
use crate::filters;
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Result};
use crate::http::request::caller::Admin;
use crate::http::request::fields::MoneyBody;
use crate::http::request::idempotency::Money as MoneyRule;
use crate::http::request::json::{self, Lines, Text};
use crate::http::request::lists::{self, PageParameters, PositionHeader};
use crate::http::request::query::{List, Listing, Page};
use crate::http::shop::orders::view::{self as order, OrderView};
use crate::http::shop::orders::{changed, show};
use crate::http::{Edge, Path, Read, Reply, Write};

/// The list of all orders.
pub struct AllOrders;

impl Listing for AllOrders {
    const SORTS: &'static [&'static str] = &["created_at"];
    type Filter = OrderFilter;
}

filters! {
    pub enum OrderFilter {
        Status = "status" FilterKind::Word(OrderStatus::WORDS),
        Payment = "payment_status" FilterKind::Word(PaymentStatus::WORDS),
        Fulfillment = "fulfillment_status" FilterKind::Word(FulfillmentStatus::WORDS),
        CreatedAt = "created_at" FilterKind::Time,
    }
}

/// All orders, the newest first.
#[utoipa::path(get, path = "/v1/admin/orders", tag = "admin",
    params(PageParameters, PositionHeader,
        ("sort" = Option<String>, Query, description = "created_at or -created_at"),
        ("filter[status]" = Option<order::OrderStatus>, Query),
        ("filter[payment_status]" = Option<order::PaymentStatus>, Query),
        ("filter[fulfillment_status]" = Option<order::FulfillmentStatus>, Query),
        ("filter[created_at]" = Option<String>, Query, description = "A time; also [gte], [gt], [lte], [lt]")),
    responses((status = 200, body = Page<OrderView>), outcomes::AdminList))]
pub async fn list(
    State(edge): State<Edge>,
    _: Admin,
    list: List<AllOrders>,
    read: Read,
) -> Result<Reply<Page<OrderView>>> {
    lists::caught_up_to(&edge, Model::Orders, &list.positions).await;
    let found = edge.projections.orders.find(&query(&list)?).await;
    let next = found.orders.last().filter(|_| found.has_more).map(|(at, id)| format!("{}.{id}", at.0));
    let ids = found.orders.iter().map(|(_, id)| *id).collect();
    let views = lists::read_all::<Order>(&edge, ids, read.deadline).await?;
    let shown = views.iter().filter_map(|view| OrderView::of(&view.state, view.version)).collect();
    Ok(list.page(&edge, shown, next, found.total))
}

fn query(list: &List<AllOrders>) -> Result<OrderQuery> {
    let mut query = OrderQuery { limit: list.limit, count: list.with_total, ..OrderQuery::default() };
    for filter in &list.filters {
        match filter.name {
            OrderFilter::Status => query.status = Some(lists::word::<OrderStatus>(filter)?),
            OrderFilter::Payment => query.payment = Some(lists::word::<PaymentStatus>(filter)?),
            OrderFilter::Fulfillment => query.fulfillment = Some(lists::word::<FulfillmentStatus>(filter)?),
            OrderFilter::CreatedAt => lists::narrow(&mut query.created_at, filter),
        }
    }
    query.oldest_first = list.sorts.first().is_some_and(|sort| !sort.descending);
    query.after = list.after.as_deref().map(|cursor| position(cursor).ok_or(Code::InvalidCursor)).transpose()?;
    Ok(query)
}

fn position(cursor: &str) -> Option<(Time, OrderId)> {
    let (at, id) = cursor.split_once('.')?;
    Some((Time(at.parse().ok()?), id.parse().ok()?))
}

/// An order, whoever's it is.
#[utoipa::path(get, path = "/v1/admin/orders/{id}", tag = "admin", params(("id" = String, Path)),
    responses((status = 200, body = OrderView), outcomes::AdminRead))]
pub async fn get(State(edge): State<Edge>, _: Admin, Path(id): Path<OrderId>, read: Read) -> Result<Reply<OrderView>> {
    show(&edge.client.read::<Order>(&id, read.deadline).await?)
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fulfil {
    /// Everything that is left when it is not given.
    lines: Option<Vec<FulfilLine>>,
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 255)]
    tracking: Option<Text<255>>,
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FulfilLine {
    #[schema(value_type = String)]
    line_id: LineId,
    #[schema(value_type = u32, minimum = 1, maximum = 1_000_000)]
    quantity: Quantity,
}

/// Says what has been sent. In full, it completes the order.
#[utoipa::path(post, path = "/v1/admin/orders/{id}/fulfil", tag = "admin", request_body = Fulfil,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = OrderView), outcomes::AdminChange))]
pub async fn fulfil(
    State(edge): State<Edge>,
    _: Admin,
    Path(id): Path<OrderId>,
    write: Write<Fulfil>,
) -> Result<Reply<OrderView>> {
    let Fulfil { lines, tracking } = write.body.clone();
    let lines = lines.map(|lines| lines.into_iter().map(|line| (line.line_id, line.quantity)).collect());
    let command = Command::Fulfil { lines, tracking: tracking.map(|text| text.0) };
    let (reply, position) = changed(&edge, &write, id, command).await?;
    Ok(reply.position(position))
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundBody {
    /// Everything that is left when it is not given.
    amount: Option<MoneyBody>,
    #[schema(value_type = String, max_length = 500)]
    reason: Lines<500>,
}

/// Pays back; never restocks.
#[utoipa::path(post, path = "/v1/admin/orders/{id}/refund", tag = "admin", request_body = RefundBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = OrderView), outcomes::AdminChange))]
pub async fn refund(
    State(edge): State<Edge>,
    _: Admin,
    Path(id): Path<OrderId>,
    write: Write<RefundBody, MoneyRule>,
) -> Result<Reply<OrderView>> {
    let RefundBody { amount, reason } = write.body.clone();
    let refund = RefundId::derived(&write.request, 0);
    let command = Command::Refund { refund, amount: amount.map(Into::into), reason: reason.0 };
    let (reply, position) = changed(&edge, &write, id, command).await?;
    Ok(reply.position(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let (at, id) = (Time(7), OrderId(9));
        assert_eq!(position(&format!("{}.{id}", at.0)), Some((at, id)));
        assert_eq!(position("7"), None);
    }
}
