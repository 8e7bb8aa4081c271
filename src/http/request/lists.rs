//! What lists of the shop have in common: their parameters in the OpenAPI document, filters as ranges, and
//! reading a page of entities at once.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::query::{Filter, FilterName, FilterValue, Listing, NoFilter, Op};
use crate::actors::entity::Kind;
use crate::actors::projections::Model;
use crate::actors::projections::catalogue::Range;
use crate::actors::runtime::client::View;
use crate::actors::values::JournalPosition;
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};

/// How long a request waits at most for a read model to catch up with what was written before. Usually that takes some
/// milliseconds. After this time it goes on with what the read model has.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(1);

/// Entities of one request that are read at once.
pub const READS_AT_ONCE: usize = 32;

/// Waits until a read model has everything that was durable when this was called, so that a caller who was told that
/// something is done finds it done. Returns at once where the model does not run.
pub async fn caught_up(edge: &Edge, model: Model) {
    caught_up_to(edge, model, &[]).await;
}

/// The same, and what stands at these positions, which other nodes may have written.
pub async fn caught_up_to(edge: &Edge, model: Model, positions: &[JournalPosition]) {
    edge.projections.caught_up(model, positions, CAUGHT_UP_WITHIN).await;
}

/// The header of lists that are read models, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "a shape, never a value")]
pub struct PositionHeader {
    /// `Souk-Position` of an answer, or several with commas between them: the list waits, for a second at most, until it
    /// shows what was done then.
    #[param(rename = "Souk-Position")]
    souk_position: Option<String>,
}

/// The parameters of every list, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a shape, never a value")]
pub struct PageParameters {
    /// 1 to 100; 25 when it is not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Whether to count all.
    with_total: Option<bool>,
}

/// A list without sorts and filters.
pub struct Unfiltered;
impl Listing for Unfiltered {
    type Filter = NoFilter;
}

/// Narrows a range by a filter on an integer or a time.
pub fn narrow<F>(range: &mut Range, filter: &Filter<F>) {
    let value = match &filter.value {
        FilterValue::Integer(number) => *number,
        FilterValue::Time(time) => time.0,
        FilterValue::Text(_) => return,
    };
    let (min, max) = match filter.op {
        Op::Eq => (value, value),
        Op::Gte => (value, i64::MAX),
        Op::Gt => (value.saturating_add(1), i64::MAX),
        Op::Lte => (i64::MIN, value),
        Op::Lt => (i64::MIN, value.saturating_sub(1)),
    };
    *range = Range { min: range.min.max(min), max: range.max.min(max) };
}

/// The word or id that a filter names. Errors: 400.
pub fn word<T: std::str::FromStr>(filter: &Filter<impl FilterName>) -> Result<T> {
    let FilterValue::Text(text) = &filter.value else { return Err(Code::InvalidParameter.into()) };
    let name = filter.name.word();
    text.parse()
        .map_err(|_| Problem::new(Code::InvalidParameter).detail(format!("filter[{name}]: there is no {text}.")))
}

/// Reads entities, a bounded number at once; in the order of `ids`.
pub async fn read_all<K: Kind>(edge: &Edge, ids: Vec<K::Id>, deadline: Instant) -> Result<Vec<View<K>>> {
    // As it mostly is, and then nothing has to be waited for.
    if let Some(views) = ids.iter().map(|id| edge.client.shown::<K>(id)).collect() {
        return Ok(views);
    }
    let reads = ids.into_iter().map(|id| async move { edge.client.read::<K>(&id, deadline).await });
    Ok(stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_narrow_a_range_together() {
        let filter = |op, value| Filter { name: "price", member: None, op, value: FilterValue::Integer(value) };
        let mut range = Range::default();
        narrow(&mut range, &filter(Op::Gt, 9));
        narrow(&mut range, &filter(Op::Lte, 50));
        narrow(&mut range, &filter(Op::Gte, 5));
        assert_eq!(range, Range { min: 10, max: 50 });
        narrow(&mut range, &filter(Op::Eq, 20));
        assert_eq!(range, Range { min: 20, max: 20 });
        narrow(&mut range, &filter(Op::Lt, 20));
        assert!(!range.contains(20));
    }
}
