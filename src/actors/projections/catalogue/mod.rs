//! The catalogue as lists need it: products sorted and filtered, and the tree of categories.
//!
//! Three sorted indexes answer a list without looking at more rows than it shows; a list of one category or one
//! seller looks at these products. A filter that matches little looks at many rows, a bounded number at a time (see
//! [`listing`]). A page's products are read from the products themselves: a row holds what filters and sorts, and
//! nothing else.

mod listing;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use listing::Scan;

use super::read_model::Rows;

use crate::actors::categories::types::{Categories, State as CategoriesState};
use crate::actors::entity::Kind;
use crate::actors::product::types::{Product, ProductStatus};
use crate::actors::runtime::client::{AskError, Client, View};
use crate::actors::values::{CategoryId, Only, ProductId, Time, UserId};
use crate::persistence::EntityKey;

#[derive(Default)]
pub struct Catalogue {
    products: RwLock<Products>,
    categories: RwLock<(u64, Arc<CategoriesState>)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    id: ProductId,
    version: u64,
    status: ProductStatus,
    seller: Option<UserId>,
    categories: Box<[CategoryId]>,
    created_at: Time,
    /// Of the cheapest variant, in minor units.
    price: Option<i64>,
    title: Arc<str>,
}

#[derive(Default)]
struct Products {
    rows: HashMap<ProductId, Row>,
    /// Per sort field.
    sorted: BTreeMap<SortField, BTreeSet<(SortKey, ProductId)>>,
    groups: HashMap<Group, BTreeSet<ProductId>>,
}

