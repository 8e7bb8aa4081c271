//! Carts: creating, filling, merging. How one is completed stands in [`completion`](super::completion).

use axum::extract::State;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::address::AddressBody;
use super::caller::{SignedIn, Who};
use super::fields::{Texts, pieces_or_none};
use super::idempotency::Rule;
use super::json::{Nothing, Text};
use super::patience;
use super::problem::{Code, Fault, Problem, Result};
use super::views::cart::{CartView, MergeStrategy, RequirementView};
use super::{Edge, Path, Read, Reply, Write, outcomes};
use crate::actors::cart::types::{Cart, CartStatus, Command, MergeRefusal, MergeStrategy as Strategy, Rejection};
use crate::actors::client::{Answered, View, Wait};
use crate::actors::customer::types::Customer;
use crate::actors::sku::types::StockUnit;
use crate::actors::values::{CartId, Contact, Currency, Email, LineId, Quantity, Sku};

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCart {
    /// GBP when it is not given.
    #[schema(value_type = Option<String>, example = "GBP")]
    currency: Option<Currency>,
    /// The client's own name for it.
    #[schema(value_type = Option<String>, max_length = 255)]
    reference: Option<Text<255>>,
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    metadata: Texts,
}

/// Opens a cart. A guest gets the token that opens it.
#[utoipa::path(post, path = "/v1/carts", tag = "carts", request_body = NewCart,
    responses((status = 201, body = CartView), outcomes::Creating))]
pub async fn create(State(edge): State<Edge>, write: Write<NewCart>) -> Result<Reply<CartView>> {
    let id = CartId::derived(&write.request, 0);
    let user = write.who.user();
    let NewCart { currency, reference, metadata } = write.body.clone();
    let command = Command::Create {
        id,
        user,
        currency: currency.unwrap_or_default(),
        reference: reference.map(|text| text.0),
        metadata: metadata.0,
    };
    // Settled: the user's list has it.
    let answered = write.ask::<Cart>(&edge, &id, command, Wait::Settled).await?;
    let token = user.is_none().then(|| edge.keys.cart_token(id));
    let view = CartView { token, ..accepted(&edge, &answered)? };
    let version = view.version;
    Ok(Reply::created(format!("/v1/carts/{id}"), view).version(version).replayed(answered.replayed))
}

/// A cart.
#[utoipa::path(get, path = "/v1/carts/{id}", tag = "carts",
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header)),
    responses((status = 200, body = CartView), outcomes::Missing))]
pub async fn get(State(edge): State<Edge>, Path(id): Path<CartId>, read: Read) -> Result<Reply<CartView>> {
    let view = edge.client.read::<Cart>(&id, read.deadline).await?;
    if !read.who.may_open_cart(&edge, id, view.state.user) {
        return Err(Code::NotFound.into());
    }
    Ok(reply(shown(&edge, &view)?))
}

/// My latest open cart.
#[utoipa::path(get, path = "/v1/me/cart", tag = "me", responses((status = 200, body = CartView), outcomes::Mine))]
pub async fn mine(State(edge): State<Edge>, me: SignedIn, read: Read) -> Result<Reply<CartView>> {
    let customer = edge.client.read::<Customer>(&me.user, read.deadline).await?;
    for (id, _) in customer.state.open_carts.iter().rev() {
        let view = edge.client.read::<Cart>(id, read.deadline).await?;
        // The list learns a moment later that a cart has closed.
        if matches!(view.state.status, CartStatus::Open | CartStatus::Completing) {
            return Ok(reply(shown(&edge, &view)?));
        }
    }
    Err(Code::NotFound.into())
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddLine {
    #[schema(value_type = String, example = "TEE-M")]
    sku: Sku,
    #[schema(value_type = u32, minimum = 1, maximum = 1_000_000)]
    quantity: Quantity,
}

/// Adds pieces of a SKU. A SKU that is there already grows; the price comes from the catalogue.
#[utoipa::path(post, path = "/v1/carts/{id}/lines", tag = "carts", request_body = AddLine,
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = CartView), outcomes::CartChange))]
pub async fn add_line(
    State(edge): State<Edge>,
    Path(id): Path<CartId>,
    write: Write<AddLine>,
) -> Result<Reply<CartView>> {
    let AddLine { sku, quantity } = write.body.clone();
    let read_offer = async { Ok(edge.client.read::<StockUnit>(&sku, write.deadline).await?) };
    let (offered, ()) = tokio::try_join!(read_offer, must_open(&edge, &write.who, id, write.deadline))?;
    // What was just read is at least as fresh as what warnings are made of.
    edge.projections.catalogue.note_sku(&offered);
    let offer = offered.state.offer.clone();
    change(&edge, &write, id, Command::AddLine { sku, quantity, offer }).await
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuantity {
    /// 0 removes the line.
    #[serde(deserialize_with = "pieces_or_none")]
    #[schema(value_type = u32, minimum = 0, maximum = 1_000_000)]
    quantity: Option<Quantity>,
}

/// Sets how many pieces a line has.
#[utoipa::path(patch, path = "/v1/carts/{id}/lines/{line}", tag = "carts", request_body = SetQuantity,
    params(("id" = String, Path), ("line" = String, Path), ("X-Cart-Token" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = CartView), outcomes::CartChange))]
