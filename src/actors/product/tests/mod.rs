//! Tables of one product; [`schedules`] has products, slugs and SKUs together.

mod schedules;

use std::sync::Arc;

use super::types::{NewProduct, NewVariant, Patch, RefusalCode};
use super::*;
use crate::actors::testing::kit::{Given, START, assert_golden, request};
use crate::actors::values::{CategoryId, Currency, UserId};

const TEE: ProductId = ProductId(1);
const MUG: ProductId = ProductId(2);

fn sku(text: &str) -> Sku {
    text.parse().expect("a SKU")
}

fn slug(text: &str) -> Slug {
    text.parse().expect("a slug")
}

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn variant(id: u128, name: &str, price: i64) -> NewVariant {
    let options = [(String::from("size"), String::from(name))].into();
    NewVariant { id: VariantId(id), sku: sku(name), options, price: gbp(price) }
}

fn new(id: ProductId, slug: Option<Slug>, variants: Vec<NewVariant>) -> Command {
    let product = NewProduct {
        id,
        title: Arc::from("Blue Tee"),
        slug,
        description: Arc::from("A tee."),
        category_ids: vec![CategoryId(1)],
        attributes: [(String::from("colour"), String::from("blue"))].into(),
        status: ProductStatus::Published,
        seller: None,
        variants,
    };
    Command::Create { product: Box::new(product) }
}

fn patch(patch: Patch) -> Command {
    Command::Update { if_version: None, patch: Box::new(patch) }
}

fn claimed() -> Result<sku::Reply, sku::Rejection> {
    Ok(sku::Reply::Claimed { band: StockBand::OutOfStock, seq: 0 })
}

fn sku_taken() -> Result<sku::Reply, sku::Rejection> {
    Err(sku::Rejection::Taken { by: MUG })
}

/// A published tee in M and S.
fn tee() -> Given<State> {
    Given::new()
        .when(new(TEE, None, vec![variant(1, "TEE-S", 1999), variant(2, "TEE-M", 2099)]))
        .when_answered::<ProductSlug>("claim_slug:1:blue-tee", Ok(slug::Reply::Claimed))
        .when_answered::<StockUnit>("claim_sku:1:TEE-M", claimed())
        .when_answered::<StockUnit>("claim_sku:1:TEE-S", claimed())
        .when_answered::<StockUnit>("set_offer:1:TEE-M", Ok(sku::Reply::OfferSet))
        .when_answered::<StockUnit>("set_offer:1:TEE-S", Ok(sku::Reply::OfferSet))
        .settled(true)
}

#[test]
fn a_product_is_there_when_its_slug_and_all_its_skus_are_its_own() {
    let given = Given::<State>::new()
        .when(new(TEE, None, vec![variant(1, "TEE-S", 1999), variant(2, "TEE-M", 2099)]))
        .then(Reply::Accepted)
        .again()
        .unchanged()
        .owes(["claim_slug:1:blue-tee"])
        .when_answered::<ProductSlug>("claim_slug:1:blue-tee", Ok(slug::Reply::Claimed))
        .owes(["claim_sku:1:TEE-M"]);
    let (to, claim) = given.owed::<StockUnit>("claim_sku:1:TEE-M");
    assert_eq!(to, "TEE-M");
    let sku::Command::Claim { offer, .. } = claim else { panic!("claims, not {claim:?}") };
    assert_eq!((offer.price, offer.published), (gbp(2099), false), "it is not sold before it is there");
    let given = given
        .after_ms(5)
        .when_answered::<StockUnit>("claim_sku:1:TEE-M", Ok(sku::Reply::Claimed { band: StockBand::InStock, seq: 9 }))
        .state(|product| assert!(product.content.is_none()))
        .when_answered::<StockUnit>("claim_sku:1:TEE-S", claimed())
        .events([Event::SkuClaimed { sku: sku("TEE-S"), band: StockBand::OutOfStock, seq: 0 }, Event::ChangeApplied])
        .settled(false)
        .owes(["set_offer:1:TEE-M", "set_offer:1:TEE-S"])
        .state(|product| {
            assert_eq!((product.version, product.created_at), (1, START.plus_ms(5)));
            assert_eq!(product.variant(&sku("TEE-M")).map(|variant| variant.stock), Some(StockBand::InStock));
            assert_eq!(product.variants[0].sku, sku("TEE-S"), "variants stand in the order given");
        });
    let (_, told) = given.owed::<StockUnit>("set_offer:1:TEE-S");
    assert!(matches!(told, sku::Command::SetOffer { offer } if offer.published && offer.price == gbp(1999)));
}

#[test]
fn a_slug_from_the_title_gets_a_suffix_when_it_is_taken() {
    let mut given = Given::<State>::new().when(new(TEE, None, vec![]));
    for taken in ["blue-tee", "blue-tee-2", "blue-tee-3", "blue-tee-4", "blue-tee-5"] {
        given = given
            .when_answered::<ProductSlug>(&format!("claim_slug:1:{taken}"), Err(slug::Rejection::Taken { by: MUG }));
    }
    let far_off = given.state.pending.as_ref().map(|pending| pending.draft.slug.clone()).expect("under way");
    assert!(far_off.as_str().len() > "blue-tee-99999".len(), "{far_off}");
    given
        .when_answered::<ProductSlug>(&format!("claim_slug:1:{far_off}"), Ok(slug::Reply::Claimed))
        .events([Event::SlugClaimed, Event::ChangeApplied])
        .settled(true)
        .state(|product| assert_eq!(product.slug, Some(far_off)));
}

