//! Carts: creating, filling, merging. How one is completed stands in [`completion`](super::completion).

mod answers;
mod merging;
mod refusals;
pub mod view;

use axum::extract::State;
use serde::{Deserialize, Deserializer, de};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::actors::cart::types::{Cart, CartStatus, Command, LINES_AT_ONCE_MAX, MergeStrategy as Strategy, NewLine};
use crate::actors::customer::types::Customer;
use crate::actors::runtime::client::Wait;
use crate::actors::sku::types::StockUnit;
use crate::actors::values::{CartId, Contact, Currency, Email, LineId, Quantity, Sku};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Result};
use crate::http::request::address::AddressBody;
use crate::http::request::caller::{SignedIn, Who};
use crate::http::request::fields::{Metadata, pieces_or_none};
use crate::http::request::idempotency::Rule;
use crate::http::request::json::{self, Nothing, Text};
use crate::http::request::lists;
use crate::http::request::patience;
use crate::http::{Edge, Path, Read, Reply, Write};
use answers::{ReadSkus, Touched, accepted, reply, shown, whole};
pub use refusals::{merge_refused, refusal};
use view::{CartAnswer, CartSummary, CartView, MergeStrategy};

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCart {
    /// GBP when it is not given.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, example = "GBP")]
    currency: Option<Currency>,
    /// The client's own name for it.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 255)]
    reference: Option<Text<255>>,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    metadata: Metadata,
}

/// Opens a cart. A guest gets the token that opens it.
#[utoipa::path(post, path = "/v1/carts", tag = "carts", request_body = NewCart,
    params(("Prefer" = Option<String>, Header)),
    responses((status = 201, body = CartAnswer), outcomes::Creating))]
pub async fn create(State(edge): State<Edge>, write: Write<NewCart>) -> Result<Reply<CartAnswer>> {
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
    let token = if user.is_none() { Some(edge.keys.get()?.cart_token(id)) } else { None };
    let answer = match accepted(&edge, &write, &answered, Touched::Nothing)? {
        CartAnswer::Whole(view) => CartAnswer::Whole(Box::new(CartView { token, ..*view })),
        CartAnswer::Minimal(summary) => CartAnswer::Minimal(CartSummary { token, ..summary }),
    };
    let version = answered.view.version;
    let reply = Reply::created(format!("/v1/carts/{id}"), answer).version(version);
    Ok(reply.minimal(write.minimal).replayed(answered.replayed))
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
    Ok(whole(shown(&edge, &view)?))
}

/// My latest open cart.
#[utoipa::path(get, path = "/v1/me/cart", tag = "me", responses((status = 200, body = CartView), outcomes::Mine))]
pub async fn mine(State(edge): State<Edge>, me: SignedIn, read: Read) -> Result<Reply<CartView>> {
    let customer = edge.client.read::<Customer>(&me.user, read.deadline).await?;
    for (id, _) in customer.state.open_carts.iter().rev() {
        let view = edge.client.read::<Cart>(id, read.deadline).await?;
        // The list learns a moment later that a cart has closed.
        if matches!(view.state.status, CartStatus::Open | CartStatus::Completing) {
            return Ok(whole(shown(&edge, &view)?));
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

/// One line, or several.
#[derive(Clone, ToSchema)]
#[serde(untagged)]
pub enum NewLines {
    One(AddLine),
    Many(AddLines),
}

#[derive(Clone, ToSchema)]
pub struct AddLines {
    /// All of them are added or none. A SKU that is in the list twice adds up.
    #[schema(min_items = 1, max_items = 500)]
    lines: Vec<AddLine>,
}

/// By hand, because an untagged enum could not say at which field a body is wrong.
impl<'de> Deserialize<'de> for NewLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<NewLines, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(default, deserialize_with = "listed")]
            lines: Option<Vec<AddLine>>,
            #[serde(default, deserialize_with = "given")]
            sku: Option<Sku>,
            #[serde(default, deserialize_with = "given")]
            quantity: Option<Quantity>,
        }
        let Fields { lines, sku, quantity } = Fields::deserialize(deserializer)?;
        match (lines, sku, quantity) {
            (Some(lines), None, None) => Ok(NewLines::Many(AddLines { lines })),
            (Some(_), ..) => Err(de::Error::custom("expected sku and quantity, or lines, and not both")),
            (None, Some(sku), Some(quantity)) => Ok(NewLines::One(AddLine { sku, quantity })),
            (None, None, _) => Err(de::Error::missing_field("sku")),
            (None, Some(_), None) => Err(de::Error::missing_field("quantity")),
        }
    }
}

/// A field that is there; `null` is no value of it.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn listed<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Vec<AddLine>>, D::Error> {
    let lines = Vec::deserialize(deserializer)?;
    if (1..=LINES_AT_ONCE_MAX).contains(&lines.len()) {
        Ok(Some(lines))
    } else {
        Err(de::Error::custom(format!("expected a list of 1 to {LINES_AT_ONCE_MAX} lines")))
    }
}