pub async fn set_quantity(
    State(edge): State<Edge>,
    Path((id, line)): Path<(CartId, LineId)>,
    write: Write<SetQuantity>,
) -> Result<Reply<CartView>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    change(&edge, &write, id, Command::SetQuantity { line, quantity: write.body.quantity }).await
}

/// Removes a line.
#[utoipa::path(delete, path = "/v1/carts/{id}/lines/{line}", tag = "carts",
    params(("id" = String, Path), ("line" = String, Path), ("X-Cart-Token" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = CartView), outcomes::CartChange))]
pub async fn remove_line(
    State(edge): State<Edge>,
    Path((id, line)): Path<(CartId, LineId)>,
    write: Write<Nothing>,
) -> Result<Reply<CartView>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    change(&edge, &write, id, Command::RemoveLine { line }).await
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetContact {
    #[schema(value_type = String, format = Email)]
    email: Email,
    shipping_address: AddressBody,
    billing_address: Option<AddressBody>,
}

/// Says who buys and where it goes.
#[utoipa::path(put, path = "/v1/carts/{id}/contact", tag = "carts", request_body = SetContact,
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = CartView), outcomes::CartChange))]
pub async fn set_contact(
    State(edge): State<Edge>,
    Path(id): Path<CartId>,
    write: Write<SetContact>,
) -> Result<Reply<CartView>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    let SetContact { email, shipping_address, billing_address } = write.body.clone();
    let (shipping_address, _) = shipping_address.into();
    let billing_address = billing_address.map(|body| <(_, bool)>::from(body).0);
    let contact = Box::new(Contact { email, shipping_address, billing_address });
    change(&edge, &write, id, Command::SetContact { contact }).await
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    #[schema(value_type = String)]
    from_cart_id: CartId,
    /// Opens it, when it is a guest's.
    from_token: Option<String>,
    #[schema(value_type = MergeStrategy)]
    strategy: Strategy,
}

/// Takes over the lines of another cart, which is `merged` then.
#[utoipa::path(post, path = "/v1/carts/{id}/merge", tag = "carts", request_body = Merge,
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = CartView), outcomes::CartChange))]
pub async fn merge(State(edge): State<Edge>, Path(id): Path<CartId>, write: Write<Merge>) -> Result<Reply<CartView>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    let Merge { from_cart_id: from, from_token, strategy } = write.body.clone();
    if !from_token.is_some_and(|token| edge.keys.opens_cart(&token, from)) {
        must_open(&edge, &write.who, from, write.deadline).await?;
    }
    let command = Command::Merge { from, strategy };
    let answered = patience::ask::<Cart, _, _>(&edge, &write, &id, command, Wait::Settled).await?;
    let view = accepted(&edge, &answered)?;
    match answered.view.state.merge_refused(&write.request) {
        Some(refusal) => Err(merge_refused(refusal).replayed(answered.replayed)),
        None => Ok(reply(view).replayed(answered.replayed)),
    }
}

/// Whether this caller may open a cart. A guest's token proves it without a look at the cart: carts of users have
/// no tokens.
///
/// Errors: 404.
pub async fn must_open(edge: &Edge, who: &Who, id: CartId, deadline: Instant) -> Result<()> {
    if who.may_open_cart(edge, id, None) {
        return Ok(());
    }
    let cart = edge.client.read::<Cart>(&id, deadline).await?;
    if cart.state.id.is_some() && who.may_open_cart(edge, id, cart.state.user) {
        return Ok(());
    }
    Err(Code::NotFound.into())
}

async fn change<B, R: Rule>(edge: &Edge, write: &Write<B, R>, id: CartId, command: Command) -> Result<Reply<CartView>> {
    let answered = patience::ask::<Cart, _, _>(edge, write, &id, command, Wait::Durable).await?;
    Ok(reply(accepted(edge, &answered)?).replayed(answered.replayed))
}

/// The cart after an accepted command.
fn accepted(edge: &Edge, answered: &Answered<Cart>) -> Result<CartView> {
    match &answered.outcome {
        Ok(_) => shown(edge, &answered.view),
        Err(rejection) => Err(refusal(rejection).replayed(answered.replayed)),
    }
}