#[test]
fn a_slug_that_was_asked_for_is_had_or_refused() {
    Given::<State>::new()
        .when(new(TEE, Some(slug("tee")), vec![variant(1, "TEE-S", 1999)]))
        .when_answered::<ProductSlug>("claim_slug:1:tee", Err(slug::Rejection::Taken { by: MUG }))
        .settled(true)
        .state(|product| {
            let refusal = product.refused(&request(1)).expect("refused");
            assert_eq!((refusal.code, refusal.slug.as_ref()), (RefusalCode::SlugTaken, Some(&slug("tee"))));
            assert!(product.content.is_none());
            assert_eq!(product.refused(&request(9)), None);
        })
        .when(patch(Patch::default()))
        .refused(Rejection::NotFound);
}

#[test]
fn what_a_refused_change_has_claimed_is_released() {
    tee()
        .when(patch(Patch {
            title: Some(Arc::from("Red Tee")),
            slug: Some(slug("red-tee")),
            variants: Some(vec![variant(8, "TEE-S", 1), variant(3, "RED-L", 1), variant(4, "RED-M", 1)]),
            ..Patch::default()
        }))
        .then(Reply::Accepted)
        .when_answered::<ProductSlug>("claim_slug:2:red-tee", Ok(slug::Reply::Claimed))
        .when_answered::<StockUnit>("claim_sku:2:RED-L", claimed())
        .when_answered::<StockUnit>("claim_sku:2:RED-M", sku_taken())
        .settled(false)
        .owes(["release_sku:2:RED-L", "release_slug:2:red-tee"])
        .when_answered::<StockUnit>("release_sku:2:RED-L", Ok(sku::Reply::Released))
        .when_answered::<ProductSlug>("release_slug:2:red-tee", Ok(slug::Reply::Released))
        .settled(true)
        .state(|product| {
            let refusal = product.last_refusal.as_ref().expect("refused");
            assert_eq!((refusal.code, refusal.variant), (RefusalCode::SkuTaken, Some(2)));
            assert_eq!((product.version, product.slug.clone()), (1, Some(slug("blue-tee"))));
            assert_eq!(product.variants.len(), 2);
        });
}

#[test]
fn an_update_keeps_what_stays_and_lets_go_what_goes() {
    tee()
        .after_ms(7)
        .when(patch(Patch {
            slug: Some(slug("tee")),
            variants: Some(vec![variant(9, "TEE-S", 1999), variant(3, "TEE-L", 2199)]),
            ..Patch::default()
        }))
        .when_answered::<ProductSlug>("claim_slug:2:tee", Ok(slug::Reply::Claimed))
        .when_answered::<StockUnit>("claim_sku:2:TEE-L", claimed())
        .owes(["set_offer:2:TEE-L", "release_sku:2:TEE-M", "release_slug:2:blue-tee"])
        .state(|product| {
            assert_eq!(product.variants[0].id, VariantId(1), "a SKU that stays keeps its variant id");
            assert_eq!((product.version, product.updated_at), (2, START.plus_ms(7)));
        });
}

#[test]
fn a_change_that_needs_no_claims_is_done_at_once() {
    tee()
        .when(patch(Patch { description: Some(Arc::from("A blue tee.")), ..Patch::default() }))
        .settled(true)
        .state(|product| assert_eq!(product.version, 2))
        .when(patch(Patch::default()))
        .unchanged()
        .when(patch(Patch { title: Some(Arc::from("Tee")), ..Patch::default() }))
        .owes(["set_offer:3:TEE-M", "set_offer:3:TEE-S"])
        .state(|product| assert_eq!(product.slug, Some(slug("blue-tee")), "URLs outlive titles"));
}

#[test]
fn an_archived_product_sells_nothing_and_can_come_back() {
    let given = tee().when(Command::Archive { if_version: Some(1) }).owes(["set_offer:2:TEE-M", "set_offer:2:TEE-S"]);
    let (_, told) = given.owed::<StockUnit>("set_offer:2:TEE-S");
    assert!(matches!(told, sku::Command::SetOffer { offer } if !offer.published));
    given
        .when_answered::<StockUnit>("set_offer:2:TEE-M", Ok(sku::Reply::OfferSet))
        .when_answered::<StockUnit>("set_offer:2:TEE-S", Ok(sku::Reply::OfferSet))
        .when(Command::Archive { if_version: None })
        .unchanged()
        .when(patch(Patch { status: Some(ProductStatus::Published), ..Patch::default() }))
        .owes(["set_offer:3:TEE-M", "set_offer:3:TEE-S"]);
}

