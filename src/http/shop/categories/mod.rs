//! The category tree: for everybody to read, for administrators to change. It is one entity, but each
//! category has a version of its own, which `If-Match` is compared with.

pub mod view;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::categories::types::{self as categories, Categories, Command, Rejection};
use crate::actors::projections::Model;
use crate::actors::runtime::client::{Answered, Wait};
use crate::actors::values::{CategoryId, Only, Slug};
use crate::http::answer::outcomes;
use crate::http::answer::problem::{Code, Fault, Problem, Result};
use crate::http::request::caller::Admin;
use crate::http::request::extract::IdOrSlug;
use crate::http::request::json::{self, Nothing, Text};
use crate::http::request::lists;
use crate::http::request::query::{Page, PageInfo};
use crate::http::{Edge, Path, Read, Reply, Write};
use view::CategoryView;

/// The whole tree: roots, each with its children.
#[utoipa::path(get, path = "/v1/categories", tag = "catalogue", security(()),
    responses((status = 200, body = Page<CategoryView>)))]
pub async fn tree(State(edge): State<Edge>, read: Read) -> Result<Reply<Page<CategoryView>>> {
    let view = edge.client.read::<Categories>(&Only, read.deadline).await?;
    let page = PageInfo { next_cursor: None, has_more: false, total: None };
    Ok(Reply::ok(Page { data: CategoryView::roots(&view.state), page }).version(view.version))
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCategory {
    #[schema(value_type = String, max_length = 200)]
    title: Text<200>,
    /// Made from the title when it is not given.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>)]
    slug: Option<Slug>,
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>)]
    parent_id: Option<CategoryId>,
    /// Behind its siblings when it is not given.
    position: Option<i64>,
}

/// Adds a category.
#[utoipa::path(post, path = "/v1/admin/categories", tag = "admin", request_body = NewCategory,
    responses((status = 201, body = CategoryView), outcomes::AdminCreate))]
pub async fn create(State(edge): State<Edge>, _: Admin, write: Write<NewCategory>) -> Result<Reply<CategoryView>> {
    let id = CategoryId::derived(&write.request, 0);
    let NewCategory { title, slug, parent_id, position } = write.body.clone();
    let command = Command::Create { id, title: title.0, slug, parent: parent_id, position };
    let answered = write.ask::<Categories>(&edge, &Only, command, Wait::Durable).await?;
    let view = changed(&edge, &answered).await?;
    let version = view.version;
    let location = format!("/v1/admin/categories/{id}");
    let reply = Reply::created(location, view).version_of_whole(version);
    Ok(reply.position(answered.view.position).replayed(answered.replayed))
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchCategory {
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String, required = false, max_length = 200)]
    title: Option<Text<200>>,
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String, required = false)]
    slug: Option<Slug>,
    /// `null` makes it a root.
    #[serde(default, deserialize_with = "json::filled_or_none")]
    #[schema(value_type = Option<String>)]
    parent_id: Option<Option<CategoryId>>,
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = i64, required = false)]
    position: Option<i64>,
}

/// Changes a category, or moves it.
#[utoipa::path(patch, path = "/v1/admin/categories/{id}", tag = "admin", request_body = PatchCategory,
    params(("id" = String, Path, description = "Id or slug"), ("If-Match" = String, Header)),
    responses((status = 200, body = CategoryView), outcomes::GuardedChange))]
pub async fn change(
    State(edge): State<Edge>,
    _: Admin,
    Path(place): Path<IdOrSlug<CategoryId>>,
    write: Write<PatchCategory>,
) -> Result<Reply<CategoryView>> {
    let PatchCategory { title, slug, parent_id, position } = write.body.clone();
    let title = title.map(|text| text.0);
    let answered = ask_about(&edge, place, write, |id, if_version| Command::Update {
        id,
        if_version,
        title: title.clone(),
        slug: slug.clone(),
        parent: parent_id,
        position,
    })
    .await?;
    let view = changed(&edge, &answered).await?;
    let version = view.version;
    let reply = Reply::ok(view).version_of_whole(version);
    Ok(reply.position(answered.view.position).replayed(answered.replayed))
}

