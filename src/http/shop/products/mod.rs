//! The catalogue as customers see it: published products, by list, id and slug.

pub mod rendered;
pub mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use tokio::time::Instant;

use crate::actors::categories::types::{Categories, State as CategoriesState};
use crate::actors::product::types::{Product, ProductStatus, State as ProductState};
use crate::actors::projections::Model;
use crate::actors::projections::catalogue::{Position, ProductQuery, SortBy, SortField};
use crate::actors::runtime::client::{AskError, View};
use crate::actors::slug::types::ProductSlug;
use crate::actors::values::{CategoryId, Only, ProductId};
use crate::filters;
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::request::extract::IdOrSlug;
use crate::http::request::lists::{self, PageParameters, PositionHeader};
use crate::http::request::query::{List, Listing, Page};
use crate::http::{Edge, Path, Read, Reply};
use rendered::RenderedProduct;
use view::ProductView;

filters! {
    /// What lists of products can be filtered by.
    pub enum ProductFilter {
        Price = "price" FilterKind::Integer,
        CreatedAt = "created_at" FilterKind::Time,
        SellerId = "seller_id" FilterKind::Text,
        Status = "status" FilterKind::Word(ProductStatus::WORDS),
    }
}

/// The list of published products.
pub struct Products;

/// As clients name the fields of [`SortField`].
pub const SORTS: &[&str] = &[SortField::CreatedAt.word(), SortField::Price.word(), SortField::Title.word()];

impl Listing for Products {
    type Filter = ProductFilter;
    const SORTS: &'static [&'static str] = SORTS;
    /// Of a product's status nothing but "published" is to be seen here.
    const FILTERS: &'static [ProductFilter] =
        &[ProductFilter::Price, ProductFilter::CreatedAt, ProductFilter::SellerId];
    const PARAMETERS: &'static [&'static str] = &["category", "ids"];
}

/// The most products of one batch.
const BATCH_MAX: usize = 100;

/// Published products, the newest first; or, with `ids`, those products. A product's price is that of its
/// cheapest variant.
#[utoipa::path(get, path = "/v1/products", tag = "catalogue", security(()),
    params(PageParameters, PositionHeader,
        ("category" = Option<String>, Query, description = "Id or slug of a category; those below it count too"),
        ("ids" = Option<String>, Query, description = "Ids or slugs, with commas between; nothing else may be given"),
        ("sort" = Option<String>, Query, description = "created_at, price, title; `-` in front: descending"),
        ("filter[price]" = Option<i64>, Query, description = "In minor units; also [gte], [gt], [lte], [lt]"),
        ("filter[created_at]" = Option<String>, Query, description = "A time; also [gte], [gt], [lte], [lt]"),
        ("filter[seller_id]" = Option<String>, Query)),
    responses((status = 200, body = Page<ProductView>), outcomes::BadQuery))]
pub async fn list(State(edge): State<Edge>, list: List<Products>, read: Read) -> Result<Reply<Page<RenderedProduct>>> {
    if let Some(ids) = list.parameter("ids") {
        return batch(&edge, &list, ids, read.deadline).await;
    }
    let query = ProductQuery { status: Some(ProductStatus::Published), ..query(&edge, &list).await? };
    page(&edge, &list, query, read.deadline).await
}

/// A published product.
#[utoipa::path(get, path = "/v1/products/{id}", tag = "catalogue", security(()),
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, body = ProductView),
        (status = 301, description = "Its slug has changed", headers(("Location" = String))), outcomes::Missing))]
pub async fn get(
    State(edge): State<Edge>,
    Path(place): Path<IdOrSlug<ProductId>>,
    read: Read,
) -> Result<Reply<RenderedProduct>> {
    match find(&edge, place.clone(), read.deadline).await? {
        Some(view) if is_published(&view) => show(&edge, &view.state, read.deadline).await,
        Some(_) => Err(Code::NotFound.into()),
        None => {
            let view = renamed(&edge, place, read.deadline).await?.filter(is_published).ok_or(Code::NotFound)?;
            let slug = view.state.slug.as_ref().ok_or(Code::NotFound)?;
            // One redirect, however often the product was renamed.
            Ok(Reply::moved(format!("/v1/products/{slug}")))
        }
    }
}

/// The product that had this slug before, if no other product has it now.
async fn renamed(edge: &Edge, place: IdOrSlug<ProductId>, deadline: Instant) -> Result<Option<View<Product>>> {
    let IdOrSlug::Slug(slug) = place else { return Ok(None) };
    let Some(id) = edge.client.read::<ProductSlug>(&slug, deadline).await?.state.moved_to() else { return Ok(None) };
    let view = edge.client.read::<Product>(&id, deadline).await?;
    Ok(view.state.content.is_some().then_some(view))
}

