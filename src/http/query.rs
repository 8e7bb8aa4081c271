//! Query strings: plain parameters, and the lists' vocabulary of `limit`, `cursor`, `sort`,
//! `filter[field][op]` and `with_total`. An unknown parameter is an error, so that a typing mistake
//! never silently lists everything.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Edge;
use super::json::Nothing;
use super::problem::{Code, Problem, Result};
use super::reply::Reply;
use crate::actors::values::Time;

pub const LIMIT_DEFAULT: usize = 25;
pub const LIMIT_MAX: usize = 100;

/// Plain parameters; put `deny_unknown_fields` on `T`.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Edge> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Query<T>> {
        parts.extensions.insert(QueryTaken);
        plain(parts.uri.query().unwrap_or_default()).map(Query)
    }
}

/// Marks a request whose query string an extractor has read.
#[derive(Clone, Copy)]
struct QueryTaken;

/// Errors: 400 for a query string that nobody has read: the route knows no parameters. So [`Query`] and
/// [`List`] stand before [`Read`](super::Read) and [`Write`](super::Write).
pub fn none_left(parts: &Parts) -> Result<()> {
    let query = parts.uri.query().filter(|query| !query.is_empty());
    match query {
        Some(query) if parts.extensions.get::<QueryTaken>().is_none() => plain::<Nothing>(query).map(drop),
        _ => Ok(()),
    }
}

fn plain<T: DeserializeOwned>(query: &str) -> Result<T> {
    let pairs: Vec<(String, String)> = pairs(query);
    let pairs = pairs.into_iter().map(|(name, value)| (name, Plain(value)));
    T::deserialize(serde::de::value::MapDeserializer::new(pairs)).map_err(|error: serde::de::value::Error| {
        let message = error.to_string();
        let unknown = message.starts_with("unknown field");
        // What stands behind the comma are the names of all parameters: for the document, not for here.
        let detail = message.split(", ").next().unwrap_or_default();
        Problem::new(if unknown { Code::UnknownParameter } else { Code::InvalidParameter }).detail(detail)
    })
}

/// A parameter's text, which reads as a number or a boolean too, as the field wants it.
struct Plain(String);

impl<'de> serde::de::IntoDeserializer<'de> for Plain {
    type Deserializer = Plain;
    fn into_deserializer(self) -> Plain {
        self
    }
}

impl<'de> serde::Deserializer<'de> for Plain {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Self::Error> {
        visitor.visit_string(self.0)
    }
    fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }
    fn deserialize_bool<V: serde::de::Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Self::Error> {
        match self.0.as_str() {
            // `?verbose` alone means yes.
            "" | "true" | "1" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            _ => Err(serde::de::Error::custom("expected true or false")),
        }
    }
    fn deserialize_u64<V: serde::de::Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Self::Error> {
        let number = self.0.parse().map_err(|_| serde::de::Error::custom("expected a whole number, 0 or more"))?;
        visitor.visit_u64(number)
    }
    fn deserialize_newtype_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// What a list can be asked for; an empty type per list implements it.
pub trait Listing: Send + Sync + 'static {
    /// The fields that `sort` may name.
    const SORTS: &'static [&'static str] = &[];
    /// What `filter[...]` may name.
    const FILTERS: &'static [FilterField] = &[];
    /// Further parameters, such as `category`.
    const PARAMETERS: &'static [&'static str] = &[];
}

/// A field to filter by. A name that ends with `[]` takes any member: `attributes[]` is
/// `filter[attributes][colour]=red`.
#[derive(Debug, Clone, Copy)]
pub struct FilterField {
    pub name: &'static str,
    pub kind: FilterKind,
}

/// What a filter's value is. Words compare for equality only; integers and times also with `gte`, `gt`,
/// `lte`, `lt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterKind {
    Word(&'static [&'static str]),
    Text,
    Integer,
    Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub field: &'static str,
    /// The member, for a field whose name ends with `[]`.
    pub member: Option<String>,
    pub op: Op,
    pub value: FilterValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Eq,
    Gte,
    Gt,
    Lte,
    Lt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterValue {
    Text(String),
    Integer(i64),
    Time(Time),
}

impl Op {
    /// Whether `left op right` holds.
    pub fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Op::Eq => left == right,
            Op::Gte => left >= right,
            Op::Gt => left > right,
            Op::Lte => left <= right,
            Op::Lt => left < right,
        }
    }
}

