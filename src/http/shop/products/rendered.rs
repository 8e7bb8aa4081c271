//! Products written out, kept from one answer to the next: most reads of a catalogue show what the one before showed.
//!
//! What is kept was made of a product's state and of a tree of categories, and is used for these two values and no
//! others. An entry knows them by their addresses. It holds both weakly, so that neither address is used again while
//! the entry is there, and neither value is kept in memory for it.

use std::sync::{Arc, Weak};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::view::ProductView;
use crate::actors::categories::types::State as Categories;
use crate::actors::product::types::State as Product;
use crate::actors::values::ProductId;
use crate::http::answer::reply::tag_of_whole;

/// What an entry takes beside its text: the two tags, and what the weak references keep allocated.
const ENTRY_BYTES: u64 = 1_024;
/// What a small product takes; only how the cache begins depends on it.
const USUAL_BYTES: u64 = 2_048;

/// A product as it is shown.
#[derive(Debug, Clone)]
pub struct RenderedProduct(Arc<Rendered>);

#[derive(Debug)]
struct Rendered {
    json: Box<RawValue>,
    tag: String,
}

impl RenderedProduct {
    /// `None` while the product has not come about, or if it cannot be written.
    fn of(product: &Product, categories: Option<&Categories>) -> Option<RenderedProduct> {
        let view = ProductView::of(product, categories)?;
        let json = serde_json::value::to_raw_value(&view).ok()?;
        let tag = tag_of_whole(view.version, json.get().as_bytes());
        Some(RenderedProduct(Arc::new(Rendered { json, tag })))
    }

    /// The entity tag of an answer that shows this product alone.
    pub fn tag(&self) -> &str {
        &self.0.tag
    }
}

impl Serialize for RenderedProduct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(serializer)
    }
}

/// The products that were shown last, within a number of bytes.
pub struct RenderedProducts(Cache<ProductId, Entry, ByBytes>);

#[derive(Clone)]
struct Entry {
    product: Weak<Product>,
    categories: Option<Weak<Categories>>,
    rendered: RenderedProduct,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<ProductId, Entry> for ByBytes {
    fn weight(&self, _: &ProductId, entry: &Entry) -> u64 {
        ENTRY_BYTES + entry.rendered.0.json.get().len() as u64
    }
}

impl Entry {
    fn is_of(&self, product: &Arc<Product>, categories: Option<&Arc<Categories>>) -> bool {
        let same_tree = match (&self.categories, categories) {
            (Some(known), Some(tree)) => std::ptr::eq(known.as_ptr(), Arc::as_ptr(tree)),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tree && std::ptr::eq(self.product.as_ptr(), Arc::as_ptr(product))
    }
}

impl RenderedProducts {
    pub fn new(max_bytes: usize) -> RenderedProducts {
        let max_bytes = max_bytes as u64;
        let items = usize::try_from(max_bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        RenderedProducts(Cache::with_weighter(items, max_bytes, ByBytes))
    }

    /// A product as it is shown; see [`ProductView::of`].
    pub fn of(&self, product: &Arc<Product>, categories: Option<&Arc<Categories>>) -> Option<RenderedProduct> {
        let id = product.id?;
        if let Some(entry) = self.0.get(&id).filter(|entry| entry.is_of(product, categories)) {
            return Some(entry.rendered);
        }
        let rendered = RenderedProduct::of(product, categories.map(|tree| &**tree))?;
        let entry = Entry {
            product: Arc::downgrade(product),
            categories: categories.map(Arc::downgrade),
            rendered: rendered.clone(),
        };
        self.0.insert(id, entry);
        Some(rendered)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::actors::categories::types::Category;
    use crate::actors::product::types::{Content, ProductStatus};
    use crate::actors::values::{CategoryId, Time};

    fn product(n: u128, title: &str) -> Arc<Product> {
        let content = Content {
            title: title.into(),
            description: "".into(),
            status: ProductStatus::Published,
            category_ids: vec![CategoryId(1)],
            attributes: BTreeMap::new(),
            seller: None,
        };
        let slug = format!("product-{n}").parse().ok();
        Arc::new(Product { id: Some(ProductId(n)), slug, content: Some(content.into()), ..Product::default() })
    }

    fn text(rendered: &RenderedProduct) -> String {
        serde_json::to_string(rendered).expect("plain data")
    }

    /// What is written anew each time is what is right.
    fn is_right(kept: &RenderedProducts, product: &Arc<Product>, categories: Option<&Arc<Categories>>) -> bool {
        let anew = ProductView::of(product, categories.map(|tree| &**tree)).expect("it has come about");
        let shown = kept.of(product, categories).expect("it has come about");
        text(&shown) == serde_json::to_string(&anew).expect("plain data")
            && shown.tag() == tag_of_whole(anew.version, text(&shown).as_bytes())
    }

    #[test]
    fn a_product_is_shown_as_it_and_the_categories_are_now() {
        let kept = RenderedProducts::new(1 << 20);
        let category = Category {
            slug: "tops".parse().expect("a slug"),
            title: "Tops".into(),
            parent: None,
            position: 0,
            version: 1,
            created_at: Time(0),
            updated_at: Time(0),
        };
        let none = Arc::new(Categories::default());
        let tops = Arc::new(Categories { categories: [(CategoryId(1), category)].into(), ..Categories::default() });
        let (old, new) = (product(1, "Tee"), product(1, "T-shirt"));
        for product in [&old, &new, &old] {
            for tree in [Some(&none), Some(&tops), None, Some(&tops), Some(&tops)] {
                assert!(is_right(&kept, product, tree));
            }
        }
        let first = kept.of(&new, Some(&tops)).expect("it has come about");
        let again = kept.of(&new, Some(&tops)).expect("it has come about");
        assert!(Arc::ptr_eq(&first.0, &again.0), "it is written once");
    }

    #[test]
    fn an_address_that_is_used_again_is_not_taken_for_the_state_that_was_there() {
        let kept = RenderedProducts::new(1 << 20);
        let tree = Arc::new(Categories::default());
        for n in 0..1_000 {
            assert!(is_right(&kept, &product(1, &format!("title {n}")), Some(&tree)));
        }
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let kept = RenderedProducts::new(1 << 20);
        let tree = Arc::new(Categories::default());
        for n in 0..10_000 {
            assert!(is_right(&kept, &product(n, "Tee"), Some(&tree)));
        }
        assert!(kept.0.weight() <= 1 << 20, "{} bytes", kept.0.weight());
        let none = RenderedProducts::new(0);
        assert!(is_right(&none, &product(1, "Tee"), Some(&tree)));
        assert_eq!(none.0.len(), 0);
    }
}