#[test]
fn changes_come_one_at_a_time_and_from_who_has_seen_the_product() {
    let priced = |price| Patch { variants: Some(vec![variant(1, "TEE-S", price)]), ..Patch::default() };
    tee()
        .when(Command::Update { if_version: Some(3), patch: Box::new(priced(1)) })
        .refused(Rejection::Stale { current: 1 })
        .when(Command::Update { if_version: Some(1), patch: Box::new(priced(1)) })
        .then(Reply::Accepted)
        .when(patch(priced(2)))
        .refused(Rejection::ChangeInProgress)
        .when(Command::Archive { if_version: None })
        .refused(Rejection::ChangeInProgress)
        .when_answered::<StockUnit>("set_offer:2:TEE-S", Ok(sku::Reply::OfferSet))
        .when_answered::<StockUnit>("release_sku:2:TEE-M", Ok(sku::Reply::Released))
        .when(patch(priced(2)))
        .then(Reply::Accepted);
}

#[test]
fn variants_are_few_and_each_has_a_sku_of_its_own() {
    let many = (0..VARIANTS_MAX as u128 + 1).map(|n| variant(n, &format!("S-{n}"), 1)).collect();
    Given::<State>::new()
        .when(new(TEE, None, many))
        .refused(Rejection::TooManyVariants { limit: 100 })
        .when(new(TEE, None, vec![variant(1, "A", 1), variant(2, "B", 1), variant(3, "A", 1)]))
        .refused(Rejection::DuplicateSku { sku: sku("A"), variant: 2 });
}

#[test]
fn stock_news_count_by_their_number_and_are_no_new_version() {
    let news = |band, seq| Command::StockChanged { sku: sku("TEE-M"), band, seq };
    tee()
        .when(news(StockBand::InStock, 2))
        .then(Reply::Noted)
        .events([Event::StockNoted { sku: sku("TEE-M"), band: StockBand::InStock, seq: 2 }])
        .again()
        .unchanged()
        .when(news(StockBand::LowStock, 1))
        .unchanged()
        .when(Command::StockChanged { sku: sku("OTHER"), band: StockBand::InStock, seq: 1 })
        .then(Reply::Noted)
        .unchanged()
        .state(|product| assert_eq!((product.version, product.variants[1].stock), (1, StockBand::InStock)));
}

#[test]
fn news_may_overtake_the_claim() {
    Given::<State>::new()
        .when(new(TEE, None, vec![variant(1, "TEE-S", 1999)]))
        .when_answered::<ProductSlug>("claim_slug:1:blue-tee", Ok(slug::Reply::Claimed))
        .when(Command::StockChanged { sku: sku("TEE-S"), band: StockBand::InStock, seq: 4 })
        .when_answered::<StockUnit>("claim_sku:1:TEE-S", Ok(sku::Reply::Claimed { band: StockBand::LowStock, seq: 3 }))
        .state(|product| assert_eq!(product.variants[0].stock, StockBand::InStock));
}

#[test]
fn stored_bytes_stay_what_they_are() {
    let content = Content {
        title: Arc::from("Tee"),
        description: Arc::from("Blue"),
        status: ProductStatus::Published,
        category_ids: vec![CategoryId(3)],
        attributes: [(String::from("a"), String::from("b"))].into(),
        seller: Some(UserId(4)),
    };
    let draft = Draft { content, slug: slug("tee"), slug_derived: true, variants: vec![variant(2, "S", 300)] };
    let refusal = Refusal {
        request: RequestId([7; 16]),
        code: RefusalCode::SkuTaken,
        slug: None,
        sku: Some(sku("S")),
        variant: Some(1),
    };
    let follow_up = FollowUp { kind: FollowUpKind::ReleaseSlug, name: Arc::from("tee") };
    assert_golden(&[
        (
            Event::ChangeStarted { id: TEE, request: RequestId([7; 16]), draft: Box::new(draft) },
            "1.1 00000000000000000000000000000001070707070707070707070707070707070354656504426c756502010000000000000000000000000000000301016101620100000000000000000000000000000004037465650101000000000000000000000000000000020153010473697a650153fb5802474250",
        ),
        (Event::SlugClaimed, "2.1"),
        (Event::SlugTaken { next: slug("tee-2") }, "3.1 057465652d32"),
        (Event::SkuClaimed { sku: sku("S"), band: StockBand::OutOfStock, seq: 0 }, "4.1 01530300"),
        (Event::ChangeApplied, "5.1"),
        (Event::ChangeRefused { refusal }, "6.1 0707070707070707070707070707070702000101530101"),
        (Event::FollowUpDone { follow_up }, "7.1 0303746565"),
        (Event::StockNoted { sku: sku("S"), band: StockBand::LowStock, seq: 251 }, "8.1 015302fbfb00"),
    ]);
    assert_golden(&[(Reply::Accepted, "1.1"), (Reply::Noted, "2.1")]);
    assert_golden(&[
        (Rejection::NotFound, "1.1"),
        (Rejection::ChangeInProgress, "2.1"),
        (Rejection::Stale { current: 2 }, "3.1 02"),
        (Rejection::TooManyVariants { limit: 100 }, "4.1 64"),
        (Rejection::DuplicateSku { sku: sku("S"), variant: 2 }, "5.1 015302"),
    ]);
}