impl Filter {
    /// Whether a text, integer or time passes; a value of another type does not.
    pub fn passes_text(&self, it: &str) -> bool {
        matches!(&self.value, FilterValue::Text(text) if self.op.holds(&it, &text.as_str()))
    }
    pub fn passes_integer(&self, it: i64) -> bool {
        matches!(&self.value, FilterValue::Integer(number) if self.op.holds(&it, number))
    }
    pub fn passes_time(&self, it: Time) -> bool {
        matches!(&self.value, FilterValue::Time(time) if self.op.holds(&it, time))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    pub field: &'static str,
    pub descending: bool,
}

/// A list as it was asked for.
#[derive(Debug)]
pub struct List<L: Listing> {
    pub limit: usize,
    /// Where the page before ended: the text that [`List::page`] was given then.
    pub after: Option<String>,
    pub sorts: Vec<Sort>,
    pub filters: Vec<Filter>,
    pub with_total: bool,
    parameters: BTreeMap<&'static str, String>,
    path: String,
    /// The query without cursor and limit: what a cursor belongs to, and what `Link` repeats.
    pairs: Vec<(String, String)>,
    listing: std::marker::PhantomData<L>,
}

impl<L: Listing> FromRequestParts<Edge> for List<L> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<List<L>> {
        parts.extensions.insert(QueryTaken);
        let mut list = List::<L>::parse(parts.uri.path(), parts.uri.query().unwrap_or_default())?;
        if let Some(cursor) = list.after.take() {
            let tag = |position: &str| edge.keys.cursor_tag(&list.scope(), position);
            list.after = Some(open_cursor(&cursor, tag)?);
        }
        Ok(list)
    }
}

impl<L: Listing> List<L> {
    fn parse(path: &str, query: &str) -> Result<List<L>> {
        let mut list = List {
            limit: LIMIT_DEFAULT,
            after: None,
            sorts: Vec::new(),
            filters: Vec::new(),
            with_total: false,
            parameters: BTreeMap::new(),
            path: path.into(),
            pairs: Vec::new(),
            listing: std::marker::PhantomData,
        };
        let mut seen = std::collections::BTreeSet::new();
        for (name, value) in pairs(query) {
            if !seen.insert(name.clone()) {
                return Err(invalid(&name, "it is there twice"));
            }
            list.take(&name, &value)?;
            if name != "cursor" && name != "limit" {
                list.pairs.push((name, value));
            }
        }
        Ok(list)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                self.limit = limit.ok_or_else(|| invalid(name, "expected 1 to 100"))?;
            }
            "cursor" => self.after = Some(value.into()),
            "with_total" => {
                self.with_total = value.parse().map_err(|_| invalid(name, "expected true or false"))?;
            }
            "sort" if !L::SORTS.is_empty() => self.sorts = parse_sorts(L::SORTS, value)?,
            name if name.starts_with("filter[") => self.filters.push(parse_filter(L::FILTERS, name, value)?),
            name => {
                let known = L::PARAMETERS.iter().find(|known| **known == name);
                let known = known.ok_or_else(|| unknown(name))?;
                self.parameters.insert(known, value.into());
            }
        }
        Ok(())
    }

    /// One of [`Listing::PARAMETERS`].
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// One of [`Listing::PARAMETERS`], as what it should be. Errors: 400.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>> {
        let value = self.parameter(name).map(str::parse).transpose();
        value.map_err(|error: T::Err| invalid(name, &error.to_string()))
    }

    fn scope(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        format!("{}?{}", self.path, query.extend_pairs(&self.pairs).finish())
    }

    /// A page of the list. `next`: where it ended, if there is more: any text from which the next page
    /// can be found (it comes back in `after`).
    pub fn page<T: Serialize>(
        &self,
        edge: &Edge,
        data: Vec<T>,
        next: Option<String>,
        total: Option<u64>,
    ) -> Reply<Page<T>> {
        let cursor = next.map(|position| {
            let tag = edge.keys.cursor_tag(&self.scope(), &position);
            BASE64URL_NOPAD.encode(&[&tag, position.as_bytes()].concat())
        });
        let link = cursor.as_ref().map(|cursor| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(&self.pairs).append_pair("limit", &self.limit.to_string()).append_pair("cursor", cursor);
            format!("<{}?{}>; rel=\"next\"", self.path, query.finish())
        });
        let total = total.filter(|_| self.with_total);
        let page = PageInfo { has_more: cursor.is_some(), next_cursor: cursor, total };
        Reply::ok(Page { data, page }).link(link)
    }
}

impl<L: Listing> List<L> {
    /// A page of a list that is in memory as a whole. `position` (given index and item) ascends with
    /// the list when its texts are compared.
    pub fn page_of<T: Serialize>(
        &self,
        edge: &Edge,
        all: Vec<T>,
        position: impl Fn(usize, &T) -> String,
    ) -> Reply<Page<T>> {
        let total = all.len() as u64;
        let (data, next) = cut(all, self.after.as_deref(), self.limit, position);
        self.page(edge, data, next, Some(total))
    }
}