/// Products that belong together: a list of some of these looks at no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Category(CategoryId),
    Seller(UserId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortField {
    CreatedAt,
    /// Of the cheapest variant, whatever its currency; a product without variants comes last.
    Price,
    Title,
}

impl SortField {
    pub const ALL: [SortField; 3] = [SortField::CreatedAt, SortField::Price, SortField::Title];

    /// As clients name it.
    pub const fn word(self) -> &'static str {
        match self {
            SortField::CreatedAt => "created_at",
            SortField::Price => "price",
            SortField::Title => "title",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortBy {
    pub field: SortField,
    pub descending: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
enum SortKey {
    Number(i64),
    Text(Arc<str>),
}

/// Where a page ended: the sort keys of its last product, and the product. It stays good when products
/// come and go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(Vec<SortKey>, ProductId);

/// Whole numbers from `min` to `max`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub min: i64,
    pub max: i64,
}

impl Default for Range {
    fn default() -> Self {
        Range { min: i64::MIN, max: i64::MAX }
    }
}

impl Range {
    pub fn contains(&self, it: i64) -> bool {
        self.min <= it && it <= self.max
    }
    fn is_all(&self) -> bool {
        *self == Range::default()
    }
}

/// What is wanted. `None` is any.
#[derive(Debug, Clone, Default)]
pub struct ProductQuery {
    pub status: Option<ProductStatus>,
    pub seller: Option<UserId>,
    /// Products in at least one of these.
    pub categories: Option<BTreeSet<CategoryId>>,
    /// The price of the cheapest variant, in minor units.
    pub price: Range,
    /// Milliseconds since 1970.
    pub created_at: Range,
    /// Empty: the newest first.
    pub sorts: Vec<SortBy>,
    pub after: Option<Position>,
    pub limit: usize,
    /// Whether to count all that match.
    pub count: bool,
}

/// A page of products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductsFound {
    pub ids: Vec<ProductId>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Position>,
    pub total: Option<u64>,
}

impl Catalogue {
    /// Takes a product as it is at some version; an older one than known changes nothing.
    pub(super) fn note_product(&self, view: &View<Product>) {
        let state = &view.state;
        let (Some(id), Some(content)) = (state.id, &state.content) else { return };
        let row = Row {
            id,
            version: view.version,
            status: content.status,
            seller: content.seller,
            categories: content.category_ids.iter().copied().collect(),
            created_at: state.created_at,
            price: state.variants.iter().map(|variant| variant.price.amount).min(),
            title: content.title.to_lowercase().into(),
        };
        self.products.write().put(row);
    }

    /// The same for the category tree.
    fn note_categories(&self, view: &View<Categories>) {
        let mut categories = self.categories.write();
        if categories.0 <= view.version {
            *categories = (view.version, view.state.clone());
        }
    }

    pub fn categories(&self) -> Arc<CategoriesState> {
        self.categories.read().1.clone()
    }

    /// A page of products. Other tasks run meanwhile when many rows must be looked at.
    pub async fn find(&self, query: &ProductQuery) -> ProductsFound {
        let mut scan = Scan::new(query);
        while !scan.step(&self.products.read()) {
            tokio::task::yield_now().await;
        }
        scan.finish()
    }
}

#[async_trait]
impl Rows for Catalogue {
    const NAME: &'static str = "catalogue";
    const KINDS: &'static [u8] = &[Categories::NUMBER, Product::NUMBER];

    async fn read(&self, client: &Client, key: &EntityKey, deadline: Instant) -> Result<u64, AskError> {
        if key.kind == Categories::NUMBER {
            let view = client.read::<Categories>(&Only, deadline).await?;
            self.note_categories(&view);
            return Ok(view.version);
        }
        let id: ProductId = key.id.parse().map_err(|_| AskError::UnknownKind)?;
        let view = client.read::<Product>(&id, deadline).await?;
        self.note_product(&view);
        Ok(view.version)
    }

    fn replace(&self, rows: Catalogue) {
        *self.products.write() = rows.products.into_inner();
        *self.categories.write() = rows.categories.into_inner();
    }
}

impl Row {
    fn key(&self, field: SortField) -> SortKey {
        match field {
            SortField::CreatedAt => SortKey::Number(self.created_at.0),
            SortField::Price => SortKey::Number(self.price.unwrap_or(i64::MAX)),
            SortField::Title => SortKey::Text(self.title.clone()),
        }
    }

    fn groups(&self) -> impl Iterator<Item = Group> {
        self.categories.iter().copied().map(Group::Category).chain(self.seller.map(Group::Seller))
    }

    fn position(&self, sorts: &[SortBy]) -> Position {
        Position(sorts.iter().map(|sort| self.key(sort.field)).collect(), self.id)
    }
}

impl Position {
    /// How this stands to `other` in a list so sorted. The id decides between equals.
    fn compare(&self, other: &Position, sorts: &[SortBy]) -> Ordering {
        let keys = self.0.iter().zip(&other.0).zip(sorts);
        let by_keys =
            keys.map(|((mine, theirs), sort)| if sort.descending { theirs.cmp(mine) } else { mine.cmp(theirs) });
        by_keys.fold(Ordering::Equal, Ordering::then).then(self.1.cmp(&other.1))
    }
}

impl ProductQuery {
    fn accepts(&self, row: &Row) -> bool {
        let in_category = |wanted: &BTreeSet<CategoryId>| row.categories.iter().any(|id| wanted.contains(id));
        self.status.is_none_or(|status| status == row.status)
            && self.seller.is_none_or(|seller| row.seller == Some(seller))
            && (self.price.is_all() || row.price.is_some_and(|price| self.price.contains(price)))
            && self.created_at.contains(row.created_at.0)
            && self.categories.as_ref().is_none_or(in_category)
    }
}

impl Products {
    fn put(&mut self, row: Row) {
        if let Some(known) = self.rows.get(&row.id) {
            if known.version > row.version {
                return;
            }
            let known = known.clone();
            self.unlink(&known);
        }
        for field in SortField::ALL {
            self.sorted.entry(field).or_default().insert((row.key(field), row.id));
        }
        for group in row.groups() {
            self.groups.entry(group).or_default().insert(row.id);
        }
        self.rows.insert(row.id, row);
    }

    fn unlink(&mut self, row: &Row) {
        for (field, index) in &mut self.sorted {
            index.remove(&(row.key(*field), row.id));
        }
        for group in row.groups() {
            if let Some(ids) = self.groups.get_mut(&group) {
                ids.remove(&row.id);
                if ids.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
    }
}
