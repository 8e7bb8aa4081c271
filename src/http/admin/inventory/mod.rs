//! Stock, for administrators and for the seller whose SKU it is.

pub mod view;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::projections::Model;
use crate::actors::runtime::client::{View, Wait};
use crate::actors::sku::types::{Command, Item, Rejection, StockUnit};
use crate::actors::values::Sku;
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Fault, Problem, Result};
use crate::http::request::caller::Staff;
use crate::http::request::idempotency::Required;
use crate::http::request::json::Lines;
use crate::http::request::lists;
use crate::http::{Edge, Path, Read, Reply, Write};
use tokio::time::Instant;
use view::InventoryView;

/// The stock of a SKU, and who holds some of it.
#[utoipa::path(get, path = "/v1/admin/inventory/{sku}", tag = "admin", params(("sku" = String, Path)),
    responses((status = 200, body = InventoryView), outcomes::AdminRead))]
pub async fn get(
    State(edge): State<Edge>,
    staff: Staff,
    Path(sku): Path<Sku>,
    read: Read,
) -> Result<Reply<InventoryView>> {
    show(&own(&edge, &staff, &sku, read.deadline).await?)
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStock {
    /// What was counted.
    on_hand: u64,
    /// The on_hand that the caller has seen: anything else is a 409 `stock_changed`.
    expected: Option<u64>,
}

/// Sets what lies in the shop.
#[utoipa::path(put, path = "/v1/admin/inventory/{sku}", tag = "admin", request_body = SetStock,
    params(("sku" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 200, body = InventoryView), outcomes::AdminChange))]
pub async fn set(
    State(edge): State<Edge>,
    staff: Staff,
    Path(sku): Path<Sku>,
    write: Write<SetStock, Required>,
) -> Result<Reply<InventoryView>> {
    let SetStock { on_hand, expected } = write.body;
    let command = |item| Command::SetStock { on_hand, expected, item };
    change(&edge, &staff, sku, &write, command, "/on_hand").await
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustStock {
    /// Pieces more, or (negative) fewer.
    delta: i64,
    #[schema(value_type = String, max_length = 500)]
    reason: Lines<500>,
}

/// Changes what lies in the shop by so many pieces.
#[utoipa::path(post, path = "/v1/admin/inventory/{sku}/adjust", tag = "admin", request_body = AdjustStock,
    params(("sku" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 200, body = InventoryView), outcomes::AdminChange))]
pub async fn adjust(
    State(edge): State<Edge>,
    staff: Staff,
    Path(sku): Path<Sku>,
    write: Write<AdjustStock, Required>,
) -> Result<Reply<InventoryView>> {
    let command = |item| Command::Adjust { delta: write.body.delta, reason: write.body.reason.0.clone(), item };
    change(&edge, &staff, sku, &write, command, "/delta").await
}

/// The SKU, if a product has it and this caller may change it.
async fn own(edge: &Edge, staff: &Staff, sku: &Sku, deadline: Instant) -> Result<View<StockUnit>> {
    let view = edge.client.read::<StockUnit>(sku, deadline).await?;
    match &view.state.offer {
        Some(offer) if staff.may_touch(offer.seller) => Ok(view),
        Some(_) | None => Err(Code::NotFound.into()),
    }
}

async fn change<B>(
    edge: &Edge,
    staff: &Staff,
    sku: Sku,
    write: &Write<B, Required>,
    command: impl FnOnce(Option<Item>) -> Command,
    pointer: &str,
) -> Result<Reply<InventoryView>> {
    // A seller's command names the item that he owned when this was read: the SKU may change hands before the command
    // arrives.
    let his = if staff.is_admin() { None } else { own(edge, staff, &sku, write.deadline).await?.state.item };
    let answered = write.ask::<StockUnit>(edge, &sku, command(his), Wait::Durable).await?;
    if let Err(rejection) = &answered.outcome {
        return Err(refusal(rejection, pointer).replayed(answered.replayed));
    }
    // Carts take their warnings from this read model: from now on it has the new stock.
    lists::caught_up(edge, Model::Stock).await;
    Ok(show(&answered.view)?.position(answered.view.position).replayed(answered.replayed))
}

fn show(view: &View<StockUnit>) -> Result<Reply<InventoryView>> {
    let shown = InventoryView::of(&view.state, view.version).ok_or(Code::NotFound)?;
    Ok(Reply::ok(shown).version(view.version))
}

/// What a SKU's rejection means to a merchant; `pointer` is to the number that he sent.
pub(in crate::http) fn refusal(rejection: &Rejection, pointer: &str) -> Problem {
    match rejection {
        Rejection::Unknown => Code::NotFound.into(),
        Rejection::StockChanged { on_hand } => {
            Problem::new(Code::StockChanged).detail(format!("There are {on_hand}.")).with("on_hand", on_hand)
        }
        Rejection::StockReserved { reserved } => {
            let why = match reserved {
                0 => "There are not so many: on_hand cannot fall below 0.".to_owned(),
                held => format!("Pending orders hold {held}: on_hand cannot fall below that."),
            };
            Problem::new(Code::StockReserved).detail(why).with("reserved", reserved)
        }
        Rejection::OutOfRange { limit } => {
            let why = format!("At most {limit} pieces can lie in the shop.");
            Problem::of_field(Fault::new(Code::OutOfRange, pointer).detail(why))
        }
        // These answer orders and products, which are not clients.
        Rejection::Taken { .. }
        | Rejection::InsufficientStock { .. }
        | Rejection::NotReserved
        | Rejection::Contended => Code::Internal.into(),
    }
}
