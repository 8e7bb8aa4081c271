//! Brings the shop to what a file wants: reads what is there, and writes the difference, several
//! products at once.
//!
//! Every call has a fresh idempotency key: its own repeats take effect once, and a second run is judged anew. No
//! product is created twice, because only one product can have a SKU.

use std::collections::{BTreeSet, HashMap};

use futures::StreamExt;
use indicatif::ProgressBar;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::shop::{CategoryIds, Impossible, Present, Products, creation, difference};
use super::wanted::{RowError, Wanted, WantedVariant};
use crate::cli::client::{Api, ApiError, As, Call, encoded};
use crate::cli::meter::Op;

/// What an import came to, or would come to.
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
    /// Of a dry run: what would be done to each product that would not stay as it is.
    pub intended: Vec<(String, RowError)>,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Deserialize)]
struct Inventory {
    on_hand: u64,
}

/// The outcome for one product.
enum Became {
    Created,
    Updated,
    Unchanged,
}

/// The same with its stock, and in words.
struct Done {
    became: Became,
    stocked: u64,
    words: Vec<String>,
}

pub struct Importer<'a> {
    api: &'a Api,
    admin: As<'a>,
    at_once: usize,
    dry_run: bool,
    products: Products,
    /// The products, read again because the first list was behind.
    again: OnceCell<Products>,
    categories: CategoryIds,
    /// Paths of categories that the server refused, and why.
    refused: HashMap<Vec<String>, String>,
}