fn is_published(view: &View<Product>) -> bool {
    view.state.content.as_ref().is_some_and(|content| content.status == ProductStatus::Published)
}

/// The products named by `ids` that exist, in this order.
async fn batch(
    edge: &Edge,
    list: &List<Products>,
    ids: &str,
    deadline: Instant,
) -> Result<Reply<Page<RenderedProduct>>> {
    let invalid = |why: &str| Problem::new(Code::InvalidParameter).detail(format!("ids: {why}."));
    let names: Vec<&str> = ids.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.len() > BATCH_MAX {
        return Err(invalid("at most 100"));
    }
    let mut found = Vec::new();
    for name in names {
        let place = place_of(name).ok_or_else(|| invalid("expected ids of products"))?;
        found.extend(led_to(edge, place, deadline).await?);
    }
    let views = lists::read_all::<Product>(edge, found, deadline).await?;
    let shown = show_all(edge, views.into_iter().filter(is_published), deadline).await?;
    let total = shown.len() as u64;
    Ok(list.page(edge, shown, None, Some(total)))
}

fn place_of(name: &str) -> Option<IdOrSlug<ProductId>> {
    name.parse().map(IdOrSlug::Id).or_else(|_| name.parse().map(IdOrSlug::Slug)).ok()
}

/// The filters and sorts of a list of products, and the categories that it means, once the read model has what the list
/// waits for.
pub async fn query(edge: &Edge, list: &List<impl Listing<Filter = ProductFilter>>) -> Result<ProductQuery> {
    lists::caught_up_to(edge, Model::Catalogue, &list.positions).await;
    let mut query = ProductQuery { limit: list.limit, count: list.with_total, ..ProductQuery::default() };
    for filter in &list.filters {
        match filter.name {
            ProductFilter::Price => lists::narrow(&mut query.price, filter),
            ProductFilter::CreatedAt => lists::narrow(&mut query.created_at, filter),
            ProductFilter::Status => query.status = Some(lists::word(filter)?),
            ProductFilter::SellerId => query.seller = Some(lists::word(filter)?),
        }
    }
    let field = |name| SortField::ALL.into_iter().find(|field| field.word() == name);
    let sorts =
        list.sorts.iter().filter_map(|sort| Some(SortBy { field: field(sort.field)?, descending: sort.descending }));
    query.sorts = sorts.collect();
    query.categories = list.parameter("category").map(|name| subtree(&edge.projections.catalogue.categories(), name));
    query.after = list.after.as_deref().map(position).transpose()?;
    Ok(query)
}

fn position(cursor: &str) -> Result<Position> {
    serde_json::from_str(cursor).map_err(|_| Code::InvalidCursor.into())
}

/// The category that `name` is the id or slug of (or was, while no other has that slug), and everything below it;
/// nothing if there is none.
fn subtree(categories: &CategoriesState, name: &str) -> BTreeSet<CategoryId> {
    let by_slug = || categories.led_to(&name.parse().ok()?);
    let top = name.parse().ok().or_else(by_slug);
    let tree = categories.tree();
    let mut found: BTreeSet<CategoryId> = BTreeSet::new();
    let mut open: Vec<CategoryId> = top.into_iter().collect();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(tree.get(&Some(id)).into_iter().flatten().map(|(child, _)| *child));
        }
    }
    found
}

/// A page of products: found in the read model by a [`query`], read from the products themselves.
pub async fn page<L: Listing>(
    edge: &Edge,
    list: &List<L>,
    query: ProductQuery,
    deadline: Instant,
) -> Result<Reply<Page<RenderedProduct>>> {
    let found = edge.projections.catalogue.find(&query).await;
    let next = found.next.map(|position| serde_json::to_string(&position)).transpose();
    let next = next.map_err(|_| Problem::new(Code::Internal))?;
    let views = lists::read_all::<Product>(edge, found.ids, deadline).await?;
    // The list may be a moment old: products that are not published any more are left out.
    let still = |view: &View<Product>| {
        view.state.content.as_ref().is_some_and(|content| query.status.is_none_or(|status| content.status == status))
    };
    let shown = show_all(edge, views.into_iter().filter(still), deadline).await?;
    Ok(list.page(edge, shown, next, found.total))
}