/// The cart with its warnings. Errors: 404 when nobody has created it.
fn shown(edge: &Edge, view: &View<Cart>) -> Result<CartView> {
    let skus = match view.state.status {
        CartStatus::Open => edge.projections.catalogue.skus(view.state.lines.iter().map(|line| &line.sku)),
        CartStatus::Completing | CartStatus::Completed | CartStatus::Merged | CartStatus::Expired => Vec::new(),
    };
    CartView::of(&view.state, view.version, &skus).ok_or_else(|| Code::NotFound.into())
}

/// Warnings come from the catalogue: with them the tag is one of the whole.
fn reply(view: CartView) -> Reply<CartView> {
    let version = view.version;
    match view.warnings.is_empty() {
        true => Reply::ok(view).version(version),
        false => Reply::ok(view).version_of_whole(version),
    }
}

/// What a cart's rejection means to a client.
pub fn refusal(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotFound | Rejection::LineNotFound => Code::NotFound.into(),
        Rejection::Closed { status: CartStatus::Expired } => Code::CartExpired.into(),
        Rejection::Closed {
            status: status @ (CartStatus::Open | CartStatus::Completing | CartStatus::Completed | CartStatus::Merged),
        } => Problem::new(Code::CartClosed).detail(format!("It is {status}.")).with("cart_status", status),
        Rejection::CompletionInProgress { order } => Problem::new(Code::CompletionInProgress).with("order_id", order),
        Rejection::MergeInProgress => Code::ChangeInProgress.into(),
        Rejection::UnknownSku { sku } => of_sku(Code::UnknownSku, sku),
        Rejection::Unpublished { sku } => of_sku(Code::UnpublishedSku, sku),
        Rejection::OtherCurrency { sku, currency } => {
            of_sku(Code::OtherCurrency, sku).detail(format!("SKU {sku} is priced in {currency}."))
        }
        Rejection::TooManyLines { limit } => too_many_lines(*limit),
        Rejection::QuantityTooLarge { limit } => {
            let why = format!("A line has at most {limit} pieces.");
            Problem::of_field(Fault::new(Code::OutOfRange, "/quantity").detail(why))
        }
        Rejection::SelfMerge => {
            let fault = Fault::new(Code::InvalidValue, "/from_cart_id");
            Problem::of_field(fault.detail("A cart cannot be merged into itself."))
        }
        Rejection::NotReady { requirements } => {
            let missing: Vec<_> = requirements.iter().copied().map(RequirementView::from).collect();
            Problem::new(Code::CartNotReady).with("requirements", missing)
        }
        Rejection::SkuGone { line, sku } => Problem::new(Code::SkuUnavailable)
            .detail(format!("SKU {sku} is no longer for sale."))
            .fault(Fault::new(Code::SkuUnavailable, format!("/lines/{line}/sku")).with("sku", sku)),
        // The cart changed between two reads, again and again.
        Rejection::OfferMissing { .. } => Code::ChangeInProgress.into(),
        // Answers a cart, which is not a client.
        Rejection::NotMerging => Code::Internal.into(),
    }
}

/// A 422 about the SKU that the body names.
fn of_sku(code: Code, sku: &Sku) -> Problem {
    Problem::new(code).fault(Fault::new(code, "/sku").with("sku", sku))
}

fn too_many_lines(limit: impl std::fmt::Display) -> Problem {
    Problem::new(Code::TooManyLines).detail(format!("A cart has at most {limit} lines."))
}

/// Why a merge did not come about. Both carts are as they were.
fn merge_refused(refusal: MergeRefusal) -> Problem {
    match refusal {
        MergeRefusal::SourceNotFound => Code::NotFound.into(),
        MergeRefusal::SourceClosed => Problem::new(Code::MergeNotPossible).detail("The other cart is no longer open."),
        MergeRefusal::SourceCompleting => {
            Problem::new(Code::CompletionInProgress).detail("The other cart is being completed.")
        }
        MergeRefusal::SourceMerging => Problem::new(Code::MergeNotPossible).detail("The other cart is being merged."),
        MergeRefusal::OtherCurrency => {
            Problem::new(Code::OtherCurrency).fault(Fault::new(Code::OtherCurrency, "/from_cart_id"))
        }
        MergeRefusal::TooManyLines => too_many_lines(crate::actors::cart::types::LINES_MAX),
        MergeRefusal::QuantityTooLarge => {
            let why = format!("A line has at most {} pieces.", Quantity::MAX);
            Problem::of_field(Fault::new(Code::OutOfRange, "/from_cart_id").detail(why))
        }
    }
}
