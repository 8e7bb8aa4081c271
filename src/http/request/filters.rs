//! Filters of lists: `filter[price][gte]=1000`.

use super::parameters::{invalid, unknown};
use crate::actors::values::{Invalid, Time};
use crate::http::answer::problem::Result;

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

/// Reads `filter[field][op]=value` or `filter[field][member][op]=value`. Errors: 400.
pub fn parse(fields: &[FilterField], name: &str, value: &str) -> Result<Filter> {
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
    let value = parse_value(known.kind, name, value)?;
    Ok(Filter { field: known.name, member, op, value })
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
