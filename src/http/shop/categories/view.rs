//! Categories as clients see them: each with the whole tree below it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::categories::types::{Category, State};
use crate::actors::values::{CategoryId, Slug};

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Category)]
pub struct CategoryView {
    #[schema(value_type = String, example = "cat_0123456789abcdefghjkmnpqrs")]
    pub id: CategoryId,
    #[schema(value_type = String)]
    pub slug: Slug,
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent_id: Option<CategoryId>,
    /// Siblings are shown by ascending position.
    pub position: i64,
    #[schema(no_recursion)]
    pub children: Vec<CategoryView>,
    pub version: u64,
}

type Tree<'a> = BTreeMap<Option<CategoryId>, Vec<(CategoryId, &'a Category)>>;

impl CategoryView {
    /// A category with what is below it; `None` if there is no such category.
    pub fn of(state: &State, id: CategoryId) -> Option<CategoryView> {
        let category = state.categories.get(&id)?;
        Some(CategoryView::show(id, category, &state.tree()))
    }

    /// The roots, each with what is below it.
    pub fn roots(state: &State) -> Vec<CategoryView> {
        CategoryView::children(None, &state.tree())
    }

    /// Recurses at most `categories::types::DEPTH_MAX` deep.
    fn show(id: CategoryId, category: &Category, tree: &Tree<'_>) -> CategoryView {
        CategoryView {
            id,
            slug: category.slug.clone(),
            title: category.title.clone(),
            parent_id: category.parent,
            position: category.position,
            children: CategoryView::children(Some(id), tree),
            version: category.version,
        }
    }

    fn children(parent: Option<CategoryId>, tree: &Tree<'_>) -> Vec<CategoryView> {
        let children = tree.get(&parent).into_iter().flatten();
        children.map(|(id, category)| CategoryView::show(*id, category, tree)).collect()
    }
}
