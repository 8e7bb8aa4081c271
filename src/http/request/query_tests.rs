//! Tests of query strings: what a list understands, and what it refuses.

use super::*;
use crate::filters;
use crate::fuzz::{Verdict, decoder};

filters! {
    enum ProductFilter {
        Price = "price" FilterKind::Integer,
        CreatedAt = "created_at" FilterKind::Time,
        Status = "status" FilterKind::Word(&["draft", "published"]),
        Attributes = "attributes[]" FilterKind::Text,
    }
}

struct Products;
impl Listing for Products {
    type Filter = ProductFilter;
    const SORTS: &'static [&'static str] = &["created_at", "price"];
    const PARAMETERS: &'static [&'static str] = &["category"];
}

fn list(query: &str) -> Result<List<Products>> {
    List::parse("/v1/products", query)
}

#[test]
fn a_list_is_read_from_its_query() {
    let query = "limit=7&sort=-created_at,price&filter[price][gte]=1000&filter%5Battributes%5D%5Bcolour%5D=red\
                 &filter[status]=draft&filter[created_at][lt]=2026-01-01T00:00:00Z&category=tops&with_total=true";
    let list = list(query).expect("a good query");
    assert_eq!((list.limit, list.with_total, list.parameter("category")), (7, true, Some("tops")));
    let sort = |field, descending| Sort { field, descending };
    assert_eq!(list.sorts, [sort("created_at", true), sort("price", false)]);
    assert_eq!(list.filters.len(), 4);
    assert!(list.filters[0].passes_integer(1000) && !list.filters[0].passes_integer(999));
    assert_eq!(list.filters[1].member.as_deref(), Some("colour"));
    assert!(list.filters[1].passes_text("red") && !list.filters[1].passes_text("blue"));
    assert!(list.filters[2].passes_text("draft"));
    assert!(list.filters[3].passes_time(Time(0)));
    assert_eq!(super::List::<Products>::parse("/", "").map(|list| list.limit), Ok(25));
}

#[test]
fn what_a_list_does_not_know_is_refused() {
    for (query, code) in [
        ("color=red", Code::UnknownParameter),
        ("filter[weight]=1", Code::UnknownParameter),
        ("filter[price][like]=1", Code::UnknownParameter),
        ("filter[status][gte]=draft", Code::UnknownParameter),
        ("filter[attributes]=red", Code::UnknownParameter),
        ("filter[price][gte][x]=1", Code::UnknownParameter),
        ("filter[price=1", Code::UnknownParameter),
        ("filter[price]=cheap", Code::InvalidParameter),
        ("filter[status]=sold", Code::InvalidParameter),
        ("filter[created_at]=yesterday", Code::InvalidParameter),
        ("limit=0", Code::InvalidParameter),
        ("limit=101", Code::InvalidParameter),
        ("limit=ten", Code::InvalidParameter),
        ("limit=1&limit=2", Code::InvalidParameter),
        ("sort=weight", Code::InvalidParameter),
        ("sort=", Code::InvalidParameter),
        ("with_total=maybe", Code::InvalidParameter),
    ] {
        assert_eq!(list(query).map(|list| list.limit).map_err(|problem| problem.code()), Err(code), "{query}");
    }
}

#[test]
fn a_cursor_belongs_to_its_list() {
    let one = list("sort=price&cursor=x&limit=3").expect("a good query").scope();
    let same = list("limit=9&sort=price").expect("a good query").scope();
    let other = list("sort=-price").expect("a good query").scope();
    assert_eq!(one, same);
    assert_ne!(one, other);

    let tag = |position: &str| if position == "p1" { [7; 8] } else { [8; 8] };
    let cursor = |tag: [u8; 8], position: &str| BASE64URL_NOPAD.encode(&[&tag, position.as_bytes()].concat());
    assert_eq!(open_cursor(&cursor([7; 8], "p1"), tag), Ok("p1".into()));
    for wrong in ["", "x", "!!", &cursor([7; 8], "p2"), &cursor([8; 8], "p1")] {
        assert_eq!(open_cursor(wrong, tag).map_err(|p| p.code()), Err(Code::InvalidCursor), "{wrong}");
    }
}

