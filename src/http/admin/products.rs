//! Products as administrators and sellers see and change them, drafts too. A seller sees and changes only his own.

use std::collections::BTreeSet;

use axum::extract::State;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::actors::categories::types::Categories;
use crate::actors::product::types::{
    Command, NewProduct, NewVariant, Patch, Product, ProductStatus, Refusal, RefusalCode, Rejection, VARIANTS_MAX,
};
use crate::actors::projections::Model;
use crate::actors::projections::catalogue::ProductQuery;
use crate::actors::runtime::client::{View, Wait};
use crate::actors::slug::types::ProductSlug;
use crate::actors::values::{CategoryId, Only, ProductId, RequestId, Sku, Slug, VariantId};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Fault, Problem, Result};
use crate::http::request::caller::Staff;
use crate::http::request::extract::{IdOrSlug, IfMatch};
use crate::http::request::fields::{Price, Texts};
use crate::http::request::json::{self, Nothing, Prose, Text};
use crate::http::request::lists::{self, PageParameters, PositionHeader};
use crate::http::request::patience;
use crate::http::request::query::{List, Listing, Page};
use crate::http::shop::categories::stale;
use crate::http::shop::products::rendered::RenderedProduct;
use crate::http::shop::products::view::{self as product, ProductView};
use crate::http::shop::products::{self, ProductFilter};
use crate::http::{Edge, Path, Read, Reply, Write};

/// The list of all products, drafts and archived ones too.
pub struct AllProducts;

impl Listing for AllProducts {
    type Filter = ProductFilter;
    const SORTS: &'static [&'static str] = products::SORTS;
    const PARAMETERS: &'static [&'static str] = &["category"];
}

/// All products, the newest first; a seller sees his own.
#[utoipa::path(get, path = "/v1/admin/products", tag = "admin",
    params(PageParameters, PositionHeader,
        ("category" = Option<String>, Query, description = "Id or slug of a category; those below it count too"),
        ("sort" = Option<String>, Query, description = "created_at, price, title; `-` in front: descending"),
        ("filter[status]" = Option<product::ProductStatus>, Query),
        ("filter[price]" = Option<i64>, Query, description = "In minor units; also [gte], [gt], [lte], [lt]"),
        ("filter[created_at]" = Option<String>, Query, description = "A time; also [gte], [gt], [lte], [lt]"),
        ("filter[seller_id]" = Option<String>, Query)),
    responses((status = 200, body = Page<ProductView>), outcomes::AdminList))]
pub async fn list(
    State(edge): State<Edge>,
    staff: Staff,
    list: List<AllProducts>,
    read: Read,
) -> Result<Reply<Page<RenderedProduct>>> {
    let query = products::query(&edge, &list).await?;
    let seller = if staff.is_admin() { query.seller } else { Some(staff.0.user) };
    products::page(&edge, &list, ProductQuery { seller, ..query }, read.deadline).await
}

/// A product, whatever its status.
#[utoipa::path(get, path = "/v1/admin/products/{id}", tag = "admin",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, body = ProductView), outcomes::AdminRead))]
pub async fn get(
    State(edge): State<Edge>,
    staff: Staff,
    Path(place): Path<IdOrSlug<ProductId>>,
    read: Read,
) -> Result<Reply<RenderedProduct>> {
    let view = own(&edge, &staff, place, read.deadline).await?;
    products::show(&edge, &view.state, read.deadline).await
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantBody {
    #[schema(value_type = String, example = "TEE-M")]
    sku: Sku,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    options: Texts,
    price: Price,
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProductBody {
    #[schema(value_type = String, max_length = 255)]
    title: Text<255>,
    /// Made from the title when it is not given.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>)]
    slug: Option<Slug>,
    #[schema(value_type = Option<String>, max_length = 20000)]
    description: Option<Description>,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = Vec<String>)]
    category_ids: Vec<CategoryId>,
    #[serde(default, deserialize_with = "json::or_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    attributes: Texts,
    /// A draft when it is not given.
    #[schema(value_type = Option<product::ProductStatus>)]
    status: Option<ProductStatus>,
    #[serde(default, deserialize_with = "json::or_empty")]
    variants: Vec<VariantBody>,
}

type Description = Prose<20_000>;

/// Adds a product. A seller's belongs to him.
#[utoipa::path(post, path = "/v1/admin/products", tag = "admin", request_body = NewProductBody,
    responses((status = 201, body = ProductView), outcomes::AdminCreate))]