impl<'a> Importer<'a> {
    /// Reads what the shop has.
    pub async fn new(api: &'a Api, admin: As<'a>, at_once: usize) -> Result<Importer<'a>, ApiError> {
        let products = Products::read(api, admin).await?;
        let categories = CategoryIds::read(api, admin).await?;
        let (again, refused) = (OnceCell::new(), HashMap::new());
        Ok(Importer { api, admin, at_once, dry_run: false, products, again, categories, refused })
    }

    /// With `true` nothing is changed.
    pub fn dry_run(self, dry_run: bool) -> Importer<'a> {
        Importer { dry_run, ..self }
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
            let (line, what) = (wanted.line, wanted.variants.first().map(|v| v.sku.to_string()).unwrap_or_default());
            match result {
                Ok(Done { became, stocked, words }) => {
                    applied.stocked += stocked;
                    match became {
                        Became::Created => applied.created += 1,
                        Became::Updated => applied.updated += 1,
                        Became::Unchanged => applied.unchanged += 1,
                    }
                    if self.dry_run && !words.is_empty() {
                        applied.intended.push((wanted.file, RowError { line, what, reason: words.join("; ") }));
                    }
                }
                Err(Failure::Row(Impossible { variant, reason })) => {
                    let (line, what) = variant.map_or((line, what), |(line, sku)| (line, sku.to_string()));
                    applied.errors.push((wanted.file, RowError { line, what, reason }));
                }
                Err(Failure::Behind(reason)) => applied.errors.push((wanted.file, RowError { line, what, reason })),
                Err(Failure::Server(error)) => return Err(error),
            }
        }
        applied.errors.sort_by(|a, b| (&a.0, a.1.line).cmp(&(&b.0, b.1.line)));
        applied.intended.sort_by(|a, b| (&a.0, a.1.line).cmp(&(&b.0, b.1.line)));
        Ok(applied)
    }

    /// Makes the categories that are missing, parents first. How many. One that the server refuses is remembered:
    /// products that want it, or one below it, are in error.
    async fn make_categories(&mut self, products: &[Wanted]) -> Result<u64, ApiError> {
        let mut made = 0;
        let wanted: BTreeSet<&[String]> = products
            .iter()
            .flat_map(|wanted| wanted.categories.iter().flatten())
            .flat_map(|path| (1..=path.len()).map(|depth| &path[..depth]))
            .collect();
        // sorted, a path comes behind those above it
        for path in wanted {
            if self.categories.get(path).is_some() || self.refusal(path).is_some() {
                continue;
            }
            match self.make_category(path).await {
                Ok(id) => {
                    self.categories.insert(path, id);
                    made += 1;
                }
                Err(Failure::Row(Impossible { reason, .. }) | Failure::Behind(reason)) => {
                    self.refused.insert(path.to_vec(), format!("category {:?}: {reason}", path.join(" > ")));
                }
                Err(Failure::Server(error)) => return Err(error),
            }
        }
        Ok(made)
    }

    async fn make_category(&self, path: &[String]) -> Result<String, Failure> {
        let Some((title, above)) = path.split_last() else { return Err(Failure::Row("no title".to_owned().into())) };
        if self.dry_run {
            return Ok(format!("new category {path:?}"));
        }
        let body = json!({"title": title, "parent_id": self.categories.get(above)});
        let key = fresh_key();
        let call = Call::new(Op::Admin, Method::POST, "/v1/admin/categories").by(self.admin).key(&key).json(&body);
        Ok(self.api.read::<Created>(call).await?.id)
    }

    /// Why this category is not there: it was refused, or one above it.
    fn refusal(&self, path: &[String]) -> Option<&String> {
        (1..=path.len()).find_map(|depth| self.refused.get(&path[..depth]))
    }

    /// Creates, updates or leaves one product, and sets its stock.
    async fn product(&self, wanted: &Wanted) -> Result<Done, Failure> {
        if let Some(why) = wanted.categories.iter().flatten().find_map(|path| self.refusal(path)) {
            return Err(Failure::Row(why.clone().into()));
        }
        let mut products = &self.products;
        let written = match self.write(products.holder(wanted)?, wanted).await {
            Err(Failure::Behind(_)) => {
                products = self.again.get_or_try_init(|| Products::read(self.api, self.admin)).await?;
                self.write(products.holder(wanted)?, wanted).await
            }
            written => written,
        };
        let (became, mut words) = written?;
        let mut stocked = 0;
        for variant in &wanted.variants {
            if let Some(on_hand) = variant.on_hand
                && let Some(before) = self.stock(products, variant, on_hand).await?
            {
                stocked += 1;
                words.push(format!("stock of {}: {before} to {on_hand}", variant.sku));
            }
        }
        Ok(Done { became, stocked, words })
    }

    async fn write(&self, present: Option<&Present>, wanted: &Wanted) -> Result<(Became, Vec<String>), Failure> {
        let Some(present) = present else {
            let body = creation(wanted, &self.categories)?;
            self.change(Call::new(Op::Admin, Method::POST, "/v1/admin/products"), body).await?;
            return Ok((Became::Created, vec!["create".to_owned()]));
        };
        let body = difference(present, wanted, &self.categories)?;
        if body.is_empty() {
            return Ok((Became::Unchanged, Vec::new()));
        }
        let words = format!("update {}", body.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
        let path = format!("/v1/admin/products/{}", present.id);
        self.change(Call::new(Op::Admin, Method::PATCH, path).if_match(present.version), body).await?;
        Ok((Became::Updated, vec![words]))
    }

    /// Makes the call, unless this is a dry run.
    async fn change(&self, call: Call<'_>, body: Map<String, Value>) -> Result<(), ApiError> {
        if !self.dry_run {
            let key = fresh_key();
            self.api.send(call.by(self.admin).key(&key).json(&Value::Object(body)).discard()).await?;
        }
        Ok(())
    }

    /// Sets the stock of a SKU to what the file says. What it was, if that was another.
    async fn stock(&self, products: &Products, variant: &WantedVariant, on_hand: u64) -> Result<Option<u64>, Failure> {
        let path = format!("/v1/admin/inventory/{}", encoded(variant.sku.as_str()));
        // where nothing was made, a new SKU has no stock to look at
        let present = if self.dry_run && !products.has(&variant.sku) {
            Inventory { on_hand: 0 }
        } else {
            self.api.read(Call::get(Op::Read, path.as_str()).by(self.admin)).await?
        };
        if present.on_hand == on_hand {
            return Ok(None);
        }
        let body = Map::from_iter([("on_hand".into(), json!(on_hand)), ("expected".into(), json!(present.on_hand))]);
        self.change(Call::new(Op::Admin, Method::PUT, path), body).await?;
        Ok(Some(present.on_hand))
    }
}

fn fresh_key() -> String {
    format!("import-{:032x}", rand::random::<u128>())
}

/// Why a product was not imported.
enum Failure {
    /// This one cannot be; the others can.
    Row(Impossible),
    /// The same, but it may be because what was read before is behind by now.
    Behind(String),
    /// The server is gone, or does not let us: none can be.
    Server(ApiError),
}

impl From<Impossible> for Failure {
    fn from(why: Impossible) -> Failure {
        Failure::Row(why)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        match error {
            ApiError::Refused(problem) if matches!(problem.status, 401 | 403) => {
                Failure::Server(ApiError::Refused(problem))
            }
            ApiError::Refused(problem) => match problem.code.as_str() {
                "sku_taken" | "slug_taken" | "stale_version" => Failure::Behind(problem.to_string()),
                _ => Failure::Row(problem.to_string().into()),
            },
            error @ (ApiError::GaveUp { .. } | ApiError::Unintelligible(_)) => Failure::Server(error),
        }
    }
}