/// The items behind `after`, at most `limit`; and where the next page starts, if there is one.
fn cut<T>(
    all: Vec<T>,
    after: Option<&str>,
    limit: usize,
    position: impl Fn(usize, &T) -> String,
) -> (Vec<T>, Option<String>) {
    let placed = all.into_iter().enumerate().map(|(n, item)| (position(n, &item), item));
    let mut rest = placed.filter(|(place, _)| after.is_none_or(|after| place.as_str() > after)).peekable();
    let mut data = Vec::new();
    let mut last = None;
    while data.len() < limit
        && let Some((place, item)) = rest.next()
    {
        data.push(item);
        last = Some(place);
    }
    let more = rest.peek().is_some();
    (data, last.filter(|_| more))
}

/// A position for lists that begin with what is newest.
pub fn newest_first(at: Time, id: impl std::fmt::Display) -> String {
    format!("{:016x} {id}", i64::MAX - at.0.max(0))
}

fn open_cursor(cursor: &str, tag: impl Fn(&str) -> [u8; 8]) -> Result<String> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| Code::InvalidCursor)?;
    let (given, position) = bytes.split_at_checked(8).ok_or(Code::InvalidCursor)?;
    let position = std::str::from_utf8(position).map_err(|_| Code::InvalidCursor)?;
    if tag(position) == given { Ok(position.into()) } else { Err(Code::InvalidCursor.into()) }
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub page: PageInfo,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PageInfo {
    /// For the parameter `cursor` of the next page; null on the last one.
    pub next_cursor: Option<String>,
    pub has_more: bool,
    /// How many there are in all; only with `with_total=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

fn unknown(name: &str) -> Problem {
    Problem::new(Code::UnknownParameter).detail(format!("Unknown parameter: {name}."))
}

fn invalid(name: &str, why: &str) -> Problem {
    Problem::new(Code::InvalidParameter).detail(format!("{name}: {why}."))
}

fn parse_sorts(fields: &[&'static str], text: &str) -> Result<Vec<Sort>> {
    let sort = |part: &str| {
        let (descending, name) = part.strip_prefix('-').map_or((false, part), |name| (true, name));
        let field = fields.iter().find(|field| **field == name);
        let why = || invalid("sort", &format!("expected some of {}", fields.join(", ")));
        field.map(|field| Sort { field, descending }).ok_or_else(why)
    };
    text.split(',').map(|part| sort(part.trim())).collect()
}

fn parse_filter(fields: &[FilterField], name: &str, value: &str) -> Result<Filter> {
    let inside = name.strip_prefix("filter[").and_then(|rest| rest.strip_suffix(']')).ok_or_else(|| unknown(name))?;
    let mut segments = inside.split("][");
    let first = segments.next().unwrap_or_default();
    let known = fields.iter().find(|field| field.name.strip_suffix("[]").unwrap_or(field.name) == first);
    let known = known.ok_or_else(|| unknown(name))?;
    let member = if known.name.ends_with("[]") {
        Some(segments.next().filter(|member| !member.is_empty()).ok_or_else(|| unknown(name))?.to_owned())
    } else {
        None
    };
    let ordered = matches!(known.kind, FilterKind::Integer | FilterKind::Time);
    let op = match segments.next() {
        None | Some("eq") => Op::Eq,
        Some("gte") if ordered => Op::Gte,
        Some("gt") if ordered => Op::Gt,
        Some("lte") if ordered => Op::Lte,
        Some("lt") if ordered => Op::Lt,
        Some(_) => return Err(unknown(name)),
    };
    if segments.next().is_some() {
        return Err(unknown(name));
    }
    let value = parse_filter_value(known.kind, name, value)?;
    Ok(Filter { field: known.name, member, op, value })
}

fn parse_filter_value(kind: FilterKind, name: &str, value: &str) -> Result<FilterValue> {
    match kind {
        FilterKind::Text => Ok(FilterValue::Text(value.into())),
        FilterKind::Word(words) if words.contains(&value) => Ok(FilterValue::Text(value.into())),
        FilterKind::Word(words) => Err(invalid(name, &format!("expected one of {}", words.join(", ")))),
        FilterKind::Integer => {
            value.parse().map(FilterValue::Integer).map_err(|_| invalid(name, "expected a whole number"))
        }
        FilterKind::Time => {
            value.parse().map(FilterValue::Time).map_err(|error: crate::actors::values::Invalid| invalid(name, error.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Products;
    impl Listing for Products {
        const SORTS: &'static [&'static str] = &["created_at", "price"];
        const FILTERS: &'static [FilterField] = &[
            FilterField { name: "price", kind: FilterKind::Integer },
            FilterField { name: "created_at", kind: FilterKind::Time },
            FilterField { name: "status", kind: FilterKind::Word(&["draft", "published"]) },
            FilterField { name: "attributes[]", kind: FilterKind::Text },
        ];
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
}