/// Deletes a category without children. Products lose it.
#[utoipa::path(delete, path = "/v1/admin/categories/{id}", tag = "admin",
    params(("id" = String, Path, description = "Id or slug"), ("If-Match" = String, Header)),
    responses((status = 204), outcomes::GuardedChange))]
pub async fn delete(
    State(edge): State<Edge>,
    _: Admin,
    Path(place): Path<IdOrSlug<CategoryId>>,
    write: Write<Nothing>,
) -> Result<Reply<()>> {
    let answered = ask_about(&edge, place, write, |id, if_version| Command::Delete { id, if_version }).await?;
    decided(&edge, &answered).await?;
    Ok(Reply::no_content().position(answered.view.position).replayed(answered.replayed))
}

/// Asks the tree to change one category. A repeat is answered before the slug is looked up: it may name
/// another category by now, or none.
async fn ask_about<B>(
    edge: &Edge,
    place: IdOrSlug<CategoryId>,
    mut write: Write<B>,
    command: impl Fn(CategoryId, Option<u64>) -> Command,
) -> Result<Answered<Categories>> {
    write.must_match()?;
    if let Some(before) = write.repeat::<Categories>(edge, &Only, Wait::Durable).await? {
        return Ok(before);
    }
    let id = match place {
        IdOrSlug::Id(id) => id,
        IdOrSlug::Slug(slug) => {
            let tree = edge.client.read::<Categories>(&Only, write.deadline).await?;
            tree.state.by_slug(&slug).ok_or(Code::NotFound)?.0
        }
    };
    // The precondition is about the category, not about the tree.
    let wanted = std::mem::take(&mut write.if_match);
    let mut if_version = match wanted.decided() {
        Some(if_version) => if_version,
        None => {
            let tree = edge.client.read::<Categories>(&Only, write.deadline).await?;
            wanted.at(tree.state.categories.get(&id).map_or(0, |category| category.version))
        }
    };
    loop {
        let answered = write.ask::<Categories>(edge, &Only, command(id, if_version), Wait::Durable).await?;
        match answered.outcome {
            Err(Rejection::Stale { current }) if wanted.goes_on(if_version, current) => if_version = Some(current),
            Ok(_) | Err(_) => return Ok(answered),
        }
    }
}

/// The category that was changed. The read model has it from now on.
async fn decided(edge: &Edge, answered: &Answered<Categories>) -> Result<CategoryId> {
    let id = match &answered.outcome {
        Ok(
            categories::Reply::Created { id } | categories::Reply::Updated { id } | categories::Reply::Deleted { id },
        ) => *id,
        Err(rejection) => return Err(refusal(rejection).replayed(answered.replayed)),
    };
    lists::caught_up(edge, Model::Catalogue).await;
    Ok(id)
}

async fn changed(edge: &Edge, answered: &Answered<Categories>) -> Result<CategoryView> {
    let id = decided(edge, answered).await?;
    CategoryView::of(&answered.view.state, id).ok_or_else(|| Code::NotFound.into())
}

/// What the tree's rejection means to a client.
pub(in crate::http) fn refusal(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotFound => Code::NotFound.into(),
        Rejection::Stale { current } => stale(*current),
        Rejection::SlugTaken { .. } => Problem::new(Code::SlugTaken).fault(Fault::new(Code::SlugTaken, "/slug")),
        Rejection::ParentNotFound => Problem::of_field(Fault::new(Code::UnknownCategory, "/parent_id")),
        Rejection::Cycle => Problem::of_field(Fault::new(Code::CategoryCycle, "/parent_id")),
        Rejection::HasChildren { children } => {
            Problem::new(Code::CategoryHasChildren).detail(format!("It has {children} children."))
        }
        Rejection::TooMany { limit } => {
            Problem::new(Code::LimitReached).detail(format!("A shop has at most {limit} categories."))
        }
        Rejection::TooDeep { limit } => {
            Problem::new(Code::LimitReached).detail(format!("The tree has at most {limit} levels."))
        }
    }
}

/// A precondition that no longer holds.
pub fn stale(current: u64) -> Problem {
    let now = format!("It is at version {current} now.");
    Problem::new(Code::StaleVersion).detail(now).with("current_version", current)
}