pub async fn create(
    State(edge): State<Edge>,
    staff: Staff,
    write: Write<NewProductBody>,
) -> Result<Reply<RenderedProduct>> {
    let id = ProductId::derived(&write.request, 0);
    let NewProductBody { title, slug, description, category_ids, attributes, status, variants } = write.body.clone();
    let product = NewProduct {
        id,
        title: title.0.into(),
        slug,
        description: description.map_or_else(String::new, |text| text.0).into(),
        category_ids: distinct(category_ids),
        attributes: attributes.0,
        status: status.unwrap_or(ProductStatus::Draft),
        seller: (!staff.is_admin()).then_some(staff.0.user),
        variants: new_variants(&variants, &write.request)?,
    };
    if write.repeat::<Product>(&edge, &id, Wait::Settled).await?.is_none() {
        categories_exist(&edge, &product.category_ids, write.deadline).await?;
    }
    let command = |_| Command::Create { product: Box::new(product.clone()) };
    let (view, replayed) = settle(&edge, &write, id, IfMatch::Absent, command).await?;
    let shown = products::view(&edge, &view.state, write.deadline).await?;
    let tag = shown.tag().to_owned();
    Ok(Reply::created(format!("/v1/admin/products/{id}"), shown).tag(tag).position(view.position).replayed(replayed))
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchProduct {
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String, required = false, max_length = 255)]
    title: Option<Text<255>>,
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String, required = false)]
    slug: Option<Slug>,
    /// `null` makes it empty, here and below.
    #[serde(default, deserialize_with = "json::clearable")]
    #[schema(value_type = Option<String>, max_length = 20000)]
    description: Option<Description>,
    #[serde(default, deserialize_with = "json::clearable")]
    #[schema(value_type = Option<Vec<String>>)]
    category_ids: Option<Vec<CategoryId>>,
    #[serde(default, deserialize_with = "json::clearable")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    attributes: Option<Texts>,
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = product::ProductStatus, required = false)]
    status: Option<ProductStatus>,
    /// The whole list: a SKU that is not in it leaves the product; one that stays keeps its variant id.
    #[serde(default, deserialize_with = "json::clearable")]
    variants: Option<Vec<VariantBody>>,
}

/// Changes a product.
#[utoipa::path(patch, path = "/v1/admin/products/{id}", tag = "admin", request_body = PatchProduct,
    params(("id" = String, Path, description = "Id or slug"), ("If-Match" = String, Header)),
    responses((status = 200, body = ProductView), outcomes::GuardedChange))]
pub async fn change(
    State(edge): State<Edge>,
    staff: Staff,
    Path(place): Path<IdOrSlug<ProductId>>,
    mut write: Write<PatchProduct>,
) -> Result<Reply<RenderedProduct>> {
    write.must_match()?;
    let id = own_id(&edge, &staff, place, &write).await?;
    let body = write.body.clone();
    let patch = Patch {
        title: body.title.map(|text| text.0.into()),
        slug: body.slug,
        description: body.description.map(|text| text.0.into()),
        category_ids: body.category_ids.map(distinct),
        attributes: body.attributes.map(|texts| texts.0),
        status: body.status,
        variants: body.variants.map(|variants| new_variants(&variants, &write.request)).transpose()?,
    };
    let wanted = std::mem::take(&mut write.if_match);
    if let Some(named) = &patch.category_ids
        && write.repeat::<Product>(&edge, &id, Wait::Settled).await?.is_none()
    {
        categories_exist(&edge, named, write.deadline).await?;
    }
    let command = |if_version| Command::Update { if_version, patch: Box::new(patch.clone()) };
    let (view, replayed) = settle(&edge, &write, id, wanted, command).await?;
    Ok(products::show(&edge, &view.state, write.deadline).await?.position(view.position).replayed(replayed))
}

/// Archives a product: it is no longer shown or sold, and can come back.
#[utoipa::path(delete, path = "/v1/admin/products/{id}", tag = "admin",
    params(("id" = String, Path, description = "Id or slug"), ("If-Match" = String, Header)),
    responses((status = 200, body = ProductView), outcomes::GuardedChange))]
pub async fn archive(
    State(edge): State<Edge>,
    staff: Staff,
    Path(place): Path<IdOrSlug<ProductId>>,
    mut write: Write<Nothing>,
) -> Result<Reply<RenderedProduct>> {
    write.must_match()?;
    let id = own_id(&edge, &staff, place, &write).await?;
    let wanted = std::mem::take(&mut write.if_match);
    let (view, replayed) = settle(&edge, &write, id, wanted, |if_version| Command::Archive { if_version }).await?;
    Ok(products::show(&edge, &view.state, write.deadline).await?.position(view.position).replayed(replayed))
}

/// The product, if this caller may change it.
async fn own(edge: &Edge, staff: &Staff, place: IdOrSlug<ProductId>, deadline: Instant) -> Result<View<Product>> {
    let found = products::find(edge, place, deadline).await?;
    let may_touch =
        |view: &View<Product>| view.state.content.as_ref().is_some_and(|content| staff.may_touch(content.seller));
    found.filter(may_touch).ok_or_else(|| Code::NotFound.into())
}

/// The product's id. For an administrator who gives an id nothing is read: the product itself refuses if it does not
/// exist.
async fn own_id<B>(edge: &Edge, staff: &Staff, place: IdOrSlug<ProductId>, write: &Write<B>) -> Result<ProductId> {
    let place = match place {
        IdOrSlug::Id(id) if staff.is_admin() => return Ok(id),
        IdOrSlug::Id(id) => IdOrSlug::Id(id),
        IdOrSlug::Slug(slug) => match asked_before(edge, &slug, write).await? {
            Some(id) => IdOrSlug::Id(id),
            None => IdOrSlug::Slug(slug),
        },
    };
    own(edge, staff, place, write.deadline).await?.state.id.ok_or_else(|| Code::NotFound.into())
}

