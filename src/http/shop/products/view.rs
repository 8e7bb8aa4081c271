//! Products as clients see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::categories::types::State as Categories;
use crate::actors::product::types::{ProductStatus as Status, State, Variant};
use crate::actors::values::{CategoryId, Money, ProductId, Sku, Slug, StockBand, Time, UserId, VariantId};
use crate::http::answer::schema;
use crate::word_shapes;

word_shapes! {
    /// Whether a product is shown and sold.
    pub ProductStatus = Status;
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Product)]
pub struct ProductView {
    #[schema(value_type = String, example = "prod_0123456789abcdefghjkmnpqrs")]
    pub id: ProductId,
    #[schema(value_type = String)]
    pub slug: Slug,
    #[schema(value_type = String)]
    pub title: Arc<str>,
    #[schema(value_type = String)]
    pub description: Arc<str>,
    #[schema(value_type = ProductStatus)]
    pub status: Status,
    #[schema(value_type = Vec<String>)]
    pub category_ids: Vec<CategoryId>,
    pub attributes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub seller_id: Option<UserId>,
    pub variants: Vec<VariantView>,
    pub rating: RatingView,
    #[schema(value_type = schema::Time)]
    pub created_at: Time,
    #[schema(value_type = schema::Time)]
    pub updated_at: Time,
    /// Grows with every change of the product; not with its stock.
    pub version: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Variant)]
pub struct VariantView {
    #[schema(value_type = String, example = "var_0123456789abcdefghjkmnpqrs")]
    pub id: VariantId,
    #[schema(value_type = String, example = "TEE-M")]
    pub sku: Sku,
    pub options: BTreeMap<String, String>,
    #[schema(value_type = schema::Money)]
    pub price: Money,
    #[schema(value_type = schema::StockBand)]
    pub stock: StockBand,
}

/// What customers think of it. There are no reviews yet.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Rating)]
pub struct RatingView {
    pub average: f64,
    pub count: u64,
}

impl ProductView {
    /// A product as it is; `None` until its creation has succeeded. `categories`: those that exist; others are left
    /// out. `None` if they cannot be read: then the product shows all that it names.
    pub fn of(state: &State, categories: Option<&Categories>) -> Option<ProductView> {
        let (id, content, slug) = (state.id?, state.content.as_deref()?, state.slug.clone()?);
        let there = |id: &&CategoryId| categories.is_none_or(|tree| tree.categories.contains_key(*id));
        Some(ProductView {
            id,
            slug,
            title: content.title.clone(),
            description: content.description.clone(),
            status: content.status,
            category_ids: content.category_ids.iter().filter(there).copied().collect(),
            attributes: content.attributes.clone(),
            seller_id: content.seller,
            variants: state.variants.iter().map(VariantView::from).collect(),
            rating: RatingView { average: 0.0, count: 0 },
            created_at: state.created_at,
            updated_at: state.updated_at,
            version: state.version,
        })
    }
}

impl From<&Variant> for VariantView {
    fn from(variant: &Variant) -> VariantView {
        let Variant { id, sku, options, price, stock, stock_seq: _ } = variant.clone();
        VariantView { id, sku, options, price, stock }
    }
}
