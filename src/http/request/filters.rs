//! Filters of lists: `filter[price][gte]=1000`.

use std::fmt::Debug;

use super::parameters::{invalid, unknown};
use crate::actors::values::{Invalid, Time};
use crate::http::answer::problem::{Code, Problem, Result};

/// What a list can be filtered by: an enum with a variant for each name, declared by [`filters!`](crate::filters), so
/// that a list that reads its filters says of each what it means.
pub trait FilterName: Debug + Copy + PartialEq + Send + Sync + 'static {
    const ALL: &'static [Self];

    /// The name in `filter[...]`. A name that ends with `[]` takes any member: `attributes[]` is
    /// `filter[attributes][colour]=red`.
    fn word(self) -> &'static str;

    fn kind(self) -> FilterKind;
}

/// For a list without filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFilter {}

impl FilterName for NoFilter {
    const ALL: &'static [NoFilter] = &[];

    fn word(self) -> &'static str {
        match self {}
    }

    fn kind(self) -> FilterKind {
        match self {}
    }
}

/// Declares what a list can be filtered by: each with its word and what its value is.
#[macro_export]
macro_rules! filters {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $word:literal $kind:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($variant),* }

        impl $crate::http::request::filters::FilterName for $name {
            const ALL: &'static [$name] = &[$($name::$variant),*];

            fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            fn kind(self) -> $crate::http::request::filters::FilterKind {
                use $crate::http::request::filters::FilterKind;
                match self { $($name::$variant => $kind),* }
            }
        }
    };
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
pub struct Filter<F> {
    pub name: F,
    /// The member, for a name that ends with `[]`.
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

impl<F> Filter<F> {
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

/// Reads `filter[name][op]=value` or `filter[name][member][op]=value`. `known`: what this list can be filtered by.
/// Errors: 400.
pub fn parse<F: FilterName>(known: &[F], name: &str, value: &str) -> Result<Filter<F>> {
    let inside = name.strip_prefix("filter[").and_then(|rest| rest.strip_suffix(']')).ok_or_else(|| unknown(name))?;
    let mut segments = inside.split("][");
    let first = segments.next().unwrap_or_default();
    let found = known.iter().copied().find(|known| without_member(*known) == first);
    let found = found.ok_or_else(|| unknown_filter(known, name))?;
    let member = if found.word().ends_with("[]") {
        Some(segments.next().filter(|member| !member.is_empty()).ok_or_else(|| unknown(name))?.to_owned())
    } else {
        None
    };
    let ordered = matches!(found.kind(), FilterKind::Integer | FilterKind::Time);
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
    let value = parse_value(found.kind(), name, value)?;
    Ok(Filter { name: found, member, op, value })
}

fn without_member(name: impl FilterName) -> &'static str {
    name.word().trim_end_matches("[]")
}

fn unknown_filter<F: FilterName>(known: &[F], name: &str) -> Problem {
    if known.is_empty() {
        return unknown(name);
    }
    let names: Vec<&str> = known.iter().map(|known| without_member(*known)).collect();
    let detail = format!("Unknown parameter: {name}. This list can be filtered by {}.", names.join(", "));
    Problem::new(Code::UnknownParameter).detail(detail)
}

fn parse_value(kind: FilterKind, name: &str, value: &str) -> Result<FilterValue> {
    match kind {
        FilterKind::Text => Ok(FilterValue::Text(value.into())),
        FilterKind::Word(words) if words.contains(&value) => Ok(FilterValue::Text(value.into())),
        FilterKind::Word(words) => Err(invalid(name, &format!("expected one of {}", words.join(", ")))),
        FilterKind::Integer => {
            value.parse().map(FilterValue::Integer).map_err(|_| invalid(name, "expected a whole number"))
        }
        FilterKind::Time => value.parse().map(FilterValue::Time).map_err(|error: Invalid| invalid(name, error.0)),
    }
}
