//! Products that want the same slugs and SKUs, under any order, loss and repetition of messages.

use proptest::prelude::*;

use super::*;
use crate::actors::testing::world::{Step, World, steps};

const SKUS: [&str; 4] = ["A", "B", "C", "D"];
const PRODUCTS: u128 = 3;

#[derive(Debug, Clone)]
enum Act {
    Create { product: ProductId, named: bool, skus: Vec<usize> },
    Update { product: ProductId, slug: Option<usize>, skus: Vec<usize>, price: i64 },
    Archive { product: ProductId },
    Stock { sku: usize, on_hand: u64 },
    Messages(Vec<Step>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let product = (1..=PRODUCTS).prop_map(ProductId);
    let skus = prop::sample::subsequence(vec![0, 1, 2, 3], 0..=4);
    let act = prop_oneof![
        2 => (product.clone(), any::<bool>(), skus.clone())
            .prop_map(|(product, named, skus)| Act::Create { product, named, skus }),
        2 => (product.clone(), prop::option::of(0..3_usize), skus, 1..4_i64)
            .prop_map(|(product, slug, skus, price)| Act::Update { product, slug, skus, price }),
        1 => product.prop_map(|product| Act::Archive { product }),
        2 => (0..4_usize, 0..8_u64).prop_map(|(sku, on_hand)| Act::Stock { sku, on_hand }),
        4 => steps(12).prop_map(Act::Messages),
    ];
    prop::collection::vec(act, 1..25)
}

fn variants(product: ProductId, skus: &[usize], price: i64) -> Vec<NewVariant> {
    skus.iter().map(|sku| variant(product.0 * 100 + *sku as u128, SKUS[*sku], price)).collect()
}

fn play(world: &mut World, act: Act) {
    match act {
        Act::Create { product, named, skus } => {
            let slug = named.then(|| slug("tee-2"));
            // Refusals (in progress) are part of the play.
            let _ = world.send::<Product>(&product, new(product, slug, variants(product, &skus, 1)));
        }
        Act::Update { product, slug: name, skus, price } => {
            let slug = name.map(|name| slug(["tee", "tee-2", "blue-tee"][name]));
            let change = Patch { slug, variants: Some(variants(product, &skus, price)), ..Patch::default() };
            let _ = world.send::<Product>(&product, patch(change));
        }
        Act::Archive { product } => {
            let _ = world.send::<Product>(&product, Command::Archive { if_version: None });
        }
        Act::Stock { sku: name, on_hand } => {
            let set = sku::Command::SetStock { on_hand, expected: None, item: None };
            let _ = world.send::<StockUnit>(&sku(SKUS[name]), set);
        }
        Act::Messages(steps) => steps.into_iter().for_each(|step| world.step(step)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// In the end every SKU sells what its one product says, every slug leads to the product that shows
    /// it, and nothing is held that is not in use.
    #[test]
    fn changes_end_well_under_every_schedule(acts in acts()) {
        let mut world = World::new().with::<Product>().with::<ProductSlug>().with::<StockUnit>();
        for act in acts {
            play(&mut world, act);
        }
        world.settle();

        let products: Vec<_> = (1..=PRODUCTS).map(|n| world.state::<Product>(&ProductId(n)).clone()).collect();
        for name in SKUS {
            let unit = world.state::<StockUnit>(&sku(name)).clone();
            let mut sellers = products.iter().filter(|product| product.variant(&sku(name)).is_some());
            let (seller, other) = (sellers.next(), sellers.next());
            prop_assert!(other.is_none(), "{} is sold by two products", name);
            prop_assert_eq!(unit.offer.is_some(), seller.is_some(), "{}", name);
            if let (Some(told), Some(seller)) = (unit.offer, seller) {
                let variant = seller.variant(&sku(name)).expect("it was found above");
                let content = seller.content.as_deref().expect("a product with variants is there");
                let id = seller.id.expect("a product that is there has an id");
                prop_assert_eq!(told, offer(id, content, variant.id, variant.price));
                prop_assert_eq!((variant.stock, variant.stock_seq), (unit.band, unit.band_seq));
            }
        }
        for name in ["tee", "tee-2", "blue-tee", "blue-tee-2", "blue-tee-3"] {
            let holder = world.state::<ProductSlug>(&slug(name)).product;
            let shown: Vec<_> = products.iter().filter(|product| product.slug == Some(slug(name))).collect();
            prop_assert_eq!(shown.iter().filter_map(|product| product.id).collect::<Vec<_>>(), Vec::from_iter(holder));
        }
    }

    /// Of two products that want overlapping SKUs one gets them, whatever the schedule.
    #[test]
    fn of_two_that_compete_one_gets_through(steps in steps(60)) {
        let mut world = World::new().with::<Product>().with::<ProductSlug>().with::<StockUnit>();
        for (product, skus) in [(TEE, [0, 1, 2]), (MUG, [1, 2, 3])] {
            world.send::<Product>(&product, new(product, None, variants(product, &skus, 1))).expect("nothing is there");
        }
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let there = [TEE, MUG].map(|product| world.state::<Product>(&product).content.is_some());
        prop_assert!(there[0] != there[1], "{:?}", there);
    }
}
