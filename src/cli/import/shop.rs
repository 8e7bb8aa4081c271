//! The shop as it is, read through the API, and what it must become for a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::wanted::{Wanted, WantedVariant, prose, spelt};
use crate::actors::values::{Money, Sku};
use crate::cli::client::{Api, ApiError, As, Call};
use crate::cli::meter::Op;

/// A product as the shop has it.
#[derive(Debug, Deserialize)]
pub struct Present {
    pub id: String,
    pub version: u64,
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

/// A row that cannot be, with the line and SKU of the variant when it is about one.
#[derive(Debug, PartialEq, Eq)]
pub struct Impossible {
    pub variant: Option<(u64, Sku)>,
    pub reason: String,
}

impl From<String> for Impossible {
    fn from(reason: String) -> Impossible {
        Impossible { variant: None, reason }
    }
}

/// All products, by each SKU they have.
pub struct Products {
    by_sku: HashMap<String, Arc<Present>>,
}

impl Products {
    pub async fn read(api: &Api, admin: As<'_>) -> Result<Products, ApiError> {
        let mut by_sku = HashMap::new();
        api.list(Op::Read, "/v1/admin/products", admin, |product: Present| {
            let product = Arc::new(product);
            for variant in &product.variants {
                by_sku.insert(variant.sku.clone(), product.clone());
            }
        })
        .await?;
        Ok(Products { by_sku })
    }

    pub fn has(&self, sku: &Sku) -> bool {
        self.by_sku.contains_key(sku.as_str())
    }

    /// The one product that has SKUs of `wanted`.
    pub fn holder(&self, wanted: &Wanted) -> Result<Option<&Present>, Impossible> {
        let mut holders = wanted.variants.iter().filter_map(|variant| self.by_sku.get(variant.sku.as_str()));
        let Some(present) = holders.next() else { return Ok(None) };
        if let Some(other) = holders.find(|other| other.id != present.id) {
            return Err(format!("its SKUs belong to two products, {} and {}", present.id, other.id).into());
        }
        if present.status == "archived" {
            return Err(format!("its SKU belongs to the archived product {}", present.id).into());
        }
        Ok(Some(present))
    }
}

/// Category ids by their path of titles.
#[derive(Default)]
pub struct CategoryIds(HashMap<Vec<String>, String>);

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

impl CategoryIds {
    pub async fn read(api: &Api, admin: As<'_>) -> Result<CategoryIds, ApiError> {
        let mut ids = CategoryIds::default();
        match api.read(Call::get(Op::Read, "/v1/categories").by(admin)).await? {
            Tree::Bare(roots) | Tree::Wrapped { data: roots } => ids.gather(&[], roots),
        }
        Ok(ids)
    }

    fn gather(&mut self, above: &[String], categories: Vec<PresentCategory>) {
        for category in categories {
            let mut path = above.to_vec();
            path.push(spelt(&category.title));
            self.gather(&path, category.children);
            self.0.insert(path, category.id);
        }
    }