/// The product with this id or slug, if its creation has succeeded.
pub async fn find(edge: &Edge, place: IdOrSlug<ProductId>, deadline: Instant) -> Result<Option<View<Product>>> {
    let Some(id) = id_of(edge, place, deadline).await? else { return Ok(None) };
    let view = edge.client.read::<Product>(&id, deadline).await?;
    Ok(view.state.content.is_some().then_some(view))
}

async fn id_of(edge: &Edge, place: IdOrSlug<ProductId>, deadline: Instant) -> Result<Option<ProductId>> {
    match place {
        IdOrSlug::Id(id) => Ok(Some(id)),
        IdOrSlug::Slug(slug) => Ok(edge.client.read::<ProductSlug>(&slug, deadline).await?.state.product),
    }
}

/// The same for a list of names, where a former slug leads to its product as it does in a path.
async fn led_to(edge: &Edge, place: IdOrSlug<ProductId>, deadline: Instant) -> Result<Option<ProductId>> {
    match place {
        IdOrSlug::Id(id) => Ok(Some(id)),
        IdOrSlug::Slug(slug) => {
            let view = edge.client.read::<ProductSlug>(&slug, deadline).await?;
            Ok(view.state.product.or_else(|| view.state.moved_to()))
        }
    }
}

/// A product as it is shown. Its stock bands are the SKUs', so the tag is one of the whole.
pub async fn view(edge: &Edge, state: &Arc<ProductState>, deadline: Instant) -> Result<RenderedProduct> {
    let categories = categories_of(edge, named_by(state), deadline).await?;
    edge.rendered_products.of(state, categories.as_ref()).ok_or_else(|| Code::NotFound.into())
}

/// The answer that shows a product.
pub async fn show(edge: &Edge, state: &Arc<ProductState>, deadline: Instant) -> Result<Reply<RenderedProduct>> {
    let shown = view(edge, state, deadline).await?;
    let tag = shown.tag().to_owned();
    Ok(Reply::ok(shown).tag(tag))
}

async fn show_all(
    edge: &Edge,
    views: impl Iterator<Item = View<Product>>,
    deadline: Instant,
) -> Result<Vec<RenderedProduct>> {
    let views: Vec<_> = views.collect();
    let named: Vec<CategoryId> = views.iter().flat_map(|view| named_by(&view.state)).copied().collect();
    let categories = categories_of(edge, &named, deadline).await?;
    Ok(views.iter().filter_map(|view| edge.rendered_products.of(&view.state, categories.as_ref())).collect())
}

/// A category tree that is new enough to show these categories: the one that is known here, unless it lacks one
/// of them (it may have been added a moment ago, on another node). `None` when its stored data is damaged: products
/// are shown all the same.
async fn categories_of(edge: &Edge, named: &[CategoryId], deadline: Instant) -> Result<Option<Arc<CategoriesState>>> {
    let known = edge.projections.catalogue.categories();
    if named.iter().all(|id| known.categories.contains_key(id)) {
        return Ok(Some(known));
    }
    match edge.client.read::<Categories>(&Only, deadline).await {
        Ok(view) => Ok(Some(view.state)),
        Err(AskError::Damaged | AskError::Quarantined) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn named_by(product: &ProductState) -> &[CategoryId] {
    product.content.as_ref().map_or(&[], |content| &content.category_ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::categories::types::{Category, Former};
    use crate::actors::values::Time;

    #[test]
    fn a_category_is_found_by_id_or_slug_with_everything_below_it() {
        let category = |slug: &str, parent: Option<u128>| Category {
            slug: slug.parse().expect("a slug"),
            title: slug.into(),
            parent: parent.map(CategoryId),
            position: 0,
            version: 1,
            created_at: Time(0),
            updated_at: Time(0),
        };
        let all = [(1, category("tops", None)), (2, category("tees", Some(1))), (3, category("shoes", None))];
        let state = CategoriesState {
            slugs: all.iter().map(|(id, category)| (category.slug.clone(), CategoryId(*id))).collect(),
            former: [("shirts".parse().expect("a slug"), Former { category: CategoryId(1), version: 2 })].into(),
            categories: all.into_iter().map(|(id, category)| (CategoryId(id), category)).collect(),
        };
        let ids = |name: &str| subtree(&state, name).into_iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(ids("tops"), [1, 2]);
        assert_eq!(ids(&CategoryId(2).to_string()), [2]);
        assert_eq!(ids("shirts"), [1, 2], "as it was called before");
        assert_eq!(ids("hats"), [] as [u128; 0]);
    }
}
