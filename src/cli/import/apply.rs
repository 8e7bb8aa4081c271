//! Brings the shop to what a file wants: reads what is there, and writes the difference, several
//! products at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use indicatif::ProgressBar;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::wanted::{RowError, Wanted, WantedVariant};
use crate::actors::values::{Money, RequestId};
use crate::cli::client::{Api, ApiError, As, Call, encoded};
use crate::cli::meter::Op;

/// What an import came to.
#[derive(Debug, Default)]
pub struct Applied {
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub categories: u64,
    /// SKUs whose on_hand was set.
    pub stocked: u64,
    /// With the file that each comes from.
    pub errors: Vec<(String, RowError)>,
}

/// A product as the shop has it.
#[derive(Debug, Deserialize)]
struct Present {
    id: String,
    version: u64,
    slug: String,
    title: String,
    #[serde(default)]
    description: String,
    status: String,
    #[serde(default)]
    category_ids: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    variants: Vec<PresentVariant>,
}

#[derive(Debug, Deserialize)]
struct PresentVariant {
    sku: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    price: Money,
}

#[derive(Deserialize)]
struct PresentCategory {
    id: String,
    title: String,
    #[serde(default)]
    children: Vec<PresentCategory>,
}

/// The tree's root list is bare or wrapped as lists are elsewhere in the API.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tree {
    Bare(Vec<PresentCategory>),
    Wrapped { data: Vec<PresentCategory> },
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Deserialize)]
struct Inventory {
    on_hand: u64,
    version: u64,
}

/// What became of one product.
enum Became {
    Created,
    Updated,
    Unchanged,
}

pub struct Importer<'a> {
    api: &'a Api,
    admin: As<'a>,
    at_once: usize,
    by_sku: HashMap<String, Arc<Present>>,
    /// Category ids by their path of titles.
    categories: HashMap<Vec<String>, String>,
}

