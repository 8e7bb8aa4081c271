//! `docs/refusals.md` is held to the code: each refusal is made, and has the row that says what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::account::{sessions, users};
use super::admin::{inventory, products};
use super::answer::problem::{Code, Problem};
use super::shop::{carts, categories, completion, orders};
use crate::actors::audit::types::Audit;
use crate::actors::cart::types::{self as cart, Cart, CartStatus, MergeRefusal};
use crate::actors::categories::types::{self as category, Categories};
use crate::actors::entity::{Kind, Stored};
use crate::actors::keyring::types::Keyring;
use crate::actors::kinds;
use crate::actors::login::types::Login;
use crate::actors::mock_charge::types::MockCharge;
use crate::actors::order::types::{self as order, Order, OrderRefusal, OrderStatus};
use crate::actors::order_number::types::OrderNumber;
use crate::actors::product::types::{self as product, Product};
use crate::actors::runtime::client::AskError;
use crate::actors::session::types::{self as session, Session};
use crate::actors::sku::types::{self as sku, StockUnit};
use crate::actors::slug::types::ProductSlug;
use crate::actors::user::types::{self as user, User};
use crate::actors::values::{CategoryId, Currency, LineId, Money, OrderId, ProductId, RequestId, Sku};

const PAGE: &str = include_str!("../../docs/refusals.md");

/// The first two cells of the rows of one section, each with what stands in its third cell.
fn rows(heading: &str) -> BTreeSet<(String, String, String)> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("a section of the page");
    let section = section.split("\n## ").next().unwrap_or(section);
    let cells = section.lines().filter(|line| line.starts_with("| ")).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        let mut cell = || cells.next().unwrap_or_default();
        (cell(), cell(), cell())
    });
    cells.filter(|(from, ..)| from != "from" && !from.starts_with("---")).collect()
}

fn seen(code: Code) -> String {
    format!("{} {}", code.status().as_u16(), code.slug())
}

/// The rows that refusals of one sort must have.
fn expected<R: Debug>(from: &str, refusals: &[R], problem: impl Fn(&R) -> Problem) -> Vec<(String, String, String)> {
    let name = |refusal: &R| {
        let text = format!("{refusal:?}");
        text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
    };
    refusals.iter().map(|refusal| (from.to_owned(), name(refusal), seen(problem(refusal).code()))).collect()
}

/// The same for a kind's rejections; each variant has to be among them.
fn of_kind<K: Kind<Rejection: Stored>>(
    rejections: &[K::Rejection],
    problem: impl Fn(&K::Rejection) -> Problem,
) -> Vec<(String, String, String)> {
    let rows = expected(K::NAME, rejections, problem);
    let made: BTreeSet<&str> = rows.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(made, variants::<K>(), "each of {} is made here", K::NAME);
    rows
}

fn variants<K: Kind<Rejection: Stored>>() -> BTreeSet<&'static str> {
    K::Rejection::NUMBERS.iter().filter_map(|number| number.variant).collect()
}

fn a_sku() -> Sku {
    "TEE-M".parse().expect("a SKU")
}

fn of_carts() -> Vec<(String, String, String)> {
    use cart::Rejection::*;
    let sku = a_sku();
    let rejections = [
        NotFound,
        Closed { status: CartStatus::Completed },
        Closed { status: CartStatus::Expired },
        CompletionInProgress { order: OrderId(1) },
        MergeInProgress,
        UnknownSku { sku: sku.clone() },
        Unpublished { sku: sku.clone() },
        OtherCurrency { sku: sku.clone(), currency: Currency::GBP },
        TooManyLines { limit: 1 },
        QuantityTooLarge { limit: 1 },
        LineNotFound,
        SelfMerge,
        NotReady { requirements: Vec::new() },
        SkuGone { line: 0, sku: sku.clone() },
        OfferMissing { sku },
        NotMerging,
        LinesNotAdded { faults: Vec::new() },
    ];
    of_kind::<Cart>(&rejections, carts::refusal)
}

fn of_orders() -> Vec<(String, String, String)> {
    use order::Rejection::*;
    let line = LineId(1);
    let rejections = [
        NotPlaced,
        AlreadyPlaced,
        AlreadyFulfilled,
        WrongStatus { status: OrderStatus::Rejected },
        RefundExceedsCaptured { remaining: Money::new(1, Currency::GBP) },
        InvalidAmount,
        TooManyRefunds { limit: 1 },
        UnknownLine { line },
        ExceedsUnfulfilled { line, remaining: 1 },
        NothingToFulfil,
    ];
    of_kind::<Order>(&rejections, orders::refusal)
}

fn of_accounts() -> Vec<(String, String, String)> {
    let users = {
        use user::Rejection::*;
        [
            NotActive,
            AlreadyRegistered,
            AddressNotFound,
            TooManyAddresses { limit: 1 },
            TooManySessions { limit: 1 },
            PasswordChanged,
            RolesChangeInProgress,
        ]
    };
    let sessions = {
        use session::Rejection::*;
        [NotFound, Revoked, Expired, AlreadyStarted, TooManyRefreshes { limit: 1 }, NeverGood]
    };
    let mut rows = of_kind::<User>(&users, users::refusal);
    rows.extend(of_kind::<Session>(&sessions, sessions::refusal));
    rows
}