    pub fn get(&self, path: &[String]) -> Option<&String> {
        self.0.get(path)
    }
    pub fn insert(&mut self, path: &[String], id: String) {
        self.0.insert(path.to_vec(), id);
    }
}

/// The body that creates a product.
pub fn creation(wanted: &Wanted, categories: &CategoryIds) -> Result<Map<String, Value>, Impossible> {
    let mut fields = given(wanted, categories);
    let nothing = BTreeMap::new();
    fields.insert("status".to_owned(), json!(wanted.status.unwrap_or("published")));
    fields.insert("attributes".to_owned(), json!(wanted.attributes.over(&nothing)));
    let variants = wanted.variants.iter().map(|variant| variant_of(variant, None, None));
    fields.insert("variants".to_owned(), Value::Array(variants.collect::<Result<_, _>>()?));
    Ok(fields)
}

/// What of a product differs from what is wanted. Variants that the file does not name stay.
pub fn difference(
    present: &Present,
    wanted: &Wanted,
    categories: &CategoryIds,
) -> Result<Map<String, Value>, Impossible> {
    let mut fields = given(wanted, categories);
    fields.insert("attributes".to_owned(), json!(wanted.attributes.over(&present.attributes)));
    fields.insert("variants".to_owned(), Value::Array(variants(present, wanted)?));
    let now = present.variants.iter().map(|v| json!({"sku": v.sku, "options": v.options, "price": v.price}));
    let now: Vec<Value> = now.collect();
    fields.retain(|name, value| match name.as_str() {
        "title" => *value != present.title,
        "slug" => *value != present.slug,
        "description" => *value != present.description,
        "status" => *value != present.status,
        "category_ids" => *value != json!(present.category_ids),
        "attributes" => *value != json!(present.attributes),
        "variants" => value.as_array() != Some(&now),
        _ => true,
    });
    Ok(fields)
}

/// What the file says of the product itself.
fn given(wanted: &Wanted, categories: &CategoryIds) -> Map<String, Value> {
    let ids = |paths: &Vec<Vec<String>>| paths.iter().filter_map(|path| categories.get(path)).collect::<Vec<_>>();
    let fields = [
        ("title", Some(json!(spelt(&wanted.title)))),
        ("slug", wanted.slug.as_ref().map(|slug| json!(slug))),
        ("description", wanted.description.as_ref().map(|description| json!(prose(description)))),
        ("status", wanted.status.map(|status| json!(status))),
        ("category_ids", wanted.categories.as_ref().map(|paths| json!(ids(paths)))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The variants that the shop has, each as the file wants it, and then the new ones.
fn variants(present: &Present, wanted: &Wanted) -> Result<Vec<Value>, Impossible> {
    let currency = present.variants.first().map(|variant| variant.price.currency);
    let stay = present.variants.iter().map(|variant| {
        match wanted.variants.iter().find(|wanted| wanted.sku.as_str() == variant.sku) {
            Some(wanted) => variant_of(wanted, Some(&variant.options), Some(variant.price.currency)),
            None => Ok(json!({"sku": variant.sku, "options": variant.options, "price": variant.price})),
        }
    });
    let is_new = |wanted: &&WantedVariant| !present.variants.iter().any(|have| have.sku == wanted.sku.as_str());
    let new = wanted.variants.iter().filter(is_new).map(|variant| variant_of(variant, None, currency));
    stay.chain(new).collect()
}

fn variant_of(
    wanted: &WantedVariant,
    options: Option<&BTreeMap<String, String>>,
    currency: Option<crate::actors::values::Currency>,
) -> Result<Value, Impossible> {
    let price = wanted
        .price
        .money(currency)
        .map_err(|reason| Impossible { variant: Some((wanted.line, wanted.sku.clone())), reason })?;
    let options = wanted.options.over(options.unwrap_or(&BTreeMap::new()));
    Ok(json!({"sku": wanted.sku, "options": options, "price": price}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::csv_catalogue::{self, Format};
    use crate::cli::import::json_catalogue;

    fn present() -> Present {
        serde_json::from_value(json!({
            "id": "prd_1", "version": 3, "slug": "tee", "title": "Tee", "description": "Soft.", "status": "draft",
            "category_ids": ["cat_1"], "attributes": {"fabric": "cotton", "care": "30"},
            "variants": [
                {"sku": "TEE-S", "options": {"size": "S", "colour": "red"}, "price": {"amount": 700, "currency": "JPY"}},
                {"sku": "TEE-M", "options": {"size": "M"}, "price": {"amount": 800, "currency": "JPY"}},
            ],
        }))
        .expect("a product")
    }

    fn csv(text: &str) -> Wanted {
        let parsed = csv_catalogue::parse("file", text.as_bytes(), Format::default()).expect("a catalogue");
        parsed.products.into_iter().next().expect("a product")
    }

    fn differs(wanted: &Wanted) -> Value {
        Value::Object(difference(&present(), wanted, &CategoryIds::default()).expect("possible"))
    }

    #[test]
    fn what_a_file_does_not_give_is_left_as_the_shop_has_it() {
        assert_eq!(differs(&csv("sku,title,price\nTEE-S,Tee,700\n")), json!({}));
        let empty = "sku,title,price,currency,status,description,category,slug,option:size,attribute:care\n\
                     TEE-M,Tee,800,,,,,,,\n";
        assert_eq!(differs(&csv(empty)), json!({}));
        let line = br#"{"title": "Tee", "sku": "TEE-S", "price": "700"}"#;
        let parsed = json_catalogue::parse("file", line.as_slice()).expect("a catalogue");
        assert_eq!(differs(&parsed.products[0]), json!({}));
    }

    #[test]
    fn what_a_column_gives_is_set_beside_what_others_gave() {
        let changed = differs(&csv("sku,title,price,option:size,attribute:care\nTEE-S,Tee,700,XS,40\n"));
        let variants = changed["variants"].as_array().expect("variants");
        assert_eq!(variants[0]["options"], json!({"size": "XS", "colour": "red"}));
        assert_eq!(variants[1]["sku"], json!("TEE-M"));
        assert_eq!(changed["attributes"], json!({"fabric": "cotton", "care": "40"}));
        let line = br#"{"title": "Tee", "sku": "TEE-S", "price": "700", "attributes": {}}"#;
        let parsed = json_catalogue::parse("file", line.as_slice()).expect("a catalogue");
        assert_eq!(differs(&parsed.products[0]), json!({"attributes": {}}), "in JSON it is the whole of them");
    }

    #[test]
    fn a_price_without_a_currency_is_in_the_shop_s() {
        let wanted = csv("sku,title,price,product\nTEE-S,Tee,7.50,t\nTEE-L,Tee,9,t\n");
        let why = difference(&present(), &wanted, &CategoryIds::default()).expect_err("yen have no places");
        assert_eq!(why.variant.map(|(line, sku)| (line, sku.to_string())), Some((2, "TEE-S".to_owned())));
        let changed = differs(&csv("sku,title,price,product\nTEE-S,Tee,750,t\nTEE-L,Tee,9,t\n"));
        let prices: Vec<_> = changed["variants"].as_array().expect("variants").iter().map(|v| &v["price"]).collect();
        let yen = |amount: u64| json!({"amount": amount, "currency": "JPY"});
        assert_eq!(prices, [&yen(750), &yen(800), &yen(9)]);
        let new = creation(&wanted, &CategoryIds::default()).expect("possible");
        assert_eq!(new["variants"][0]["price"], json!({"amount": 750, "currency": "GBP"}));
        assert_eq!(new["status"], json!("published"));
    }
}