#[test]
fn pages_of_a_list_make_the_list() {
    let all: Vec<u32> = (0..7).collect();
    let position = |n: usize, _: &u32| format!("{n:05}");
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let (data, next) = cut(all.clone(), after.as_deref(), 3, position);
        assert!(data.len() <= 3 && !data.is_empty());
        seen.extend(data);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, all);
    assert_eq!(cut(all[..3].to_vec(), None, 3, position).1, None, "a full last page has no next");
    assert!(newest_first(Time(9), "a") < newest_first(Time(8), "a"));
}

#[test]
fn plain_parameters_are_typed_and_known() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct At {
        at: Option<u64>,
        #[serde(default)]
        verbose: bool,
    }
    assert_eq!(plain("at=7&verbose"), Ok(At { at: Some(7), verbose: true }));
    assert_eq!(plain(""), Ok(At { at: None, verbose: false }));
    assert_eq!(plain::<At>("at=x").map_err(|p| p.code()), Err(Code::InvalidParameter));
    assert_eq!(plain::<At>("to=1").map_err(|p| p.code()), Err(Code::UnknownParameter));
    assert_eq!(plain::<At>("at=1&at=2").map_err(|p| p.code()), Err(Code::InvalidParameter));
}

#[test]
fn fuzz_queries_and_cursors() {
    let query = "limit=7&sort=-created_at,price&filter[price][gte]=1000&filter%5Battributes%5D%5Bcolour%5D=red\
                 &filter[status]=draft&filter[created_at][lt]=2026-01-01T00:00:00Z&category=tops&with_total=true";
    decoder("query", [query.into(), b"cursor=abc&limit=100".to_vec()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
        let _ = plain::<Nothing>(text);
        match list(text) {
            Ok(read) => {
                let scope = read.scope();
                let again = list(scope.split_once('?').map_or("", |(_, query)| query));
                let same = again.is_ok_and(|again| again.scope() == scope && again.filters.len() == read.filters.len());
                Verdict::accepted(same && (1..=LIMIT_MAX).contains(&read.limit), "its scope reads as itself")
            }
            Err(problem) => Verdict::accepted(problem.render("", "").status() == 400, "it is the caller's fault"),
        }
    });
    let tag = |position: &str| position.len().to_le_bytes();
    let good = BASE64URL_NOPAD.encode(&[&tag("position")[..], b"position"].concat());
    decoder("cursor", [good.into_bytes()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
        match open_cursor(text, tag) {
            Ok(place) => {
                let again = BASE64URL_NOPAD.encode(&[&tag(&place)[..], place.as_bytes()].concat());
                Verdict::accepted(again == text, "there is one text for a cursor")
            }
            Err(_) => Verdict::Refused,
        }
    });
}

#[test]
fn an_unknown_filter_is_told_what_the_list_can_be_filtered_by() {
    let problem = list("filter[weight]=1").map(|list| list.limit).expect_err("there is no such filter");
    let body: serde_json::Value = serde_json::from_slice(&problem.to_json("r", "t")).expect("JSON");
    let detail =
        "Unknown parameter: filter[weight]. This list can be filtered by price, created_at, status, attributes.";
    assert_eq!(body["detail"], detail);
}

/// A list knows the filters that it names, of those that its query could answer.
struct Published;
impl Listing for Published {
    type Filter = ProductFilter;
    const FILTERS: &'static [ProductFilter] = &[ProductFilter::Price];
}

#[test]
fn a_list_may_know_fewer_filters_than_its_query() {
    assert!(List::<Published>::parse("/", "filter[price]=1").is_ok());
    let problem = List::<Published>::parse("/", "filter[status]=draft").map(|list| list.limit).expect_err("not here");
    assert_eq!(problem.code(), Code::UnknownParameter);
}