fn of_the_catalogue() -> Vec<(String, String, String)> {
    let categories = {
        use category::Rejection::*;
        [
            NotFound,
            Stale { current: 1 },
            SlugTaken { by: CategoryId(1) },
            ParentNotFound,
            Cycle,
            HasChildren { children: 1 },
            TooMany { limit: 1 },
            TooDeep { limit: 1 },
        ]
    };
    let products = {
        use product::Rejection::*;
        [
            NotFound,
            ChangeInProgress,
            Stale { current: 1 },
            TooManyVariants { limit: 1 },
            DuplicateSku { sku: a_sku(), variant: 1 },
        ]
    };
    let skus = {
        use sku::Rejection::*;
        [
            Taken { by: ProductId(1) },
            Unknown,
            StockChanged { on_hand: 1 },
            StockReserved { reserved: 1 },
            OutOfRange { limit: 1 },
            InsufficientStock { available: 1, requested: 2 },
            NotReserved,
            Contended,
        ]
    };
    let mut rows = of_kind::<Categories>(&categories, categories::refusal);
    rows.extend(of_kind::<Product>(&products, products::rejected));
    rows.extend(of_kind::<StockUnit>(&skus, |rejection| inventory::refusal(rejection, "/on_hand")));
    rows
}

#[test]
fn each_rejection_of_an_entity_has_its_row() {
    let made = [of_carts(), of_orders(), of_accounts(), of_the_catalogue()].concat();
    assert_eq!(rows("What entities refuse"), made.into_iter().collect());
}

#[test]
fn each_rejection_that_only_entities_see_has_its_row() {
    let kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::from([
        (Keyring::NAME, variants::<Keyring>()),
        (Login::NAME, variants::<Login>()),
        (ProductSlug::NAME, variants::<ProductSlug>()),
        (OrderNumber::NAME, variants::<OrderNumber>()),
        (MockCharge::NAME, variants::<MockCharge>()),
        (Audit::NAME, variants::<Audit>()),
    ]);
    let expected: BTreeSet<(String, String)> = kinds
        .iter()
        .flat_map(|(kind, names)| names.iter().map(|name| ((*kind).to_owned(), (*name).to_owned())))
        .collect();
    let rows = rows("What entities refuse each other");
    assert_eq!(rows.into_iter().map(|(from, name, _)| (from, name)).collect::<BTreeSet<_>>(), expected);
}

/// So that a new kind is not forgotten here. A customer refuses nothing.
#[test]
fn each_kind_that_refuses_stands_on_the_page() {
    let on_page: BTreeSet<String> = ["What entities refuse", "What entities refuse each other"]
        .into_iter()
        .flat_map(rows)
        .map(|(kind, ..)| kind)
        .chain(["customer".to_owned()])
        .collect();
    assert_eq!(on_page, kinds::all().names().map(str::to_owned).collect());
}

/// Every refusal of the runtime. Whoever adds one is asked here for its place in the list.
fn ask_errors() -> Vec<AskError> {
    let all = vec![
        AskError::Busy { retry_after_ms: 1 },
        AskError::Unavailable,
        AskError::DeadlinePassed,
        AskError::Unknown,
        AskError::KeyReused,
        AskError::StaleVersion { current: 1 },
        AskError::Quarantined,
        AskError::Damaged,
        AskError::UnknownKind,
        AskError::AnsweredLongAgo,
        AskError::Panicked,
        AskError::Unsupported,
    ];
    let place = |error: &AskError| match error {
        AskError::Busy { .. } => 0,
        AskError::Unavailable => 1,
        AskError::DeadlinePassed => 2,
        AskError::Unknown => 3,
        AskError::KeyReused => 4,
        AskError::StaleVersion { .. } => 5,
        AskError::Quarantined => 6,
        AskError::Damaged => 7,
        AskError::UnknownKind => 8,
        AskError::AnsweredLongAgo => 9,
        AskError::Panicked => 10,
        AskError::Unsupported => 11,
    };
    assert!(all.iter().enumerate().all(|(at, error)| place(error) == at));
    all
}

#[test]
fn each_refusal_of_the_runtime_has_its_row() {
    let made = expected("AskError", &ask_errors(), |error| Problem::from(error.clone()));
    assert_eq!(rows("What the runtime refuses"), made.into_iter().collect());
}

#[test]
fn each_failure_of_a_process_has_its_row() {
    let row = |from: &str, word: &str, problem: Problem| (from.to_owned(), word.to_owned(), seen(problem.code()));
    let completions = order::RefusalCode::ALL.iter().map(|code| {
        let refusal = OrderRefusal::of(*code);
        let refused =
            cart::CompletionRefused { request: RequestId::default(), order: OrderId(1), order_version: 1, refusal };
        row("completion", code.word(), completion::rejected(&refused))
    });
    let merges = MergeRefusal::ALL.iter().map(|refusal| row("merge", refusal.word(), carts::merge_refused(*refusal)));
    let changes = product::RefusalCode::ALL.iter().map(|code| {
        let refusal =
            product::Refusal { request: RequestId::default(), code: *code, slug: None, sku: None, variant: None };
        row("product change", code.word(), products::refused(&refusal))
    });
    assert_eq!(rows("What a process came to"), completions.chain(merges).chain(changes).collect());
}

#[test]
fn each_code_stands_on_the_page_with_its_status() {
    let plain = PAGE.replace('`', "");
    let missing: Vec<String> = Code::ALL
        .iter()
        .map(|code| seen(*code))
        .filter(|seen| !plain.match_indices(seen.as_str()).any(|(at, _)| ends_word(&plain[at + seen.len()..])))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

fn ends_word(rest: &str) -> bool {
    rest.chars().next().is_none_or(|next| !next.is_alphanumeric() && next != '_')
}