/// The product that this request was first asked of, by a slug that the product has given up since. A repeat is about
/// that product, and not about the one that has the slug now.
async fn asked_before<B>(edge: &Edge, slug: &Slug, write: &Write<B>) -> Result<Option<ProductId>> {
    if !write.is_keyed() {
        return Ok(None);
    }
    let view = edge.client.read::<ProductSlug>(slug, write.deadline).await?;
    for id in view.state.former.iter().rev() {
        if write.repeat::<Product>(edge, id, Wait::Durable).await?.is_some() {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Starts a change and waits until it is through: until every SKU sells what the product says.
///
/// The precondition is about the product as clients see it and not about each change of its stock. So it goes into the
/// command and is taken off the request.
async fn settle<B>(
    edge: &Edge,
    write: &Write<B>,
    id: ProductId,
    wanted: IfMatch,
    command: impl Fn(Option<u64>) -> Command,
) -> Result<(View<Product>, bool)> {
    let mut if_version = match wanted.decided() {
        Some(if_version) => if_version,
        None => wanted.at(edge.client.read::<Product>(&id, write.deadline).await?.state.version),
    };
    let answered = loop {
        let answered = patience::ask::<Product, _, _>(edge, write, &id, command(if_version), Wait::Settled).await?;
        match answered.outcome {
            Err(Rejection::Stale { current }) if wanted.goes_on(if_version, current) => if_version = Some(current),
            Ok(_) | Err(_) => break answered,
        }
    };
    let replayed = answered.replayed;
    if let Err(rejection) = &answered.outcome {
        return Err(rejected(rejection).replayed(replayed));
    }
    if let Some(refusal) = answered.view.state.refused(&write.request) {
        return Err(refused(refusal).replayed(replayed));
    }
    // Carts take their warnings from this read model: from now on it has the new state.
    lists::caught_up(edge, Model::Stock).await;
    Ok((answered.view, replayed))
}

fn distinct(mut ids: Vec<CategoryId>) -> Vec<CategoryId> {
    let mut seen = BTreeSet::new();
    ids.retain(|id| seen.insert(*id));
    ids
}

/// Variants with ids of their own. Errors: 422 for too many.
fn new_variants(variants: &[VariantBody], request: &RequestId) -> Result<Vec<NewVariant>> {
    if variants.len() > VARIANTS_MAX {
        return Err(too_many_variants(VARIANTS_MAX));
    }
    let variant = |(n, body): (u32, &VariantBody)| NewVariant {
        id: VariantId::derived(request, n),
        sku: body.sku.clone(),
        options: body.options.0.clone(),
        price: body.price.into(),
    };
    Ok((0..).zip(variants).map(variant).collect())
}

/// Errors: 422 with a pointer to the first category that does not exist.
async fn categories_exist(edge: &Edge, named: &[CategoryId], deadline: Instant) -> Result<()> {
    if named.is_empty() {
        return Ok(());
    }
    let tree = edge.client.read::<Categories>(&Only, deadline).await?;
    match named.iter().position(|id| !tree.state.categories.contains_key(id)) {
        Some(place) => Err(Problem::of_field(Fault::new(Code::UnknownCategory, format!("/category_ids/{place}")))),
        None => Ok(()),
    }
}

fn too_many_variants(limit: impl std::fmt::Display) -> Problem {
    let why = format!("A product has at most {limit} variants.");
    Problem::of_field(Fault::new(Code::OutOfRange, "/variants").detail(why))
}

/// What a product's rejection means to a merchant.
pub(in crate::http) fn rejected(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotFound => Code::NotFound.into(),
        Rejection::ChangeInProgress => Code::ChangeInProgress.into(),
        Rejection::Stale { current } => stale(*current),
        Rejection::TooManyVariants { limit } => too_many_variants(limit),
        Rejection::DuplicateSku { sku, variant } => {
            let fault = Fault::new(Code::InvalidValue, format!("/variants/{variant}/sku"));
            Problem::of_field(fault.detail("Another variant has this SKU.").with("sku", sku))
        }
    }
}

/// The problem for a change that was refused because another product has the slug or a SKU.
pub(in crate::http) fn refused(refusal: &Refusal) -> Problem {
    match refusal.code {
        RefusalCode::SlugTaken => {
            let fault = Fault::new(Code::SlugTaken, "/slug").with("slug", &refusal.slug);
            Problem::new(Code::SlugTaken).fault(fault)
        }
        RefusalCode::SkuTaken => {
            let pointer = refusal.variant.map_or("/variants".into(), |place| format!("/variants/{place}/sku"));
            Problem::new(Code::SkuTaken).fault(Fault::new(Code::SkuTaken, pointer).with("sku", &refusal.sku))
        }
    }
}
