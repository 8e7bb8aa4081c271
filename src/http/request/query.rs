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

use super::filters;
pub use super::filters::{Filter, FilterName, FilterValue, NoFilter, Op};
use super::json::Nothing;
use super::parameters::{invalid, unknown};
use super::position::positions;
use crate::actors::values::{JournalPosition, Time};
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::answer::reply::Reply;

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
/// [`List`] stand before [`Read`](crate::http::Read) and [`Write`](crate::http::Write).
pub fn none_left(parts: &Parts) -> Result<()> {
    let query = parts.uri.query().filter(|query| !query.is_empty());
    match query {
        Some(query) if parts.extensions.get::<QueryTaken>().is_none() => plain::<Nothing>(query).map(drop),
        _ => Ok(()),
    }
}

fn plain<T: DeserializeOwned>(query: &str) -> Result<T> {
    let pairs: Vec<(String, String)> = pairs(query);
    let pairs = pairs.into_iter().map(|(name, value)| (name, ParameterText(value)));
    T::deserialize(serde::de::value::MapDeserializer::new(pairs)).map_err(|error: serde::de::value::Error| {
        let message = error.to_string();
        let unknown = message.starts_with("unknown field");
        // Behind the comma serde lists the names of all parameters, which stand in the OpenAPI document.
        let detail = message.split(", ").next().unwrap_or_default();
        Problem::new(if unknown { Code::UnknownParameter } else { Code::InvalidParameter }).detail(detail)
    })
}

/// A parameter's text, which is read as a number or a boolean where the field is one.
struct ParameterText(String);

impl<'de> serde::de::IntoDeserializer<'de> for ParameterText {
    type Deserializer = ParameterText;
    fn into_deserializer(self) -> ParameterText {
        self
    }
}

impl<'de> serde::Deserializer<'de> for ParameterText {
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
    /// What `filter[...]` may name; [`NoFilter`] for nothing.
    type Filter: FilterName;
    /// The filters that this list knows.
    const FILTERS: &'static [Self::Filter] = Self::Filter::ALL;
    /// Further parameters, such as `category`.
    const PARAMETERS: &'static [&'static str] = &[];
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
    pub filters: Vec<Filter<L::Filter>>,
    pub with_total: bool,
    /// What the list is to show at least: `Souk-Position`.
    pub positions: Vec<JournalPosition>,
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
        list.positions = positions(&parts.headers, edge.projections.feed.slots())?;
        if let Some(cursor) = list.after.take() {
            let keys = edge.keys.get()?;
            let tag = |position: &str| keys.cursor_tag(&list.scope(), position);
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
            positions: Vec::new(),
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
            name if name.starts_with("filter[") => self.filters.push(filters::parse(L::FILTERS, name, value)?),
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
        let has_more = next.is_some();
        // Without the shop's keys no cursor can be signed: the client is told that there is more, and cannot go on for
        // now.
        let keys = edge.keys.get().ok();
        let cursor = next.zip(keys).map(|(position, keys)| {
            let tag = keys.cursor_tag(&self.scope(), &position);
            BASE64URL_NOPAD.encode(&[&tag, position.as_bytes()].concat())
        });
        let link = cursor.as_ref().map(|cursor| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(&self.pairs).append_pair("limit", &self.limit.to_string()).append_pair("cursor", cursor);
            format!("<{}?{}>; rel=\"next\"", self.path, query.finish())
        });
        let total = total.filter(|_| self.with_total);
        let page = PageInfo { has_more, next_cursor: cursor, total };
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

fn parse_sorts(fields: &[&'static str], text: &str) -> Result<Vec<Sort>> {
    let sort = |part: &str| {
        let (descending, name) = part.strip_prefix('-').map_or((false, part), |name| (true, name));
        let field = fields.iter().find(|field| **field == name);
        let why = || invalid("sort", &format!("expected some of {}", fields.join(", ")));
        field.map(|field| Sort { field, descending }).ok_or_else(why)
    };
    text.split(',').map(|part| sort(part.trim())).collect()
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