/// Adds pieces of a SKU, or of up to 500 (all or none). A SKU that is there already grows; the price comes from
/// the catalogue.
#[utoipa::path(post, path = "/v1/carts/{id}/lines", tag = "carts", request_body = NewLines,
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header), ("If-Match" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = CartAnswer), outcomes::CartChange))]
pub async fn add_lines(
    State(edge): State<Edge>,
    Path(id): Path<CartId>,
    write: Write<NewLines>,
) -> Result<Reply<CartAnswer>> {
    let lines = match &write.body {
        NewLines::One(line) => std::slice::from_ref(line),
        NewLines::Many(AddLines { lines }) => lines,
    };
    let skus = lines.iter().map(|line| line.sku.clone()).collect();
    let (read, ()) =
        tokio::try_join!(read_skus(&edge, skus, write.deadline), must_open(&edge, &write.who, id, write.deadline))?;
    let new = |AddLine { sku, quantity }: &AddLine| NewLine {
        sku: sku.clone(),
        quantity: *quantity,
        offer: read.of(sku).and_then(|view| view.state.offer.clone()),
    };
    let command = match &write.body {
        NewLines::One(line) => {
            let NewLine { sku, quantity, offer } = new(line);
            Command::AddLine { sku, quantity, offer }
        }
        NewLines::Many(AddLines { lines }) => Command::AddLines { lines: lines.iter().map(new).collect() },
    };
    change(&edge, &write, id, command, Touched::Skus(&read)).await
}

async fn read_skus(edge: &Edge, mut skus: Vec<Sku>, deadline: Instant) -> Result<ReadSkus> {
    skus.sort_unstable();
    skus.dedup();
    let views = lists::read_all::<StockUnit>(edge, skus.clone(), deadline).await?;
    Ok(ReadSkus::new(skus.into_iter().zip(views).collect()))
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
        ("If-Match" = Option<String>, Header), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = CartAnswer), outcomes::CartChange))]
pub async fn set_quantity(
    State(edge): State<Edge>,
    Path((id, line)): Path<(CartId, LineId)>,
    write: Write<SetQuantity>,
) -> Result<Reply<CartAnswer>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    change(&edge, &write, id, Command::SetQuantity { line, quantity: write.body.quantity }, Touched::Line(line)).await
}

/// Removes a line.
#[utoipa::path(delete, path = "/v1/carts/{id}/lines/{line}", tag = "carts",
    params(("id" = String, Path), ("line" = String, Path), ("X-Cart-Token" = Option<String>, Header),
        ("If-Match" = Option<String>, Header), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = CartAnswer), outcomes::CartChange))]
pub async fn remove_line(
    State(edge): State<Edge>,
    Path((id, line)): Path<(CartId, LineId)>,
    write: Write<Nothing>,
) -> Result<Reply<CartAnswer>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    change(&edge, &write, id, Command::RemoveLine { line }, Touched::Nothing).await
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
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header), ("If-Match" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = CartAnswer), outcomes::CartChange))]
pub async fn set_contact(
    State(edge): State<Edge>,
    Path(id): Path<CartId>,
    write: Write<SetContact>,
) -> Result<Reply<CartAnswer>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    let SetContact { email, shipping_address, billing_address } = write.body.clone();
    let (shipping_address, _) = shipping_address.into();
    let billing_address = billing_address.map(|body| <(_, bool)>::from(body).0);
    let contact = Box::new(Contact { email, shipping_address, billing_address });
    change(&edge, &write, id, Command::SetContact { contact }, Touched::Nothing).await
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    #[schema(value_type = String)]
    from_cart_id: CartId,
    /// Opens it, when it is a guest's.
    #[serde(default, deserialize_with = "json::filled")]
    from_token: Option<String>,
    #[schema(value_type = MergeStrategy)]
    strategy: Strategy,
}

/// Takes over the lines of another cart, which is `merged` then.
#[utoipa::path(post, path = "/v1/carts/{id}/merge", tag = "carts", request_body = Merge,
    params(("id" = String, Path), ("X-Cart-Token" = Option<String>, Header), ("If-Match" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = CartAnswer), outcomes::CartChange))]
pub async fn merge(State(edge): State<Edge>, Path(id): Path<CartId>, write: Write<Merge>) -> Result<Reply<CartAnswer>> {
    must_open(&edge, &write.who, id, write.deadline).await?;
    let Merge { from_cart_id: from, from_token, strategy } = write.body.clone();
    let keys = edge.keys.get()?;
    if !from_token.is_some_and(|token| keys.opens_cart(&token, from)) {
        must_open(&edge, &write.who, from, write.deadline).await?;
    }
    let command = Command::Merge { from, strategy };
    let merging::Merged { answered, refusal } = merging::merge(&edge, &write, (id, from), command).await?;
    let answer = accepted(&edge, &write, &answered, Touched::Everything)?;
    match refusal {
        Some(refusal) => Err(merge_refused(refusal).replayed(answered.replayed)),
        None => Ok(reply(answer).replayed(answered.replayed)),
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

async fn change<B, R: Rule>(
    edge: &Edge,
    write: &Write<B, R>,
    id: CartId,
    command: Command,
    touched: Touched<'_>,
) -> Result<Reply<CartAnswer>> {
    let answered = patience::ask::<Cart, _, _>(edge, write, &id, command, Wait::Durable).await?;
    Ok(reply(accepted(edge, write, &answered, touched)?).replayed(answered.replayed))
}