impl<'a> Importer<'a> {
    /// Reads what the shop has.
    pub async fn new(api: &'a Api, admin: As<'a>, at_once: usize) -> Result<Importer<'a>, ApiError> {
        let mut by_sku = HashMap::new();
        api.list(Op::Read, "/v1/admin/products", admin, |product: Present| {
            let product = Arc::new(product);
            for variant in &product.variants {
                by_sku.insert(variant.sku.clone(), product.clone());
            }
        })
        .await?;
        let mut categories = HashMap::new();
        match api.read(Call::get(Op::Read, "/v1/categories").by(admin)).await? {
            Tree::Bare(roots) | Tree::Wrapped { data: roots } => gather(&mut categories, &[], roots),
        }
        Ok(Importer { api, admin, at_once, by_sku, categories })
    }

    pub async fn apply(mut self, products: Vec<Wanted>, bar: &ProgressBar) -> Result<Applied, ApiError> {
        let mut applied = Applied { categories: self.make_categories(&products).await?, ..Applied::default() };
        let importer = &self;
        let mut results = futures::stream::iter(products)
            .map(|wanted| async move {
                let result = importer.product(&wanted).await;
                (wanted, result)
            })
            .buffer_unordered(self.at_once);
        while let Some((wanted, result)) = results.next().await {
            bar.inc(1);
            match result {
                Ok((became, stocked)) => {
                    applied.stocked += stocked;
                    match became {
                        Became::Created => applied.created += 1,
                        Became::Updated => applied.updated += 1,
                        Became::Unchanged => applied.unchanged += 1,
                    }
                }
                Err(Failure::Row(reason)) => {
                    let what = wanted.variants.first().map(|variant| variant.sku.to_string()).unwrap_or_default();
                    applied.errors.push((wanted.file, RowError { line: wanted.line, what, reason }));
                }
                Err(Failure::Server(error)) => return Err(error),
            }
        }
        applied.errors.sort_by(|a, b| (&a.0, a.1.line).cmp(&(&b.0, b.1.line)));
        Ok(applied)
    }

    /// Makes the categories that are missing, parents first. How many.
    async fn make_categories(&mut self, products: &[Wanted]) -> Result<u64, ApiError> {
        let mut made = 0;
        let wanted: HashSet<&Vec<String>> =
            products.iter().flat_map(|wanted| wanted.categories.iter().flatten()).collect();
        let mut wanted: Vec<&Vec<String>> = wanted.into_iter().collect();
        wanted.sort();
        for path in wanted {
            for depth in 1..=path.len() {
                let path = &path[..depth];
                if self.categories.contains_key(path) {
                    continue;
                }
                let parent = self.categories.get(&path[..depth - 1]);
                let body = json!({"title": path[depth - 1], "parent_id": parent});
                // a key of this run: the tree that was just read says that the category is missing, whatever
                // an earlier run did
                let key = format!("import-category-{:032x}", rand::random::<u128>());
                let call =
                    Call::new(Op::Admin, Method::POST, "/v1/admin/categories").by(self.admin).key(&key).json(&body);
                let created: Created = self.api.read(call).await?;
                self.categories.insert(path.to_vec(), created.id);
                made += 1;
            }
        }
        Ok(made)
    }

    /// Creates, updates or leaves one product, and sets its stock. With how many SKUs' stock was set.
    async fn product(&self, wanted: &Wanted) -> Result<(Became, u64), Failure> {
        let mut holders = wanted.variants.iter().filter_map(|variant| self.by_sku.get(variant.sku.as_str()));
        let present = holders.next();
        if let (Some(one), Some(other)) = (present, holders.find(|other| Some(&other.id) != present.map(|one| &one.id)))
        {
            return Err(Failure::Row(format!("its SKUs belong to two products, {} and {}", one.id, other.id)));
        }
        let became = match present {
            None => self.create(wanted).await?,
            Some(present) if present.status == "archived" => {
                return Err(Failure::Row(format!("its SKU belongs to the archived product {}", present.id)));
            }
            Some(present) => self.update(present, wanted).await?,
        };
        let mut stocked = 0;
        for variant in &wanted.variants {
            if let Some(on_hand) = variant.on_hand {
                stocked += u64::from(self.stock(variant, on_hand).await?);
            }
        }
        Ok((became, stocked))
    }

    async fn create(&self, wanted: &Wanted) -> Result<Became, Failure> {
        let mut body = self.common(wanted);
        body["title"] = json!(wanted.title);
        body["status"] = json!(wanted.status);
        body["variants"] = wanted.variants.iter().map(variant_json).collect();
        let key = key_of("product", &body);
        let call = Call::new(Op::Admin, Method::POST, "/v1/admin/products").by(self.admin).key(&key).json(&body);
        self.api.send(call.discard()).await?;
        Ok(Became::Created)
    }

    /// Writes what differs. Variants that the file does not name stay.
    async fn update(&self, present: &Present, wanted: &Wanted) -> Result<Became, Failure> {
        let mut body = self.common(wanted);
        let fields = body.as_object_mut().expect("made as an object");
        fields.insert("title".to_owned(), json!(wanted.title));
        fields.insert("status".to_owned(), json!(wanted.status));
        fields.retain(|name, value| match name.as_str() {
            "title" => *value != present.title,
            "slug" => *value != present.slug,
            "description" => *value != present.description,
            "status" => *value != present.status,
            "category_ids" => *value != json!(present.category_ids),
            "attributes" => *value != json!(present.attributes),
            _ => true,
        });
        let same = |wanted: &WantedVariant| {
            let found = present.variants.iter().find(|variant| variant.sku == wanted.sku.as_str());
            found.is_some_and(|variant| variant.options == wanted.options && variant.price == wanted.price)
        };
        if !wanted.variants.iter().all(same) {
            let is_named = |sku: &str| wanted.variants.iter().any(|variant| variant.sku.as_str() == sku);
            let kept = present.variants.iter().filter(|variant| !is_named(&variant.sku));
            let kept = kept.map(|v| json!({"sku": v.sku, "options": v.options, "price": v.price}));
            let variants: Vec<Value> = kept.chain(wanted.variants.iter().map(variant_json)).collect();
            fields.insert("variants".to_owned(), Value::Array(variants));
        }
        if fields.is_empty() {
            return Ok(Became::Unchanged);
        }
        let key = key_of("update", &json!([present.id, present.version, body]));
        let path = format!("/v1/admin/products/{}", present.id);
        let call =
            Call::new(Op::Admin, Method::PATCH, path).by(self.admin).key(&key).if_match(present.version).json(&body);
        self.api.send(call.discard()).await?;
        Ok(Became::Updated)
    }

    /// What a creation and an update have in common: the fields that the file may leave open.
    fn common(&self, wanted: &Wanted) -> Value {
        let mut fields = serde_json::Map::new();
        let mut give = |name: &str, value: Option<Value>| fields.extend(value.map(|value| (name.to_owned(), value)));
        give("slug", wanted.slug.as_ref().map(|slug| json!(slug)));
        give("description", wanted.description.as_ref().map(|description| json!(description)));
        give("attributes", wanted.attributes.as_ref().map(|attributes| json!(attributes)));
        let ids =
            |paths: &Vec<Vec<String>>| paths.iter().filter_map(|path| self.categories.get(path)).collect::<Vec<_>>();
        give("category_ids", wanted.categories.as_ref().map(|paths| json!(ids(paths))));
        Value::Object(fields)
    }

    /// Sets the stock of a SKU to what the file says. Whether that was a change.
    async fn stock(&self, variant: &WantedVariant, on_hand: u64) -> Result<bool, Failure> {
        let path = format!("/v1/admin/inventory/{}", encoded(variant.sku.as_str()));
        let present: Inventory = self.api.read(Call::get(Op::Read, path.as_str()).by(self.admin)).await?;
        if present.on_hand == on_hand {
            return Ok(false);
        }
        let body = json!({"on_hand": on_hand, "expected": present.on_hand});
        let key = key_of("stock", &json!([variant.sku, present.version, on_hand]));
        let call = Call::new(Op::Admin, Method::PUT, path).by(self.admin).key(&key).json(&body);
        self.api.send(call.discard()).await?;
        Ok(true)
    }
}

fn gather(into: &mut HashMap<Vec<String>, String>, above: &[String], categories: Vec<PresentCategory>) {
    for category in categories {
        let mut path = above.to_vec();
        path.push(category.title);
        gather(into, &path, category.children);
        into.insert(path, category.id);
    }
}

fn variant_json(variant: &WantedVariant) -> Value {
    json!({"sku": variant.sku, "options": variant.options, "price": variant.price})
}

/// The same content, the same key: a repeat meets its receipt.
fn key_of(what: &str, content: &Value) -> String {
    let hash = RequestId::of(what, &[content.to_string().as_bytes()]);
    format!("import-{what}-{}", data_encoding::HEXLOWER.encode(&hash.0))
}

/// Why a product was not imported.
enum Failure {
    /// This one cannot be; the others can.
    Row(String),
    /// The server is gone, or does not let us: none can be.
    Server(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        match error {
            ApiError::Refused(problem) if !matches!(problem.status, 401 | 403) => Failure::Row(problem.to_string()),
            error => Failure::Server(error),
        }
    }
}
