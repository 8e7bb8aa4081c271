//! A small catalogue to look at, for `souk serve --sample`: a shop for the desk, the kitchen and the
//! outdoors.
//!
//! It is loaded once into a store: ids are derived from fixed names, and when its last SKU has had stock,
//! nothing is touched any more, whatever a merchant has made of it since. A crash in the middle leaves a
//! part; the next start adds the rest.

use std::time::Duration;

use tokio::time::Instant;

use crate::actors::categories::types::{self as categories, Categories};
use crate::actors::entity::Caller;
use crate::actors::product::types::{self as product, NewProduct, NewVariant, Product, ProductStatus};
use crate::actors::runtime::client::{AskError, Asking, Client, Wait};
use crate::actors::sku::types::{self as sku, StockUnit};
use crate::actors::values::{CategoryId, Currency, Invalid, Money, Only, ProductId, RequestId, Sku, VariantId};

/// Why the sample could not be loaded. It may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error("the shop did not answer: {0}")]
    Ask(#[from] AskError),
    #[error("a sample SKU or slug is malformed: {0}")]
    Malformed(#[from] Invalid),
}

/// How much was added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    pub categories: usize,
    pub products: usize,
}

/// A category: its slug, title, and the slug of its parent.
struct SampleCategory(&'static str, &'static str, Option<&'static str>);

const CATEGORIES: [SampleCategory; 9] = [
    SampleCategory("home", "Home", None),
    SampleCategory("kitchen", "Kitchen", Some("home")),
    SampleCategory("coffee", "Coffee", Some("kitchen")),
    SampleCategory("desk", "Desk", Some("home")),
    SampleCategory("lighting", "Lighting", Some("home")),
    SampleCategory("clothing", "Clothing", None),
    SampleCategory("tees", "T-shirts", Some("clothing")),
    SampleCategory("knitwear", "Knitwear", Some("clothing")),
    SampleCategory("outdoors", "Outdoors", None),
];

/// A product: title, category, description, the name of its option, and its variants (option's value, SKU,
/// price in pence, pieces in stock).
struct SampleProduct {
    title: &'static str,
    category: &'static str,
    description: &'static str,
    option: &'static str,
    variants: &'static [(&'static str, &'static str, i64, u64)],
}

const fn product(
    title: &'static str,
    category: &'static str,
    description: &'static str,
    option: &'static str,
    variants: &'static [(&'static str, &'static str, i64, u64)],
) -> SampleProduct {
    SampleProduct { title, category, description, option, variants }
}

const PRODUCTS: [SampleProduct; 24] = [
    product(
        "Harbour Tee",
        "tees",
        "Heavy organic cotton, cut straight.",
        "size",
        &[
            ("S", "TEE-HARBOUR-S", 2400, 40),
            ("M", "TEE-HARBOUR-M", 2400, 60),
            ("L", "TEE-HARBOUR-L", 2400, 45),
            ("XL", "TEE-HARBOUR-XL", 2600, 12),
        ],
    ),
    product(
        "Breton Stripe Tee",
        "tees",
        "Long sleeves, seven stripes, and buttons on one shoulder.",
        "size",
        &[("S", "TEE-BRETON-S", 3200, 18), ("M", "TEE-BRETON-M", 3200, 22), ("L", "TEE-BRETON-L", 3200, 4)],
    ),
    product(
        "Pocket Tee",
        "tees",
        "One pocket. Deep enough for a pencil.",
        "colour",
        &[
            ("chalk", "TEE-POCKET-CHALK", 2200, 30),
            ("moss", "TEE-POCKET-MOSS", 2200, 0),
            ("ink", "TEE-POCKET-INK", 2200, 25),
        ],
    ),
    product(
        "Fisherman Jumper",
        "knitwear",
        "Undyed wool that keeps its lanolin, and you dry.",
        "size",
        &[("S", "KNIT-FISHER-S", 9800, 8), ("M", "KNIT-FISHER-M", 9800, 14), ("L", "KNIT-FISHER-L", 9800, 10)],
    ),
    product(
        "Merino Cardigan",
        "knitwear",
        "Fine gauge, horn buttons, no hurry.",
        "colour",
        &[("oat", "KNIT-CARDI-OAT", 8400, 9), ("navy", "KNIT-CARDI-NAVY", 8400, 11)],
    ),
    product(
        "Watch Cap",
        "knitwear",
        "Ribbed lambswool, folded twice.",
        "colour",
        &[("rust", "KNIT-CAP-RUST", 2600, 50), ("slate", "KNIT-CAP-SLATE", 2600, 50)],
    ),
    product(
        "Gooseneck Kettle",
        "coffee",
        "Pours where you point it. 0.9 litres, for every hob.",
        "finish",
        &[("steel", "COF-KETTLE-STEEL", 5900, 20), ("black", "COF-KETTLE-BLACK", 6400, 16)],
    ),
    product(
        "Hand Grinder",
        "coffee",
        "Steel burrs, forty clicks, and a minute of exercise.",
        "finish",
        &[("walnut", "COF-GRIND-WALNUT", 7900, 12)],
    ),
    product(
        "Paper Dripper",
        "coffee",
        "Stoneware cone for one cup or two.",
        "size",
        &[("1 cup", "COF-DRIP-1", 1800, 35), ("2 cups", "COF-DRIP-2", 2300, 28)],
    ),
    product(
        "Paper Filters",
        "coffee",
        "A hundred, unbleached.",
        "size",
        &[("1 cup", "COF-FILTER-1", 450, 400), ("2 cups", "COF-FILTER-2", 550, 400)],
    ),
    product(
        "Enamel Mug",
        "kitchen",
        "Falls off tables since 1926.",
        "colour",
        &[("white", "KIT-MUG-WHITE", 900, 120), ("blue", "KIT-MUG-BLUE", 900, 80), ("green", "KIT-MUG-GREEN", 900, 3)],
    ),
    product(
        "Cast Iron Skillet",
        "kitchen",
        "Ready seasoned, and better every year.",
        "size",
        &[("20 cm", "KIT-SKILLET-20", 3400, 25), ("26 cm", "KIT-SKILLET-26", 4600, 25)],
    ),
    product(
        "Beech Chopping Board",
        "kitchen",
        "End grain, with feet, oiled by hand.",
        "size",
        &[("small", "KIT-BOARD-S", 2900, 18), ("large", "KIT-BOARD-L", 4400, 9)],
    ),
    product(
        "Linen Tea Towel",
        "kitchen",
        "Dries glasses without a trace.",
        "colour",
        &[("natural", "KIT-TOWEL-NAT", 1200, 90), ("red stripe", "KIT-TOWEL-RED", 1200, 70)],
    ),
    product(
        "Dot Grid Notebook",
        "desk",
        "Sewn, lies flat, 192 pages that take ink.",
        "size",
        &[("A6", "DESK-NOTE-A6", 800, 150), ("A5", "DESK-NOTE-A5", 1200, 200)],
    ),
    product(
        "Brass Pencil",
        "desk",
        "A 2 mm lead holder that outlives its leads.",
        "finish",
        &[("raw", "DESK-PENCIL-RAW", 2800, 40)],
    ),
    product(
        "Felt Desk Mat",
        "desk",
        "Wool felt on cork, for cold wrists.",
        "size",
        &[("60 cm", "DESK-MAT-60", 3900, 15), ("90 cm", "DESK-MAT-90", 5400, 11)],
    ),
    product(
        "Oak Monitor Stand",
        "desk",
        "Raises a screen by 11 cm and hides a keyboard.",
        "finish",
        &[("oiled", "DESK-STAND-OIL", 8900, 7), ("smoked", "DESK-STAND-SMK", 9400, 2)],
    ),
    product(
        "Clamp Lamp",
        "lighting",
        "Two springs, one switch, any angle.",
        "colour",
        &[("cream", "LIT-CLAMP-CREAM", 6900, 13), ("black", "LIT-CLAMP-BLACK", 6900, 17)],
    ),
    product(
        "Paper Lantern",
        "lighting",
        "Bamboo and paper; folds flat for the next move.",
        "size",
        &[("45 cm", "LIT-LANTERN-45", 1900, 40), ("60 cm", "LIT-LANTERN-60", 2700, 30)],
    ),
    product(
        "Beeswax Candles",
        "lighting",
        "A pair. Six hours of quiet each.",
        "colour",
        &[("honey", "LIT-CANDLE-HONEY", 1100, 60)],
    ),
    product(
        "Waxed Rucksack",
        "outdoors",
        "Eighteen litres, two straps, no logo.",
        "colour",
        &[("olive", "OUT-RUCK-OLIVE", 11900, 6), ("sand", "OUT-RUCK-SAND", 11900, 5)],
    ),
    product(
        "Vacuum Flask",
        "outdoors",
        "Hot till evening, cold till tomorrow.",
        "size",
        &[("0.5 l", "OUT-FLASK-05", 2700, 45), ("1 l", "OUT-FLASK-10", 3500, 32)],
    ),
    product(
        "Picnic Blanket",
        "outdoors",
        "Recycled wool above, waterproof below.",
        "colour",
        &[("heather", "OUT-BLANKET-HEA", 6500, 10), ("pine", "OUT-BLANKET-PIN", 6500, 8)],
    ),
];

/// Loads what is missing.
pub async fn load(client: &Client) -> Result<Loaded, SampleError> {
    let mut loaded = Loaded::default();
    if is_loaded(client).await? {
        return Ok(loaded);
    }
    for category in &CATEGORIES {
        loaded.categories += usize::from(add_category(client, category).await?);
    }
    for product in &PRODUCTS {
        loaded.products += usize::from(add_product(client, product).await?);
    }
    Ok(loaded)
}

async fn is_loaded(client: &Client) -> Result<bool, SampleError> {
    let Some((_, sku, _, _)) = PRODUCTS.last().and_then(|product| product.variants.last()) else { return Ok(true) };
    Ok(client.read::<StockUnit>(&sku.parse()?, deadline()).await?.state.received > 0)
}

/// Adds a category if it is not there; the answer says whether it was added.
async fn add_category(client: &Client, category: &SampleCategory) -> Result<bool, SampleError> {
    let SampleCategory(name, title, parent) = category;
    let command = categories::Command::Create {
        id: category_id(name),
        title: (*title).into(),
        slug: Some(name.parse()?),
        parent: parent.map(category_id),
        position: None,
    };
    let answered = client.ask::<Categories>(&Only, command, asking(&["category", name], Wait::Durable)).await?;
    if let Err(rejection) = &answered.outcome {
        tracing::warn!(category = name, ?rejection, "a sample category was refused");
    }
    Ok(answered.outcome.is_ok())
}

/// Adds a product if it is not there, and stocks SKUs that have never had stock; the answer says whether it
/// was added.
async fn add_product(client: &Client, sample: &SampleProduct) -> Result<bool, SampleError> {
    let id = product_id(sample);
    let there = client.read_settled::<Product>(&id, deadline()).await?.state.content.is_some();
    if !there && !create(client, sample, id).await? {
        return Ok(false);
    }
    for (_, sku, _, pieces) in sample.variants {
        stock(client, &sku.parse()?, *pieces).await?;
    }
    Ok(!there)
}

/// Whether the product came about: somebody else may have one of its SKUs.
async fn create(client: &Client, sample: &SampleProduct, id: ProductId) -> Result<bool, SampleError> {
    let request = request(&["product", sample.title]);
    let variant = |(n, (value, sku, pence, _)): (u32, &(&'static str, &'static str, i64, u64))| {
        Ok(NewVariant {
            id: VariantId::derived(&request, n),
            sku: sku.parse()?,
            options: [(sample.option.to_owned(), (*value).to_owned())].into(),
            price: Money::new(*pence, Currency::GBP),
        })
    };
    let new = NewProduct {
        id,
        title: sample.title.into(),
        slug: None,
        description: sample.description.into(),
        category_ids: vec![category_id(sample.category)],
        attributes: Default::default(),
        status: ProductStatus::Published,
        seller: None,
        variants: (0..).zip(sample.variants).map(variant).collect::<Result<_, Invalid>>()?,
    };
    let command = product::Command::Create { product: Box::new(new) };
    let answered = client.ask::<Product>(&id, command, asking(&["product", sample.title], Wait::Settled)).await?;
    let refused = answered.outcome.as_ref().err().map(|why| format!("{why:?}"));
    let refused = refused.or_else(|| answered.view.state.last_refusal.as_ref().map(|why| why.code.to_string()));
    if let Some(refused) = refused {
        tracing::warn!(product = sample.title, why = refused, "a sample product was refused");
        return Ok(false);
    }
    Ok(true)
}

async fn stock(client: &Client, sku: &Sku, pieces: u64) -> Result<(), SampleError> {
    if client.read::<StockUnit>(sku, deadline()).await?.state.received > 0 {
        return Ok(());
    }
    let asking = asking(&["stock", sku.as_str()], Wait::Durable);
    let command = sku::Command::SetStock { on_hand: pieces, expected: Some(0), item: None };
    let answered = client.ask::<StockUnit>(sku, command, asking).await?;
    if let Err(rejection) = &answered.outcome {
        tracing::debug!(%sku, ?rejection, "a sample SKU was stocked before");
    }
    Ok(())
}

fn category_id(name: &str) -> CategoryId {
    CategoryId::derived(&request(&["category", name]), 0)
}

fn product_id(sample: &SampleProduct) -> ProductId {
    ProductId::derived(&request(&["product", sample.title]), 0)
}

fn request(parts: &[&str]) -> RequestId {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    RequestId::of("sample", &parts)
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn asking(parts: &[&str], wait: Wait) -> Asking {
    let request = request(parts);
    Asking { request, keyed: None, caller: Caller::System, deadline: deadline(), if_version: None, wait }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_sample_is_well_formed() {
        let mut skus = BTreeSet::new();
        let categories: Vec<_> = CATEGORIES.iter().map(|category| category.0).collect();
        for product in &PRODUCTS {
            assert!(categories.contains(&product.category), "{}", product.title);
            for (_, sku, pence, _) in product.variants {
                assert!(sku.parse::<Sku>().is_ok() && *pence > 0, "{sku}");
                assert!(skus.insert(sku), "{sku} is there once");
            }
        }
        for (n, SampleCategory(name, _, parent)) in CATEGORIES.iter().enumerate() {
            let above = &categories[..n];
            assert!(parent.is_none_or(|parent| above.contains(&parent)), "the parent of {name} comes first");
        }
    }
}
